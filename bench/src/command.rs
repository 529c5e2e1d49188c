//! The command line.
//!
//! ```text
//! baton-bench --out FILE [--quick] [--peers-bin PATH] [--valgrind PATH]
//!     measures everything and writes FILE
//! baton-bench drive PEER
//!     serves the harness's line protocol, for a reference or `baton_lanes`
//! baton-bench count CLIENTS OUTSTANDING ROUNDS [WORKLOAD [PEER]]
//!     runs a counted program once
//! ```

use crate::counted::{self, Load, Program};
use crate::plan::{self, Options};
use crate::{counting, lanes};
use baton_bench_harness::{Driver, HarnessError, RoleFn, Workload, dispatch_role, serve_driver};
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: baton-bench --out FILE [--quick] [--peers-bin PATH] [--valgrind PATH]";

/// Runs `baton-bench`.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = dispatch_role(&roles()) {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    exit(match arguments.as_slice() {
        [command, peer] if command == plan::DRIVE => drive(peer),
        [command, rest @ ..] if command == counting::COMMAND => count(rest),
        _ => parse(&arguments).and_then(|options| plan::measure(&options)),
    })
}

/// Says what went wrong, if anything.
#[must_use]
pub fn exit(result: Result<(), HarnessError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("baton-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn roles() -> Vec<(&'static str, RoleFn)> {
    let mut roles = baton_bench_references::roles();
    roles.extend(lanes::ROLES);
    roles
}

/// A driver of each reference and of Baton.
fn drivers() -> Vec<Box<dyn Driver>> {
    let mut drivers = baton_bench_references::drivers();
    drivers.push(Box::new(lanes::Lanes));
    drivers
}

fn drive(peer: &str) -> Result<(), HarnessError> {
    let driver = drivers().into_iter().find(|driver| driver.peer() == peer);
    serve_driver(
        driver.ok_or_else(|| HarnessError::Unsupported(format!("no peer is called {peer:?}")))?,
    )
}

/// Runs a counted program once and prints how often it did what is counted.
///
/// # Errors
/// `Unsupported` for wrong arguments, otherwise what the program reports.
pub fn count(arguments: &[String]) -> Result<(), HarnessError> {
    let usage = || {
        HarnessError::Unsupported("usage: CLIENTS OUTSTANDING ROUNDS [WORKLOAD [PEER]]".to_owned())
    };
    let [clients, outstanding, rounds, rest @ ..] = arguments else {
        return Err(usage());
    };
    let load = Load {
        clients: clients.parse().map_err(|_| usage())?,
        outstanding: outstanding.parse().map_err(|_| usage())?,
        rounds: rounds.parse().map_err(|_| usage())?,
    };
    let workload = match rest.first() {
        Some(name) => name.parse()?,
        None => Workload::Request,
    };
    let peer = rest.get(1).map_or(lanes::PEER, String::as_str);
    println!("{}", counted::run(peer, Program::of(workload)?, load)?);
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options, HarnessError> {
    let usage = || HarnessError::Unsupported(USAGE.to_owned());
    let mut out = None;
    let mut options = Options::default();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut path = || words.next().map(PathBuf::from).ok_or_else(usage);
        match word.as_str() {
            "--out" => out = Some(path()?),
            "--quick" => options.quick = true,
            "--peers-bin" => options.peers_bin = Some(path()?),
            "--valgrind" => options.valgrind = Some(path()?),
            _ => return Err(usage()),
        }
    }
    options.out = out.ok_or_else(usage)?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments_are_read() {
        let options = parse(&words("--quick --out a.csv --valgrind v --peers-bin p"));
        let options = options.expect("well-formed");
        assert!(options.quick);
        assert_eq!(options.out, PathBuf::from("a.csv"));
        assert_eq!(options.valgrind, Some(PathBuf::from("v")));
        assert_eq!(options.peers_bin, Some(PathBuf::from("p")));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        for text in ["", "--quick", "--out", "--out a --fast", "count"] {
            assert!(parse(&words(text)).is_err(), "{text}");
        }
        assert!(count(&words("1 1")).is_err());
        assert!(count(&words("1 1 64 w2")).is_err());
        assert!(count(&words("1 1 64 request")).is_ok());
    }
}
