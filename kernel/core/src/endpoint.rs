//! Endpoints: where a sender and a receiver meet. Reference manual, section 4.2.
//!
//! Whoever comes first waits in the endpoint's queue, in order; all who wait there wait for the same. The queue links
//! TCBs by address; what they wait for stands in the lowest bits of the head.

use crate::machine::Machine;
use crate::state::Kernel;
use crate::tcb::{CAN_GRANT, CAN_GRANT_REPLY, IS_CALL, ThreadState};
use baton_kernel_mem::{Endpoint, Notification, Paddr, Tcb, reg};
use baton_sel4_abi::CapRights;
use core::cell::Cell;

/// What the threads in a queue wait for: the lowest two bits of its head.
pub(crate) mod queue_state {
    /// The queue is empty.
    pub(crate) const IDLE: u64 = 0;
    /// Endpoint: to send. Notification: for a signal.
    pub(crate) const SEND: u64 = 1;
    /// Endpoint: to receive.
    pub(crate) const RECEIVE: u64 = 2;
    /// Notification: somebody waits.
    pub(crate) const WAITING: u64 = 1;
    /// Notification: signals wait.
    pub(crate) const ACTIVE: u64 = 2;
    /// The bits.
    pub(crate) const MASK: u64 = 3;
}
use queue_state::{IDLE, MASK, RECEIVE, SEND};

/// How a message is sent.
#[derive(Clone, Copy)]
pub(crate) struct Sending {
    /// Whether the sender waits if nobody receives.
    pub(crate) block: bool,
    /// Whether it waits for a reply.
    pub(crate) call: bool,
    /// The badge that the receiver sees.
    pub(crate) badge: u64,
    /// Whether capabilities go along.
    pub(crate) can_grant: bool,
    /// Whether a reply capability goes along.
    pub(crate) can_grant_reply: bool,
}

/// The queue in the two words of an endpoint or notification.
#[derive(Clone, Copy)]
pub(crate) struct WaitQueue<'m> {
    head: &'m Cell<u64>,
    tail: &'m Cell<u64>,
}

impl<'m> WaitQueue<'m> {
    pub(crate) fn of_endpoint(endpoint: &'m Endpoint) -> Self {
        WaitQueue {
            head: &endpoint.head,
            tail: &endpoint.tail,
        }
    }

    pub(crate) fn of_notification(notification: &'m Notification) -> Self {
        WaitQueue {
            head: &notification.head,
            tail: &notification.tail,
        }
    }
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Appends a thread; all in the queue wait for what `state` says.
    #[inline]
    pub(crate) fn wait_in(self, queue: WaitQueue<'m>, tcb: &'m Tcb, state: u64) {
        let address = self.mem.address(tcb).value();
        let head = queue.head.get() & !MASK;
        let tail = if head == 0 { 0 } else { queue.tail.get() };
        match self.mem.get_or_null::<Tcb>(Paddr::new(tail)) {
            Some(last) => {
                last.queue_next.set(address);
                queue.head.set(head | state);
            }
            None => queue.head.set(address | state),
        }
        tcb.queue_prev.set(tail);
        tcb.queue_next.set(0);
        queue.tail.set(address);
    }

    /// Takes a thread out of the queue, which becomes idle if it was the last.
    #[inline]
    pub(crate) fn leave(self, queue: WaitQueue<'m>, tcb: &'m Tcb) {
        let state = queue.head.get() & MASK;
        let (prev, next) = (tcb.queue_prev.get(), tcb.queue_next.get());
        match self.mem.get_or_null::<Tcb>(Paddr::new(prev)) {
            Some(before) => before.queue_next.set(next),
            None => queue.head.set(if next == 0 { IDLE } else { next | state }),
        }
        match self.mem.get_or_null::<Tcb>(Paddr::new(next)) {
            Some(after) => after.queue_prev.set(prev),
            None => queue.tail.set(prev),
        }
    }

