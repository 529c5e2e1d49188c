//! The one error of all invocations.

use baton_sel4_abi::{Error as Code, LookupFailureKind};
use core::fmt;

/// Why the kernel refused an invocation; each variant is one of seL4's errors with what its reply says further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// Argument number `argument` is wrong.
    InvalidArgument {
        /// Counted from 0.
        argument: u64,
    },
    /// Capability number `capability` is missing or of the wrong kind; 0 is the one that was invoked.
    InvalidCapability {
        /// 0 for the invoked one, then those that came with the message.
        capability: u64,
    },
    /// Not possible on this object, or not permitted by the capability.
    IllegalOperation,
    /// An argument is outside of `min..=max`.
    RangeError {
        /// The lowest value that is allowed.
        min: u64,
        /// The highest.
        max: u64,
    },
    /// An address is not aligned.
    AlignmentError,
    /// A capability pointer in the message could not be resolved.
    FailedLookup {
        /// Whether it was that of the source.
        source: bool,
        /// Why.
        failure: LookupFailure,
    },
    /// The message is too short, or lacks a capability.
    TruncatedMessage,
    /// What stands in the way must be deleted first.
    DeleteFirst,
    /// What was derived must be revoked first.
    RevokeFirst,
    /// The untyped memory does not suffice.
    NotEnoughMemory {
        /// What is left of it.
        available_bytes: u64,
    },
    /// A label that seL4 does not define; no kernel sends it as an answer.
    Unknown {
        /// The label.
        label: u64,
    },
}

/// Why a capability pointer could not be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupFailure {
    /// The root is no CNode.
    InvalidRoot,
    /// The slot is empty.
    MissingCapability {
        /// Bits that were left to resolve.
        bits_left: u64,
    },
    /// A CNode resolves more bits, or fewer, than there are.
    DepthMismatch {
        /// Bits that were left to resolve.
        bits_left: u64,
        /// Bits that the CNode resolves.
        bits_found: u64,
    },
    /// A guard does not match.
    GuardMismatch {
        /// Bits that were left to resolve.
        bits_left: u64,
        /// The guard.
        guard: u64,
        /// Its bits.
        guard_bits: u64,
    },
    /// A kind that seL4 does not define.
    Unknown {
        /// Its number.
        kind: u64,
    },
}

impl LookupFailure {
    /// From the words of a message that begin with the kind.
    pub(crate) fn from_words(word: impl Fn(usize) -> u64) -> Self {
        match LookupFailureKind::from_number(word(0)) {
            Some(LookupFailureKind::InvalidRoot) => Self::InvalidRoot,
            Some(LookupFailureKind::MissingCapability) => {
                Self::MissingCapability { bits_left: word(1) }
            }
            Some(LookupFailureKind::DepthMismatch) => Self::DepthMismatch {
                bits_left: word(1),
                bits_found: word(2),
            },
            Some(LookupFailureKind::GuardMismatch) => Self::GuardMismatch {
                bits_left: word(1),
                guard: word(2),
                guard_bits: word(3),
            },
            None => Self::Unknown { kind: word(0) },
        }
    }
}

impl Error {
    /// From the label and message registers of a reply; `None` when the label says that all went well.
    pub fn from_reply(label: u64, word: impl Fn(usize) -> u64) -> Option<Self> {
        if label == Code::NO_ERROR {
            return None;
        }
        Some(match Code::from_label(label) {
            Some(Code::InvalidArgument) => Self::InvalidArgument { argument: word(0) },
            Some(Code::InvalidCapability) => Self::InvalidCapability {
                capability: word(0),
            },
            Some(Code::IllegalOperation) => Self::IllegalOperation,
            Some(Code::RangeError) => Self::RangeError {
                min: word(0),
                max: word(1),
            },
            Some(Code::AlignmentError) => Self::AlignmentError,
            Some(Code::FailedLookup) => Self::FailedLookup {
                source: word(0) != 0,
                failure: LookupFailure::from_words(|index| word(index + 1)),
            },
            Some(Code::TruncatedMessage) => Self::TruncatedMessage,
            Some(Code::DeleteFirst) => Self::DeleteFirst,
            Some(Code::RevokeFirst) => Self::RevokeFirst,
            Some(Code::NotEnoughMemory) => Self::NotEnoughMemory {
                available_bytes: word(0),
            },
            None => Self::Unknown { label },
        })
    }

    /// The number of seL4's error.
    pub const fn label(self) -> u64 {
        match self {
            Self::InvalidArgument { .. } => Code::InvalidArgument.label(),
            Self::InvalidCapability { .. } => Code::InvalidCapability.label(),
            Self::IllegalOperation => Code::IllegalOperation.label(),
            Self::RangeError { .. } => Code::RangeError.label(),
            Self::AlignmentError => Code::AlignmentError.label(),
            Self::FailedLookup { .. } => Code::FailedLookup.label(),
            Self::TruncatedMessage => Code::TruncatedMessage.label(),
            Self::DeleteFirst => Code::DeleteFirst.label(),
            Self::RevokeFirst => Code::RevokeFirst.label(),
            Self::NotEnoughMemory { .. } => Code::NotEnoughMemory.label(),
            Self::Unknown { label } => label,
        }
    }
}

impl fmt::Display for LookupFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRoot => write!(f, "the root is no CNode"),
            Self::MissingCapability { bits_left } => {
                write!(f, "the slot is empty ({bits_left} bits left)")
            }
            Self::DepthMismatch {
                bits_left,
                bits_found,
            } => write!(
                f,
                "the CNode resolves {bits_found} bits where {bits_left} are left"
            ),
            Self::GuardMismatch {
                bits_left,
                guard,
                guard_bits,
            } => write!(
                f,
                "the guard {guard:#x} of {guard_bits} bits does not match ({bits_left} bits left)"
            ),
            Self::Unknown { kind } => write!(f, "lookup failure {kind}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArgument { argument } => write!(f, "argument {argument} is wrong"),
            Self::InvalidCapability { capability: 0 } => {
                write!(f, "the invoked capability is missing or of another kind")
            }
            Self::InvalidCapability { capability } => write!(
                f,
                "capability {capability} of the message is missing or of another kind"
            ),
            Self::IllegalOperation => write!(f, "not possible here, or not permitted"),
            Self::RangeError { min, max } => write!(f, "an argument is not in {min}..={max}"),
            Self::AlignmentError => write!(f, "an address is not aligned"),
            Self::FailedLookup { source, failure } => {
                let side = if *source { "source" } else { "destination" };
                write!(f, "lookup of the {side} failed: {failure}")
            }
            Self::TruncatedMessage => write!(f, "the message is too short"),
            Self::DeleteFirst => write!(f, "what stands in the way must be deleted first"),
            Self::RevokeFirst => write!(f, "what was derived must be revoked first"),
            Self::NotEnoughMemory { available_bytes } => {
                write!(f, "only {available_bytes} bytes of the memory are left")
            }
            Self::Unknown { label } => write!(f, "unknown error {label}"),
        }
    }
}

impl core::error::Error for Error {}
