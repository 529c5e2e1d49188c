//! Lanes: single-writer queues of slots from one sender into one inbox.
//!
//! A lane has one writer and one reader, in two protection domains. Neither reads back what it wrote: the writer's tail and
//! the reader's head are private, and what the other side publishes is checked before it is used.
//!
//! There is no check for room here. Who writes holds a credit for the message, and credits never outnumber the slots
//! (`baton-rpc` keeps that promise and proves it); a writer that breaks it overwrites its own messages and no one else's.

use crate::message::{Info, Message, PAYLOAD, PAYLOAD_WORDS, Token};
use crate::publication::{Publication, TailOutOfRange};
use baton_shm::{ReadSlot, ReadSlots, ReadWord, Word, WriteSlot, WriteSlots};
use baton_sync::Ordering;
use core::cell::Cell;

/// The writing end of a lane.
pub struct LaneWriter<U: Publication> {
    slots: WriteSlots,
    tail: Cell<u32>,
    publication: U::Writer,
}

/// The reading end of a lane.
pub struct LaneReader<U: Publication> {
    slots: ReadSlots,
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
    #[inline]
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
    #[inline]
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

impl<U: Publication> LaneWriter<U> {
    /// A writer that begins at position `start`; its reader must begin there too.
    pub fn new(slots: WriteSlots, tail: Word, start: u32) -> Self {
        LaneWriter {
            slots,
            tail: Cell::new(start),
            publication: U::writer(tail, start),
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

    /// Writes and publishes one message; `payload` writes exactly the words that `info` announces.
    ///
    /// The caller holds a credit for the slot.
    #[inline]
    pub fn push(&self, info: Info, token: Token, payload: impl FnOnce(&mut PayloadWriter<'_>)) {
        let position = self.tail.get();
        let slot = self.slots.slot(position);
        // Relaxed: published below.
        slot.store(1, token.raw(), Ordering::Relaxed);
        payload(&mut PayloadWriter { slot, word: 0 });
        U::publish(&self.publication, &self.slots, position, info);
        self.tail.set(position.wrapping_add(1));
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
            slots,
            head: Cell::new(start),
            publication: U::reader(tail, start),
        }
    }

    /// Slots in the lane.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.slots.capacity()
    }

    /// The position of the next message.
    #[inline]
    pub fn head(&self) -> u32 {
        self.head.get()
    }

    /// The head of the next message, if it has been published.
    ///
    /// # Errors
    ///
    /// [`TailOutOfRange`]: the writer is corrupt; quarantine it.
    #[inline]
    pub fn peek(&self) -> Result<Option<Info>, TailOutOfRange> {
        U::peek(&self.publication, &self.slots, self.head.get())
    }

    /// The token of the message that [`LaneReader::peek`] has just found.
    #[inline]
    pub fn token(&self) -> Token {
        // Relaxed: ordered by the Acquire in `Publication::peek`.
        Token::from_raw(self.slots.slot(self.head.get()).load(1, Ordering::Relaxed))
    }

    /// The payload of the message that [`LaneReader::peek`] has just found.
    #[inline]
    pub fn payload(&self) -> PayloadReader<'_> {
        PayloadReader {
            slot: self.slots.slot(self.head.get()),
            word: 0,
        }
    }

    /// A private copy of that message, as many words as `info` says.
    #[inline]
    pub fn copy(&self, info: Info) -> Message {
        let mut payload = [0; PAYLOAD_WORDS];
        let slot = self.slots.slot(self.head.get());
        for (index, word) in payload.iter_mut().enumerate().take(info.words()) {
            // Relaxed: ordered by the Acquire in `Publication::peek`.
            *word = slot.load(PAYLOAD + index, Ordering::Relaxed);
        }
        Message {
            info,
            token: self.token(),
            payload,
        }
    }

    /// Goes on to the next message. The slot still belongs to the reader until the head is published.
    #[inline]
    pub fn advance(&self) {
        self.head.set(self.head.get().wrapping_add(1));
    }
}
