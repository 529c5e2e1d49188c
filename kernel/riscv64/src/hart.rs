//! Everything that a hart remembers, in one place: more harts are more of these.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use baton_kernel_core::mem::Memory;
use baton_kernel_core::{CoreState, Kernel};

use crate::machine::Riscv;

/// The state of one hart. The core's, which is large, comes last, so that one register reaches all that most traps need.
#[repr(C)]
struct Hart {
    /// Made by [`prepare`], before the first trap.
    memory: MaybeUninit<Memory>,
    /// Made by [`prepare`], before the first trap.
    machine: MaybeUninit<Riscv>,
    core: CoreState,
}

struct Global(UnsafeCell<Hart>);

// SAFETY: one hart runs the kernel, one trap at a time, with interrupts off (`entry.rs`); an exception inside the kernel
// does not return.
unsafe impl Sync for Global {}

static HART: Global = Global(UnsafeCell::new(Hart {
    memory: MaybeUninit::uninit(),
    machine: MaybeUninit::uninit(),
    core: CoreState::new(),
}));

/// One entry into the kernel, from the trap to the way out.
pub struct Entry<'m> {
    kernel: Kernel<'m, Riscv>,
}

impl<'m> Entry<'m> {
    /// The kernel, for this entry.
    #[inline(always)]
    pub fn kernel(&self) -> Kernel<'m, Riscv> {
        self.kernel
    }
}

/// The state of this hart, for one entry.
///
/// # Safety
/// [`prepare`] has been called, and no other [`Entry`] lives: only the code that `entry.rs` calls may call this, once.
#[inline(always)]
pub unsafe fn hart<'m>() -> Entry<'m> {
    // SAFETY: the caller's promise; shared references only, to cells.
    let hart = unsafe { &*HART.0.get() };
    Entry {
        kernel: Kernel {
            core: &hart.core,
            // SAFETY: `prepare` has written them.
            mem: unsafe { hart.memory.assume_init_ref() },
            // SAFETY: as above.
            machine: unsafe { hart.machine.assume_init_ref() },
        },
    }
}

/// Sets the hart up.
///
/// # Safety
/// Called once, before [`hart`].
pub unsafe fn prepare(memory: Memory, machine: Riscv) {
    // SAFETY: nothing else refers to it yet.
    let hart = unsafe { &mut *HART.0.get() };
    hart.memory.write(memory);
    hart.machine.write(machine);
}
