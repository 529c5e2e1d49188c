//! What the cases work with: a server, clients by role, and what they say.

use crate::shared::{CNODE_BITS, LANE_BITS, MEMORY_BITS, role, said};
use baton_broker::{Broker, Extras, GrantNumber, ProcessNumber, Report, Spawn};
use baton_platform::ServiceNumber;
use baton_runtime::process::Gift;
use baton_runtime::sel4::{CPtr, CapRights, ObjectType, Untyped};
use baton_runtime::{ObjectSource, println};

const PROCESS: &[u8] = include_bytes!(env!(
    "BATON_PAGES_PROCESS",
    "build with `cargo xtask run pages`, which builds the program of the processes first and says where it is"
));

/// Why a case failed.
#[derive(Debug)]
pub enum Failed {
    /// Something could not be made.
    NotMade(&'static str),
    /// A process said something else, or ended otherwise, than it must.
    Otherwise(Report),
    /// Something is left, or otherwise than it must be.
    Left(&'static str),
}

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Failed::NotMade(what) => write!(f, "{what} could not be made"),
            Failed::Otherwise(report) => report.fmt(f),
            Failed::Left(what) => f.write_str(what),
        }
    }
}

impl From<Report> for Failed {
    fn from(report: Report) -> Self {
        Failed::Otherwise(report)
    }
}

/// One broker, and the memory that servers are given.
pub struct Stage<'a> {
    pub broker: &'a mut Broker,
    memory: Untyped,
    lane: Untyped,
    /// An empty slot.
    slot: CPtr,
}

/// A server, and the service that it serves.
#[derive(Clone, Copy)]
pub struct Server {
    pub process: ProcessNumber,
    pub service: ServiceNumber,
}

impl<'a> Stage<'a> {
    pub fn new(broker: &'a mut Broker) -> Result<Self, Failed> {
        let objects = broker.allocator();
        let made = |what| move |_| Failed::NotMade(what);
        let memory = objects.make_untyped(MEMORY_BITS);
        let lane = objects.make_untyped(LANE_BITS);
        let slot = objects.slot();
        Ok(Stage {
            memory: memory.map_err(made("the server's memory"))?,
            lane: lane.map_err(made("memory for its kernel lane"))?,
            slot: slot.map_err(made("a slot"))?,
            broker,
        })
    }

    fn start(
        &mut self,
        heap_mib: u64,
        arguments: &[u64],
        grants: &[GrantNumber],
        extras: &Extras<'_>,
    ) -> Result<ProcessNumber, Failed> {
        let spawn = Spawn {
            elf: PROCESS,
            priority: 100,
            heap_bytes: heap_mib << 20,
            stack_pages: 16,
            arguments,
            grants,
        };
        self.broker.spawn_with(&spawn, extras).map_err(|error| {
            println!("     {error}");
            Failed::NotMade("a process")
        })
    }

    /// Starts a server, which ends when so many clients have come and all have gone, and waits until it is ready.
    pub fn server(&mut self, clients: u64) -> Result<Server, Failed> {
        let process = self.broker.next_process();
        let service = self.broker.add_memory_service(process);
        let objects = self.broker.allocator();
        let gifts = [self.memory, self.lane].map(|untyped| Gift {
            from: objects.place(untyped),
            rights: CapRights::ALL,
            badge: 0,
        });
        let extras = Extras {
            cnode_size_bits: CNODE_BITS,
            gifts: &gifts,
        };
        let arguments = [role::SERVER, service.0.into(), clients];
        self.start(8, &arguments, &[], &extras)?;
        self.broker.expect(process, said::READY)?;
        Ok(Server { process, service })
    }

    /// Starts a client of that server.
    pub fn client(
        &mut self,
        server: Server,
        arguments: &[u64],
    ) -> Result<(ProcessNumber, GrantNumber), Failed> {
        let grant = self.broker.grant(server.service);
        let grant = grant.map_err(|_| Failed::NotMade("a capability to the server"))?;
        let process = self.start(2, arguments, &[grant], &Extras::default())?;
        Ok((process, grant))
    }

    /// Nothing may be left after a case, and all memory must be whole again: it is revoked, and made one object.
    pub fn clear(&mut self) -> Result<(), Failed> {
        let figures = self.broker.figures();
        if figures.processes + figures.standing + figures.ending != 0 {
            return Err(Failed::Left("processes or connections are left"));
        }
        self.take_memory()
    }

    /// Revokes the server's memory.
    pub fn take_memory(&mut self) -> Result<(), Failed> {
        let objects = self.broker.allocator();
        let (root, slot) = (
            objects.cnode().slot_at(0, 0),
            objects.cnode().slot(self.slot),
        );
        for (untyped, bits) in [(self.memory, MEMORY_BITS), (self.lane, LANE_BITS)] {
            let whole = objects
                .place(untyped)
                .revoke()
                .and_then(|()| untyped.retype(ObjectType::Untyped, bits, root, self.slot, 1))
                .and_then(|()| slot.delete());
            whole.map_err(|_| Failed::Left("memory is left that was not taken back"))?;
        }
        Ok(())
    }
}
