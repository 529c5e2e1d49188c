//! The kernel's memory: typed handles to objects that lie in physical memory.
//!
//! Purpose: the only crate through which the kernel's logic reaches memory. `baton-kernel-core` forbids `unsafe`;
//! whatever it computes, right or wrong, can only lead to a wrong *value*, never to undefined behaviour, because of
//! these invariants:
//!
//! - **Every object is valid for every bit pattern.** Objects ([`Slot`], [`Tcb`], [`Endpoint`], ...) consist of
//!   cells of integers: no enum, `bool`, reference or niche is stored. So it does not matter what was in the memory
//!   before, nor that two handles of different types overlap.
//! - **Handles are checked when they are made.** [`Memory::get`] checks that the whole object lies in the memory
//!   that was given to the kernel for objects, and its alignment. After that no access needs a check.
//! - **Handles live no longer than a kernel entry.** They borrow the [`Memory`], which the trap code lends to the
//!   kernel for one entry.
//! - **Addresses are newtypes.** [`Paddr`] is a number, never dereferenced but through a [`Memory`].
//! - **Memory that user programs can reach is only touched as words** ([`UserWord`]), atomically.
//!
//! Neighbours: `baton-kernel-core` is the logic; `baton-riscv64` makes the one [`Memory`] of a real machine;
//! `baton-kernel-fake` makes one out of a heap allocation, for tests on the host. `docs/soundness.md` argues the
//! whole.
#![no_std]

mod addr;
mod context;
mod lane;
mod memory;
mod object;
mod slot;
mod tcb;

pub use addr::Paddr;
pub use context::{Context, FpuState, reg};
pub use lane::{KernelLane, LaneSlot};
pub use memory::{Memory, UserWord, WINDOW_BASE};
pub use object::{AsidPool, Endpoint, IrqTable, Notification, Object, PageTable};
pub use slot::{CapWords, Slot};
pub use tcb::{Tcb, tcb_slot};
