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
use baton_runtime::{OrSay, Root, Unlucky, println};
use stage::Stage;

baton_runtime::root_task!(main);

/// Frames of 2 MiB of the root task's own heap.
const HEAP_FRAMES: u64 = 2;

fn main(root: Root) -> Result<u16, Unlucky> {
    let (allocator, window) = root.begin(HEAP_FRAMES)?;
    let mut broker = Broker::new(&root, allocator, window).or_say("no broker")?;
    let features = broker.features();
    println!("the kernel's features word is {features:#x}");
    let mut failed = 0;
    // Without a clock first: deadlines are then waited for by giving up the core.
    for clock in [false, true] {
        if clock {
            broker.use_clock(&root).or_say("no alarms")?;
        }
        for features in [0, features] {
            broker.set_features(features);
            println!("with features {features:#x}, alarms: {clock}");
            failed += cases::run(&mut Stage::new(&mut broker));
        }
    }
    println!("{failed} failed");
    Ok(u16::from(failed != 0))
}
