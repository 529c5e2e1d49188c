//! An inbox: what one executor receives from, a set of lanes plus one state word.
//!
//! Purpose: the protocol of DESIGN.md section 4. Senders do not trust each other, and the consumer trusts none of them, so
//! the inbox is many single-writer lanes that the executor pops directly. Nothing that matters to safety is ever read back
//! from shared memory; what a peer publishes is copied once and checked.
//!
//! The data path, in the order of the files:
//!
//! | file | what |
//! | --- | --- |
//! | `layout` | where everything lies in a connection's two regions |
//! | `message` | one slot's words: head, token, payload |
//! | `publication` | how the reader learns that a slot is full |
//! | `lane` | the two ends of a lane |
//! | `link` | the lanes, heads and wants of one connection |
//! | `state` | sleeping, and who must ring |
//! | `scan` | which connections to look at: bands, fairness, hint |
//! | `platform` | what the machine below must offer |
//!
//! # Example
//!
//! One lane, both ends. A writer needs a credit for each message (`baton-rpc` sees to that); the lane itself never says "full".
//!
//! ```
//! use baton_inbox::{InSlot, Info, Kind, LaneReader, LaneWriter, Token};
//! use baton_shm::{HeapWords, ReadSlots, SLOT_STRIDE_WORDS, WriteSlots};
//!
//! // Four slots, and one word that only tail-word publication would use.
//! let tail = 4 * SLOT_STRIDE_WORDS;
//! let region = HeapWords::region(tail + 1);
//! let writer =
//!     LaneWriter::<InSlot>::new(WriteSlots::new(&region, 0, 2)?, region.word(tail)?, 0);
//! let shared = region.read_only();
//! let reader = LaneReader::<InSlot>::new(ReadSlots::new(&shared, 0, 2)?, shared.word(tail)?, 0);
//!
//! assert!(reader.peek().unwrap().is_none());
//! writer.push(Info::new(Kind::Request, 1, 2), Token::new(3, 0), |payload| {
//!     payload.word(2);
//!     payload.word(3);
//! });
//!
//! let found = reader.peek().unwrap().expect("one message was published");
//! assert_eq!((found.info().kind(), found.info().method()), (Some(Kind::Request), 1));
//! assert_eq!(found.token(), Token::new(3, 0));
//! assert_eq!(found.copy()[..2], [2, 3]);
//! reader.advance();
//! assert!(reader.peek().unwrap().is_none());
//! # Ok::<(), baton_shm::OutOfRange>(())
//! ```
//!
//! Neighbours: `baton-shm` below, `baton-executor` and `baton-rpc` above.
#![cfg_attr(not(loom), no_std)]
#![forbid(unsafe_code)]

pub mod lane;
pub mod layout;
pub mod link;
pub mod message;
mod platform;
pub mod publication;
pub mod scan;
pub mod state;

pub use lane::{Found, LaneReader, LaneWriter, PayloadReader, PayloadWriter, Walk};
pub use layout::{LayoutError, MAX_CONNECTIONS, RegionLayout};
pub use link::{HeadOutOfRange, Link, LinkError, LinkParts, SharedRing};
pub use message::{Info, Kind, PAYLOAD_WORDS, Status, Token};
pub use platform::{Bell, Platform};
pub use publication::{
    Dispatched, InSlot, OneLane, OneRing, Publication, TailOutOfRange, TailWord,
};
pub use scan::{BANDS, Band, Scan};
pub use state::{HINTED, OwnState, PeerState, SLEEPING, Seen, epoch, sender_fence};
