//! The root task that proves the memory server: a server process, and client processes that allocate, map, fill, check, unmap and free at
//! random, one of which is killed. The exit code is 0 only if all went as it must, 1 if not, 2 if it could not run.
//!
//! All is done with the features word that the kernel gives, so with asynchronous system calls where it has them, and with none. The
//! word `seed=N` on the command line says where the random numbers start.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod cases;
mod figures;
#[allow(dead_code, reason = "the processes use the rest")]
mod shared;
mod stage;

use baton_broker::Broker;
use baton_runtime::{ArgumentError, OrSay, Root, Unlucky, println};
use stage::Stage;

baton_runtime::root_task!(main);

/// Frames of 2 MiB of the root task's own heap.
const HEAP_FRAMES: u64 = 2;

fn main(root: Root) -> Result<u16, Unlucky> {
    let (allocator, window) = root.begin(HEAP_FRAMES)?;
    let seed = seed(&root)?;
    let mut broker = Broker::new(&root, allocator, window).or_say("no broker")?;
    let features = broker.features();
    let mut stage = Stage::new(&mut broker).or_say("no memory for a server")?;
    println!("the kernel's features word is {features:#x}, seed={seed}");
    let mut failed = 0;
    for features in [features, 0] {
        stage.broker.set_features(features);
        println!("with features {features:#x}");
        failed += cases::run(&mut stage, seed);
    }
    if let Err(why) = figures::print(&mut stage, features) {
        println!("     {why}");
        println!("FAIL figures");
        failed += 1;
    }
    println!("{failed} failed");
    Ok(u16::from(failed != 0))
}

/// What the command line says, where there is one.
fn seed(root: &Root) -> Result<u64, Unlucky> {
    const DEFAULT: u64 = 1;
    match root.numbers(&[("seed", DEFAULT)]) {
        Err(ArgumentError::NoDeviceTree) => Ok(DEFAULT),
        given => given.map(|[seed]| seed).or_say("the command line"),
    }
}
