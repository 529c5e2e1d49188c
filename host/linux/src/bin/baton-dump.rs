//! Prints the dumps of running Baton processes: `baton-dump PID...`.
#![forbid(unsafe_code)]

use baton_linux::inspect::{PATIENCE_NS, inspect};
use std::process::ExitCode;

fn main() -> ExitCode {
    let pids: Vec<String> = std::env::args().skip(1).collect();
    if pids.is_empty() {
        eprintln!("usage: baton-dump PID...");
        return ExitCode::from(2);
    }
    let mut failed = false;
    for pid in &pids {
        match pid.parse::<i32>().ok().filter(|pid| *pid > 0) {
            None => {
                eprintln!("baton-dump: {pid:?} is no process id");
                failed = true;
            }
            // Twice the time that the process takes to answer for a hanging executor.
            Some(number) => match inspect(number, 2 * PATIENCE_NS) {
                Ok(dumps) => {
                    for (host, dump) in dumps.iter().enumerate() {
                        println!("--- process {number}, host {host}");
                        println!("{}", dump.trim_end());
                    }
                }
                Err(error) => {
                    eprintln!("baton-dump: process {number}: {error}");
                    failed = true;
                }
            },
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
