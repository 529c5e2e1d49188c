//! A ring of typed trace events, and what makes them readable.
//!
//! Purpose: to follow one request through its eight steps, and to see what a program that hangs did last. The
//! executor's thread records; any other thread may read at any time, also while the recorder is stuck or runs on.
//!
//! Invariants: recording never waits, allocates or fails; it overwrites the oldest event. A snapshot holds no event
//! that is torn or half overwritten. All memory is allocated when the ring is made.
//!
//! Neighbours: `baton-executor` and `baton-rpc` record; their `dump` and the host's commands format snapshots by
//! [`write_text`]. What [`write_lines`] has written, by whatever way it comes to the host, `baton-timeline` joins with the
//! recordings of other processes.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod event;
mod lines;
mod ring;
mod text;

pub use event::{Event, Step};
pub use lines::{End, Line, LineError, MARK, Peer, Unit, write_lines};
pub use ring::Ring;
pub use text::write_text;
