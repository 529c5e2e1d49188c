//! Counts the instructions of system calls, from user mode.
//!
//! Purpose: what measuring programs need that Rust does not say: the counter of retired instructions read directly before and
//! directly after an `ecall`, with nothing in between, and loops of system calls whose own instructions are known.
//!
//! Invariants:
//! - `call` and `empty_pair` differ in the `ecall` alone, so that their difference is what the system call costs;
//! - each loop says how many instructions a round of it has beside the system call;
//! - a sample is dropped only if a timer interrupt explains it, or [`Summary`] shows that it does not.
//!
//! Neighbours: `user/apps/bench` and `user/apps/bench-process`. This is one of the crates that contain `unsafe`; see
//! `docs/soundness.md`. Source: RISC-V Unprivileged Architecture, chapter "Zicntr"; the counters are readable in user mode if the kernel
//! allows it, as Baton's and seL4's do.
#![no_std]

mod arguments;
#[cfg(target_arch = "riscv64")]
mod loops;
mod mailbox;
pub mod order;
#[cfg(target_arch = "riscv64")]
mod pair;
mod summary;

pub use arguments::{ArgumentError, Arguments};
#[cfg(target_arch = "riscv64")]
pub use loops::{
    answer_signals, call_forever, call_repeatedly, serve, serve_repeatedly, signal_and_wait,
    yield_forever, yield_repeatedly,
};
pub use mailbox::Mailbox;
#[cfg(target_arch = "riscv64")]
pub use pair::{Fpu, Pair, Words, between, call, empty_pair, instret, thread_pointer, time};
pub use summary::{Summary, summarize};
