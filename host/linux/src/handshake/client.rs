//! The client's half: blocks, with a time-out.

use super::{Agreed, Half, HalfError, JoinError, Node, PeerFault, Wants, peer_info, reason};
use crate::credentials::Policy;
use crate::descriptors::{self, PASSED, Received};
use crate::link::{PeerLink, Role};
use crate::memory::CreateError;
use crate::names::{self, ServiceName};
use crate::platform::monotonic_ns;
use crate::wire::{Answer, Bind, Hello, MAX_BYTES, Offer, Refused, VERSION};
use baton_inbox::LayoutError;
use core::fmt;
use core::time::Duration;
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Nobody listens under this name: start the service.
    NotListening {
        /// The name.
        name: ServiceName,
        /// The user whose service was meant.
        uid: u32,
    },
    /// The service did not answer in time: it is stopped, or overloaded.
    TimedOut,
    /// The service closed the connection without an answer: it ended, or dropped us for newer ones.
    HungUp,
    /// Another user's process listens under this name: do not trust it.
    WrongServer {
        /// The user whose service was meant.
        expected_uid: u32,
        /// The user who answered.
        actual_uid: u32,
    },
    /// The service does not let our user in: have it allow that user.
    NotAllowed {
        /// Our user, as the service sees it.
        uid: u32,
    },
    /// The service is of another interface: build both from the same declaration.
    Interface {
        /// Hash of the interface we wanted.
        ours: u64,
        /// Hash of the interface it has.
        theirs: u64,
    },
    /// The service calls back another interface than ours: build both from the same declaration.
    BackInterface {
        /// Hash of the interface we offered.
        ours: u64,
        /// Hash of the interface it calls.
        theirs: u64,
    },
    /// The service's inbox holds no more connections: have others disconnect.
    ServerFull {
        /// How many it holds.
        capacity: u64,
    },
    /// The service has run out of memory or descriptors.
    ServerExhausted,
    /// The service speaks another version of the handshake: update the older side.
    Version {
        /// Our version.
        ours: u32,
        /// Its version.
        theirs: u64,
    },
    /// The service refused for a reason that this version does not know, or took our request for malformed.
    Refused {
        /// The reason's code.
        reason: u64,
        /// What goes with it.
        detail: u64,
    },
    /// What the service sent is not acceptable: it is corrupt or hostile.
    ServerFault(PeerFault),
    /// Our own inbox holds no more connections: drop some.
    OwnFull {
        /// How many it holds.
        capacity: u32,
    },
    /// More was wanted than any connection can have: want less.
    TooMuch(LayoutError),
    /// Our memory has run out.
    Memory(CreateError),
    /// The kernel refused something: too many open files, or no memory.
    System(Errno),
    /// The connection was made, but this node has no room to bind it.
    NotBound(baton_rpc::BindError),
    /// This node has ended.
    Ended,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::NotListening { name, uid } => {
                write!(f, "no service {name} of user {uid} is running")
            }
            ConnectError::TimedOut => f.write_str("the service did not answer in time"),
            ConnectError::HungUp => f.write_str("the service closed the connection unanswered"),
            ConnectError::WrongServer {
                expected_uid,
                actual_uid,
            } => write!(
                f,
                "user {actual_uid} listens under a name of user {expected_uid}"
            ),
            ConnectError::NotAllowed { uid } => {
                write!(f, "the service does not let user {uid} in")
            }
            ConnectError::Interface { ours, theirs } => write!(
                f,
                "the service has interface {theirs:#018x}, {ours:#018x} was wanted"
            ),
            ConnectError::BackInterface { ours, theirs } => write!(
                f,
                "the service calls back interface {theirs:#018x}, {ours:#018x} was offered"
            ),
            ConnectError::ServerFull { capacity } => {
                write!(f, "the service holds {capacity} connections, no more fit")
            }
            ConnectError::ServerExhausted => {
                f.write_str("the service has run out of memory or descriptors")
            }
            ConnectError::Version { ours, theirs } => write!(
                f,
                "the service speaks version {theirs} of the handshake, this is version {ours}"
            ),
            ConnectError::Refused { reason, detail } => {
                write!(
                    f,
                    "the service refused, reason {reason}, detail {detail:#x}"
                )
            }
            ConnectError::ServerFault(fault) => fault.fmt(f),
            ConnectError::OwnFull { capacity } => write!(
                f,
                "this process's inbox holds {capacity} connections, no more fit"
            ),
            ConnectError::TooMuch(error) => error.fmt(f),
            ConnectError::Memory(error) => error.fmt(f),
            ConnectError::System(errno) => errno.fmt(f),
            ConnectError::NotBound(error) => error.fmt(f),
            ConnectError::Ended => f.write_str("this node has ended; connect from a running one"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl From<HalfError> for ConnectError {
    fn from(error: HalfError) -> Self {
        match error {
            HalfError::Layout(error) => ConnectError::TooMuch(error),
            HalfError::Create(error) => ConnectError::Memory(error),
            HalfError::System(errno) => ConnectError::System(errno),
        }
    }
}

impl From<JoinError> for ConnectError {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Peer(fault) => ConnectError::ServerFault(fault),
            JoinError::System(errno) => ConnectError::System(errno),
        }
    }
}

