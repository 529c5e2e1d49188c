//! Faults, read from the messages in which they arrive.

use crate::error::LookupFailure;
use crate::ipc::Received;
use baton_sel4_abi::FaultKind;
use baton_sel4_abi::fault::{cap, unknown_syscall, user_exception, vm};
use core::fmt;

/// What a thread did wrong, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A capability pointer could not be resolved in a system call.
    Cap {
        /// Address of the call.
        ip: u64,
        /// The capability pointer.
        cptr: u64,
        /// Whether it was the receiving half of the call.
        in_recv_phase: bool,
        /// Why.
        failure: LookupFailure,
    },
    /// A system-call number that the kernel does not have.
    UnknownSyscall {
        /// Address of the call.
        ip: u64,
        /// Stack pointer.
        sp: u64,
        /// The number, as the register had it.
        number: i64,
    },
    /// An exception.
    UserException {
        /// Address of the instruction.
        ip: u64,
        /// Stack pointer.
        sp: u64,
        /// `scause`.
        number: u64,
        /// Always 0.
        code: u64,
    },
    /// An access to memory that is not mapped so.
    Vm {
        /// Address of the instruction.
        ip: u64,
        /// The address that was accessed.
        address: u64,
        /// Whether to fetch an instruction.
        prefetch: bool,
        /// 1 for instruction, 5 for load, 7 for store.
        fsr: u64,
    },
}

impl Fault {
    /// The fault in a message from a fault endpoint; `None` when the message is something else. Call it before the next
    /// system call, for longer messages are in the IPC buffer.
    pub fn from_message(received: &Received) -> Option<Self> {
        let word = |index| received.word(index);
        Some(match FaultKind::from_label(received.label())? {
            FaultKind::Cap => Self::Cap {
                ip: word(cap::IP),
                cptr: word(cap::ADDR),
                in_recv_phase: word(cap::IN_RECV_PHASE) != 0,
                failure: LookupFailure::from_words(|index| word(cap::LOOKUP_FAILURE_TYPE + index)),
            },
            FaultKind::UnknownSyscall => Self::UnknownSyscall {
                ip: word(unknown_syscall::FAULT_IP),
                sp: word(unknown_syscall::SP),
                number: word(unknown_syscall::SYSCALL) as i64,
            },
            FaultKind::UserException => Self::UserException {
                ip: word(user_exception::FAULT_IP),
                sp: word(user_exception::SP),
                number: word(user_exception::NUMBER),
                code: word(user_exception::CODE),
            },
            FaultKind::Vm => Self::Vm {
                ip: word(vm::IP),
                address: word(vm::ADDR),
                prefetch: word(vm::PREFETCH_FAULT) != 0,
                fsr: word(vm::FSR),
            },
        })
    }

    /// Address of the instruction.
    pub const fn ip(&self) -> u64 {
        match *self {
            Self::Cap { ip, .. }
            | Self::UnknownSyscall { ip, .. }
            | Self::UserException { ip, .. }
            | Self::Vm { ip, .. } => ip,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Cap {
                ip,
                cptr,
                in_recv_phase,
                failure,
            } => {
                let phase = if in_recv_phase {
                    "receive from"
                } else {
                    "send to"
                };
                write!(
                    f,
                    "at {ip:#x}: cannot {phase} capability {cptr:#x}: {failure}"
                )
            }
            Self::UnknownSyscall { ip, number, .. } => {
                write!(f, "at {ip:#x}: unknown system call {number}")
            }
            Self::UserException { ip, number, .. } => {
                let what = match number {
                    0 => "misaligned instruction",
                    2 => "illegal instruction",
                    3 => "breakpoint",
                    4 => "misaligned load",
                    6 => "misaligned store",
                    _ => "exception",
                };
                write!(f, "at {ip:#x}: {what} (scause {number})")
            }
            Self::Vm {
                ip, address, fsr, ..
            } => {
                let what = match fsr {
                    vm::FSR_INSTRUCTION => "execute",
                    vm::FSR_LOAD => "read",
                    vm::FSR_STORE => "write",
                    _ => "access",
                };
                write!(f, "at {ip:#x}: cannot {what} address {address:#x}")
            }
        }
    }
}
