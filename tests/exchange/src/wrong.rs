//! What a test found to be otherwise than it must.

use baton_rpc::{CallError, Failure, SendError, TooLong, TryCallError};
use core::fmt;

/// Why a body gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A call brought no answer.
    Call(CallError),
    /// A one-way send did not go out.
    Send,
    /// A value is another one than it must be.
    Value {
        /// Which.
        what: &'static str,
        /// What it must be.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// A payload came back otherwise than it must.
    Payload {
        /// Its length in bytes.
        length: usize,
    },
    /// A buffer is smaller than was agreed on.
    TooLong(TooLong),
    /// A call that could not end in time was answered.
    InTime,
    /// The executor has no room for the tasks of a test, or lost one.
    Tasks,
    /// A connection ended for another reason than it must.
    Ended(Failure),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Call(error) => write!(f, "a call failed: {error}"),
            Wrong::Send => f.write_str("a one-way send failed"),
            Wrong::Value {
                what,
                expected,
                actual,
            } => write!(f, "{what} is {actual}, must be {expected}"),
            Wrong::Payload { length } => write!(f, "a payload of {length} bytes came back wrong"),
            Wrong::TooLong(error) => error.fmt(f),
            Wrong::InTime => f.write_str("a call that could not end in time was answered"),
            Wrong::Tasks => f.write_str("the executor has no room for the test's tasks"),
            Wrong::Ended(failure) => write!(f, "the connection ended: {failure:?}"),
        }
    }
}

impl core::error::Error for Wrong {}

impl From<CallError> for Wrong {
    fn from(error: CallError) -> Self {
        Wrong::Call(error)
    }
}

impl From<SendError> for Wrong {
    fn from(_: SendError) -> Self {
        Wrong::Send
    }
}

impl<T> From<TryCallError<T>> for Wrong {
    fn from(_: TryCallError<T>) -> Self {
        Wrong::Send
    }
}

impl From<TooLong> for Wrong {
    fn from(error: TooLong) -> Self {
        Wrong::TooLong(error)
    }
}

/// Says what `actual` is unless it is `expected`.
pub(crate) fn same(what: &'static str, expected: u64, actual: u64) -> Result<(), Wrong> {
    if expected == actual {
        Ok(())
    } else {
        Err(Wrong::Value {
            what,
            expected,
            actual,
        })
    }
}
