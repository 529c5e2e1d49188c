//! From the firmware into the loader, and from the loader into the kernel.
//!
//! A kernel finds itself mapped where it is linked, in 2 MiB pages to the end of that gigabyte; the loader stays mapped at
//! its physical addresses, because it is what turns paging on. Nothing else is mapped. Source: the boot protocol between
//! seL4's kernels and their loader; RISC-V Privileged Architecture, chapter 10.4 (Sv39).

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;

use baton_boot::command_line::count_digits;

use crate::memory;

/// What the kernel is told, and where it is entered.
pub struct Entry {
    /// Virtual address of its first instruction.
    pub kernel_entry: u64,
    /// Its lowest virtual address, on a 2 MiB page.
    pub kernel_vaddr: u64,
    /// The physical address of that.
    pub kernel_paddr: u64,
    /// Physical address of the root task.
    pub root_task_start: u64,
    /// Physical address behind it.
    pub root_task_end: u64,
    /// The root task's physical minus its virtual addresses (wrapping).
    pub root_task_offset: u64,
    /// Virtual address of its first instruction.
    pub root_task_entry: u64,
    /// Physical address of the device tree.
    pub device_tree: u64,
    /// Its bytes.
    pub device_tree_size: u64,
    /// Physical address where the count of retired instructions is wanted, as digits.
    pub count_place: Option<u64>,
    /// The hart that boots.
    pub hart: u64,
}

/// Bits of a page-table entry: valid, readable, writable, executable, accessed, dirty.
const LEAF: u64 = 0b1100_1111;
const POINTER: u64 = 1;
const ENTRIES: usize = 512;
const LARGE_PAGE: u64 = 2 << 20;
const SATP_SV39: u64 = 8 << 60;

#[repr(C, align(4096))]
struct Table(UnsafeCell<[u64; ENTRIES]>);

// SAFETY: the loader runs on one hart, without interrupts.
unsafe impl Sync for Table {}

static ROOT: Table = Table(UnsafeCell::new([0; ENTRIES]));
static KERNEL_WINDOW: Table = Table(UnsafeCell::new([0; ENTRIES]));

global_asm!(
    ".pushsection .text.entry, \"ax\"",
    ".globl _start",
    "_start:",
    "   la   sp, __stack_top",
    "   tail {main}",
    ".popsection",
    main = sym crate::main,
);

/// Turns paging on and enters the kernel.
pub fn kernel(entry: &Entry) -> ! {
    let root = map(entry);
    if let Some(place) = entry.count_place {
        // Last, so that hardly anything of the loader is counted as the kernel's.
        memory::copy(&count_digits(instret()), place);
    }
    // SAFETY: the loader is mapped at its own addresses, so that execution goes on behind the write to satp; the
    // kernel is mapped at its entry and takes these registers. Nothing returns.
    unsafe {
        asm!(
            "fence.i",
            "csrw sie, zero",
            "sfence.vma",
            "csrw satp, t0",
            "sfence.vma",
            "jr   t1",
            in("t0") SATP_SV39 | (root >> 12),
            in("t1") entry.kernel_entry,
            in("a0") entry.root_task_start,
            in("a1") entry.root_task_end,
            in("a2") entry.root_task_offset,
            in("a3") entry.root_task_entry,
            in("a4") entry.device_tree,
            in("a5") entry.device_tree_size,
            in("a6") entry.hart,
            // The number of this core among those that boot: there is one.
            in("a7") 0_u64,
            options(noreturn),
        )
    }
}

/// Instructions retired so far.
fn instret() -> u64 {
    let count;
    // SAFETY: only reads a counter. The firmware lets the supervisor read it, and it is asked for.
    unsafe { asm!("rdinstret {0}", out(reg) count, options(nomem, nostack, preserves_flags)) };
    count
}

/// Fills the tables, and returns the physical address of the root.
fn map(entry: &Entry) -> u64 {
    // SAFETY: one hart, called once; nothing else refers to the tables, and paging is still off.
    let (root, window) = unsafe { (&mut *ROOT.0.get(), &mut *KERNEL_WINDOW.0.get()) };
    let leaf = |address: u64| (address >> 12 << 10) | LEAF;
    let loader = memory::loader_start();
    if let Some(own) = root.get_mut(index(loader, 30)) {
        *own = leaf(loader & !((1 << 30) - 1));
    }
    let mut address = entry.kernel_paddr;
    for place in window.iter_mut().skip(index(entry.kernel_vaddr, 21)) {
        *place = leaf(address);
        address += LARGE_PAGE;
    }
    if let Some(kernel) = root.get_mut(index(entry.kernel_vaddr, 30)) {
        *kernel = (KERNEL_WINDOW.0.get().addr() as u64 >> 12 << 10) | POINTER;
    }
    ROOT.0.get().addr() as u64
}

/// The index into the table whose entries map `1 << shift` bytes each.
fn index(address: u64, shift: u32) -> usize {
    (address >> shift) as usize % ENTRIES
}
