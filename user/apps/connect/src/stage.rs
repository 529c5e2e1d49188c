//! What the cases work with: processes by role, and what they say.

use crate::shared::{role, said};
use baton_broker::{Broker, GrantNumber, ProcessNumber, Report, Spawn};
use baton_platform::ServiceNumber;
use baton_runtime::println;

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
    /// A process said something else, or ended otherwise, than it must.
    Otherwise(Report),
    /// Something is left, or otherwise than it must be.
    Left(&'static str, u64),
}

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Failed::NotMade => f.write_str("something could not be made"),
            Failed::Otherwise(report) => report.fmt(f),
            Failed::Left(what, count) => write!(f, "{what}: {count}"),
        }
    }
}

impl From<Report> for Failed {
    fn from(report: Report) -> Self {
        Failed::Otherwise(report)
    }
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
        self.broker.expect(process, said::READY)?;
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
