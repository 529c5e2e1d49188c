//! The hostile root task: two processes throw random system calls at the kernel, with random registers, buffers and capabilities, while
//! others go on undisturbed. The exit code is 0 only if as many calls were made as were wanted and nobody else has noticed.
//!
//! The command line may say `calls=N` and `seed=N`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod arguments;
mod honest;
mod pair;
mod supervisor;

use arguments::Arguments;
use baton_runtime::{Root, Window, device, println};

baton_runtime::root_task!(main);

fn main(root: Root) -> u16 {
    let mut allocator = root.allocator();
    let mut window = Window::new(root.vspace, Window::BASE, 1 << 30);
    if let Err(error) = device::use_console_and_power(&root, &mut allocator, &mut window) {
        println!("neither console nor power switch: {error}");
        return 2;
    }
    let arguments = match Arguments::read(&root) {
        Ok(arguments) => arguments,
        Err(error) => {
            println!("the command line: {error}");
            return 2;
        }
    };
    println!(
        "{} random system calls, seed {}",
        arguments.calls, arguments.seed
    );
    match supervisor::run(&root, allocator, window, arguments) {
        Ok(()) => {
            println!("Nobody else has noticed.");
            0
        }
        Err(error) => {
            println!("FAILED: {error}");
            1
        }
    }
}
