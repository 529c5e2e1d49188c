//! The unsafe core: the `ecall`, and the words of the calling thread's IPC buffer.
//!
//! Each thread's `tp` points to a [`ThreadArea`], which says where its IPC buffer is. The kernel writes to that buffer during
//! system calls only, and other threads of the process have other buffers; words are read and written as volatile, so that the
//! compiler keeps their order with the calls.

use baton_sel4_abi::message::ipc_buffer as layout;
use baton_sel4_abi::{MSG_MAX_LENGTH, MSG_REGISTERS};
use core::cell::Cell;

/// What `tp` points to in each thread. The rest of the page is its owner's.
#[repr(C)]
#[derive(Debug)]
pub struct ThreadArea {
    /// Address of the thread's IPC buffer; 0 when it has none.
    pub ipc_buffer: usize,
    /// A word for whoever started the thread.
    pub user: usize,
    /// A word for what the thread runs: see `thread_local_word`. Nobody else reads or writes it.
    pub local: Cell<usize>,
}

/// The word of the calling thread's area that belongs to what the thread runs; 0 at first.
#[cfg(target_arch = "riscv64")]
#[inline(always)]
pub fn thread_local_word() -> usize {
    let word;
    // SAFETY: `tp` points to this thread's ThreadArea (the crate's invariant), whose third word this is; only this thread uses it.
    unsafe {
        core::arch::asm!("ld {0}, 16(tp)", out(reg) word, options(nostack, readonly, preserves_flags));
    }
    word
}

/// Sets what [`thread_local_word`] returns on this thread.
#[cfg(target_arch = "riscv64")]
#[inline(always)]
pub fn set_thread_local_word(word: usize) {
    // SAFETY: as in `thread_local_word`; the word is a cell, so writing it through `tp` breaks no reference's promise.
    unsafe {
        core::arch::asm!("sd {0}, 16(tp)", in(reg) word, options(nostack, preserves_flags));
    }
}

#[cfg(target_arch = "riscv64")]
const _: () = {
    assert!(core::mem::offset_of!(ThreadArea, ipc_buffer) == 0);
    assert!(core::mem::offset_of!(ThreadArea, user) == 8);
    assert!(core::mem::offset_of!(ThreadArea, local) == 16);
};

/// Registers of a system call: `a0` to `a5` on the way in, and on the way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Registers {
    /// `a0`: capability pointer in, badge out.
    pub a0: u64,
    /// `a1`: message info.
    pub info: u64,
    /// `a2` to `a5`: the first message registers.
    pub mrs: [u64; MSG_REGISTERS as usize],
}

/// Traps into the kernel.
#[cfg(target_arch = "riscv64")]
#[inline(always)]
pub(crate) fn trap(number: i64, registers: Registers) -> Registers {
    let Registers {
        mut a0,
        mut info,
        mrs: [mut m0, mut m1, mut m2, mut m3],
    } = registers;
    // SAFETY: the kernel changes a0 to a5 only, and memory only in the IPC buffer (which is read as volatile) or where a capability
    // that this process invokes says so (see the crate's page); the stack is not touched.
    unsafe {
        core::arch::asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") a0,
            inlateout("a1") info,
            inlateout("a2") m0,
            inlateout("a3") m1,
            inlateout("a4") m2,
            inlateout("a5") m3,
            options(nostack),
        );
    }
    Registers {
        a0,
        info,
        mrs: [m0, m1, m2, m3],
    }
}

/// Under test on the host, a recorder takes the kernel's place.
#[cfg(all(test, not(target_arch = "riscv64")))]
pub(crate) use crate::tests::trap;

/// Elsewhere there is no kernel to call.
#[cfg(not(any(test, target_arch = "riscv64")))]
pub(crate) fn trap(number: i64, registers: Registers) -> Registers {
    panic!("system call {number} ({registers:?}): there is no seL4 below this program")
}

/// A system call with all of `a0` to `a6` as given, for callers that test or extend the ABI; returns `a0` to `a6`.
#[cfg(target_arch = "riscv64")]
pub fn syscall_registers(number: i64, mut a: [u64; 7]) -> [u64; 7] {
    // SAFETY: as in `trap`.
    unsafe {
        core::arch::asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") a[0],
            inlateout("a1") a[1],
            inlateout("a2") a[2],
            inlateout("a3") a[3],
            inlateout("a4") a[4],
            inlateout("a5") a[5],
            inlateout("a6") a[6],
            options(nostack),
        );
    }
    a
}

