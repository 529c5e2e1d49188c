//! How two processes become peers: three messages over a seqpacket socket.
//!
//! ```text
//! client                                             server
//!   Hello    which interface, how many credits  ──▶   checks user, interface, room
//!            ◀── Offer    what is granted + its region, S page, hint page, bell
//!   checks and maps, makes its own region
//!   Bind     its region, S page, hint page, bell ──▶  checks and maps: connected
//! ```
//!
//! Each side makes the region that it writes and checks everything that the other side passed, before it looks into it. Any
//! error closes every descriptor of that handshake. The server's half never waits: it is a state machine that the control thread
//! advances when a message is there (`server`); the client's half blocks, with a time-out (`client`).

pub(crate) mod client;
pub(crate) mod server;

pub use client::ConnectError;

use crate::bell::{BellError, EventBell};
use crate::credentials::{Credentials, PeerInfo, Policy};
use crate::descriptors::PASSED;
use crate::link::{Connection, PeerLink, Role};
use crate::memory::{CreateError, MapError, OwnRegion, SharedPage, map_peer};
use crate::platform::Bells;
use crate::registry::{Index, Registry};
use crate::sleep::OwnBell;
pub use crate::wire::WireError;
use crate::wire::WireName;
use baton_inbox::layout::{HINT_WORDS, MAX_CONNECTIONS, STATE_WORDS};
use baton_inbox::{LayoutError, RegionLayout};
use baton_shm::{OutOfRange, ReadRegion, ReadWord, Region, Word};
use core::fmt;
use core::sync::atomic::Ordering;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::sync::Arc;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Requests it wants to have outstanding with the server.
    pub credits: u32,
    /// Requests it lets the server have outstanding with it; 0: the server cannot call back.
    pub offer_credits: u32,
    /// Size of the bulk buffer for each request, in bytes; 0 for none.
    pub request_bulk_bytes: u32,
    /// Size of the bulk buffer for each answer, in bytes; 0 for none.
    pub answer_bulk_bytes: u32,
    /// Hash of the interface that the server may call; 0: none.
    pub back_interface: u64,
    /// The user whose service is meant; the client's own where it is `None`.
    pub server_uid: Option<u32>,
}

/// What a server grants to each client at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Who is let in.
    pub policy: Policy,
}

/// Why what a peer sent in the handshake is not accepted: the peer is corrupt, hostile or of another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerFault {
    /// The message is none that was expected.
    Message(WireError),
    /// The message came with too few or too many descriptors.
    Descriptors {
        /// How many should have come.
        expected: usize,
        /// How many came; where there was no room for more, that many at least.
        actual: usize,
    },
    /// The server offers more than it was asked for.
    OfferTooLarge,
    /// The peer's index is beyond what any inbox can hold.
    Index(u64),
    /// A passed descriptor is no memory that can be trusted.
    Memory(MapError),
    /// The peer's region does not begin as was agreed on.
    Layout(LayoutError),
    /// A passed descriptor is no bell.
    Bell(BellError),
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerFault::Message(error) => error.fmt(f),
            PeerFault::Descriptors { expected, actual } => write!(
                f,
                "the peer passed {actual} descriptors where {expected} were expected"
            ),
            PeerFault::OfferTooLarge => f.write_str("the server offers more than it was asked for"),
            PeerFault::Index(bit) => write!(
                f,
                "the peer gave index {bit}, an inbox holds {MAX_CONNECTIONS} at most"
            ),
            PeerFault::Memory(error) => error.fmt(f),
            PeerFault::Layout(error) => error.fmt(f),
            PeerFault::Bell(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PeerFault {}

/// Why a half of a connection could not be made; all but the first are exhaustion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HalfError {
    Layout(LayoutError),
    Create(CreateError),
    System(Errno),
}

/// Why two halves could not be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    Peer(PeerFault),
    System(Errno),
}

/// What all connections of one inbox have in common.
pub(crate) struct Node {
    pub(crate) name: WireName,
    pub(crate) uid: u32,
    pub(crate) s_page: OwnedFd,
    pub(crate) hint_page: OwnedFd,
    pub(crate) bells: Bells,
    pub(crate) registry: Arc<Registry>,
}

/// Our half of a connection in the making: everything that we pass, and the layout of what we get.
pub(crate) struct Half {
    index: Index,
    bell: OwnBell,
    outgoing: Region,
    outgoing_fd: OwnedFd,
    out_layout: RegionLayout,
    in_layout: RegionLayout,
    credits: u32,
    granted: u32,
}

/// The peer's half, checked and mapped.
pub(crate) struct PeerHalf {
    incoming: ReadRegion,
    state: ReadWord,
    hint: Word,
    hint_bit: u32,
    bell: EventBell,
}

/// What both sides agree on, seen from the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreed {
    pub(crate) client_credits: u32,
    pub(crate) server_credits: u32,
    pub(crate) request_bulk_bytes: u32,
    pub(crate) answer_bulk_bytes: u32,
}

impl Agreed {
    /// The layouts of the client's and of the server's region.
    pub(crate) fn layouts(&self) -> Result<(RegionLayout, RegionLayout), LayoutError> {
        let of = |own, others| {
            RegionLayout::new(own, others, self.request_bulk_bytes, self.answer_bulk_bytes)
        };
        Ok((
            of(self.client_credits, self.server_credits)?,
            of(self.server_credits, self.client_credits)?,
        ))
    }
}

