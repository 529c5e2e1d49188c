//! Services and clients with inboxes, started for a row of the table or for the trace.

use crate::local::JoinError;
use crate::shared::{record, role, said, transport};
use crate::{PRIORITY, PROCESS};
use baton_broker::{Broker, End, GrantError, ProcessNumber, Report, Spawn};
use baton_runtime::MapError;
use baton_runtime::process::SpawnError;
use baton_runtime::sel4::Error;
use core::fmt;

/// Bytes of a process's heap.
const HEAP_BYTES: u64 = 16 << 20;

/// What went wrong.
#[derive(Debug)]
pub enum Wrong {
    /// Memory or slots are used up, or the kernel refuses.
    Memory(MapError),
    /// A process could not be started.
    Start(SpawnError),
    /// The kernel does not start it.
    Kernel(Error),
    /// There is no capability to a service.
    Grant(GrantError),
    /// The kernel's lane cannot be used as it should be.
    Lane,
    /// More was recorded than was kept.
    Lost,
    /// One of the two synchronous processes failed.
    Synchronous,
    /// A process said something out of turn, or ended otherwise than it should.
    Otherwise(Report),
    /// So many answers were not right.
    Answers(u64),
}

macro_rules! from {
    ($($error:ty => $variant:ident,)*) => {
        $(impl From<$error> for Wrong {
            fn from(error: $error) -> Self {
                Wrong::$variant(error)
            }
        })*
    };
}

from! {
    MapError => Memory,
    SpawnError => Start,
    Error => Kernel,
    GrantError => Grant,
    Report => Otherwise,
}

impl From<baton_runtime::Exhausted> for Wrong {
    fn from(error: baton_runtime::Exhausted) -> Self {
        Wrong::Memory(error.into())
    }
}

impl From<JoinError> for Wrong {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Exhausted(error) => error.into(),
            JoinError::Map(error) => Wrong::Memory(error),
            JoinError::Kernel(error) => Wrong::Kernel(error),
            JoinError::Lane(_) => Wrong::Lane,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Memory(error) => error.fmt(f),
            Wrong::Start(error) => write!(f, "a process could not be started: {error}"),
            Wrong::Kernel(error) => write!(f, "the kernel refuses: {error}"),
            Wrong::Grant(error) => error.fmt(f),
            Wrong::Lane => f.write_str("the kernel's lane cannot be used as it should be"),
            Wrong::Lost => f.write_str("events were lost, so that not all are counted"),
            Wrong::Synchronous => f.write_str("a synchronous process failed"),
            Wrong::Otherwise(report) => report.fmt(f),
            Wrong::Answers(wrong) => write!(f, "{wrong} answers were not right"),
        }
    }
}

/// What a client is to ask.
#[derive(Clone, Copy)]
pub struct Asked {
    /// One of [`transport`].
    pub transport: u64,
    /// How many requests.
    pub requests: u64,
    /// How many under way at a time.
    pub outstanding: u64,
}

/// What processes with inboxes have said by their end.
#[derive(Default)]
struct Heard {
    right: u64,
    instructions: u64,
    system_calls: u64,
}

/// The broker, and how processes are started for one row.
pub struct Stage<'a> {
    broker: &'a mut Broker,
}

impl<'a> Stage<'a> {
    pub fn new(broker: &'a mut Broker) -> Self {
        Stage { broker }
    }

    /// How many instructions the requests take, without a trace.
    pub fn instructions(&mut self, asked: Asked) -> Result<u64, Wrong> {
        let heard = self.ask(asked.transport, &[asked], record::NOTHING)?;
        Ok(heard.instructions)
    }

    /// How many system calls both sides make for the requests.
    pub fn system_calls(&mut self, asked: Asked) -> Result<u64, Wrong> {
        let heard = self.ask(asked.transport, &[asked], record::COUNT)?;
        Ok(heard.system_calls)
    }

    /// Lets one client have one request under way and another several, and all print what they recorded.
    pub fn trace(&mut self) -> Result<(), Wrong> {
        let asked = |requests, outstanding| Asked {
            transport: transport::LANES,
            requests,
            outstanding,
        };
        let clients = [asked(8, 1), asked(16, 4)];
        self.ask(transport::LANES, &clients, record::PRINT)?;
        Ok(())
    }

    /// Starts a service and its clients, and listens until all have ended.
    fn ask(&mut self, transport: u64, clients: &[Asked], record: u64) -> Result<Heard, Wrong> {
        let server = self.broker.next_process();
        let service = self.broker.add_service(server);
        let number = u64::from(server.get());
        let count = clients.len() as u64;
        let arguments = [
            role::SERVER,
            transport,
            service.0.into(),
            count,
            record,
            number,
        ];
        self.start(&arguments, &[])?;
        self.broker.expect(server, said::READY)?;
        for client in clients {
            let grant = self.broker.grant(service)?;
            let number = u64::from(self.broker.next_process().get());
            let arguments = [
                role::CLIENT,
                transport,
                client.requests,
                client.outstanding,
                record,
                number,
            ];
            self.start(&arguments, &[grant])?;
        }
        let mut heard = Heard::default();
        let mut left = clients.len() + 1;
        while left != 0 {
            match self.broker.next_report() {
                Report::Said(_, said::DONE, [right, instructions, _]) => {
                    heard.right += right;
                    heard.instructions += instructions;
                }
                Report::Said(_, said::CALLS, [calls, ..]) => heard.system_calls += calls,
                Report::Ended(_, End::Exit(0)) => left -= 1,
                other => return Err(other.into()),
            }
        }
        let requests: u64 = clients.iter().map(|client| client.requests).sum();
        match requests - heard.right.min(requests) {
            0 => Ok(heard),
            wrong => Err(Wrong::Answers(wrong)),
        }
    }

    fn start(
        &mut self,
        arguments: &[u64],
        grants: &[baton_broker::GrantNumber],
    ) -> Result<ProcessNumber, Wrong> {
        let spawn = Spawn {
            elf: PROCESS,
            priority: PRIORITY,
            heap_bytes: HEAP_BYTES,
            stack_pages: 16,
            arguments,
            grants,
        };
        Ok(self.broker.spawn(&spawn)?)
    }
}
