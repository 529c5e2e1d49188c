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

use baton_boot::command_line::command_line;
use baton_broker::Broker;
use baton_runtime::{OrSay, Root, Unlucky, println};
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

/// What the command line says.
fn seed(root: &Root) -> Result<u64, Unlucky> {
    let Some(tree) = root.device_tree() else {
        return Ok(1);
    };
    let mut seed = 1;
    for word in command_line(&tree).unwrap_or_default().split_whitespace() {
        let number = word.strip_prefix("seed=").and_then(|it| it.parse().ok());
        seed = number.ok_or(word).or_say("not `seed=N`")?;
    }
    Ok(seed)
}