/// A blocking socket with an end to its patience.
struct Patient {
    socket: OwnedFd,
    deadline_ns: u64,
}

impl Patient {
    /// Does `what` for as long as the deadline allows.
    fn until_deadline<T>(
        &self,
        direction: Timeout,
        mut what: impl FnMut(&OwnedFd) -> Result<T, Errno>,
    ) -> Result<T, ConnectError> {
        loop {
            let left_ns = self.deadline_ns.saturating_sub(monotonic_ns());
            if left_ns == 0 {
                return Err(ConnectError::TimedOut);
            }
            // Zero would mean for ever, and the kernel counts in microseconds.
            let left = Duration::from_nanos(left_ns.max(1_000));
            set_socket_timeout(&self.socket, direction, Some(left))
                .map_err(ConnectError::System)?;
            match what(&self.socket) {
                Ok(done) => return Ok(done),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(ConnectError::TimedOut),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(ConnectError::HungUp),
                Err(errno) => return Err(ConnectError::System(errno)),
            }
        }
    }
}

/// Connects to a service.
pub(crate) fn connect(
    node: &Node,
    name: &ServiceName,
    interface: u64,
    wants: &Wants,
    timeout_ns: u64,
) -> Result<PeerLink, ConnectError> {
    let asked = Agreed {
        client_credits: wants.credits,
        server_credits: wants.offer_credits,
        request_bulk_bytes: wants.request_bulk_bytes,
        answer_bulk_bytes: wants.answer_bulk_bytes,
    };
    asked.layouts().map_err(ConnectError::TooMuch)?;
    let index = node.registry.take_index().ok_or(ConnectError::OwnFull {
        capacity: node.registry.capacity(),
    })?;
    let server_uid = wants.server_uid.unwrap_or(node.uid);
    let (socket, address) = names::client_socket(name, server_uid).map_err(ConnectError::System)?;
    let patient = Patient {
        socket,
        deadline_ns: monotonic_ns().saturating_add(timeout_ns),
    };
    let not_listening = || ConnectError::NotListening {
        name: name.clone(),
        uid: server_uid,
    };
    patient
        .until_deadline(Timeout::Send, |socket| {
            rustix::net::connect(socket, &address)
        })
        .map_err(|error| match error {
            ConnectError::System(Errno::CONNREFUSED) => not_listening(),
            other => other,
        })?;
    let credentials = crate::credentials::of(&patient.socket).map_err(ConnectError::System)?;
    if !Policy::same_user().permits(credentials.uid, server_uid) {
        return Err(ConnectError::WrongServer {
            expected_uid: server_uid,
            actual_uid: credentials.uid,
        });
    }
    let hello = Hello {
        interface,
        back_interface: wants.back_interface,
        want_credits: wants.credits,
        offer_credits: wants.offer_credits,
        request_bulk_bytes: wants.request_bulk_bytes,
        answer_bulk_bytes: wants.answer_bulk_bytes,
        name: node.name,
    };
    let message = hello.encode();
    match patient.until_deadline(Timeout::Send, |socket| {
        descriptors::send(socket, &message, &[])
    }) {
        // It may have refused us before it read anything; what it said is still to be read.
        Ok(()) | Err(ConnectError::HungUp) => {}
        Err(error) => return Err(error),
    }
    let (offer, passed) = await_offer(&patient, interface, wants)?;
    let agreed = accepted(&asked, &offer)?;
    let half = Half::new(node, index, &agreed, Role::Client)?;
    // Before anything of ours is passed: a server that passes rubbish gets nothing.
    let theirs = half.check_peer(offer.client_bit, passed)?;
    let bind = Bind {
        server_bit: u64::from(half.own_bit()),
    }
    .encode();
    patient.until_deadline(Timeout::Send, |socket| {
        descriptors::send(socket, &bind, &half.passed(node))
    })?;
    rustix::fs::fcntl_setfl(&patient.socket, OFlags::RDWR | OFlags::NONBLOCK)
        .map_err(ConnectError::System)?;
    let peer = peer_info(credentials, &offer.name);
    let link = half.join(node, Role::Client, patient.socket, peer, theirs)?;
    Ok(link)
}

