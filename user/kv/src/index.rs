//! The word index, and how it is served.
//!
//! [`WordIndex`] is the plain data; [`IndexService`] serves it, and is itself a client of the store: its `quote` is a handler
//! that awaits a call of its own, and the executor serves others meanwhile.

use crate::services::{Found, Got, Index, KvClient, Quote};
use crate::words::{MAX_WORD_BYTES, Word, pack_pieces, words};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use baton_rpc::{BulkIn, BulkOut, CallError, Platform};
use core::cell::{Cell, RefCell};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// Most words in one question.
pub const MAX_QUESTION_WORDS: usize = 8;

/// From words to pieces, in spaces; and from pieces to their keys in the store.
#[derive(Default)]
pub struct WordIndex {
    /// Ascending numbers of pieces.
    postings: HashMap<(u32, Word), Vec<u32>>,
    keys: HashMap<(u32, u32), Box<[u8]>>,
}

impl WordIndex {
    /// Notes that the words of `text` are in `piece`, which has `key` in the store. Says how many postings are new.
    pub fn append(&mut self, space: u32, piece: u32, key: &[u8], text: &[u8]) -> u32 {
        if let Entry::Vacant(place) = self.keys.entry((space, piece)) {
            place.insert(key.into());
        }
        let mut new = 0;
        for word in words(text) {
            let pieces = self.postings.entry((space, word)).or_default();
            // Requests overtake each other, so pieces come in only almost ascending order.
            if let Err(place) = pieces.binary_search(&piece) {
                pieces.insert(place, piece);
                new += 1;
            }
        }
        new
    }

    /// The pieces with `word`, ascending.
    pub fn find(&self, space: u32, word: Word) -> &[u32] {
        self.postings.get(&(space, word)).map_or(&[], Vec::as_slice)
    }

    /// The pieces that have all of `words`, ascending; none when there are no words.
    pub fn find_all(&self, space: u32, words: impl Iterator<Item = Word>) -> Vec<u32> {
        let mut lists: Vec<&[u32]> = words.map(|word| self.find(space, word)).collect();
        // The rarest first: it bounds the work.
        lists.sort_by_key(|list| list.len());
        let Some((first, others)) = lists.split_first() else {
            return Vec::new();
        };
        let mut found = first.to_vec();
        for other in others {
            keep_common(&mut found, other);
        }
        found
    }

    /// The key of a piece in the store.
    pub fn key(&self, space: u32, piece: u32) -> Option<&[u8]> {
        self.keys.get(&(space, piece)).map(AsRef::as_ref)
    }
}

/// Keeps what is in both ascending lists, by going through them side by side.
fn keep_common(found: &mut Vec<u32>, other: &[u32]) {
    let mut other = other.iter().copied().peekable();
    found.retain(|piece| {
        while other.next_if(|there| there < piece).is_some() {}
        other.peek() == Some(piece)
    });
}

/// Serves a [`WordIndex`].
pub struct IndexService<P: Platform> {
    index: RefCell<WordIndex>,
    store: KvClient<P>,
    requests: Cell<u64>,
}

impl<P: Platform> IndexService<P> {
    /// An empty index, whose texts are in `store`.
    pub fn new(store: KvClient<P>) -> Self {
        IndexService {
            index: RefCell::default(),
            store,
            requests: Cell::new(0),
        }
    }

    /// How many requests were served.
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    fn served(&self) {
        self.requests.set(self.requests.get() + 1);
    }

    /// Fetches the text of `key` from the store, straight into the answer.
    async fn fetch(&self, space: u32, key: &[u8], text: &mut BulkOut) -> Result<bool, CallError> {
        // All handlers of the index share its credits at the store; whoever finds none waits here, in order.
        let mut buffer = self.store.client().buffer().await?;
        if buffer.write(key).is_err() {
            return Ok(false);
        }
        let answer = self.store.get(space, buffer).await?;
        Ok(answer.value == Got::Value && text.write_shared(answer.bytes()).is_ok())
    }
}

/// The words of a question, copied out of the client's buffer: no more than the longest question can have.
fn question(bulk: &BulkIn) -> Vec<u8> {
    let mut bytes = vec![0; bulk.len().min(MAX_QUESTION_WORDS * (MAX_WORD_BYTES + 1))];
    let copied = bulk.copy_to(&mut bytes);
    bytes.truncate(copied);
    bytes
}

