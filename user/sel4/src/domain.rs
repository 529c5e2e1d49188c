//! Domains.

use crate::capability::{Capability, DomainSet, Tcb};
use crate::error::Error;
use crate::invocation::invoke;
use baton_sel4_abi::Label;

impl DomainSet {
    /// Puts a thread into a domain.
    ///
    /// # Errors
    /// As `seL4_DomainSet_Set`.
    pub fn set(self, domain: u64, thread: Tcb) -> Result<(), Error> {
        invoke(self.cptr(), Label::DomainSet, &[domain], &[thread.cptr()])?;
        Ok(())
    }

    /// Changes entry `index` of the schedule: `domain` runs for `duration` ticks. A duration of 0 ends the schedule.
    ///
    /// # Errors
    /// As `seL4_DomainSet_ScheduleConfigure`.
    pub fn schedule_configure(self, index: u64, domain: u64, duration: u64) -> Result<(), Error> {
        invoke(
            self.cptr(),
            Label::DomainScheduleConfigure,
            &[index, domain, duration],
            &[],
        )?;
        Ok(())
    }

    /// Sets where the schedule starts, and starts there.
    ///
    /// # Errors
    /// As `seL4_DomainSet_ScheduleSetStart`.
    pub fn schedule_set_start(self, index: u64) -> Result<(), Error> {
        invoke(self.cptr(), Label::DomainScheduleSetStart, &[index], &[])?;
        Ok(())
    }
}
