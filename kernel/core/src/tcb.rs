//! Threads: their states, and stopping and starting them.

use crate::cap::Cap;
use crate::fault::forget_fault;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{Notification, Paddr, Tcb, reg, tcb_slot};

/// What a thread does: the lowest four bits of `Tcb::state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadState(u64);

impl ThreadState {
    /// Not to run.
    pub const INACTIVE: Self = ThreadState(0);
    /// Runs, or would go on after its last system call.
    pub const RUNNING: Self = ThreadState(1);
    /// Runs, or would do its last system call again.
    pub const RESTART: Self = ThreadState(2);
    /// Waits at an endpoint to receive.
    pub const BLOCKED_ON_RECEIVE: Self = ThreadState(3);
    /// Waits at an endpoint to send.
    pub const BLOCKED_ON_SEND: Self = ThreadState(4);
    /// Waits for a reply.
    pub const BLOCKED_ON_REPLY: Self = ThreadState(5);
    /// Waits at a notification.
    pub const BLOCKED_ON_NOTIFICATION: Self = ThreadState(6);

    const MASK: u64 = 0xf;

    /// The number that stands in `Tcb::state`.
    #[inline(always)]
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// The state of a thread.
    #[inline(always)]
    pub fn of(tcb: &Tcb) -> Self {
        ThreadState(tcb.state.get() & Self::MASK)
    }
}

/// Flag in `Tcb::state`: the thread is in a ready queue.
pub(crate) const QUEUED: u64 = 1 << 16;
/// Flag in `Tcb::state` of a sender: capabilities may go along; of a receiver: with its replies.
pub(crate) const CAN_GRANT: u64 = 1 << 8;
/// Flag in `Tcb::state` of a sender: a reply capability may go along.
pub(crate) const CAN_GRANT_REPLY: u64 = 1 << 9;
/// Flag in `Tcb::state` of a sender: it waits for a reply.
pub(crate) const IS_CALL: u64 = 1 << 10;

/// Flag in `Tcb::state` of a sender: the cancellation that was preempted has looked at it, and goes on behind it.
pub(crate) const LOOKED_AT: u64 = 1 << 11;
/// Flag in `Tcb::state` of a sender: it is the last that concerns the cancellation that was preempted.
pub(crate) const LAST_TO_CANCEL: u64 = 1 << 12;

/// Whether the thread runs or is ready to.
#[inline(always)]
pub(crate) fn is_runnable(tcb: &Tcb) -> bool {
    let state = ThreadState::of(tcb);
    state == ThreadState::RUNNING || state == ThreadState::RESTART
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Changes what a thread does, and lets the scheduler know.
    #[inline]
    pub(crate) fn set_state(self, tcb: &'m Tcb, state: ThreadState) {
        tcb.state.set((tcb.state.get() & QUEUED) | state.0);
        self.state_changed(tcb);
    }

    /// Blocks a thread at an object, with flags for whoever finds it there.
    #[inline]
    pub(crate) fn block_at(self, tcb: &'m Tcb, state: ThreadState, flags: u64, object: Paddr) {
        tcb.state.set((tcb.state.get() & QUEUED) | state.0 | flags);
        tcb.blocking_object.set(object.value());
        self.state_changed(tcb);
    }

    /// Stops a thread, whatever it waits for.
    pub(crate) fn suspend(self, tcb: &'m Tcb) {
        self.cancel_ipc(tcb);
        if ThreadState::of(tcb) == ThreadState::RUNNING {
            // It would go on here; when it is restarted, it must do so as well.
            let context = &tcb.context;
            context.set::<{ reg::PC }>(context.get::<{ reg::NEXT_PC }>());
        }
        self.dequeue(tcb);
        self.drop_candidate(tcb);
        self.set_state(tcb, ThreadState::INACTIVE);
    }

    /// Lets a stopped thread run, and do again what it waited for.
    pub(crate) fn restart(self, tcb: &'m Tcb) {
        if is_runnable(tcb) {
            return;
        }
        self.cancel_ipc(tcb);
        self.setup_reply_master(tcb);
        self.set_state(tcb, ThreadState::RESTART);
        self.enqueue(tcb);
        self.possible_switch_to(tcb);
    }

    /// Gives a thread the master of its reply capabilities, if it has none.
    pub(crate) fn setup_reply_master(self, tcb: &'m Tcb) {
        let slot = &tcb.slots[tcb_slot::REPLY];
        if Cap::decode(slot.cap()) == Cap::Null {
            self.insert_root_cap(
                slot,
                Cap::Reply {
                    tcb: self.mem.address(tcb),
                    master: true,
                    can_grant: true,
                },
            );
        }
    }

    /// Ends the waiting of a thread at an endpoint or notification, or for a reply.
    ///
    /// A thread that waited for a reply is still in that state afterwards; the caller sets the next.
    pub(crate) fn cancel_ipc(self, tcb: &'m Tcb) {
        match ThreadState::of(tcb) {
            ThreadState::BLOCKED_ON_SEND | ThreadState::BLOCKED_ON_RECEIVE => {
                let endpoint = Paddr::new(tcb.blocking_object.get());
                self.leave_cancellation(tcb);
                self.leave_endpoint(tcb, self.mem.get(endpoint));
                forget_fault(tcb);
                self.set_state(tcb, ThreadState::INACTIVE);
            }
            ThreadState::BLOCKED_ON_NOTIFICATION => {
                let notification = Paddr::new(tcb.blocking_object.get());
                self.leave_notification(tcb, self.mem.get(notification));
                self.set_state(tcb, ThreadState::INACTIVE);
            }
            ThreadState::BLOCKED_ON_REPLY => {
                forget_fault(tcb);
                if let Some(caller) = self.next_slot(&tcb.slots[tcb_slot::REPLY]) {
                    self.delete_reply(caller);
                }
            }
            _ => {}
        }
    }

    /// Unbinds a thread from its notification.
    pub(crate) fn unbind_notification(self, tcb: &'m Tcb) {
        let bound = Paddr::new(tcb.bound_notification.get());
        if let Some(notification) = self.mem.get_or_null::<Notification>(bound) {
            notification.bound.set(0);
            tcb.bound_notification.set(0);
        }
    }
}
