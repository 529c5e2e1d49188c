//! Where `print!` goes: to the machine's serial port in a root task that has it, to the parent in a process.

use crate::protocol;
use crate::window::Mapped;
use baton_sel4::{Capability, Endpoint, debug};
use baton_sync::{AtomicU64, Ordering};
use core::fmt::{self, Write};

/// Address of the serial port's registers; 0 when there is none.
static SERIAL_PORT: AtomicU64 = AtomicU64::new(0);
/// The parent's endpoint; 0 when there is none.
static PARENT: AtomicU64 = AtomicU64::new(0);

/// From now on prints to the serial port with these registers (16550).
pub fn use_serial_port(registers: Mapped) {
    // Relaxed: the mapping was made by a system call of this thread; others that see the address late print elsewhere.
    SERIAL_PORT.store(registers.address(), Ordering::Relaxed);
}

/// From now on prints by messages to this endpoint.
pub fn use_parent(parent: Endpoint) {
    PARENT.store(parent.cptr(), Ordering::Relaxed);
}

/// Writes to wherever the console is: serial port, else parent, else the debug kernel's.
#[derive(Clone, Copy, Debug)]
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let port = SERIAL_PORT.load(Ordering::Relaxed);
        let parent = PARENT.load(Ordering::Relaxed);
        if port != 0 {
            for byte in text.bytes() {
                if byte == b'\n' {
                    put_byte(port, b'\r');
                }
                put_byte(port, byte);
            }
        } else if parent != 0 {
            protocol::print(Endpoint::new(parent), text);
        } else {
            for byte in text.bytes() {
                debug::put_char(byte);
            }
        }
        Ok(())
    }
}

fn put_byte(port: u64, byte: u8) {
    const STATUS: u64 = 5;
    const ROOM: u8 = 1 << 5;
    let status = (port + STATUS) as *const u8;
    let data = port as *mut u8;
    // SAFETY: `use_serial_port` was given the mapped registers of a 16550, and they stay mapped.
    unsafe {
        while status.read_volatile() & ROOM == 0 {
            core::hint::spin_loop();
        }
        data.write_volatile(byte);
    }
}

/// Pieces of text that go to the parent together.
struct Gathered {
    bytes: [u8; 512],
    length: usize,
}

impl Gathered {
    fn flush(&mut self) {
        let parent = PARENT.load(Ordering::Relaxed);
        let text = self.bytes.get(..self.length).unwrap_or(&[]);
        // Whole pieces of text were gathered, so it is text.
        if let Ok(text) = core::str::from_utf8(text) {
            protocol::print(Endpoint::new(parent), text);
        }
        self.length = 0;
    }
}

impl Write for Gathered {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.length + text.len() > self.bytes.len() {
            self.flush();
        }
        match self.bytes.get_mut(self.length..self.length + text.len()) {
            Some(room) => {
                room.copy_from_slice(text.as_bytes());
                self.length += text.len();
                Ok(())
            }
            None => Console.write_str(text),
        }
    }
}

#[doc(hidden)]
pub fn print(arguments: fmt::Arguments<'_>) {
    // The console does not fail.
    if SERIAL_PORT.load(Ordering::Relaxed) == 0 && PARENT.load(Ordering::Relaxed) != 0 {
        // One message for all pieces, so that others' lines do not come between them.
        let mut gathered = Gathered {
            bytes: [0; 512],
            length: 0,
        };
        let _ = gathered.write_fmt(arguments);
        gathered.flush();
    } else {
        let _ = Console.write_fmt(arguments);
    }
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::console::print(format_args!("\n")) };
    ($($argument:tt)*) => {{
        $crate::console::print(format_args!("{}\n", format_args!($($argument)*)));
    }};
}
