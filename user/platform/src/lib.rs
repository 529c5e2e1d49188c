//! Baton between processes of Baton or of seL4.
//!
//! Purpose: what the inbox, the executor and the typed calls need from the kernel: regions of memory that only one side may write
//! (`memory`), a doorbell and a sleep ([`platform`]), and connections by capability alone ([`connect`]). [`UserNode`] is an
//! executor with typed calls on top: what most programs use.
//!
//! ```text
//!    client process ── CONNECT with a service's capability ──▶ broker ── notice page, signal ──▶ service's process
//!          │                                                     │ maps                              │
//!          └────────── region that it writes (there: read-only), region that it reads ───────────────┘
//! ```
//!
//! Invariants:
//! - nothing here uses a call that seL4 does not have, but after [`UserHandle::bind_kernel`];
//! - a process waits for nobody but its broker, which answers at once, and for its own notification;
//! - mappings of a connection are given back after the last reference to them is gone.
//!
//! Neighbours: `user/broker` makes connections; `user/runtime` starts processes; `baton-inbox` (its `Platform` and `Bell` are
//! implemented here), `baton-rpc`. This is one of the few crates that contain `unsafe`: words at addresses that the broker mapped, and the
//! clock. See `docs/soundness.md`.
#![no_std]

extern crate alloc;

mod clock;
pub mod connect;
pub mod kernel;
mod memory;
pub mod node;
mod notices;
pub mod platform;
pub mod protocol;

pub use clock::{now_instructions, now_ticks};
pub use connect::{ConnectError, Grants, ServeError, ServiceCap, ServiceNumber, Wants};
pub use kernel::{BindKernelError, LaneMemory};
pub use node::{NodeConfig, PeerInfo, StartNodeError, UserHandle, UserNode};
pub use platform::{SignalBell, User, UserBell};
