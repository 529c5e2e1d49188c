//! Programs that break the kernel's records: they write arbitrary words into objects, and into slots.
//!
//! A user cannot do that. It stands for every mistake that the kernel's logic could make: whatever is in memory, what
//! comes of it must be a wrong result or a clean stop, never an access outside of the memory.

use super::toys::{IRQS, PAGES, SLOTS};
use super::{MOST_STEPS, Reached, Run};
use crate::hardware::FPU_OFF;
use baton_kernel_core::cap::Cap;
use baton_kernel_core::mem::{IrqTable, KernelLane, Paddr, Slot, Tcb, tcb_slot};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

/// Handles that one entry may make. An entry of a kernel in order makes a few hundred; revoking everything, ten thousand.
const MOST_HANDLES: u64 = 100_000;
/// Looks for an interrupt in one entry after which the timer ticks, as it would on a machine: an operation that makes no
/// progress makes no handles either, perhaps, but it can be preempted.
const LOOKS_TO_TICK: u64 = 1000;

/// What a kernel says that has found its records broken.
const BROKEN: &str = "the kernel's records are broken";
/// What its memory says when the limit of handles is reached.
const ENDLESS: &str = "the kernel does not come to an end";

/// How a program with broken records has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// With the program: the results may be wrong.
    Over,
    /// The kernel stopped: it was to reach an object outside of its memory, or an instruction of its own trapped.
    Stopped,
    /// It went round in a list that had become a circle, and was stopped by the limit of
    /// [`Memory::limit_handles`](baton_kernel_core::mem::Memory::limit_handles).
    Endless,
}

/// Runs a program on a new machine, some steps of which write arbitrary words into objects.
///
/// # Panics
/// If the kernel does, in another way than [`End`] says.
pub fn run_records(program: &[u8]) -> (Reached, End) {
    let mut run = Run::new(program);
    run.toys.fake.set_checking(false);
    let objects = run.objects();
    let work = AssertUnwindSafe(|| {
        // What is broken at once may end everything: some calls first.
        for _ in 0..run.input.below(8) {
            if !run.step() {
                return;
            }
        }
        for _ in 0..MOST_STEPS {
            if run.input.is_empty() {
                return;
            }
            // Few: most of what is broken stops the kernel the first time that it is looked at.
            for _ in 0..run.input.below(16).saturating_sub(13) {
                run.write_anything(&objects);
            }
            if !run.step() {
                return;
            }
        }
    });
    let end = match catch_unwind(work) {
        Ok(()) => End::Over,
        Err(panic) => match end_of(text_of(&*panic)) {
            Some(end) => end,
            None => resume_unwind(panic),
        },
    };
    (run.reached, end)
}

/// Lets panics that are an [`End`] say nothing; all others go to the hook that is in force.
pub fn hush_ends() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if end_of(text_of(info.payload())).is_none() {
                before(info);
            }
        }));
    });
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    let text = panic.downcast_ref::<&str>().copied();
    text.or(owned).unwrap_or("")
}

fn end_of(text: &str) -> Option<End> {
    if text.starts_with(BROKEN) || text == FPU_OFF {
        Some(End::Stopped)
    } else if text.starts_with(ENDLESS) {
        Some(End::Endless)
    } else {
        None
    }
}

/// A part of memory that is to be broken: where, and how many words.
#[derive(Clone, Copy)]
struct Part {
    at: Paddr,
    words: u64,
}

impl Run<'_> {
    /// Before an entry: limits that a kernel in order never reaches.
    pub(super) fn before_entry(&self) {
        let fake = &self.toys.fake;
        if !fake.is_checking() {
            fake.kernel().mem.limit_handles(MOST_HANDLES);
            fake.hardware.raise_timer_after_looks(LOOKS_TO_TICK);
        }
    }

    /// All objects that there are at the beginning.
    fn objects(&self) -> Vec<Part> {
        let toys = self.toys.first..self.toys.first + SLOTS;
        let mut parts = vec![Part {
            at: self.toys.slots_address(),
            words: SLOTS * 4,
        }];
        let mut add = |at: Paddr, words| parts.push(Part { at, words });
        for slot in (1..12).chain(toys) {
            match self.toys.cap_in(slot) {
                Cap::Endpoint { address, .. } => add(address, 2),
                Cap::Notification { address, .. } => add(address, 4),
                // Not the root: most of it is empty, and its slots are above.
                Cap::CNode { address, radix, .. } if radix < 8 => add(address, 4 << radix),
                Cap::Thread { tcb } => {
                    let all = size_of::<Tcb>() as u64 / 8;
                    add(tcb, all);
                    // Once more what system calls look at.
                    add(tcb.add(core::mem::offset_of!(Tcb, state) as u64), 20);
                    let in_tcb = core::mem::offset_of!(Tcb, slots) as u64;
                    add(tcb.add(in_tcb), 4 * (1 + tcb_slot::BUFFER as u64));
                }
                Cap::PageTable { address, .. } | Cap::AsidPool { address, .. } => {
                    add(address, 512);
                    // What is in use of it is at the beginning.
                    add(address, 4);
                }
                // Of the record, all but the copies of messages; what comes behind it is a user's.
                Cap::KernelLane { address, .. } => {
                    let positions = core::mem::offset_of!(KernelLane, buffer) as u64 / 8;
                    add(address, positions);
                }
                _ => {}
            }
        }
        let table = self.toys.fake.kernel().irq_table();
        add(table, size_of::<IrqTable>() as u64 / 8);
        add(table.add(IRQS[0] << Slot::BITS), 8);
        parts
    }

    /// Writes a word, or a capability, somewhere into an object.
    fn write_anything(&mut self, objects: &[Part]) {
        let part = self.input.pick(objects);
        let index = match part.words {
            0..=256 => self.input.below(part.words),
            words => (self.input.below(256) << 8 | self.input.below(256)) % words,
        };
        let at = part.at.value() + index * 8;
        let fake = &self.toys.fake;
        match self.input.below(8) {
            0 => fake.set_physical(at, self.input.raw()),
            1 => fake.set_physical(at, self.input.word()),
            // Some bits of what is there.
            2 => {
                let bits = 1 << self.input.below(64);
                fake.set_physical(at, fake.physical(at) ^ bits);
            }
            // An object, or somewhere in it, with flags: a link.
            3 | 4 => {
                let to = self.input.pick(objects);
                let within = self.input.below(to.words.min(256)) * 8;
                let flags = self.input.pick(&[0, 0, 1, 2, 3, 32, 64]);
                let target = match self.input.below(2) {
                    0 => to.at.value(),
                    _ => to.at.value() + within,
                };
                fake.set_physical(at, target | flags);
            }
            // What stands elsewhere.
            5 => {
                let from = self.input.pick(objects);
                let index = self.input.below(from.words.min(256));
                fake.set_physical(at, fake.physical(from.at.value() + index * 8));
            }
            // A capability to an object, of whatever type.
            _ => {
                let to = self.input.pick(objects);
                let kind = self.input.below(16);
                let fields = u64::from(self.input.byte()) << 8 | u64::from(self.input.byte());
                let first = to.at.value() << 16 | (fields << 5 & 0xffe0) | kind;
                let second = match self.input.below(4) {
                    0 => self.input.raw(),
                    1 => self.input.word(),
                    2 => 1 << 48 | PAGES,
                    _ => 0,
                };
                let slot = at & !31;
                fake.set_physical(slot, first);
                fake.set_physical(slot + 8, second);
            }
        }
    }
}
