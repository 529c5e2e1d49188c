//! Lanes: single-writer queues of slots from one sender into one inbox.
//!
//! A lane has one writer and one reader, in two protection domains. Neither reads back what it wrote: the writer's tail and
//! the reader's head are private, and what the other side publishes is checked before it is used.
//!
//! There is no check for room here. Who writes holds a credit for the message, and credits never outnumber the slots
//! (`baton-rpc` keeps that promise and proves it); a writer that breaks it overwrites its own messages and no one else's.

use crate::message::{Info, PAYLOAD, PAYLOAD_WORDS, Token};
use crate::publication::{Publication, TailOutOfRange};
use baton_shm::{ReadSlot, ReadSlots, ReadWord, SlotReader, SlotWalk, Word, WriteSlot, WriteSlots};
use baton_sync::Ordering;
use core::cell::Cell;

/// The writing end of a lane.
pub struct LaneWriter<U: Publication> {
    slots: WriteSlots,
    tail: Cell<u32>,
    /// With a shared ring, this sender's number at the receiver, which it writes into the token's upper 16 bits: generations have 32 there.
    source: u64,
    publication: U::Writer,
}

/// The reading end of a lane.
pub struct LaneReader<U: Publication> {
    /// Stands at the slot of position `head`.
    slots: SlotReader,
    head: Cell<u32>,
    publication: U::Reader,
}

/// The payload of a slot being written: words go in one after the other.
pub struct PayloadWriter<'a> {
    slot: WriteSlot<'a>,
    word: usize,
}

impl PayloadWriter<'_> {
    /// Appends a word. What goes beyond [`PAYLOAD_WORDS`] is not written.
    #[inline(always)]
    pub fn word(&mut self, word: u64) {
        debug_assert!(self.word < PAYLOAD_WORDS, "payload of more than 48 bytes");
        if self.word < PAYLOAD_WORDS {
            // Relaxed: published by `Publication::publish`.
            self.slot
                .store(PAYLOAD + self.word, word, Ordering::Relaxed);
            self.word += 1;
        }
    }
}

/// The payload of a published slot: words come out one after the other, each read once.
pub struct PayloadReader<'a> {
    slot: ReadSlot<'a>,
    word: usize,
}

impl PayloadReader<'_> {
    /// Takes the next word; zero beyond the end.
    #[inline(always)]
    pub fn word(&mut self) -> u64 {
        if self.word < PAYLOAD_WORDS {
            // Relaxed: ordered by the Acquire in `Publication::peek`.
            let word = self.slot.load(PAYLOAD + self.word, Ordering::Relaxed);
            self.word += 1;
            word
        } else {
            0
        }
    }
}

impl PayloadReader<'_> {
    /// Passes over `count` words without reading them.
    #[inline]
    pub fn skip(&mut self, count: usize) {
        self.word = (self.word + count).min(PAYLOAD_WORDS);
    }
}

impl<U: Publication> LaneWriter<U> {
    /// A writer that begins at position `start`; its reader must begin there too.
    pub fn new(slots: WriteSlots, tail: Word, start: u32) -> Self {
        LaneWriter {
            slots,
            tail: Cell::new(start),
            source: 0,
            publication: U::writer(tail, start),
        }
    }

    /// The same, for a sender that is number `source` at a receiver whose ring it shares with others.
    pub(crate) fn with_source(slots: WriteSlots, tail: Word, source: u32) -> Self {
        LaneWriter {
            source: u64::from(source) << 48,
            ..LaneWriter::new(slots, tail, 0)
        }
    }

    /// Slots in the lane.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.slots.capacity()
    }

    /// The position that the next message will get.
    #[inline]
    pub fn tail(&self) -> u32 {
        self.tail.get()
    }

    /// Writes and publishes one message, and returns its position; `payload` writes exactly the words that `info` announces.
    ///
    /// The caller holds a credit for the slot.
    #[inline(always)]
    pub fn push(
        &self,
        info: Info,
        token: Token,
        payload: impl FnOnce(&mut PayloadWriter<'_>),
    ) -> u32 {
        let position = U::claim(&self.publication, self.tail.get());
        let slot = self.slots.slot(position);
        let source = if U::ONE_RING { self.source } else { 0 };
        // Relaxed: published below.
        slot.store(1, token.raw() | source, Ordering::Relaxed);
        payload(&mut PayloadWriter { slot, word: 0 });
        U::publish(&self.publication, slot, position, info);
        self.tail.set(position.wrapping_add(1));
        position
    }

    /// Publishes what a batching publication held back.
    #[inline]
    pub fn flush(&self) {
        U::flush(&self.publication, self.tail.get());
    }
}

