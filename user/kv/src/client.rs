//! A client: stores and indexes its share of the corpus, asks for it in every way, and compares each answer.

use crate::expected::{Expected, Piece};
use crate::services::{BoardClient, Counts, Found, Got, IndexClient, KvClient, Phase, Put, Quote};
use crate::shift::{End, Shift, WorkError};
use crate::tally::Tally;
use crate::words::{Word, join, unpack_pieces};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use baton_rpc::{Buffer, Handle, Platform};

/// Bytes of text stored under one key.
pub const PIECE_BYTES: usize = 4096;
/// Bytes of the buffers in which entries and answers travel: a key and a piece, or a key and the words of a piece.
pub const BULK_BYTES: u32 = 8 << 10;
/// Bytes of the buffers in which results travel to the board.
pub const RESULT_BYTES: u32 = 64 << 10;

/// How much a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Requests under way at a time.
    pub outstanding: usize,
    /// How long each phase of questions lasts.
    pub phase_ns: u64,
}

/// A client's connections, and what it knows.
pub struct Client<P: Platform> {
    /// Its number, and the number of its space.
    pub number: u32,
    /// The executor it runs on.
    pub handle: Handle<P>,
    /// The store.
    pub kv: KvClient<P>,
    /// The index.
    pub index: IndexClient<P>,
    /// Where it reports to.
    pub board: BoardClient<P>,
    /// What the answers must be.
    pub expected: Expected,
    /// How much it does.
    pub plan: Plan,
}

impl<P: Platform> Client<P> {
    /// Goes through all phases, each together with the other clients.
    ///
    /// Wrong answers are no error here; they are in the reports.
    ///
    /// # Errors
    ///
    /// [`WorkError`] and the phase in which it happened.
    pub async fn run<T: Tally>(self: Rc<Self>) -> Result<(), (Phase, WorkError)> {
        for phase in Phase::WORK {
            self.one_phase::<T>(phase)
                .await
                .map_err(|error| (phase, error))?;
        }
        let done = self.board.arrive(self.number, Phase::Done).await;
        done.map_err(|error| (Phase::Done, error.into()))
    }

    async fn one_phase<T: Tally>(self: &Rc<Self>, phase: Phase) -> Result<(), WorkError> {
        self.board.arrive(self.number, phase).await?;
        let results: T = self.work(phase).await?;
        let mut buffer = self.board.client().buffer().await?;
        buffer.write(results.to_text().as_bytes())?;
        let answer = self.board.report(self.number, phase, buffer).await?;
        answer.value.then_some(()).ok_or(WorkError::BadReport)
    }

    async fn work<T: Tally>(self: &Rc<Self>, phase: Phase) -> Result<T, WorkError> {
        let each_piece = End::Items(self.expected.len() as u64);
        let for_a_while = match self.expected.is_empty() {
            true => each_piece,
            false => End::AfterNs(self.plan.phase_ns),
        };
        let shift = |end| Shift::<P, T>::new(&self.handle, &self.board, self.number, phase, end);
        let this = || self.clone();
        let workers = self.plan.outstanding;
        match phase {
            Phase::Load => shift(each_piece).work(workers, |s| this().load(s)).await,
            Phase::Index => shift(each_piece).work(workers, |s| this().append(s)).await,
            Phase::Read => shift(each_piece).work(workers, |s| this().read(s)).await,
            Phase::Find => shift(for_a_while).work(workers, |s| this().find(s)).await,
            Phase::FindAll => {
                shift(for_a_while)
                    .work(workers, |s| this().find_all(s))
                    .await
            }
            Phase::Quote => shift(for_a_while).work(workers, |s| this().quote(s)).await,
            Phase::Count => shift(for_a_while).work(workers, |s| this().count(s)).await,
            Phase::Remove => {
                let results = shift(each_piece)
                    .work(workers, |s| this().remove(s))
                    .await?;
                self.nothing_left(results).await
            }
            Phase::Done => Ok(T::default()),
        }
    }

    // Each worker below keeps one buffer, and with it one credit, from call to call: the answer gives it back.

    async fn load<T: Tally>(self: Rc<Self>, shift: Rc<Shift<P, T>>) -> Result<(), WorkError> {
        let mut buffer = self.kv.client().buffer().await?;
        let mut entry = Vec::new();
        while let Some(item) = shift.draw() {
            let (_, piece) = self.expected.piece(item);
            let key_bytes = start_entry(piece, &mut entry);
            entry.extend_from_slice(&piece.text);
            buffer.write(&entry)?;
            let asked_ns = shift.now_ns();
            let answer = self.kv.put(self.number, key_bytes, buffer).await?;
            shift.answered(asked_ns, answer.value == Put::New, || {
                format!("put {} said {:?}", name(piece), answer.value)
            });
            buffer = answer.into_buffer();
        }
        Ok(())
    }

