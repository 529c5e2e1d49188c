//! Watching an executor from another thread.
//!
//! Purpose: to say something of an executor that no longer answers. Everything here is a relaxed read of a word that the executor
//! writes as it goes, so it may be a moment old. Neighbours: `foreign` holds the words.

use crate::foreign::Foreign;
use crate::table::NO_TASK;
use baton_sync::{Ordering, watched};

/// What watchers on other threads may see of an executor that no longer answers.
#[derive(Clone, Copy)]
pub struct Watch(pub(crate) &'static Foreign);

/// What an executor polled last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// This task.
    Task(u16),
    /// Handlers for the first time; the tasks that they may become begin at this one.
    NewHandlers(u16),
}

impl Watch {
    /// Turns done so far; when this stands still, a task does not come back from its poll, or the executor sleeps.
    pub fn turns(&self) -> u64 {
        self.0.turns.load(Ordering::Relaxed)
    }

    /// What was polled last.
    pub fn last_polled(&self) -> Option<Polled> {
        self.0.polled()
    }

    /// Whether the executor sleeps or is about to.
    pub fn is_sleeping(&self) -> bool {
        self.0.is_sleeping()
    }
}

/// What an executor polls, or polled last: one word, written by the executor alone.
pub(crate) struct Running(watched::AtomicU32);

/// Nothing has been polled.
const NOTHING: u32 = u32::MAX;
/// New handlers were polled; the first task that they may become stands in the lower half.
const NEW_HANDLERS: u32 = 1 << 16;
/// The poll is over.
const OVER: u32 = 1 << 17;

impl Running {
    pub(crate) fn new() -> Self {
        Running(watched::AtomicU32::new(NOTHING))
    }

    /// Task `index` is polled.
    #[inline(always)]
    pub(crate) fn begin(&self, index: u16) {
        // Relaxed: others only watch.
        self.0.store(index.into(), Ordering::Relaxed);
    }

    /// What [`Running::begin_new`] wants for handlers whose tasks begin at `first`.
    pub(crate) fn new_handlers(first: u16) -> u32 {
        NEW_HANDLERS | u32::from(first)
    }

    /// New handlers are polled.
    #[inline(always)]
    pub(crate) fn begin_new(&self, handlers: u32) {
        // Relaxed: others only watch.
        self.0.store(handlers, Ordering::Relaxed);
    }

    /// Nothing is polled any more.
    #[inline(always)]
    pub(crate) fn end(&self) {
        // Relaxed load and store: there is one writer.
        self.0
            .store(self.0.load(Ordering::Relaxed) | OVER, Ordering::Relaxed);
    }

    /// The task that is being polled, or [`NO_TASK`].
    #[inline]
    pub(crate) fn task(&self) -> u16 {
        u16::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(NO_TASK)
    }

    pub(crate) fn polled(&self) -> Option<Polled> {
        match self.0.load(Ordering::Relaxed) {
            NOTHING => None,
            word if word & NEW_HANDLERS != 0 => Some(Polled::NewHandlers(word as u16)),
            word => Some(Polled::Task(word as u16)),
        }
    }
}