impl<U: Publication> LaneReader<U> {
    /// A reader that begins at position `start`.
    pub fn new(slots: ReadSlots, tail: ReadWord, start: u32) -> Self {
        LaneReader {
            slots: SlotReader::new(slots, start),
            head: Cell::new(start),
            publication: U::reader(tail, start),
        }
    }

    /// Slots in the lane.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.slots.ring().capacity()
    }

    /// The position of the next message.
    #[inline]
    pub fn head(&self) -> u32 {
        self.head.get()
    }

    /// The next message, if it has been published.
    ///
    /// # Errors
    ///
    /// [`TailOutOfRange`]: the writer is corrupt; quarantine it.
    #[inline]
    pub fn peek(&self) -> Result<Option<Found<'_>>, TailOutOfRange> {
        let slot = self.slots.slot();
        let ring = self.slots.ring();
        let info = U::peek(&self.publication, ring, slot, self.head.get())?;
        Ok(info.map(|info| Found { slot, info }))
    }

    /// Goes through the lane from its head on. Nobody else may drain the lane meanwhile: he and the walk would find the same messages.
    #[inline(always)]
    pub fn walk(&self) -> Walk<'_, U> {
        Walk {
            lane: self,
            slots: self.slots.walk(),
        }
    }

    /// Whether `messages` or more have been published, as far as can be told without a look at those before. For deciding how long to
    /// wait only: where it cannot be told, it says yes.
    pub fn is_published(&self, messages: u32) -> bool {
        let last = self.head.get().wrapping_add(messages.wrapping_sub(1));
        messages > self.capacity() || U::is_published(&self.publication, self.slots.ring(), last)
    }

    /// The message that [`LaneReader::peek`] found last and that has not been passed, read anew: the peer may have changed it.
    #[inline]
    pub fn first(&self) -> Found<'_> {
        let slot = self.slots.slot();
        // Relaxed: ordered by the Acquire in `Publication::peek`.
        let head = slot.load(0, Ordering::Relaxed);
        Found {
            slot,
            info: Info::from_raw((head >> 32) as u32),
        }
    }

    /// Goes on to the next message. The slot still belongs to the reader until the head is published.
    #[inline]
    pub fn advance(&self) {
        self.slots.advance();
        self.head.set(self.head.get().wrapping_add(1));
    }
}

/// A walk through a lane, message by message: a [`LaneReader`] whose place in the ring is at hand.
pub struct Walk<'a, U: Publication> {
    lane: &'a LaneReader<U>,
    slots: SlotWalk<'a>,
}

impl<'a, U: Publication> Walk<'a, U> {
    /// As [`LaneReader::peek`].
    ///
    /// # Errors
    ///
    /// As for [`LaneReader::peek`].
    #[inline(always)]
    pub fn peek(&self) -> Result<Option<Found<'a>>, TailOutOfRange> {
        let lane = self.lane;
        let slot = self.slots.slot();
        let ring = lane.slots.ring();
        let info = U::peek(&lane.publication, ring, slot, lane.head.get())?;
        Ok(info.map(|info| Found { slot, info }))
    }

    /// As [`LaneReader::advance`].
    #[inline(always)]
    pub fn advance(&mut self) {
        self.slots.advance();
        let head = &self.lane.head;
        head.set(head.get().wrapping_add(1));
    }
}

/// A message that lies in its slot.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    slot: ReadSlot<'a>,
    info: Info,
}

impl<'a> Found<'a> {
    /// Tells the processor that messages some way behind this one will be looked at soon: for whoever drains a queue.
    #[inline(always)]
    pub fn announce_next(&self) {
        self.slot.announce();
    }

    /// Kind, method and length.
    #[inline(always)]
    pub fn info(&self) -> Info {
        self.info
    }

    /// Reads the token. Read it once: the peer may change it.
    #[inline(always)]
    pub fn token(&self) -> Token {
        // Relaxed: ordered by the Acquire in `Publication::peek`.
        Token::from_raw(self.slot.load(1, Ordering::Relaxed))
    }

    /// Reads the token of a message in a shared ring, and the number of its sender.
    #[inline]
    pub fn token_and_source(&self) -> (Token, u32) {
        let raw = self.token().raw();
        (Token::from_raw(raw & (u64::MAX >> 16)), (raw >> 48) as u32)
    }

    /// The payload, word by word.
    #[inline(always)]
    pub fn payload(&self) -> PayloadReader<'a> {
        PayloadReader {
            slot: self.slot,
            word: 0,
        }
    }

    /// A private copy of all payload words, those behind the message's length included; they mean nothing.
    #[inline(always)]
    pub fn copy(&self) -> [u64; PAYLOAD_WORDS] {
        // Straight-line: cheaper than stopping at the length.
        // Relaxed: ordered by the Acquire in `Publication::peek`.
        core::array::from_fn(|index| self.slot.load(PAYLOAD + index, Ordering::Relaxed))
    }
}
