//! Faults: what a thread did that its handler must hear of. Reference manual, section 6.2.

use crate::cap::Cap;
use crate::endpoint::Sending;
use crate::error::LookupFailure;
use crate::machine::Machine;
use crate::message::{IN_REGISTERS, MessageWords};
use crate::state::Kernel;
use crate::tcb::ThreadState;
use baton_kernel_mem::{Tcb, reg};
use baton_sel4_abi::fault::{unknown_syscall, user_exception};
use baton_sel4_abi::{CapRights, FaultKind, LookupFailureKind, MessageInfo};

/// A fault of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A capability pointer of a system call did not resolve.
    Cap {
        /// The pointer.
        pointer: u64,
        /// Whether it was that of the receive phase.
        in_recv_phase: bool,
        /// Why.
        failure: LookupFailure,
    },
    /// A system call of that number does not exist.
    UnknownSyscall {
        /// The number.
        number: u64,
    },
    /// An exception that is not about memory.
    UserException {
        /// `scause`.
        number: u64,
        /// Always 0.
        code: u64,
    },
    /// An access to memory that is not mapped, or not so.
    Vm {
        /// The address.
        address: u64,
        /// Fault status: `baton_sel4_abi::fault::vm::FSR_*`.
        status: u64,
        /// Whether it was an instruction fetch.
        fetch: bool,
    },
}

/// `Tcb::fault[0]`: the lowest byte is the fault's number, 0 for none; the next a flag.
const FLAG: u64 = 1 << 8;
const KIND: u64 = 0xff;

/// Registers that the message of an unknown system call holds, and a reply may set.
const SYSCALL_REGISTERS: [usize; unknown_syscall::REPLY_LENGTH] = [
    reg::PC,
    reg::SP,
    reg::RA,
    reg::A0,
    reg::A0 + 1,
    reg::A0 + 2,
    reg::A0 + 3,
    reg::A0 + 4,
    reg::A0 + 5,
    reg::A0 + 6,
];

/// Registers that the message of a user exception holds, and a reply may set.
const EXCEPTION_REGISTERS: [usize; user_exception::REPLY_LENGTH] = [reg::PC, reg::SP];

impl Fault {
    /// Keeps the fault in the thread until its handler has answered.
    fn store(self, tcb: &Tcb) {
        let flag = |set: bool| if set { FLAG } else { 0 };
        let words = match self {
            Fault::Cap {
                pointer,
                in_recv_phase,
                failure,
            } => {
                store_lookup_failure(tcb, failure);
                [FaultKind::Cap.label() | flag(in_recv_phase), pointer, 0]
            }
            Fault::UnknownSyscall { number } => [FaultKind::UnknownSyscall.label(), number, 0],
            Fault::UserException { number, code } => {
                [FaultKind::UserException.label(), number, code]
            }
            Fault::Vm {
                address,
                status,
                fetch,
            } => [FaultKind::Vm.label() | flag(fetch), address, status],
        };
        for (cell, word) in tcb.fault.iter().zip(words) {
            cell.set(word);
        }
    }

    /// The thread's fault.
    pub(crate) fn load(tcb: &Tcb) -> Option<Fault> {
        let [first, second, third] = &tcb.fault;
        let flag = first.get() & FLAG != 0;
        Some(match FaultKind::from_label(first.get() & KIND)? {
            FaultKind::Cap => Fault::Cap {
                pointer: second.get(),
                in_recv_phase: flag,
                failure: load_lookup_failure(tcb),
            },
            FaultKind::UnknownSyscall => Fault::UnknownSyscall {
                number: second.get(),
            },
            FaultKind::UserException => Fault::UserException {
                number: second.get(),
                code: third.get(),
            },
            FaultKind::Vm => Fault::Vm {
                address: second.get(),
                status: third.get(),
                fetch: flag,
            },
        })
    }
}

/// A thread that goes on has no fault any more: else its next message would arrive as that fault.
pub(crate) fn forget_fault(tcb: &Tcb) {
    tcb.fault[0].set(0);
}

/// Two words: kind, bits left and bits found in bytes of the first; the guard in the second.
fn store_lookup_failure(tcb: &Tcb, failure: LookupFailure) {
    let (bits_left, bits_found, guard) = match failure {
        LookupFailure::InvalidRoot => (0, 0, 0),
        LookupFailure::MissingCapability { bits_left } => (bits_left, 0, 0),
        LookupFailure::DepthMismatch {
            bits_left,
            bits_found,
        } => (bits_left, bits_found, 0),
        LookupFailure::GuardMismatch {
            bits_left,
            guard_found,
            bits_found,
        } => (bits_left, bits_found, guard_found),
    };
    let [first, second] = &tcb.lookup_failure;
    first.set(failure.kind().number() | (bits_left << 8) | (bits_found << 16));
    second.set(guard);
}

