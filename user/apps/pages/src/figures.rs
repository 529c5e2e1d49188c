//! What requests take, in instructions, with asynchronous system calls and with synchronous ones.

use crate::shared::{role, said};
use crate::stage::{Failed, Stage};
use baton_broker::{End, Report};
use baton_runtime::println;

/// Requests outstanding.
const OUTSTANDING: [u64; 3] = [1, 8, 32];
/// Pages of a region.
const PAGES: [u64; 2] = [1, 8];

/// Prints the figures. They mean something only if the machine counts instructions.
pub fn print(stage: &mut Stage<'_>, features: u64) -> Result<(), Failed> {
    println!("instructions a request, of client, server and kernel together:");
    println!("outstanding pages calls     usage alloc+free/2 map+unmap/2");
    for outstanding in OUTSTANDING {
        for pages in PAGES {
            for (name, features) in [("lane", features), ("traps", 0)] {
                if name == "lane" && features == 0 {
                    continue;
                }
                stage.broker.set_features(features);
                let [usage, alloc_free, map_unmap] = count(stage, outstanding, pages)?;
                println!(
                    "{outstanding:>11} {pages:>5} {name:<5} {usage:>9} {alloc_free:>12} {map_unmap:>11}"
                );
            }
        }
    }
    Ok(())
}

fn count(stage: &mut Stage<'_>, outstanding: u64, pages: u64) -> Result<[u64; 3], Failed> {
    let server = stage.server(1)?;
    let (meter, _) = stage.client(server, &[role::METER, outstanding, pages])?;
    let mut counted = None;
    let mut left = 2;
    while left != 0 {
        match stage.broker.next_report() {
            Report::Said(who, said::COUNTED, words) if who == meter => counted = Some(words),
            Report::Ended(_, End::Exit(0)) => left -= 1,
            other => return Err(other.into()),
        }
    }
    stage.clear()?;
    counted.ok_or(Failed::Left("nothing was counted"))
}
