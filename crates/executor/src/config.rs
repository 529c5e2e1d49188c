//! How an executor is set up and driven, and why it may not be.
//!
//! Purpose: sizes, modes and errors; no behaviour. Neighbours: `run`.

use crate::registry::TooManyExecutors;
use crate::table::{MAX_TASKS, TableFull};
use core::fmt;

/// What an executor does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Looks again, for ever. For cores that have nothing else to do.
    Poll,
    /// Looks again for a measured while and then sleeps; sleeps at once where cores are oversubscribed.
    Adaptive,
    /// Sleeps at once.
    Park,
}

/// Sizes of an executor, fixed at set-up.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Task entries, those of all handlers included; at most 65 535.
    pub tasks: usize,
    /// Timers that can be armed at the same time.
    pub timers: usize,
    /// Ready tasks polled in a turn before the lanes are looked at again.
    pub quantum: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            tasks: 1024,
            timers: 256,
            quantum: 64,
        }
    }
}

/// Why an executor could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewExecutorError {
    /// The process has as many executors as it can have: end one first.
    TooManyExecutors,
    /// More than 65 535 task entries were asked for.
    TooManyTasks(usize),
}

impl fmt::Display for NewExecutorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NewExecutorError::TooManyExecutors => f.write_str("the process has 64 executors"),
            NewExecutorError::TooManyTasks(n) => {
                write!(
                    f,
                    "{n} task entries asked for, at most {MAX_TASKS} are possible"
                )
            }
        }
    }
}

impl core::error::Error for NewExecutorError {}

impl From<TooManyExecutors> for NewExecutorError {
    fn from(_: TooManyExecutors) -> Self {
        NewExecutorError::TooManyExecutors
    }
}

/// Why an executor did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunError {
    /// It was driven from inside one of its own tasks: await instead.
    Nested,
    /// There was no free task entry for the future: configure a larger table.
    TableFull(TableFull),
    /// It was ended while it ran.
    Ended,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Nested => f.write_str(
                "an executor cannot be run from inside one of its own tasks; await instead",
            ),
            RunError::TableFull(error) => error.fmt(f),
            RunError::Ended => f.write_str("the executor was ended while it ran"),
        }
    }
}

impl core::error::Error for RunError {}
