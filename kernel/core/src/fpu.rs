//! The floating-point unit: whose registers are in it, and who may use it.
//!
//! A thread that does not use the unit costs nothing: it runs with the unit off, and its first instruction for it traps.
//! From then on the thread is a *user* of the unit, whose registers are loaded when it is switched to, so that one that
//! computes all the time never traps again. A user that has not touched the unit in a whole turn is none any more.
//!
//! ```text
//!              traps for the unit                    switched away, touched
//!   no user ─────────────────────────▶ user, running ────────────────────────▶ user, waiting
//!      ▲                                   │     ▲                                  │
//!      └──── switched away, untouched ─────┘     └───────── switched to ────────────┘
//! ```
//!
//! Invariants: the unit is on while, and only while, the running thread is a user; then its registers are in it.
//! Otherwise the registers of `CoreState::fpu_owner` are in it, if that is not null; those of all others
//! are in their TCBs. Neighbours: `scheduler` switches, `entry` brings the traps.

use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{Paddr, Tcb};
use baton_sel4_abi::TCB_FLAG_FPU_DISABLED;

/// `scause` of an instruction that is illegal, or is one for a unit that is off.
const ILLEGAL_INSTRUCTION: u64 = 2;

impl<'m, M: Machine> Kernel<'m, M> {
    /// Hands the unit over from the thread that ran to the one that is to run.
    #[inline(always)]
    pub(crate) fn switch_fpu(self, from: Option<&'m Tcb>, to: &'m Tcb) {
        let was_used = from.map_or(0, |from| from.uses_fpu.get());
        if was_used | to.uses_fpu.get() != 0 {
            self.hand_fpu_over(from, to);
        }
    }

    /// The same, if one of them is a user of the unit.
    #[inline]
    pub(crate) fn hand_fpu_over(self, from: Option<&'m Tcb>, to: &'m Tcb) {
        match from {
            Some(from) if from.uses_fpu.get() != 0 => {
                if !self.machine.fpu_touched() {
                    from.uses_fpu.set(0);
                }
                if to.uses_fpu.get() == 0 {
                    self.machine.enable_fpu(false);
                    return;
                }
            }
            _ => self.machine.enable_fpu(true),
        }
        self.fill_fpu(to);
    }

    /// Turns the unit off behind a thread that ran.
    pub(crate) fn leave_fpu(self, from: &'m Tcb) {
        if from.uses_fpu.get() != 0 {
            if !self.machine.fpu_touched() {
                from.uses_fpu.set(0);
            }
            self.machine.enable_fpu(false);
        }
    }

    /// Puts the thread's registers into the unit, which is on.
    #[inline]
    fn fill_fpu(self, tcb: &'m Tcb) {
        let (owner, address) = (self.core.fpu_owner.get(), self.mem.address(tcb));
        if owner == address {
            // They still are in it, and count as untouched from now on.
            self.machine.enable_fpu(true);
            return;
        }
        if let Some(owner) = self.mem.get_or_null::<Tcb>(owner) {
            self.machine.save_fpu(&owner.fpu);
        }
        self.machine.load_fpu(&tcb.fpu);
        self.core.fpu_owner.set(address);
    }

    /// Whether the exception only says that the running thread wants the unit, which it then has.
    pub(crate) fn wants_fpu(self, current: &'m Tcb, cause: u64) -> bool {
        if cause != ILLEGAL_INSTRUCTION
            || current.uses_fpu.get() != 0
            || current.flags.get() & TCB_FLAG_FPU_DISABLED != 0
        {
            return false;
        }
        // If it was another instruction that is illegal, it traps once more.
        current.uses_fpu.set(1);
        self.machine.enable_fpu(true);
        self.fill_fpu(current);
        true
    }

    /// Takes the unit from a thread, whose registers then are in its TCB.
    pub(crate) fn release_fpu(self, tcb: &'m Tcb) {
        tcb.uses_fpu.set(0);
        if self.core.fpu_owner.get() == self.mem.address(tcb) {
            // No other thread can have it on: it would be the owner.
            self.machine.enable_fpu(true);
            self.machine.save_fpu(&tcb.fpu);
            self.machine.enable_fpu(false);
            self.core.fpu_owner.set(Paddr::NULL);
        }
    }
}
