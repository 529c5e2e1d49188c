//! What Baton's kernel has beyond seL4: kernel lanes, and the calls that drain them. Only to be used where the features word of boot info
//! says so; specified in `docs/abi.md`.

use crate::capability::{Capability, KernelLane, Notification, Tcb};
use crate::cnode::Slot;
use crate::error::Error;
use crate::invocation::invoke_number;
use crate::raw::syscall_registers;
use baton_sel4_abi::baton::{Drained, Parked};
use baton_sel4_abi::{BatonCall, CPtr, KernelLaneLabel};

/// How a kernel lane is bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneShape {
    /// Slots of each lane, and so calls that can be out (log2).
    pub slot_bits: u64,
    /// Bytes of the bulk buffer of a request: a multiple of 64.
    pub request_bulk: u64,
    /// Bytes of the bulk buffer of an answer: a multiple of 64.
    pub answer_bulk: u64,
    /// The first position: 0, but in tests of wrapping.
    pub start: u32,
}

impl KernelLane {
    /// Binds the lane to a thread, which alone may use it then. Clears both regions' headers.
    ///
    /// # Errors
    /// [`Error::IllegalOperation`] when lane or thread is bound already; [`Error::NotEnoughMemory`] when the lane is too small for the
    /// shape; those of impossible shapes.
    pub fn bind(self, thread: Tcb, shape: LaneShape) -> Result<(), Error> {
        let words = [
            shape.slot_bits,
            shape.request_bulk,
            shape.answer_bulk,
            shape.start.into(),
        ];
        let label = KernelLaneLabel::Bind.number();
        invoke_number(self.cptr(), label, &words, &[thread.cptr()])?;
        Ok(())
    }

    /// Takes the lane from its thread. Messages that were not performed are forgotten.
    ///
    /// # Errors
    /// [`Error::IllegalOperation`] when it is not bound.
    pub fn unbind(self) -> Result<(), Error> {
        invoke_number(self.cptr(), KernelLaneLabel::Unbind.number(), &[], &[])?;
        Ok(())
    }

    /// Makes the capability of one of the lane's pages in the empty slot `to`. Each page has one; copies are made of that.
    ///
    /// # Errors
    /// [`Error::RangeError`] when there is no such page; [`Error::DeleteFirst`] when it was made before, or the slot is not empty.
    pub fn frame(self, page: u64, to: Slot) -> Result<(), Error> {
        let words = [page, to.index, to.depth];
        let label = KernelLaneLabel::GetFrame.number();
        invoke_number(self.cptr(), label, &words, &[to.root.cptr()])?;
        Ok(())
    }
}

/// Has the kernel perform all messages in the calling thread's lane.
#[inline]
pub fn doorbell() -> Drained {
    let [a0, ..] = syscall_registers(BatonCall::Doorbell.number(), [0; 7]);
    Drained::from_number(a0)
}

/// The same, then waits at the notification, unless the lane has brought news; the badge, if it has waited.
#[inline]
pub fn park(at: Notification) -> (Parked, u64) {
    parked(BatonCall::Park, at.cptr(), 0)
}

/// The same, with a signal to `other` directly before waiting. A capability that cannot be signalled is a fault of the thread.
#[inline]
pub fn signal_park(at: Notification, other: Notification) -> (Parked, u64) {
    parked(BatonCall::SignalPark, at.cptr(), other.cptr())
}

/// How often the kernel has been entered since it began: by system calls (this one included), interrupts and exceptions. Only for a kernel
/// whose features word has [`FEATURE_KERNEL_ENTRIES`](baton_sel4_abi::baton::FEATURE_KERNEL_ENTRIES).
#[inline]
pub fn kernel_entries() -> u64 {
    let [a0, ..] = syscall_registers(BatonCall::KernelEntries.number(), [0; 7]);
    a0
}

#[inline]
fn parked(call: BatonCall, at: CPtr, other: CPtr) -> (Parked, u64) {
    let [badge, .., how] = syscall_registers(call.number(), [at, other, 0, 0, 0, 0, 0]);
    (Parked::from_number(how), badge)
}
