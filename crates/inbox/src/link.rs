//! Links: both ends of a connection as one side holds them.
//!
//! ```text
//!            what this side writes                       what the peer writes (read-only here)
//!   requests ─▶ LaneWriter                               LaneReader ◀─ requests
//!   answers  ─▶ LaneWriter                               LaneReader ◀─ answers
//!   heads of the peer's lanes, want_space                heads of our lanes, want_space
//! ```

use crate::lane::{LaneReader, LaneWriter};
use crate::layout::{
    BULK_BYTES, HEAD_ANSWERS, HEAD_REQUESTS, LANE_BITS, LayoutError, RegionLayout, SLOTS,
    TAIL_ANSWERS, TAIL_REQUESTS, WANT_SPACE,
};
use crate::publication::Publication;
use crate::scan::PeerHint;
use crate::state::PeerState;
use baton_shm::{
    OutOfRange, ReadRegion, ReadSlots, ReadWord, Region, SLOT_STRIDE_WORDS, Word, WriteSlots,
};
use baton_sync::Ordering;
use core::fmt;

/// What one side is handed when a connection is made; the broker made it and both sides trust it.
pub struct LinkParts<B> {
    /// The region that this side writes.
    pub outgoing: Region,
    /// Its layout.
    pub out_layout: RegionLayout,
    /// The region that the peer writes, mapped read-only.
    pub incoming: ReadRegion,
    /// The layout that was agreed on for it.
    pub in_layout: RegionLayout,
    /// The peer's state word.
    pub peer_state: ReadWord,
    /// The peer's hint word.
    pub peer_hint: Word,
    /// This connection's number in the peer's inbox: its bit in the hint word.
    pub peer_index: u32,
    /// Wakes the peer.
    pub bell: B,
    /// Credits that this side may use at the peer.
    pub credits: u32,
    /// Credits that the peer may use at this side.
    pub granted: u32,
}

/// A ring that all senders of an inbox write: tail at word 8, slots from word 64 on.
#[derive(Clone)]
pub struct SharedRing {
    region: Region,
    size_bits: u32,
}

const RING_TAIL: usize = 8;

impl SharedRing {
    /// Words that a ring of `2^size_bits` slots takes.
    pub const fn words(size_bits: u32) -> usize {
        SLOTS + (SLOT_STRIDE_WORDS << size_bits)
    }

    /// The ring in `region`, which has at least [`SharedRing::words`] words, zero at first.
    pub fn new(region: Region, size_bits: u32) -> Self {
        SharedRing { region, size_bits }
    }

    /// The receiver's end.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the region is too short.
    pub fn reader<U: Publication>(&self) -> Result<LaneReader<U>, OutOfRange> {
        let region = self.region.read_only();
        let slots = ReadSlots::new(&region, SLOTS, self.size_bits)?;
        Ok(LaneReader::new(slots, region.word(RING_TAIL)?, 0))
    }

    fn writer<U: Publication>(&self, source: u32) -> Result<LaneWriter<U>, OutOfRange> {
        let slots = WriteSlots::new(&self.region, SLOTS, self.size_bits)?;
        let tail = self.region.word(RING_TAIL)?;
        Ok(LaneWriter::with_source(slots, tail, source))
    }
}

/// Why a link could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// The peer's region is not what was agreed on.
    Layout(LayoutError),
    /// One of the own regions is too short: a mistake of the broker.
    OutOfRange(OutOfRange),
    /// More credits than slots: a mistake of the broker.
    CreditsExceedSlots {
        /// Credits that were to be used.
        credits: u32,
        /// Slots that the lane has.
        slots: u32,
    },
    /// The connection is of the kind that shares the receiver's ring, and came without one: a mistake of the broker.
    NoRing,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::Layout(error) => error.fmt(f),
            LinkError::OutOfRange(error) => error.fmt(f),
            LinkError::NoRing => f.write_str("the connection came without the receiver's ring"),
            LinkError::CreditsExceedSlots { credits, slots } => {
                write!(
                    f,
                    "{credits} credits were granted on a lane of {slots} slots"
                )
            }
        }
    }
}

impl core::error::Error for LinkError {}

impl From<LayoutError> for LinkError {
    fn from(error: LayoutError) -> Self {
        LinkError::Layout(error)
    }
}

impl From<OutOfRange> for LinkError {
    fn from(error: OutOfRange) -> Self {
        LinkError::OutOfRange(error)
    }
}

