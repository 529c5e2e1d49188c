//! The one boundary to the hardware.

use baton_kernel_mem::{FpuState, Paddr};

/// What the kernel asks of the processor and its surroundings.
///
/// All operations act on the core that calls them and take effect before they return. Interrupts are off while the kernel
/// runs. An implementation holds no kernel state, only the hardware's.
pub trait Machine {
    // -- Address spaces ------------------------------------------------------------------------------------------

    /// The address space whose page table is at `root` and whose identifier is `asid`, as one word.
    ///
    /// The upper half of `root` holds the kernel's own mappings (see [`Machine::kernel_entry`]).
    fn address_space(&self, root: Paddr, asid: u64) -> u64;

    /// Translates user addresses by that address space from now on: what [`Machine::address_space`] made of it.
    fn set_address_space(&self, space: u64);

    /// Translates by the kernel's own page table, which maps nothing for users.
    fn set_kernel_address_space(&self);

    /// Entry `index` (256 to 511) of the kernel's own root page table, which every address space contains.
    fn kernel_entry(&self, index: usize) -> u64;

    /// Forgets all cached translations of `asid`.
    fn flush_address_space(&self, asid: u64);

    /// Forgets the cached translation of the page at `vaddr` in `asid`.
    fn flush_page(&self, vaddr: u64, asid: u64);

    /// Makes earlier writes to page tables visible to the translation of every address space.
    fn fence_tables(&self);

    // -- Interrupts ----------------------------------------------------------------------------------------------

    /// The highest interrupt that users can handle; `TIMER_IRQ` of the ABI is one more.
    fn max_irq(&self) -> u64;

    /// The interrupt that is to be handled now, claimed from the controller: the timer's number or a source's.
    fn claim_interrupt(&self) -> Option<u64>;

    /// Whether some interrupt waits: what preempts a long operation. Claims nothing.
    fn interrupt_pending(&self) -> bool;

    /// Lets source `irq` interrupt, or keeps it from doing so.
    fn mask_interrupt(&self, irq: u64, masked: bool);

    /// Tells the controller that `irq` may be raised again.
    fn complete_interrupt(&self, irq: u64);

    /// Sets how source `irq` signals: on an edge, or as long as the level is high.
    fn set_trigger(&self, irq: u64, edge: bool);

    // -- Time ----------------------------------------------------------------------------------------------------

    /// Arms the timer for the next tick, and ends the interrupt of the last.
    fn restart_timer(&self);

    // -- Floating point ------------------------------------------------------------------------------------------

    /// Turns the floating-point unit on or off. While it is off the user's instructions for it trap as illegal ones do.
    /// Turned on, also when it is on already, it counts as untouched.
    fn enable_fpu(&self, enabled: bool);

    /// Whether the user may have changed a register of the unit since it was turned on; only asked while it is on.
    fn fpu_touched(&self) -> bool;

    /// Stores the unit's registers; only called while it is enabled.
    fn save_fpu(&self, to: &FpuState);

    /// Loads the unit's registers, which then count as untouched; only called while it is enabled.
    fn load_fpu(&self, from: &FpuState);

    // -- Debugging -----------------------------------------------------------------------------------------------

    /// Prints one byte on the console. Only used by debug builds and while booting.
    fn put_byte(&self, byte: u8);

    /// Stops the machine for good.
    fn halt(&self) -> !;
}
