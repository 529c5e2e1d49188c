//! The processor and its surroundings: interrupt controller, timer, floating-point unit, translation, console.

use baton_kernel_core::Machine;
use baton_kernel_core::mem::{FpuState, Paddr};
use baton_sel4_abi::{MAX_IRQ, TIMER_IRQ};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// What the translation has cached for a page: the leaf entry and its size (bytes, log2).
pub(crate) type Cached = (u64, u32);

/// The 32 registers, then the control register.
struct FloatingPoint(RefCell<[u64; 33]>);

/// What the machine says when the kernel uses the floating-point unit and it is off.
pub(crate) const FPU_OFF: &str = "the kernel uses the floating-point unit, which is off";

/// Where the identifier stands in an address space as one word.
const ASID_SHIFT: u32 = 48;

impl Default for FloatingPoint {
    fn default() -> Self {
        FloatingPoint(RefCell::new([0; 33]))
    }
}

/// The fake processor.
#[derive(Default)]
pub struct Hardware {
    /// Root page table and identifier; the kernel's own table is root 0.
    pub(crate) address_space: Cell<(Paddr, u64)>,
    /// Cached translations by identifier and page: what stays visible until it is flushed.
    pub(crate) cached: RefCell<BTreeMap<(u64, u64), Cached>>,
    raised: RefCell<BTreeSet<u64>>,
    claimed: RefCell<BTreeSet<u64>>,
    unmasked: RefCell<BTreeSet<u64>>,
    edges: RefCell<BTreeSet<u64>>,
    timer: Cell<bool>,
    /// How often the kernel has looked for interrupts, and after how many looks the timer is to be raised.
    looks: Cell<u64>,
    timer_after_looks: Cell<Option<u64>>,
    fpu_enabled: Cell<bool>,
    fpu_touched: Cell<bool>,
    /// The floating-point registers and their control register.
    fpu: FloatingPoint,
    console: RefCell<Vec<u8>>,
}

impl Hardware {
    /// A device raises its interrupt; at a level it stays raised until [`Hardware::lower`].
    pub fn raise(&self, irq: u64) {
        self.raised.borrow_mut().insert(irq);
    }

    /// The device has been served.
    pub fn lower(&self, irq: u64) {
        self.raised.borrow_mut().remove(&irq);
    }

    /// The timer's time has come.
    pub fn raise_timer(&self) {
        self.timer.set(true);
    }

    /// Raises the timer when the kernel will have looked for interrupts `looks` more times: preempts a long operation.
    pub fn raise_timer_after_looks(&self, looks: u64) {
        self.timer_after_looks.set(Some(self.looks.get() + looks));
    }

    /// How often the kernel has looked whether an interrupt waits, in the middle of an operation.
    pub fn looks(&self) -> u64 {
        self.looks.get()
    }

    /// Whether the processor is to trap for an interrupt.
    pub fn is_interrupted(&self) -> bool {
        self.timer.get() || self.next_source().is_some()
    }

    /// Whether source `irq` is let through.
    pub fn is_unmasked(&self, irq: u64) -> bool {
        self.unmasked.borrow().contains(&irq)
    }

    /// Whether source `irq` is set to signal by edges.
    pub fn is_edge(&self, irq: u64) -> bool {
        self.edges.borrow().contains(&irq)
    }

    /// The root page table and address-space identifier in force; root 0 is the kernel's own.
    pub fn address_space(&self) -> (Paddr, u64) {
        self.address_space.get()
    }

    /// A register of the floating-point unit as the user reads it; nothing if that would fault.
    pub fn fpu_register(&self, number: usize) -> Option<u64> {
        self.fpu_enabled.get().then(|| self.fpu.0.borrow()[number])
    }

    /// The user writes a floating-point register; false if that would fault.
    pub fn set_fpu_register(&self, number: usize, value: u64) -> bool {
        if self.fpu_enabled.get() {
            self.fpu.0.borrow_mut()[number] = value;
            self.fpu_touched.set(true);
        }
        self.fpu_enabled.get()
    }

    /// A trap inside the kernel, which stops it.
    fn need_fpu(&self) {
        assert!(self.fpu_enabled.get(), "{FPU_OFF}");
    }

