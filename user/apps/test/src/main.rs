//! The test root task: named cases, each of which asserts what every kernel with seL4's API on RISC-V 64 does, without MCS and on
//! one core. The exit code of the machine is 0 when all passed, 1 when some failed, 2 when they could not be run.
#![no_std]
#![no_main]

mod cases;
mod harness;
mod probe;
mod shared;

use baton_runtime::{Root, Window, device, println};

baton_runtime::root_task!(main);

fn main(root: Root) -> u16 {
    let mut allocator = root.allocator();
    let mut window = Window::new(root.vspace, Window::BASE, 1 << 30);
    if let Err(error) = device::use_console_and_power(&root, &mut allocator, &mut window) {
        println!("neither console nor power switch: {error}");
        return 2;
    }
    let clock = match device::map(&root, &mut allocator, &mut window, "google,goldfish-rtc") {
        Ok(clock) => clock,
        Err(error) => {
            println!("no clock: {error}");
            return 2;
        }
    };
    u16::from(harness::run(root, allocator, window, clock) != 0)
}