    async fn append<T: Tally>(self: Rc<Self>, shift: Rc<Shift<P, T>>) -> Result<(), WorkError> {
        let mut buffer = self.index.client().buffer().await?;
        let mut entry = Vec::new();
        while let Some(item) = shift.draw() {
            let (number, piece) = self.expected.piece(item);
            let key_bytes = start_entry(piece, &mut entry);
            join(&piece.words, &mut entry);
            buffer.write(&entry)?;
            let asked_ns = shift.now_ns();
            let answer = self
                .index
                .append(self.number, number, key_bytes, buffer)
                .await?;
            let right = answer.value == Some(piece.words.len() as u32);
            shift.answered(asked_ns, right, || {
                format!("append {} said {:?}", name(piece), answer.value)
            });
            buffer = answer.into_buffer();
        }
        Ok(())
    }

    async fn read<T: Tally>(self: Rc<Self>, shift: Rc<Shift<P, T>>) -> Result<(), WorkError> {
        let mut buffer = self.kv.client().buffer().await?;
        while let Some(item) = shift.draw() {
            let (_, piece) = self.expected.piece(item);
            buffer.write(&piece.key)?;
            let asked_ns = shift.now_ns();
            let answer = self.kv.get(self.number, buffer).await?;
            let right = answer.value == Got::Value && answer.to_vec() == piece.text;
            shift.answered(asked_ns, right, || {
                format!(
                    "get {} said {:?} with another text",
                    name(piece),
                    answer.value
                )
            });
            buffer = answer.into_buffer();
        }
        Ok(())
    }

