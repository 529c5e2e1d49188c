//! Asking the broker for a connection, and what comes of it.

use crate::memory::{Lease, read_only, writable};
use crate::notices::{Noticed, Notices};
use crate::platform::{Deferred, SignalBell, UserBell};
use crate::protocol::{CONNECT, Entry, Refusal, SERVE, Terms, Transport, slots, space};
use alloc::sync::Arc;
use baton_inbox::layout::STATE_WORDS;
use baton_inbox::{LayoutError, LinkParts, Publication, SharedRing};
use baton_sel4::{CPtr, Endpoint, Message, Notification};
use baton_shm::OutOfRange;
use core::fmt;

/// A capability to a service: who holds it may connect, and nothing else can be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceCap(pub(crate) CPtr);

impl ServiceCap {
    /// Service capability number `index` of those that this process was started with.
    pub const fn given(index: u64) -> Self {
        ServiceCap(slots::SERVICES + index)
    }

    /// Claims that the capability in that slot is one to a service.
    pub const fn new(cptr: CPtr) -> Self {
        ServiceCap(cptr)
    }
}

/// The number of a service that this process may serve: the one who started it says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceNumber(pub u32);

/// What a client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Requests it wants to have outstanding with the server.
    pub credits: u32,
    /// Requests it lets the server have outstanding with it; 0: the server cannot call back.
    pub offer_credits: u32,
    /// Size of the bulk buffer for each request, in bytes; 0 for none.
    pub request_bulk_bytes: u32,
    /// Size of the bulk buffer for each answer, in bytes; 0 for none.
    pub answer_bulk_bytes: u32,
}

/// What a server grants to each client at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Requests a client may have outstanding.
    pub max_credits: u32,
    /// Requests the server wants to have outstanding with the client; 0: it never calls back.
    pub want_back_credits: u32,
    /// Size of the bulk buffer for each request, in bytes.
    pub max_request_bulk_bytes: u32,
    /// Size of the bulk buffer for each answer, in bytes.
    pub max_answer_bulk_bytes: u32,
    /// Hash of the interface that the server calls back; 0: none.
    pub back_interface: u64,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The slot holds no capability to a service, or it was revoked.
    NoService,
    /// The service does not serve yet, or has ended: start it first.
    NotServing,
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
    ServerFull,
    /// Our own inbox holds no more connections: drop some.
    OwnFull,
    /// As many connections were made with the capability as may be at a time, [`CONNECTIONS_OF_GRANT`](crate::protocol::CONNECTIONS_OF_GRANT):
    /// disconnect one.
    GrantInUse,
    /// More was wanted than any connection can have: want less.
    TooMuch,
    /// The broker's memory or capability slots are used up.
    Exhausted,
    /// The service's process gets its messages across in another way than this one: have both started for the same.
    Transport,
    /// The broker refused for a reason that has no place here.
    Refused(Refusal),
    /// The broker's answer is none: it is of another version.
    BadAnswer(u64),
    /// What the broker mapped is not what it said: a mistake of the broker.
    Layout(LayoutError),
    /// The connection was made, but this node has no room to bind it.
    NotBound(baton_rpc::BindError),
    /// This node has ended.
    Ended,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::NoService => {
                f.write_str("there is no capability to a service in the slot")
            }
            ConnectError::NotServing => f.write_str("the service does not serve, start it first"),
            ConnectError::Interface { ours, theirs } => write!(
                f,
                "the service has interface {theirs:#018x}, {ours:#018x} was wanted"
            ),
            ConnectError::BackInterface { ours, theirs } => write!(
                f,
                "the service calls back interface {theirs:#018x}, {ours:#018x} was offered"
            ),
            ConnectError::ServerFull => {
                f.write_str("the service's inbox holds no more connections")
            }
            ConnectError::GrantInUse => {
                f.write_str("the capability's connections are all in use, disconnect one")
            }
            ConnectError::OwnFull => f.write_str("this process's inbox holds no more connections"),
            ConnectError::TooMuch => {
                f.write_str("more was wanted than a connection can have, want less")
            }
            ConnectError::Transport => {
                f.write_str("the service's process gets its messages across in another way")
            }
            ConnectError::Exhausted => f.write_str("the broker's memory or slots are used up"),
            ConnectError::Refused(refusal) => write!(f, "the broker refused: {refusal:?}"),
            ConnectError::BadAnswer(label) => {
                write!(f, "the broker's answer {label:#x} means nothing")
            }
            ConnectError::Layout(error) => error.fmt(f),
            ConnectError::NotBound(error) => error.fmt(f),
            ConnectError::Ended => f.write_str("this node has ended"),
        }
    }
}

impl core::error::Error for ConnectError {}

/// Why a service is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServeError {
    /// The service of that number is not this process's to serve.
    NotYours,
    /// More is granted than any connection can have: grant less.
    TooMuch,
    /// The broker refused for a reason that has no place here.
    Refused(Option<Refusal>),
    /// This node has ended.
    Ended,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::NotYours => f.write_str("the service is not this process's to serve"),
            ServeError::TooMuch => {
                f.write_str("more is granted than a connection can have, grant less")
            }
            ServeError::Refused(refusal) => write!(f, "the broker refused: {refusal:?}"),
            ServeError::Ended => f.write_str("this node has ended; serve from a running one"),
        }
    }
}

