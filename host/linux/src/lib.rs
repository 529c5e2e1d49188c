//! Baton between ordinary Linux processes.
//!
//! Purpose: what the inbox, the executor and the typed calls need from Linux: regions of memory that only one side can write
//! and nobody can resize ([`memory`]), doorbells ([`bell`]), a sleep on them ([`platform`]), names of services ([`names`]),
//! whom one talks to ([`credentials`]), the three messages that make a connection ([`handshake`]), and the one thread that
//! watches sockets and deaths ([`control`]). [`Host`] ties them together, and [`LinuxNode`] is a host with an executor and
//! typed calls on top: what most programs use.
//!
//! # Example
//!
//! Two nodes, here in two threads of one process; two processes look the same.
//!
//! ```
//! use baton_linux::{Grants, LinuxNode, NodeConfig, ServiceName, Wants};
//! use baton_rpc::{Band, Mode, service};
//! use std::rc::Rc;
//! use std::sync::mpsc;
//!
//! #[service]
//! trait Adder {
//!     async fn add(&self, left: u64, right: u64) -> u64;
//! }
//!
//! struct Plain;
//!
//! impl Adder for Plain {
//!     async fn add(&self, left: u64, right: u64) -> u64 {
//!         left.wrapping_add(right)
//!     }
//! }
//!
//! let name = ServiceName::new(&format!("adder-{}", std::process::id()))?;
//! let (ready, is_ready) = mpsc::channel();
//!
//! let at_server = name.clone();
//! let server = std::thread::spawn(move || {
//!     let node = LinuxNode::start(NodeConfig::default()).expect("a node");
//!     let handle = node.handle();
//!     let grants = Grants { max_credits: 16, ..Grants::default() };
//!     handle
//!         .serve(&at_server, Rc::new(AdderServer(Plain)), grants, Band::NORMAL)
//!         .expect("the name is free");
//!     ready.send(()).expect("the client waits");
//!     // Serves until its only client has come and gone.
//!     node.run_until(Mode::Adaptive, handle.idle()).expect("it runs");
//! });
//!
//! is_ready.recv()?;
//! let node = LinuxNode::start(NodeConfig::default())?;
//! let handle = node.handle();
//! let wants = Wants { credits: 16, ..Wants::default() };
//! let client = handle.connect(&name, AdderServer::<Plain>::INTERFACE, &wants)?;
//! let adder = AdderClient::new(client);
//! let sum = node.run_until(Mode::Adaptive, adder.add(2, 3))?;
//! assert_eq!(sum, Ok(5));
//! handle.disconnect(adder.client());
//! drop(node);
//! server.join().expect("the server ends");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Invariants:
//! - a region is sealed before its descriptor leaves the process, and a peer's region is mapped only after its seals, size and
//!   kind were checked;
//! - nothing is left in the file system: names are abstract sockets, memory is anonymous;
//! - no message of a peer makes the control thread wait, panic or keep a descriptor.
//!
//! Neighbours: `baton-shm` (regions are its backings), `baton-inbox` (its `Platform` and `Bell` are implemented here),
//! `baton-executor` and `baton-rpc` (a [`LinuxNode`] has one of each).
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
pub mod node;
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
pub use inspect::{InspectReply, Question};
pub use link::{Connection, DeathReason, PeerLink, Role};
pub use names::{NameError, ServiceName};
pub use node::{LinuxHandle, LinuxNode, NodeConfig, ServeError, StartNodeError};
pub use platform::Linux;
#[doc(hidden)]
pub use wire::decoded_and_encoded;

/// The README's example, so that it is compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
