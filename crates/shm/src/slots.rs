//! Slots: a ring of 64-byte cells inside a region, addressed by a position that wraps.
//!
//! Each slot is one cache line and stands alone in a pair of lines: processors fetch lines in aligned pairs of 128 bytes, so
//! with neighbours in one pair a look at one message pulls the line that the other side is just writing (`docs/adr/0011`).

use crate::prefetch;
use crate::region::{Backing, OutOfRange, ReadRegion, Region};
use alloc::sync::Arc;
use baton_sync::{AtomicU64, Ordering};
use core::cell::Cell;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Words in one slot.
pub const SLOT_WORDS: usize = 8;
/// Bytes in one slot: one cache line.
pub const SLOT_BYTES: usize = SLOT_WORDS * 8;
/// Words from one slot to the next; those between are not used.
pub const SLOT_STRIDE_WORDS: usize = 2 * SLOT_WORDS;

/// How many slots ahead a reader asks for their lines.
pub const READ_AHEAD: usize = 4;

/// A ring of slots that this process may only read.
pub struct ReadSlots {
    base: NonNull<AtomicU64>,
    mask: u32,
    _keep: Arc<dyn Backing>,
}

/// A ring of slots that this process may read and write.
pub struct WriteSlots(ReadSlots);

// SAFETY: slots are only ever accessed by atomic operations, and `_keep` (Send + Sync) keeps them mapped.
unsafe impl Send for ReadSlots {}
// SAFETY: as for `Send`.
unsafe impl Sync for ReadSlots {}

impl ReadSlots {
    /// The ring of `2^size_bits` slots that begins at `offset_words`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the region is too short for it, or `size_bits` is above 16.
    pub fn new(
        region: &ReadRegion,
        offset_words: usize,
        size_bits: u32,
    ) -> Result<Self, OutOfRange> {
        let too_many = OutOfRange {
            offset_words,
            len_words: usize::MAX,
            region_words: region.words(),
        };
        if size_bits > 16 {
            return Err(too_many);
        }
        let count = 1usize << size_bits;
        let base = region.check(offset_words, count * SLOT_STRIDE_WORDS)?;
        Ok(ReadSlots {
            base,
            mask: (count - 1) as u32,
            _keep: region.keep(),
        })
    }

    /// How many slots the ring has: a power of two, at most 65 536.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.mask + 1
    }

    /// The slot that position `position` falls on.
    #[inline]
    pub fn slot(&self, position: u32) -> ReadSlot<'_> {
        let offset = (position & self.mask) as usize * SLOT_STRIDE_WORDS;
        ReadSlot {
            // SAFETY: `position & mask` is below the capacity, and `new` checked that many strides behind `base`.
            base: unsafe { self.base.add(offset) },
            ring: PhantomData,
        }
    }
}

impl WriteSlots {
    /// The ring of `2^size_bits` slots that begins at `offset_words`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the region is too short for it, or `size_bits` is above 16.
    pub fn new(region: &Region, offset_words: usize, size_bits: u32) -> Result<Self, OutOfRange> {
        Ok(WriteSlots(ReadSlots::new(
            &region.read_only(),
            offset_words,
            size_bits,
        )?))
    }

    /// How many slots the ring has: a power of two, at most 65 536.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.0.capacity()
    }

    /// The slot that position `position` falls on.
    #[inline]
    pub fn slot(&self, position: u32) -> WriteSlot<'_> {
        WriteSlot(self.0.slot(position))
    }
}

/// A ring, and a place in it that goes on slot by slot: cheaper than a look-up for each.
pub struct SlotReader {
    ring: ReadSlots,
    last: NonNull<AtomicU64>,
    /// A slot of `ring`.
    at: Cell<NonNull<AtomicU64>>,
}

// SAFETY: as for `ReadSlots`; the place moves with it.
unsafe impl Send for SlotReader {}

