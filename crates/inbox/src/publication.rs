//! How a lane's writer tells its reader that a slot is full.
//!
//! Two ways stand behind one trait, chosen per platform (measured in `docs/adr/0001`):
//!
//! - [`InSlot`]: the slot's first word holds position + 1. Reader and writer meet on the slot's own cache line only, so a
//!   message costs one transfer less between cores. Every message is published by itself.
//! - [`TailWord`]: a word beside the lane counts published slots. Fewer instructions where both sides share a core; published
//!   every [`TailWord::BATCH`] messages and at the end of a batch.
//!
//! Both use positions of 32 bits that wrap; a lane has at most 2^14 slots, so an old sequence is never mistaken for a new one.

use crate::message::Info;
use baton_shm::{ReadSlot, ReadSlots, ReadWord, Word, WriteSlot};
use baton_sync::Ordering;
use core::cell::Cell;
use core::marker::PhantomData;

/// The tail that a peer published is not a possible one: it left the lane's capacity, or ran backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailOutOfRange;

/// How a slot is published.
pub trait Publication: 'static {
    /// The writer's private state.
    type Writer;
    /// The reader's private state.
    type Reader;

    /// Whether `publish` may hold messages back until `flush`.
    const HOLDS_BACK: bool = true;

    /// Whether requests and answers of one direction share a lane ([`OneLane`]).
    const ONE_LANE: bool = false;
    /// Whether all senders share one ring of the receiver ([`OneRing`]).
    const ONE_RING: bool = false;
    /// Whether a dispatcher task stands between the lanes and the tasks ([`Dispatched`]).
    const DISPATCHED: bool = false;

    /// A writer whose first message goes to position `start`.
    fn writer(tail: Word, start: u32) -> Self::Writer;
    /// A reader whose first message comes from position `start`.
    fn reader(tail: ReadWord, start: u32) -> Self::Reader;

    /// The position that the next message gets: the writer's own tail, unless other writers share the ring.
    #[inline]
    fn claim(_writer: &Self::Writer, tail: u32) -> u32 {
        tail
    }

    /// Publishes `slot`, the one at `position`, whose words 1.. are written already.
    fn publish(writer: &Self::Writer, slot: WriteSlot<'_>, position: u32, info: Info);
    /// Publishes what `publish` held back; `tail` is the next position to write.
    fn flush(writer: &Self::Writer, tail: u32);
    /// Whether the slot at `position` has been published, for deciding how long to wait only; yes where it cannot be told.
    fn is_published(_reader: &Self::Reader, _slots: &ReadSlots, _position: u32) -> bool {
        true
    }
    /// The head that `slot`, the one at `position` of `slots`, was published with, if it has been.
    ///
    /// # Errors
    ///
    /// [`TailOutOfRange`]: the peer is corrupt.
    fn peek(
        reader: &Self::Reader,
        slots: &ReadSlots,
        slot: ReadSlot<'_>,
        position: u32,
    ) -> Result<Option<Info>, TailOutOfRange>;
}

/// The sequence number stands in the slot.
pub struct InSlot;

impl Publication for InSlot {
    type Writer = ();
    type Reader = ();

    const HOLDS_BACK: bool = false;

    fn writer(_tail: Word, _start: u32) {}
    fn reader(_tail: ReadWord, _start: u32) {}

    #[inline]
    fn publish(_: &(), slot: WriteSlot<'_>, position: u32, info: Info) {
        let sequence = position.wrapping_add(1);
        let head = u64::from(sequence) | u64::from(info.raw()) << 32;
        // Release: pairs with the Acquire load in `peek`; whoever sees this sequence sees the words written before.
        slot.store(0, head, Ordering::Release);
    }

    #[inline]
    fn flush(_: &(), _tail: u32) {}

    fn is_published(_: &(), slots: &ReadSlots, position: u32) -> bool {
        // Relaxed: nothing is read after it.
        slots.slot(position).load(0, Ordering::Relaxed) as u32 == position.wrapping_add(1)
    }

    #[inline(always)]
    fn peek(
        _: &(),
        _: &ReadSlots,
        slot: ReadSlot<'_>,
        position: u32,
    ) -> Result<Option<Info>, TailOutOfRange> {
        // Acquire: pairs with the Release store in `publish`.
        let head = slot.load(0, Ordering::Acquire);
        if head as u32 != position.wrapping_add(1) {
            return Ok(None);
        }
        Ok(Some(Info::from_raw((head >> 32) as u32)))
    }
}

/// The writer's tail stands in a word of its own.
pub struct TailWord;

impl TailWord {
    /// Messages after which the tail is published even inside a batch, so that the reader need not wait for its end.
    pub const BATCH: u32 = 8;
}

/// The writer's side of [`TailWord`].
pub struct TailWriter {
    tail: Word,
    published: Cell<u32>,
}

/// The reader's side of [`TailWord`].
pub struct TailReader {
    tail: ReadWord,
    seen: Cell<u32>,
}

impl Publication for TailWord {
    type Writer = TailWriter;
    type Reader = TailReader;

    fn writer(tail: Word, start: u32) -> TailWriter {
        // Relaxed: the region has not been passed to the peer yet.
        tail.store(u64::from(start), Ordering::Relaxed);
        TailWriter {
            tail,
            published: Cell::new(start),
        }
    }

    fn reader(tail: ReadWord, start: u32) -> TailReader {
        TailReader {
            tail,
            seen: Cell::new(start),
        }
    }

