//! The source: where messages come from, as the executor sees it.
//!
//! Purpose: the seam between the run loop and the inbox. `baton-rpc` implements [`Source`] for its nodes, and is monomorphised into
//! the turn.
//!
//! Invariant: polls never nest. The right to poll, [`InTurn`], is made by a turn only and lent to the source; no task can keep it.
//!
//! Neighbours: `run` calls a source, `table` polls.

use crate::table::Core;
use baton_inbox::Band;

/// Where messages come from: the lanes of an inbox, seen by the executor as more ready work.
pub trait Source {
    /// What the source is looked at through while the executor is driven; so a turn need not get hold of it each time.
    type Held;

    /// Gets hold of it: the executor is about to be driven.
    fn hold(&self) -> Self::Held;
    /// Sees to what is not part of an ordinary turn. Called before the first turn, every [`ATTEND_TURNS`] turns, after a sleep
    /// if [`Source::woken`] said so, and when [`crate::Handle::attend`] asked for it. What is held may be another afterwards.
    fn attend(&self, held: &mut Self::Held);
    /// If exactly one connection is worth a look in this turn: drains its lanes, at most a quantum each, and says how many messages there
    /// were.
    fn drain_single(&self, held: &mut Self::Held, turn: InTurn<'_>) -> Option<u32>;
    /// The band of the connection that [`Source::drain_single`] drained last.
    fn single_band(&self, held: &Self::Held) -> Band;
    /// The connections that are worth a look in this turn, one bit each.
    fn candidates(&self) -> u64;
    /// The bands that have connections, one bit each.
    fn bands(&self) -> u32;
    /// Drains lanes of `band`, at most a quantum each, and says how many messages there were.
    fn drain(&self, held: &mut Self::Held, turn: InTurn<'_>, candidates: u64, band: Band) -> u32;
    /// Whether a turn might find something. It may say yes for nothing, where telling costs as much as the turn.
    fn seems_busy(&self, held: &Self::Held) -> bool;
    /// Whether `messages` or more wait in some lane. A hint: it costs nothing but time to be wrong.
    fn has_piled_up(&self, held: &Self::Held, messages: u32) -> bool;
    /// Ends a turn: publishes heads and rings whoever must be rung.
    fn flush(&self, held: &Self::Held);
    /// Sleep has been announced: asks for space where it is wanted, and says whether anything at all is there to be done.
    fn last_look(&self, held: &Self::Held) -> bool;
    /// The executor has woken up again. Says whether it is to be attended to before the next turn.
    fn woken(&self, held: &mut Self::Held) -> bool;
}

/// The right to poll tasks: a turn is under way, and no poll.
///
/// Only a turn makes it and lends it to its source, and no task can keep it, so polls never nest.
#[derive(Clone, Copy)]
pub struct InTurn<'a>(pub(crate) &'a Core);

impl InTurn<'_> {
    /// Polls task `index` at once. Says no when something of a higher band is ready, and the task is to be woken instead, or when
    /// there is no such task, as for [`crate::NO_TASK`].
    ///
    /// The task counts as running until the next one does, or until [`InTurn::end`]: once for many.
    #[inline(always)]
    pub fn resume(self, index: u16) -> bool {
        self.0.resume(index)
    }

    /// No task is running any more.
    #[inline(always)]
    pub fn end(self) {
        self.0.end_poll();
    }
}

/// Turns with work after which [`Source::flush`] is called although there is more work.
///
/// Ringing has its price on both sides: the fence before it waits until all that was written is visible, and whoever is woken
/// for one message sleeps again after it. The first turn without work flushes at once, so a sleeper waits for at most this many
/// turns, and only while its peer is busy.
pub const FLUSH_TURNS: u32 = 8;

/// Turns after which [`Source::attend`] is called unasked.
pub const ATTEND_TURNS: u32 = 64;

/// No messages: an executor of local tasks only.
impl Source for () {
    type Held = ();

    fn hold(&self) {}
    fn attend(&self, _held: &mut ()) {}
    fn drain_single(&self, _held: &mut (), _turn: InTurn<'_>) -> Option<u32> {
        None
    }
    fn single_band(&self, _held: &()) -> Band {
        Band::NORMAL
    }
    fn candidates(&self) -> u64 {
        0
    }
    fn bands(&self) -> u32 {
        0
    }
    fn drain(&self, _held: &mut (), _turn: InTurn<'_>, _candidates: u64, _band: Band) -> u32 {
        0
    }
    fn seems_busy(&self, _held: &()) -> bool {
        false
    }
    fn has_piled_up(&self, _held: &(), _messages: u32) -> bool {
        true
    }
    fn flush(&self, _held: &()) {}
    fn last_look(&self, _held: &()) -> bool {
        false
    }
    fn woken(&self, _held: &mut ()) -> bool {
        false
    }
}
