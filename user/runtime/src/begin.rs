//! How root tasks begin, and how they say that they cannot.
//!
//! Most root tasks need the console, the power switch and a heap before anything else; what is missing is printed, and the
//! machine ends with exit code 2.

use crate::allocator::Allocator;
use crate::device;
use crate::println;
use crate::root::Root;
use crate::window::Window;
use core::fmt::Display;

/// Bytes of addresses for what a root task maps.
const WINDOW_BYTES: u64 = 1 << 30;

/// A root task cannot do what it is for, and has said why on the console: the exit code is 2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unlucky;

/// What the `main` of a root task may return.
pub trait ExitCode {
    /// The exit code of the machine.
    fn exit_code(self) -> u16;
}

impl ExitCode for u16 {
    fn exit_code(self) -> u16 {
        self
    }
}

impl ExitCode for Result<u16, Unlucky> {
    fn exit_code(self) -> u16 {
        self.unwrap_or(2)
    }
}

/// For what a root task cannot do without.
pub trait OrSay<T> {
    /// The value, or else `what` and the error on the console.
    ///
    /// # Errors
    /// That there is an error: it has been printed.
    fn or_say(self, what: &str) -> Result<T, Unlucky>;
}

impl<T, E: Display> OrSay<T> for Result<T, E> {
    fn or_say(self, what: &str) -> Result<T, Unlucky> {
        self.map_err(|error| {
            println!("{what}: {error}");
            Unlucky
        })
    }
}

impl Root {
    /// Begins as most root tasks do: makes the allocator and the window, of which there is to be one each, uses console and power
    /// switch, and adds `heap_frames` frames of 2 MiB to the heap.
    ///
    /// # Errors
    /// That a device is missing, memory or slots are used up, or the kernel refuses: it has been printed, as far as can be.
    pub fn begin(&self, heap_frames: u64) -> Result<(Allocator, Window), Unlucky> {
        let mut allocator = self.allocator();
        let mut window = Window::new(self.vspace, Window::BASE, WINDOW_BYTES);
        device::use_console_and_power(self, &mut allocator, &mut window)
            .or_say("neither console nor power switch")?;
        self.add_heap(&mut allocator, &mut window, heap_frames)
            .or_say("no memory for the root task")?;
        Ok((allocator, window))
    }
}
