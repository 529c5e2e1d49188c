//! Panics: the text goes to who is responsible for this program, then the thread stops.

use crate::console;
use crate::protocol;
use crate::start::own_tcb;
use baton_sel4::{Capability, Endpoint};
use baton_sync::{AtomicU64, Ordering};
use core::fmt::Write;

/// Where panics are reported; 0 for the console.
static REPORTER: AtomicU64 = AtomicU64::new(0);

/// From now on reports panics to this endpoint, or to the console.
pub fn set_reporter(endpoint: Option<Endpoint>) {
    REPORTER.store(
        endpoint.map_or(0, |endpoint| endpoint.cptr()),
        Ordering::Relaxed,
    );
}

/// A text of limited length; what goes beyond is cut.
struct Buffer {
    bytes: [u8; 512],
    length: usize,
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut text = Buffer {
        bytes: [0; 512],
        length: 0,
    };
    // A buffer does not fail.
    let _ = match info.location() {
        Some(at) => write!(text, "{} ({}:{})", info.message(), at.file(), at.line()),
        None => write!(text, "{}", info.message()),
    };
    let bytes = &text.bytes[..text.length];
    let text = match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    };
    let reporter = REPORTER.load(Ordering::Relaxed);
    if reporter != 0 {
        protocol::report_panic(Endpoint::new(reporter), text);
    } else {
        console::print(format_args!("panic: {text}\n"));
        crate::device::power_off(101);
    }
    loop {
        // The thread is of no use any more. Suspending oneself does not return.
        let _ = own_tcb().suspend();
    }
}
