//! The key-value demo: typed calls between a store, an index, several clients and the program that started them.
//!
//! ```text
//!                 ┌────────── Board: notes, barriers, results ──────────┐
//!                 │                                                     ▼
//!  client 0..N ───┼──▶ Kv (store process) ◀── reads a text ── Index (index process)      the parent process
//!                 └──────────────────────────────────────────▶ ▲
//! ```
//!
//! Each client puts its share of a real text corpus into the store, appends its words to the index, and then asks for all of
//! it again in several ways with many requests under way, while it compares every answer with plain maps of its own. In the
//! middle, one client is killed; the others must not notice.
//!
//! Where to begin reading: `services` (what can be called), `store` and `index` (how it is served), `client` (how it is
//! called), all of `baton-kv`, which is generic over the platform; and here `parent` (who starts, watches and kills).
//!
//! Neighbours: `baton-kv` is the work, `baton-linux` has the processes.
#![forbid(unsafe_code)]

pub mod args;
pub mod corpus;
pub mod parent;
pub mod processes;
pub mod progress;
pub mod report;
pub mod trace;

pub use baton_kv::{board, client, expected, index, services, shift, store, tally, words};
