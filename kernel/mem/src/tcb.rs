//! Thread control blocks.

use crate::{Context, FpuState, Slot};
use core::cell::Cell;
use core::mem::{align_of, offset_of, size_of};

/// Numbers of the slots in a TCB.
pub mod tcb_slot {
    /// The CNode that is the root of the thread's capability space.
    pub const CTABLE: usize = 0;
    /// The root page table of its address space.
    pub const VTABLE: usize = 1;
    /// The master reply capability, from which reply capabilities to this thread derive.
    pub const REPLY: usize = 2;
    /// The reply capability to whoever called this thread last.
    pub const CALLER: usize = 3;
    /// The frame of its IPC buffer.
    pub const BUFFER: usize = 4;
}

/// A thread: 2 KiB. What a system call touches stands together at the beginning.
///
/// The registers come first, so that the address of a TCB is the address of its [`Context`].
#[repr(C, align(2048))]
pub struct Tcb {
    /// Registers while the thread does not run.
    pub context: Context,
    /// What the thread does: a number and flags that `baton-kernel-core` defines (`tcb.rs`).
    pub state: Cell<u64>,
    /// Address of the endpoint or notification that the thread waits at.
    pub blocking_object: Cell<u64>,
    /// Badge with which it waits to send.
    pub blocking_badge: Cell<u64>,
    /// Address of the next TCB in the queue of an endpoint or notification.
    pub queue_next: Cell<u64>,
    /// Address of the previous TCB there.
    pub queue_prev: Cell<u64>,
    /// Address of the next TCB in the ready queue.
    pub ready_next: Cell<u64>,
    /// Address of the previous TCB there.
    pub ready_prev: Cell<u64>,
    /// Priority, 0 to 255.
    pub priority: Cell<u64>,
    /// Scheduling domain.
    pub domain: Cell<u64>,
    /// Ticks left of the time slice.
    pub time_slice: Cell<u64>,
    /// Maximum controlled priority: the highest that this thread may give to others.
    pub mcp: Cell<u64>,
    /// What the user set with `TCB_SetFlags`.
    pub flags: Cell<u64>,
    /// Capability pointer of the fault handler's endpoint, in the thread's own capability space.
    pub fault_handler: Cell<u64>,
    /// Virtual address of the IPC buffer.
    pub ipc_buffer: Cell<u64>,
    /// Address of the bound notification, or 0.
    pub bound_notification: Cell<u64>,
    /// The fault that the thread waits to have handled: its number, then its data.
    pub fault: [Cell<u64>; 3],
    /// The lookup failure that a capability fault reports.
    pub lookup_failure: [Cell<u64>; 2],
    /// Not 0 if the thread's floating-point registers are to be in the unit whenever it runs (`fpu.rs` of the core).
    pub uses_fpu: Cell<u64>,
    /// The address space as the machine wants it named; see `space_epoch`.
    pub space: Cell<u64>,
    /// `space` is what the capability in [`tcb_slot::VTABLE`] says if this is the core's epoch.
    pub space_epoch: Cell<u64>,
    /// Capability space, address space, reply, caller, IPC buffer: see [`tcb_slot`].
    pub slots: [Slot; 5],
    /// Floating-point registers while another thread's are in the unit.
    pub fpu: FpuState,
    /// A name for debugging: bytes, the first zero ends it.
    pub name: [Cell<u64>; 16],
    /// Address of the next TCB in the list of all threads (debugging).
    pub all_next: Cell<u64>,
    /// Address of the previous TCB there.
    pub all_prev: Cell<u64>,
    /// Address of the bound kernel lane, or 0.
    pub lane: Cell<u64>,
    /// Fills up to 2048 bytes.
    spare2: [Cell<u64>; 128],
}

const _: () = assert!(size_of::<Tcb>() == 2048 && align_of::<Tcb>() == 2048);
const _: () = assert!(offset_of!(Tcb, context) == 0);
const _: () = assert!(offset_of!(Tcb, slots) % 32 == 0);

impl Tcb {
    /// Size of a TCB, as a power of two of bytes.
    pub const BITS: u32 = 11;
}
