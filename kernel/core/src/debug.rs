//! Debug system calls, and the list of all threads that they print. Only debug kernels have them: in others the
//! numbers are unknown, and a thread is neither listed nor named.
//!
//! They are for people who look for a mistake in a program, so they report on the console what they cannot do, and go
//! on.

use crate::cap::Cap;
use crate::fault::Fault;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{Paddr, Slot, Tcb, UserWord, reg, tcb_slot};
use baton_sel4_abi::Syscall;
use baton_sel4_abi::message::ipc_buffer;
use core::fmt::{self, Write};

/// The console, as something that can be written to.
struct Console<'m, M>(&'m M);

impl<M: Machine> Write for Console<'_, M> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.0.put_byte(byte));
        Ok(())
    }
}

/// A thread's name, and where it is.
struct Name<'m> {
    tcb: &'m Tcb,
    address: Paddr,
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} \"", self.address)?;
        let bytes = self
            .tcb
            .name
            .iter()
            .flat_map(|word| word.get().to_le_bytes());
        for byte in bytes.take_while(|&byte| byte != 0) {
            let shown = match byte {
                b' '..=b'~' => char::from(byte),
                _ => '?',
            };
            f.write_char(shown)?;
        }
        f.write_char('"')
    }
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Performs a debug system call of the running thread; false if it is none, or this kernel has none.
    pub(crate) fn debug_syscall(self, current: &'m Tcb, call: Syscall) -> bool {
        if !cfg!(feature = "debug") {
            return false;
        }
        let argument = current.context.get::<{ reg::A0 }>();
        match call {
            Syscall::DebugPutChar => self.machine.put_byte(argument as u8),
            Syscall::DebugDumpScheduler => self.dump_threads(),
            Syscall::DebugHalt => {
                self.say(format_args!("halted by {}\n", self.name_of(current)));
                self.machine.halt()
            }
            Syscall::DebugCapIdentify => {
                let cap = match self.lookup_slot(current, argument) {
                    Ok(slot) => Cap::decode(slot.cap()),
                    Err(_) => Cap::Null,
                };
                current.context.set::<{ reg::A0 }>(number_of(cap));
            }
            Syscall::DebugSnapshot => self.dump_capabilities(),
            Syscall::DebugNameThread => self.name_thread(current, argument),
            _ => return false,
        }
        true
    }

    /// Says that a thread has faulted and nobody hears of it.
    pub(crate) fn report_unhandled(self, tcb: &'m Tcb, fault: Fault) {
        if cfg!(feature = "debug") {
            let pc = tcb.context.get::<{ reg::PC }>();
            let name = self.name_of(tcb);
            self.say(format_args!(
                "{name} has stopped at {pc:#x}, for its fault has no handler: {fault:x?}\n"
            ));
        }
    }

    fn say(self, text: fmt::Arguments<'_>) {
        // The console never refuses.
        let _ = Console(self.machine).write_fmt(text);
    }

    fn name_of(self, tcb: &'m Tcb) -> Name<'m> {
        let address = self.mem.address(tcb);
        Name { tcb, address }
    }

    /// All threads, the youngest first.
    fn threads(self) -> impl Iterator<Item = &'m Tcb> {
        let first = self.mem.get_or_null::<Tcb>(self.core.all_threads.get());
        core::iter::successors(first, move |tcb| {
            self.mem.get_or_null(Paddr::new(tcb.all_next.get()))
        })
    }

    fn dump_threads(self) {
        self.say(format_args!("threads:\n"));
        for tcb in self.threads() {
            let running = match self.current() {
                Some(current) if core::ptr::eq(current, tcb) => " (running)",
                _ => "",
            };
            self.say(format_args!(
                "{} state {:#x} priority {} domain {} pc {:#x}{running}\n",
                self.name_of(tcb),
                tcb.state.get(),
                tcb.priority.get(),
                tcb.domain.get(),
                tcb.context.get::<{ reg::NEXT_PC }>(),
            ));
        }
    }

    /// For each thread what is in the first level of its capability space.
    fn dump_capabilities(self) {
        for tcb in self.threads() {
            self.say(format_args!("{}:\n", self.name_of(tcb)));
            let root = Cap::decode(tcb.slots[tcb_slot::CTABLE].cap());
            let Cap::CNode { address, radix, .. } = root else {
                continue;
            };
            for index in 0..1 << radix {
                let slot: &Slot = self.mem.get(address.add(index << Slot::BITS));
                match Cap::decode(slot.cap()) {
                    Cap::Null => {}
                    cap => self.say(format_args!("  {index:#x}: {cap:x?}\n")),
                }
            }
        }
    }

    /// Gives a thread the name that stands in the caller's message.
    fn name_thread(self, current: &'m Tcb, pointer: u64) {
        let cap = match self.lookup_slot(current, pointer) {
            Ok(slot) => Cap::decode(slot.cap()),
            Err(_) => Cap::Null,
        };
        let (Cap::Thread { tcb }, Some(buffer)) = (cap, self.ipc_buffer(current, false)) else {
            self.say(format_args!(
                "{} wants to name a thread, without the thread or without an IPC buffer\n",
                self.name_of(current)
            ));
            return;
        };
        let words = buffer.iter().skip(ipc_buffer::MSG).map(UserWord::get);
        self.set_name_words(self.mem.get(tcb), words);
    }

    /// Gives a thread a name.
    pub(crate) fn set_name(self, tcb: &'m Tcb, name: &str) {
        if cfg!(feature = "debug") {
            let words = name.as_bytes().chunks(8).map(|chunk| {
                let mut bytes = [0; 8];
                bytes
                    .iter_mut()
                    .zip(chunk)
                    .for_each(|(to, from)| *to = *from);
                u64::from_le_bytes(bytes)
            });
            self.set_name_words(tcb, words.chain([0]));
        }
    }

    /// The name is cut so that it ends with a zero.
    fn set_name_words(self, tcb: &'m Tcb, words: impl Iterator<Item = u64>) {
        let [name @ .., end] = &tcb.name;
        name.iter().zip(words).for_each(|(to, word)| to.set(word));
        end.set(0);
    }

    /// Puts a new thread on the list of all threads.
    pub(crate) fn remember_thread(self, tcb: &'m Tcb) {
        if !cfg!(feature = "debug") {
            return;
        }
        let address = self.mem.address(tcb);
        let next = self.core.all_threads.replace(address);
        tcb.all_prev.set(0);
        tcb.all_next.set(next.value());
        if let Some(next) = self.mem.get_or_null::<Tcb>(next) {
            next.all_prev.set(address.value());
        }
    }

    /// Takes a thread that is being deleted off the list.
    pub(crate) fn forget_thread(self, tcb: &'m Tcb) {
        if !cfg!(feature = "debug") {
            return;
        }
        let (prev, next) = (tcb.all_prev.get(), tcb.all_next.get());
        match self.mem.get_or_null::<Tcb>(Paddr::new(prev)) {
            Some(prev) => prev.all_next.set(next),
            None => self.core.all_threads.set(Paddr::new(next)),
        }
        if let Some(next) = self.mem.get_or_null::<Tcb>(Paddr::new(next)) {
            next.all_prev.set(prev);
        }
    }
}

/// The number by which seL4's kernels for RISC-V 64 know the type.
fn number_of(cap: Cap) -> u64 {
    match cap {
        Cap::Null => 0,
        Cap::Frame { .. } => 1,
        Cap::Untyped { .. } => 2,
        Cap::PageTable { .. } => 3,
        Cap::Endpoint { .. } => 4,
        Cap::Notification { .. } => 6,
        Cap::Reply { .. } => 8,
        Cap::CNode { .. } => 10,
        Cap::AsidControl => 11,
        Cap::Thread { .. } => 12,
        Cap::AsidPool { .. } => 13,
        Cap::IrqControl => 14,
        Cap::IrqHandler { .. } => 16,
        Cap::Zombie { .. } => 18,
        Cap::Domain => 20,
        // Baton's own, far from seL4's.
        Cap::KernelLane { .. } => 64,
    }
}
