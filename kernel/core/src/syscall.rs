//! System calls: sending (which includes invoking kernel objects), receiving, replying, yielding.
//!
//! Reference manual, chapter 2.2 and section 10.3.

use crate::cap::{Cap, address_of, kind, kind_of, stored_rights};
use crate::config::COUNTS_ENTRIES;
use crate::endpoint::Sending;
use crate::error::{Answer, Decoded, LookupFailure, Preempted, Stop, SyscallError};
use crate::fault::Fault;
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::message::IN_REGISTERS;
use crate::state::Kernel;
use crate::tcb::{QUEUED, ThreadState};
use baton_kernel_mem::{Slot, Tcb, reg};
use baton_sel4_abi::{BatonCall, CapRights, MessageInfo, Syscall};

/// How a system call invokes a capability.
#[derive(Clone, Copy)]
struct Manner {
    /// Whether it waits for an answer.
    call: bool,
    /// Whether it may wait until it can send, and faults if the capability does not exist.
    block: bool,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// The system call whose number is in register `a7` of `current`, the running thread.
    #[inline]
    pub(crate) fn syscall(self, current: &'m Tcb) {
        let number = current.context.get::<{ reg::A7 }>();
        let send = |call, block| self.send(current, Manner { call, block });
        match Syscall::from_number(number as i64) {
            Some(Syscall::Call) => send(true, true),
            Some(Syscall::ReplyRecv) => {
                self.reply(current);
                self.receive(current, true);
            }
            Some(Syscall::Send) => send(false, true),
            Some(Syscall::NBSend) => send(false, false),
            Some(Syscall::Recv) => self.receive(current, true),
            Some(Syscall::Reply) => self.reply(current),
            Some(Syscall::Yield) => self.yield_now(current),
            Some(Syscall::NBRecv) => self.receive(current, false),
            other => self.other_syscall(current, other),
        }
    }

    /// A system call that is none of the usual ones: out of their way.
    #[cold]
    #[inline(never)]
    fn other_syscall(self, current: &'m Tcb, call: Option<Syscall>) {
        let number = current.context.get::<{ reg::A7 }>();
        let call_of_baton = BatonCall::from_number(number as i64)
            .filter(|&call| COUNTS_ENTRIES || call != BatonCall::KernelEntries);
        if let Some(call) = call_of_baton {
            self.baton_syscall(current, call);
        } else if !call.is_some_and(|call| self.debug_syscall(current, call)) {
            self.handle_fault(current, Fault::UnknownSyscall { number });
        }
    }

    /// `Call` with the capability in `slot`, which was found for it.
    #[inline]
    pub(crate) fn call(self, current: &'m Tcb, slot: &'m Slot) {
        let manner = Manner {
            call: true,
            block: true,
        };
        self.invoke_or_interrupt(current, slot, manner);
    }

    /// `Send` with the capability in `slot`, which was found for it.
    #[inline]
    pub(crate) fn send_found(self, current: &'m Tcb, slot: &'m Slot) {
        let manner = Manner {
            call: false,
            block: true,
        };
        self.invoke_or_interrupt(current, slot, manner);
    }

    #[inline(always)]
    fn invoke_or_interrupt(self, current: &'m Tcb, slot: &'m Slot, manner: Manner) {
        if self.invoke(current, slot, manner).is_err() {
            // What is done so far stands; the thread makes the call again after the interrupt.
            self.interrupt();
        }
    }

    /// Invokes the capability that `a0` names.
    #[inline]
    fn send(self, current: &'m Tcb, manner: Manner) {
        let pointer = current.context.get::<{ reg::A0 }>();
        let slot = match self.lookup_slot(current, pointer) {
            Ok(slot) => slot,
            Err(failure) => {
                if manner.block {
                    let fault = Fault::Cap {
                        pointer,
                        in_recv_phase: false,
                        failure,
                    };
                    self.handle_fault(current, fault);
                }
                return;
            }
        };
        self.invoke_or_interrupt(current, slot, manner);
    }

    /// Invokes the capability in `slot` with the message in the registers and the buffer.
    #[inline]
    fn invoke(self, current: &'m Tcb, slot: &'m Slot, manner: Manner) -> Result<(), Preempted> {
        let info = MessageInfo::from_word(current.context.get::<{ reg::A1 }>());
        // What needs neither arguments nor further capabilities is not an invocation to decode.
        if info.extra_caps() == 0 && self.invoke_plain(current, slot, manner) {
            return Ok(());
        }
        let mut length = info.message_length();
        let (mut buffer, mut extra) = (None, [None; 3]);
        if length > IN_REGISTERS as u64 || info.extra_caps() != 0 {
            buffer = self.ipc_buffer(current, false);
            if buffer.is_none() {
                length = length.min(IN_REGISTERS as u64);
            }
            match self.lookup_extra_caps(current, buffer, info) {
                Ok(found) => extra = found,
                Err(fault) => {
                    if manner.block {
                        self.handle_fault(current, fault);
                    }
                    return Ok(());
                }
            }
        }
        let invocation = Invocation {
            label: info.label(),
            length,
            slot,
            extra,
            words: current.context.message(),
            buffer,
            caller: current,
            call: manner.call,
            block: manner.block,
        };
        // If it is preempted, or stops the caller, the caller begins it anew. It runs and is in no queue: its state has no
        // flags, and the scheduler need not know.
        current.state.set(ThreadState::RESTART.word());
        match self.decode(&invocation) {
            Ok(answer) => {
                if ThreadState::of(current) == ThreadState::RESTART {
                    if manner.call {
                        self.answer(current, answer);
                    }
                    go_on(current);
                }
            }
            Err(Stop::Error(error)) => {
                if manner.call {
                    self.answer_error(current, error);
                }
                go_on(current);
            }
            Err(Stop::Preempted) => return Err(Preempted),
        }
        Ok(())
    }

