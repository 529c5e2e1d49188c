//! The machine as the kernel's logic sees it.

use core::arch::asm;

use baton_kernel_core::Machine;
use baton_kernel_core::mem::{FpuState, Paddr};
use baton_sel4_abi::TIMER_IRQ;

use crate::plic::Plic;
use crate::{csr, fpu, paging, sbi};

/// The hardware around one hart.
pub struct Riscv {
    /// Interrupts of devices; none if the machine has no controller.
    plic: Option<Plic>,
    /// Ticks of the timebase between two timer interrupts.
    tick: u64,
    /// Whether translations are told apart by identifiers of 16 bits; if not, each switch forgets all.
    tagged: bool,
}

impl Riscv {
    /// The machine with that interrupt controller and that tick. Paging is on already.
    pub fn new(plic: Option<Plic>, tick: u64) -> Self {
        Self {
            plic,
            tick,
            tagged: paging::has_all_asid_bits(),
        }
    }
}

impl Machine for Riscv {
    #[inline(always)]
    fn address_space(&self, root: Paddr, asid: u64) -> u64 {
        csr::SATP_SV39 | (asid << csr::SATP_ASID_SHIFT) | (root.value() >> 12)
    }

    #[inline(always)]
    fn set_address_space(&self, space: u64) {
        // SAFETY: every root table has the kernel's own mappings in its upper half.
        unsafe { csr::satp::write(space) };
        if !self.tagged {
            paging::flush_all();
        }
    }

    fn set_kernel_address_space(&self) {
        self.set_address_space(self.address_space(paging::kernel_root(), 0));
    }

    fn kernel_entry(&self, index: usize) -> u64 {
        paging::kernel_entry(index)
    }

    fn flush_address_space(&self, asid: u64) {
        // SAFETY: only forgets cached translations.
        unsafe { asm!("sfence.vma zero, {}", in(reg) asid, options(nostack)) };
    }

    fn flush_page(&self, vaddr: u64, asid: u64) {
        // SAFETY: only forgets cached translations.
        unsafe { asm!("sfence.vma {}, {}", in(reg) vaddr, in(reg) asid, options(nostack)) };
    }

    fn fence_tables(&self) {
        paging::flush_all();
    }

    fn max_irq(&self) -> u64 {
        self.plic.as_ref().map_or(0, Plic::max_source)
    }

    fn claim_interrupt(&self) -> Option<u64> {
        let pending = csr::sip::read() & csr::sie::read();
        if pending & csr::EXTERNAL != 0 {
            return self.plic.as_ref().and_then(Plic::claim);
        }
        (pending & csr::TIMER != 0).then_some(TIMER_IRQ)
    }

    #[inline(always)]
    fn interrupt_pending(&self) -> bool {
        csr::sip::read() & (csr::TIMER | csr::EXTERNAL) != 0
    }

    fn mask_interrupt(&self, irq: u64, masked: bool) {
        if irq == TIMER_IRQ {
            // SAFETY: interrupts are off in `sstatus` as long as the kernel runs.
            unsafe {
                if masked {
                    csr::sie::clear(csr::TIMER);
                } else {
                    csr::sie::set(csr::TIMER);
                }
            }
        } else if let Some(plic) = &self.plic {
            plic.enable(irq, !masked);
        }
    }

    fn complete_interrupt(&self, irq: u64) {
        if let Some(plic) = &self.plic
            && irq != TIMER_IRQ
        {
            plic.complete(irq);
        }
    }

    fn set_trigger(&self, _irq: u64, _edge: bool) {
        // The controller that RISC-V's specification describes leaves this to the wiring of each source: a gateway turns
        // edges and levels into requests, and there is no register for it.
    }

    fn restart_timer(&self) {
        sbi::set_timer(csr::time::read().wrapping_add(self.tick));
    }

    #[inline(always)]
    fn enable_fpu(&self, enabled: bool) {
        // SAFETY: the kernel itself uses no floating point.
        unsafe {
            csr::sstatus::clear(csr::FS);
            if enabled {
                csr::sstatus::set(csr::FS_CLEAN);
            }
        }
    }

    fn fpu_touched(&self) -> bool {
        csr::sstatus::read() & csr::FS == csr::FS_DIRTY
    }

    #[inline(always)]
    fn save_fpu(&self, to: &FpuState) {
        fpu::save(to);
    }

    #[inline(always)]
    fn load_fpu(&self, from: &FpuState) {
        fpu::load(from);
        // SAFETY: as above.
        unsafe { csr::sstatus::clear(csr::FS_DIRTY & !csr::FS_CLEAN) };
    }

    fn put_byte(&self, byte: u8) {
        sbi::put_byte(byte);
    }

    fn halt(&self) -> ! {
        sbi::shut_down()
    }
}
