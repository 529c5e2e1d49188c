//! The first instructions of a program, up to its `main`.
//!
//! The kernel starts the root task, and [`Process`](crate::Process) starts a process, at `_start` with one word in `a0`: the
//! address of boot info, or of the process's [`StartInfo`]. A root task comes without a stack (`sp` is 0) and gets the one below;
//! a process comes with one.

use crate::begin::ExitCode;
use crate::console;
use crate::panic;
use crate::process::StartInfo;
use crate::root::Root;
use baton_sel4::abi::slots;
use baton_sel4::{BootInfo, Tcb, ThreadArea};
use core::cell::{Cell, UnsafeCell};

/// Bytes of a root task's first stack.
const STACK_BYTES: usize = 256 * 1024;

/// Where a process's [`StartInfo`] is in the page of its first thread: behind the IPC buffer.
pub const START_INFO_OFFSET: u64 = 1 << baton_sel4::abi::IPC_BUFFER_BITS;

#[repr(C, align(4096))]
struct Stack(UnsafeCell<[u8; STACK_BYTES]>);
// SAFETY: only the initial thread uses it, as its stack; nothing in Rust refers to its contents.
unsafe impl Sync for Stack {}
static STACK: Stack = Stack(UnsafeCell::new([0; STACK_BYTES]));

struct RootArea(UnsafeCell<ThreadArea>);
// SAFETY: written once, by the initial thread in `start_root_task` before it starts any other; afterwards only read, but for the word
// that is that thread's own.
unsafe impl Sync for RootArea {}
static ROOT_AREA: RootArea = RootArea(UnsafeCell::new(ThreadArea {
    ipc_buffer: 0,
    user: 0,
    local: Cell::new(0),
}));

core::arch::global_asm!(
    ".pushsection .text._start, \"ax\", @progbits",
    ".globl _start",
    "_start:",
    "bnez sp, 1f",
    "la sp, {stack}",
    "li t0, {stack_bytes}",
    "add sp, sp, t0",
    "1:",
    "call baton_program_start",
    "unimp",
    ".popsection",
    stack = sym STACK,
    stack_bytes = const STACK_BYTES,
);

/// Makes `main`, a `fn(Root) -> u16` or a `fn(Root) -> Result<u16, Unlucky>`, the root task that this program is: it gets boot info and
/// what comes with it, and returns the exit code of the machine ([`ExitCode`]).
#[macro_export]
macro_rules! root_task {
    ($main:path) => {
        #[allow(unsafe_code)]
        const _: () = {
            /// Called by `_start`.
            #[unsafe(no_mangle)]
            extern "C" fn baton_program_start(boot_info: usize) -> ! {
                $crate::start_root_task(boot_info, $main)
            }
        };
    };
}

/// Makes `main`, a `fn(&'static StartInfo) -> u64`, the process that this program is; what it returns goes to the process that
/// started it.
#[macro_export]
macro_rules! process {
    ($main:path) => {
        #[allow(unsafe_code)]
        const _: () = {
            /// Called by `_start`.
            #[unsafe(no_mangle)]
            extern "C" fn baton_program_start(start_info: usize) -> ! {
                $crate::start_process(start_info, $main)
            }
        };
    };
}

/// What [`root_task!`] calls: `boot_info` is what the kernel passed.
pub fn start_root_task<T: ExitCode>(boot_info: usize, main: fn(Root) -> T) -> ! {
    // SAFETY: the kernel maps boot info there for good, aligned to a page, and nothing writes to it; all its members are valid for
    // every bit pattern.
    let info = unsafe { &*(boot_info as *const BootInfo) };
    let area = ROOT_AREA.0.get();
    // SAFETY: no other thread exists yet, and no reference to the area.
    unsafe {
        area.write(ThreadArea {
            ipc_buffer: info.ipc_buffer as usize,
            user: slots::INIT_THREAD_TCB as usize,
            local: Cell::new(0),
        });
    }
    set_thread_area(area);
    let root = Root::new(boot_info, info);
    let code = main(root).exit_code();
    crate::device::power_off(code)
}

/// What [`process!`] calls: `start_info` is what the parent passed.
pub fn start_process(start_info: usize, main: fn(&'static StartInfo) -> u64) -> ! {
    // SAFETY: the parent maps the page for good and does not change it any more; all members are valid for every bit pattern, and what
    // this process changes itself is a cell.
    let info = unsafe { &*(start_info as *const StartInfo) };
    set_thread_area(&raw const info.area as *mut ThreadArea);
    let (heap, heap_bytes) = info.heap();
    if heap_bytes != 0 {
        // SAFETY: the parent mapped it for this process alone, and nothing else here knows the addresses.
        unsafe { crate::heap::add(heap as usize, heap_bytes as usize) };
    }
    console::use_parent(info.parent());
    panic::set_reporter(Some(info.parent()));
    let code = main(info);
    info.exit(code)
}

fn set_thread_area(area: *mut ThreadArea) {
    // SAFETY: nothing that is compiled for the bare machine uses `tp`; it is ours to say what it points to.
    unsafe {
        core::arch::asm!("mv tp, {0}", in(reg) area, options(nostack, preserves_flags));
    }
}

/// The calling thread's own TCB, which is in its area.
pub(crate) fn own_tcb() -> Tcb {
    let user: u64;
    // SAFETY: `tp` points to this thread's area (the crate's invariant), whose second word this is.
    unsafe {
        core::arch::asm!("ld {0}, 8(tp)", out(reg) user, options(nostack, readonly, preserves_flags));
    }
    Tcb::new(user)
}
