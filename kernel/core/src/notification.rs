//! Notifications: a word in which signals gather. Reference manual, chapter 5.

use crate::endpoint::queue_state::{ACTIVE, IDLE, MASK, WAITING};
use crate::endpoint::{WaitQueue, no_message};
use crate::machine::Machine;
use crate::state::Kernel;
use crate::tcb::ThreadState;
use baton_kernel_mem::{Notification, Paddr, Tcb, reg};

impl<'m, M: Machine> Kernel<'m, M> {
    /// Signals: wakes who waits, or the bound thread if it receives, or leaves the badge for later.
    #[inline]
    pub(crate) fn send_signal(self, notification: &'m Notification, badge: u64) {
        match notification.head.get() & MASK {
            WAITING => {
                let queue = WaitQueue::of_notification(notification);
                if let Some(tcb) = self.first_in(queue) {
                    self.leave(queue, tcb);
                    self.wake(tcb, badge);
                }
            }
            ACTIVE => notification.badge.set(notification.badge.get() | badge),
            _ => {
                let bound = Paddr::new(notification.bound.get());
                match self.mem.get_or_null::<Tcb>(bound) {
                    Some(tcb) if ThreadState::of(tcb) == ThreadState::BLOCKED_ON_RECEIVE => {
                        self.cancel_ipc(tcb);
                        self.wake(tcb, badge);
                    }
                    // A thread that waits for a reply is not woken: it gets the signal when it next receives.
                    _ => {
                        notification.head.set(ACTIVE);
                        notification.badge.set(badge);
                    }
                }
            }
        }
    }

    fn wake(self, tcb: &'m Tcb, badge: u64) {
        self.set_state(tcb, ThreadState::RUNNING);
        tcb.context.set::<{ reg::A0 }>(badge);
        self.possible_switch_to(tcb);
    }

    /// Waits for a signal, or looks whether there is one.
    #[inline]
    pub(crate) fn receive_signal(self, tcb: &'m Tcb, notification: &'m Notification, block: bool) {
        if notification.head.get() & MASK == ACTIVE {
            self.take_signals(tcb, notification);
        } else if block {
            let address = self.mem.address(notification);
            self.block_at(tcb, ThreadState::BLOCKED_ON_NOTIFICATION, 0, address);
            self.wait_in(WaitQueue::of_notification(notification), tcb, WAITING);
        } else {
            no_message(tcb);
        }
    }

    /// Hands the gathered badges over.
    pub(crate) fn take_signals(self, tcb: &'m Tcb, notification: &'m Notification) {
        tcb.context.set::<{ reg::A0 }>(notification.badge.get());
        notification.head.set(IDLE);
    }

    /// Takes a waiting thread out of the queue.
    pub(crate) fn leave_notification(self, tcb: &'m Tcb, notification: &'m Notification) {
        self.leave(WaitQueue::of_notification(notification), tcb);
    }

    /// Binds a notification to a thread, which then receives its signals at endpoints as well.
    pub(crate) fn bind_notification(self, tcb: &'m Tcb, notification: &'m Notification) {
        notification.bound.set(self.mem.address(tcb).value());
        tcb.bound_notification
            .set(self.mem.address(notification).value());
    }

    /// Unbinds a notification from its thread.
    pub(crate) fn unbind_from_notification(self, notification: &'m Notification) {
        let bound = Paddr::new(notification.bound.get());
        if let Some(tcb) = self.mem.get_or_null::<Tcb>(bound) {
            tcb.bound_notification.set(0);
            notification.bound.set(0);
        }
    }
}