/// Messages that a reader may drain before it publishes its head.
///
/// Their answers are visible before that, so a writer may be that much further ahead of the head than the lane has slots.
pub const HEAD_LAG: u32 = 32;

/// The head that a peer published is not a possible one: it is beyond what was sent, or ran backwards out of the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadOutOfRange;

/// One side's end of a connection.
pub struct Link<U: Publication> {
    /// Requests, one-way sends and CANCEL to the peer; answers too where they share a lane.
    pub requests_out: LaneWriter<U>,
    answers_out: LaneWriter<U>,
    /// Requests, one-way sends and CANCEL from the peer.
    pub requests_in: LaneReader<U>,
    answers_in: LaneReader<U>,
    /// Whether the peer sleeps.
    pub peer_state: PeerState,
    /// Our bit in the peer's hint word.
    pub peer_hint: PeerHint,
    head_of_requests_in: Word,
    head_of_answers_in: Word,
    want_space: Word,
    peer_head: ReadWord,
    peer_wants_space: ReadWord,
}

/// Writes the header of a region that this side is about to pass on.
///
/// # Errors
///
/// [`OutOfRange`] when the region is too short even for that.
pub fn write_header(region: &Region, layout: &RegionLayout) -> Result<(), OutOfRange> {
    let [magic, bits, bulk] = layout.header();
    // Release: the region is passed on afterwards by a system call, which orders it; stated for the reader's Acquire.
    region.word(LANE_BITS)?.store(bits, Ordering::Release);
    region.word(BULK_BYTES)?.store(bulk, Ordering::Release);
    region.word(0)?.store(magic, Ordering::Release);
    Ok(())
}

/// Reads and checks the header of a peer's region.
///
/// # Errors
///
/// [`LinkError::Layout`]: the peer's fault.
pub fn check_header(region: &ReadRegion, layout: &RegionLayout) -> Result<(), LinkError> {
    // Acquire: pairs with the Release stores in `write_header`.
    let header = [
        region.word(0)?.load(Ordering::Acquire),
        region.word(LANE_BITS)?.load(Ordering::Acquire),
        region.word(BULK_BYTES)?.load(Ordering::Acquire),
    ];
    layout.check(header, region.words())?;
    Ok(())
}

impl<U: Publication> Link<U> {
    /// Makes a link; both sides' lanes begin at position `start` (0, but in tests of wrapping).
    ///
    /// # Errors
    ///
    /// [`LinkError::Layout`] is the peer's fault, the others are the broker's.
    pub fn new<B>(parts: &LinkParts<B>, start: u32) -> Result<Self, LinkError> {
        Self::with_ring(parts, start, None)
    }

    /// As [`Link::new`], to a peer whose senders all write `peer_ring`.
    ///
    /// # Errors
    ///
    /// As for [`Link::new`], and [`LinkError::NoRing`] when there is none though the publication wants one.
    pub fn with_ring<B>(
        parts: &LinkParts<B>,
        start: u32,
        peer_ring: Option<&SharedRing>,
    ) -> Result<Self, LinkError> {
        check_header(&parts.incoming, &parts.in_layout)?;
        let (out, incoming) = (&parts.out_layout, &parts.in_layout);
        // Where requests and answers share a lane, it has room for both.
        let both = if U::ONE_LANE {
            [
                (parts.credits + parts.granted, out.request_bits()),
                (parts.credits + parts.granted, incoming.request_bits()),
            ]
        } else {
            [
                (parts.credits, incoming.answer_bits()),
                (parts.granted, out.answer_bits()),
            ]
        };
        let each = [
            (parts.credits, out.request_bits()),
            (parts.granted, incoming.request_bits()),
        ];
        for (credits, bits) in each.into_iter().chain(both) {
            let slots = 1u32 << bits;
            if credits > slots {
                return Err(LinkError::CreditsExceedSlots { credits, slots });
            }
        }
        let writer = |offset, bits, tail| -> Result<LaneWriter<U>, LinkError> {
            let slots = WriteSlots::new(&parts.outgoing, offset, bits)?;
            Ok(LaneWriter::new(slots, parts.outgoing.word(tail)?, start))
        };
        let reader = |offset, bits, tail| -> Result<LaneReader<U>, LinkError> {
            let slots = ReadSlots::new(&parts.incoming, offset, bits)?;
            Ok(LaneReader::new(slots, parts.incoming.word(tail)?, start))
        };
        for head in [HEAD_REQUESTS, HEAD_ANSWERS] {
            // Relaxed: no message is older, and the peer looks at the head after it has sent one.
            parts
                .outgoing
                .word(head)?
                .store(u64::from(start), Ordering::Relaxed);
        }
        Ok(Link {
            requests_out: match peer_ring {
                Some(ring) if U::ONE_RING => ring.writer(parts.peer_index)?,
                None if U::ONE_RING => return Err(LinkError::NoRing),
                _ => writer(out.request_slots(), out.request_bits(), TAIL_REQUESTS)?,
            },
            answers_out: writer(out.answer_slots(), out.answer_bits(), TAIL_ANSWERS)?,
            requests_in: reader(
                incoming.request_slots(),
                incoming.request_bits(),
                TAIL_REQUESTS,
            )?,
            answers_in: reader(
                incoming.answer_slots(),
                incoming.answer_bits(),
                TAIL_ANSWERS,
            )?,
            peer_state: PeerState::new(parts.peer_state.clone()),
            peer_hint: PeerHint::new(parts.peer_hint.clone(), parts.peer_index),
            head_of_requests_in: parts.outgoing.word(HEAD_REQUESTS)?,
            head_of_answers_in: parts.outgoing.word(HEAD_ANSWERS)?,
            want_space: parts.outgoing.word(WANT_SPACE)?,
            peer_head: parts.incoming.word(HEAD_REQUESTS)?,
            peer_wants_space: parts.incoming.word(WANT_SPACE)?,
        })
    }

