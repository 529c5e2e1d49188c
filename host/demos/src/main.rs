//! `kv-demo`: see `--help`, and the library for how it works.
#![forbid(unsafe_code)]

use baton_demos::args::{self, Role};
use baton_demos::{parent, processes};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match args::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("kv-demo: {error}");
            return ExitCode::from(2);
        }
    };
    let role = options.role;
    let result = match role {
        Role::Parent => parent::run(options).map_err(|error| error.to_string()),
        _ => processes::run(&options).map_err(|error| format!("{role}: {error}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kv-demo: {error}");
            ExitCode::FAILURE
        }
    }
}
