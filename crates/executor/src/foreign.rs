//! Wakes from foreign threads: the one part of an executor that other threads touch.
//!
//! ```text
//!                 claim (fetch_or)             take (swap)
//!    link FREE ───────────────────▶ CLAIMED ──────────────▶ FREE, task queued locally
//!                    │ push on the stack
//!                    │ fence, sleeping? ring
//! ```
//!
//! A wake claims the task's link by a read-modify-write, so that a task is on the stack at most once however many threads wake
//! it, and then pushes it. The executor takes the whole stack at once, and frees each link *before* it polls: a wake that
//! comes while the task runs claims it again and leads to another poll.
//!
//! [`Foreign`] values are never freed (see `registry`), so a wake that comes after the executor's end finds memory, an
//! outdated generation, and does nothing; one that slips past that check causes a spurious poll in the next executor that
//! uses the memory, which every future must tolerate.

use crate::watch::{Polled, Running};
use alloc::boxed::Box;
use baton_inbox::Bell;
use baton_sync::{AtomicBool, AtomicU32, Ordering, fence, spin_loop, watched};
use core::cell::UnsafeCell;

/// End of the stack, and the link of a task that is not on it.
const END: u32 = u32::MAX;
const FREE: u32 = u32::MAX - 1;
/// Claimed by a wake that has not pushed it yet.
const CLAIMED: u32 = u32::MAX - 2;

/// What foreign threads may touch of an executor.
pub struct Foreign {
    head: AtomicU32,
    links: Box<[AtomicU32]>,
    sleeping: AtomicBool,
    bell_lock: AtomicBool,
    bell: UnsafeCell<Option<Box<dyn Bell>>>,
    /// For watchers: where the executor notes what it polls. Null, or alive; read and changed with `bell_lock` held.
    running: UnsafeCell<*const Running>,
    /// For watchers: turns so far.
    pub(crate) turns: watched::AtomicU64,
}

// SAFETY: everything but `bell` and `running` is atomic; these are only touched between taking and releasing `bell_lock`, and their
// content is `Send + Sync`.
unsafe impl Send for Foreign {}
// SAFETY: as for `Send`.
unsafe impl Sync for Foreign {}

impl Foreign {
    /// Room for `tasks` tasks.
    pub fn new(tasks: usize) -> Self {
        Foreign {
            head: AtomicU32::new(END),
            links: (0..tasks).map(|_| AtomicU32::new(FREE)).collect(),
            sleeping: AtomicBool::new(false),
            bell_lock: AtomicBool::new(false),
            bell: UnsafeCell::new(None),
            turns: watched::AtomicU64::new(0),
            running: UnsafeCell::new(core::ptr::null()),
        }
    }

    /// How many tasks there is room for.
    pub fn tasks(&self) -> usize {
        self.links.len()
    }

    /// Wakes task `index` from any thread. Says whether the executor had to be rung.
    pub fn wake(&self, index: u16) -> bool {
        let Some(link) = self.links.get(usize::from(index)) else {
            return false;
        };
        // AcqRel: pairs with the swap in `take`; what the waking thread wrote before is visible to the poll that follows,
        // also when someone else has already claimed the link and this wake is merged into that one.
        if !claim(link) {
            return false;
        }
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // AcqRel: pairs with the exchange in `claim` of the wakes merged into this one, and with the swap in `take`. A plain
            // store would cut off what they released, and the poll could miss what they wrote.
            link.swap(head, Ordering::AcqRel);
            // Release: pairs with the Acquire of the swap in `take`.
            match self.head.compare_exchange(
                head,
                u32::from(index),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        // Pairs with the fence in `OwnState::announce_sleep`: either we see it sleeping, or its last look sees the stack.
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence.
        let asleep = self.sleeping.load(Ordering::Relaxed);
        if asleep {
            self.with_bell(|bell| {
                if let Some(bell) = bell {
                    bell.ring();
                }
            });
        }
        asleep
    }

    /// Whether anything waits on the stack.
    #[inline]
    pub fn is_pending(&self) -> bool {
        // Relaxed: `take` orders; before sleeping, the fence does.
        self.head.load(Ordering::Relaxed) != END
    }

    /// Takes everything off the stack and hands each index to `queue`.
    pub fn take(&self, mut queue: impl FnMut(u16)) {
        // Acquire: pairs with the Release exchange in `wake`.
        let mut at = self.head.swap(END, Ordering::Acquire);
        while at != END {
            let Some(link) = self.links.get(at as usize) else {
                return;
            };
            // AcqRel: pairs with `claim`: a later wake claims it anew, an earlier one is visible to the poll.
            let next = link.swap(FREE, Ordering::AcqRel);
            queue(at as u16);
            at = next;
        }
    }

    /// Says whether wakes must ring. A fence (`OwnState::announce_sleep`) must follow before the last look.
    pub fn set_sleeping(&self, sleeping: bool) {
        // Relaxed: ordered by that fence; when waking up, a stale `true` costs a spurious ring.
        self.sleeping.store(sleeping, Ordering::Relaxed);
    }

    /// Whether the executor has announced sleep, for watchers.
    pub fn is_sleeping(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed)
    }

