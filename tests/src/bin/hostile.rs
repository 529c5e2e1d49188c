//! A second process writes arbitrary words to all it may write: `hostile --writes N --seed S`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(not(loom))]
    return baton_tests::hostile::main();
    #[cfg(loom)]
    ExitCode::SUCCESS
}