fn await_offer(
    patient: &Patient,
    interface: u64,
    wants: &Wants,
) -> Result<(Offer, Vec<OwnedFd>), ConnectError> {
    let mut buffer = [0; MAX_BYTES + 8];
    let mut receive = || -> Result<Received, ConnectError> {
        patient.until_deadline(Timeout::Recv, |socket| {
            descriptors::receive(socket, &mut buffer, true)
        })
    };
    let received = match receive() {
        // A server that refuses without having read our Hello resets the connection; its answer lies behind that error.
        Err(ConnectError::HungUp) => receive(),
        other => other,
    }?;
    let message = buffer.get(..received.len).unwrap_or_default();
    if message.is_empty() && received.fds.is_empty() {
        return Err(ConnectError::HungUp);
    }
    let fault = ConnectError::ServerFault;
    let answer = Answer::decode(message).map_err(|error| fault(PeerFault::Message(error)))?;
    let expected = match answer {
        Answer::Offer(_) => PASSED,
        Answer::Refused(_) => 0,
    };
    if received.cut || received.fds.len() != expected {
        return Err(fault(PeerFault::Descriptors {
            expected,
            actual: received.fds.len(),
        }));
    }
    match answer {
        Answer::Offer(offer) => Ok((offer, received.fds)),
        Answer::Refused(refused) => Err(refusal(refused, interface, wants)),
    }
}

/// What was offered, if it is no more than was asked for.
fn accepted(asked: &Agreed, offer: &Offer) -> Result<Agreed, ConnectError> {
    let within = offer.granted_credits <= asked.client_credits
        && offer.taken_credits <= asked.server_credits
        && offer.request_bulk_bytes <= asked.request_bulk_bytes
        && offer.answer_bulk_bytes <= asked.answer_bulk_bytes;
    if !within {
        return Err(ConnectError::ServerFault(PeerFault::OfferTooLarge));
    }
    Ok(Agreed {
        client_credits: offer.granted_credits,
        server_credits: offer.taken_credits,
        request_bulk_bytes: offer.request_bulk_bytes,
        answer_bulk_bytes: offer.answer_bulk_bytes,
    })
}

fn refusal(refused: Refused, interface: u64, wants: &Wants) -> ConnectError {
    let Refused { reason, detail } = refused;
    match reason {
        reason::NOT_ALLOWED => ConnectError::NotAllowed { uid: detail as u32 },
        reason::INTERFACE => ConnectError::Interface {
            ours: interface,
            theirs: detail,
        },
        reason::BACK_INTERFACE => ConnectError::BackInterface {
            ours: wants.back_interface,
            theirs: detail,
        },
        reason::FULL => ConnectError::ServerFull { capacity: detail },
        reason::EXHAUSTED => ConnectError::ServerExhausted,
        reason::VERSION => ConnectError::Version {
            ours: VERSION,
            theirs: detail,
        },
        _ => ConnectError::Refused { reason, detail },
    }
}
