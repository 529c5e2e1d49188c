//! A ring of typed trace events, and what makes them readable.
//!
//! Purpose: to follow one request through its eight steps, and to see what a program that hangs did last. The
//! executor's thread records; any other thread may read at any time, also while the recorder is stuck or runs on.
//!
//! Invariants: recording never waits, allocates or fails; it overwrites the oldest event. A snapshot holds no event
//! that is torn or half overwritten. All memory is allocated when the ring is made.
//!
//! Neighbours: `baton-executor` and `baton-rpc` record; their `dump` and the host's commands format snapshots by
//! [`write_text`] and [`write_chrome_json`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod chrome;
mod event;
mod ring;
mod text;

pub use chrome::{JoinError, Names, NumberedNames, Requester, join_chrome_json, write_chrome_json};
pub use event::{Event, Step};
pub use ring::Ring;
pub use text::write_text;
