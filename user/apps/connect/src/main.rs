//! The root task that proves the user platform: a process server with a broker, which starts processes that call each other, revokes
//! and kills under load, and lets hostile ones loose. The exit code is 0 only if all went as it must, 1 if not, 2 if it could not run.
//!
//! All programs are the same ELF file, started in its turn with the features word that the kernel gives and with none.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod cases;
#[allow(dead_code, reason = "the processes use the rest")]
mod shared;
mod stage;

use baton_broker::Broker;
use baton_runtime::{Root, Window, device, println};
use stage::Stage;

baton_runtime::root_task!(main);

/// Frames of 2 MiB of the root task's own heap.
const HEAP_FRAMES: u64 = 2;

fn main(root: Root) -> u16 {
    let mut allocator = root.allocator();
    let mut window = Window::new(root.vspace, Window::BASE, 1 << 30);
    if let Err(error) = device::use_console_and_power(&root, &mut allocator, &mut window) {
        println!("neither console nor power switch: {error}");
        return 2;
    }
    if let Err(error) = root.add_heap(&mut allocator, &mut window, HEAP_FRAMES) {
        println!("no memory for the root task: {error}");
        return 2;
    }
    let mut broker = match Broker::new(&root, allocator, window) {
        Ok(broker) => broker,
        Err(error) => {
            println!("no broker: {error}");
            return 2;
        }
    };
    let features = broker.features();
    println!("the kernel's features word is {features:#x}");
    let mut failed = 0;
    // Without a clock first: deadlines are then waited for by giving up the core.
    for clock in [false, true] {
        if clock && let Err(error) = broker.use_clock(&root) {
            println!("no alarms: {error}");
            return 2;
        }
        for features in [0, features] {
            broker.set_features(features);
            println!("with features {features:#x}, alarms: {clock}");
            failed += cases::run(&mut Stage::new(&mut broker));
        }
    }
    println!("{failed} failed");
    u16::from(failed != 0)
}
