//! The root task that kills a server under load, again and again: its clients see the end of every call, connect to the next server by the
//! capabilities that they have, and find all in the ledger that was acknowledged. At the end as much memory, slots, addresses and
//! address space identifiers are free as at the beginning. The exit code is 0 only if all was so.
//!
//! The command line may say `rounds=N` and `seed=N`.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod identifiers;
#[allow(dead_code, reason = "the processes use the rest")]
mod shared;

use alloc::vec::Vec;
use baton_broker::{Broker, End, GrantError, GrantNumber, ProcessNumber, Report, Spawn, Stock};
use baton_platform::ServiceNumber;
use baton_runtime::process::SpawnError;
use baton_runtime::sel4::{Message, reply};
use baton_runtime::{OrSay, Root, Unlucky, println};
use core::fmt;
use identifiers::Identifiers;
use shared::{CLIENTS, role, said};

baton_runtime::root_task!(main);

/// The program of all processes, built before this one.
const PROCESS: &[u8] = include_bytes!(env!(
    "BATON_RESTART_PROCESS",
    "build with `cargo xtask run restart`, which builds the program of the processes first and says where it is"
));

/// Frames of 2 MiB of the root task's own heap.
const HEAP_FRAMES: u64 = 2;
/// Priority of all processes: they take turns.
const PRIORITY: u64 = 100;
/// Priority of the saboteur.
const ABOVE: u64 = 150;
/// Rounds before what is free is counted: until then the root task's own stores grow.
const WARM_UP: u64 = 4;

/// What went wrong.
enum Failed {
    /// A process could not be started.
    Spawn(SpawnError),
    /// There was no capability to a service.
    Grant(GrantError),
    /// A process ended that should not, or otherwise than it should, or said something that it should not.
    Otherwise(Report),
    /// Something is left that should not be, or lost: before and after.
    Left(Stock, Stock),
    /// Address space identifiers are left: free ones before and after.
    Identifiers(u64, u64),
    /// Processes or connections are left.
    Living(usize, usize),
    /// No service to hand over.
    NoService,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Spawn(error) => write!(f, "a process could not be started: {error}"),
            Failed::Grant(error) => write!(f, "no capability to a service: {error}"),
            Failed::Otherwise(report) => report.fmt(f),
            Failed::Left(before, after) => write!(f, "before {before:?}, after {after:?}"),
            Failed::Identifiers(before, after) => {
                write!(
                    f,
                    "{before} address space identifiers free before, {after} after"
                )
            }
            Failed::Living(processes, connections) => {
                write!(
                    f,
                    "{processes} processes and {connections} connections are left"
                )
            }
            Failed::NoService => f.write_str("the service is gone"),
        }
    }
}

impl From<Report> for Failed {
    fn from(report: Report) -> Self {
        Failed::Otherwise(report)
    }
}

impl From<SpawnError> for Failed {
    fn from(error: SpawnError) -> Self {
        Failed::Spawn(error)
    }
}

impl From<GrantError> for Failed {
    fn from(error: GrantError) -> Self {
        Failed::Grant(error)
    }
}

fn main(root: Root) -> Result<u16, Unlucky> {
    let (mut allocator, window) = root.begin(HEAP_FRAMES)?;
    let numbers = root.numbers(&[("rounds", 20), ("seed", 1)]);
    let [rounds, seed] = numbers.or_say("the command line")?;
    let identifiers = Identifiers::new(&root, &mut allocator);
    let mut identifiers = identifiers.or_say("no address space identifiers to count")?;
    let mut broker = Broker::new(&root, allocator, window).or_say("no broker")?;
    let clock = broker.use_clock(&root);
    clock.or_say("no clock, and so no random times")?;
    println!("the server is killed {rounds} times under load, seed {seed}");
    let result = run(&mut broker, &mut identifiers, rounds, seed);
    match result {
        Ok(()) => {
            println!("Nothing was lost, and nothing is left.");
            Ok(0)
        }
        Err(why) => {
            println!("FAILED: {why}");
            Ok(1)
        }
    }
}

fn run(
    broker: &mut Broker,
    identifiers: &mut Identifiers,
    wanted: u64,
    seed: u64,
) -> Result<(), Failed> {
    rounds(broker, WARM_UP, seed)?;
    let (before, free_before) = (broker.stock(), identifiers.free());
    rounds(broker, wanted, seed.wrapping_add(1))?;
    let (after, free_after) = (broker.stock(), identifiers.free());
    println!(
        "{} bytes are out, {} slots and {free_after} address space identifiers are free",
        after.bytes_out, after.slots_free
    );
    if before != after || after.bytes_out != 0 || after.pages_out != 0 {
        return Err(Failed::Left(before, after));
    }
    if free_before != free_after {
        return Err(Failed::Identifiers(free_before, free_after));
    }
    Ok(())
}

