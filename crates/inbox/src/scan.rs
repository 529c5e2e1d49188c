//! Which connections to look at, and in what order.
//!
//! Looking at an idle lane costs a handful of instructions, which is nothing for four peers and too much for sixty. From
//! [`HINT_FROM`] connections on, a *hint word* says where to look first: senders set their connection's bit, the consumer
//! clears it when it has looked in vain for a while. It may only ever cost time, never a message: a sender whose bit was
//! cleared under it sets it again with its next message, and every 256th turn, and before sleeping, all lanes
//! are looked at whatever the hint says ([`Scan::look_at_all`]). A hostile sender that clears the bits of others delays them by that much.
//!
//! ```text
//!            idle for IDLE_TURNS looks: clear bit, fence, look once more
//!   hot  ─────────────────────────────────────────────────────────────▶  cold
//!   bit set, looked at every turn                       bit clear, looked at every 256 turns
//!        ◀─────────────────────────────────────────────────────────────
//!            sender: publish, fence, HINTED and bit clear? set it
//! ```
//!
//! A busy connection's bit stays set, so neither side writes the hint word while messages flow. Senders learn from the state word
//! ([`HINTED`](crate::state::HINTED)) whether the hint word is used at all.

use crate::layout::MAX_CONNECTIONS;
use baton_shm::Word;
use baton_sync::{Ordering, fence};
use core::cell::Cell;

/// Number of connections from which on the hint word is used.
pub const HINT_FROM: u32 = 16;
/// Looks in vain after which a connection is cold.
pub const IDLE_TURNS: u8 = 32;
/// Number of priority bands. Band 0 runs first.
pub const BANDS: usize = 8;

/// A priority band, 0 (first) to 7 (last).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Band(u8);

impl Band {
    /// The band that runs first.
    pub const FIRST: Band = Band(0);
    /// The band for ordinary work.
    pub const NORMAL: Band = Band(4);
    /// The band that runs last.
    pub const LAST: Band = Band(7);

    /// Band `number`, or none if that is above 7.
    pub const fn new(number: u8) -> Option<Band> {
        if (number as usize) < BANDS {
            Some(Band(number))
        } else {
            None
        }
    }

    /// Band `number` modulo 8.
    #[inline]
    pub const fn wrapping(number: u32) -> Band {
        Band(number as u8 & (BANDS as u8 - 1))
    }

    /// Its number.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize & (BANDS - 1)
    }

    /// Its bit in a set of bands.
    #[inline]
    pub const fn bit(self) -> u32 {
        1 << self.index()
    }
}

/// Looks in vain at a connection, and what had been drained then.
#[derive(Clone, Copy)]
struct Idle {
    looks: u8,
    drained: u32,
}

/// The consumer's record of its connections: which are bound, in which band, and which were busy lately.
pub struct Scan {
    bound: Cell<u64>,
    in_band: [Cell<u64>; BANDS],
    bands: Cell<u32>,
    hinted: Cell<bool>,
    hint: Word,
    idle: [Cell<Idle>; MAX_CONNECTIONS],
    once: Cell<u64>,
    first: Cell<u32>,
}

impl Scan {
    /// A record of no connections, with the hint word that senders will set bits in.
    pub fn new(hint: Word) -> Self {
        // Relaxed: no sender has the word yet.
        hint.store(0, Ordering::Relaxed);
        Scan {
            bound: Cell::new(0),
            in_band: [const { Cell::new(0) }; BANDS],
            bands: Cell::new(0),
            hinted: Cell::new(false),
            hint,
            idle: [const {
                Cell::new(Idle {
                    looks: 0,
                    drained: 0,
                })
            }; MAX_CONNECTIONS],
            once: Cell::new(0),
            first: Cell::new(0),
        }
    }

    /// Takes connection `index` (below [`MAX_CONNECTIONS`]) into the scan; it begins hot.
    pub fn bind(&self, index: u32, band: Band) {
        let bit = 1u64 << (index % MAX_CONNECTIONS as u32);
        self.bound.set(self.bound.get() | bit);
        let members = &self.in_band[band.index()];
        members.set(members.get() | bit);
        self.update();
        // AcqRel as every change of the hint; pairs with the senders' own read-modify-writes.
        self.hint.fetch_or(bit, Ordering::AcqRel);
    }

    /// Takes a connection out of the scan.
    pub fn unbind(&self, index: u32) {
        let bit = 1u64 << (index % MAX_CONNECTIONS as u32);
        self.bound.set(self.bound.get() & !bit);
        for members in &self.in_band {
            members.set(members.get() & !bit);
        }
        self.update();
    }

    fn update(&self) {
        let mut bands = 0;
        for (band, members) in self.in_band.iter().enumerate() {
            if members.get() != 0 {
                bands |= 1 << band;
            }
        }
        self.bands.set(bands);
        let hinted = self.bound.get().count_ones() >= HINT_FROM;
        if hinted && !self.hinted.get() {
            // Nobody has set bits for a while: all begin hot.
            // AcqRel as every change of the hint.
            self.hint.fetch_or(self.bound.get(), Ordering::AcqRel);
        }
        self.hinted.set(hinted);
    }

    /// The connections that are bound, one bit each.
    #[inline]
    pub fn bound(&self) -> u64 {
        self.bound.get()
    }

    /// The bands that have connections, one bit each.
    #[inline]
    pub fn bands(&self) -> u32 {
        self.bands.get()
    }

    /// Has the next turn look at all connections, whatever the hint says. To be called every so many turns, and after a sleep.
    #[inline]
    pub fn look_at_all(&self) {
        self.once.set(self.bound.get());
    }

