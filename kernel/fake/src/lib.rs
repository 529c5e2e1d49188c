//! A machine in ordinary memory, on which the kernel's core boots and runs in tests on the host.
//!
//! Purpose: each object of the kernel can be tested through the very doors that user programs have (system calls,
//! interrupts, exceptions), without an emulator: [`Fake`] boots the core, [`Fake::syscall`] and its relatives act for
//! whichever thread the kernel has chosen to run, [`Fake::load`] and [`Fake::store`] access memory as that thread would.
//!
//! Invariants: one [`Fake`] is one machine with one core; nothing is shared between two of them. The memory is a heap
//! allocation of the fake's own, reached by the core through the same checked handles as on a real machine.
//!
//! Neighbours: `baton-kernel-core` is what is tested; `baton-riscv64` is the real machine.

mod hardware;
mod memory;
pub mod program;
mod translation;
mod user;

pub use hardware::Hardware;
pub use memory::{RAM_BYTES, RAM_START};
pub use translation::{Access, PageFault};
pub use user::{Message, Reply};

use baton_kernel_core::boot::{BootError, BootImage, Region};
use baton_kernel_core::mem::{Memory, Paddr, Tcb, UserWord};
use baton_kernel_core::{CoreState, Kernel};
use memory::Backing;
use std::cell::Cell;

/// `scause` of an illegal instruction, also of one for a floating-point unit that is off.
const ILLEGAL_INSTRUCTION: u64 = 2;

/// Where the root task's image lies in physical memory: some way into the RAM.
pub const IMAGE_START: u64 = RAM_START + 0x30_0000;
/// Size of the image (bytes).
pub const IMAGE_BYTES: u64 = 0x8000;
/// Where the image is mapped.
pub const IMAGE_VADDR: u64 = 0x1_0000;
/// Where the root task starts.
pub const ENTRY: u64 = IMAGE_VADDR + 0x40;
/// Where the device tree lies.
pub const TREE_START: u64 = RAM_START + 0x40_0000;
/// Size of the device tree (bytes); what it says is `0, 1, 2, ...` in bytes.
pub const TREE_BYTES: u64 = 0x1234;
/// The interrupt controller's registers, which belong to the kernel.
pub const PLIC: Region = Region {
    start: Paddr::new(0xc00_0000),
    end: Paddr::new(0xc60_0000),
};

/// A machine with a kernel on it.
pub struct Fake {
    core: Box<CoreState>,
    memory: Memory,
    /// The processor and what is around it.
    pub hardware: Hardware,
    slow_only: Cell<bool>,
    fast_calls: Cell<u64>,
    /// Whether records are looked at after each entry.
    checking: Cell<bool>,
    /// Keeps the memory; dropped last.
    _backing: Backing,
}

impl Fake {
    /// A machine that has not booted.
    pub fn new() -> Self {
        let backing = Backing::new();
        Fake {
            core: Box::new(CoreState::new()),
            memory: backing.memory(),
            hardware: Hardware::default(),
            slow_only: Cell::new(false),
            fast_calls: Cell::new(0),
            checking: Cell::new(true),
            _backing: backing,
        }
    }

    /// A machine whose initial thread runs, as the loader and the real machine would have started it.
    ///
    /// # Panics
    /// If the kernel does not boot.
    pub fn booted() -> Self {
        let fake = Self::new();
        if let Err(error) = fake.boot() {
            panic!("the kernel does not boot: {error:?}");
        }
        fake
    }