    #[inline]
    fn publish(writer: &TailWriter, slot: WriteSlot<'_>, position: u32, info: Info) {
        // Relaxed: the tail's Release store publishes it.
        slot.store(0, u64::from(info.raw()) << 32, Ordering::Relaxed);
        let tail = position.wrapping_add(1);
        if tail.wrapping_sub(writer.published.get()) >= Self::BATCH {
            Self::flush(writer, tail);
        }
    }

    #[inline]
    fn flush(writer: &TailWriter, tail: u32) {
        if writer.published.get() != tail {
            writer.published.set(tail);
            // Release: pairs with the Acquire load in `peek`.
            writer.tail.store(u64::from(tail), Ordering::Release);
        }
    }

    fn is_published(reader: &TailReader, _: &ReadSlots, position: u32) -> bool {
        // Relaxed: nothing is read after it. A tail that is behind is at most the lane's capacity behind.
        let tail = reader.tail.load(Ordering::Relaxed) as u32;
        tail.wrapping_sub(position).wrapping_sub(1) < 1 << 31
    }

    #[inline(always)]
    fn peek(
        reader: &TailReader,
        slots: &ReadSlots,
        slot: ReadSlot<'_>,
        position: u32,
    ) -> Result<Option<Info>, TailOutOfRange> {
        if reader.seen.get() == position {
            // Acquire: pairs with the Release store in `flush`.
            let tail = reader.tail.load(Ordering::Acquire) as u32;
            if tail.wrapping_sub(position) > slots.capacity() {
                return Err(TailOutOfRange);
            }
            reader.seen.set(tail);
            if tail == position {
                return Ok(None);
            }
        }
        // Relaxed: ordered by the Acquire load of the tail.
        let head = slot.load(0, Ordering::Relaxed);
        Ok(Some(Info::from_raw((head >> 32) as u32)))
    }
}

/// Requests and answers of a direction share one lane, as in ReL4's pairs of rings. For comparison; see `docs/bench/one-inbox.md`.
pub struct OneLane<U>(PhantomData<U>);

/// A dispatcher task empties the lanes and wakes the tasks named in the messages, as in ReL4. For comparison.
pub struct Dispatched<U>(PhantomData<U>);

macro_rules! as_inner {
    ($inner:ident) => {
        type Writer = $inner::Writer;
        type Reader = $inner::Reader;

        const HOLDS_BACK: bool = $inner::HOLDS_BACK;

        fn writer(tail: Word, start: u32) -> Self::Writer {
            $inner::writer(tail, start)
        }

        fn reader(tail: ReadWord, start: u32) -> Self::Reader {
            $inner::reader(tail, start)
        }

        #[inline]
        fn claim(writer: &Self::Writer, tail: u32) -> u32 {
            $inner::claim(writer, tail)
        }

        #[inline]
        fn publish(writer: &Self::Writer, slot: WriteSlot<'_>, position: u32, info: Info) {
            $inner::publish(writer, slot, position, info);
        }

        #[inline]
        fn flush(writer: &Self::Writer, tail: u32) {
            $inner::flush(writer, tail);
        }

        fn is_published(reader: &Self::Reader, slots: &ReadSlots, position: u32) -> bool {
            $inner::is_published(reader, slots, position)
        }

        #[inline(always)]
        fn peek(
            reader: &Self::Reader,
            slots: &ReadSlots,
            slot: ReadSlot<'_>,
            position: u32,
        ) -> Result<Option<Info>, TailOutOfRange> {
            $inner::peek(reader, slots, slot, position)
        }
    };
}

impl<U: Publication> Publication for OneLane<U> {
    const ONE_LANE: bool = true;
    as_inner!(U);
}

impl<U: Publication> Publication for Dispatched<U> {
    const ONE_LANE: bool = U::ONE_LANE;
    const ONE_RING: bool = U::ONE_RING;
    const DISPATCHED: bool = true;
    as_inner!(U);
}

/// All senders write one ring of the receiver, which therefore must trust them all. For comparison; see
/// `docs/bench/one-inbox.md`.
///
/// A sender claims a position with one read-modify-write, and publishes in the slot. Who claims and dies stops everybody.
pub struct OneRing;

impl Publication for OneRing {
    /// The ring's tail, which all its writers share.
    type Writer = Word;
    type Reader = ();

    const HOLDS_BACK: bool = false;
    const ONE_LANE: bool = true;
    const ONE_RING: bool = true;

    fn writer(tail: Word, _start: u32) -> Word {
        tail
    }

    fn reader(_tail: ReadWord, _start: u32) {}

    #[inline]
    fn claim(tail: &Word, _own: u32) -> u32 {
        // Relaxed: the claim orders nothing; the slot's sequence publishes.
        tail.fetch_add(1, Ordering::Relaxed) as u32
    }

    #[inline]
    fn publish(_: &Word, slot: WriteSlot<'_>, position: u32, info: Info) {
        InSlot::publish(&(), slot, position, info);
    }

    #[inline]
    fn flush(_: &Word, _tail: u32) {}

    fn is_published(reader: &(), slots: &ReadSlots, position: u32) -> bool {
        InSlot::is_published(reader, slots, position)
    }

    #[inline(always)]
    fn peek(
        reader: &(),
        slots: &ReadSlots,
        slot: ReadSlot<'_>,
        position: u32,
    ) -> Result<Option<Info>, TailOutOfRange> {
        InSlot::peek(reader, slots, slot, position)
    }
}
