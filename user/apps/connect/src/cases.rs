//! The cases, each with processes of its own, of which nothing may be left at its end.

use crate::shared::{UNDER_WAY, mode, role, said, trespass};
use crate::stage::{Failed, Server, Stage};
use baton_broker::{End, ProcessNumber, Report};
use baton_runtime::println;
use baton_runtime::sel4::{Fault, Message, reply};

type Case = (&'static str, fn(&mut Stage<'_>) -> Result<(), Failed>);

const CASES: &[Case] = &[
    (
        "two clients make every call, all asleep in between",
        two_clients_parked,
    ),
    (
        "two clients make every call, giving up the core first",
        two_clients_adaptive,
    ),
    (
        "two processes serve and call each other over both connections",
        both_roles,
    ),
    (
        "by capability alone: who has none is not let in, and one opens only so many connections",
        without,
    ),
    (
        "revoking one client's capability under load ends its calls and nobody else's",
        revoked,
    ),
    (
        "a client killed with calls under way harms nobody",
        client_killed,
    ),
    (
        "a client that faults with calls under way harms nobody",
        client_faults,
    ),
    (
        "a server killed under load ends all calls, and the next serves again",
        server_killed,
    ),
    (
        "a client that writes arbitrary words to all that it may write harms nobody",
        scribbled,
    ),
    ("rights on the mappings are what they must be", trespassed),
    (
        "memory that is not let go of can be taken back, and reads as zeros",
        reclaimed,
    ),
    (
        "sixteen clients of one server, with one outstanding each",
        sixteen,
    ),
];

/// Runs all cases and returns how many failed.
pub fn run(stage: &mut Stage<'_>) -> u64 {
    let mut failed = 0;
    for (name, case) in CASES {
        let result = case(stage).and_then(|()| stage.clear());
        match result {
            Ok(()) => println!("ok   {name}"),
            Err(why) => {
                failed += 1;
                println!("     {why}");
                println!("FAIL {name}");
                // What is left of it would be in the way of the others.
                stage.broker.kill_all();
            }
        }
    }
    failed
}

fn two_clients(stage: &mut Stage<'_>, mode: u64) -> Result<(), Failed> {
    let server = stage.server(mode, 2)?;
    let (one, _) = stage.client_of(server, &[role::CLIENT, mode, 1])?;
    let (two, _) = stage.client_of(server, &[role::CLIENT, mode, 2])?;
    Ok(stage.broker.all_end_well(&[server.process, one, two])?)
}

fn two_clients_parked(stage: &mut Stage<'_>) -> Result<(), Failed> {
    two_clients(stage, mode::PARK)
}

fn two_clients_adaptive(stage: &mut Stage<'_>) -> Result<(), Failed> {
    two_clients(stage, mode::ADAPTIVE)
}

fn both_roles(stage: &mut Stage<'_>) -> Result<(), Failed> {
    let first = stage.broker.next_process();
    let of_first = stage.broker.add_service(first);
    // Its peer is the process after it, of which only the service is needed now.
    let second = stage.broker.process_after(first);
    let of_second = stage.broker.add_service(second);
    let (to_first, to_second) = (stage.grant(of_first)?, stage.grant(of_second)?);
    let arguments = |service: u32| [role::BOTH, mode::PARK, service.into()];
    let started = [
        stage.start(&arguments(of_first.0), &[to_second])?,
        stage.start(&arguments(of_second.0), &[to_first])?,
    ];
    if started != [first, second] {
        return Err(Failed::NotMade);
    }
    stage.broker.expect_all(&started, said::READY)?;
    Ok(stage.broker.all_end_well(&started)?)
}

