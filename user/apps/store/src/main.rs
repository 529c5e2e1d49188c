//! The root task that runs a real service: the key-value store and the word index of the Linux demo, with clients in processes of
//! their own that verify every answer. One client is killed in the middle. The exit code is 0 only if all answers were right and all
//! others ended well.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

#[allow(dead_code, reason = "the processes use the rest")]
mod shared;

use alloc::vec::Vec;
use baton_broker::{Broker, End, GrantNumber, ProcessNumber, Report, Spawn};
use baton_platform::ServiceNumber;
use baton_runtime::{OrSay, Root, Unlucky, println};
use shared::{CLIENTS, VICTIM, role, said};

baton_runtime::root_task!(main);

/// The program of all processes, built before this one.
const PROCESS: &[u8] = include_bytes!(env!(
    "BATON_STORE_PROCESS",
    "build with `cargo xtask run store`, which builds the program of the processes first and says where it is"
));

/// What is said of a report that nobody waits for.
const OUT_OF_TURN: &str = "out of turn";

/// Frames of 2 MiB of the root task's own heap.
const HEAP_FRAMES: u64 = 2;

fn main(root: Root) -> Result<u16, Unlucky> {
    let (allocator, window) = root.begin(HEAP_FRAMES)?;
    let mut broker = Broker::new(&root, allocator, window).or_say("no broker")?;
    if let Err(error) = broker.use_clock(&root) {
        println!("deadlines are waited for by giving up the core: {error}");
    }
    match Run::start(&mut broker).and_then(Run::finish) {
        Ok(()) => {
            println!("All went as it should.");
            Ok(0)
        }
        Err(Unlucky) => {
            println!("Something went wrong.");
            Ok(1)
        }
    }
}

struct Run<'a> {
    broker: &'a mut Broker,
    living: Vec<ProcessNumber>,
}

impl<'a> Run<'a> {
    /// Starts services and clients, each service ready before the next process begins.
    fn start(broker: &'a mut Broker) -> Result<Self, Unlucky> {
        let mut run = Run {
            broker,
            living: Vec::new(),
        };
        let first = run.broker.next_process();
        // The first client comes after the three services.
        let first_client = (0..3).fold(first, |number, _| run.broker.process_after(number));
        let board = run.service(role::BOARD, first_client.get().into(), 4, &[])?;
        let store = run.service(role::STORE, 0, 32, &[board])?;
        let index = run.service(role::INDEX, 0, 32, &[board, store])?;
        for number in 0..CLIENTS {
            let arguments = [role::CLIENT, 0, number];
            run.spawn(arguments, 8, &[board, store, index])?;
        }
        Ok(run)
    }

    fn spawn(
        &mut self,
        [role, service, argument]: [u64; 3],
        heap_mib: u64,
        services: &[ServiceNumber],
    ) -> Result<ProcessNumber, Unlucky> {
        let grants = services.iter().map(|service| self.broker.grant(*service));
        let grants: Result<Vec<GrantNumber>, _> = grants.collect();
        let grants = grants.or_say("no capability to a service")?;
        let number = self.broker.next_process().get();
        let arguments = &[role, service, argument, number.into()];
        let spawn = Spawn {
            elf: PROCESS,
            priority: 100,
            heap_bytes: heap_mib << 20,
            stack_pages: 32,
            arguments,
            grants: &grants,
        };
        let process = self.broker.spawn(&spawn);
        let process = process.or_say("a process could not be started")?;
        self.living.push(process);
        Ok(process)
    }

    /// Starts a process that serves, and waits until it does.
    fn service(
        &mut self,
        role: u64,
        argument: u64,
        heap_mib: u64,
        services: &[ServiceNumber],
    ) -> Result<ServiceNumber, Unlucky> {
        let service = self.broker.add_service(self.broker.next_process());
        let arguments = [role, service.0.into(), argument];
        let process = self.spawn(arguments, heap_mib, services)?;
        self.broker
            .expect(process, said::READY)
            .or_say(OUT_OF_TURN)?;
        Ok(service)
    }

    /// Listens until all processes have ended.
    fn finish(mut self) -> Result<(), Unlucky> {
        let clients = self.living.split_off(3);
        let victim = clients.get(VICTIM as usize).copied();
        self.living.extend(clients);
        while !self.living.is_empty() {
            match self.broker.next_report() {
                Report::Said(_, said::ASKING, _) => {
                    if let Some(victim) = victim {
                        println!("Killing process {victim} in the middle of its questions.");
                        self.broker.kill(victim);
                        self.living.retain(|process| *process != victim);
                    }
                }
                Report::Ended(process, End::Exit(0)) => {
                    self.living.retain(|living| *living != process);
                }
                other => return Err(other).or_say(OUT_OF_TURN),
            }
        }
        Ok(())
    }
}