    /// Answers to the peer.
    #[inline]
    pub fn answers_out(&self) -> &LaneWriter<U> {
        if U::ONE_LANE {
            &self.requests_out
        } else {
            &self.answers_out
        }
    }

    /// Answers from the peer.
    #[inline]
    pub fn answers_in(&self) -> &LaneReader<U> {
        if U::ONE_LANE {
            &self.requests_in
        } else {
            &self.answers_in
        }
    }

    /// A number that changes with each message that is drained.
    pub fn drained(&self) -> u32 {
        self.requests_in.head().wrapping_add(self.answers_in.head())
    }

    /// Publishes what batching publications held back.
    #[inline]
    pub fn flush(&self) {
        self.requests_out.flush();
        self.answers_out.flush();
    }

    /// Publishes how far the peer's requests have been drained.
    #[inline]
    pub fn publish_request_head(&self) {
        // Release: pairs with the Acquire load in `peer_head`; the slots before it have been copied.
        self.head_of_requests_in
            .store(u64::from(self.requests_in.head()), Ordering::Release);
    }

    /// Publishes how far the peer's answers have been drained.
    #[inline]
    pub fn publish_answer_head(&self) {
        // Release: as above. Nobody waits for it; a dump of either side shows it.
        self.head_of_answers_in
            .store(u64::from(self.answers_in().head()), Ordering::Release);
    }

    /// How far the peer has drained our requests.
    ///
    /// # Errors
    ///
    /// [`HeadOutOfRange`] when no correct peer has such a head: the peer is corrupt.
    pub fn peer_head(&self) -> Result<u32, HeadOutOfRange> {
        // Acquire: pairs with the Release store in `publish_request_head`; slots before the head may be written again.
        let head = self.peer_head.load(Ordering::Acquire);
        // What was seen before says nothing: positions may have wrapped since.
        let most = self.requests_out.capacity() + HEAD_LAG;
        match u32::try_from(head) {
            Ok(head) if self.requests_out.tail().wrapping_sub(head) <= most => Ok(head),
            _ => Err(HeadOutOfRange),
        }
    }

    /// Asks the peer (or stops asking it) to ring when it publishes a head.
    ///
    /// When asking, the fence of `announce_sleep` or of [`crate::sender_fence`] must follow before the head is read again.
    pub fn set_want_space(&self, wanted: bool) {
        // Relaxed: ordered by that fence; pairs with the load in `peer_wants_space`.
        self.want_space.store(u64::from(wanted), Ordering::Relaxed);
    }

    /// Whether the peer asked to be rung for heads. [`crate::sender_fence`] must follow the publication of the head.
    #[inline]
    pub fn peer_wants_space(&self) -> bool {
        // Relaxed: ordered by that fence.
        self.peer_wants_space.load(Ordering::Relaxed) != 0
    }
}
