//! Errors that an invocation answers with: the label of the reply.
//!
//! Source: reference manual, chapter 10.1 (error codes). Further words of the reply say more:
//! `RangeError` the lowest and highest allowed value, `FailedLookup` whether the source lookup failed and the
//! [`LookupFailureKind`] with its fields, `NotEnoughMemory` the bytes left, `InvalidArgument` and `InvalidCapability` the number
//! of the argument or capability.

/// Why an invocation was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Error {
    /// An argument is wrong.
    InvalidArgument = 1,
    /// A capability is missing or of the wrong kind.
    InvalidCapability = 2,
    /// The operation is not possible on this object, or not permitted by the capability.
    IllegalOperation = 3,
    /// An argument is out of range.
    RangeError = 4,
    /// An address is not aligned.
    AlignmentError = 5,
    /// A capability pointer in the message could not be resolved.
    FailedLookup = 6,
    /// The message is too short, or lacks a capability.
    TruncatedMessage = 7,
    /// What stands in the way must be deleted first.
    DeleteFirst = 8,
    /// What was derived must be revoked first.
    RevokeFirst = 9,
    /// The untyped memory does not suffice.
    NotEnoughMemory = 10,
}

impl Error {
    /// The label of a reply without error.
    pub const NO_ERROR: u64 = 0;

    /// The error of that label; `None` for [`Error::NO_ERROR`] and labels that no kernel sends.
    pub const fn from_label(label: u64) -> Option<Self> {
        Some(match label {
            1 => Self::InvalidArgument,
            2 => Self::InvalidCapability,
            3 => Self::IllegalOperation,
            4 => Self::RangeError,
            5 => Self::AlignmentError,
            6 => Self::FailedLookup,
            7 => Self::TruncatedMessage,
            8 => Self::DeleteFirst,
            9 => Self::RevokeFirst,
            10 => Self::NotEnoughMemory,
            _ => return None,
        })
    }

    /// The label of the reply.
    pub const fn label(self) -> u64 {
        self as u64
    }
}

/// Why a capability pointer could not be resolved, as the word in a `FailedLookup` reply and in a capability fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum LookupFailureKind {
    /// The root is no CNode. No further words.
    InvalidRoot = 1,
    /// The slot is empty. One word: bits left to resolve.
    MissingCapability = 2,
    /// The CNode resolves more or fewer bits than are left. Two words: bits left, bits found.
    DepthMismatch = 3,
    /// The guard does not match. Three words: bits left, the guard, its bits.
    GuardMismatch = 4,
}

impl LookupFailureKind {
    /// The kind of that word; `None` for 0 (no failure) and unknown ones.
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::InvalidRoot,
            2 => Self::MissingCapability,
            3 => Self::DepthMismatch,
            4 => Self::GuardMismatch,
            _ => return None,
        })
    }

    /// The word in the message.
    pub const fn number(self) -> u64 {
        self as u64
    }
}
