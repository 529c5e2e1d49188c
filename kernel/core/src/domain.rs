//! Scheduling domains: which threads may run at all, by a schedule. Reference manual, section 6.3.
//!
//! The schedule is a list of domains, each with its ticks, that ends at an entry of zero ticks; then it starts over.

use crate::cap::Cap;
use crate::config::{DOMAIN_SCHEDULE_LENGTH, DOMAINS};
use crate::error::{Answer, Decoded, SyscallError};
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_sel4_abi::Label;

/// The most ticks that an entry can have.
const MAX_TICKS: u64 = (1 << 56) - 1;
/// The last entry, which is always an end.
const LAST: usize = DOMAIN_SCHEDULE_LENGTH - 1;

impl<'m, M: Machine> Kernel<'m, M> {
    /// Until it is told otherwise, domain 0 runs.
    pub(crate) fn boot_domains(self) {
        let [first, ..] = &self.core.schedule;
        first.set((0, MAX_TICKS));
        self.core.domain_time.set(MAX_TICKS);
    }

    /// Ticks of an entry; 0 for an end, and behind the list.
    fn schedule_ticks(self, index: usize) -> u64 {
        let entry = self.core.schedule.get(index);
        entry.map_or(0, |entry| entry.get().1)
    }

    pub(crate) fn decode_domain(self, inv: &Invocation<'m>) -> Decoded {
        match Label::from_number(inv.label) {
            Some(Label::DomainSet) => self.domain_set(inv),
            Some(Label::DomainScheduleConfigure) => self.domain_schedule_configure(inv),
            Some(Label::DomainScheduleSetStart) => self.domain_schedule_set_start(inv),
            _ => Err(SyscallError::IllegalOperation.into()),
        }
    }

    fn domain_set(self, inv: &Invocation<'m>) -> Decoded {
        inv.need(1)?;
        let domain = inv.arg::<0>();
        if domain >= DOMAINS as u64 {
            return Err(SyscallError::InvalidArgument(0).into());
        }
        let Cap::Thread { tcb } = Cap::decode(inv.extra::<0>()?.cap()) else {
            return Err(SyscallError::InvalidArgument(1).into());
        };
        self.set_domain(self.mem.get(tcb), domain);
        Ok(Answer::Empty)
    }

    fn domain_schedule_configure(self, inv: &Invocation<'m>) -> Decoded {
        inv.need(3)?;
        let (index, domain, ticks) = (inv.arg::<0>(), inv.arg::<1>(), inv.arg::<2>());
        let range = |count: usize| SyscallError::RangeError {
            min: 0,
            max: count as u64 - 1,
        };
        let entry = usize::try_from(index)
            .ok()
            .filter(|&index| index < LAST)
            .and_then(|index| self.core.schedule.get(index));
        let Some(entry) = entry else {
            return Err(range(LAST).into());
        };
        if domain >= DOMAINS as u64 {
            return Err(range(DOMAINS).into());
        }
        if ticks > MAX_TICKS {
            return Err(SyscallError::InvalidArgument(2).into());
        }
        if ticks == 0 && domain != 0 {
            return Err(SyscallError::InvalidArgument(1).into());
        }
        if ticks == 0 && index == self.core.schedule_start.get() as u64 {
            return Err(SyscallError::InvalidArgument(2).into());
        }
        entry.set((domain, ticks));
        Ok(Answer::Empty)
    }

    fn domain_schedule_set_start(self, inv: &Invocation<'m>) -> Decoded {
        inv.need(1)?;
        let index = usize::try_from(inv.arg::<0>()).unwrap_or(usize::MAX);
        if index > LAST {
            return Err(SyscallError::RangeError {
                min: 0,
                max: LAST as u64,
            }
            .into());
        }
        if self.schedule_ticks(index) == 0 {
            return Err(SyscallError::InvalidArgument(0).into());
        }
        self.core.schedule_start.set(index);
        // The running entry ends now, and the next after the last but one is an end: the schedule starts over.
        self.core.domain_time.set(0);
        self.core.schedule_index.set(LAST - 1);
        self.reschedule();
        Ok(Answer::Empty)
    }
}
