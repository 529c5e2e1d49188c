//! The end of a connection that is played by the input: it writes whatever it may write, and nothing keeps it to the rules.

use crate::desk::{BULK_BYTES, Side};
use crate::input::Input;
use baton_inbox::layout::{
    BULK_BYTES as BULK_BYTES_WORD, HEAD_ANSWERS, HEAD_REQUESTS, LANE_BITS, TAIL_ANSWERS,
    TAIL_REQUESTS, WANT_SPACE,
};
use baton_inbox::{Bell, Info, Kind, LinkParts, PAYLOAD_WORDS, Publication, Token};
use baton_inprocess::{Address, FlagBell, Sizes, connection};
use baton_shm::{HeapWords, Region};
use std::sync::atomic::Ordering;

/// Credits each way.
pub const CREDITS: u32 = 3;

/// One end of a connection, by hand.
pub struct Hostile {
    parts: LinkParts<FlagBell>,
    state: Region,
    requests_tail: u32,
    answers_tail: u32,
    head: u32,
    tokens: [u64; 4],
}

/// Which lane.
#[derive(Clone, Copy)]
enum Lane {
    Requests,
    Answers,
}

impl Hostile {
    /// A hostile end, and what its victim binds as connection `index`.
    ///
    /// `at` is the address of a node that nobody turns.
    pub fn new<U: Publication>(
        at: &Address,
        victim: &Side<U>,
        index: u32,
        start: u32,
    ) -> (Self, LinkParts<FlagBell>) {
        let sizes = Sizes {
            credits: CREDITS,
            back_credits: CREDITS,
            request_bulk_bytes: BULK_BYTES,
            answer_bulk_bytes: BULK_BYTES,
        };
        let (parts, mut theirs) = connection(at, &victim.at, sizes, (0, index));
        let state = HeapWords::region(8);
        theirs.peer_state = state
            .read_only()
            .word(0)
            .expect("the state page has a word");
        let hostile = Hostile {
            parts,
            state,
            requests_tail: start,
            answers_tail: start,
            head: start,
            tokens: [0; 4],
        };
        // It begins as a correct peer does; positions are zero but for these.
        for offset in [HEAD_REQUESTS, HEAD_ANSWERS, TAIL_REQUESTS, TAIL_ANSWERS] {
            hostile.store(offset, u64::from(start));
        }
        (hostile, theirs)
    }

    fn store(&self, offset: usize, value: u64) {
        if let Ok(word) = self.parts.outgoing.word(offset) {
            // Release: what a correct peer's last store of a message is.
            word.store(value, Ordering::Release);
        }
    }

    /// Does one thing.
    pub fn act(&mut self, input: &mut Input<'_>) {
        let what: u8 = input.get();
        match what % 10 {
            0 => {
                let offset = input.below(self.parts.outgoing.words());
                self.store(offset, input.word());
            }
            1 => self.store_control(input),
            2 => self.parts.peer_hint.store(input.word(), Ordering::Relaxed),
            3 => {
                let state = self.state.word(0).expect("the state page has a word");
                state.store(input.word(), Ordering::Relaxed);
            }
            4 => self.parts.bell.ring(),
            5 => self.send_anything(input),
            6 => {
                // What a correct client would send, as far as it can know.
                let index = input.below(CREDITS as usize) as u16;
                let token = Token::new(index, self.requests_tail.into());
                let method = u16::from(input.get::<u8>() % 8);
                let kind = match input.get::<u8>() % 4 {
                    0 => Kind::OneWay,
                    1 => Kind::Cancel,
                    _ => Kind::Request,
                };
                let payload = payload(input);
                self.send(
                    Lane::Requests,
                    Info::new(kind, method, PAYLOAD_WORDS),
                    token,
                    payload,
                    0,
                );
            }
            7 => self.answer(input, false),
            8 => self.answer(input, true),
            _ => {
                // A correct head, or one beside it.
                self.head = self.head.wrapping_add(input.get::<i8>() as u32);
                self.store(HEAD_REQUESTS, u64::from(self.head));
            }
        }
    }

