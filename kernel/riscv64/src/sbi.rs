//! What the firmware does for the kernel: timer, console, the end.
//!
//! Source: RISC-V Supervisor Binary Interface Specification 1.0, chapters 5 (legacy), 6 (timer), 10 (system reset).

use core::arch::asm;

const LEGACY_PUT_CHAR: u64 = 1;
const TIMER: u64 = 0x5449_4d45;
const SYSTEM_RESET: u64 = 0x5352_5354;

/// Asks for a timer interrupt when the timebase reaches `at`, and ends the one that waits.
#[inline]
pub fn set_timer(at: u64) {
    call(TIMER, at, 0);
}

/// Prints a byte on the console.
pub fn put_byte(byte: u8) {
    call(LEGACY_PUT_CHAR, u64::from(byte), 0);
}

/// Turns the machine off.
pub fn shut_down() -> ! {
    call(SYSTEM_RESET, 0, 0);
    loop {
        core::hint::spin_loop();
    }
}

#[inline(always)]
fn call(extension: u64, first: u64, second: u64) {
    // SAFETY: the calls used here read and write no memory of the kernel, and change no register but a0 and a1.
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