impl SlotReader {
    /// Stands at the slot of `position`.
    pub fn new(ring: ReadSlots, position: u32) -> Self {
        SlotReader {
            last: ring.slot(ring.mask).base,
            at: Cell::new(ring.slot(position).base),
            ring,
        }
    }

    /// The ring.
    #[inline]
    pub fn ring(&self) -> &ReadSlots {
        &self.ring
    }

    /// The slot that it stands at.
    #[inline(always)]
    pub fn slot(&self) -> ReadSlot<'_> {
        ReadSlot {
            base: self.at.get(),
            ring: PhantomData,
        }
    }

    /// Goes on to the next slot; behind the last comes the first.
    #[inline(always)]
    pub fn advance(&self) {
        self.walk().advance();
    }

    /// Goes on with its place at hand, in a loop in which nobody else moves it.
    #[inline(always)]
    pub fn walk(&self) -> SlotWalk<'_> {
        SlotWalk {
            reader: self,
            first: self.ring.base,
            last: self.last,
            at: self.at.get(),
        }
    }
}

/// A [`SlotReader`] that goes through its ring; what it keeps at hand would be read anew after each call that the compiler cannot see through.
pub struct SlotWalk<'a> {
    reader: &'a SlotReader,
    first: NonNull<AtomicU64>,
    last: NonNull<AtomicU64>,
    at: NonNull<AtomicU64>,
}

impl<'a> SlotWalk<'a> {
    /// The slot that it stands at.
    #[inline(always)]
    pub fn slot(&self) -> ReadSlot<'a> {
        ReadSlot {
            base: self.at,
            ring: PhantomData,
        }
    }

    /// As [`SlotReader::advance`].
    #[inline(always)]
    pub fn advance(&mut self) {
        self.at = if self.at == self.last {
            self.first
        } else {
            // SAFETY: `at` is a slot of the reader's ring and not the last, so another one follows.
            unsafe { self.at.add(SLOT_STRIDE_WORDS) }
        };
        self.reader.at.set(self.at);
    }
}

/// One slot that this process may only read.
#[derive(Clone, Copy)]
pub struct ReadSlot<'a> {
    base: NonNull<AtomicU64>,
    ring: PhantomData<&'a ReadSlots>,
}

/// One slot that this process may read and write.
#[derive(Clone, Copy)]
pub struct WriteSlot<'a>(ReadSlot<'a>);

impl<'a> ReadSlot<'a> {
    #[inline]
    fn atomic(&self, word: usize) -> &'a AtomicU64 {
        // SAFETY: a slot has 8 words, all inside the ring (`ReadSlots::slot`), and the index is cut to 0..8. The ring
        // outlives 'a and keeps the memory mapped.
        unsafe { self.base.add(word & (SLOT_WORDS - 1)).as_ref() }
    }

    /// Tells the processor that the slot [`READ_AHEAD`] further on will be read soon. It may only ever cost time: behind the end of the
    /// ring it means nothing.
    #[inline(always)]
    pub fn announce(&self) {
        prefetch::for_reading::<{ READ_AHEAD * SLOT_STRIDE_WORDS * 8 }>(self.base.as_ptr());
    }

    /// Reads word `word` (taken modulo 8) once.
    #[inline]
    pub fn load(&self, word: usize, order: Ordering) -> u64 {
        self.atomic(word).load(order)
    }
}

impl WriteSlot<'_> {
    /// Reads word `word` (taken modulo 8) once.
    #[inline]
    pub fn load(&self, word: usize, order: Ordering) -> u64 {
        self.0.load(word, order)
    }

    /// Writes word `word` (taken modulo 8).
    #[inline]
    pub fn store(&self, word: usize, value: u64, order: Ordering) {
        self.0.atomic(word).store(value, order);
    }

    /// Replaces word `word` (taken modulo 8) by `new` if it is `current`.
    ///
    /// # Errors
    ///
    /// The value found, when it was not `current`.
    #[inline]
    pub fn compare_exchange(
        &self,
        word: usize,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.0
            .atomic(word)
            .compare_exchange(current, new, success, failure)
    }
}
