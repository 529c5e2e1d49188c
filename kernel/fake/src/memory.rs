//! The RAM: a heap allocation. The only unsafe code of this crate.

use baton_kernel_core::mem::{Memory, Paddr};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Where the RAM that the kernel may use starts (physical).
pub const RAM_START: u64 = 0x8020_0000;
/// Size of it (bytes).
pub const RAM_BYTES: u64 = 0x0400_0000 - 0x20_0000;

/// Alignment of the RAM (bytes): the largest of an object.
const ALIGNMENT: usize = 4096;

/// The allocation that plays the RAM.
pub(crate) struct Backing(NonNull<u8>);

/// Larger than the RAM, so that it can be aligned within: memory that is to be clear and has no alignment of its own comes from
/// the system untouched, and what a test does not use costs nothing.
fn layout() -> Layout {
    // Both numbers are constants for which this holds.
    Layout::from_size_align(RAM_BYTES as usize + ALIGNMENT, 1).expect("a valid layout")
}

impl Backing {
    pub(crate) fn new() -> Self {
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout()) };
        Backing(NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout())))
    }

    /// The memory as the kernel sees it. [`crate::Fake`] keeps both together, the allocation longer.
    pub(crate) fn memory(&self) -> Memory {
        let gap = self.0.align_offset(ALIGNMENT);
        // SAFETY: the gap is smaller than the alignment, and the allocation is larger than the RAM by that.
        let start = unsafe { self.0.add(gap) };
        // SAFETY: from there on the allocation has that size and alignment, lives as long as `Backing`, which `Fake` drops
        // after the `Memory`, and nothing else points into it.
        unsafe { Memory::new(Paddr::new(RAM_START), RAM_BYTES, start) }
    }
}

impl Drop for Backing {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout, and freed only here.
        unsafe { dealloc(self.0.as_ptr(), layout()) }
    }
}
