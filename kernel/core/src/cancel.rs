//! Sending away those who wait: all of them when their endpoint or notification is deleted, or the senders with one
//! badge. They make their system calls again.
//!
//! There may be any number of them, so there is a preemption point after each.
//!
//! - An object that is being deleted has become a [zombie](crate::cap::ZombieKind) before the first is sent away: no
//!   capability leads to it any more, so nobody comes to wait, and its queue only gets shorter.
//! - A cancellation by badge must not look twice at those who stay, or it would never get behind more of them than fit
//!   between two interrupts; nor may it go on for those who came after it began, or senders that send again would keep it
//!   busy for ever. So one that is preempted is kept ([`Cancellation`]): behind whom it goes on, and who was the last
//!   when it began. Both are flagged in their state, for the flag is gone as soon as the thread has left the queue by
//!   being received from, without that having to ask. That takes the first in the queue: whoever stood before a thread
//!   that has left so has left as well. All other ways out of the queue tell ([`Kernel::leave_cancellation`]).
//!
//! Only one is kept. A second that is preempted puts its own in place, and the first begins anew. Between the two, a
//! thread that is not preempted by threads above it goes on for its time slice.

use crate::endpoint::WaitQueue;
use crate::endpoint::queue_state::{MASK, SEND};
use crate::error::Preempted;
use crate::fault::forget_fault;
use crate::machine::Machine;
use crate::state::Kernel;
use crate::tcb::{LAST_TO_CANCEL, LOOKED_AT, ThreadState};
use baton_kernel_mem::{Endpoint, Paddr, Tcb};
use core::cell::Cell;

/// A cancellation of the sends with a badge that was preempted.
pub(crate) struct Cancellation {
    /// Who makes the call again to go on with it; null if there is nothing to go on with.
    caller: Cell<Paddr>,
    endpoint: Cell<Paddr>,
    badge: Cell<u64>,
    /// The last sender that was looked at and stays; null if there is none.
    looked_at: Cell<Paddr>,
    /// The last sender that there was when it began; null if all of those have left.
    last: Cell<Paddr>,
}

impl Cancellation {
    pub(crate) const fn new() -> Self {
        Cancellation {
            caller: Cell::new(Paddr::NULL),
            endpoint: Cell::new(Paddr::NULL),
            badge: Cell::new(0),
            looked_at: Cell::new(Paddr::NULL),
            last: Cell::new(Paddr::NULL),
        }
    }
}

