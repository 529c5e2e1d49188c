//! The test root task: named cases, each of which asserts what every kernel with seL4's API on RISC-V 64 does, without MCS and on
//! one core. The exit code of the machine is 0 when all passed, 1 when some failed, 2 when they could not be run.
#![no_std]
#![no_main]

mod cases;
mod harness;
mod probe;
mod shared;

use baton_runtime::{OrSay, Root, Unlucky, device};

baton_runtime::root_task!(main);

fn main(root: Root) -> Result<u16, Unlucky> {
    let (mut allocator, mut window) = root.begin(0)?;
    let clock = device::map(&root, &mut allocator, &mut window, "google,goldfish-rtc")
        .or_say("no clock")?;
    Ok(u16::from(harness::run(root, allocator, window, clock) != 0))
}
