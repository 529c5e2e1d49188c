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

use baton_runtime::{OrSay, Root, Unlucky, device, println};

baton_runtime::root_task!(main);

fn main(root: Root) -> Result<u16, Unlucky> {
    let (mut allocator, mut window) = root.begin(0)?;
    let clock = device::map(&root, &mut allocator, &mut window, "google,goldfish-rtc")
        .or_say("no clock")?;
    match operations::measure_all(root, allocator, window, clock) {
        Ok(()) => Ok(0),
        Err(error) => {
            println!("it could not be measured: {error}");
            Ok(1)
        }
    }
}
