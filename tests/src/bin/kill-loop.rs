//! Kills processes at random points in a loop: `kill-loop --kills N --seed S`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(not(loom))]
    return baton_tests::kill_loop::main();
    #[cfg(loom)]
    ExitCode::SUCCESS
}
