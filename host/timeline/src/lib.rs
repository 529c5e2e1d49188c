//! Recordings of several processes, joined: a trace for Perfetto, and a picture of one request.
//!
//! Purpose: to follow one request through its eight steps from process to process. Each process writes its recording by
//! [`baton_trace::write_lines`], into a file, a socket or a console; [`Recording::read`] takes them out of whatever text they stand
//! in, [`Timeline::new`] finds out which events belong to one request, [`Timeline::write_chrome`] writes what Perfetto and Chrome open,
//! and [`Timeline::write_picture`] draws.
//!
//! Invariants: no event is left out. Events are joined only if they have the same token on the same connection, which both ends
//! name in full; so requests of different connections never mix. An arrow leads only along one request, forward in time.
//!
//! Neighbours: `baton-trace` has ring, events and lines; `baton-dump`, the demo on Linux and `cargo xtask run` write the files.
//!
//! ```
//! use baton_timeline::{Recording, Timeline};
//!
//! let console = "booting\n\
//!     @trace begins,1,ns,client\n\
//!     @trace connection,1,0,2,5,server\n\
//!     @trace event,1,0,100,submit,0,3,ab,0\n\
//!     @trace ends,1,1\n\
//!     client: done\n";
//! let timeline = Timeline::new(Recording::read(console)?)?;
//! assert_eq!(timeline.requests().len(), 1);
//! let mut json = String::new();
//! timeline.write_chrome(&mut json)?;
//! assert!(json.contains("\"missing\":\"call, drain, serve, reply, drain_answer, resume\""));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod chrome;
mod join;
mod picture;
mod recording;

pub use join::{JoinError, Place, Point, Request, Timeline};
pub use recording::{Connection, Process, ReadError, Recording};
