//! `baton-bench-peers`: what a user would pick instead of Baton, on the same workloads.
//!
//! `list` prints what each peer runs; `drive <peer>` serves the line protocol of `baton-bench-harness` on stdin and
//! stdout; `self-test [<ms> [<samples>]]` measures all of them for a short while and prints ratios.
#![deny(missing_docs)]

mod embassy;
mod iceoryx;
mod self_test;
mod tarpc_uds;
mod tokio_uds;

use std::process::ExitCode;

use baton_bench_harness::{Driver, HarnessError, RoleFn, dispatch_role, serve_driver};

/// A driver of each peer, references first.
fn drivers() -> Vec<Box<dyn Driver>> {
    let mut drivers = baton_bench_references::drivers();
    let peers: [Box<dyn Driver>; 4] = [
        Box::new(embassy::Embassy),
        Box::new(iceoryx::Iceoryx2),
        Box::new(tokio_uds::TokioUds),
        Box::new(tarpc_uds::Tarpc),
    ];
    drivers.extend(peers);
    drivers
}

fn roles() -> Vec<(&'static str, RoleFn)> {
    let mut roles = baton_bench_references::roles();
    for more in [iceoryx::ROLES, tokio_uds::ROLES, tarpc_uds::ROLES] {
        roles.extend(more);
    }
    roles
}

fn main() -> ExitCode {
    if let Some(code) = dispatch_role(&roles()) {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["list"] => {
            list();
            Ok(())
        }
        ["drive", peer] => drive(peer),
        [embassy::COMMAND, tasks, turns] => run_embassy(tasks, turns),
        ["self-test", rest @ ..] => self_test::run(drivers(), rest),
        _ => Err(HarnessError::Unsupported(
            "usage: baton-bench-peers list | drive <peer> | self-test [<ms> [<samples>]]".into(),
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("baton-bench-peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What callgrind counts; not for use by hand.
fn run_embassy(tasks: &str, turns: &str) -> Result<(), HarnessError> {
    match (tasks.parse(), turns.parse()) {
        (Ok(tasks), Ok(turns)) => embassy::run_turns(tasks, turns),
        _ => Err(HarnessError::Protocol(
            "tasks and turns must be numbers".into(),
        )),
    }
}

fn list() {
    for driver in drivers() {
        for shape in driver.shapes() {
            println!("{} {shape}", driver.peer());
        }
    }
}

fn drive(peer: &str) -> Result<(), HarnessError> {
    let driver = drivers().into_iter().find(|driver| driver.peer() == peer);
    serve_driver(driver.ok_or_else(|| {
        HarnessError::Unsupported(format!("no peer is called {peer:?}, see `list`"))
    })?)
}