    fn store_control(&mut self, input: &mut Input<'_>) {
        let offset = [
            0,
            LANE_BITS,
            BULK_BYTES_WORD,
            HEAD_REQUESTS,
            HEAD_ANSWERS,
            WANT_SPACE,
            TAIL_REQUESTS,
            TAIL_ANSWERS,
        ][input.below(8)];
        self.store(offset, input.word());
    }

    fn send_anything(&mut self, input: &mut Input<'_>) {
        let lane = match input.get::<u8>() % 2 {
            0 => Lane::Requests,
            _ => Lane::Answers,
        };
        let info = Info::from_raw(input.get());
        let token = match input.get::<u8>() % 4 {
            0 => Token::from_raw(input.word()),
            1 => Token::new(input.get::<u8>().into(), input.get::<u8>().into()),
            2 => Token::from_raw(self.tokens[input.below(4)]),
            _ => self.token_seen(input),
        };
        let payload = payload(input);
        let ahead = input.get::<i8>();
        self.send(lane, info, token, payload, ahead);
    }

    /// The token in some slot that the victim wrote.
    fn token_seen(&mut self, input: &mut Input<'_>) -> Token {
        let layout = &self.parts.in_layout;
        let slots = 1 << layout.request_bits();
        let slot = layout.request_slots() + 8 * input.below(slots);
        let token = self.parts.incoming.word(slot + 1);
        let token = token.map_or(0, |word| word.load(Ordering::Acquire));
        self.tokens.rotate_right(1);
        self.tokens[0] = token;
        Token::from_raw(token)
    }

    /// Answers a request of the victim's: rightly but for what the input says.
    fn answer(&mut self, input: &mut Input<'_>, early: bool) {
        let token = self.token_seen(input);
        let status = u16::from(input.get::<u8>() % 8);
        let words = input.below(PAYLOAD_WORDS + 3);
        let payload = payload(input);
        let info = Info::new(Kind::Answer, status, words);
        self.send(Lane::Answers, info, token, payload, 0);
        if !early {
            self.head = self.head.wrapping_add(1);
            self.store(HEAD_REQUESTS, u64::from(self.head));
        }
    }

    /// Writes a message `ahead` of where it belongs, for both ways of publication.
    fn send(
        &mut self,
        lane: Lane,
        info: Info,
        token: Token,
        payload: [u64; PAYLOAD_WORDS],
        ahead: i8,
    ) {
        let layout = &self.parts.out_layout;
        let (slots, bits, tail_word, tail) = match lane {
            Lane::Requests => (
                layout.request_slots(),
                layout.request_bits(),
                TAIL_REQUESTS,
                &mut self.requests_tail,
            ),
            Lane::Answers => (
                layout.answer_slots(),
                layout.answer_bits(),
                TAIL_ANSWERS,
                &mut self.answers_tail,
            ),
        };
        let position = tail.wrapping_add(ahead as u32);
        if ahead == 0 {
            *tail = tail.wrapping_add(1);
        }
        let slot = slots + 8 * (position as usize & ((1 << bits) - 1));
        self.store(slot + 1, token.raw());
        for (offset, word) in payload.into_iter().enumerate() {
            self.store(slot + 2 + offset, word);
        }
        let sequence = u64::from(position.wrapping_add(1));
        self.store(slot, sequence | u64::from(info.raw()) << 32);
        self.store(tail_word, sequence);
    }
}

fn payload(input: &mut Input<'_>) -> [u64; PAYLOAD_WORDS] {
    let mut payload = [0; PAYLOAD_WORDS];
    let used = input.below(PAYLOAD_WORDS + 1);
    for word in payload.iter_mut().take(used) {
        *word = input.word();
    }
    payload
}