    async fn find<T: Tally>(self: Rc<Self>, shift: Rc<Shift<P, T>>) -> Result<(), WorkError> {
        let mut buffer = self.index.client().buffer().await?;
        while let Some(item) = shift.draw() {
            let word = self.some_word(item);
            let expected = self.expected.find(word);
            let mut place = 0;
            // A list that does not fit into one answer comes in several.
            loop {
                let asked_ns = shift.now_ns();
                let answer = self.index.find(self.number, place, word, buffer).await?;
                let right = is_part(expected, place, answer.value, &answer.to_vec());
                shift.answered(asked_ns, right, || format!("find {word:?} from {place} on"));
                place += answer.value.returned;
                buffer = answer.into_buffer();
                if !right || place as usize >= expected.len() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn find_all<T: Tally>(self: Rc<Self>, shift: Rc<Shift<P, T>>) -> Result<(), WorkError> {
        let mut buffer = self.index.client().buffer().await?;
        while let Some(item) = shift.draw() {
            let words = self.some_words(item);
            let expected = self.expected.find_all(&words);
            let mut place = 0;
            loop {
                write_question(&words, &mut buffer)?;
                let asked_ns = shift.now_ns();
                let answer = self.index.find_all(self.number, place, buffer).await?;
                let right = is_part(&expected, place, answer.value, &answer.to_vec());
                shift.answered(asked_ns, right, || {
                    format!("find all {words:?} from {place} on")
                });
                place += answer.value.returned;
                buffer = answer.into_buffer();
                if !right || place as usize >= expected.len() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn quote<T: Tally>(self: Rc<Self>, shift: Rc<Shift<P, T>>) -> Result<(), WorkError> {
        let mut buffer = self.index.client().buffer().await?;
        while let Some(item) = shift.draw() {
            let words = self.some_words(item);
            let first = self.expected.find_all(&words).first().copied();
            write_question(&words, &mut buffer)?;
            let asked_ns = shift.now_ns();
            let answer = self.index.quote(self.number, buffer).await?;
            let right = match first {
                None => answer.value == Quote::NoPiece,
                Some(first) => {
                    let (_, piece) = self.expected.piece(u64::from(first));
                    answer.value == Quote::Piece(first) && answer.to_vec() == piece.text
                }
            };
            shift.answered(asked_ns, right, || {
                format!("quote {words:?} said {:?}, or another text", answer.value)
            });
            buffer = answer.into_buffer();
        }
        Ok(())
    }

    /// No bulk here: arguments and answer travel in the slots.
    async fn count<T: Tally>(self: Rc<Self>, shift: Rc<Shift<P, T>>) -> Result<(), WorkError> {
        let expected = Counts {
            entries: self.expected.len() as u64,
            value_bytes: self.expected.text_bytes(),
        };
        while shift.draw().is_some() {
            let asked_ns = shift.now_ns();
            let counts = self.kv.count(self.number).await?;
            shift.answered(asked_ns, counts == expected, || {
                format!("count said {counts:?}")
            });
        }
        Ok(())
    }

    async fn remove<T: Tally>(self: Rc<Self>, shift: Rc<Shift<P, T>>) -> Result<(), WorkError> {
        let mut buffer = self.kv.client().buffer().await?;
        while let Some(item) = shift.draw() {
            let (_, piece) = self.expected.piece(item);
            buffer.write(&piece.key)?;
            let asked_ns = shift.now_ns();
            let answer = self.kv.remove(self.number, buffer).await?;
            let right = answer.value == Some(piece.text.len() as u32);
            shift.answered(asked_ns, right, || {
                format!("remove {} said {:?}", name(piece), answer.value)
            });
            buffer = answer.into_buffer();
        }
        Ok(())
    }

    /// When everything is removed, the store must say so too.
    async fn nothing_left<T: Tally>(&self, mut results: T) -> Result<T, WorkError> {
        let asked_ns = self.handle.platform().now_ns();
        let counts = self.kv.count(self.number).await?;
        let latency_ns = self.handle.platform().now_ns() - asked_ns;
        let right = counts == Counts::default();
        results.count(latency_ns, right, || {
            format!("after all was removed: {counts:?}")
        });
        Ok(results)
    }

    /// A word of some piece: often a frequent one, as in the texts.
    fn some_word(&self, item: u64) -> Word {
        let random = mix(item ^ u64::from(self.number) << 48);
        let (_, piece) = self.expected.piece(random);
        pick(&piece.words, mix(random))
    }

    /// Two words of one piece and, every other time, one of another piece, so that there are questions without answers, too.
    fn some_words(&self, item: u64) -> Vec<Word> {
        let random = mix(item ^ u64::from(self.number) << 48);
        let (_, piece) = self.expected.piece(random);
        let mut words = vec![
            pick(&piece.words, mix(random)),
            pick(&piece.words, mix(random + 1)),
        ];
        if item % 2 == 1 {
            words.push(self.some_word(!item));
        }
        words
    }
}

/// Writes a piece's key, behind which comes what belongs to it; says how long the key is.
fn start_entry(piece: &Piece, entry: &mut Vec<u8>) -> u32 {
    entry.clear();
    entry.extend_from_slice(&piece.key);
    piece.key.len() as u32
}

fn write_question<P: Platform>(words: &[Word], buffer: &mut Buffer<P>) -> Result<(), WorkError> {
    let mut question = Vec::new();
    join(words, &mut question);
    Ok(buffer.write(&question)?)
}

/// Whether an answer is the part of `expected` that begins at `place`.
fn is_part(expected: &[u32], place: u32, found: Found, packed: &[u8]) -> bool {
    let rest = expected.get(place as usize..).unwrap_or(&[]);
    let Some(part) = rest.get(..found.returned as usize) else {
        return false;
    };
    found.total as usize == expected.len()
        && (found.returned > 0 || rest.is_empty())
        && packed.len() == size_of_val(part)
        && unpack_pieces(packed).eq(part.iter().copied())
}

/// One of `words`, or a word of its own when there are none.
fn pick(words: &[Word], random: u64) -> Word {
    let place = random.checked_rem(words.len() as u64);
    let word = place.and_then(|place| words.get(place as usize));
    word.copied().unwrap_or(Word::NOWHERE)
}

/// Numbers that look random and are the same in every run.
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

fn name(piece: &Piece) -> String {
    String::from_utf8_lossy(&piece.key).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::prelude::v1::*;

    fn found(total: u32, returned: u32) -> Found {
        Found { total, returned }
    }

    #[test]
    fn only_the_right_part_passes() {
        let expected = [3, 5, 9];
        let packed = |pieces: &[u32]| {
            let mut packed = Vec::new();
            crate::words::pack_pieces(pieces, &mut packed);
            packed
        };
        assert!(is_part(&expected, 0, found(3, 3), &packed(&[3, 5, 9])));
        assert!(is_part(&expected, 1, found(3, 1), &packed(&[5])));
        assert!(is_part(&[], 0, found(0, 0), &[]));
        assert!(!is_part(&expected, 0, found(3, 3), &packed(&[3, 5, 8])));
        assert!(!is_part(&expected, 0, found(3, 3), &packed(&[3, 5])));
        assert!(!is_part(&expected, 0, found(2, 2), &packed(&[3, 5])));
        assert!(!is_part(&expected, 0, found(3, 0), &[]));
        assert!(!is_part(&expected, 2, found(3, 2), &packed(&[9, 10])));
        assert!(!is_part(&expected, 9, found(3, 1), &packed(&[3])));
    }
}
