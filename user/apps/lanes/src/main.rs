//! The root task that proves asynchronous system calls: what they must do, then what they take. On a kernel without them it says so. The
//! exit code is 0 only if all went as it must, 1 if not, 2 if it could not run.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod bench;
mod cases;
mod local;
mod setup;

use baton_runtime::sel4::abi::baton::{FEATURE_KERNEL_LANES, FEATURE_PARK};
use baton_runtime::{OrSay, Root, Unlucky, println};

baton_runtime::root_task!(main);

/// Frames of 2 MiB of the heap.
const HEAP_FRAMES: u64 = 1;

fn main(root: Root) -> Result<u16, Unlucky> {
    let (mut allocator, mut window) = root.begin(HEAP_FRAMES)?;
    let needed = FEATURE_KERNEL_LANES | FEATURE_PARK;
    if root.features() & needed != needed {
        println!("this kernel has no kernel lanes");
        return Ok(0);
    }
    let bound = setup::bind(&root, &mut allocator, &mut window);
    let bound = bound.or_say("the lane could not be set up")?;
    // First, for the last case leaves nothing to measure.
    if let Err(why) = bench::run(&bound) {
        println!("the measurement: {why}");
        return Ok(1);
    }
    match cases::run(&bound) {
        0 => Ok(0),
        _ => Ok(1),
    }
}
