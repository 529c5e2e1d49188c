//! The fast path: the two halves of a remote procedure call, from system call to the other thread's registers in one piece,
//! signals for which nobody waits, and parking with a signal for somebody who does.
//!
//! `Call` to a thread that waits, and `ReplyRecv` to a thread that called, with up to four words in registers and no
//! capabilities, when the other thread is the one that the scheduler would choose; `Send` to a notification that only takes
//! a note; `SignalPark` where one thread alone waits to be woken and would be chosen. Everything else is left to the slow path, and so is each case of these that is not as usual.
//!
//! Invariants:
//! - a function here either changes nothing and returns `None`, or does all that the slow path would have done and returns
//!   the thread that runs then (`tests/fastpath.rs` compares the two, step by step);
//! - all tests come before the first change;
//! - handles are made with `Memory::find`: what is not in order is the slow path's business, which says so.
//!
//! It is written for the instructions it takes: words of capabilities are compared as they are stored, and
//! what a later test implies is not tested before. `docs/bench/kernel.md` has the figures, ADR 0018 the reasons.
//! Reference manual, section 4.2 (what the calls mean). Neighbours: `endpoint`, `transfer`, `reply`, `scheduler` (the slow path).

use crate::cap::{Cap, KIND_MASK, REPLY_MASTER, address_of, kind, stored_rights};
use crate::config::DOMAINS;
use crate::derivation::FLAGS;
use crate::drain::PARKED;
use crate::endpoint::queue_state::{self, RECEIVE, SEND};
use crate::machine::Machine;
use crate::state::Kernel;
use crate::tcb::{CAN_GRANT, ThreadState};
use crate::transfer::copy_registers;
use baton_kernel_mem::{Endpoint, Notification, Paddr, Slot, Tcb, reg, tcb_slot};
use baton_sel4_abi::baton::Parked;
use baton_sel4_abi::{CapRights, MSG_REGISTERS, MessageInfo};

/// The registers that a system call has its arguments in, as the trap found them.
#[derive(Clone, Copy, Debug)]
pub struct SyscallRegisters {
    /// `a0`: the capability pointer.
    pub pointer: u64,
    /// `a1`: the message info.
    pub info: u64,
}

