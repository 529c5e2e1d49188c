//! Typed capabilities and system calls of seL4 on RISC-V 64, for programs that run on Baton or on seL4 itself.
//!
//! Purpose: say in types what a capability pointer refers to, pack each invocation into a message as the ABI wants it, and give
//! back one [`Error`] that corresponds 1:1 to seL4's. A type here is a claim, not a proof: the kernel checks each call, and a
//! wrong claim is answered with [`Error::InvalidCapability`].
//!
//! Invariants:
//! - `raw` alone contains `unsafe`: the `ecall` and the words of the IPC buffer;
//! - a thread that calls the kernel has `tp` pointing to its [`ThreadArea`]; whoever starts threads sees to that
//!   (`user/runtime` does);
//! - message registers beyond the fourth live in the IPC buffer, so what was received there must be read before the next call.
//!
//! What Rust cannot promise: a program that holds capabilities to its own memory can unmap or overwrite what it runs on. The calls
//! are safe functions all the same, as opening `/proc/self/mem` is on Linux; keep such capabilities where they belong.
//!
//! Neighbours: `crates/sel4-abi` (numbers and layouts), `user/runtime` (start-up, allocation, processes).
//! Source of the semantics: the seL4 reference manual, chapter 10.
#![cfg_attr(not(test), no_std)]

mod capability;
mod cnode;
mod domain;
mod error;
mod fault;
mod invocation;
mod ipc;
mod irq;
mod lane;
mod raw;
mod tcb;
#[cfg(test)]
mod tests;
mod untyped;
mod vspace;

pub mod debug;

pub use baton_sel4_abi as abi;
pub use baton_sel4_abi::{
    BootInfo, CNodeCapData, CPtr, CapRights, Label, MessageInfo, ObjectType, UserContext,
    VmAttributes,
};
pub use capability::{
    AsidControl, AsidPool, CNode, CapType, Capability, DomainSet, Endpoint, IrqControl, IrqHandler,
    KernelLane, Notification, Page, PageTable, Tcb, Untyped,
};
pub use cnode::{Rotation, Slot};
pub use error::{Error, LookupFailure};
pub use fault::Fault;
pub use ipc::{
    Message, Received, call_raw, nb_recv, nb_send, recv, reply, reply_recv, send, wait, yield_now,
};
pub use irq::Trigger;
pub use lane::{LaneShape, doorbell, kernel_entries, park, signal_park};
pub use raw::{IpcBuffer, ThreadArea, ipc_buffer, syscall_registers};
#[cfg(target_arch = "riscv64")]
pub use raw::{set_thread_local_word, thread_local_word};
pub use tcb::Spaces;
