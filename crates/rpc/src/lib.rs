//! Typed asynchronous calls between processes.
//!
//! Purpose: the eight steps of a request (DESIGN.md section 3) on top of inbox and executor. A service is an ordinary Rust
//! trait; `#[service]` makes client and server of it.
//!
//! | step | where |
//! | --- | --- |
//! | 1 call | `call` ([`Client::call`]); `credit`, when it has to wait for one |
//! | 2 submit | `submit` |
//! | 3 ring | `source` (end of a turn) |
//! | 4 drain, 5 serve | `serve` |
//! | 6 reply | `request` ([`Reply::send`]) |
//! | 7 drain, 8 resume | `drain`, and [`Call`]'s poll; `answer` |
//!
//! Invariants: a request is only written with a credit in hand, and a credit pays for everything that its request needs on
//! both sides (`tokens` has the proof); nothing a peer writes is used before it was copied and checked; a peer that breaks the
//! protocol is quarantined, and all others go on.
//!
//! # Example
//!
//! A service, and code that calls it over whatever platform. `baton-inprocess` and `baton-linux` have examples in which both ends run.
//!
//! ```
//! use baton_rpc::{CallError, Platform, Wire, service};
//!
//! /// Fixed layout, three words: the variant and the larger of both.
//! #[derive(Debug, PartialEq, Wire)]
//! enum Shape {
//!     Circle { radius: u64 },
//!     Box { width: u64, height: u64 },
//! }
//!
//! #[service]
//! trait Areas {
//!     /// A request with an answer.
//!     async fn area(&self, shape: Shape) -> Option<u64>;
//!     /// A one-way send.
//!     fn forget(&self, before: u64);
//! }
//!
//! struct Flat;
//!
//! impl Areas for Flat {
//!     async fn area(&self, shape: Shape) -> Option<u64> {
//!         match shape {
//!             Shape::Circle { .. } => None,
//!             Shape::Box { width, height } => width.checked_mul(height),
//!         }
//!     }
//!
//!     fn forget(&self, _before: u64) {}
//! }
//!
//! async fn both<P: Platform>(areas: AreasClient<P>) -> Result<Option<u64>, CallError> {
//!     // Both requests are on their way before the first is awaited.
//!     let left = areas.area(Shape::Box { width: 2, height: 3 });
//!     let right = areas.area(Shape::Box { width: 4, height: 5 });
//!     let (left, right) = (left.await?, right.await?);
//!     Ok(left.zip(right).map(|(left, right)| left + right))
//! }
//!
//! assert_eq!(Shape::WORDS, 3);
//! let interface = AreasServer::<Flat>::INTERFACE;
//! assert_eq!((interface.name, interface.methods), ("Areas", &["area", "forget"][..]));
//! ```
//!
//! Neighbours: `baton-inbox` and `baton-executor` below; `host/linux` makes connections and calls [`NodeHandle::bind`].
#![cfg_attr(not(loom), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;
extern crate self as baton_rpc;

mod answer;
mod arrival;
mod bulk;
mod call;
mod connection;
mod credit;
mod dispatcher;
mod drain;
mod dump;
mod ending;
mod error;
mod node;
mod port;
mod request;
mod serve;
mod source;
mod submit;
mod tokens;
pub mod wire;

pub use baton_executor::{
    CellSize, Config, DeadlineError, FreeCell, Handle, JoinHandle, Mode, RunError, Started, When,
    next_turn,
};
pub use baton_inbox::{Band, LinkParts, PAYLOAD_WORDS as INLINE_WORDS, Platform, RegionLayout};
pub use baton_rpc_macros::{Wire, service};
pub use bulk::{Buffer, BulkAnswer, BulkCall, BulkIn, BulkOut};
pub use call::{Call, Client};
pub use connection::{Connection, Counters, Start};
pub use error::{CallError, Failure, SendError, TooLong, TryCallError, Violation};
pub use node::{BindError, Binding, Drive, Node, NodeHandle};
pub use port::LANE_QUANTUM;
pub use request::{OneWay, Reply, Request};
pub use serve::{Interface, Service, request_head};
pub use wire::{Wire, WireReader, WireWriter};
