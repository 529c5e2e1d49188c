//! What happens between the two halves of `entry.rs`: from the trap to the context that goes on.

use core::arch::asm;

use baton_kernel_core::mem::WINDOW_BASE;

use crate::csr;
use crate::hart::{Entry, hart};

/// `scause` of a user's `ecall`.
pub const CAUSE_ECALL: u64 = 8;
/// Set in `scause` if it is an interrupt.
const INTERRUPT: u64 = 1 << 63;

/// A system call.
///
/// # Safety
/// Only for the entry code: the running thread's registers are in its context.
pub unsafe extern "C" fn syscall() -> u64 {
    // SAFETY: the entry code runs one trap at a time.
    let entry = unsafe { hart() };
    entry.kernel().handle_syscall();
    next(&entry)
}

/// An interrupt or an exception.
///
/// # Safety
/// As [`syscall`].
pub unsafe extern "C" fn other(cause: u64, value: u64) -> u64 {
    // SAFETY: the entry code runs one trap at a time.
    let entry = unsafe { hart() };
    if cause & INTERRUPT != 0 {
        entry.kernel().handle_interrupt();
    } else {
        entry.kernel().handle_exception(cause, value);
    }
    next(&entry)
}

/// The address of the context that is to be restored; waits for an interrupt as long as there is none.
#[inline(always)]
pub fn next(entry: &Entry<'_>) -> u64 {
    loop {
        let kernel = entry.kernel();
        if let Some(thread) = kernel.current() {
            // A TCB begins with its context.
            return WINDOW_BASE.wrapping_add(kernel.mem.address(thread).value());
        }
        idle(entry);
    }
}

#[cold]
fn idle(entry: &Entry<'_>) {
    // SAFETY: interrupts are off in `sstatus`, so that nothing is taken here; one that is on in `sie` ends the wait.
    unsafe { asm!("wfi", options(nomem, nostack)) };
    if csr::sip::read() & csr::sie::read() != 0 {
        entry.kernel().handle_interrupt();
    }
}

/// A trap inside the kernel: a mistake of the kernel, which cannot go on.
///
/// # Safety
/// Only for the entry code.
pub unsafe extern "C" fn broken(cause: u64, value: u64, pc: u64) -> ! {
    panic!("exception {cause} in the kernel at {pc:#x}, value {value:#x}")
}