    /// The first in the queue.
    #[inline]
    pub(crate) fn first_in(self, queue: WaitQueue<'m>) -> Option<&'m Tcb> {
        self.mem.get_or_null(Paddr::new(queue.head.get() & !MASK))
    }

    /// Sends the thread's message to an endpoint, or its fault.
    #[inline]
    pub(crate) fn send_ipc(self, tcb: &'m Tcb, endpoint: &'m Endpoint, how: Sending) {
        let queue = WaitQueue::of_endpoint(endpoint);
        if endpoint.head.get() & MASK != RECEIVE {
            if how.block {
                let mut flags = 0;
                if how.can_grant {
                    flags |= CAN_GRANT;
                }
                if how.can_grant_reply {
                    flags |= CAN_GRANT_REPLY;
                }
                if how.call {
                    flags |= IS_CALL;
                }
                let address = self.mem.address(endpoint);
                tcb.blocking_badge.set(how.badge);
                self.block_at(tcb, ThreadState::BLOCKED_ON_SEND, flags, address);
                self.wait_in(queue, tcb, SEND);
            }
            return;
        }
        let Some(receiver) = self.first_in(queue) else {
            return;
        };
        self.leave(queue, receiver);
        let endpoint = self.mem.address(endpoint);
        self.transfer(tcb, Some(endpoint), how.badge, how.can_grant, receiver);
        let replies_can_grant = receiver.state.get() & CAN_GRANT != 0;
        self.set_state(receiver, ThreadState::RUNNING);
        self.possible_switch_to(receiver);
        if how.call {
            if how.can_grant || how.can_grant_reply {
                self.setup_caller_cap(tcb, receiver, replies_can_grant);
            } else {
                self.set_state(tcb, ThreadState::INACTIVE);
            }
        }
    }

    /// Receives at an endpoint, unless signals of the bound notification wait.
    #[inline]
    pub(crate) fn receive_ipc(
        self,
        tcb: &'m Tcb,
        endpoint: &'m Endpoint,
        rights: CapRights,
        block: bool,
    ) {
        let bound = Paddr::new(tcb.bound_notification.get());
        if let Some(notification) = self.mem.get_or_null::<Notification>(bound)
            && notification.head.get() & MASK == queue_state::ACTIVE
        {
            self.take_signals(tcb, notification);
            return;
        }
        let can_grant = rights.contains(CapRights::GRANT);
        let queue = WaitQueue::of_endpoint(endpoint);
        if endpoint.head.get() & MASK != SEND {
            if block {
                let flags = if can_grant { CAN_GRANT } else { 0 };
                let address = self.mem.address(endpoint);
                self.block_at(tcb, ThreadState::BLOCKED_ON_RECEIVE, flags, address);
                self.wait_in(queue, tcb, RECEIVE);
            } else {
                no_message(tcb);
            }
            return;
        }
        let Some(sender) = self.first_in(queue) else {
            return;
        };
        self.leave(queue, sender);
        let flags = sender.state.get();
        let badge = sender.blocking_badge.get();
        let endpoint = self.mem.address(endpoint);
        self.transfer(sender, Some(endpoint), badge, flags & CAN_GRANT != 0, tcb);
        if flags & IS_CALL == 0 {
            self.set_state(sender, ThreadState::RUNNING);
            self.possible_switch_to(sender);
        } else if flags & (CAN_GRANT | CAN_GRANT_REPLY) != 0 {
            self.setup_caller_cap(sender, tcb, can_grant);
        } else {
            self.set_state(sender, ThreadState::INACTIVE);
        }
    }

    /// Takes a waiting thread out of the endpoint's queue.
    pub(crate) fn leave_endpoint(self, tcb: &'m Tcb, endpoint: &'m Endpoint) {
        self.leave(WaitQueue::of_endpoint(endpoint), tcb);
    }
}

/// Tells a thread that did not want to wait that there was nothing.
pub(crate) fn no_message(tcb: &Tcb) {
    tcb.context.set::<{ reg::A0 }>(0);
}
