//! What happens between the two halves of `entry.rs`: from the trap to the context that goes on.

use core::arch::asm;
use core::ptr;

use baton_kernel_core::mem::{Slot, Tcb, WINDOW_BASE};
use baton_kernel_core::{Fast, Resume, SyscallRegisters};

use crate::csr;
use crate::hart::{Entry, hart};

/// `scause` of a user's `ecall`.
pub const CAUSE_ECALL: u64 = 8;
/// Set in `scause` if it is an interrupt.
const INTERRUPT: u64 = 1 << 63;

/// `Call`: its arguments are in the registers that the user had them in, and the address of the context in `a2`.
///
/// # Safety
/// Only for the entry code: the running thread's registers are in its context, which is the one that was restored last.
pub unsafe extern "C" fn call(pointer: u64, info: u64, current: *const Tcb) -> u64 {
    let call = SyscallRegisters { pointer, info };
    // SAFETY: the entry code runs one trap at a time.
    let entry = unsafe { hart() };
    // SAFETY: the caller's promise: what was restored last is where a handle to the current thread pointed, and
    // `Memory` has been promised that there is memory for good.
    let current = unsafe { &*current };
    match entry.kernel().fast_call(current, call) {
        Fast::Done(resume) => go_on(resume),
        Fast::Unfinished(resume) => finish(current, resume.thread, resume.badge, resume.info),
        Fast::Slow => syscall(),
        Fast::Found(slot) => call_found(slot),
    }
}

/// `ReplyRecv`, as [`call`].
///
/// # Safety
/// As [`call`].
pub unsafe extern "C" fn reply_recv(pointer: u64, info: u64, current: *const Tcb) -> u64 {
    let call = SyscallRegisters { pointer, info };
    // SAFETY: the entry code runs one trap at a time.
    let entry = unsafe { hart() };
    // SAFETY: as in `call`.
    let current = unsafe { &*current };
    match entry.kernel().fast_reply_recv(current, call) {
        Fast::Done(resume) => go_on(resume),
        Fast::Unfinished(resume) => finish(current, resume.thread, resume.badge, resume.info),
        Fast::Slow | Fast::Found(_) => syscall(),
    }
}

/// Leaves the kernel for a thread, with badge and message info in registers instead of its context.
#[inline(always)]
fn go_on(resume: Resume<'_>) -> ! {
    // SAFETY: the entry code restores a context that a handle pointed at, and takes these two registers as they are. What is
    // on the stack is not used any more, nothing there is to be dropped: the next trap starts it anew.
    unsafe {
        asm!(
            "j {restore_message}",
            restore_message = sym crate::entry::restore_message,
            in("t0") ptr::from_ref(resume.thread),
            in("a0") resume.badge,
            in("a1") resume.info,
            options(noreturn),
        )
    }
}

/// The rest of a fast path between threads that use the floating-point unit.
#[inline(never)]
extern "C" fn finish(current: &Tcb, thread: &Tcb, badge: u64, info: u64) -> u64 {
    // SAFETY: as in `syscall`.
    let entry = unsafe { hart() };
    let resume = Resume {
        thread,
        badge,
        info,
    };
    let thread = entry.kernel().finish_fast(current, resume);
    ptr::from_ref(thread).addr() as u64
}

/// Any system call. A function of its own, so that the fast path needs no stack.
///
/// # Safety
/// As [`call`]; also for `call` and `reply_recv`, which make no use of their own entry behind this.
#[inline(never)]
pub extern "C" fn syscall() -> u64 {
    // SAFETY: the entry code runs one trap at a time.
    let entry = unsafe { hart() };
    entry.kernel().handle_syscall();
    next(&entry)
}

/// `Call` with a capability that the fast path has found and that is not for it.
#[inline(never)]
extern "C" fn call_found(slot: &Slot) -> u64 {
    // SAFETY: as in `syscall`.
    let entry = unsafe { hart() };
    entry.kernel().handle_call(slot);
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
