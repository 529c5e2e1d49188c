//! What can go wrong with a call, one enum an operation.

use baton_inbox::Status;
use core::fmt;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The peer's process is gone, or it disconnected.
    PeerDied,
    /// The peer broke the protocol and was quarantined.
    PeerCorrupt(Violation),
    /// This side disconnected.
    Disconnected,
}

/// What a peer did that no correct peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Its tail left the lane or ran backwards.
    Tail,
    /// Its head ran backwards or beyond what was sent.
    Head,
    /// A message in its request lane is none of request, one-way send and CANCEL.
    Kind,
    /// It used a credit that it does not hold, or holds no longer.
    Credit,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Violation::Tail => "its tail left the lane or ran backwards",
            Violation::Head => "its head ran backwards or beyond what was sent",
            Violation::Kind => "a message in its request lane is of no known kind",
            Violation::Credit => "it used a credit that it does not hold",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::PeerDied => f.write_str("the peer is gone; connect again"),
            Failure::PeerCorrupt(violation) => {
                write!(f, "the peer was quarantined: {violation}")
            }
            Failure::Disconnected => f.write_str("this side disconnected"),
        }
    }
}

/// Why a call brought no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The connection ended before the answer came. Whether the handler ran is unknown.
    Failed(Failure),
    /// The server refused: this method does not exist there. Client and server were built from different traits.
    UnknownMethod,
    /// The server refused: the arguments are no values of their types there.
    BadArguments,
    /// The server cancelled the handler.
    Cancelled,
    /// The handler ended without a reply: it panicked, or dropped its request.
    NoReply,
    /// The peer serves nothing on this connection.
    NoService,
    /// The answer is no value of the result's type: the peer's fault.
    BadAnswer,
    /// The connection has no credits in this direction: the peer granted none.
    NoCredits,
}

impl CallError {
    pub(crate) fn of_status(raw: u16) -> Option<CallError> {
        match Status::from_raw(raw) {
            Some(Status::Done) => None,
            Some(Status::Cancelled) => Some(CallError::Cancelled),
            Some(Status::UnknownMethod) => Some(CallError::UnknownMethod),
            Some(Status::BadArguments) => Some(CallError::BadArguments),
            Some(Status::NoReply) => Some(CallError::NoReply),
            Some(Status::NoService) => Some(CallError::NoService),
            None => Some(CallError::BadAnswer),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Failed(failure) => failure.fmt(f),
            CallError::UnknownMethod => {
                f.write_str("the server has no such method; build both sides from the same trait")
            }
            CallError::BadArguments => f.write_str("the server could not read the arguments"),
            CallError::Cancelled => f.write_str("the server cancelled the request"),
            CallError::NoReply => f.write_str("the handler ended without a reply"),
            CallError::NoService => f.write_str("the peer serves nothing on this connection"),
            CallError::BadAnswer => f.write_str("the answer is no value of the result's type"),
            CallError::NoCredits => f.write_str("the peer granted no credits in this direction"),
        }
    }
}

impl core::error::Error for CallError {}

/// Why a call was not begun. The arguments come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryCallError<A> {
    /// All credits are out, or other calls wait for one: await [`crate::Client::call`], or try later.
    Full(A),
    /// The connection has ended.
    Failed(A, Failure),
}

impl<A> fmt::Display for TryCallError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryCallError::Full(_) => f.write_str("all credits are out; await the call instead"),
            TryCallError::Failed(_, failure) => failure.fmt(f),
        }
    }
}

impl<A: fmt::Debug> core::error::Error for TryCallError<A> {}

/// Why a one-way send was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// All credits are out: await [`crate::Client::send`], or try later.
    Full,
    /// The connection has ended.
    Failed(Failure),
    /// The peer granted no credits in this direction.
    NoCredits,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Full => f.write_str("all credits are out; await the send instead"),
            SendError::Failed(failure) => failure.fmt(f),
            SendError::NoCredits => f.write_str("the peer granted no credits in this direction"),
        }
    }
}

impl core::error::Error for SendError {}

/// The payload is longer than the bulk buffer: split it, or agree on larger buffers when connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes that were to be written.
    pub len_bytes: usize,
    /// Bytes that the buffer holds.
    pub capacity_bytes: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes do not fit into a bulk buffer of {}",
            self.len_bytes, self.capacity_bytes
        )
    }
}

impl core::error::Error for TooLong {}
