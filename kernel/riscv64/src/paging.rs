//! The kernel's own mappings, which every address space has in its upper half.
//!
//! A window shows all physical memory from [`WINDOW_BASE`] on, in pages of 1 GiB, readable and writable. The kernel's
//! image is mapped where it is linked, in pages of 4 KiB: code executable and not writable, data the other way round.
//! Source: RISC-V Privileged Architecture, chapter 10.4 (Sv39).

use core::arch::asm;
use core::cell::UnsafeCell;

use baton_kernel_core::mem::{Paddr, WINDOW_BASE};

use crate::csr;

const ENTRIES: usize = 512;
const GIGA: u64 = 1 << 30;
const PAGE: u64 = 4096;
/// Physical memory that the window shows: entries 256 to 509 of the root, the last two are for the image.
pub const WINDOW_BYTES: u64 = 254 * GIGA;

const VALID: u64 = 1;
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 2;
const EXECUTE: u64 = 1 << 3;
/// In every address space alike.
const GLOBAL: u64 = 1 << 5;
/// Accessed and dirty, so that the hardware need not note it.
const USED: u64 = 3 << 6;

#[repr(C, align(4096))]
struct Table(UnsafeCell<[u64; ENTRIES]>);

// SAFETY: written by `activate` on the one hart that boots, before anything else looks; then only read.
unsafe impl Sync for Table {}

static ROOT: Table = Table(UnsafeCell::new([0; ENTRIES]));
static IMAGE_GIGA: Table = Table(UnsafeCell::new([0; ENTRIES]));
static IMAGE_PAGES: Table = Table(UnsafeCell::new([0; ENTRIES]));

unsafe extern "C" {
    static __kernel_start: u8;
    static __text_end: u8;
    static __rodata_end: u8;
    static __stack_guard: u8;
    static __kernel_end: u8;
}

/// Virtual minus physical addresses of the image, as in the linker script.
const PHYSICAL_OFFSET: u64 = 0xffff_ffff_0000_0000;

/// The image's physical addresses, whole pages.
pub fn image() -> (u64, u64) {
    (
        physical((&raw const __kernel_start).addr()),
        physical((&raw const __kernel_end).addr()),
    )
}

/// Makes the mappings and goes on with them.
///
/// # Safety
/// Called once, by the boot code, with the image mapped where it is linked.
pub unsafe fn activate() {
    // SAFETY: nothing else refers to the tables yet.
    let (root, giga, pages) = unsafe {
        (
            &mut *ROOT.0.get(),
            &mut *IMAGE_GIGA.0.get(),
            &mut *IMAGE_PAGES.0.get(),
        )
    };
    let shared = VALID | GLOBAL | USED;
    for (number, entry) in (0_u64..).zip(&mut root[256..510]) {
        *entry = leaf(number * GIGA, shared | READ | WRITE);
    }
    let start = (&raw const __kernel_start).addr();
    let text_end = (&raw const __text_end).addr();
    let rodata_end = (&raw const __rodata_end).addr();
    let guard = (&raw const __stack_guard).addr();
    let end = (&raw const __kernel_end).addr();
    for address in (start..end).step_by(PAGE as usize) {
        if address == guard {
            continue;
        }
        let rights = if address < text_end {
            READ | EXECUTE
        } else if address < rodata_end {
            READ
        } else {
            READ | WRITE
        };
        // The linker script asserts that the image needs no more than this one table.
        pages[address >> 12 & (ENTRIES - 1)] = leaf(physical(address), shared | rights);
    }
    giga[start >> 21 & (ENTRIES - 1)] = pointer(&IMAGE_PAGES);
    root[start >> 30 & (ENTRIES - 1)] = pointer(&IMAGE_GIGA);
    // SAFETY: the image stays mapped where it is, and the window has just been made.
    unsafe { csr::satp::write(csr::SATP_SV39 | (kernel_root().value() >> 12)) };
    flush_all();
}

/// Whether the hardware keeps all 16 bits of the identifiers that tell address spaces apart.
pub fn has_all_asid_bits() -> bool {
    const ALL: u64 = 0xffff << csr::SATP_ASID_SHIFT;
    let before = csr::satp::read();
    // SAFETY: the same table; another identifier changes nothing, since nothing is cached under it.
    let kept = unsafe {
        csr::satp::write(before | ALL);
        let kept = csr::satp::read();
        csr::satp::write(before);
        kept
    };
    flush_all();
    kept & ALL == ALL
}

/// The kernel's own root table.
#[inline(always)]
pub fn kernel_root() -> Paddr {
    Paddr::new(physical(ROOT.0.get().addr()))
}

/// An entry of it; 0 if there is none of that number.
pub fn kernel_entry(index: usize) -> u64 {
    // SAFETY: nobody writes it any more.
    let root = unsafe { &*ROOT.0.get() };
    root.get(index).copied().unwrap_or(0)
}

/// Forgets all cached translations, and makes writes to page tables visible.
#[inline(always)]
pub fn flush_all() {
    // SAFETY: only forgets cached translations.
    unsafe { asm!("sfence.vma", options(nostack)) };
}

/// Where physical memory is seen.
pub fn window(physical: u64) -> u64 {
    WINDOW_BASE.wrapping_add(physical)
}

/// The physical address of something in the image.
fn physical(address: usize) -> u64 {
    (address as u64).wrapping_sub(PHYSICAL_OFFSET)
}

fn leaf(physical: u64, bits: u64) -> u64 {
    (physical >> 12 << 10) | bits
}

fn pointer(table: &Table) -> u64 {
    leaf(physical(table.0.get().addr()), VALID)
}