/// Puts the pieces from `place` on into the answer, as many as it has room for.
fn answer(found: &[u32], place: u32, mut out: BulkOut) -> (Found, BulkOut) {
    let rest = found.get(place as usize..).unwrap_or(&[]);
    let returned = rest.len().min(out.capacity_bytes() / size_of::<u32>());
    let mut packed = Vec::with_capacity(returned * size_of::<u32>());
    pack_pieces(rest.get(..returned).unwrap_or(&[]), &mut packed);
    let returned = match out.write(&packed) {
        Ok(()) => returned,
        Err(_) => 0,
    };
    let found = Found {
        total: found.len() as u32,
        returned: returned as u32,
    };
    (found, out)
}

impl<P: Platform> Index for IndexService<P> {
    async fn append(&self, space: u32, piece: u32, key_bytes: u32, entry: BulkIn) -> Option<u32> {
        self.served();
        let entry = entry.to_vec();
        let (key, text) = entry.split_at_checked(key_bytes as usize)?;
        Some(self.index.borrow_mut().append(space, piece, key, text))
    }

    async fn find(&self, space: u32, place: u32, word: Word, pieces: BulkOut) -> (Found, BulkOut) {
        self.served();
        answer(self.index.borrow().find(space, word), place, pieces)
    }

    async fn find_all(
        &self,
        space: u32,
        place: u32,
        words_in: BulkIn,
        pieces: BulkOut,
    ) -> (Found, BulkOut) {
        self.served();
        let asked = question(&words_in);
        let found = self.index.borrow().find_all(space, words(&asked));
        answer(&found, place, pieces)
    }

    async fn quote(&self, space: u32, words_in: BulkIn, mut text: BulkOut) -> (Quote, BulkOut) {
        self.served();
        let asked = question(&words_in);
        // Nothing may stay borrowed across an await: other handlers run meanwhile.
        let first = {
            let index = self.index.borrow();
            let found = index.find_all(space, words(&asked));
            found.first().map(|piece| {
                let key = index.key(space, *piece).unwrap_or(&[]);
                (*piece, key.to_vec())
            })
        };
        let Some((piece, key)) = first else {
            return (Quote::NoPiece, text);
        };
        match self.fetch(space, &key, &mut text).await {
            Ok(true) => (Quote::Piece(piece), text),
            Ok(false) | Err(_) => (Quote::NoText, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::prelude::v1::*;

    fn word(text: &str) -> Word {
        Word::new(text.as_bytes()).unwrap()
    }

    fn sample() -> WordIndex {
        let mut index = WordIndex::default();
        assert_eq!(index.append(0, 2, b"two", b"red green"), 2);
        assert_eq!(index.append(0, 1, b"one", b"red red blue"), 2);
        assert_eq!(index.append(0, 3, b"three", b"green blue red"), 3);
        index.append(1, 1, b"other", b"red");
        index
    }

    #[test]
    fn pieces_ascend_whatever_the_order_of_appending() {
        assert_eq!(sample().find(0, word("red")), [1, 2, 3]);
        assert_eq!(sample().find(0, word("green")), [2, 3]);
        assert_eq!(sample().find(0, word("absent")), []);
    }

    #[test]
    fn several_words_are_all_required() {
        let index = sample();
        let all = |text: &str| index.find_all(0, words(text.as_bytes()));
        assert_eq!(all("green blue"), [3]);
        assert_eq!(all("red blue"), [1, 3]);
        assert_eq!(all("red red"), [1, 2, 3]);
        assert_eq!(all("red absent"), []);
        assert_eq!(all(""), []);
    }

    #[test]
    fn appending_again_adds_nothing() {
        let mut index = sample();
        assert_eq!(index.append(0, 2, b"two", b"red green"), 0);
        assert_eq!(index.find(0, word("red")), [1, 2, 3]);
    }

    #[test]
    fn spaces_and_keys_are_kept_apart() {
        let index = sample();
        assert_eq!(index.find(1, word("red")), [1]);
        assert_eq!(index.key(0, 1), Some(&b"one"[..]));
        assert_eq!(index.key(1, 1), Some(&b"other"[..]));
        assert_eq!(index.key(1, 2), None);
    }
}
