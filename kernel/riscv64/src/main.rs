//! Baton's kernel on RISC-V 64: what is below the kernel's logic.
//!
//! Purpose: the way in (boot, traps), the way out (restoring a thread's registers), and the one [`Machine`] that the logic
//! in `baton-kernel-core` sees. The only crate of the kernel with assembly.
//!
//! Invariants:
//! - one hart runs the kernel, with interrupts off; an exception inside the kernel is its end, with a message;
//! - while a user runs, `sscratch` holds the address of its context; while the kernel runs, zero;
//! - everything that a hart remembers is in [`hart`]; physical memory is seen through one window, which every
//!   address space has in its upper half.
//!
//! Neighbours: `kernel/loader` enters at [`entry`]; `baton-kernel-core` does the work; `docs/kernel.md` follows one
//! system call through this crate.
//!
//! [`Machine`]: baton_kernel_core::Machine
#![no_std]
#![no_main]

mod boot;
mod csr;
mod entry;
mod fpu;
mod hart;
mod machine;
mod paging;
mod panic;
mod plic;
mod sbi;
mod trap;
