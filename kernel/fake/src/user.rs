//! System calls of the running thread, as user programs make them.

use crate::Fake;
use baton_kernel_core::mem::{Paddr, Tcb, UserWord, reg};
use baton_kernel_core::{Fast, SyscallRegisters};
use baton_sel4_abi::message::ipc_buffer;
use baton_sel4_abi::{BatonCall, Error, Label, MessageInfo, Syscall};

/// A message to be sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// Label: what is asked for.
    pub label: u64,
    /// Message registers.
    pub words: &'a [u64],
    /// Capability pointers that are sent along.
    pub caps: &'a [u64],
}

/// What a thread finds in its registers and IPC buffer after a system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Badge of the sender.
    pub badge: u64,
    /// Message info.
    pub info: MessageInfo,
    /// Message registers, as many as the message info says.
    pub words: Vec<u64>,
}

impl Reply {
    /// The error that an invocation was refused with.
    pub fn error(&self) -> Option<Error> {
        Error::from_label(self.info.label())
    }

    /// The words of a successful invocation.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn result(self) -> Result<Vec<u64>, Error> {
        match self.error() {
            Some(error) => Err(error),
            None => Ok(self.words),
        }
    }
}

impl Fake {
    /// The running thread's IPC buffer, if hardware lets it write there.
    pub(crate) fn buffer(&self, tcb: &Tcb) -> Option<&[UserWord; ipc_buffer::WORDS]> {
        let vaddr = tcb.ipc_buffer.get();
        let at = self.translate(crate::Access::Store, vaddr).ok()?;
        self.kernel().mem.user_words(Paddr::new(at))
    }

    /// The running thread makes a system call; returns when the kernel has chosen who runs next.
    ///
    /// A call that the kernel has preempted is not repeated here; see [`Fake::invoke`].
    ///
    /// # Panics
    /// If the message does not fit, or the core idles.
    pub fn syscall(&self, syscall: Syscall, cap: u64, message: Message<'_>) {
        let tcb = self.current();
        let buffer = self.buffer(tcb);
        let info = MessageInfo::new(
            message.label,
            0,
            message.caps.len() as u64,
            message.words.len() as u64,
        );
        tcb.context.set::<{ reg::A7 }>(syscall.number() as u64);
        tcb.context.set::<{ reg::A0 }>(cap);
        tcb.context.set::<{ reg::A1 }>(info.word());
        let registers = [reg::A2, reg::A2 + 1, reg::A2 + 2, reg::A2 + 3];
        for (index, &word) in message.words.iter().enumerate() {
            match (registers.get(index), buffer) {
                (Some(&register), _) => tcb.context.write(register, word),
                (None, Some(buffer)) => buffer[ipc_buffer::MSG + index].set(word),
                (None, None) => panic!("a long message, and no IPC buffer"),
            }
        }
        for (index, &cap) in message.caps.iter().enumerate() {
            let buffer = buffer.expect("an IPC buffer for capabilities");
            buffer[ipc_buffer::CAPS_OR_BADGES + index].set(cap);
        }
        self.enter();
    }

    /// The running thread executes `ecall` with its registers as they are.
    pub fn enter(&self) {
        self.trap(true);
        let kernel = self.kernel();
        let Some(current) = kernel.current() else {
            return;
        };
        let registers = &current.context;
        let call = SyscallRegisters {
            pointer: registers.get::<{ reg::A0 }>(),
            info: registers.get::<{ reg::A1 }>(),
        };
        let number = registers.get::<{ reg::A7 }>() as i64;
        let of_baton = BatonCall::from_number(number);
        let number = Syscall::from_number(number);
        let fast = match number {
            _ if self.slow_only.get() => Fast::Slow,
            Some(Syscall::Call) => kernel.fast_call(current, call),
            Some(Syscall::ReplyRecv) => kernel.fast_reply_recv(current, call),
            Some(Syscall::Send) => kernel.fast_send(current, call),
            _ if of_baton == Some(BatonCall::SignalPark) => kernel.fast_signal_park(current, call),
            _ => Fast::Slow,
        };
        match fast {
            Fast::Unfinished(resume) => {
                self.fast_calls.set(self.fast_calls.get() + 1);
                kernel.finish_fast(current, resume);
            }
            Fast::Done(resume) => {
                self.fast_calls.set(self.fast_calls.get() + 1);
                resume.thread.context.set::<{ reg::A0 }>(resume.badge);
                resume.thread.context.set::<{ reg::A1 }>(resume.info);
            }
            Fast::Found(slot) => {
                let _ = match number {
                    Some(Syscall::Send) => kernel.handle_send(current, slot),
                    _ => kernel.handle_call(current, slot),
                };
            }
            Fast::Slow => {
                let _ = kernel.handle_syscall(current);
            }
        }
        self.check_entry();
    }

