//! What the cases work with: processes by role, and what they say.

use crate::shared::{role, said};
use baton_broker::{Broker, End, GrantNumber, Outcome, ProcessNumber, Spawn};
use baton_platform::ServiceNumber;
use baton_runtime::println;
use baton_runtime::sel4::Received;

const PROCESS: &[u8] = include_bytes!(env!(
    "BATON_CONNECT_PROCESS",
    "build with `cargo xtask run connect`, which builds the program of the processes first and says where it is"
));

/// Priority of processes where nothing else is said.
const PRIORITY: u64 = 100;

/// Why a case failed.
#[derive(Debug)]
pub enum Failed {
    /// Something could not be made.
    NotMade,
    /// A process ended otherwise than it must.
    Ended(ProcessNumber, End),
    /// A process said something else than was expected.
    Said(ProcessNumber, u64),
    /// Something is left, or otherwise than it must be.
    Left(&'static str, u64),
}

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Failed::NotMade => f.write_str("something could not be made"),
            Failed::Ended(who, End::Exit(code)) => {
                write!(f, "process {who} ended with code {code}")
            }
            Failed::Ended(who, End::Panic(text)) => {
                write!(f, "process {who} panicked: {}", text.as_str())
            }
            Failed::Ended(who, End::Fault(fault)) => write!(f, "process {who} faulted {fault}"),
            Failed::Said(who, what) => write!(f, "process {who} said {what:#x}"),
            Failed::Left(what, count) => write!(f, "{what}: {count}"),
        }
    }
}

/// What a process does that a case waits for.
#[derive(Debug)]
pub enum Said {
    /// It said this, one word.
    Word(ProcessNumber, u64, u64),
    /// It has ended.
    Ended(ProcessNumber, End),
}

/// One broker, and how processes are started for a case.
pub struct Stage<'a> {
    /// The broker.
    pub broker: &'a mut Broker,
}

/// A server, and the service that it serves.
#[derive(Clone, Copy)]
pub struct Server {
    pub process: ProcessNumber,
    pub service: ServiceNumber,
}

impl<'a> Stage<'a> {
    pub fn new(broker: &'a mut Broker) -> Self {
        Stage { broker }
    }

    /// Starts a process.
    pub fn start(
        &mut self,
        arguments: &[u64],
        grants: &[GrantNumber],
    ) -> Result<ProcessNumber, Failed> {
        let spawn = Spawn {
            elf: PROCESS,
            priority: PRIORITY,
            heap_bytes: 4 << 20,
            stack_pages: 16,
            arguments,
            grants,
        };
        self.broker.spawn(&spawn).map_err(|error| {
            println!("     a process could not be started: {error}");
            Failed::NotMade
        })
    }

    /// Starts a server of a service of its own, which ends when so many clients have come and all have gone, and waits until it is
    /// ready.
    pub fn server(&mut self, mode: u64, clients: u64) -> Result<Server, Failed> {
        let process = self.broker.next_process();
        let service = self.broker.add_service(process);
        self.start(&[role::SERVER, mode, service.0.into(), clients], &[])?;
        self.expect(process, said::READY)?;
        Ok(Server { process, service })
    }

    /// A capability to a service.
    pub fn grant(&mut self, service: ServiceNumber) -> Result<GrantNumber, Failed> {
        self.broker.grant(service).map_err(|_| Failed::NotMade)
    }

    /// Starts a process that has a capability to the server's service.
    pub fn client_of(
        &mut self,
        server: Server,
        arguments: &[u64],
    ) -> Result<(ProcessNumber, GrantNumber), Failed> {
        let grant = self.grant(server.service)?;
        let process = self.start(arguments, &[grant])?;
        Ok((process, grant))
    }

    /// Waits for the next thing that the broker does not deal with by itself.
    pub fn next(&mut self) -> Said {
        loop {
            let received = self.broker.listener().recv();
            match self.broker.handle(received) {
                Outcome::Handled => {}
                Outcome::Print(process, text) => {
                    for line in text.as_str().lines() {
                        println!("     {process}: {line}");
                    }
                }
                Outcome::Ended(process, end) => return Said::Ended(process, end),
                Outcome::Other(process, other) => {
                    return Said::Word(process, other.label(), word(&other));
                }
            }
        }
    }

    /// Waits until that process says that; anything else but that is a failure.
    pub fn expect(&mut self, process: ProcessNumber, label: u64) -> Result<(), Failed> {
        match self.next() {
            Said::Word(who, what, _) if who == process && what == label => Ok(()),
            Said::Word(who, what, _) => Err(Failed::Said(who, what)),
            Said::Ended(who, end) => Err(Failed::Ended(who, end)),
        }
    }

    /// Waits until each of `processes` has said that, in any order.
    pub fn expect_all(&mut self, processes: &[ProcessNumber], label: u64) -> Result<(), Failed> {
        let mut left = processes.len();
        while left != 0 {
            match self.next() {
                Said::Word(who, what, _) if what == label && processes.contains(&who) => left -= 1,
                Said::Word(who, what, _) => return Err(Failed::Said(who, what)),
                Said::Ended(who, end) => return Err(Failed::Ended(who, end)),
            }
        }
        Ok(())
    }

    /// Waits until each of `processes` has ended with code 0, in any order; what else they say does not count.
    pub fn all_end_well(&mut self, processes: &[ProcessNumber]) -> Result<(), Failed> {
        let mut left = processes.len();
        while left != 0 {
            match self.next() {
                Said::Word(..) => {}
                Said::Ended(who, End::Exit(0)) if processes.contains(&who) => left -= 1,
                Said::Ended(who, end) => return Err(Failed::Ended(who, end)),
            }
        }
        Ok(())
    }

    /// Nothing may be left after a case: ends what lives, and says what there was.
    pub fn clear(&mut self) -> Result<(), Failed> {
        let figures = self.broker.figures();
        for left in [
            ("processes left", figures.processes),
            ("connections left standing", figures.standing),
            ("connections left ending", figures.ending),
        ] {
            if left.1 != 0 {
                return Err(Failed::Left(left.0, left.1 as u64));
            }
        }
        Ok(())
    }
}

fn word(received: &Received) -> u64 {
    received.word(0)
}
