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
use baton_runtime::{Root, Window, device, println};

baton_runtime::root_task!(main);

/// Frames of 2 MiB of the root task's own heap.
const HEAP_FRAMES: u64 = 2;
/// Rounds that the command line can ask for.
const MOST_ROUNDS: usize = 1000;

fn main(root: Root) -> u16 {
    let mut allocator = root.allocator();
    let mut window = Window::new(root.vspace, Window::BASE, 1 << 30);
    if let Err(error) = device::use_console_and_power(&root, &mut allocator, &mut window) {
        println!("neither console nor power switch: {error}");
        return 2;
    }
    let Some(tree) = root.device_tree() else {
        println!("the kernel has passed no device tree, and so no command line");
        return 2;
    };
    let line = command_line(&tree).unwrap_or_default();
    let arguments = match Arguments::parse(line, MOST_ROUNDS) {
        Ok(arguments) => arguments,
        Err(error) => {
            println!("the command line: {error}");
            return 2;
        }
    };
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
    report::begin();
    let mut rows = 0;
    for shape in plan::shapes() {
        match stage::run(&mut broker, &shape, &arguments) {
            Ok(reported) => rows += reported,
            Err(failed) => {
                println!("{}: {failed}", shape.variant());
                return 1;
            }
        }
    }
    report::end(rows);
    0
}
