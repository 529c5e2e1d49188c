//! The state of a core, and the kernel as one entry sees it.

use crate::cancel::Cancellation;
use crate::config::{DOMAIN_SCHEDULE_LENGTH, DOMAINS, PRIORITIES};
use crate::machine::Machine;
use baton_kernel_mem::{Memory, Paddr, Tcb};
use core::cell::Cell;

/// A queue of threads by address: ready threads of one priority.
pub(crate) struct Queue {
    pub(crate) head: Cell<Paddr>,
    pub(crate) tail: Cell<Paddr>,
}

impl Queue {
    const fn new() -> Self {
        Queue {
            head: Cell::new(Paddr::NULL),
            tail: Cell::new(Paddr::NULL),
        }
    }
}

/// Everything that a core remembers between kernel entries; everything else is in objects.
///
/// What most entries touch stands first, within reach of one load.
#[repr(C)]
pub struct CoreState {
    /// The running thread; null while the core idles.
    pub(crate) current: Cell<Paddr>,
    /// What the scheduler is to do before the kernel is left; see `scheduler.rs`.
    pub(crate) action: Cell<u64>,
    /// Whose registers are in the floating-point unit; null if nobody's. See `fpu.rs`.
    pub(crate) fpu_owner: Cell<Paddr>,
    /// Counts up whenever some thread's address space may have ended or changed, so that what TCBs remember of
    /// theirs is not used any more.
    pub(crate) space_epoch: Cell<u64>,
    /// The running domain.
    pub(crate) domain: Cell<u64>,
    /// Ticks that are left to it.
    pub(crate) domain_time: Cell<u64>,
    /// Where the domain schedule is.
    pub(crate) schedule_index: Cell<usize>,
    /// Where it starts over.
    pub(crate) schedule_start: Cell<usize>,
    /// For each domain one more than the highest priority that has ready threads; 0 if none has.
    pub(crate) ready_top: [Cell<u64>; DOMAINS],
    /// For each domain which priorities have ready threads.
    pub(crate) ready_bits: [[Cell<u64>; PRIORITIES / 64]; DOMAINS],
    /// ASID pools by the upper bits of the identifier.
    pub(crate) asid_pools: [Cell<Paddr>; 1 << baton_sel4_abi::NUM_ASID_POOLS_BITS],
    /// Ready threads.
    pub(crate) ready: [[Queue; PRIORITIES]; DOMAINS],
    /// The table of interrupt slots, a CNode of the kernel's own.
    pub(crate) irq_table: Cell<Paddr>,
    /// What each interrupt is used for; see `irq.rs`.
    pub(crate) irq_states: [Cell<u8>; 128],
    /// The domain schedule: domain and ticks.
    pub(crate) schedule: [Cell<(u64, u64)>; DOMAIN_SCHEDULE_LENGTH],
    /// The cancellation of badged sends that was preempted last.
    pub(crate) cancellation: Cancellation,
    /// How often the kernel has been entered, if that is counted.
    pub(crate) entries: Cell<u64>,
    /// The list of all threads, for debugging.
    #[cfg_attr(
        not(feature = "debug"),
        allow(dead_code, reason = "only debug builds keep it")
    )]
    pub(crate) all_threads: Cell<Paddr>,
}

impl CoreState {
    /// A core that has not booted: it idles, and every interrupt is off.
    pub const fn new() -> Self {
        CoreState {
            current: Cell::new(Paddr::NULL),
            action: Cell::new(0),
            fpu_owner: Cell::new(Paddr::NULL),
            // A new TCB remembers nothing: its epoch is 0.
            space_epoch: Cell::new(1),
            domain: Cell::new(0),
            domain_time: Cell::new(0),
            schedule_index: Cell::new(0),
            schedule_start: Cell::new(0),
            ready_top: [const { Cell::new(0) }; DOMAINS],
            ready_bits: [const { [const { Cell::new(0) }; PRIORITIES / 64] }; DOMAINS],
            ready: [const { [const { Queue::new() }; PRIORITIES] }; DOMAINS],
            irq_table: Cell::new(Paddr::NULL),
            irq_states: [const { Cell::new(0) }; 128],
            asid_pools: [const { Cell::new(Paddr::NULL) };
                1 << baton_sel4_abi::NUM_ASID_POOLS_BITS],
            schedule: [const { Cell::new((0, 0)) }; DOMAIN_SCHEDULE_LENGTH],
            cancellation: Cancellation::new(),
            entries: Cell::new(0),
            all_threads: Cell::new(Paddr::NULL),
        }
    }
}

impl Default for CoreState {
    fn default() -> Self {
        Self::new()
    }
}

/// The kernel during one entry: the core's state, the memory, the hardware.
///
/// `'m` is the entry: handles to objects live as long, and no longer.
pub struct Kernel<'m, M> {
    /// State of the core.
    pub core: &'m CoreState,
    /// Where objects and frames are.
    pub mem: &'m Memory,
    /// The processor.
    pub machine: &'m M,
}

impl<M> Clone for Kernel<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Kernel<'_, M> {}

impl<'m, M: Machine> Kernel<'m, M> {
    /// The running thread: whose registers are to be restored when the kernel is left. None while the core idles,
    /// which then waits for an interrupt.
    #[inline(always)]
    pub fn current(self) -> Option<&'m Tcb> {
        self.mem.get_or_null(self.core.current.get())
    }
}