    /// What was printed so far.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&self.console.borrow()).into_owned()
    }

    /// The lowest source that is raised, let through and not being handled.
    fn next_source(&self) -> Option<u64> {
        let (unmasked, claimed) = (self.unmasked.borrow(), self.claimed.borrow());
        let raised = self.raised.borrow();
        let mut sources = raised.iter().copied();
        sources.find(|irq| unmasked.contains(irq) && !claimed.contains(irq))
    }
}

impl Machine for Hardware {
    fn address_space(&self, root: Paddr, asid: u64) -> u64 {
        // Cut as registers are; that it is an address space is looked at with the kernel's records.
        (root.value() & ((1 << ASID_SHIFT) - 1)) >> 12 << 12 | asid << ASID_SHIFT
    }

    fn set_address_space(&self, space: u64) {
        let root = Paddr::new(space & ((1 << ASID_SHIFT) - 1));
        self.address_space.set((root, space >> ASID_SHIFT));
    }

    fn set_kernel_address_space(&self) {
        self.address_space.set((Paddr::NULL, 0));
    }

    fn kernel_entry(&self, _index: usize) -> u64 {
        // Valid, readable, of the kernel alone: what matters is that users cannot reach through it.
        0b1011
    }

    fn flush_address_space(&self, asid: u64) {
        self.cached.borrow_mut().retain(|&(of, _), _| of != asid);
    }

    fn flush_page(&self, vaddr: u64, asid: u64) {
        // As hardware does: the whole translation through which the page was reached.
        let covers = |page: u64, bits: u32| page >> bits == vaddr >> bits;
        let mut cached = self.cached.borrow_mut();
        cached.retain(|&(of, page), &mut (_, bits)| of != asid || !covers(page, bits));
    }

    fn fence_tables(&self) {
        self.cached.borrow_mut().clear();
    }

    fn max_irq(&self) -> u64 {
        MAX_IRQ
    }

    fn claim_interrupt(&self) -> Option<u64> {
        if let Some(irq) = self.next_source() {
            self.claimed.borrow_mut().insert(irq);
            if self.is_edge(irq) {
                self.raised.borrow_mut().remove(&irq);
            }
            return Some(irq);
        }
        self.timer.get().then_some(TIMER_IRQ)
    }

    fn interrupt_pending(&self) -> bool {
        self.looks.set(self.looks.get() + 1);
        if self.timer_after_looks.get() == Some(self.looks.get()) {
            self.timer.set(true);
        }
        self.is_interrupted()
    }

    fn mask_interrupt(&self, irq: u64, masked: bool) {
        let mut unmasked = self.unmasked.borrow_mut();
        if masked {
            unmasked.remove(&irq);
        } else {
            unmasked.insert(irq);
        }
    }

    fn complete_interrupt(&self, irq: u64) {
        self.claimed.borrow_mut().remove(&irq);
    }

    fn set_trigger(&self, irq: u64, edge: bool) {
        let mut edges = self.edges.borrow_mut();
        if edge {
            edges.insert(irq);
        } else {
            edges.remove(&irq);
        }
    }

    fn restart_timer(&self) {
        self.timer.set(false);
    }

    fn enable_fpu(&self, enabled: bool) {
        self.fpu_enabled.set(enabled);
        self.fpu_touched.set(false);
    }

    fn fpu_touched(&self) -> bool {
        self.need_fpu();
        self.fpu_touched.get()
    }

    fn save_fpu(&self, to: &FpuState) {
        self.need_fpu();
        let fpu = self.fpu.0.borrow();
        for (cell, value) in to.registers.iter().zip(fpu.iter()) {
            cell.set(*value);
        }
        to.fcsr.set(fpu[32]);
    }

    fn load_fpu(&self, from: &FpuState) {
        self.need_fpu();
        let mut fpu = self.fpu.0.borrow_mut();
        for (value, cell) in fpu.iter_mut().zip(from.registers.iter()) {
            *value = cell.get();
        }
        fpu[32] = from.fcsr.get();
        self.fpu_touched.set(false);
    }

    fn put_byte(&self, byte: u8) {
        self.console.borrow_mut().push(byte);
    }

    fn halt(&self) -> ! {
        panic!("the machine was halted");
    }
}
