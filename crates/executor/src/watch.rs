//! Watching an executor from another thread.
//!
//! Purpose: to say something of an executor that no longer answers. Everything here is a relaxed read of a word that the executor
//! writes as it goes, so it may be a moment old. Neighbours: `foreign` holds the words.

use crate::foreign::Foreign;
use baton_sync::Ordering;

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
