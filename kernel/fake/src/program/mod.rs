//! Programs: bytes that decide what the threads of a machine do to its kernel. For fuzzing, and for tests that repeat what a
//! fuzzer does with bytes of their own.
//!
//! Purpose: arbitrary registers, IPC buffers and layouts of capabilities, in sequences of entries by several threads,
//! close enough to what makes sense that most of it is not refused at once. [`run_calls`] is about a kernel whose
//! records are in order: they must stay so. [`run_records`] also writes arbitrary words over objects, and the worst that may
//! come of it is one of the ends of [`End`].
//!
//! Invariants: the same bytes do the same each time; a program is bounded by [`MOST_STEPS`]; capabilities come to be by
//! system calls alone.
//!
//! Neighbours: `tests/fuzz` runs these under a fuzzer, `kernel/core/tests` with fixed bytes.

mod input;
mod invocations;
mod lanes;
mod reached;
mod records;
mod steps;
mod toys;

pub use reached::{Outcome, Reached};
pub use records::{End, hush_ends, run_records};

use input::Input;
use toys::Toys;

/// Steps of a program: kernel entries, or something small of a user between two.
pub const MOST_STEPS: u32 = 120;

/// A machine, and what is left of the program that it runs.
struct Run<'a> {
    toys: Toys,
    input: Input<'a>,
    reached: Reached,
}

/// Runs a program on a new machine, on which all records are looked at after each entry.
///
/// # Panics
/// If the kernel does, or its records are not in order.
pub fn run_calls(program: &[u8]) -> Reached {
    let mut run = Run::new(program);
    for _ in 0..MOST_STEPS {
        if run.input.is_empty() || !run.step() {
            break;
        }
    }
    run.reached
}

impl<'a> Run<'a> {
    fn new(program: &'a [u8]) -> Self {
        Run {
            toys: Toys::new(),
            input: Input::new(program),
            reached: Reached::default(),
        }
    }
}
