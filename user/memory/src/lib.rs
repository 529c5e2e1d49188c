//! A memory server: it owns untyped memory, and gives pages of it to clients, in their own address spaces.
//!
//! Purpose: alloc, map, unmap and free for many clients at once ([`Memory`]), with a quota each. Every request is an asynchronous handler that
//! makes its kernel calls through a [`Machine`]: all calls of a request are under way at once, and so are the requests of all clients; what
//! the kernel answers resumes them. [`Lane`] is the machine of Baton's kernel lanes, [`Calls`] makes system calls, for kernels without.
//!
//! ```text
//!  client ── Memory ──▶ Session (one a client) ──▶ Pool: blocks of 8 pages, each an untyped ──▶ Machine ──▶ kernel
//!                           │ regions, addresses, page tables, quota                             ▲
//!                           └── what was cut short ──▶ Janitor ──────────────────────────────────┘
//! ```
//!
//! Invariants:
//! - a block has one owner at most, and is given to the next only after the kernel has revoked it: nothing that anybody had of it is left;
//! - what a client gets reads as zeros, for the kernel clears memory that was used before it makes frames of it;
//! - a request that is dropped half-way (cancelled, or its client has died) is undone by the [`Janitor`] before anything of it is used again;
//! - nothing is held across an `await` but counts and marks: every request finds the books in order;
//! - what the kernel refuses to take back is lost, counted, and never handed out again.
//!
//! It relies on the machine performing calls in the order in which they are made, as a kernel lane does.
//!
//! Neighbours: `baton-rpc` for the service, `user/apps/memory` for a server process and its clients.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod batch;
mod books;
mod janitor;
mod lock;
mod machine;
mod pool;
mod server;
mod service;
mod session;
mod tables;
mod window;

pub use janitor::Janitor;
pub use machine::{Calls, Lane, Machine, Object, Refused, Slots};
pub use pool::BLOCK_PAGES;
pub use server::{Limits, Server};
pub use service::{
    Access, AllocError, Figures, FreeError, MapError, Memory, MemoryClient, MemoryServer, Place,
    RegionNumber, UnmapError, Usage,
};
pub use session::Session;
