//! Faults: what a thread did that its handler must hear of. Reference manual, section 6.2.

use crate::error::LookupFailure;

/// A fault of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A capability pointer of a system call did not resolve.
    Cap {
        /// The pointer.
        pointer: u64,
        /// Whether it was that of the receive phase.
        in_recv_phase: bool,
        /// Why.
        failure: LookupFailure,
    },
    /// A system call of that number does not exist.
    UnknownSyscall {
        /// The number.
        number: u64,
    },
    /// An exception that is not about memory.
    UserException {
        /// `scause`.
        number: u64,
        /// Always 0.
        code: u64,
    },
    /// An access to memory that is not mapped, or not so.
    Vm {
        /// The address.
        address: u64,
        /// Fault status: `baton_sel4_abi::fault::vm::FSR_*`.
        status: u64,
        /// Whether it was an instruction fetch.
        fetch: bool,
    },
}