/// How far a cancellation has come.
struct Progress<'m> {
    looked_at: Option<&'m Tcb>,
    last: Option<&'m Tcb>,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Empties the queue of an object that is being deleted.
    ///
    /// # Errors
    ///
    /// [`Preempted`] with some of them gone.
    pub(crate) fn send_all_away(self, queue: WaitQueue<'m>) -> Result<(), Preempted> {
        self.reschedule();
        while let Some(tcb) = self.first_in(queue) {
            self.send_away(queue, tcb);
            self.preemption_point()?;
        }
        Ok(())
    }

    /// Lets the threads that wait to send with this badge, from before the call on, do their system calls again.
    ///
    /// # Errors
    ///
    /// [`Preempted`] with some of them gone; the caller goes on when it makes the call again.
    pub(crate) fn cancel_badged_sends(
        self,
        caller: &'m Tcb,
        endpoint: &'m Endpoint,
        badge: u64,
    ) -> Result<(), Preempted> {
        let queue = WaitQueue::of_endpoint(endpoint);
        let kept = self.take_cancellation(caller, endpoint, badge);
        if endpoint.head.get() & MASK != SEND {
            return Ok(());
        }
        let Progress {
            mut looked_at,
            last,
        } = kept.unwrap_or_else(|| Progress {
            looked_at: None,
            last: self.mem.get_or_null(Paddr::new(endpoint.tail.get())),
        });
        let Some(last) = last else {
            return Ok(());
        };
        self.reschedule();
        while looked_at.is_none_or(|tcb| !core::ptr::eq(tcb, last)) {
            let next = match looked_at {
                None => self.first_in(queue),
                Some(before) => self.mem.get_or_null(Paddr::new(before.queue_next.get())),
            };
            let Some(tcb) = next else {
                break;
            };
            if tcb.blocking_badge.get() == badge {
                self.leave_cancellation(tcb);
                self.send_away(queue, tcb);
            } else {
                looked_at = Some(tcb);
            }
            if core::ptr::eq(tcb, last) {
                break;
            }
            if let Err(preempted) = self.preemption_point() {
                self.keep_cancellation(caller, endpoint, badge, looked_at, last);
                return Err(preempted);
            }
        }
        Ok(())
    }

    fn send_away(self, queue: WaitQueue<'m>, tcb: &'m Tcb) {
        self.leave(queue, tcb);
        forget_fault(tcb);
        self.set_state(tcb, ThreadState::RESTART);
        self.enqueue(tcb);
    }

    /// How far this cancellation has come, if it was preempted.
    fn take_cancellation(
        self,
        caller: &'m Tcb,
        endpoint: &'m Endpoint,
        badge: u64,
    ) -> Option<Progress<'m>> {
        let kept = &self.core.cancellation;
        if kept.caller.get() != self.mem.address(caller)
            || kept.endpoint.get() != self.mem.address(endpoint)
            || kept.badge.get() != badge
        {
            return None;
        }
        kept.caller.set(Paddr::NULL);
        // Without the flag it has left the queue meanwhile, and all before it.
        let still_there = |at: &Cell<Paddr>, flag| {
            let tcb: Option<&'m Tcb> = self.mem.get_or_null(at.get());
            tcb.filter(|tcb| tcb.state.get() & flag != 0)
        };
        Some(Progress {
            looked_at: still_there(&kept.looked_at, LOOKED_AT),
            last: still_there(&kept.last, LAST_TO_CANCEL),
        })
    }

    fn keep_cancellation(
        self,
        caller: &'m Tcb,
        endpoint: &'m Endpoint,
        badge: u64,
        looked_at: Option<&'m Tcb>,
        last: &'m Tcb,
    ) {
        let kept = &self.core.cancellation;
        kept.caller.set(self.mem.address(caller));
        kept.endpoint.set(self.mem.address(endpoint));
        kept.badge.set(badge);
        self.flag(&kept.looked_at, LOOKED_AT, looked_at);
        self.flag(&kept.last, LAST_TO_CANCEL, Some(last));
    }

    fn flag(self, place: &Cell<Paddr>, flag: u64, tcb: Option<&'m Tcb>) {
        place.set(match tcb {
            Some(tcb) => {
                tcb.state.set(tcb.state.get() | flag);
                self.mem.address(tcb)
            }
            None => Paddr::NULL,
        });
    }

    /// A thread is about to leave the queue that it is in, though it may not be the first there.
    #[inline]
    pub(crate) fn leave_cancellation(self, tcb: &'m Tcb) {
        if tcb.state.get() & (LOOKED_AT | LAST_TO_CANCEL) != 0 {
            self.step_back(tcb);
        }
    }

    /// Lets a cancellation that was preempted remember the thread before this one instead.
    #[cold]
    fn step_back(self, tcb: &'m Tcb) {
        let kept = &self.core.cancellation;
        let before = self.mem.get_or_null(Paddr::new(tcb.queue_prev.get()));
        for (place, flag) in [(&kept.looked_at, LOOKED_AT), (&kept.last, LAST_TO_CANCEL)] {
            // Flags of cancellations that were not gone on with mean nothing.
            if place.get() == self.mem.address(tcb) {
                self.flag(place, flag, before);
            }
        }
    }

    /// The thread is not about to go on with a cancellation any more: it does something else next.
    pub(crate) fn abandon_cancellation(self, caller: &'m Tcb) {
        let kept = &self.core.cancellation;
        if kept.caller.get() == self.mem.address(caller) {
            kept.caller.set(Paddr::NULL);
        }
    }

    /// A thread, which waits for nothing, is deleted: nothing may remember it.
    pub(crate) fn forget_in_cancellation(self, tcb: &'m Tcb) {
        let kept = &self.core.cancellation;
        for place in [&kept.caller, &kept.looked_at, &kept.last] {
            if place.get() == self.mem.address(tcb) {
                place.set(Paddr::NULL);
            }
        }
    }

    /// An endpoint is deleted: there is nothing to go on with there.
    pub(crate) fn end_cancellation_at(self, endpoint: Paddr) {
        let kept = &self.core.cancellation;
        if kept.endpoint.get() == endpoint {
            kept.caller.set(Paddr::NULL);
        }
    }

    /// Looks at what is kept, for [`Kernel::check`].
    ///
    /// # Errors
    ///
    /// What is wrong.
    #[cfg(feature = "check")]
    pub(crate) fn check_cancellation(self) -> Result<(), &'static str> {
        let kept = &self.core.cancellation;
        if kept.caller.get().is_null() {
            return Ok(());
        }
        let endpoint: &'m Endpoint = self.mem.get(kept.endpoint.get());
        let mut waiting = self.first_in(WaitQueue::of_endpoint(endpoint));
        let (mut found_looked_at, mut found_last) = (false, false);
        let mut dealt_with = true;
        let flagged = |at: &Cell<Paddr>, flag| {
            let tcb: Option<&Tcb> = self.mem.get_or_null(at.get());
            tcb.is_some_and(|tcb| tcb.state.get() & flag != 0)
        };
        let has_looked_at = flagged(&kept.looked_at, LOOKED_AT);
        dealt_with &= has_looked_at;
        while let Some(tcb) = waiting {
            if dealt_with && tcb.blocking_badge.get() == kept.badge.get() {
                return Err("a cancellation has passed over one that it should have cancelled");
            }
            let at = self.mem.address(tcb);
            found_last |= at == kept.last.get();
            if has_looked_at && at == kept.looked_at.get() {
                (found_looked_at, dealt_with) = (true, false);
                if found_last && at != kept.last.get() {
                    return Err("a cancellation has gone beyond its last");
                }
            }
            waiting = self.mem.get_or_null(Paddr::new(tcb.queue_next.get()));
        }
        if has_looked_at != found_looked_at || flagged(&kept.last, LAST_TO_CANCEL) && !found_last {
            return Err("a cancellation remembers one that does not wait there");
        }
        Ok(())
    }
}