fn without(stage: &mut Stage<'_>) -> Result<(), Failed> {
    let server = stage.server(mode::PARK, u64::MAX)?;
    let arguments = [role::WITHOUT, mode::PARK, server.service.0.into()];
    let (process, _) = stage.client_of(server, &arguments)?;
    stage.broker.all_end_well(&[process])?;
    if stage.broker.figures().standing != 0 {
        return Err(Failed::Left("connections", 1));
    }
    // The server, who waits for more.
    stage.broker.kill(server.process);
    Ok(())
}

/// Two that call until their connection ends, well under way; the server ends after them.
fn loopers(
    stage: &mut Stage<'_>,
    outstanding: u64,
) -> Result<(Server, [ProcessNumber; 2], [baton_broker::GrantNumber; 2]), Failed> {
    let server = stage.server(mode::PARK, 2)?;
    let arguments = [role::LOOPER, mode::PARK, outstanding];
    let (one, to_one) = stage.client_of(server, &arguments)?;
    let (two, to_two) = stage.client_of(server, &arguments)?;
    stage.broker.expect_all(&[one, two], said::UNDER_WAY)?;
    Ok((server, [one, two], [to_one, to_two]))
}

fn revoked(stage: &mut Stage<'_>) -> Result<(), Failed> {
    for outstanding in [1, 32, 256] {
        let (server, [one, two], [to_one, to_two]) = loopers(stage, outstanding)?;
        revoke(stage, to_one)?;
        stage.broker.all_end_well(&[one])?;
        if stage.broker.figures().standing != 1 {
            return Err(Failed::Left("connections standing", 0));
        }
        // The other goes on; and what is revoked cannot be revoked again.
        if stage.broker.revoke(to_one).is_ok_and(|was| was) {
            return Err(Failed::Left("grants", 1));
        }
        revoke(stage, to_two)?;
        stage.broker.all_end_well(&[two, server.process])?;
    }
    Ok(())
}

fn revoke(stage: &mut Stage<'_>, grant: baton_broker::GrantNumber) -> Result<(), Failed> {
    match stage.broker.revoke(grant) {
        Ok(true) => Ok(()),
        _ => Err(Failed::NotMade),
    }
}

fn client_killed(stage: &mut Stage<'_>) -> Result<(), Failed> {
    for outstanding in [1, 256] {
        let (server, [one, two], [_, to_two]) = loopers(stage, outstanding)?;
        stage.broker.kill(one);
        let (three, _) = stage.client_of(server, &[role::CLIENT, mode::PARK, 3])?;
        stage.broker.all_end_well(&[three])?;
        revoke(stage, to_two)?;
        stage.broker.all_end_well(&[two, server.process])?;
    }
    Ok(())
}

fn client_faults(stage: &mut Stage<'_>) -> Result<(), Failed> {
    let server = stage.server(mode::PARK, 2)?;
    let (faulter, _) = stage.client_of(server, &[role::FAULTER, mode::PARK, 64])?;
    let (client, _) = stage.client_of(server, &[role::CLIENT, mode::PARK, 1])?;
    let mut left = 3;
    while left != 0 {
        match stage.broker.next_report() {
            Report::Ended(
                who,
                End::Fault(Fault::Vm {
                    address: 0xdead_0000,
                    ..
                }),
            ) if who == faulter => {
                left -= 1;
            }
            Report::Ended(who, End::Exit(0)) if who == client || who == server.process => left -= 1,
            other => return Err(other.into()),
        }
    }
    Ok(())
}

fn server_killed(stage: &mut Stage<'_>) -> Result<(), Failed> {
    const ROUNDS: u64 = 20;
    for _ in 0..ROUNDS {
        let (server, clients, _) = loopers(stage, 64)?;
        stage.broker.kill(server.process);
        stage.broker.all_end_well(&clients)?;
    }
    two_clients(stage, mode::PARK)
}

