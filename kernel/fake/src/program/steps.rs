//! The steps of a program: what the running thread, or a device, does next.

use super::Run;
use super::invocations::Message;
use super::reached::Outcome;
use super::toys::{IRQS, PAGES};
use crate::Access;
use baton_kernel_core::cap::Cap;
use baton_kernel_core::mem::{Tcb, reg};
use baton_sel4_abi::message::ipc_buffer;
use baton_sel4_abi::{MessageInfo, Syscall};

/// Calls that send to what a capability names.
const SENDS: [Syscall; 3] = [Syscall::Call, Syscall::Send, Syscall::NBSend];

/// All that seL4 has, but for those of debug kernels.
const SYSCALLS: [Syscall; 8] = [
    Syscall::Call,
    Syscall::ReplyRecv,
    Syscall::Send,
    Syscall::NBSend,
    Syscall::Recv,
    Syscall::Reply,
    Syscall::Yield,
    Syscall::NBRecv,
];

/// How often a call that is preempted is made again at once.
const MOST_ATTEMPTS: u32 = 200;

impl Run<'_> {
    /// Does one thing. False if nothing can run any more.
    pub(super) fn step(&mut self) -> bool {
        for _ in 0..4 {
            if !self.toys.fake.is_idle() {
                break;
            }
            self.device();
        }
        if self.toys.fake.is_idle() {
            return false;
        }
        match self.input.below(28) {
            0..=11 => self.invoke(),
            12..=16 => self.communicate(),
            17 => self.anything(),
            18 | 19 => self.device(),
            20 => self.exception(),
            21 => self.write_buffer(),
            24.. => self.use_lane(),
            _ => self.touch_memory(),
        }
        true
    }

    /// An invocation that makes sense, or nearly.
    fn invoke(&mut self) {
        let message = self.invocation();
        let call = match self.input.below(8) {
            0 => self.input.pick(&SENDS),
            _ => Syscall::Call,
        };
        let cap = self.toys.cap_in(message.cap);
        let caller = self.toys.fake.current_address();
        self.send(call, &message);
        let ipc = matches!(
            cap,
            Cap::Endpoint { .. } | Cap::Notification { .. } | Cap::Reply { .. }
        );
        if call == Syscall::Call && !ipc {
            let tcb: &Tcb = self.toys.fake.kernel().mem.get(caller);
            self.reached.note_invocation(message.label, outcome(tcb));
        }
    }

    /// A call that sends or receives.
    fn communicate(&mut self) {
        let call = self.input.pick(&SYSCALLS);
        let receives = matches!(call, Syscall::Recv | Syscall::NBRecv | Syscall::ReplyRecv);
        let message = Message {
            cap: if receives { self.source() } else { self.slot() },
            label: self.input.below(4),
            words: (0..self.input.below(9))
                .map(|_| self.input.word())
                .collect(),
            caps: (0..self.input.below(4)).map(|_| self.slot()).collect(),
        };
        self.send(call, &message);
    }

    /// Puts a message into registers and buffer, as far as the thread has one, and traps.
    pub(super) fn send(&mut self, call: Syscall, message: &Message) {
        let tcb = self.toys.fake.current();
        let buffer = self.toys.fake.buffer(tcb);
        for (index, &word) in message.words.iter().enumerate() {
            match (index, buffer) {
                (0..4, _) => tcb.context.write(reg::A2 + index, word),
                (_, Some(buffer)) => buffer[ipc_buffer::MSG + index].set(word),
                (_, None) => {}
            }
        }
        if let Some(buffer) = buffer {
            for (index, &cap) in message.caps.iter().enumerate() {
                buffer[ipc_buffer::CAPS_OR_BADGES + index].set(cap);
            }
        }
        let (caps, words) = (message.caps.len() as u64, message.words.len() as u64);
        let info = MessageInfo::new(message.label, 0, caps, words);
        self.enter(call.number() as u64, message.cap, info.word());
    }

    /// Registers of any content.
    fn anything(&mut self) {
        let number = match self.input.below(4) {
            0 => self.input.word() as i64,
            1 => -1 - i64::from(self.input.byte()),
            // Baton's own.
            2 => Syscall::FIRST_OF_BATON - i64::from(self.input.byte() % 4),
            _ => self.input.pick(&SYSCALLS).number(),
        };
        // Stopping the machine is what a debug kernel does when it is told to.
        if number == Syscall::DebugHalt.number() {
            return;
        }
        let tcb = self.toys.fake.current();
        for register in reg::A2..reg::A2 + 4 {
            tcb.context.write(register, self.input.word());
        }
        let cap = self.slot();
        let info = match self.input.below(2) {
            0 => self.input.raw(),
            _ => {
                let label = self.input.below(48);
                let caps = self.input.below(4);
                MessageInfo::new(label, self.input.below(8), caps, self.input.below(128)).word()
            }
        };
        self.enter(number as u64, cap, info);
    }

    /// Traps with these registers, and as hardware would again where the call was preempted, once interrupts are taken.
    pub(super) fn enter(&mut self, number: u64, cap: u64, info: u64) {
        if self.input.below(8) == 0 {
            let looks = self.input.below(4);
            self.toys.fake.hardware.raise_timer_after_looks(looks);
        }
        let fake = &self.toys.fake;
        let tcb = fake.current();
        tcb.context.set::<{ reg::A7 }>(number);
        tcb.context.set::<{ reg::A0 }>(cap);
        tcb.context.set::<{ reg::A1 }>(info);
        self.reached.note_syscall(number as i64);
        let caller = fake.current_address();
        for _ in 0..MOST_ATTEMPTS {
            let start = tcb.context.get::<{ reg::NEXT_PC }>();
            self.before_entry();
            self.reached.note_entry();
            let fake = &self.toys.fake;
            fake.enter();
            let again = !fake.is_idle()
                && fake.current_address() == caller
                && tcb.context.get::<{ reg::NEXT_PC }>() == start
                && tcb.context.get::<{ reg::A7 }>() == number;
            if !again || self.input.below(8) == 1 {
                break;
            }
            fake.take_interrupts();
            if fake.is_idle() || fake.current_address() != caller {
                break;
            }
        }
        self.reached.note_state(tcb.state.get() & 0xf);
    }

    /// A tick, or a device's interrupt.
    fn device(&mut self) {
        self.before_entry();
        self.reached.note_entry();
        let fake = &self.toys.fake;
        match self.input.below(4) {
            0 => fake.interrupt(self.input.pick(&IRQS)),
            1 => fake.hardware.lower(self.input.pick(&IRQS)),
            2 => fake.ticks(self.input.below(8)),
            _ => fake.tick(),
        }
    }

    fn exception(&mut self) {
        let (cause, value) = (self.input.below(20), self.input.word());
        self.before_entry();
        self.reached.note_entry();
        self.toys.fake.exception(cause, value);
    }

    /// A word of the running thread's IPC buffer, if hardware lets it: also where it wants to receive a capability.
    fn write_buffer(&mut self) {
        let (index, any) = (self.input.below(128) as usize, self.input.word());
        let receive = (super::toys::ROOT, self.slot(), super::toys::DEPTH);
        let fake = &self.toys.fake;
        let Some(buffer) = fake.buffer(fake.current()) else {
            return;
        };
        if index < 64 {
            buffer[ipc_buffer::RECEIVE_CNODE].set(receive.0);
            buffer[ipc_buffer::RECEIVE_INDEX].set(receive.1);
            buffer[ipc_buffer::RECEIVE_DEPTH].set(receive.2);
        } else {
            buffer[index].set(any);
        }
    }

    /// The running thread accesses memory, or uses floating point: what is cached of it must not outlive the mapping.
    fn touch_memory(&mut self) {
        let pages = self.input.below(16) << 12;
        let vaddr = match self.input.below(4) {
            0 => self.input.word(),
            _ => PAGES + pages,
        };
        let access = self
            .input
            .pick(&[Access::Load, Access::Store, Access::Fetch]);
        let fake = &self.toys.fake;
        if self.input.below(4) == 0 {
            self.before_entry();
            fake.set_fpu_register(0, vaddr);
            if fake.is_idle() {
                return;
            }
        }
        if let Err(fault) = fake.translate(access, vaddr)
            && self.input.below(2) == 0
        {
            self.before_entry();
            self.reached.note_entry();
            self.toys.fake.fault(fault);
        }
    }
}

/// What became of the invocation that this thread has made.
fn outcome(caller: &Tcb) -> Outcome {
    use baton_kernel_core::ThreadState;
    let state = ThreadState::of(caller);
    let context = &caller.context;
    if state != ThreadState::RUNNING && state != ThreadState::RESTART {
        Outcome::Stopped
    } else if context.get::<{ reg::NEXT_PC }>() == context.get::<{ reg::PC }>() {
        Outcome::Again
    } else {
        match MessageInfo::from_word(context.get::<{ reg::A1 }>()).label() {
            0 => Outcome::Done,
            error => Outcome::Refused(error),
        }
    }
}
