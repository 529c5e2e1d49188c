//! What a program needs to run as a user of Baton's kernel, or of seL4's, on RISC-V 64.
//!
//! Purpose: start-up of the root task and of the processes it starts; memory and capability slots out of boot info's untypeds;
//! threads; processes made from ELF files, each with an address space and a capability space of its own; the console; the
//! machine's power switch; and reports of panics and faults that say which thread, where, and why.
//!
//! Invariants:
//! - `tp` of each thread points to its [`ThreadArea`](baton_sel4::ThreadArea) from its first instruction on;
//! - memory that [`Window`] maps is reached as bytes and words by volatile accesses only, never by references;
//! - nothing here uses a call that seL4 does not have, so the same program runs on either kernel.
//!
//! Neighbours: `user/sel4` (calls), `kernel/boot` (ELF files, device tree), `user/apps` (programs). This is one of the crates that
//! contain `unsafe`; see `docs/soundness.md`.
//!
//! A root task is a `no_std`, `no_main` program with
//!
//! ```ignore
//! baton_runtime::root_task!(main);
//!
//! fn main(root: baton_runtime::Root) -> Result<u16, baton_runtime::Unlucky> {
//!     let (allocator, _window) = root.begin(0)?;
//!     baton_runtime::println!("{} bytes of memory", allocator.bytes_left());
//!     Ok(0) // the exit code
//! }
//! ```
#![no_std]

extern crate alloc;

mod allocator;
mod begin;
mod command_line;
pub mod console;
pub mod device;
mod heap;
mod panic;
pub mod process;
pub mod protocol;
mod random;
mod root;
mod start;
mod thread;
mod vspace;
mod window;

pub use allocator::{Allocator, Arena, Exhausted, ObjectSource};
pub use baton_sel4 as sel4;
pub use baton_sync as sync;
pub use begin::{ExitCode, OrSay, Unlucky};
pub use command_line::ArgumentError;
pub use panic::set_reporter;
pub use process::{Process, ProcessConfig, StartInfo};
pub use random::Random;
pub use root::{Root, bundled_device_tree};
pub use start::{START_INFO_OFFSET, start_process, start_root_task};
pub use thread::{Thread, ThreadConfig, ThreadEntry};
pub use vspace::{MapError, VSpace};
pub use window::{Mapped, Shared, Window};
