//! The kernel's logic: everything between the trap and the return to the user, as a library.
//!
//! Purpose: a capability microkernel with seL4's API for RISC-V 64 (without MCS). It sees memory only through the
//! typed handles of `baton-kernel-mem` and the processor only through one trait ([`Machine`]); so the same kernel runs on a
//! machine (`baton-riscv64`) and on the host under tests (`baton-kernel-fake`).
//!
//! Invariants:
//! - no `unsafe`; a mistake here is a wrong result and never undefined behaviour;
//! - all state of a core is in one [`CoreState`], all other state in objects in memory;
//! - no allocation: memory comes from untyped capabilities alone;
//! - nothing that a user can do makes the kernel panic.
//!
//! Neighbours: `docs/kernel.md` walks through the rooms; `baton-sel4-abi` has the numbers.
#![no_std]
#![forbid(unsafe_code)]

pub mod boot;
mod cancel;
pub mod cap;
#[cfg(feature = "check")]
mod check;
mod cnode;
pub mod config;
mod cspace;
mod debug;
mod delete;
mod derivation;
mod domain;
mod drain;
mod endpoint;
mod entry;
pub mod error;
mod fastpath;
mod fault;
mod fpu;
mod invocation;
mod irq;
mod lane;
mod machine;
mod message;
mod notification;
mod reply;
mod rights;
mod scheduler;
mod state;
mod syscall;
mod tcb;
mod tcb_decode;
mod transfer;
mod untyped;
#[cfg(feature = "check")]
pub mod view;
mod vspace;

pub use baton_kernel_mem as mem;
pub use error::{Answer, Decoded, LookupFailure, Stop, SyscallError};
pub use fastpath::{Fast, Resume, SyscallRegisters};
pub use fault::Fault;
pub use invocation::Invocation;
pub use machine::Machine;
pub use state::{CoreState, Kernel};
pub use tcb::ThreadState;
