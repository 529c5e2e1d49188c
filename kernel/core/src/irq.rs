//! Interrupts: handlers, acknowledgement, and what happens when one arrives. Reference manual, chapter 8.
//!
//! A handler is known by its number; the notification that it signals is kept as a capability in a table of slots of the
//! kernel's own, one for each interrupt. A source that signals by level is claimed until its handler acknowledges
//! it, so that it is not raised again before the device has been seen to. One that signals by edge is given back
//! to the controller at once, so that an edge that comes meanwhile is not lost; acknowledging it does nothing.

use crate::cap::Cap;
use crate::error::{Answer, Decoded, SyscallError};
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{IrqTable, Slot};
use baton_sel4_abi::{CapRights, Label, MIN_IRQ, TIMER_IRQ};

/// What an interrupt is used for, as a number in `CoreState::irq_states`.
mod state {
    /// For nothing; it is masked.
    pub(super) const INACTIVE: u8 = 0;
    /// A handler has it; it signals by level.
    pub(super) const LEVEL: u8 = 1;
    /// A handler has it; it signals by edge.
    pub(super) const EDGE: u8 = 2;
    /// It is the kernel's timer.
    pub(super) const TIMER: u8 = 3;
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// An interrupt waits: claims and handles it.
    pub(crate) fn interrupt(self) {
        // It may have gone away by itself.
        let Some(irq) = self.machine.claim_interrupt() else {
            return;
        };
        match self.irq_state(irq) {
            state::TIMER => {
                self.timer_tick();
                self.machine.restart_timer();
            }
            state::LEVEL => self.deliver_irq(irq),
            state::EDGE => {
                self.deliver_irq(irq);
                self.machine.complete_interrupt(irq);
            }
            _ => {
                self.machine.mask_interrupt(irq, true);
                self.machine.complete_interrupt(irq);
            }
        }
    }

    /// Signals the notification of a handler, if it has one.
    fn deliver_irq(self, irq: u64) {
        let cap = self.irq_slot(irq).map(|slot| Cap::decode(slot.cap()));
        if let Some(Cap::Notification {
            address,
            badge,
            rights,
        }) = cap
            && rights.contains(CapRights::WRITE)
        {
            self.send_signal(self.mem.get(address), badge);
        }
    }

    /// The slot in which the notification of that interrupt is kept.
    pub(crate) fn irq_slot(self, irq: u64) -> Option<&'m Slot> {
        let table: &IrqTable = self.mem.get_or_null(self.core.irq_table.get())?;
        table.slots.get(usize::try_from(irq).ok()?)
    }

    fn irq_state(self, irq: u64) -> u8 {
        let index = usize::try_from(irq).ok();
        let state = index.and_then(|index| self.core.irq_states.get(index));
        state.map_or(state::INACTIVE, |state| state.get())
    }

    /// Whether a user's handler has the interrupt.
    #[cfg(feature = "check")]
    pub(crate) fn irq_is_handled(self, irq: u64) -> bool {
        matches!(self.irq_state(irq), state::LEVEL | state::EDGE)
    }

    fn set_irq_state(self, irq: u64, to: u8) {
        let index = usize::try_from(irq).ok();
        if let Some(state) = index.and_then(|index| self.core.irq_states.get(index)) {
            state.set(to);
            self.machine.mask_interrupt(irq, to == state::INACTIVE);
        }
    }

    /// Takes the timer for the kernel. The table of slots is there and empty.
    pub(crate) fn boot_interrupts(self) {
        self.set_irq_state(TIMER_IRQ, state::TIMER);
    }

    /// An interrupt whose last handler was deleted is free again.
    pub(crate) fn release_irq(self, irq: u64) {
        if self.irq_state(irq) == state::LEVEL {
            // It may be claimed; nobody would give it back any more.
            self.machine.complete_interrupt(irq);
        }
        self.set_irq_state(irq, state::INACTIVE);
    }

    pub(crate) fn decode_irq_control(self, inv: &Invocation<'m>) -> Decoded {
        let (trigger, index, depth) = match Label::from_number(inv.label) {
            Some(Label::IrqIssueHandler) => {
                inv.need(3)?;
                (state::LEVEL, inv.arg::<1>(), inv.arg::<2>())
            }
            Some(Label::IrqIssueHandlerTrigger) => {
                inv.need(4)?;
                let trigger = match inv.arg::<1>() {
                    0 => state::LEVEL,
                    _ => state::EDGE,
                };
                (trigger, inv.arg::<2>(), inv.arg::<3>())
            }
            _ => return Err(SyscallError::IllegalOperation.into()),
        };
        let cnode = inv.extra::<0>()?;
        let irq = inv.arg::<0>();
        if !(MIN_IRQ..=TIMER_IRQ).contains(&irq) {
            return Err(SyscallError::RangeError {
                min: MIN_IRQ,
                max: TIMER_IRQ,
            }
            .into());
        }
        if self.irq_state(irq) != state::INACTIVE {
            return Err(SyscallError::RevokeFirst.into());
        }
        let slot = self.lookup_slot_at(Cap::decode(cnode.cap()), index, depth, false)?;
        self.ensure_empty(slot)?;
        self.machine.set_trigger(irq, trigger == state::EDGE);
        self.set_irq_state(irq, trigger);
        self.insert_cap(Cap::IrqHandler { irq }, inv.slot, slot);
        Ok(Answer::Empty)
    }

    pub(crate) fn decode_irq_handler(self, inv: &Invocation<'m>, irq: u64) -> Decoded {
        match Label::from_number(inv.label) {
            Some(Label::IrqAck) => {
                if self.irq_state(irq) == state::LEVEL {
                    self.machine.complete_interrupt(irq);
                }
            }
            Some(Label::IrqSetHandler) => {
                let source = inv.extra::<0>()?;
                let cap = Cap::decode(source.cap());
                match cap {
                    Cap::Notification { rights, .. } if rights.contains(CapRights::WRITE) => {}
                    _ => return Err(SyscallError::InvalidCapability(0).into()),
                }
                if let Some(slot) = self.irq_slot(irq) {
                    self.delete_irq_notification(slot)?;
                    self.insert_cap(cap, source, slot);
                }
            }
            Some(Label::IrqClear) => {
                if let Some(slot) = self.irq_slot(irq) {
                    self.delete_irq_notification(slot)?;
                }
            }
            _ => return Err(SyscallError::IllegalOperation.into()),
        }
        Ok(Answer::Empty)
    }
}