    /// Keeps system calls from the fast path from now on, or lets them on it again.
    pub fn set_slow_only(&self, slow_only: bool) {
        self.slow_only.set(slow_only);
    }

    /// How many system calls the fast path has done.
    pub fn fast_calls(&self) -> u64 {
        self.fast_calls.get()
    }

    /// The running thread reads a floating-point register; nothing if that faults.
    pub fn fpu_register(&self, number: usize) -> Option<u64> {
        self.touch_fpu();
        self.hardware.fpu_register(number)
    }

    /// The running thread writes a floating-point register; false if that faults.
    pub fn set_fpu_register(&self, number: usize, value: u64) -> bool {
        self.touch_fpu();
        self.hardware.set_fpu_register(number, value)
    }

    /// What the running thread has got.
    pub fn reply(&self) -> Reply {
        let tcb = self.current();
        let info = MessageInfo::from_word(tcb.context.get::<{ reg::A1 }>());
        let buffer = self.buffer(tcb);
        let word = |index: usize| match (index, buffer) {
            (0..4, _) => tcb.context.read(reg::A2 + index),
            (_, Some(buffer)) => buffer[ipc_buffer::MSG + index].get(),
            (_, None) => 0,
        };
        Reply {
            badge: tcb.context.get::<{ reg::A0 }>(),
            info,
            words: (0..info.length() as usize).map(word).collect(),
        }
    }

    /// The running thread invokes a kernel object and goes on running: the words of the answer.
    ///
    /// A call that is preempted is made again, as hardware would, after the interrupt was handled.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Panics
    /// If another thread runs when the call is done.
    pub fn invoke(
        &self,
        cap: u64,
        label: Label,
        words: &[u64],
        caps: &[u64],
    ) -> Result<Vec<u64>, Error> {
        let caller = self.current_address();
        let start = self.current().context.get::<{ reg::NEXT_PC }>();
        let message = Message {
            label: label.number(),
            words,
            caps,
        };
        self.syscall(Syscall::Call, cap, message);
        let mut rounds = 0;
        while self.current().context.get::<{ reg::NEXT_PC }>() == start {
            self.take_interrupts();
            assert_eq!(self.current_address(), caller, "preempted for good");
            self.enter();
            rounds += 1;
            assert!(rounds < 1_000_000, "an operation without an end");
        }
        assert_eq!(self.current_address(), caller, "another thread runs");
        self.reply().result()
    }

    /// Sets the three words of the running thread's IPC buffer that say where a capability is to be received.
    ///
    /// # Panics
    /// If it has no IPC buffer.
    pub fn set_receive_path(&self, cnode: u64, index: u64, depth: u64) {
        let buffer = self.buffer(self.current()).expect("an IPC buffer");
        buffer[ipc_buffer::RECEIVE_CNODE].set(cnode);
        buffer[ipc_buffer::RECEIVE_INDEX].set(index);
        buffer[ipc_buffer::RECEIVE_DEPTH].set(depth);
    }

    /// A word of the running thread's IPC buffer (`baton_sel4_abi::message::ipc_buffer`).
    ///
    /// # Panics
    /// If it has no IPC buffer.
    pub fn buffer_word(&self, index: usize) -> u64 {
        self.buffer(self.current()).expect("an IPC buffer")[index].get()
    }
}