impl core::error::Error for ServeError {}

/// Asks the broker for a connection to `service`; returns its number.
pub(crate) fn connect(
    broker: Endpoint,
    service: ServiceCap,
    interface: u64,
    back_interface: u64,
    wants: &Wants,
) -> Result<usize, ConnectError> {
    let terms = Terms {
        interface,
        back_interface,
        credits: wants.credits,
        back_credits: wants.offer_credits,
        request_bulk_bytes: wants.request_bulk_bytes,
        answer_bulk_bytes: wants.answer_bulk_bytes,
    };
    let answer = broker.call(&Message::with_caps(
        CONNECT,
        &terms.to_words(),
        &[service.0],
    ));
    let [number, ..] = answer.mrs;
    Err(match Refusal::from_label(answer.label()) {
        None if answer.label() == 0 => return Ok(number as usize),
        None => ConnectError::BadAnswer(answer.label()),
        Some(Refusal::NoService) => ConnectError::NoService,
        Some(Refusal::NotServing) => ConnectError::NotServing,
        Some(Refusal::Interface) => ConnectError::Interface {
            ours: interface,
            theirs: number,
        },
        Some(Refusal::BackInterface) => ConnectError::BackInterface {
            ours: back_interface,
            theirs: number,
        },
        Some(Refusal::ServerFull) => ConnectError::ServerFull,
        Some(Refusal::OwnFull) => ConnectError::OwnFull,
        Some(Refusal::GrantInUse) => ConnectError::GrantInUse,
        Some(Refusal::TooMuch) => ConnectError::TooMuch,
        Some(Refusal::Exhausted) => ConnectError::Exhausted,
        Some(Refusal::Transport) => ConnectError::Transport,
        Some(refusal) => ConnectError::Refused(refusal),
    })
}

/// Tells the broker what `service` grants.
pub(crate) fn serve(
    broker: Endpoint,
    service: ServiceNumber,
    interface: u64,
    grants: &Grants,
) -> Result<(), ServeError> {
    let terms = Terms {
        interface,
        back_interface: grants.back_interface,
        credits: grants.max_credits,
        back_credits: grants.want_back_credits,
        request_bulk_bytes: grants.max_request_bulk_bytes,
        answer_bulk_bytes: grants.max_answer_bulk_bytes,
    };
    let [a, b, c, d] = terms.to_words();
    let answer = broker.call(&Message::new(SERVE, &[u64::from(service.0), a, b, c, d]));
    match Refusal::from_label(answer.label()) {
        None if answer.label() == 0 => Ok(()),
        Some(Refusal::NotYours) => Err(ServeError::NotYours),
        Some(Refusal::TooMuch) => Err(ServeError::TooMuch),
        refusal => Err(ServeError::Refused(refusal)),
    }
}

/// What the inbox binds for a connection.
pub(crate) struct Parts {
    pub(crate) link: LinkParts<UserBell>,
    /// The peer's ring, if all its senders write one.
    pub(crate) ring: Option<SharedRing>,
}

/// What the inbox binds for connection `index`, which the notice page has as `noticed`.
pub(crate) fn parts<U: Publication>(
    broker: Endpoint,
    deferred: &Deferred,
    notices: &Notices,
    index: usize,
    noticed: &Noticed,
) -> Result<Parts, LayoutError> {
    let entry: &Entry = &noticed.entry;
    let (out_layout, in_layout) = entry.layouts(Transport::of::<U>())?;
    let number = index as u64;
    let lease = Some(Arc::new(Lease {
        broker,
        index: index as u32,
        generation: noticed.generation,
    }));
    // Both are a whole page.
    let whole = |error: OutOfRange| LayoutError::TooShort {
        needed_words: error.offset_words + error.len_words,
        region_words: error.region_words,
    };
    let ring = U::ONE_RING.then(|| ring(space::peer_ring(number), lease.clone()));
    let peer_state = read_only(space::peer_state(number), STATE_WORDS, lease.clone());
    let peer_hint = writable(space::peer_hint(number), 1, lease.clone());
    let bell = Notification::new(slots::BELLS + number);
    let link = LinkParts {
        outgoing: writable(space::outgoing(number), out_layout.words(), lease.clone()),
        out_layout,
        incoming: read_only(space::incoming(number), in_layout.words(), lease),
        in_layout,
        peer_state: peer_state.word(0).map_err(whole)?,
        peer_hint: peer_hint.word(0).map_err(whole)?,
        peer_index: entry.peer_index,
        bell: UserBell::Process(SignalBell::of_connection(
            bell,
            notices.state_word(index),
            noticed.generation,
            deferred,
        )),
        credits: entry.credits,
        granted: entry.granted,
    };
    Ok(Parts { link, ring })
}

/// Slots of the ring that all senders of an inbox write (log2): what is left of its frame holds its tail.
const RING_SLOTS_BITS: u32 = 13;

const _: () = assert!(SharedRing::words(RING_SLOTS_BITS) * 8 <= 1 << space::RING_BITS);

/// The ring at `address`, which is this process's own, or that of the peer to which `lease` leads.
pub(crate) fn ring(address: u64, lease: Option<Arc<Lease>>) -> SharedRing {
    let region = writable(address, SharedRing::words(RING_SLOTS_BITS), lease);
    SharedRing::new(region, RING_SLOTS_BITS)
}
