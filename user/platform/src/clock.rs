//! The machine's clock and its counter of instructions, which every process may read.

/// `rdtime`, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    hz: u64,
}

/// Of QEMU's machine, for when the parent does not know.
const DEFAULT_HZ: u64 = 10_000_000;
const NS_PER_S: u64 = 1_000_000_000;

impl Clock {
    pub(crate) fn new(hz: u64) -> Self {
        Clock {
            hz: if hz == 0 { DEFAULT_HZ } else { hz },
        }
    }

    /// Nanoseconds since the machine's start, more or less.
    pub(crate) fn now_ns(self) -> u64 {
        let ticks = now_ticks();
        match NS_PER_S.is_multiple_of(self.hz) {
            true => ticks.wrapping_mul(NS_PER_S / self.hz),
            false => (u128::from(ticks) * u128::from(NS_PER_S) / u128::from(self.hz)) as u64,
        }
    }

    /// The ticks at which so many nanoseconds have passed, rounded up.
    pub(crate) fn ticks(self, ns: u64) -> u64 {
        let ticks = (u128::from(ns) * u128::from(self.hz)).div_ceil(u128::from(NS_PER_S));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

/// The machine's clock, in ticks.
pub fn now_ticks() -> u64 {
    let ticks;
    // SAFETY: only reads a counter.
    unsafe {
        core::arch::asm!("rdtime {0}", out(reg) ticks, options(nostack, nomem, preserves_flags));
    }
    ticks
}

/// Instructions that the core has retired, in whatever process.
pub fn now_instructions() -> u64 {
    let instructions;
    // SAFETY: only reads a counter.
    unsafe {
        core::arch::asm!("rdinstret {0}", out(reg) instructions, options(nostack, nomem, preserves_flags));
    }
    instructions
}
