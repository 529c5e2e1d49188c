//! Why an operation stops: errors that users see, failed lookups, preemption.

use baton_sel4_abi::{Error, LookupFailureKind};

/// Why a capability pointer did not resolve. Reference manual, section 3.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupFailure {
    /// The root is no CNode.
    InvalidRoot,
    /// There is no usable capability where the pointer leads.
    MissingCapability {
        /// Bits of the pointer that were left to resolve.
        bits_left: u64,
    },
    /// A CNode needs more, or leaves other, bits than the depth gives.
    DepthMismatch {
        /// Bits that were left to resolve.
        bits_left: u64,
        /// Bits that the CNode resolves.
        bits_found: u64,
    },
    /// A guard differs from the pointer.
    GuardMismatch {
        /// Bits that were left to resolve.
        bits_left: u64,
        /// The guard.
        guard_found: u64,
        /// Bits of the guard.
        bits_found: u64,
    },
}

impl LookupFailure {
    /// Its number in messages.
    pub fn kind(self) -> LookupFailureKind {
        match self {
            LookupFailure::InvalidRoot => LookupFailureKind::InvalidRoot,
            LookupFailure::MissingCapability { .. } => LookupFailureKind::MissingCapability,
            LookupFailure::DepthMismatch { .. } => LookupFailureKind::DepthMismatch,
            LookupFailure::GuardMismatch { .. } => LookupFailureKind::GuardMismatch,
        }
    }
}

/// An invocation that was refused: becomes the answer's label and message. Reference manual, section 10.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyscallError {
    /// Argument of that number is wrong.
    InvalidArgument(u64),
    /// Capability of that number is wrong.
    InvalidCapability(u64),
    /// Not possible here, or not permitted.
    IllegalOperation,
    /// An argument is outside of this range.
    RangeError {
        /// Lowest allowed value.
        min: u64,
        /// Highest allowed value.
        max: u64,
    },
    /// An address is not aligned.
    AlignmentError,
    /// A capability pointer in the message did not resolve.
    FailedLookup {
        /// Whether it was the source's (the root's) lookup.
        source: bool,
        /// Why.
        failure: LookupFailure,
    },
    /// Too few arguments or capabilities.
    TruncatedMessage,
    /// Something must be deleted or unmapped first.
    DeleteFirst,
    /// What was derived must be revoked first.
    RevokeFirst,
    /// Untyped memory does not suffice; bytes that there are.
    NotEnoughMemory(u64),
}

impl SyscallError {
    /// The label of the answer.
    pub fn code(self) -> Error {
        match self {
            SyscallError::InvalidArgument(_) => Error::InvalidArgument,
            SyscallError::InvalidCapability(_) => Error::InvalidCapability,
            SyscallError::IllegalOperation => Error::IllegalOperation,
            SyscallError::RangeError { .. } => Error::RangeError,
            SyscallError::AlignmentError => Error::AlignmentError,
            SyscallError::FailedLookup { .. } => Error::FailedLookup,
            SyscallError::TruncatedMessage => Error::TruncatedMessage,
            SyscallError::DeleteFirst => Error::DeleteFirst,
            SyscallError::RevokeFirst => Error::RevokeFirst,
            SyscallError::NotEnoughMemory(_) => Error::NotEnoughMemory,
        }
    }
}

/// Why an invocation did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Refused; nothing was changed.
    Error(SyscallError),
    /// An interrupt waits; what is done so far stands, and the system call is to be made again to go on.
    Preempted,
}

impl From<SyscallError> for Stop {
    fn from(error: SyscallError) -> Self {
        Stop::Error(error)
    }
}

/// An interrupt waits: a long operation stops where it can go on later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preempted;

impl From<Preempted> for Stop {
    fn from(_: Preempted) -> Self {
        Stop::Preempted
    }
}

/// What a successful invocation answers with, if its caller wants an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An empty message.
    Empty,
    /// One message register.
    Word(u64),
    /// That many message registers, already written for the caller.
    Written(u64),
}

/// What decoding and performing an invocation ends with.
pub type Decoded = Result<Answer, Stop>;
