//! The root task that measures asynchronous requests between processes: typed calls through executor and async handler on both sides, over
//! each transport. `cargo xtask bench qemu` starts it with a command line (`Arguments`) and reads its rows ([`report`]).
//!
//! On a kernel that counts its entries it reports those instead of instructions, which such a kernel has more of. The exit code is
//! 0 only if all rows were measured.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod plan;
mod report;
#[allow(dead_code, reason = "the processes use the rest")]
mod shared;
mod stage;

use baton_boot::command_line::command_line;
use baton_broker::Broker;
use baton_counting::Arguments;
use baton_runtime::{OrSay, Root, Unlucky, println};

baton_runtime::root_task!(main);

/// Frames of 2 MiB of the root task's own heap.
const HEAP_FRAMES: u64 = 2;
/// Rounds that the command line can ask for.
const MOST_ROUNDS: usize = 1000;

fn main(root: Root) -> Result<u16, Unlucky> {
    let (allocator, window) = root.begin(HEAP_FRAMES)?;
    let tree = root
        .device_tree()
        .ok_or("the kernel has passed no device tree");
    let tree = tree.or_say("no command line")?;
    let line = command_line(&tree).unwrap_or_default();
    let arguments = Arguments::parse(line, MOST_ROUNDS).or_say("the command line")?;
    let mut broker = Broker::new(&root, allocator, window).or_say("no broker")?;
    report::begin();
    let mut rows = 0;
    for shape in plan::shapes() {
        match stage::run(&mut broker, &shape, &arguments) {
            Ok(reported) => rows += reported,
            Err(failed) => {
                println!("{}: {failed}", shape.variant());
                return Ok(1);
            }
        }
    }
    report::end(rows);
    Ok(0)
}
