//! What a hostile peer may write: its region, its state word, the victim's hint word and the victim's bell.
//!
//! It keeps enough of the protocol's state to write messages that are almost right.

use crate::random::Random;
use baton_inbox::layout::{HEAD_ANSWERS, HEAD_REQUESTS, SLOTS, WANT_SPACE};
use baton_inbox::{Bell, Info, MAX_CONNECTIONS, RegionLayout, Token};
use baton_linux::{EventBell, PeerLink};
use baton_shm::{ReadRegion, ReadWord, Region, SLOT_STRIDE_WORDS, Word};
use std::sync::atomic::Ordering;

/// After an attack that broke the order of the lane, every so many looks find it again.
const RESYNC_ONE_IN: u64 = 8;

/// A lane that we write.
#[derive(Clone, Copy)]
pub(super) enum Lane {
    Requests,
    Answers,
}

/// See the module's page.
pub(super) struct Pen {
    words: Vec<Word>,
    state: Word,
    hint: Word,
    bell: EventBell,
    layout: RegionLayout,
    /// What the victim writes: its requests, and how far it has drained ours.
    in_layout: RegionLayout,
    incoming: ReadRegion,
    victims_head: Option<ReadWord>,
    /// Position of our next message in each lane.
    pub(super) tails: [u32; 2],
    /// How far we have read the victim's requests and answers.
    pub(super) heads: [u32; 2],
    /// The tokens of the victim's requests that we have seen last.
    pub(super) tokens: Vec<u64>,
    /// The generation of our next request, so that tokens look fresh.
    pub(super) generation: u64,
    pub(super) credits: u32,
    pub(super) written: u64,
}

impl Pen {
    /// Takes the lanes of `link` over; `state` is the word of our own S page.
    pub(super) fn new(link: &PeerLink, state: Word) -> Option<Pen> {
        let of_region = |region: &Region| {
            let words = (0..region.words()).map(|at| region.word(at));
            words.collect::<Result<Vec<_>, _>>().ok()
        };
        Some(Pen {
            words: of_region(&link.outgoing)?,
            state,
            hint: link.peer_hint.clone(),
            bell: link.bell.clone(),
            layout: link.out_layout,
            in_layout: link.in_layout,
            incoming: link.incoming.clone(),
            victims_head: link.incoming.word(HEAD_REQUESTS).ok(),
            tails: [0; 2],
            heads: [0; 2],
            tokens: Vec::new(),
            generation: 0,
            credits: link.credits,
            written: 0,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.words.len() as u64
    }

    /// Writes any word of the region.
    #[inline]
    pub(super) fn put(&mut self, at: usize, value: u64) {
        if let Some(word) = self.words.get(at) {
            word.store(value, Ordering::Release);
            self.written += 1;
        }
    }

    pub(super) fn put_state(&mut self, value: u64) {
        self.state.store(value, Ordering::Release);
        self.written += 1;
    }

    pub(super) fn put_hint(&mut self, value: u64) {
        self.hint.store(value, Ordering::Release);
        self.written += 1;
    }

    pub(super) fn put_head(&mut self, lane: Lane, value: u64) {
        match lane {
            Lane::Requests => self.put(HEAD_REQUESTS, value),
            Lane::Answers => self.put(HEAD_ANSWERS, value),
        }
    }

    pub(super) fn put_want(&mut self, value: u64) {
        self.put(WANT_SPACE, value);
    }

    /// Rings the victim, which costs a system call.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// Where the slot of a position lies.
    pub(super) fn slot(&self, lane: Lane, position: u32) -> usize {
        let (start, bits) = match lane {
            Lane::Requests => (SLOTS, self.layout.request_bits()),
            Lane::Answers => (self.layout.answer_slots(), self.layout.answer_bits()),
        };
        start + ((position & ((1 << bits) - 1)) as usize) * SLOT_STRIDE_WORDS
    }

    pub(super) fn slots(&self, lane: Lane) -> u32 {
        match lane {
            Lane::Requests => 1 << self.layout.request_bits(),
            Lane::Answers => 1 << self.layout.answer_bits(),
        }
    }

    /// Writes a message as the protocol wants it, whatever is in it, and publishes it at the next position.
    pub(super) fn send(&mut self, lane: Lane, info: Info, token: u64, payload: &[u64]) {
        let tail = self.tails[lane as usize];
        let slot = self.slot(lane, tail);
        for (offset, word) in payload.iter().enumerate() {
            self.put(slot + 2 + offset, *word);
        }
        self.put(slot + 1, token);
        self.publish(slot, tail, info);
        self.tails[lane as usize] = tail.wrapping_add(1);
    }

    pub(super) fn publish(&mut self, slot: usize, position: u32, info: Info) {
        let sequence = u64::from(position.wrapping_add(1));
        self.put(slot, sequence | u64::from(info.raw()) << 32);
    }

    /// A token that looks like one of ours that was never used.
    pub(super) fn fresh_token(&mut self, random: &mut Random) -> u64 {
        self.generation = self.generation.wrapping_add(1);
        let index = random.below(u64::from(self.credits.max(1))) as u16;
        Token::new(index, self.generation).raw()
    }

    /// How far the victim has drained our requests.
    pub(super) fn victims_head(&self) -> u32 {
        self.victims_head
            .as_ref()
            .map_or(0, |head| head.load(Ordering::Acquire) as u32)
    }

    /// Whether the victim has drained all that we sent.
    pub(super) fn all_drained(&self) -> bool {
        self.victims_head() == self.tails[Lane::Requests as usize]
    }

    /// Whether the next message will be found: now and then after looking where the victim really is.
    pub(super) fn is_in_step(&mut self, random: &mut Random) -> bool {
        if !self.all_drained() && random.one_in(RESYNC_ONE_IN) {
            self.tails[Lane::Requests as usize] = self.victims_head();
        }
        self.all_drained()
    }

    /// The victim's next request, if there is one: its head and its token.
    pub(super) fn next_request(&mut self) -> Option<(Info, u64)> {
        let (start, bits) = (
            self.in_layout.request_slots(),
            self.in_layout.request_bits(),
        );
        let position = self.heads[0];
        let slot = start + ((position & ((1 << bits) - 1)) as usize) * SLOT_STRIDE_WORDS;
        let head = self.incoming.word(slot).ok()?.load(Ordering::Acquire);
        if head as u32 != position.wrapping_add(1) {
            return None;
        }
        let token = self.incoming.word(slot + 1).ok()?.load(Ordering::Relaxed);
        self.heads[0] = position.wrapping_add(1);
        if self.tokens.len() == 16 {
            self.tokens.remove(0);
        }
        self.tokens.push(token);
        Some((Info::from_raw((head >> 32) as u32), token))
    }

    /// Says, as an honest peer would, how far the victim's requests have been drained.
    pub(super) fn publish_head(&mut self) {
        let head = self.heads[0];
        self.put_head(Lane::Requests, u64::from(head));
    }

    /// The bit of some connection in the victim's hint word.
    pub(super) fn some_bit(random: &mut Random) -> u64 {
        1 << random.below(MAX_CONNECTIONS as u64)
    }
}
