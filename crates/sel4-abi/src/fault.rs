//! Faults as messages: the label says the kind, the modules name the message registers.
//!
//! A reply with label 0 resumes the thread; to an unknown system call or a user exception it may carry new values for the
//! registers. Source: reference manual, chapter 6.2 (exceptions), RISC-V.

/// The kind of a fault: the label of its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum FaultKind {
    /// A capability pointer could not be resolved in the send or receive phase of a system call.
    Cap = 1,
    /// A system-call number that this kernel does not have.
    UnknownSyscall = 2,
    /// The processor raised an exception.
    UserException = 3,
    /// A page or access fault.
    Vm = 5,
}

impl FaultKind {
    /// The label of no fault.
    pub const NULL: u64 = 0;

    /// The fault of that label.
    pub const fn from_label(label: u64) -> Option<Self> {
        Some(match label {
            1 => Self::Cap,
            2 => Self::UnknownSyscall,
            3 => Self::UserException,
            5 => Self::Vm,
            _ => return None,
        })
    }

    /// The label of the message.
    pub const fn label(self) -> u64 {
        self as u64
    }
}

/// Message registers of a capability fault.
pub mod cap {
    /// Address of the instruction to restart.
    pub const IP: usize = 0;
    /// The capability pointer.
    pub const ADDR: usize = 1;
    /// 1 in the receive phase of the call.
    pub const IN_RECV_PHASE: usize = 2;
    /// The [`LookupFailureKind`](crate::LookupFailureKind).
    pub const LOOKUP_FAILURE_TYPE: usize = 3;
    /// Bits left to resolve.
    pub const BITS_LEFT: usize = 4;
    /// Depth mismatch: bits that the CNode resolves.
    pub const DEPTH_MISMATCH_BITS_FOUND: usize = 5;
    /// Guard mismatch: the guard.
    pub const GUARD_MISMATCH_GUARD_FOUND: usize = 5;
    /// Guard mismatch: bits of the guard.
    pub const GUARD_MISMATCH_BITS_FOUND: usize = 6;
}

/// Message registers of an unknown system call.
pub mod unknown_syscall {
    /// Address of the `ecall`. A reply resumes there, unless it sets another address.
    pub const FAULT_IP: usize = 0;
    /// Stack pointer.
    pub const SP: usize = 1;
    /// Return address.
    pub const RA: usize = 2;
    /// First of `a0` to `a6`.
    pub const A0: usize = 3;
    /// Last of `a0` to `a6`.
    pub const A6: usize = 9;
    /// The number that the kernel does not have.
    pub const SYSCALL: usize = 10;
    /// Words of the message.
    pub const LENGTH: usize = 11;
    /// Words that a reply can set: all but the number.
    pub const REPLY_LENGTH: usize = 10;
}

/// Message registers of a user exception.
pub mod user_exception {
    /// Address of the instruction.
    pub const FAULT_IP: usize = 0;
    /// Stack pointer.
    pub const SP: usize = 1;
    /// `scause`.
    pub const NUMBER: usize = 2;
    /// Always 0.
    pub const CODE: usize = 3;
    /// Words of the message.
    pub const LENGTH: usize = 4;
    /// Words that a reply can set: instruction address and stack pointer.
    pub const REPLY_LENGTH: usize = 2;
}

/// Message registers of a virtual-memory fault.
pub mod vm {
    /// Address of the instruction.
    pub const IP: usize = 0;
    /// The address that was accessed.
    pub const ADDR: usize = 1;
    /// 1 when it was fetched as an instruction.
    pub const PREFETCH_FAULT: usize = 2;
    /// Fault status: [`FSR_INSTRUCTION`], [`FSR_LOAD`] or [`FSR_STORE`].
    pub const FSR: usize = 3;
    /// Words of the message.
    pub const LENGTH: usize = 4;

    /// Fault status of an instruction fetch, for page and access faults alike.
    pub const FSR_INSTRUCTION: u64 = 1;
    /// Fault status of a load.
    pub const FSR_LOAD: u64 = 5;
    /// Fault status of a store.
    pub const FSR_STORE: u64 = 7;
}
