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
use baton_runtime::{Root, Window, device, println};
use setup::Unlucky;

baton_runtime::root_task!(main);

/// Frames of 2 MiB of the heap.
const HEAP_FRAMES: u64 = 1;

fn main(root: Root) -> u16 {
    let mut allocator = root.allocator();
    let mut window = Window::new(root.vspace, Window::BASE, 1 << 30);
    if let Err(error) = device::use_console_and_power(&root, &mut allocator, &mut window) {
        println!("neither console nor power switch: {error}");
        return 2;
    }
    let needed = FEATURE_KERNEL_LANES | FEATURE_PARK;
    if root.features() & needed != needed {
        println!("this kernel has no kernel lanes");
        return 0;
    }
    if let Err(error) = root.add_heap(&mut allocator, &mut window, HEAP_FRAMES) {
        println!("no memory for the root task: {error}");
        return 2;
    }
    let bound = match setup::bind(&root, &mut allocator, &mut window) {
        Ok(bound) => bound,
        Err(Unlucky(why)) => {
            println!("the lane could not be set up: {why}");
            return 2;
        }
    };
    // First, for the last case leaves nothing to measure.
    if let Err(Unlucky(why)) = bench::run(&bound) {
        println!("the measurement: {why}");
        return 1;
    }
    match cases::run(&bound) {
        0 => 0,
        _ => 1,
    }
}
