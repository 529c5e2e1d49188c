//! The doors of the kernel: what the trap code calls.
//!
//! Before each call the trap code has saved the running thread's registers in its context (see
//! `baton_kernel_mem::Context`); after it, it restores those of the thread
//! that it is given, or waits for an interrupt if there is none.

use crate::config::COUNTS_ENTRIES;
use crate::fault::Fault;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{Slot, Tcb, reg};

impl<'m, M: Machine> Kernel<'m, M> {
    /// A system call (`ecall`) of `current`, the running thread; its number is in register `a7`. Any that the fast
    /// path ([`Kernel::fast_call`] and its neighbours) has not done.
    #[inline]
    pub fn handle_syscall(self, current: &'m Tcb) -> Option<&'m Tcb> {
        self.syscall(current);
        self.finish(current)
    }

    /// A `Call` of `current`, the running thread, whose capability is in `slot`.
    #[inline]
    pub fn handle_call(self, current: &'m Tcb, slot: &'m Slot) -> Option<&'m Tcb> {
        self.call(current, slot);
        self.finish(current)
    }

    /// A `Send` of `current`, the running thread, whose capability is in `slot`.
    #[inline]
    pub fn handle_send(self, current: &'m Tcb, slot: &'m Slot) -> Option<&'m Tcb> {
        self.send_found(current, slot);
        self.finish(current)
    }

    /// An interrupt: claims it from the machine and handles it. Also called when the idle core sees one.
    pub fn handle_interrupt(self) -> Option<&'m Tcb> {
        self.interrupt();
        let current = self.switch()?;
        if current.lane.get() != 0 {
            return self.finish_with_lane(current);
        }
        Some(current)
    }

    /// An exception of the running thread: `cause` as `scause` has it, `value` as `stval`.
    pub fn handle_exception(self, cause: u64, value: u64) -> Option<&'m Tcb> {
        if let Some(current) = self.current()
            && !self.wants_fpu(current, cause)
        {
            let fault = self.vm_fault(cause, value).unwrap_or(Fault::UserException {
                number: cause,
                code: 0,
            });
            self.handle_fault(current, fault);
        }
        self.switch()
    }

    /// Counts an entry, in a build that does: called first, once for each trap and each interrupt that ends the idle wait.
    #[inline(always)]
    pub fn count_entry(self) {
        if COUNTS_ENTRIES {
            let entries = &self.core.entries;
            entries.set(entries.get().wrapping_add(1));
        }
    }

    /// Says how many entries there were, this one included.
    pub(crate) fn tell_entries(self, current: &'m Tcb) {
        let entries = self.core.entries.get();
        current.context.set::<{ reg::A0 }>(entries);
    }

    /// The thread that goes on: mostly the one that has made the call.
    #[inline(always)]
    fn finish(self, current: &'m Tcb) -> Option<&'m Tcb> {
        if self.is_anything_to_schedule() {
            return self.switch();
        }
        if current.lane.get() != 0 {
            return self.finish_with_lane(current);
        }
        self.activate(current);
        Some(current)
    }

    /// The same after a few messages of the running thread's kernel lane have been performed in passing.
    #[cold]
    #[inline(never)]
    fn finish_with_lane(self, current: &'m Tcb) -> Option<&'m Tcb> {
        self.drain_in_passing(current);
        if self.is_anything_to_schedule() {
            return self.switch();
        }
        self.activate(current);
        Some(current)
    }

    /// The thread that goes on once the scheduler has done what it was asked for.
    #[inline(never)]
    pub(crate) fn switch(self) -> Option<&'m Tcb> {
        self.schedule();
        let current = self.current()?;
        self.activate(current);
        Some(current)
    }
}
