//! The doors of the kernel: what the trap code calls.
//!
//! Before each call the trap code has saved the running thread's registers in its context (see
//! `baton_kernel_mem::Context`); after it, it restores those of [`Kernel::current`], or waits for an interrupt if there is none.

use crate::fault::Fault;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::Slot;

impl<'m, M: Machine> Kernel<'m, M> {
    /// A system call (`ecall`) of the running thread; its number is in register `a7`. Any that the fast
    /// path ([`Kernel::fast_call`], [`Kernel::fast_reply_recv`]) has not done.
    #[inline]
    pub fn handle_syscall(self) {
        self.syscall();
        self.schedule();
        self.activate();
    }

    /// A `Call` of the running thread whose capability is in `slot`.
    #[inline]
    pub fn handle_call(self, slot: &'m Slot) {
        self.call(slot);
        self.schedule();
        self.activate();
    }

    /// An interrupt: claims it from the machine and handles it. Also called when the idle core sees one.
    pub fn handle_interrupt(self) {
        self.interrupt();
        self.schedule();
        self.activate();
    }

    /// An exception of the running thread: `cause` as `scause` has it, `value` as `stval`.
    pub fn handle_exception(self, cause: u64, value: u64) {
        if let Some(current) = self.current() {
            if self.wants_fpu(current, cause) {
                return;
            }
            let fault = self.vm_fault(cause, value).unwrap_or(Fault::UserException {
                number: cause,
                code: 0,
            });
            self.handle_fault(current, fault);
        }
        self.schedule();
        self.activate();
    }
}
