//! Tests that need more than one crate, or more than one process.
//!
//! Purpose: the programs `kill-loop` and `hostile` (real processes that are killed, or lie), and what they and the tests in
//! `tests/` have in common. The loom models in `tests/loom_*.rs` use none of it.
#![forbid(unsafe_code)]

#[cfg(not(loom))]
pub mod hostile;
#[cfg(not(loom))]
pub mod kill_loop;
#[cfg(not(loom))]
pub mod process;
pub mod random;
#[cfg(not(loom))]
pub mod words;
