//! Numbers and layouts of the seL4 ABI on RISC-V 64 (Sv39), in its configuration without MCS and for one core.
//!
//! Purpose: the one place for what kernel and user must agree on. The kernel decodes with it, the user side encodes with it,
//! so that neither can drift from the other, and a configuration with other numbers is another table here.
//!
//! Invariants: nothing here has behaviour beyond packing and unpacking words; every conversion from a word that a user chose
//! is total (it answers `None` or a masked value, it never panics); sizes and offsets are checked at compile time.
//!
//! Neighbours: `kernel/core` (decode, boot info), `user/sel4` (calls). Sources: the seL4 reference manual (chapters named at
//! each module) and the interface descriptions that libsel4 publishes.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod baton;
pub mod bootinfo;
pub mod context;
pub mod error;
pub mod fault;
pub mod label;
pub mod limits;
pub mod message;
pub mod object;
pub mod rights;
pub mod slots;
pub mod syscall;

pub use baton::{BatonCall, KernelLaneLabel};
pub use bootinfo::{BootInfo, SlotRegion, UntypedDesc};
pub use context::{Register, UserContext};
pub use error::{Error, LookupFailureKind};
pub use fault::FaultKind;
pub use label::Label;
pub use limits::*;
pub use message::MessageInfo;
pub use object::ObjectType;
pub use rights::{CNodeCapData, CapRights, VmAttributes};
pub use syscall::Syscall;

/// A machine word as it stands in registers and messages.
pub type Word = u64;

/// The address of a capability in a capability space, resolved from its root with 64 bits of depth.
pub type CPtr = u64;

#[cfg(test)]
mod tests;
