//! The cases, each with processes of its own, of which nothing may be left at its end.

use crate::shared::{role, said, trespass};
use crate::stage::{Failed, Stage};
use baton_broker::{End, Report};
use baton_runtime::println;
use baton_runtime::sel4::Fault;

type Case = (&'static str, fn(&mut Stage<'_>, u64) -> Result<(), Failed>);

const CASES: &[Case] = &[
    (
        "three clients work at random, one is killed, another comes, and all memory is back",
        at_random,
    ),
    (
        "a quota holds beside a client at work, and every mistake has its error",
        greedy,
    ),
    (
        "what was unmapped, freed, or never given cannot be touched",
        trespassed,
    ),
    (
        "a client whose capability is revoked loses its memory, and nobody else",
        revoked,
    ),
    (
        "a server that is killed takes its memory along, and the next one has all of it",
        server_killed,
    ),
];

/// Steps of each task of a client.
const STEPS: u64 = 150;
/// Tasks of a client, each with one request under way.
const TASKS: u64 = 6;

/// Runs all cases and returns how many failed.
pub fn run(stage: &mut Stage<'_>, seed: u64) -> u64 {
    let mut failed = 0;
    for (name, case) in CASES {
        match case(stage, seed).and_then(|()| stage.clear()) {
            Ok(()) => println!("ok   {name}"),
            Err(why) => {
                failed += 1;
                println!("     {why}");
                println!("FAIL {name}");
                // What is left of it would be in the way of the others.
                stage.broker.kill_all();
                if let Err(why) = stage.take_memory() {
                    println!("     {why}");
                }
            }
        }
    }
    failed
}

fn at_random(stage: &mut Stage<'_>, seed: u64) -> Result<(), Failed> {
    let server = stage.server(4)?;
    let client = |number: u64| [role::CLIENT, seed + number, STEPS, TASKS];
    let (one, _) = stage.client(server, &client(1))?;
    let (two, _) = stage.client(server, &client(2))?;
    let (victim, _) = stage.client(server, &[role::LOOPER, seed + 3, 0, TASKS])?;
    let mut others: u64 = 2;
    loop {
        match stage.broker.next_report() {
            Report::Said(who, said::UNDER_WAY, _) if who == victim => break,
            Report::Said(who, said::UNDER_WAY, _) if who == one || who == two => {}
            Report::Ended(who, End::Exit(0)) if who == one || who == two => others -= 1,
            other => return Err(other.into()),
        }
    }
    if others == 0 {
        return Err(Failed::Left(
            "the others were done before the third was under way",
        ));
    }
    stage.broker.kill(victim);
    stage.client(server, &client(4))?;
    let mut left = others + 2;
    while left != 0 {
        match stage.broker.next_report() {
            Report::Said(..) => {}
            Report::Ended(who, End::Exit(0)) if who != victim => left -= 1,
            other => return Err(other.into()),
        }
    }
    Ok(())
}

fn greedy(stage: &mut Stage<'_>, seed: u64) -> Result<(), Failed> {
    let server = stage.server(2)?;
    let (greedy, _) = stage.client(server, &[role::GREEDY])?;
    let (other, _) = stage.client(server, &[role::CLIENT, seed + 5, STEPS / 3, TASKS])?;
    Ok(stage
        .broker
        .all_end_well(&[server.process, greedy, other])?)
}

fn trespassed(stage: &mut Stage<'_>, _seed: u64) -> Result<(), Failed> {
    let server = stage.server(trespass::KINDS)?;
    // It sees the last of them go before that faults, or after.
    let mut server_ended = false;
    for kind in 0..trespass::KINDS {
        let (process, _) = stage.client(server, &[role::TRESPASSER, kind])?;
        let mut announced = None;
        loop {
            match stage.broker.next_report() {
                Report::Said(who, said::TOUCHES, [address, ..]) if who == process => {
                    announced = Some(address);
                }
                Report::Ended(who, End::Fault(Fault::Vm { address, .. }))
                    if who == process && Some(address) == announced =>
                {
                    break;
                }
                Report::Ended(who, End::Exit(0)) if who == server.process => server_ended = true,
                other => return Err(other.into()),
            }
        }
    }
    match server_ended {
        true => Ok(()),
        false => Ok(stage.broker.all_end_well(&[server.process])?),
    }
}

fn revoked(stage: &mut Stage<'_>, seed: u64) -> Result<(), Failed> {
    let server = stage.server(2)?;
    let (victim, grant) = stage.client(server, &[role::LOOPER, seed + 6, 0, TASKS])?;
    stage.broker.expect(victim, said::UNDER_WAY)?;
    stage.client(server, &[role::CLIENT, seed + 7, STEPS / 3, TASKS])?;
    if !stage.broker.revoke(grant).is_ok_and(|revoked| revoked) {
        return Err(Failed::NotMade("a revocation"));
    }
    let mut left = 3;
    while left != 0 {
        match stage.broker.next_report() {
            Report::Said(..) => {}
            // What it has mapped may be gone before it has heard that its connection is.
            Report::Ended(who, End::Fault(Fault::Vm { .. })) if who == victim => left -= 1,
            Report::Ended(_, End::Exit(0)) => left -= 1,
            other => return Err(other.into()),
        }
    }
    Ok(())
}

fn server_killed(stage: &mut Stage<'_>, seed: u64) -> Result<(), Failed> {
    for round in 0..3 {
        let server = stage.server(1)?;
        let (client, _) = stage.client(server, &[role::LOOPER, seed + 8 + round, 0, TASKS])?;
        stage.broker.expect(client, said::UNDER_WAY)?;
        stage.broker.kill(server.process);
        stage.take_memory()?;
        match stage.broker.next_report() {
            Report::Ended(who, End::Fault(Fault::Vm { .. }) | End::Exit(0)) if who == client => {}
            other => return Err(other.into()),
        }
    }
    let server = stage.server(1)?;
    let (client, _) = stage.client(server, &[role::CLIENT, seed + 11, STEPS / 3, TASKS])?;
    Ok(stage.broker.all_end_well(&[server.process, client])?)
}
