//! Runs one counted program, for callgrind or perf to look at: `baton-count CLIENTS OUTSTANDING ROUNDS [WORKLOAD [PEER]]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    baton_bench::command::exit(baton_bench::command::count(&arguments))
}
