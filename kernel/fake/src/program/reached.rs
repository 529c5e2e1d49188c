//! What programs have reached: which invocations, with which answers.

use baton_sel4_abi::{Error, KernelLaneLabel, Label, Syscall};
use std::collections::BTreeMap;
use std::fmt;

/// What became of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused; the number of the error.
    Refused(u64),
    /// It is to be made again: it was preempted, or has stopped its caller.
    Again,
    /// Its caller does not run any more.
    Stopped,
}

/// How often what was reached.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// Invocations of kernel objects by label and outcome.
    invocations: BTreeMap<(u64, Outcome), u64>,
    /// System calls by number.
    syscalls: BTreeMap<i64, u64>,
    /// Threads that were found waiting or stopped after an entry, by the number of their state.
    states: BTreeMap<u64, u64>,
    /// Kernel entries.
    entries: u64,
    /// Messages that were performed out of kernel lanes.
    messages: u64,
}

impl Reached {
    pub(super) fn note_entry(&mut self) {
        self.entries += 1;
    }

    pub(super) fn note_syscall(&mut self, number: i64) {
        let known = Syscall::from_number(number).map_or(0, Syscall::number);
        *self.syscalls.entry(known).or_default() += 1;
    }

    pub(super) fn note_invocation(&mut self, label: u64, outcome: Outcome) {
        *self.invocations.entry((label, outcome)).or_default() += 1;
    }

    pub(super) fn note_state(&mut self, state: u64) {
        *self.states.entry(state).or_default() += 1;
    }

    pub(super) fn note_messages(&mut self, count: u64) {
        self.messages += count;
    }

    /// Messages that were performed out of kernel lanes when a program asked for it.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Kernel entries.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The labels of which an invocation was done.
    pub fn labels_done(&self) -> Vec<u64> {
        let done = |&(label, outcome): &(u64, Outcome)| (outcome == Outcome::Done).then_some(label);
        self.invocations.keys().filter_map(done).collect()
    }

    /// Adds what another program has reached.
    pub fn add(&mut self, other: &Reached) {
        for (&key, count) in &other.invocations {
            *self.invocations.entry(key).or_default() += count;
        }
        for (&key, count) in &other.syscalls {
            *self.syscalls.entry(key).or_default() += count;
        }
        for (&key, count) in &other.states {
            *self.states.entry(key).or_default() += count;
        }
        self.entries += other.entries;
        self.messages += other.messages;
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} kernel entries", self.entries)?;
        writeln!(f, "{} messages out of lanes", self.messages)?;
        for (number, count) in &self.syscalls {
            match Syscall::from_number(*number) {
                Some(call) => writeln!(f, "{call:?}: {count}")?,
                None => writeln!(f, "unknown system calls: {count}")?,
            }
        }
        for (state, count) in &self.states {
            writeln!(f, "threads left in state {state}: {count}")?;
        }
        let mut last = None;
        for (&(label, outcome), count) in &self.invocations {
            if last.replace(label) != Some(label) {
                match (
                    Label::from_number(label),
                    KernelLaneLabel::from_number(label),
                ) {
                    (Some(known), _) => write!(f, "\n{known:?}:")?,
                    (_, Some(known)) => write!(f, "\nkernel lane {known:?}:")?,
                    _ => write!(f, "\nlabel {label:#x}, unknown:")?,
                }
            }
            match outcome {
                Outcome::Refused(number) => match Error::from_label(number) {
                    Some(error) => write!(f, " {error:?} {count}")?,
                    None => write!(f, " error {number} {count}")?,
                },
                outcome => write!(f, " {outcome:?} {count}")?,
            }
        }
        writeln!(f)
    }
}
