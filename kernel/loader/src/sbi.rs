//! What the firmware does for the loader: a console and the end.
//!
//! Source: RISC-V Supervisor Binary Interface Specification 1.0, chapters 5 (legacy) and 10 (system reset).

use core::arch::asm;
use core::fmt::{self, Write};

const LEGACY_PUT_CHAR: u64 = 1;
const SYSTEM_RESET: u64 = 0x5352_5354;
const REASON_SYSTEM_FAILURE: u64 = 1;

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            call(LEGACY_PUT_CHAR, u64::from(byte), 0);
        }
        Ok(())
    }
}

/// Prints on the console.
pub fn print(text: fmt::Arguments<'_>) {
    // The console never refuses.
    let _ = Console.write_fmt(text);
}

/// Turns the machine off, because of a failure.
pub fn shut_down() -> ! {
    call(SYSTEM_RESET, 0, REASON_SYSTEM_FAILURE);
    loop {
        core::hint::spin_loop();
    }
}

fn call(extension: u64, first: u64, second: u64) {
    // SAFETY: the calls used here read and write no memory of this program, and change no register but a0 and a1.
    unsafe {
        asm!(
            "ecall",
            in("a7") extension,
            in("a6") 0_u64,
            inlateout("a0") first => _,
            inlateout("a1") second => _,
            options(nostack),
        );
    }
}