    /// Counts turns. Called by the executor only.
    pub(crate) fn count_turns(&self, more: u32) {
        // Relaxed load and store: there is one writer.
        let turns = self.turns.load(Ordering::Relaxed);
        let turns = turns.wrapping_add(more.into());
        self.turns.store(turns, Ordering::Relaxed);
    }

    /// Tells watchers where the executor notes what it polls.
    ///
    /// # Safety
    ///
    /// `running` stays where it is until [`Foreign::forget_running`] is called.
    pub(crate) unsafe fn set_running(&self, running: &Running) {
        // SAFETY: the lock is held, so nobody else touches the pointer.
        self.locked(|| unsafe { *self.running.get() = running });
    }

    /// Watchers are told nothing more of what is polled.
    pub(crate) fn forget_running(&self) {
        // SAFETY: as in `set_running`.
        self.locked(|| unsafe { *self.running.get() = core::ptr::null() });
    }

    /// What was polled last, for watchers.
    pub(crate) fn polled(&self) -> Option<Polled> {
        self.locked(|| {
            // SAFETY: the lock is held, so nobody changes the pointer. It is null or what `set_running` was promised about, for it is
            // forgotten with the lock held.
            let running = unsafe { (*self.running.get()).as_ref() };
            running.and_then(Running::polled)
        })
    }

    /// Gives the bell that wakes must ring, or takes it away at the executor's end.
    pub fn set_bell(&self, bell: Option<Box<dyn Bell>>) {
        let old = self.with_bell(|slot| core::mem::replace(slot, bell));
        drop(old);
    }

    /// Forgets wakes that were meant for an executor that has ended.
    pub fn reset(&self) {
        self.take(|_| {});
        self.set_sleeping(false);
    }

    fn with_bell<R>(&self, with: impl FnOnce(&mut Option<Box<dyn Bell>>) -> R) -> R {
        // SAFETY: the lock is held, so nobody else touches the bell.
        self.locked(|| with(unsafe { &mut *self.bell.get() }))
    }

    fn locked<R>(&self, with: impl FnOnce() -> R) -> R {
        // Acquire: pairs with the Release store below. An exchange that fails writes nothing, so whoever spins does not take the
        // cache line from the holder (and loom, which orders stores loosely, sees the release).
        while self
            .bell_lock
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            spin_loop();
        }
        let result = with();
        // Release: pairs with the Acquire exchange above.
        self.bell_lock.store(false, Ordering::Release);
        result
    }
}

/// Claims a free link; says no when it is claimed or on the stack already.
fn claim(link: &AtomicU32) -> bool {
    // AcqRel on success pairs with `take`.
    let mut current = link.load(Ordering::Relaxed);
    loop {
        // A wake that is merged into an earlier one must still be ordered before that one's poll: it writes the same value
        // back, so that `take`'s swap reads from it.
        let next = if current == FREE { CLAIMED } else { current };
        match link.compare_exchange(current, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return current == FREE,
            Err(now) => current = now,
        }
    }
}
