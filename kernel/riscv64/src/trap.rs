//! What happens between the two halves of `entry.rs`: from the trap to the context that goes on.

use core::arch::asm;
use core::ptr;

use baton_kernel_core::mem::{Slot, Tcb};
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
    // SAFETY: the caller's promise.
    let (entry, current) = unsafe { enter(current) };
    let call = SyscallRegisters { pointer, info };
    let fast = entry.kernel().fast_call(current, call);
    go_on_after(current, fast, |slot| call_found(current, slot))
}

/// `ReplyRecv`, as [`call`].
///
/// # Safety
/// As [`call`].
pub unsafe extern "C" fn reply_recv(pointer: u64, info: u64, current: *const Tcb) -> u64 {
    // SAFETY: the caller's promise.
    let (entry, current) = unsafe { enter(current) };
    let call = SyscallRegisters { pointer, info };
    let fast = entry.kernel().fast_reply_recv(current, call);
    go_on_after(current, fast, |_| slow(current))
}

/// `Send`, as [`call`].
///
/// # Safety
/// As [`call`].
pub unsafe extern "C" fn send(pointer: u64, info: u64, current: *const Tcb) -> u64 {
    // SAFETY: the caller's promise.
    let (entry, current) = unsafe { enter(current) };
    let call = SyscallRegisters { pointer, info };
    let fast = entry.kernel().fast_send(current, call);
    go_on_after(current, fast, |slot| send_found(current, slot))
}

/// `SignalPark`, as [`call`].
///
/// # Safety
/// As [`call`].
pub unsafe extern "C" fn signal_park(pointer: u64, info: u64, current: *const Tcb) -> u64 {
    // SAFETY: the caller's promise.
    let (entry, current) = unsafe { enter(current) };
    let call = SyscallRegisters { pointer, info };
    let fast = entry.kernel().fast_signal_park(current, call);
    go_on_after(current, fast, |_| slow(current))
}

/// Any other system call, as [`call`].
///
/// # Safety
/// As [`call`].
pub unsafe extern "C" fn syscall(_pointer: u64, _info: u64, current: *const Tcb) -> u64 {
    // SAFETY: the caller's promise.
    let (entry, current) = unsafe { enter(current) };
    leave(&entry, entry.kernel().handle_syscall(current))
}

/// The kernel and the running thread.
///
/// # Safety
/// As [`call`].
#[inline(always)]
unsafe fn enter<'m>(current: *const Tcb) -> (Entry<'m>, &'m Tcb) {
    // SAFETY: the entry code runs one trap at a time; what was restored last is where a handle to the current thread pointed, and
    // `Memory` has been promised that there is memory for good.
    let (entry, current) = unsafe { (hart(), &*current) };
    entry.kernel().count_entry();
    (entry, current)
}

/// Does what the fast path has left to be done.
#[inline(always)]
fn go_on_after(current: &Tcb, fast: Fast<'_>, found: impl FnOnce(&Slot) -> u64) -> u64 {
    match fast {
        Fast::Done(resume) => go_on(resume),
        Fast::Unfinished(resume) => finish(current, resume.thread, resume.badge, resume.info),
        Fast::Slow => slow(current),
        Fast::Found(slot) => found(slot),
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

/// The rest of a fast path between threads that use the floating-point unit. Like the next ones a function of its own, so that
/// those above need no stack: they are jumped to.
#[inline(never)]
extern "C" fn finish(current: &Tcb, thread: &Tcb, badge: u64, info: u64) -> u64 {
    // SAFETY: the entry code runs one trap at a time; who jumps here makes no use of its own entry any more.
    let entry = unsafe { hart() };
    let resume = Resume {
        thread,
        badge,
        info,
    };
    address(entry.kernel().finish_fast(current, resume))
}

/// A system call that the fast path has left as it was.
#[inline(never)]
extern "C" fn slow(current: &Tcb) -> u64 {
    // SAFETY: as in `finish`.
    let entry = unsafe { hart() };
    leave(&entry, entry.kernel().handle_syscall(current))
}

/// `Call` with a capability that the fast path has found and that is not for it.
#[inline(never)]
extern "C" fn call_found(current: &Tcb, slot: &Slot) -> u64 {
    // SAFETY: as in `finish`.
    let entry = unsafe { hart() };
    leave(&entry, entry.kernel().handle_call(current, slot))
}

/// The same for `Send`.
#[inline(never)]
extern "C" fn send_found(current: &Tcb, slot: &Slot) -> u64 {
    // SAFETY: as in `finish`.
    let entry = unsafe { hart() };
    leave(&entry, entry.kernel().handle_send(current, slot))
}

/// An interrupt or an exception.
///
/// # Safety
/// As [`syscall`].
pub unsafe extern "C" fn other(cause: u64, value: u64) -> u64 {
    // SAFETY: the entry code runs one trap at a time.
    let entry = unsafe { hart() };
    let kernel = entry.kernel();
    kernel.count_entry();
    let next = if cause & INTERRUPT != 0 {
        kernel.handle_interrupt()
    } else {
        kernel.handle_exception(cause, value)
    };
    leave(&entry, next)
}

/// The address of the context that is to be restored; waits for an interrupt as long as there is none.
#[inline(always)]
pub fn leave(entry: &Entry<'_>, next: Option<&Tcb>) -> u64 {
    match next {
        Some(thread) => address(thread),
        None => idle(entry),
    }
}

/// A TCB begins with its context.
#[inline(always)]
fn address(thread: &Tcb) -> u64 {
    ptr::from_ref(thread).addr() as u64
}

#[cold]
#[inline(never)]
fn idle(entry: &Entry<'_>) -> u64 {
    loop {
        // SAFETY: interrupts are off in `sstatus`, so that nothing is taken here; one that is on in `sie` ends the wait.
        unsafe { asm!("wfi", options(nomem, nostack)) };
        if csr::sip::read() & csr::sie::read() == 0 {
            continue;
        }
        entry.kernel().count_entry();
        if let Some(thread) = entry.kernel().handle_interrupt() {
            return address(thread);
        }
    }
}

/// A trap inside the kernel: a mistake of the kernel, which cannot go on.
///
/// # Safety
/// Only for the entry code.
pub unsafe extern "C" fn broken(cause: u64, value: u64, pc: u64) -> ! {
    panic!("exception {cause} in the kernel at {pc:#x}, value {value:#x}")
}