fn load_lookup_failure(tcb: &Tcb) -> LookupFailure {
    let [first, second] = &tcb.lookup_failure;
    let bits_left = (first.get() >> 8) & 0xff;
    let bits_found = (first.get() >> 16) & 0xff;
    match LookupFailureKind::from_number(first.get() & 0xff) {
        Some(LookupFailureKind::MissingCapability) => {
            LookupFailure::MissingCapability { bits_left }
        }
        Some(LookupFailureKind::DepthMismatch) => LookupFailure::DepthMismatch {
            bits_left,
            bits_found,
        },
        Some(LookupFailureKind::GuardMismatch) => LookupFailure::GuardMismatch {
            bits_left,
            guard_found: second.get(),
            bits_found,
        },
        Some(LookupFailureKind::InvalidRoot) | None => LookupFailure::InvalidRoot,
    }
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Sends the fault to the thread's handler, or stops the thread if it has none that can be reached.
    #[cold]
    #[inline(never)]
    pub(crate) fn handle_fault(self, tcb: &'m Tcb, fault: Fault) {
        self.abandon_cancellation(tcb);
        let handler = self
            .lookup_slot(tcb, tcb.fault_handler.get())
            .map(|slot| Cap::decode(slot.cap()));
        if let Ok(Cap::Endpoint {
            address,
            badge,
            rights,
        }) = handler
            && rights.contains(CapRights::WRITE)
            && (rights.contains(CapRights::GRANT) || rights.contains(CapRights::GRANT_REPLY))
        {
            fault.store(tcb);
            let how = Sending {
                block: true,
                call: true,
                badge,
                can_grant: rights.contains(CapRights::GRANT),
                can_grant_reply: true,
            };
            self.send_ipc(tcb, self.mem.get(address), how);
        } else {
            self.report_unhandled(tcb, fault);
            self.set_state(tcb, ThreadState::INACTIVE);
        }
    }

    /// Writes the sender's fault as a message for the receiver.
    #[cold]
    #[inline(never)]
    pub(crate) fn write_fault(self, sender: &'m Tcb, receiver: &'m Tcb) -> MessageInfo {
        let mut words = MessageWords::new(receiver, self.ipc_buffer(receiver, true));
        let label = sender.fault[0].get() & KIND;
        let pc = sender.context.get::<{ reg::PC }>();
        match Fault::load(sender) {
            Some(Fault::Cap {
                pointer,
                in_recv_phase,
                failure,
            }) => {
                words.push(pc);
                words.push(pointer);
                words.push(in_recv_phase.into());
                words.push_lookup_failure(failure);
            }
            Some(Fault::UnknownSyscall { number }) => {
                for register in SYSCALL_REGISTERS {
                    words.push(sender.context.read(register));
                }
                words.push(number);
            }
            Some(Fault::UserException { number, code }) => {
                for register in EXCEPTION_REGISTERS {
                    words.push(sender.context.read(register));
                }
                words.push(number);
                words.push(code);
            }
            Some(Fault::Vm {
                address,
                status,
                fetch,
            }) => {
                words.push(pc);
                words.push(address);
                words.push(fetch.into());
                words.push(status);
            }
            None => {}
        }
        MessageInfo::new(label, 0, 0, words.length)
    }

    /// Applies the handler's answer to the thread that faulted; true if the thread is to go on.
    pub(crate) fn apply_fault_reply(self, faulted: &'m Tcb, handler: &'m Tcb) -> bool {
        let info = MessageInfo::from_word(handler.context.get::<{ reg::A1 }>());
        let registers: &[usize] = match Fault::load(faulted) {
            Some(Fault::UnknownSyscall { .. }) => &SYSCALL_REGISTERS,
            Some(Fault::UserException { .. }) => &EXCEPTION_REGISTERS,
            _ => return true,
        };
        let length = info.message_length() as usize;
        let buffer = if length > IN_REGISTERS {
            self.ipc_buffer(handler, false)
        } else {
            None
        };
        for (index, &register) in registers.iter().enumerate().take(length) {
            let word = if index < IN_REGISTERS {
                handler.context.read(reg::A2 + index)
            } else {
                match buffer.and_then(|buffer| buffer.get(1 + index)) {
                    Some(word) => word.get(),
                    None => break,
                }
            };
            faulted.context.write(register, word);
        }
        info.label() == 0
    }
}