fn scribbled(stage: &mut Stage<'_>) -> Result<(), Failed> {
    const WRITES: u64 = 20_000;
    for seed in 1..=4 {
        let server = stage.server(mode::PARK, 3)?;
        println!("     seed {seed}, {WRITES} writes");
        let arguments = [role::SCRIBBLER, mode::PARK, seed, WRITES];
        let (hostile, _) = stage.client_of(server, &arguments)?;
        let (client, _) = stage.client_of(server, &[role::CLIENT, mode::PARK, 1])?;
        let (mut calm, mut scribbled) = (false, false);
        while !(calm && scribbled) {
            match stage.broker.next_report() {
                Report::Said(who, said::UNDER_WAY, [UNDER_WAY, ..]) if who == hostile => {
                    scribbled = true
                }
                Report::Said(..) => {}
                Report::Ended(who, End::Exit(0)) if who == client => calm = true,
                other => return Err(other.into()),
            }
        }
        // It goes on scribbling, in private by now if the server has noticed, and then does not count any more.
        let (late, _) = stage.client_of(server, &[role::CLIENT, mode::PARK, 2])?;
        let (mut calm, mut over) = (false, false);
        while !calm {
            match stage.broker.next_report() {
                Report::Ended(who, End::Exit(0)) if who == late => calm = true,
                Report::Ended(who, End::Exit(0)) if who == server.process => over = true,
                Report::Said(..) => {}
                other => return Err(other.into()),
            }
        }
        stage.broker.kill(hostile);
        if !over {
            stage.broker.all_end_well(&[server.process])?;
        }
    }
    Ok(())
}

fn trespassed(stage: &mut Stage<'_>) -> Result<(), Failed> {
    let server = stage.server(mode::PARK, trespass::KINDS)?;
    for kind in 0..trespass::KINDS {
        let arguments = [role::TRESPASSER, mode::PARK, kind];
        let (process, _) = stage.client_of(server, &arguments)?;
        match stage.broker.next_report() {
            Report::Ended(who, End::Fault(Fault::Vm { .. })) if who == process => {}
            // The server sees the last of them go.
            other => return Err(other.into()),
        }
    }
    Ok(stage.broker.all_end_well(&[server.process])?)
}

fn reclaimed(stage: &mut Stage<'_>) -> Result<(), Failed> {
    let server = stage.server(mode::PARK, 1)?;
    let (hoarder, grant) = stage.client_of(server, &[role::HOARDER, mode::PARK])?;
    stage.broker.expect(hoarder, said::UNDER_WAY)?;
    revoke(stage, grant)?;
    let patched = stage.broker.figures().patched;
    let (mut hoarded, mut served) = (false, false);
    while !(hoarded && served) {
        match stage.broker.next_report() {
            Report::Said(who, said::HOLDS, _) if who == hoarder => {
                if stage.broker.reclaim() != 1 {
                    return Err(Failed::Left("connections that could not be taken back", 1));
                }
                // Before anything else is received, for it waits for this reply.
                reply(&Message::new(0, &[]));
            }
            Report::Ended(who, End::Exit(0)) if who == server.process => served = true,
            Report::Ended(who, End::Exit(0)) if who == hoarder => hoarded = true,
            other => return Err(other.into()),
        }
    }
    match stage.broker.figures().patched - patched {
        0 => Err(Failed::Left("pages patched", 0)),
        _ => Ok(()),
    }
}

fn sixteen(stage: &mut Stage<'_>) -> Result<(), Failed> {
    const CLIENTS: usize = 16;
    let server = stage.server(mode::PARK, CLIENTS as u64)?;
    let mut clients = [server.process; CLIENTS];
    let mut grants = alloc::vec::Vec::new();
    for client in &mut clients {
        let (process, grant) = stage.client_of(server, &[role::LOOPER, mode::PARK, 1])?;
        *client = process;
        grants.push(grant);
    }
    stage.broker.expect_all(&clients, said::UNDER_WAY)?;
    for grant in grants {
        revoke(stage, grant)?;
    }
    let mut all = alloc::vec::Vec::from(clients);
    all.push(server.process);
    Ok(stage.broker.all_end_well(&all)?)
}