    /// Boots with an image and a device tree at the places that this crate names.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn boot(&self) -> Result<(), BootError> {
        for word in 0..TREE_BYTES.div_ceil(8) {
            let bytes = core::array::from_fn(|byte| (word * 8 + byte as u64) as u8);
            self.set_physical(TREE_START + word * 8, u64::from_le_bytes(bytes));
        }
        let region = |start, bytes| Region {
            start: Paddr::new(start),
            end: Paddr::new(start + bytes),
        };
        self.kernel().boot(&BootImage {
            ram: &[region(RAM_START, RAM_BYTES)],
            reserved: &[],
            devices_of_kernel: &[PLIC],
            image: region(IMAGE_START, IMAGE_BYTES),
            image_offset: IMAGE_START.wrapping_sub(IMAGE_VADDR),
            entry: ENTRY,
            device_tree: region(TREE_START, TREE_BYTES),
        })
    }

    /// The kernel for one entry.
    pub fn kernel(&self) -> Kernel<'_, Hardware> {
        Kernel {
            core: &self.core,
            mem: &self.memory,
            machine: &self.hardware,
        }
    }

    /// Looks whether all the kernel's records are in order, and whether the hardware knows no more of them than it may;
    /// done after every entry of a user, unless [`Fake::set_checking`] says otherwise.
    ///
    /// # Panics
    /// If they are not.
    pub fn check(&self) {
        if let Err(wrong) = self.kernel().check() {
            panic!("the kernel's records are not in order: {wrong}");
        }
        self.check_translations();
    }

    /// What is done after each entry of a user.
    pub(crate) fn check_entry(&self) {
        if self.checking.get() {
            self.check();
        }
    }

    /// Whether all records are to be looked at after each entry: not where they are broken on purpose, or are so many that
    /// a test would take too long.
    pub fn set_checking(&self, checking: bool) {
        self.checking.set(checking);
    }

    /// Whether records are looked at after each entry.
    pub fn is_checking(&self) -> bool {
        self.checking.get()
    }

    /// The running thread.
    ///
    /// # Panics
    /// If the core idles.
    pub fn current(&self) -> &Tcb {
        match self.kernel().current() {
            Some(tcb) => tcb,
            None => panic!("the core idles"),
        }
    }

    /// Whether no thread can run.
    pub fn is_idle(&self) -> bool {
        self.kernel().current().is_none()
    }

    /// The address of the running thread: what distinguishes threads.
    ///
    /// # Panics
    /// If the core idles.
    pub fn current_address(&self) -> Paddr {
        self.memory.address(self.current())
    }

    /// A word of physical memory.
    ///
    /// # Panics
    /// If there is no memory at that address.
    pub fn physical(&self, address: u64) -> u64 {
        match self.memory.user_words::<1>(Paddr::new(address)) {
            Some([word]) => word.get(),
            None => panic!("no memory at {address:#x}"),
        }
    }

    /// `N` words of physical memory from `address` on.
    ///
    /// # Panics
    /// If there is no memory at that address.
    pub fn words<const N: usize>(&self, address: Paddr) -> [u64; N] {
        match self.memory.user_words::<N>(address) {
            Some(words) => words.each_ref().map(UserWord::get),
            None => panic!("no memory at {address:?}"),
        }
    }

    /// Writes a word of physical memory.
    ///
    /// # Panics
    /// If there is no memory at that address.
    pub fn set_physical(&self, address: u64, value: u64) {
        match self.memory.user_words::<1>(Paddr::new(address)) {
            Some([word]) => word.set(value),
            None => panic!("no memory at {address:#x}"),
        }
    }

    /// Raises a device's interrupt and lets the kernel handle it, if it is let through.
    pub fn interrupt(&self, irq: u64) {
        self.hardware.raise(irq);
        self.take_interrupts();
    }

    /// Lets the timer tick once.
    pub fn tick(&self) {
        self.hardware.raise_timer();
        self.take_interrupts();
    }

    /// Lets the timer tick `count` times.
    pub fn ticks(&self, count: u64) {
        for _ in 0..count {
            self.tick();
        }
    }

    /// Enters the kernel as long as some interrupt waits. In between a real machine runs the user for a moment.
    pub fn take_interrupts(&self) {
        for _ in 0..1000 {
            if !self.hardware.is_interrupted() {
                self.check_entry();
                return;
            }
            self.trap(false);
            let _ = self.kernel().handle_interrupt();
        }
        panic!("an interrupt is raised again and again");
    }

    /// Makes the running thread raise an exception.
    ///
    /// An illegal instruction traps once more if the kernel took it for one that needs the floating-point unit.
    pub fn exception(&self, cause: u64, value: u64) {
        let was_on = self.hardware.fpu_register(0).is_some();
        self.trap_for(cause, value);
        if cause == ILLEGAL_INSTRUCTION && !was_on && self.hardware.fpu_register(0).is_some() {
            self.trap_for(cause, value);
        }
    }

    fn trap_for(&self, cause: u64, value: u64) {
        self.trap(false);
        let _ = self.kernel().handle_exception(cause, value);
        self.check_entry();
    }

    /// Makes sure that the floating-point unit is on, if the kernel lets the running thread have it.
    fn touch_fpu(&self) {
        if self.hardware.fpu_register(0).is_none() {
            self.trap_for(ILLEGAL_INSTRUCTION, 0);
        }
    }

    /// What trap code does on the way in: notes where the thread goes on.
    fn trap(&self, is_syscall: bool) {
        use baton_kernel_core::mem::reg;
        if let Some(tcb) = self.kernel().current() {
            let pc = tcb.context.get::<{ reg::NEXT_PC }>();
            tcb.context.set::<{ reg::PC }>(pc);
            let next = if is_syscall { pc.wrapping_add(4) } else { pc };
            tcb.context.set::<{ reg::NEXT_PC }>(next);
        }
    }
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}