/// What has become of a system call that was tried on the fast path.
#[must_use]
pub enum Fast<'m> {
    /// It is done, and this thread is to go on.
    Done(Resume<'m>),
    /// It is done, but for the floating-point unit: [`Kernel::finish_fast`] with the thread that called.
    Unfinished(Resume<'m>),
    /// Nothing was changed: [`Kernel::handle_syscall`] is to do it.
    Slow,
    /// Nothing was changed: [`Kernel::handle_call`], or [`Kernel::handle_send`], is to do it. The capability is in this
    /// slot.
    Found(&'m Slot),
}

/// A thread that goes on, and what is not in its context yet.
pub struct Resume<'m> {
    /// The thread, which is the current one.
    pub thread: &'m Tcb,
    /// For `a0`: the badge.
    pub badge: u64,
    /// For `a1`: the message info.
    pub info: u64,
}

/// A thread that could be switched to.
struct Target<'m> {
    tcb: &'m Tcb,
    address: Paddr,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// `Call` by `current`, the running thread.
    #[inline(always)]
    pub fn fast_call(self, current: &'m Tcb, call: SyscallRegisters) -> Fast<'m> {
        if cfg!(feature = "slow-only") {
            return Fast::Slow;
        }
        let Some(slot) = self.find_slot(current, call.pointer) else {
            return Fast::Slow;
        };
        let [first, badge] = slot.cap();
        const SEND_CAP: u64 = kind::ENDPOINT | stored_rights(CapRights::WRITE);
        if first & (KIND_MASK | stored_rights(CapRights::WRITE)) != SEND_CAP {
            return Fast::Found(slot);
        }
        done(current, self.fast_deliver(current, first, badge, call))
    }

    /// `Send` by `current`, the running thread: mostly a signal.
    #[inline(always)]
    pub fn fast_send(self, current: &'m Tcb, call: SyscallRegisters) -> Fast<'m> {
        if cfg!(feature = "slow-only") {
            return Fast::Slow;
        }
        let Some(slot) = self.find_slot(current, call.pointer) else {
            return Fast::Slow;
        };
        let [first, badge] = slot.cap();
        const SIGNAL_CAP: u64 = kind::NOTIFICATION | stored_rights(CapRights::WRITE);
        if first & (KIND_MASK | stored_rights(CapRights::WRITE)) == SIGNAL_CAP
            && MessageInfo::from_word(call.info).extra_caps() == 0
            && self.fast_signal(address_of(first), badge).is_some()
        {
            // Its registers stay as they are.
            return Fast::Done(Resume {
                thread: current,
                badge: call.pointer,
                info: call.info,
            });
        }
        Fast::Found(slot)
    }

    /// Notes a signal, unless somebody is to be woken.
    #[inline(always)]
    fn fast_signal(self, at: Paddr, badge: u64) -> Option<()> {
        let notification: &Notification = self.mem.find(at)?;
        match notification.head.get() & queue_state::MASK {
            queue_state::WAITING => return None,
            queue_state::ACTIVE => {
                let before = notification.badge.get();
                notification.badge.set(before | badge);
            }
            _ => {
                let bound = notification.bound.get();
                if bound != 0 {
                    let tcb: &Tcb = self.mem.find(Paddr::new(bound))?;
                    if ThreadState::of(tcb) == ThreadState::BLOCKED_ON_RECEIVE {
                        return None;
                    }
                }
                notification.head.set(queue_state::ACTIVE);
                notification.badge.set(badge);
            }
        }
        Some(())
    }

    /// `ReplyRecv` by `current`, the running thread.
    #[inline(always)]
    pub fn fast_reply_recv(self, current: &'m Tcb, call: SyscallRegisters) -> Fast<'m> {
        if cfg!(feature = "slow-only") {
            return Fast::Slow;
        }
        done(current, self.fast_reply(current, call))
    }

    /// `SignalPark` by `current`, the running thread: the two halves of a call between two inboxes.
    #[inline(always)]
    pub fn fast_signal_park(self, current: &'m Tcb, call: SyscallRegisters) -> Fast<'m> {
        if cfg!(feature = "slow-only") {
            return Fast::Slow;
        }
        done(current, self.fast_signal_and_wait(current, call))
    }

    /// Wakes the only thread that waits at the one notification, waits alone at the other, and switches.
    #[inline(always)]
    fn fast_signal_and_wait(self, current: &'m Tcb, call: SyscallRegisters) -> Option<Resume<'m>> {
        const WRITE: u64 = stored_rights(CapRights::WRITE);
        const READ: u64 = stored_rights(CapRights::READ);
        if current.lane.get() != 0 {
            return None;
        }
        // In `a1` is the notification to signal, where other calls have the message info.
        let [first, badge] = self.find_slot(current, call.info)?.cap();
        if first & (KIND_MASK | WRITE) != kind::NOTIFICATION | WRITE {
            return None;
        }
        let signalled: &Notification = self.mem.find(address_of(first))?;
        // Of another state than WAITING the difference is no TCB's address, for it is not aligned.
        let waiter = signalled.head.get().wrapping_sub(queue_state::WAITING);
        let waiter = self.fast_target(Paddr::new(waiter))?;
        let alone = !self.is_another_ready(waiter.tcb);
        if waiter.tcb.queue_next.get() != 0 || !alone || !self.would_be_chosen(waiter.tcb) {
            return None;
        }
        let [first, _] = self.find_slot(current, call.pointer)?.cap();
        if first & (KIND_MASK | READ) != kind::NOTIFICATION | READ {
            return None;
        }
        let address = address_of(first);
        let own: &Notification = self.mem.find(address)?;
        let here = self.mem.address(current);
        let bound = own.bound.get();
        // Nobody else waits there, and no signal has come.
        if own.head.get() != queue_state::IDLE || (bound != 0 && bound != here.value()) {
            return None;
        }

        // The waiter leaves the queue.
        signalled.head.set(queue_state::IDLE);
        signalled.tail.set(0);
        // The caller waits in its turn.
        own.head.set(here.value() | queue_state::WAITING);
        own.tail.set(here.value());
        current.queue_prev.set(0);
        current.queue_next.set(0);
        current
            .state
            .set(ThreadState::BLOCKED_ON_NOTIFICATION.word());
        current.blocking_object.set(address.value());
        current.context.set::<PARKED>(Parked::Received as u64);
        let info = waiter.tcb.context.get::<{ reg::A1 }>();
        // A signal changes no register but the badge's.
        Some(self.fast_switch(waiter, badge, info))
    }

    /// The rest of what was left unfinished: the thread to go on with, all of whose registers are in its context.
    pub fn finish_fast(self, current: &'m Tcb, resume: Resume<'m>) -> &'m Tcb {
        let context = &resume.thread.context;
        context.set::<{ reg::A0 }>(resume.badge);
        context.set::<{ reg::A1 }>(resume.info);
        self.hand_fpu_over(Some(current), resume.thread);
        resume.thread
    }

    #[inline(always)]
    fn fast_deliver(
        self,
        current: &'m Tcb,
        first: u64,
        badge: u64,
        call: SyscallRegisters,
    ) -> Option<Resume<'m>> {
        let info = short_message(call.info)?;
        if first & stored_rights(CapRights::GRANT.union(CapRights::GRANT_REPLY)) == 0 {
            return None;
        }
        let endpoint: &Endpoint = self.mem.find(address_of(first))?;
        // Of another state than RECEIVE the difference is no TCB's address, for it is not aligned.
        let receiver = self.fast_target(Paddr::new(endpoint.head.get().wrapping_sub(RECEIVE)))?;
        let master = &current.slots[tcb_slot::REPLY];
        let master_links = master.next.get();
        let next = receiver.tcb.queue_next.get();
        if !self.would_be_chosen(receiver.tcb) || master_links & !FLAGS != 0 {
            return None;
        }
        let after: Option<&Tcb> = if next == 0 {
            None
        } else {
            Some(self.mem.find(Paddr::new(next))?)
        };

        // The receiver leaves the queue.
        match after {
            None => {
                endpoint.head.set(queue_state::IDLE);
                endpoint.tail.set(0);
            }
            Some(after) => {
                endpoint.head.set(next | RECEIVE);
                after.queue_prev.set(0);
            }
        }
        // The caller waits for the reply, to which the receiver gets the capability.
        current.state.set(ThreadState::BLOCKED_ON_REPLY.word());
        let caller = &receiver.tcb.slots[tcb_slot::CALLER];
        let reply = Cap::Reply {
            tcb: self.mem.address(current),
            master: false,
            can_grant: receiver.tcb.state.get() & CAN_GRANT != 0,
        };
        caller.set_cap(reply.encode());
        caller.prev.set(self.mem.address(master).value());
        caller.next.set(0);
        master
            .next
            .set(self.mem.address(caller).value() | master_links);
        Some(self.fast_transfer(current, receiver, badge, info))
    }

    #[inline(always)]
    fn fast_reply(self, current: &'m Tcb, call: SyscallRegisters) -> Option<Resume<'m>> {
        let info = short_message(call.info)?;
        let [first, _] = self.find_slot(current, call.pointer)?.cap();
        const RECEIVE_CAP: u64 = kind::ENDPOINT | stored_rights(CapRights::READ);
        if first & (KIND_MASK | stored_rights(CapRights::READ)) != RECEIVE_CAP {
            return None;
        }
        let address = address_of(first);
        let endpoint: &Endpoint = self.mem.find(address)?;
        let bound = current.bound_notification.get();
        if bound != 0 {
            let notification: &Notification = self.mem.find(Paddr::new(bound))?;
            if notification.head.get() & queue_state::MASK == queue_state::ACTIVE {
                return None;
            }
        }
        let head = endpoint.head.get();
        if head & queue_state::MASK == SEND {
            return None;
        }
        let reply = &current.slots[tcb_slot::CALLER];
        let reply_first = reply.cap_first();
        if reply_first & (KIND_MASK | REPLY_MASTER) != kind::REPLY || reply.next.get() != 0 {
            return None;
        }
        let caller = self.fast_target(address_of(reply_first))?;
        if caller.tcb.fault[0].get() != 0 || !self.would_be_chosen(caller.tcb) {
            return None;
        }
        let last: Option<&Tcb> = if head == 0 {
            None
        } else {
            Some(self.mem.find(Paddr::new(endpoint.tail.get()))?)
        };

        // The reply capability is used up.
        let master = &caller.tcb.slots[tcb_slot::REPLY];
        master.next.set(master.next.get() & FLAGS);
        reply.set_cap([0, 0]);
        reply.prev.set(0);
        // The server waits again.
        let here = self.mem.address(current).value();
        match last {
            None => {
                endpoint.head.set(here | RECEIVE);
                current.queue_prev.set(0);
            }
            Some(last) => {
                current.queue_prev.set(self.mem.address(last).value());
                last.queue_next.set(here);
            }
        }
        endpoint.tail.set(here);
        current.queue_next.set(0);
        let may_grant = if first & stored_rights(CapRights::GRANT) != 0 {
            CAN_GRANT
        } else {
            0
        };
        current
            .state
            .set(ThreadState::BLOCKED_ON_RECEIVE.word() | may_grant);
        current.blocking_object.set(address.value());
        Some(self.fast_transfer(current, caller, 0, info))
    }

    /// The thread at `at`, if its address space is known.
    #[inline(always)]
    fn fast_target(self, at: Paddr) -> Option<Target<'m>> {
        let tcb: &Tcb = self.mem.find(at)?;
        (tcb.space_epoch.get() == self.core.space_epoch.get())
            .then_some(Target { tcb, address: at })
    }

    /// Whether the scheduler would choose the thread once the running one waits.
    #[inline(always)]
    fn would_be_chosen(self, tcb: &Tcb) -> bool {
        (DOMAINS == 1 || tcb.domain.get() == self.core.domain.get())
            && !self.is_ready_above(tcb.priority.get())
    }

    /// Hands the message over and switches.
    #[inline(always)]
    fn fast_transfer(
        self,
        current: &'m Tcb,
        target: Target<'m>,
        badge: u64,
        info: MessageInfo,
    ) -> Resume<'m> {
        copy_registers(current, target.tcb, info.length() as usize);
        self.fast_switch(target, badge, info.word())
    }

    /// Switches to a thread, which goes on with these two registers.
    #[inline(always)]
    fn fast_switch(self, target: Target<'m>, badge: u64, info: u64) -> Resume<'m> {
        let Target { tcb, address } = target;
        tcb.state.set(ThreadState::RUNNING.word());
        self.core.current.set(address);
        self.machine.set_address_space(tcb.space.get());
        Resume {
            thread: tcb,
            badge,
            info,
        }
    }
}

/// What is left to be done: all if there was no switch, and behind one mostly nothing. Calling for the floating-point unit here would cost the usual
/// case the stack that it needs.
#[inline(always)]
fn done<'m>(current: &Tcb, switched: Option<Resume<'m>>) -> Fast<'m> {
    let Some(resume) = switched else {
        return Fast::Slow;
    };
    if current.uses_fpu.get() | resume.thread.uses_fpu.get() != 0 {
        Fast::Unfinished(resume)
    } else {
        Fast::Done(resume)
    }
}

/// The message info as the receiver gets it, if the message has at most four words and brings no capabilities.
#[inline(always)]
fn short_message(info: u64) -> Option<MessageInfo> {
    const LENGTH_AND_CAPS: u64 = MessageInfo::new(0, 0, 3, 0x7f).word();
    const UNWRAPPED: u64 = MessageInfo::new(0, 7, 0, 0).word();
    (info & LENGTH_AND_CAPS <= MSG_REGISTERS).then(|| MessageInfo::from_word(info & !UNWRAPPED))
}
