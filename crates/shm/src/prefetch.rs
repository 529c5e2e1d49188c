//! Hints to the processor about cache lines that will be used soon.
//!
//! Purpose: a message crosses between cores as one cache line, which takes longer than handling it. So lines are asked for ahead of
//! their use (`docs/adr/0011`).
//!
//! Invariant: a hint changes no value and never faults, whatever the address. Where it is not known how to give one, nothing is done.

use baton_sync::AtomicU64;

/// The line `OFFSET` bytes behind `at` will be read.
#[inline(always)]
pub(crate) fn for_reading<const OFFSET: usize>(at: *const AtomicU64) {
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    // SAFETY: the instruction reads and writes no memory that the program can observe, and does not fault.
    unsafe {
        core::arch::asm!("prefetcht0 [{} + {}]", in(reg) at, const OFFSET, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    let _ = at;
}
