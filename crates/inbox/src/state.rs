//! The state word: `epoch << 2 | HINTED | SLEEPING`, and who must ring or set hints when.
//!
//! A consumer that is awake and wants no hints has both lower bits clear: then its senders are told so by one test.
//!
//! ```text
//!  consumer                                   sender
//!  state = epoch+1 | SLEEPING                 publish slots (or head, or a foreign wake)
//!  fence(SeqCst)                              fence(SeqCst)
//!  look at everything again                   read state
//!  nothing? wait (sticky bell)                SLEEPING, and not rung for this epoch? ring
//!  state = epoch+1
//!  look again
//! ```
//!
//! One of the two fences comes first. If the consumer's does, the sender reads SLEEPING and rings; if the sender's does,
//! the consumer's second look finds the message. Bells are sticky, so a ring between that look and the wait is not lost.
//! The record of what was rung belongs to the sender; a consumer that lies in its state word harms only itself.

use baton_shm::{ReadWord, Word};
use baton_sync::{Ordering, fence};
use core::cell::Cell;

/// The bit of the state word that says that the consumer sleeps or is about to.
pub const SLEEPING: u64 = 1;

/// The bit of the state word that says that the consumer looks at its hint word, and wants its senders' bits set there.
pub const HINTED: u64 = 2;
const EPOCH_SHIFT: u32 = 2;

/// How often the consumer with this state word had announced sleep.
pub fn epoch(state: u64) -> u64 {
    state >> EPOCH_SHIFT
}

/// The consumer's side of its own state word.
pub struct OwnState {
    word: Word,
    epoch: Cell<u64>,
    hinted: Cell<bool>,
}

impl OwnState {
    /// Takes over the state word and says "awake".
    pub fn new(word: Word) -> Self {
        // Release: the first value a sender may read; nothing is ordered by it.
        word.store(0, Ordering::Release);
        OwnState {
            word,
            epoch: Cell::new(0),
            hinted: Cell::new(false),
        }
    }

    /// Announces sleep. After this returns, look at *everything* once more, and only then wait.
    pub fn announce_sleep(&self) {
        let epoch = self.epoch.get().wrapping_add(1) & (u64::MAX >> EPOCH_SHIFT);
        self.epoch.set(epoch);
        // Relaxed: ordered by the fence.
        self.word
            .store(self.value_awake() | SLEEPING, Ordering::Relaxed);
        // Pairs with the fence in `sender_fence`: either the sender sees SLEEPING, or the look that follows sees its message.
        fence(Ordering::SeqCst);
    }

    /// Says "awake" again.
    pub fn awake(&self) {
        // Relaxed: a sender that still reads SLEEPING only rings once too often.
        self.word.store(self.value_awake(), Ordering::Relaxed);
    }

    fn value_awake(&self) -> u64 {
        let hinted = if self.hinted.get() { HINTED } else { 0 };
        self.epoch.get() << EPOCH_SHIFT | hinted
    }

    /// Says, awake, whether senders are to set their bits in the hint word. No bit may be cleared from a hint word before this has been said;
    /// bits that are clear already must be set again after it.
    pub fn set_hinted(&self, hinted: bool) {
        if self.hinted.replace(hinted) != hinted {
            // Relaxed: ordered by the fence in `Scan::cool`: a sender that published too late to be seen after it reads this.
            self.word.store(self.value_awake(), Ordering::Relaxed);
        }
    }

    /// The word as it stands.
    pub fn raw(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }
}

/// Orders everything published before against the state words read afterwards: once a batch, before
/// [`PeerState::must_ring`].
#[inline]
pub fn sender_fence() {
    // Pairs with the fence in `OwnState::announce_sleep`.
    fence(Ordering::SeqCst);
}

/// A consumer's state word as a sender has read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(u64);

impl Seen {
    /// Whether there may be more to do than to publish: the consumer sleeps or wants hints.
    #[inline(always)]
    pub fn wants_notice(self) -> bool {
        self.0 & (SLEEPING | HINTED) != 0
    }

    /// Whether the consumer sleeps or is about to.
    #[inline(always)]
    pub fn is_sleeping(self) -> bool {
        self.0 & SLEEPING != 0
    }

    /// Whether the consumer looks at its hint word.
    #[inline(always)]
    pub fn is_hinted(self) -> bool {
        self.0 & HINTED != 0
    }
}

/// A sender's view of a consumer's state word.
pub struct PeerState {
    word: ReadWord,
    rung: Cell<u64>,
}

impl PeerState {
    /// Watches a consumer's state word.
    pub fn new(word: ReadWord) -> Self {
        PeerState {
            word,
            rung: Cell::new(0),
        }
    }

    /// Reads the word, once for all that is decided by it.
    ///
    /// [`sender_fence`] must stand between the publication and this call.
    #[inline(always)]
    pub fn look(&self) -> Seen {
        // Relaxed: ordered by `sender_fence`; pairs with the stores of `OwnState`.
        Seen(self.word.load(Ordering::Relaxed))
    }

    /// Whether the consumer sleeps and this sender has not rung in this epoch. Answers yes once an epoch.
    ///
    /// [`sender_fence`] must stand between the publication and this call.
    #[inline]
    pub fn must_ring(&self) -> bool {
        self.must_ring_for(self.look())
    }

    /// The same, for a word that was read already.
    #[inline]
    pub fn must_ring_for(&self, seen: Seen) -> bool {
        let state = seen.0;
        if state & SLEEPING == 0 || state == self.rung.get() {
            return false;
        }
        self.rung.set(state);
        true
    }

    /// The word as it stands.
    pub fn raw(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }
}
