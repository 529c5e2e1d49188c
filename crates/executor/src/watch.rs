//! Watching an executor from another thread.
//!
//! Purpose: to say something of an executor that no longer answers. Everything here is a relaxed read of a word that the executor
//! writes as it goes, so it may be a moment old. Neighbours: `foreign` holds the words.

use crate::foreign::Foreign;
use baton_sync::Ordering;

/// What watchers on other threads may see of an executor that no longer answers.
#[derive(Clone, Copy)]
pub struct Watch(pub(crate) &'static Foreign);

impl Watch {
    /// Turns done so far; when this stands still, a task does not come back from its poll, or the executor sleeps.
    pub fn turns(&self) -> u64 {
        self.0.turns.load(Ordering::Relaxed)
    }

    /// The task that was polled last.
    pub fn last_polled(&self) -> Option<u16> {
        match self.0.running.load(Ordering::Relaxed) {
            u32::MAX => None,
            index => Some(index as u16),
        }
    }

    /// Whether the executor sleeps or is about to.
    pub fn is_sleeping(&self) -> bool {
        self.0.is_sleeping()
    }
}
