//! The kernel's state as others may compare it with what they expect: queues as lists, threads as plain values, the
//! derivation tree as a question. For tests on the host, with the feature `check`; changes nothing.
//!
//! Neighbours: `check.rs` looks whether the records agree with one another; whoever uses this looks whether they say the right
//! thing. Slots are read through the memory (`Cap::decode`), their places are addresses.

extern crate std;

use crate::config::PRIORITIES;
use crate::endpoint::queue_state;
use crate::fault::Fault;
use crate::machine::Machine;
use crate::state::Kernel;
use crate::tcb::{CAN_GRANT, CAN_GRANT_REPLY, IS_CALL, ThreadState};
use baton_kernel_mem::{Endpoint, Notification, Paddr, Slot, Tcb};
use std::vec::Vec;

/// What a thread does, with everything that matters while it does that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Not to run.
    Inactive,
    /// Runs, or is ready to.
    Running,
    /// The same, and would make its last system call again.
    Restart,
    /// Waits to receive at the endpoint at that address.
    Receiving {
        /// The endpoint.
        endpoint: u64,
        /// Whether its reply may carry capabilities.
        can_grant: bool,
    },
    /// Waits to send at the endpoint at that address.
    Sending {
        /// The endpoint.
        endpoint: u64,
        /// The badge that the receiver will see.
        badge: u64,
        /// Whether capabilities go along.
        can_grant: bool,
        /// Whether a reply capability may go along.
        can_grant_reply: bool,
        /// Whether it waits for a reply afterwards.
        is_call: bool,
    },
    /// Waits for a reply.
    AwaitingReply,
    /// Waits for a signal at the notification at that address.
    AwaitingSignal {
        /// The notification.
        notification: u64,
    },
}

/// What the threads at an endpoint or notification wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nobody waits, no signal has gathered.
    Idle,
    /// To send.
    ToSend,
    /// To receive.
    ToReceive,
    /// For a signal.
    ForSignal,
    /// Nobody waits, but signals do, with this badge.
    Signalled(u64),
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Whether revoking the capability in the slot `above` would delete that in `below`, provided that all slots between the
    /// two in the list are deleted as well.
    pub fn view_is_parent(self, above: Paddr, below: Paddr) -> bool {
        let (above, below): (&Slot, &Slot) = (self.mem.get(above), self.mem.get(below));
        self.is_parent(above, below)
    }

    /// The slot behind this one in the list of the derivation tree; null at the end.
    pub fn view_next_slot(self, slot: Paddr) -> Paddr {
        let next = self.next_slot(self.mem.get(slot));
        next.map_or(Paddr::NULL, |next| self.mem.address(next))
    }

    /// The addresses of all threads in ready queues of the running domain: highest priority first, each queue from
    /// its head.
    pub fn view_ready(self) -> Vec<(u64, u64)> {
        let domain = self.core.domain.get() as usize;
        let mut ready = Vec::new();
        for (group, bits) in self.core.ready_bits[domain].iter().enumerate().rev() {
            let mut left = bits.get();
            while left != 0 {
                let bit = 63 - left.leading_zeros() as usize;
                left &= !(1 << bit);
                let priority = (group * 64 + bit) % PRIORITIES;
                let mut at = self.core.ready[domain][priority].head.get();
                while let Some(tcb) = self.mem.get_or_null::<Tcb>(at) {
                    ready.push((priority as u64, at.value()));
                    at = Paddr::new(tcb.ready_next.get());
                }
            }
        }
        ready
    }

    /// The addresses of the threads in the queue whose first word is `head`, from its head.
    fn view_queue(self, head: u64) -> Vec<u64> {
        let mut threads = Vec::new();
        let mut at = head & !queue_state::MASK;
        while let Some(tcb) = self.mem.get_or_null::<Tcb>(Paddr::new(at)) {
            threads.push(at);
            at = tcb.queue_next.get();
        }
        threads
    }

    /// What is waited for at an endpoint, and by whom.
    pub fn view_endpoint(self, at: Paddr) -> (Waiting, Vec<u64>) {
        let head = self.mem.get::<Endpoint>(at).head.get();
        let waiting = match head & queue_state::MASK {
            queue_state::SEND => Waiting::ToSend,
            queue_state::RECEIVE => Waiting::ToReceive,
            _ => Waiting::Idle,
        };
        (waiting, self.view_queue(head))
    }

    /// What is waited for at a notification, by whom, and the address of the bound thread, 0 for none.
    pub fn view_notification(self, at: Paddr) -> (Waiting, Vec<u64>, u64) {
        let notification: &Notification = self.mem.get(at);
        let head = notification.head.get();
        let waiting = match head & queue_state::MASK {
            queue_state::WAITING => Waiting::ForSignal,
            queue_state::ACTIVE => Waiting::Signalled(notification.badge.get()),
            _ => Waiting::Idle,
        };
        (waiting, self.view_queue(head), notification.bound.get())
    }

    /// What a thread does.
    pub fn view_doing(self, tcb: &Tcb) -> Doing {
        let flag = |bit| tcb.state.get() & bit != 0;
        let at = tcb.blocking_object.get();
        match ThreadState::of(tcb) {
            ThreadState::RUNNING => Doing::Running,
            ThreadState::RESTART => Doing::Restart,
            ThreadState::BLOCKED_ON_RECEIVE => Doing::Receiving {
                endpoint: at,
                can_grant: flag(CAN_GRANT),
            },
            ThreadState::BLOCKED_ON_SEND => Doing::Sending {
                endpoint: at,
                badge: tcb.blocking_badge.get(),
                can_grant: flag(CAN_GRANT),
                can_grant_reply: flag(CAN_GRANT_REPLY),
                is_call: flag(IS_CALL),
            },
            ThreadState::BLOCKED_ON_REPLY => Doing::AwaitingReply,
            ThreadState::BLOCKED_ON_NOTIFICATION => Doing::AwaitingSignal { notification: at },
            _ => Doing::Inactive,
        }
    }

    /// The fault that a thread waits to have handled.
    pub fn view_fault(self, tcb: &Tcb) -> Option<Fault> {
        Fault::load(tcb)
    }

    /// Where the slots are in which the notifications of interrupts are kept.
    pub fn view_irq_table(self) -> Paddr {
        self.core.irq_table.get()
    }

    /// Whether a user's handler has the interrupt.
    pub fn view_irq_is_handled(self, irq: u64) -> bool {
        self.irq_is_handled(irq)
    }

    /// The address of the ASID pool of that number, null for none.
    pub fn view_asid_pool(self, number: usize) -> Paddr {
        let pool = self.core.asid_pools.get(number);
        pool.map_or(Paddr::NULL, |pool| pool.get())
    }
}
