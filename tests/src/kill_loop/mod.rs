//! The kill loop: one server and several clients under load, killed with SIGKILL at random points.
//!
//! Purpose: to show that no acknowledged message is lost, that the others go on, and that nothing is left behind.
//!
//! How a loss would show: each key has one client that writes it, always a larger value. The client records each value
//! before it puts it (attempted) and when the put was acknowledged (acked), in memory that outlives it; the server keeps what it
//! took in memory that outlives *it*, before it acknowledges. So whoever is killed, a later `get` must find at least the
//! acknowledged value and at most the attempted one.
//!
//! | module | what |
//! | --- | --- |
//! | `record` | the memory that outlives its writers |
//! | `service` | what is called |
//! | `client`, `server` | the processes that are killed |
//! | `supervisor` | the process that kills and checks |

mod client;
mod record;
mod server;
mod service;
mod supervisor;

use crate::process::{Fault, number, text};
use std::process::ExitCode;

/// Client processes.
const CLIENTS: usize = 3;
/// Tasks of each client that put and get.
const WORKERS: usize = 4;
/// Keys of each task.
const KEYS_OF_WORKER: usize = 8;
/// Keys of each client.
const KEYS: usize = WORKERS * KEYS_OF_WORKER;

/// The program.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match text(&args, "--role") {
        None => supervisor::run(&args),
        Some("server") => server::run(&args),
        Some("client") => client::run(&args),
        Some(role) => Err(format!("no role {role:?}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("kill-loop: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// What every role is told on its command line.
struct Told {
    name: baton_linux::ServiceName,
    record: record::Record,
    client: usize,
    seed: u64,
}

fn told(args: &[String]) -> Result<Told, Fault> {
    let name = text(args, "--name").ok_or("--name is missing")?;
    let record = text(args, "--record").ok_or("--record is missing")?;
    Ok(Told {
        name: baton_linux::ServiceName::new(name).map_err(|error| error.to_string())?,
        record: record::Record::open(record)?,
        client: number(args, "--client", 0)? as usize,
        seed: number(args, "--seed", 1)?,
    })
}
