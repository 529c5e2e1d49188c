//! Baton between ordinary Linux processes.
//!
//! Purpose: what the inbox, the executor and the typed calls need from Linux: regions of memory that only one side can write
//! and nobody can resize ([`memory`]), doorbells ([`bell`]), a sleep on them ([`platform`]), names of services ([`names`]),
//! whom one talks to ([`credentials`]), the three messages that make a connection ([`handshake`]), and the one thread that
//! watches sockets and deaths ([`control`]). [`Host`] ties them together.
//!
//! Invariants:
//! - a region is sealed before its descriptor leaves the process, and a peer's region is mapped only after its seals, size and
//!   kind were checked;
//! - nothing is left in the file system: names are abstract sockets, memory is anonymous;
//! - no message of a peer makes the control thread wait, panic or keep a descriptor.
//!
//! Neighbours: `baton-shm` (regions are its backings), `baton-inbox` (its `Platform` and `Bell` are implemented here).
//!
//! This is one of the few crates that contain `unsafe`: mapping memory and two socket options. See `docs/soundness.md`.

pub mod bell;
pub mod control;
pub mod credentials;
mod descriptors;
pub mod handshake;
pub mod host;
pub mod inspect;
pub mod link;
pub mod memory;
pub mod names;
pub mod platform;
mod registry;
mod sleep;
pub mod spin;
mod wire;

pub use bell::EventBell;
pub use control::{ControlEvent, ListenerId};
pub use credentials::{PeerInfo, Policy};
pub use handshake::{ConnectError, Grants, Wants};
pub use host::{Host, HostConfig, ListenError, Started};
pub use inspect::InspectReply;
pub use link::{Connection, DeathReason, PeerLink, Role};
pub use names::{NameError, ServiceName};
pub use platform::Linux;
