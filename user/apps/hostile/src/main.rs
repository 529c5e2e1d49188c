//! The hostile root task: two processes throw random system calls at the kernel, with random registers, buffers and capabilities, while
//! others go on undisturbed. The exit code is 0 only if as many calls were made as were wanted and nobody else has noticed.
//!
//! The command line may say `calls=N` and `seed=N`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod honest;
mod pair;
mod supervisor;

use baton_runtime::{OrSay, Root, Unlucky, println};

baton_runtime::root_task!(main);

fn main(root: Root) -> Result<u16, Unlucky> {
    let (allocator, window) = root.begin(0)?;
    let numbers = root.numbers(&[("calls", 1_000_000), ("seed", 1)]);
    let [calls, seed] = numbers.or_say("the command line")?;
    println!("{calls} random system calls, seed {seed}");
    match supervisor::run(&root, allocator, window, calls, seed) {
        Ok(()) => {
            println!("Nobody else has noticed.");
            Ok(0)
        }
        Err(error) => {
            println!("FAILED: {error}");
            Ok(1)
        }
    }
}
