//! The kernel against an executable model of seL4's API: random sequences of system calls, compared after each.
//!
//! Purpose: [`state::Model`] says what every call must do, in the plainest form there is: capabilities in a map, a
//! link from each to its parent, rights as four flags, queues as lists, states as an enum. It is written from the reference manual
//! and knows nothing of how the kernel stores anything. After each step [`compare`] reads the kernel's records: all registers of
//! all threads, what each does and waits for, ready and wait queues in order, what is in every slot, what was derived from what,
//! gathered signals, interrupts, IPC buffers, and now and then page tables and ASID pools. [`generate`] makes steps
//! that mostly make sense, by what the model knows; [`run`] runs worlds one after the other, and makes what fails short.
//!
//! Long operations (retype, revoke, delete) are interrupted wherever the kernel looks for an interrupt, and must come to the same.
//! Every few steps the kernel's own check (`Kernel::check`) looks at its records as well.
//!
//! Left out: Baton's own calls and objects, which have tests of their own (`lane.rs`, `asynchronous.rs`); what the hardware caches (`vspace.rs` beside this has tests), floating point, the debugging calls, domains,
//! contents of memory other than IPC buffers, the order of interrupts that come at once, and what is in the kernel's objects
//! between two parts of an interrupted operation when another thread runs there: such a world ends. What the
//! initial thread has when the kernel has booted is read from the kernel; all that follows is predicted.
//!
//! `BATON_SEED` is where to start, `BATON_CALLS` how many calls are wanted; `cargo xtask test --only model` sets both.
#![cfg(not(any(feature = "debug", feature = "domains")))]

mod caps;
mod compare;
mod generate;
mod invoke;
mod ipc;
#[path = "../common/random.rs"]
mod random;
mod run;
mod sched;
mod state;
mod threads;
mod tree;
mod vspace;
mod world;

#[test]
fn the_kernel_does_what_the_model_says() {
    let seed = random::number("BATON_SEED").unwrap_or(1);
    let calls = random::number("BATON_CALLS").unwrap_or(run::SHORT_CALLS);
    run::run(seed, calls);
}
