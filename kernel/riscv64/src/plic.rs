//! The platform-level interrupt controller, as the boot hart's supervisor sees it.
//!
//! Source: RISC-V Platform-Level Interrupt Controller Specification 1.0.

use core::ptr;

use baton_kernel_core::mem::WINDOW_BASE;
use baton_sel4_abi::TIMER_IRQ;

/// Registers, as offsets in bytes: a priority for each source, a bit for each source and context, and for each context
/// a threshold with the claim register behind it.
const ENABLE: u64 = 0x2000;
const ENABLE_STRIDE: u64 = 0x80;
const THRESHOLD: u64 = 0x20_0000;
const THRESHOLD_STRIDE: u64 = 0x1000;
const CLAIM: u64 = 4;
/// All sources have the same priority; it must exceed the threshold, 0.
const PRIORITY: u32 = 1;

/// The controller.
pub struct Plic {
    /// Where its registers are seen.
    base: u64,
    context: u64,
    sources: u64,
}

impl Plic {
    /// The controller with its registers at that physical address, all sources off.
    ///
    /// # Safety
    /// The registers are there, and nothing else uses this context.
    pub unsafe fn new(registers: u64, context: u32, sources: u32) -> Self {
        let plic = Self {
            base: WINDOW_BASE.wrapping_add(registers),
            context: u64::from(context),
            // Users know sources by numbers below the timer's.
            sources: u64::from(sources).min(TIMER_IRQ - 1),
        };
        for source in 1..=plic.sources {
            plic.enable(source, false);
            plic.write(source * 4, PRIORITY);
        }
        plic.write(THRESHOLD + THRESHOLD_STRIDE * plic.context, 0);
        plic
    }

    /// The highest source.
    pub fn max_source(&self) -> u64 {
        self.sources
    }

    /// The source that is to be handled now; it is not raised again before it is completed.
    pub fn claim(&self) -> Option<u64> {
        let source = self.read(self.claim_register());
        (source != 0).then_some(u64::from(source))
    }

    /// Tells that a claimed source has been handled. The controller ignores this for sources that are off, so a source
    /// that was switched off meanwhile is switched on for a moment: else it would stay claimed for ever.
    pub fn complete(&self, source: u64) {
        let on = self.is_enabled(source);
        if !on {
            self.enable(source, true);
        }
        self.write(self.claim_register(), source as u32);
        if !on {
            self.enable(source, false);
        }
    }

    /// Lets a source interrupt, or keeps it from doing so. Does nothing if there is no such source.
    pub fn enable(&self, source: u64, enabled: bool) {
        if source == 0 || source > self.sources {
            return;
        }
        let register = self.enable_register(source);
        let bit = 1 << (source % 32);
        let old = self.read(register);
        self.write(register, if enabled { old | bit } else { old & !bit });
    }

    fn is_enabled(&self, source: u64) -> bool {
        self.read(self.enable_register(source)) & (1 << (source % 32)) != 0
    }

    fn claim_register(&self) -> u64 {
        THRESHOLD + THRESHOLD_STRIDE * self.context + CLAIM
    }

    fn enable_register(&self, source: u64) -> u64 {
        ENABLE + ENABLE_STRIDE * self.context + source.min(self.sources) / 32 * 4
    }

    fn read(&self, register: u64) -> u32 {
        let at = ptr::with_exposed_provenance::<u32>((self.base + register) as usize);
        // SAFETY: a register of this context or source (`new`), mapped in the window.
        unsafe { at.read_volatile() }
    }

    fn write(&self, register: u64, value: u32) {
        let at = ptr::with_exposed_provenance_mut::<u32>((self.base + register) as usize);
        // SAFETY: as in `read`.
        unsafe { at.write_volatile(value) }
    }
}
