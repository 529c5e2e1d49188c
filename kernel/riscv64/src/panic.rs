//! The end of a kernel that has found a mistake in itself.

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use baton_kernel_core::mem::WINDOW_BASE;

use crate::sbi;

/// What a store to the finisher means: end with the exit code in the upper half.
const FINISHER_FAIL: u32 = 0x3333;
/// The exit code of a machine whose kernel has ended.
const EXIT_CODE: u32 = 101;

/// The physical address of the register that ends the machine with an exit code; 0 if there is none. Only for the end.
static FINISHER: AtomicU64 = AtomicU64::new(0);

/// Writes to the console.
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(sbi::put_byte);
        Ok(())
    }
}

/// Remembers the register that ends the machine.
pub fn set_finisher(register: Option<u64>) {
    // Relaxed: one hart.
    FINISHER.store(register.unwrap_or(0), Ordering::Relaxed);
}

/// Ends the machine because of a failure.
pub fn fail() -> ! {
    let register = FINISHER.load(Ordering::Relaxed);
    if register != 0 {
        let seen = WINDOW_BASE.wrapping_add(register) as usize;
        let register = ptr::with_exposed_provenance_mut::<u32>(seen);
        // SAFETY: the device tree says that this register is there; the window shows it; the store ends the machine.
        unsafe { register.write_volatile(EXIT_CODE << 16 | FINISHER_FAIL) }
    }
    sbi::shut_down()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // The console never refuses.
    let _ = writeln!(Console, "kernel: {info}");
    fail()
}
