//! The state word: `epoch << 1 | SLEEPING`, and who must ring when.
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

/// The consumer's side of its own state word.
pub struct OwnState {
    word: Word,
    epoch: Cell<u64>,
}

impl OwnState {
    /// Takes over the state word and says "awake".
    pub fn new(word: Word) -> Self {
        // Release: the first value a sender may read; nothing is ordered by it.
        word.store(0, Ordering::Release);
        OwnState {
            word,
            epoch: Cell::new(0),
        }
    }

    /// Announces sleep. After this returns, look at *everything* once more, and only then wait.
    pub fn announce_sleep(&self) {
        let epoch = self.epoch.get().wrapping_add(1) & (u64::MAX >> 1);
        self.epoch.set(epoch);
        // Relaxed: ordered by the fence.
        self.word.store(epoch << 1 | SLEEPING, Ordering::Relaxed);
        // Pairs with the fence in `sender_fence`: either the sender sees SLEEPING, or the look that follows sees its message.
        fence(Ordering::SeqCst);
    }

    /// Says "awake" again.
    pub fn awake(&self) {
        // Relaxed: a sender that still reads SLEEPING only rings once too often.
        self.word.store(self.epoch.get() << 1, Ordering::Relaxed);
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

    /// Whether the consumer sleeps and this sender has not rung in this epoch. Answers yes once an epoch.
    ///
    /// [`sender_fence`] must stand between the publication and this call.
    #[inline]
    pub fn must_ring(&self) -> bool {
        // Relaxed: ordered by `sender_fence`.
        let state = self.word.load(Ordering::Relaxed);
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