    /// Sends to an endpoint or signals, if that is what the capability is for.
    #[inline(always)]
    fn invoke_plain(self, current: &'m Tcb, slot: &'m Slot, manner: Manner) -> bool {
        let [first, second] = slot.cap();
        if first & stored_rights(CapRights::WRITE) == 0 {
            return false;
        }
        match kind_of(first) {
            kind::ENDPOINT => {
                let how = Sending {
                    block: manner.block,
                    call: manner.call,
                    badge: second,
                    can_grant: first & stored_rights(CapRights::GRANT) != 0,
                    can_grant_reply: first & stored_rights(CapRights::GRANT_REPLY) != 0,
                };
                self.send_ipc(current, self.mem.get(address_of(first)), how);
            }
            kind::NOTIFICATION => {
                self.send_signal(self.mem.get(address_of(first)), second);
                if manner.call {
                    self.answer(current, Answer::Empty);
                }
            }
            _ => return false,
        }
        true
    }

    /// Hands the message to the object that the capability names.
    #[inline]
    pub(crate) fn decode(self, inv: &Invocation<'m>) -> Decoded {
        let cap = Cap::decode(inv.slot.cap());
        match cap {
            Cap::Endpoint {
                address,
                badge,
                rights,
            } => {
                if !rights.contains(CapRights::WRITE) {
                    return Err(SyscallError::InvalidCapability(0).into());
                }
                let how = Sending {
                    block: inv.block,
                    call: inv.call,
                    badge,
                    can_grant: rights.contains(CapRights::GRANT),
                    can_grant_reply: rights.contains(CapRights::GRANT_REPLY),
                };
                self.set_state(inv.caller, ThreadState::RUNNING);
                self.send_ipc(inv.caller, self.mem.get(address), how);
                Ok(Answer::Empty)
            }
            Cap::Notification {
                address,
                badge,
                rights,
            } => {
                if !rights.contains(CapRights::WRITE) {
                    return Err(SyscallError::InvalidCapability(0).into());
                }
                self.send_signal(self.mem.get(address), badge);
                Ok(Answer::Empty)
            }
            Cap::Reply {
                tcb,
                master: false,
                can_grant,
            } => {
                self.reply_transfer(inv.caller, self.mem.get(tcb), inv.slot, can_grant);
                Ok(Answer::Empty)
            }
            Cap::Thread { tcb } => self.decode_tcb(inv, self.mem.get(tcb)),
            Cap::Frame { .. } | Cap::PageTable { .. } | Cap::AsidControl | Cap::AsidPool { .. } => {
                self.decode_vspace(inv, cap)
            }
            Cap::CNode { .. } => self.decode_cnode(inv, cap),
            Cap::Untyped { .. } => self.decode_untyped(inv, cap),
            Cap::IrqControl => self.decode_irq_control(inv),
            Cap::IrqHandler { irq } => self.decode_irq_handler(inv, irq),
            Cap::Domain => self.decode_domain(inv),
            Cap::KernelLane { address, .. } => self.decode_kernel_lane(inv, address),
            Cap::Null | Cap::Zombie { .. } | Cap::Reply { master: true, .. } => {
                Err(SyscallError::InvalidCapability(0).into())
            }
        }
    }

    /// Answers a successful invocation.
    #[inline]
    fn answer(self, current: &'m Tcb, answer: Answer) {
        let length = match answer {
            Answer::Empty => 0,
            Answer::Word(word) => {
                current.context.set::<{ reg::A2 }>(word);
                1
            }
            Answer::Written(length) => length,
        };
        current.context.set::<{ reg::A0 }>(0);
        current
            .context
            .set::<{ reg::A1 }>(MessageInfo::new(0, 0, 0, length).word());
    }

    /// Receives by the capability that `a0` names: at an endpoint or a notification.
    #[inline]
    pub(crate) fn receive(self, current: &'m Tcb, block: bool) {
        let pointer = current.context.get::<{ reg::A0 }>();
        let failure = match self.lookup_slot(current, pointer) {
            Err(failure) => failure,
            Ok(slot) => match Cap::decode(slot.cap()) {
                Cap::Endpoint {
                    address, rights, ..
                } if rights.contains(CapRights::READ) => {
                    // Whoever called before and got no answer waits on for nobody.
                    self.delete_caller_cap(current);
                    self.receive_ipc(current, self.mem.get(address), rights, block);
                    return;
                }
                Cap::Notification {
                    address, rights, ..
                } if rights.contains(CapRights::READ) => {
                    let notification: &baton_kernel_mem::Notification = self.mem.get(address);
                    let bound = notification.bound.get();
                    if bound == 0 || bound == self.mem.address(current).value() {
                        self.receive_signal(current, notification, block);
                        return;
                    }
                    LookupFailure::MissingCapability { bits_left: 0 }
                }
                _ => LookupFailure::MissingCapability { bits_left: 0 },
            },
        };
        let fault = Fault::Cap {
            pointer,
            in_recv_phase: true,
            failure,
        };
        self.handle_fault(current, fault);
    }
}

/// A thread whose state was set to `RESTART` for the time of an invocation runs on. It may have been queued by it.
#[inline(always)]
fn go_on(current: &Tcb) {
    current
        .state
        .set((current.state.get() & QUEUED) | ThreadState::RUNNING.word());
}
