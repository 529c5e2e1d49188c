//! An invocation as its decoder sees it: label, arguments, capabilities.

use crate::error::SyscallError;
use baton_kernel_mem::{Slot, Tcb, UserWord};
use core::cell::Cell;

/// An IPC buffer in a user's frame.
pub type IpcBuffer = [UserWord; 128];

/// A message to a kernel object: of a system call, or out of a kernel lane. The decoder need not know which.
#[derive(Clone, Copy)]
pub struct Invocation<'m> {
    /// What is asked for (`baton_sel4_abi::Label`, as a number).
    pub label: u64,
    /// Message registers sent, at most 120; only the four in registers if there is no buffer.
    pub length: u64,
    /// The slot of the invoked capability.
    pub slot: &'m Slot,
    /// Slots of the capabilities that were sent along; those that there are come first.
    pub extra: [Option<&'m Slot>; 3],
    /// The first four arguments: the caller's registers, or the lane's copy.
    pub words: &'m [Cell<u64>; 4],
    /// The others: the caller's IPC buffer if it has one, or the lane's copy.
    pub buffer: Option<&'m IpcBuffer>,
    /// Who asks: the current thread.
    pub caller: &'m Tcb,
    /// Whether the caller waits for an answer.
    pub call: bool,
    /// Whether it may be blocked (for endpoints).
    pub block: bool,
}

impl<'m> Invocation<'m> {
    /// Argument `N`; 0 if it lies in a buffer that there is not.
    #[inline(always)]
    pub fn arg<const N: usize>(&self) -> u64 {
        const { assert!(N < 120) };
        match N {
            0..4 => self.words[N].get(),
            _ => self.buffer.map_or(0, |buffer| buffer[1 + N].get()),
        }
    }

    /// Argument `index`; 0 if there is none of that number.
    #[inline]
    pub fn arg_at(&self, index: usize) -> u64 {
        match self.words.get(index) {
            Some(word) => word.get(),
            None => self
                .buffer
                .and_then(|buffer| buffer.get(1 + index))
                .map_or(0, UserWord::get),
        }
    }

    /// Whether the message came out of the caller's kernel lane.
    pub fn is_asynchronous(&self) -> bool {
        !core::ptr::eq(self.words, self.caller.context.message())
    }

    /// Refuses messages of fewer than `length` words.
    #[inline(always)]
    pub fn need(&self, length: u64) -> Result<(), SyscallError> {
        if self.length < length {
            return Err(SyscallError::TruncatedMessage);
        }
        Ok(())
    }

    /// The slot of extra capability `N`, which must have been sent.
    #[inline(always)]
    pub fn extra<const N: usize>(&self) -> Result<&'m Slot, SyscallError> {
        const { assert!(N < 3) };
        self.extra[N].ok_or(SyscallError::TruncatedMessage)
    }
}
