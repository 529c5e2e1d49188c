//! Interrupts.

use crate::capability::{Capability, IrqControl, IrqHandler, Notification};
use crate::cnode::Slot;
use crate::error::Error;
use crate::invocation::invoke;
use baton_sel4_abi::Label;

/// When an interrupt counts as raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Trigger {
    /// As long as the device asserts it.
    Level = 0,
    /// Once each time that the device asserts it.
    Edge = 1,
}

impl IrqControl {
    /// Makes a handler of interrupt `irq`.
    ///
    /// # Errors
    /// As `seL4_IRQControl_Get`.
    pub fn handler(self, irq: u64, dest: Slot) -> Result<(), Error> {
        invoke(
            self.cptr(),
            Label::IrqIssueHandler,
            &[irq, dest.index, dest.depth],
            &[dest.root.cptr()],
        )?;
        Ok(())
    }

    /// Makes a handler of interrupt `irq` with a trigger.
    ///
    /// # Errors
    /// As `seL4_IRQControl_GetTrigger`.
    pub fn handler_with_trigger(self, irq: u64, trigger: Trigger, dest: Slot) -> Result<(), Error> {
        invoke(
            self.cptr(),
            Label::IrqIssueHandlerTrigger,
            &[irq, trigger as u64, dest.index, dest.depth],
            &[dest.root.cptr()],
        )?;
        Ok(())
    }
}

impl IrqHandler {
    /// The interrupt was handled; the next may come.
    ///
    /// # Errors
    /// As `seL4_IRQHandler_Ack`.
    pub fn acknowledge(self) -> Result<(), Error> {
        invoke(self.cptr(), Label::IrqAck, &[], &[])?;
        Ok(())
    }

    /// Sets what the interrupt signals.
    ///
    /// # Errors
    /// As `seL4_IRQHandler_SetNotification`.
    pub fn set_notification(self, notification: Notification) -> Result<(), Error> {
        invoke(
            self.cptr(),
            Label::IrqSetHandler,
            &[],
            &[notification.cptr()],
        )?;
        Ok(())
    }

    /// The interrupt signals nothing any more.
    ///
    /// # Errors
    /// As `seL4_IRQHandler_Clear`.
    pub fn clear(self) -> Result<(), Error> {
        invoke(self.cptr(), Label::IrqClear, &[], &[])?;
        Ok(())
    }
}
