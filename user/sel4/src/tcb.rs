//! Threads.

use crate::capability::{CNode, Capability, Notification, Page, PageTable, Tcb};
use crate::error::Error;
use crate::invocation::invoke;
use crate::raw::ipc_buffer;
use baton_sel4_abi::context::USER_CONTEXT_WORDS;
use baton_sel4_abi::{CNodeCapData, CPtr, Label, MSG_REGISTERS, UserContext};

/// The spaces of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spaces {
    /// Where its faults go, as a pointer in *its* capability space; 0 for nowhere.
    pub fault_endpoint: CPtr,
    /// Root of its capability space.
    pub cspace: CNode,
    /// Guard to set in that root; 0 leaves it as it is.
    pub cspace_data: CNodeCapData,
    /// Root of its address space.
    pub vspace: PageTable,
}

impl Tcb {
    fn invoke(self, label: Label, words: &[u64], caps: &[CPtr]) -> Result<(), Error> {
        invoke(self.cptr(), label, words, caps)?;
        Ok(())
    }

    /// Sets spaces and IPC buffer. A buffer address of 0 means none, and `frame` does not count.
    ///
    /// # Errors
    /// As `seL4_TCB_Configure`.
    pub fn configure(self, spaces: &Spaces, buffer: u64, frame: Page) -> Result<(), Error> {
        self.invoke(
            Label::TcbConfigure,
            &[spaces.fault_endpoint, spaces.cspace_data.word(), 0, buffer],
            &[spaces.cspace.cptr(), spaces.vspace.cptr(), frame.cptr()],
        )
    }

    /// Sets the spaces.
    ///
    /// # Errors
    /// As `seL4_TCB_SetSpace`.
    pub fn set_space(self, spaces: &Spaces) -> Result<(), Error> {
        self.invoke(
            Label::TcbSetSpace,
            &[spaces.fault_endpoint, spaces.cspace_data.word(), 0],
            &[spaces.cspace.cptr(), spaces.vspace.cptr()],
        )
    }

    /// Sets the IPC buffer. An address of 0 means none.
    ///
    /// # Errors
    /// As `seL4_TCB_SetIPCBuffer`.
    pub fn set_ipc_buffer(self, buffer: u64, frame: Page) -> Result<(), Error> {
        self.invoke(Label::TcbSetIpcBuffer, &[buffer], &[frame.cptr()])
    }

    /// Sets the priority, at most the maximum controlled priority of `authority`.
    ///
    /// # Errors
    /// As `seL4_TCB_SetPriority`.
    pub fn set_priority(self, authority: Tcb, priority: u64) -> Result<(), Error> {
        self.invoke(Label::TcbSetPriority, &[priority], &[authority.cptr()])
    }

    /// Sets the maximum controlled priority, at most that of `authority`.
    ///
    /// # Errors
    /// As `seL4_TCB_SetMCPriority`.
    pub fn set_mc_priority(self, authority: Tcb, mcp: u64) -> Result<(), Error> {
        self.invoke(Label::TcbSetMcPriority, &[mcp], &[authority.cptr()])
    }

    /// Sets both priorities.
    ///
    /// # Errors
    /// As `seL4_TCB_SetSchedParams`.
    pub fn set_sched_params(self, authority: Tcb, mcp: u64, priority: u64) -> Result<(), Error> {
        self.invoke(
            Label::TcbSetSchedParams,
            &[mcp, priority],
            &[authority.cptr()],
        )
    }

    /// Stops the thread; what it waited for is cancelled.
    ///
    /// # Errors
    /// As `seL4_TCB_Suspend`.
    pub fn suspend(self) -> Result<(), Error> {
        self.invoke(Label::TcbSuspend, &[], &[])
    }

    /// Lets the thread run; a cancelled system call is made again.
    ///
    /// # Errors
    /// As `seL4_TCB_Resume`.
    pub fn resume(self) -> Result<(), Error> {
        self.invoke(Label::TcbResume, &[], &[])
    }

    /// Binds a notification: its signals arrive when the thread receives from any endpoint.
    ///
    /// # Errors
    /// As `seL4_TCB_BindNotification`.
    pub fn bind_notification(self, notification: Notification) -> Result<(), Error> {
        self.invoke(Label::TcbBindNotification, &[], &[notification.cptr()])
    }

    /// Unbinds its notification.
    ///
    /// # Errors
    /// As `seL4_TCB_UnbindNotification`.
    pub fn unbind_notification(self) -> Result<(), Error> {
        self.invoke(Label::TcbUnbindNotification, &[], &[])
    }

    /// Sets the base of thread-local storage (`tp`).
    ///
    /// # Errors
    /// As `seL4_TCB_SetTLSBase`.
    pub fn set_tls_base(self, base: u64) -> Result<(), Error> {
        self.invoke(Label::TcbSetTlsBase, &[base], &[])
    }

    /// Clears, then sets flags, and returns what they are.
    ///
    /// # Errors
    /// As `seL4_TCB_SetFlags`.
    pub fn set_flags(self, clear: u64, set: u64) -> Result<u64, Error> {
        let answer = invoke(self.cptr(), Label::TcbSetFlags, &[clear, set], &[])?;
        Ok(answer[0])
    }

    /// Reads the first `count` registers in the order of [`UserContext`]; the others are 0.
    ///
    /// # Errors
    /// As `seL4_TCB_ReadRegisters`.
    pub fn read_registers(self, suspend_source: bool, count: u64) -> Result<UserContext, Error> {
        let answer = invoke(
            self.cptr(),
            Label::TcbReadRegisters,
            &[u64::from(suspend_source), count],
            &[],
        )?;
        let mut words = [0; USER_CONTEXT_WORDS];
        for (index, word) in words.iter_mut().enumerate().take(count as usize) {
            *word = match answer.get(index) {
                Some(register) => *register,
                None => ipc_buffer().message_register(index),
            };
        }
        Ok(UserContext::from_words(&words))
    }

    /// Writes the first `count` registers in the order of [`UserContext`].
    ///
    /// # Errors
    /// As `seL4_TCB_WriteRegisters`.
    pub fn write_registers(
        self,
        resume_target: bool,
        count: u64,
        context: &UserContext,
    ) -> Result<(), Error> {
        let mut words = [0; USER_CONTEXT_WORDS + 2];
        words[0] = u64::from(resume_target);
        words[1] = count;
        words[2..].copy_from_slice(&context.to_words());
        let length = (count as usize).min(USER_CONTEXT_WORDS) + 2;
        self.invoke(Label::TcbWriteRegisters, &words[..length], &[])
    }

    /// Writes the whole context.
    ///
    /// # Errors
    /// As `seL4_TCB_WriteRegisters`.
    pub fn write_all_registers(
        self,
        resume_target: bool,
        context: &UserContext,
    ) -> Result<(), Error> {
        self.write_registers(resume_target, USER_CONTEXT_WORDS as u64, context)
    }

    /// Copies registers of `source`: the frame group, the integer group, or both.
    ///
    /// # Errors
    /// As `seL4_TCB_CopyRegisters`.
    pub fn copy_registers(
        self,
        source: Tcb,
        suspend_source: bool,
        resume_target: bool,
        frame: bool,
        integer: bool,
    ) -> Result<(), Error> {
        let flags = u64::from(suspend_source)
            | u64::from(resume_target) << 1
            | u64::from(frame) << 2
            | u64::from(integer) << 3;
        self.invoke(Label::TcbCopyRegisters, &[flags], &[source.cptr()])
    }
}

const _: () = assert!(MSG_REGISTERS == 4);