/// A system call with all of `a0` to `a6` as given; here it goes the way of the others, without `a6`.
#[cfg(not(target_arch = "riscv64"))]
pub fn syscall_registers(number: i64, a: [u64; 7]) -> [u64; 7] {
    let [a0, info, m0, m1, m2, m3, a6] = a;
    let out = trap(
        number,
        Registers {
            a0,
            info,
            mrs: [m0, m1, m2, m3],
        },
    );
    [
        out.a0, out.info, out.mrs[0], out.mrs[1], out.mrs[2], out.mrs[3], a6,
    ]
}

/// The calling thread's IPC buffer.
#[derive(Clone, Copy, Debug)]
pub struct IpcBuffer {
    base: *mut u64,
}

/// The calling thread's IPC buffer, or one at address 0 when it was started without: using that faults.
#[cfg(target_arch = "riscv64")]
#[inline(always)]
pub fn ipc_buffer() -> IpcBuffer {
    let base: *mut u64;
    // SAFETY: `tp` points to this thread's ThreadArea (the crate's invariant), whose first word this is. The area is not written
    // while the thread runs.
    unsafe {
        core::arch::asm!("ld {0}, 0(tp)", out(reg) base, options(nostack, readonly, preserves_flags));
    }
    IpcBuffer { base }
}

/// The calling thread's IPC buffer: one that the recorder keeps.
#[cfg(all(test, not(target_arch = "riscv64")))]
pub fn ipc_buffer() -> IpcBuffer {
    IpcBuffer {
        base: crate::tests::ipc_buffer_words(),
    }
}

/// Elsewhere there is none.
#[cfg(not(any(test, target_arch = "riscv64")))]
pub fn ipc_buffer() -> IpcBuffer {
    panic!("there is no seL4 below this program, and so no IPC buffer")
}

impl IpcBuffer {
    /// Its address.
    pub fn address(self) -> usize {
        self.base as usize
    }

    #[inline(always)]
    fn read(self, index: usize) -> u64 {
        debug_assert!(index < layout::WORDS);
        // SAFETY: the buffer is 128 words, `index` is below that (all callers mask or use constants), and it is mapped while the
        // thread runs (invariant of whoever started it).
        unsafe { self.base.add(index).read_volatile() }
    }

    #[inline(always)]
    fn write(self, index: usize, value: u64) {
        debug_assert!(index < layout::WORDS);
        // SAFETY: as in `read`; the buffer belongs to this thread alone.
        unsafe { self.base.add(index).write_volatile(value) }
    }

    /// Message register `index`; 0 for one that no message has. The first four are in registers during a call, so what stands
    /// here for them is what this program wrote.
    #[inline(always)]
    pub fn message_register(self, index: usize) -> u64 {
        if index < MSG_MAX_LENGTH as usize {
            self.read(layout::MSG + index)
        } else {
            0
        }
    }

    /// Sets message register `index`; one that no message has is ignored.
    #[inline(always)]
    pub fn set_message_register(self, index: usize, value: u64) {
        if index < MSG_MAX_LENGTH as usize {
            self.write(layout::MSG + index, value);
        }
    }

    /// The capability to send, or badge received, number `index` (0 to 2; higher ones are cut).
    #[inline(always)]
    pub fn cap_or_badge(self, index: usize) -> u64 {
        self.read(layout::CAPS_OR_BADGES + index.min(2))
    }

    /// Sets capability `index` (0 to 2; higher ones are cut) to send.
    #[inline(always)]
    pub fn set_cap(self, index: usize, cptr: u64) {
        self.write(layout::CAPS_OR_BADGES + index.min(2), cptr);
    }

    /// Where received capabilities go: the slot that `index` names with `depth` bits, looked up from `root`.
    pub fn set_receive_slot(self, root: u64, index: u64, depth: u64) {
        self.write(layout::RECEIVE_CNODE, root);
        self.write(layout::RECEIVE_INDEX, index);
        self.write(layout::RECEIVE_DEPTH, depth);
    }

    /// The word for the user.
    pub fn user_data(self) -> u64 {
        self.read(layout::USER_DATA)
    }

    /// Sets the word for the user.
    pub fn set_user_data(self, value: u64) {
        self.write(layout::USER_DATA, value);
    }
}
