//! Control and status registers of the supervisor. Source: RISC-V Privileged Architecture, chapter 10.

use core::arch::asm;

/// Which registers are used here.
macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident = $csr:literal;)*) => {$(
        $(#[$doc])*
        #[allow(dead_code, reason = "not every register is both read and written")]
        pub mod $name {
            use super::*;

            /// Reads the register.
            #[inline(always)]
            pub fn read() -> u64 {
                let value;
                // SAFETY: reading one of these has no effect on memory.
                unsafe { asm!(concat!("csrr {}, ", $csr), out(reg) value, options(nomem, nostack)) };
                value
            }

            /// Writes the register.
            ///
            /// # Safety
            /// The kernel goes on under what is written: it must stay mapped, and its traps caught.
            #[inline(always)]
            pub unsafe fn write(value: u64) {
                // SAFETY: the caller's promise. Not `nomem`: what is translated may change.
                unsafe { asm!(concat!("csrw ", $csr, ", {}"), in(reg) value, options(nostack)) };
            }

            /// Sets these bits.
            ///
            /// # Safety
            /// As [`write()`].
            #[inline(always)]
            pub unsafe fn set(bits: u64) {
                // SAFETY: the caller's promise.
                unsafe { asm!(concat!("csrs ", $csr, ", {}"), in(reg) bits, options(nostack)) };
            }

            /// Clears these bits.
            ///
            /// # Safety
            /// As [`write()`].
            #[inline(always)]
            pub unsafe fn clear(bits: u64) {
                // SAFETY: the caller's promise.
                unsafe { asm!(concat!("csrc ", $csr, ", {}"), in(reg) bits, options(nostack)) };
            }
        }
    )*};
}

registers! {
    /// What user mode may do, and what the last trap came from.
    sstatus = "sstatus";
    /// Which interrupts are on.
    sie = "sie";
    /// Which interrupts wait.
    sip = "sip";
    /// Where traps go.
    stvec = "stvec";
    /// The running user's context, or zero in the kernel.
    sscratch = "sscratch";
    /// Where the last trap came from.
    sepc = "sepc";
    /// Why.
    scause = "scause";
    /// The address or instruction that it was about.
    stval = "stval";
    /// The root of the translation.
    satp = "satp";
    /// Which counters user mode may read.
    scounteren = "scounteren";
    /// Ticks of the timebase.
    time = "time";
}

/// Timer interrupt, in `sie` and `sip`.
pub const TIMER: u64 = 1 << 5;
/// External interrupt, in `sie` and `sip`.
pub const EXTERNAL: u64 = 1 << 9;

/// In `sstatus`: `sret` goes to the supervisor instead of the user.
pub const SPP: u64 = 1 << 8;
/// In `sstatus`: interrupts are on after `sret`.
pub const SPIE: u64 = 1 << 5;
/// In `sstatus`: interrupts are on.
pub const SIE: u64 = 1 << 1;
/// In `sstatus`: the kernel may touch the user's pages through the user's addresses. It never does.
pub const SUM: u64 = 1 << 18;
/// In `sstatus`: executable pages count as readable.
pub const MXR: u64 = 1 << 19;
/// In `sstatus`: the state of the floating-point unit; 0 is off.
pub const FS: u64 = 3 << 13;
/// In `sstatus`: the unit is on, and no register of it was written since this was set.
pub const FS_CLEAN: u64 = 2 << 13;
/// In `sstatus`: the unit is on, and a register of it may have been written.
pub const FS_DIRTY: u64 = 3 << 13;

/// In `satp`: three levels of page tables.
pub const SATP_SV39: u64 = 8 << 60;
/// In `satp`: where the address-space identifier begins.
pub const SATP_ASID_SHIFT: u32 = 44;
