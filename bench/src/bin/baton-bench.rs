//! Measures Baton between Linux processes; see `baton_bench::command` for the arguments.

use std::process::ExitCode;

fn main() -> ExitCode {
    baton_bench::command::main()
}