    /// The connections that are worth a look in this turn, one bit each.
    #[inline]
    pub fn candidates(&self) -> u64 {
        let bound = self.bound.get();
        if !self.hinted.get() {
            return bound;
        }
        // Relaxed: advisory; a stale value costs time only.
        bound & (self.hint.load(Ordering::Relaxed) | self.once.replace(0))
    }

    /// The hint word as it stands; where hints are in use, its bits tell of the connections that are hot.
    #[inline(always)]
    pub fn hint(&self) -> u64 {
        // Relaxed: as in `candidates`.
        self.hint.load(Ordering::Relaxed)
    }

    /// The only connection that is worth a look in this turn, if hints are in use and the hint word, which is `hint`, tells of one.
    ///
    /// The answer holds for as long as the hint word stays the same, no connection is bound or unbound, and neither
    /// [`Scan::look_at_all`] nor [`Scan::look_again`] is called.
    pub fn only(&self, hint: u64) -> Option<u32> {
        if !self.hinted.get() || self.once.get() != 0 {
            return None;
        }
        let hot = self.bound.get() & hint;
        hot.is_power_of_two().then(|| hot.trailing_zeros())
    }

    /// Has the next turn look at connection `index`, whatever the hint says.
    pub fn look_again(&self, index: u32) {
        self.once
            .set(self.once.get() | 1 << (index % MAX_CONNECTIONS as u32));
    }

    /// The members of `band` among `candidates`, one bit each.
    #[inline]
    pub fn members(&self, candidates: u64, band: Band) -> u64 {
        candidates & self.in_band[band.index()].get()
    }

    /// The members of `band` among `candidates`, to be visited from a different first one each turn.
    #[inline]
    pub fn visit(&self, candidates: u64, band: Band) -> Visit {
        let left = self.members(candidates, band);
        if left & left.wrapping_sub(1) == 0 {
            // None or one: nothing to be fair about.
            return Visit { left, first: 0 };
        }
        let first = self.first.get();
        self.first
            .set(first.wrapping_add(1) % MAX_CONNECTIONS as u32);
        Visit {
            left: left.rotate_right(first),
            first,
        }
    }

    /// Whether the hint word is in use, and [`Scan::was_busy`] and [`Scan::was_idle`] want to hear of each look.
    #[inline]
    pub fn is_hinted(&self) -> bool {
        self.hinted.get()
    }

    /// Connection `index` was looked at, and something was there. Need not be said of one that was looked at because its bit is set.
    #[inline]
    pub fn was_busy(&self, index: u32) {
        if self.hinted.get() {
            // Relaxed: advisory.
            if self.hint.load(Ordering::Relaxed) & 1 << (index % MAX_CONNECTIONS as u32) == 0 {
                self.warm(index);
            }
        }
    }

    /// Connection `index` was looked at in vain. When this says yes, it has just become cold: look at it once more, now or in the next turn
    /// ([`Scan::look_again`]).
    ///
    /// `drained` is a number that changes with each message of that connection: so looks that found something need not be noted.
    #[inline]
    pub fn was_idle(&self, index: u32, drained: u32) -> bool {
        if !self.hinted.get() {
            return false;
        }
        let idle = &self.idle[index as usize % MAX_CONNECTIONS];
        let before = idle.get();
        let looks = if before.drained == drained {
            before.looks.saturating_add(1)
        } else {
            1
        };
        idle.set(Idle { looks, drained });
        if looks < IDLE_TURNS {
            return false;
        }
        idle.set(Idle { looks: 0, drained });
        self.cool(index)
    }

    #[cold]
    fn cool(&self, index: u32) -> bool {
        let bit = 1u64 << (index % MAX_CONNECTIONS as u32);
        // AcqRel: pairs with the sender's `fetch_or` in `PeerHint::raise`.
        if self.hint.fetch_and(!bit, Ordering::AcqRel) & bit == 0 {
            return false;
        }
        // Pairs with `sender_fence`: a sender that published before this sees its bit clear, or is seen by the next look.
        fence(Ordering::SeqCst);
        true
    }

    /// Sets the bit of connection `index` again: it was found busy although its bit was clear.
    #[cold]
    fn warm(&self, index: u32) {
        // AcqRel: as in `cool`.
        self.hint
            .fetch_or(1 << (index % MAX_CONNECTIONS as u32), Ordering::AcqRel);
    }
}

/// Connections still to be visited in a turn.
pub struct Visit {
    left: u64,
    first: u32,
}

impl Iterator for Visit {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        if self.left == 0 {
            return None;
        }
        let at = self.left.trailing_zeros();
        self.left &= self.left - 1;
        Some((at + self.first) % MAX_CONNECTIONS as u32)
    }
}

/// A sender's bit in the hint word of the inbox that it sends to.
pub struct PeerHint {
    word: Word,
    bit: u64,
}

impl PeerHint {
    /// Bit `index` (taken modulo 64) of the receiver's hint word.
    pub fn new(word: Word, index: u32) -> Self {
        PeerHint {
            word,
            bit: 1 << (index % MAX_CONNECTIONS as u32),
        }
    }

    /// Sets the bit if it is clear. [`crate::sender_fence`] must stand between the publication and this call.
    #[inline]
    pub fn raise(&self) {
        // Relaxed: ordered by `sender_fence`.
        if self.word.load(Ordering::Relaxed) & self.bit == 0 {
            // AcqRel: pairs with `Scan::cool`.
            self.word.fetch_or(self.bit, Ordering::AcqRel);
        }
    }
}
