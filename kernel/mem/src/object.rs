//! Layouts of kernel objects other than slots and TCBs.

use crate::{KernelLane, LaneSlot, Slot, Tcb};
use core::cell::Cell;

/// A type that a handle may point at.
///
/// # Safety
///
/// The type must be `repr(C)`, consist of cells of integers and atomic integers only (so that every bit pattern is valid and any overlap
/// of handles is allowed), have no padding, and have a size that is not zero. (That it is aligned to its size, at most
/// 4096, is checked when the code that makes a handle is compiled.)
pub unsafe trait Object {}

// SAFETY: two cells of integers for the capability and two for the tree, no padding in 32 bytes.
unsafe impl Object for Slot {}
// SAFETY: cells of integers; `tcb.rs` asserts the size of 2048 bytes and fills the gap with cells.
unsafe impl Object for Tcb {}
// SAFETY: two cells of integers.
unsafe impl Object for Endpoint {}
// SAFETY: four cells of integers.
unsafe impl Object for Notification {}
// SAFETY: an array of cells of integers.
unsafe impl Object for PageTable {}
// SAFETY: an array of cells of integers.
unsafe impl Object for AsidPool {}
// SAFETY: cells of integers and atomic integers; `lane.rs` asserts the size of 4096 bytes and fills it with cells.
unsafe impl Object for KernelLane {}
// SAFETY: an array of atomic integers.
unsafe impl Object for LaneSlot {}
// SAFETY: an array of slots, which are objects.
unsafe impl Object for IrqTable {}

/// A rendezvous point: a queue of threads that all wait to send or all wait to receive.
#[repr(C, align(16))]
pub struct Endpoint {
    /// Address of the first waiting TCB, and what it waits for in the lowest two bits.
    pub head: Cell<u64>,
    /// Address of the last waiting TCB.
    pub tail: Cell<u64>,
}

/// A word of signals, the threads that wait for it, and the thread it is bound to.
#[repr(C, align(32))]
pub struct Notification {
    /// Address of the first waiting TCB, and the state in the lowest two bits.
    pub head: Cell<u64>,
    /// Address of the last waiting TCB.
    pub tail: Cell<u64>,
    /// The badges signalled so far, OR-ed.
    pub badge: Cell<u64>,
    /// Address of the TCB that this notification is bound to, or 0.
    pub bound: Cell<u64>,
}

/// One level of an address space: 512 entries in the hardware's format.
#[repr(C, align(4096))]
pub struct PageTable {
    /// The entries.
    pub entries: [Cell<u64>; 512],
}

/// 512 address-space identifiers: for each the address of the root page table, or 0.
#[repr(C, align(4096))]
pub struct AsidPool {
    /// One root an identifier.
    pub roots: [Cell<u64>; 512],
}

/// For each interrupt the slot in which the notification to be signalled is kept: a CNode of the kernel's own.
#[repr(C, align(4096))]
pub struct IrqTable {
    /// One slot an interrupt.
    pub slots: [Slot; 128],
}
