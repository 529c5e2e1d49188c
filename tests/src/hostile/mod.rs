//! The hostile peer: a real second process that connects by the real handshake and then writes whatever it likes.
//!
//! Purpose: to show that a victim never panics, blocks, or answers an honest client wrongly, whatever a peer writes into
//! everything it may write: its region, its state word, the victim's hint word, the victim's bell.
//!
//! | module | what |
//! | --- | --- |
//! | `supervisor` | starts all, watches that the honest go on, prints the counts |
//! | `victim` | serves all, and calls the hostile process back |
//! | `honest` | clients that check every answer |
//! | `hostile` | the process that lies: connects, attacks, connects again |
//! | `attack` | the ways to lie |
//! | `pen` | what may be written, and where |
//! | `tally` | the counts |

mod attack;
mod honest;
#[expect(
    clippy::module_inception,
    reason = "the hostile process is one role among the four of this program"
)]
mod hostile;
mod pen;
mod service;
mod supervisor;
mod tally;
mod victim;

use crate::process::{Fault, number, text};
use std::process::ExitCode;

/// Honest client processes.
const HONEST: usize = 2;
/// Requests that a client may have outstanding, and that the victim may have outstanding with the hostile one.
const CREDITS: u32 = 8;
/// Bytes of each bulk buffer.
const BULK_BYTES: u32 = 256;
/// How the hostile process calls itself.
const HOSTILE_NAME: &str = "hostile";

/// The program.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match text(&args, "--role") {
        None => supervisor::run(&args),
        Some("victim") => told(&args).and_then(|told| victim::run(&told)),
        Some("honest") => told(&args).and_then(|told| honest::run(&told)),
        Some("hostile") => told(&args).and_then(|told| hostile::run(&told)),
        Some(role) => Err(format!("no role {role:?}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("hostile: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// What every role is told on its command line.
struct Told {
    name: baton_linux::ServiceName,
    tally: tally::Tally,
    client: usize,
    seed: u64,
    writes: u64,
}

fn told(args: &[String]) -> Result<Told, Fault> {
    crate::process::end_with_parent();
    let name = text(args, "--name").ok_or("--name is missing")?;
    let tally = text(args, "--tally").ok_or("--tally is missing")?;
    Ok(Told {
        name: baton_linux::ServiceName::new(name).map_err(|error| error.to_string())?,
        tally: tally::Tally::open(tally)?,
        client: number(args, "--client", 0)? as usize,
        seed: number(args, "--seed", 1)?,
        writes: number(args, "--writes", 0)?,
    })
}