impl Half {
    pub(crate) fn new(
        node: &Node,
        index: Index,
        agreed: &Agreed,
        role: Role,
    ) -> Result<Half, HalfError> {
        let (client, server) = agreed.layouts().map_err(HalfError::Layout)?;
        let (out_layout, in_layout, credits, granted) = match role {
            Role::Client => (client, server, agreed.client_credits, agreed.server_credits),
            Role::Server => (server, client, agreed.server_credits, agreed.client_credits),
        };
        let (outgoing, outgoing_fd) =
            OwnRegion::create("baton-lanes", out_layout.words()).map_err(HalfError::Create)?;
        for (offset, word) in out_layout.header().into_iter().enumerate() {
            // Relaxed: the peer learns of the region by a message through the kernel, which orders this before.
            outgoing
                .word(offset)
                .map_err(|_| HalfError::System(Errno::INVAL))?
                .store(word, Ordering::Relaxed);
        }
        Ok(Half {
            index,
            bell: node.bells.add_bell().map_err(HalfError::System)?,
            outgoing,
            outgoing_fd,
            out_layout,
            in_layout,
            credits,
            granted,
        })
    }

    pub(crate) fn own_bit(&self) -> u32 {
        self.index.bit()
    }

    /// What is passed to the peer, in the order that both sides know.
    pub(crate) fn passed<'a>(&'a self, node: &'a Node) -> [BorrowedFd<'a>; PASSED] {
        [
            self.outgoing_fd.as_fd(),
            node.s_page.as_fd(),
            node.hint_page.as_fd(),
            self.bell.bell().as_fd(),
        ]
    }

    /// Checks and maps what the peer passed.
    pub(crate) fn check_peer(
        &self,
        peer_bit: u64,
        passed: Vec<OwnedFd>,
    ) -> Result<PeerHalf, JoinError> {
        let fault = JoinError::Peer;
        let hint_bit = u32::try_from(peer_bit)
            .ok()
            .filter(|bit| (*bit as usize) < MAX_CONNECTIONS)
            .ok_or(fault(PeerFault::Index(peer_bit)))?;
        let actual = passed.len();
        let [region, s_page, hint_page, bell] =
            <[OwnedFd; PASSED]>::try_from(passed).map_err(|_| {
                fault(PeerFault::Descriptors {
                    expected: PASSED,
                    actual,
                })
            })?;
        let memory = |error| match error {
            MapError::Map(errno) => JoinError::System(errno),
            error => fault(PeerFault::Memory(error)),
        };
        let incoming = map_peer(region.as_fd(), self.in_layout.words()).map_err(memory)?;
        check_header(&incoming, &self.in_layout)
            .map_err(|error| fault(PeerFault::Layout(error)))?;
        let state = map_peer(s_page.as_fd(), STATE_WORDS)
            .map_err(memory)?
            .word(0)
            .map_err(|_| JoinError::System(Errno::INVAL))?;
        let hint = SharedPage::map(hint_page.as_fd(), HINT_WORDS)
            .map_err(memory)?
            .word(hint_bit as usize / 64)
            .map_err(|_| JoinError::System(Errno::INVAL))?;
        let bell = EventBell::from_peer(bell).map_err(|error| fault(PeerFault::Bell(error)))?;
        Ok(PeerHalf {
            incoming,
            state,
            hint,
            hint_bit,
            bell,
        })
    }

    /// Joins both halves over the socket that they came by.
    pub(crate) fn join(
        self,
        node: &Node,
        role: Role,
        socket: OwnedFd,
        peer: PeerInfo,
        theirs: PeerHalf,
    ) -> Result<PeerLink, JoinError> {
        let pidfd = crate::credentials::pidfd_of(&socket);
        let connection = Connection::new(&node.registry, socket, pidfd, self.bell, self.index)
            .map_err(JoinError::System)?;
        Ok(PeerLink {
            role,
            outgoing: self.outgoing,
            incoming: theirs.incoming,
            out_layout: self.out_layout,
            in_layout: self.in_layout,
            peer_state: theirs.state,
            peer_hint: theirs.hint,
            peer_hint_bit: theirs.hint_bit,
            bell: theirs.bell,
            credits: self.credits,
            granted: self.granted,
            peer,
            connection,
        })
    }
}

fn check_header(region: &ReadRegion, layout: &RegionLayout) -> Result<(), LayoutError> {
    let mut header = [0; 3];
    for (offset, word) in header.iter_mut().enumerate() {
        let too_short = |_: OutOfRange| LayoutError::TooShort {
            needed_words: layout.words(),
            region_words: region.words(),
        };
        // Relaxed, and read once: an honest peer wrote it before it passed the region.
        *word = region
            .word(offset)
            .map_err(too_short)?
            .load(Ordering::Relaxed);
    }
    layout.check(header, region.words())
}

/// The kernel's word on who a peer is, and the peer's own on how it is called.
pub(crate) fn peer_info(credentials: Credentials, name: &WireName) -> PeerInfo {
    PeerInfo {
        pid: credentials.pid,
        uid: credentials.uid,
        name: crate::wire::from_wire_name(name),
    }
}

/// Why a server refuses, as it travels.
pub(crate) mod reason {
    pub(crate) const NOT_ALLOWED: u64 = 1;
    pub(crate) const INTERFACE: u64 = 2;
    pub(crate) const BACK_INTERFACE: u64 = 3;
    pub(crate) const FULL: u64 = 4;
    pub(crate) const EXHAUSTED: u64 = 5;
    pub(crate) const VERSION: u64 = 6;
    pub(crate) const BAD_REQUEST: u64 = 7;
}