/// One ledger, one client after another, and servers that are killed `rounds` times; nothing of it lives afterwards.
fn rounds(broker: &mut Broker, rounds: u64, seed: u64) -> Result<(), Failed> {
    let mut load = Load::start(broker, seed)?;
    let mut kills = 0;
    // Clients that have come to the server that there is.
    let mut connected = 0;
    let mut in_order = 0;
    let mut left = CLIENTS;
    while left != 0 {
        match load.next() {
            Report::Said(_, said::CONNECTED, _) => {
                connected += 1;
                reply(&Message::new(0, &[u64::from(kills >= rounds)]));
            }
            // Mostly under load; now and then wherever the server is with its start.
            Report::Said(_, said::NOW, _) if connected < CLIENTS && kills % 8 != 7 => {
                reply(&Message::new(0, &[0]));
            }
            Report::Said(_, said::NOW, _) => {
                connected = 0;
                kills += 1;
                // Then it is told, for it waits, and nothing else may be received before.
                load.broker.kill(load.server);
                reply(&Message::new(0, &[u64::from(kills >= rounds)]));
                load.start_server()?;
            }
            Report::Said(_, said::IN_ORDER, [recorded, acknowledged, deaths]) => {
                println!(
                    "  {recorded} numbers, {acknowledged} acknowledged, all in the ledger; the server died {deaths} times"
                );
                in_order += 1;
            }
            Report::Ended(who, End::Exit(0)) if load.clients.contains(&who) => left -= 1,
            Report::Ended(who, End::Exit(0)) if who == load.saboteur => {}
            other => return Err(other.into()),
        }
    }
    if in_order != CLIENTS {
        return Err(Failed::Living(in_order as usize, 0));
    }
    let (ledger, server, grants) = (load.ledger, load.server, load.grants);
    broker.kill(server);
    broker.kill(ledger);
    for grant in grants {
        // Its capability goes; there is nothing left that it leads to.
        let _ = broker.revoke(grant);
    }
    let figures = broker.figures();
    let connections = figures.standing + figures.ending;
    if figures.processes + connections != 0 {
        return Err(Failed::Living(figures.processes, connections));
    }
    Ok(())
}

/// The processes of a run.
struct Load<'a> {
    broker: &'a mut Broker,
    ledger: ProcessNumber,
    server: ProcessNumber,
    service: ServiceNumber,
    to_ledger: GrantNumber,
    clients: Vec<ProcessNumber>,
    saboteur: ProcessNumber,
    grants: Vec<GrantNumber>,
}

impl<'a> Load<'a> {
    fn start(broker: &'a mut Broker, seed: u64) -> Result<Self, Failed> {
        let ledger = broker.next_process();
        let server = broker.process_after(ledger);
        let recorded = broker.add_service(ledger);
        let service = broker.add_service(server);
        let to_ledger = broker.grant(recorded)?;
        let mut load = Load {
            broker,
            ledger,
            server,
            service,
            to_ledger,
            clients: Vec::new(),
            saboteur: server,
            grants: alloc::vec![to_ledger],
        };
        load.spawn(&[role::LEDGER, recorded.0.into()], &[])?;
        load.broker.expect(ledger, said::READY)?;
        load.start_server()?;
        for number in 0..CLIENTS {
            let grant = load.broker.grant(service)?;
            load.grants.push(grant);
            let client = load.spawn(&[role::CLIENT, number], &[grant])?;
            load.clients.push(client);
        }
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        load.saboteur = load.spawn_at(ABOVE, &[role::SABOTEUR, random], &[])?;
        Ok(load)
    }

    fn spawn(
        &mut self,
        arguments: &[u64],
        grants: &[GrantNumber],
    ) -> Result<ProcessNumber, Failed> {
        self.spawn_at(PRIORITY, arguments, grants)
    }

    fn spawn_at(
        &mut self,
        priority: u64,
        arguments: &[u64],
        grants: &[GrantNumber],
    ) -> Result<ProcessNumber, Failed> {
        let spawn = Spawn {
            elf: PROCESS,
            priority,
            heap_bytes: 4 << 20,
            stack_pages: 16,
            arguments,
            grants,
        };
        Ok(self.broker.spawn(&spawn)?)
    }

    /// Starts a server in the place of the one before.
    fn start_server(&mut self) -> Result<(), Failed> {
        let next = self.broker.next_process();
        if !self.broker.hand_over(self.service, next) {
            return Err(Failed::NoService);
        }
        let to_ledger = self.to_ledger;
        self.server = self.spawn(&[role::SERVER, self.service.0.into()], &[to_ledger])?;
        Ok(())
    }

    /// The next thing that is neither the broker's business nor a server that is ready.
    fn next(&mut self) -> Report {
        loop {
            match self.broker.next_report() {
                Report::Said(_, said::READY, _) => {}
                report => return report,
            }
        }
    }
}
