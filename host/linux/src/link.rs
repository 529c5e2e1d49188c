//! What a finished handshake gives to each side.

use crate::bell::EventBell;
use crate::credentials::PeerInfo;
use crate::registry::{Index, Registry};
use crate::sleep::OwnBell;
use baton_inbox::{LinkParts, RegionLayout};
use baton_shm::{ReadRegion, ReadWord, Region, Word};
use core::fmt;
use rustix::fd::OwnedFd;
use rustix::net::Shutdown;
use std::sync::Arc;

/// Which side of the handshake this process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It asked for the connection.
    Client,
    /// It listened.
    Server,
}

/// How a peer's end was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathReason {
    /// It closed the connection, or died.
    HungUp,
    /// Its process has ended, though somebody (a child of it, perhaps) still holds the connection.
    Exited,
}

impl fmt::Display for DeathReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DeathReason::HungUp => "the peer has closed the connection or died",
            DeathReason::Exited => "the peer's process has ended",
        })
    }
}

/// A connection to a peer: everything that an inbox needs to bind it.
#[derive(Debug)]
pub struct PeerLink {
    /// Which side we were.
    pub role: Role,
    /// What we write; its header is written.
    pub outgoing: Region,
    /// What the peer writes; its header was checked against `in_layout`.
    pub incoming: ReadRegion,
    /// The layout of `outgoing`.
    pub out_layout: RegionLayout,
    /// The layout of `incoming`.
    pub in_layout: RegionLayout,
    /// The state word of the peer's inbox.
    pub peer_state: ReadWord,
    /// The word of the peer's hint page in which our bit lies.
    pub peer_hint: Word,
    /// Our index in the peer's inbox and our bit there, always below `MAX_CONNECTIONS`.
    pub peer_hint_bit: u32,
    /// Wakes the peer.
    pub bell: EventBell,
    /// Requests we may have outstanding with the peer.
    pub credits: u32,
    /// Requests the peer may have outstanding with us.
    pub granted: u32,
    /// Whom we talk to.
    pub peer: PeerInfo,
    /// Our end of the connection. Drop it last, when the inbox has unbound the lanes.
    pub connection: Connection,
}

impl PeerLink {
    /// What the inbox binds, whom it talks to, and our end, which must outlive the binding.
    pub fn into_parts(self) -> (LinkParts<EventBell>, PeerInfo, Connection) {
        let parts = LinkParts {
            outgoing: self.outgoing,
            out_layout: self.out_layout,
            incoming: self.incoming,
            in_layout: self.in_layout,
            peer_state: self.peer_state,
            peer_hint: self.peer_hint,
            peer_index: self.peer_hint_bit,
            bell: self.bell,
            credits: self.credits,
            granted: self.granted,
        };
        (parts, self.peer, self.connection)
    }
}

/// Our end of a connection. As long as it lives, the peer sees us alive and our index is taken.
///
/// Dropping it says that the inbox has unbound the connection: the peer sees a hang-up, its bell wakes us no more, deaths that
/// were not fetched yet are forgotten, and the index may be given to a new connection.
pub struct Connection {
    registry: Arc<Registry>,
    id: u64,
    socket: Arc<OwnedFd>,
    pidfd: Option<Arc<OwnedFd>>,
    _own_bell: OwnBell,
    index: Index,
}

impl Connection {
    pub(crate) fn new(
        registry: &Arc<Registry>,
        socket: OwnedFd,
        pidfd: Option<OwnedFd>,
        own_bell: OwnBell,
        index: Index,
    ) -> Result<Connection, rustix::io::Errno> {
        let socket = Arc::new(socket);
        let pidfd = pidfd.map(Arc::new);
        let id = registry.watch(index.bit(), &socket, pidfd.as_ref())?;
        Ok(Connection {
            registry: registry.clone(),
            id,
            socket,
            pidfd,
            _own_bell: own_bell,
            index,
        })
    }

    /// The index of the connection in our inbox, and the hint bit that the peer sets; below the inbox's capacity.
    pub fn own_bit(&self) -> u32 {
        self.index.bit()
    }

    /// A number that no other connection of this process has or will have.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the kernel tells of the very process's end (Linux 6.5), and not only of a hang-up.
    pub fn watches_process(&self) -> bool {
        self.pidfd.is_some()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection(id {}, bit {})", self.id, self.own_bit())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.registry.unwatch(self.id);
        // Explicitly, in case that a forked child has inherited the descriptor. It fails only if the peer was faster.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
    }
}
