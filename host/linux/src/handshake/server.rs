//! The server's half: a state machine that never waits.

use super::{Agreed, Half, HalfError, JoinError, Node, PeerFault, peer_info, reason};
use crate::credentials::Credentials;
use crate::descriptors::{self, PASSED};
use crate::link::{PeerLink, Role};
use crate::registry::Terms;
use crate::wire::{Answer, Bind, Hello, MAX_BYTES, Offer, Refused, VERSION, WireError, WireName};
use core::fmt;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::sync::Arc;

/// A client that is not connected yet.
pub(crate) struct Pending {
    socket: OwnedFd,
    credentials: Credentials,
    terms: Arc<Terms>,
    state: State,
}

enum State {
    /// Its Hello has not come.
    Hello,
    /// It has our offer.
    Offered { half: Box<Half>, name: WireName },
}

/// What became of a handshake when a message had come.
pub(crate) enum Step {
    /// More is to come.
    Waiting(Pending),
    /// The client is connected.
    Connected(Box<PeerLink>),
    /// The handshake is over; everything of it is closed.
    Over(Failure),
}

/// Why a handshake ended without a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    HungUp,
    Refused { reason: u64, detail: u64 },
    Fault(PeerFault),
    System(Errno),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::HungUp => f.write_str("the client hung up"),
            Failure::Refused { reason, detail } => {
                write!(f, "refused for reason {reason} (detail {detail:#x})")
            }
            Failure::Fault(fault) => fault.fmt(f),
            Failure::System(errno) => errno.fmt(f),
        }
    }
}

/// Tells a client, if it still listens, why it is not let in. Never waits.
pub(crate) fn refuse(socket: &impl AsFd, reason: u64, detail: u64) -> Failure {
    let message = Answer::Refused(Refused { reason, detail }).encode();
    // A client that has hung up, or has left no room for an answer, does not get one.
    let _ = descriptors::send(socket, &message, &[]);
    Failure::Refused { reason, detail }
}

impl AsFd for Pending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Pending {
    /// Looks at who has connected; `socket` is non-blocking.
    pub(crate) fn new(node: &Node, socket: OwnedFd, terms: Arc<Terms>) -> Result<Pending, Failure> {
        let credentials = crate::credentials::of(&socket).map_err(Failure::System)?;
        // Before anything is read: a stranger's descriptors never get in.
        if !terms.grants.policy.permits(credentials.uid, node.uid) {
            return Err(refuse(
                &socket,
                reason::NOT_ALLOWED,
                u64::from(credentials.uid),
            ));
        }
        Ok(Pending {
            socket,
            credentials,
            terms,
            state: State::Hello,
        })
    }

    /// Takes one message, if one has come.
    pub(crate) fn advance(self, node: &Node) -> Step {
        let mut buffer = [0; MAX_BYTES + 8];
        let expect_fds = matches!(self.state, State::Offered { .. });
        let received = match descriptors::receive(&self.socket, &mut buffer, expect_fds) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Step::Waiting(self),
            Err(Errno::CONNRESET) => return Step::Over(Failure::HungUp),
            Err(errno) => return Step::Over(Failure::System(errno)),
        };
        let message = buffer.get(..received.len).unwrap_or_default();
        if message.is_empty() && received.fds.is_empty() {
            return Step::Over(Failure::HungUp);
        }
        let expected = if expect_fds { PASSED } else { 0 };
        if received.cut || received.fds.len() != expected {
            return Step::Over(Failure::Fault(PeerFault::Descriptors {
                expected,
                actual: received.fds.len(),
            }));
        }
        match self.state {
            State::Hello => match offer(node, &self.socket, &self.terms, message) {
                Ok((half, name)) => Step::Waiting(Pending {
                    state: State::Offered { half, name },
                    ..self
                }),
                Err(failure) => Step::Over(failure),
            },
            State::Offered { half, name } => {
                let bind = match Bind::decode(message) {
                    Ok(bind) => bind,
                    Err(error) => return Step::Over(Failure::Fault(PeerFault::Message(error))),
                };
                let peer = peer_info(self.credentials, &name);
                let joined = half
                    .check_peer(bind.server_bit, received.fds)
                    .and_then(|theirs| half.join(node, Role::Server, self.socket, peer, theirs));
                match joined {
                    Ok(link) => Step::Connected(Box::new(link)),
                    Err(JoinError::Peer(fault)) => Step::Over(Failure::Fault(fault)),
                    Err(JoinError::System(errno)) => Step::Over(Failure::System(errno)),
                }
            }
        }
    }

    /// Which listener the client came to.
    pub(crate) fn terms(&self) -> &Arc<Terms> {
        &self.terms
    }
}

/// Answers a Hello.
fn offer(
    node: &Node,
    socket: &OwnedFd,
    terms: &Terms,
    message: &[u8],
) -> Result<(Box<Half>, WireName), Failure> {
    let refuse = |reason, detail| refuse(socket, reason, detail);
    let hello = match Hello::decode(message) {
        Ok(hello) => hello,
        Err(WireError::Version(_)) => return Err(refuse(reason::VERSION, u64::from(VERSION))),
        Err(error) => return Err(Failure::Fault(PeerFault::Message(error))),
    };
    if hello.interface != terms.interface {
        return Err(refuse(reason::INTERFACE, terms.interface));
    }
    let grants = &terms.grants;
    // Who has nothing to be called by, or nothing to call, simply has no credits for that.
    let calls_back = hello.back_interface != 0 && grants.back_interface != 0;
    if calls_back && hello.back_interface != grants.back_interface {
        return Err(refuse(reason::BACK_INTERFACE, grants.back_interface));
    }
    let agreed = Agreed {
        client_credits: hello.want_credits.min(grants.max_credits),
        server_credits: if calls_back {
            hello.offer_credits.min(grants.want_back_credits)
        } else {
            0
        },
        request_bulk_bytes: hello.request_bulk_bytes.min(grants.max_request_bulk_bytes),
        answer_bulk_bytes: hello.answer_bulk_bytes.min(grants.max_answer_bulk_bytes),
    };
    let index = node
        .registry
        .take_index()
        .ok_or_else(|| refuse(reason::FULL, u64::from(node.registry.capacity())))?;
    let half = Half::new(node, index, &agreed, Role::Server).map_err(|error| match error {
        HalfError::Layout(_) => refuse(reason::BAD_REQUEST, 0),
        HalfError::Create(_) | HalfError::System(_) => refuse(reason::EXHAUSTED, 0),
    })?;
    let offer = Offer {
        granted_credits: agreed.client_credits,
        taken_credits: agreed.server_credits,
        request_bulk_bytes: agreed.request_bulk_bytes,
        answer_bulk_bytes: agreed.answer_bulk_bytes,
        client_bit: u64::from(half.own_bit()),
        name: node.name,
    };
    descriptors::send(socket, &Answer::Offer(offer).encode(), &half.passed(node))
        .map_err(Failure::System)?;
    Ok((Box::new(half), hello.name))
}
