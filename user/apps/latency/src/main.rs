//! How long does an interrupt wait while the kernel does something long? `cargo xtask bench latency` starts this root task in QEMU, where
//! one instruction is one nanosecond, and reads its rows ([`report`]).
//!
//! The *worker*, the initial thread, does one long operation after another ([`operations`]). The *listener* ([`barrage`]), of highest
//! priority, lets the machine's clock raise its interrupt at a random time again and again meanwhile, and reads the clock as soon as it
//! runs: the difference is the latency. The exit code is 0 if all operations were measured.
#![no_std]
#![no_main]

mod barrage;
mod deep;
mod operations;
mod report;

use baton_runtime::{Root, Window, device, println};

baton_runtime::root_task!(main);

fn main(root: Root) -> u16 {
    let mut allocator = root.allocator();
    let mut window = Window::new(root.vspace, Window::BASE, 1 << 30);
    if let Err(error) = device::use_console_and_power(&root, &mut allocator, &mut window) {
        println!("neither console nor power switch: {error}");
        return 2;
    }
    let clock = match device::map(&root, &mut allocator, &mut window, "google,goldfish-rtc") {
        Ok(clock) => clock,
        Err(error) => {
            println!("no clock: {error}");
            return 2;
        }
    };
    match operations::measure_all(root, allocator, window, clock) {
        Ok(()) => 0,
        Err(error) => {
            println!("it could not be measured: {error}");
            1
        }
    }
}
