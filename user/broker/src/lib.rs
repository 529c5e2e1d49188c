//! The broker: who starts processes with inboxes, and makes and ends the connections between them.
//!
//! Purpose: a connection's two regions belong to neither of its ends but to the broker, whom both trust. It maps each region writable
//! where it is written and read-only where it is read, and lends each side a capability that may only signal the other's
//! notification. Who holds a capability to a service gets its lanes, and nothing else; who has none gets nothing.
//!
//! ```text
//!          requests (CONNECT, SERVE, END, RELEASE, ALARM), faults, exits
//! processes ───────────────────────────────────────────────────────────▶ listener ─▶ Broker::handle
//!           ◀─────────────────────────────────────────────────────────── notice pages, signals, mappings
//! ```
//!
//! Invariants:
//! - the broker waits for nobody: it replies, signals, and invokes kernel objects of its own;
//! - what a process says is believed of itself only: which process it is, and which service a capability is to, the badge says;
//! - a region whose connection has ended is written by nobody any more: a private page of zeros lies in its place where it was
//!   written, while the reader keeps what was there until it lets go (ADR 0020);
//! - memory of a connection is used again only after both sides have let go of it, have ended, or were made to ([`Broker::reclaim`]).
//!
//! Neighbours: `baton-platform` is the processes' half, with the protocol; `baton-runtime` makes processes; a root task that is a process
//! server owns the one [`Broker`] and gives it what its endpoint receives.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod alarm;
mod connection;
mod process;
mod report;
mod requests;
mod store;

pub use alarm::{AlarmClock, AlarmError};
pub use process::{End, Extras, ProcessNumber, Spawn};
pub use report::Report;
pub use store::Stock;

use crate::connection::{Connection, Id};
use crate::process::Record;
use crate::store::Store;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use baton_platform::ServiceNumber;
use baton_platform::protocol::{Terms, Transport};
use baton_runtime::protocol::{Event, Text};
use baton_runtime::sel4::{AsidPool, CPtr, CapRights, Endpoint, Error, Received, Slot, Tcb};
use baton_runtime::{Allocator, Exhausted, MapError, ObjectSource, Root, Window};

/// What a badge of the listener's endpoint says: whose message it is, or what a capability is for.
pub(crate) mod badge {
    /// A process, with its number in the lower half.
    pub(crate) const PROCESS: u64 = 1 << 32;
    /// A capability to a service, with the grant's number in the lower half.
    pub(crate) const GRANT: u64 = 2 << 32;
    /// The alarm clock's interrupt.
    pub(crate) const ALARM: u64 = 4 << 32;

    /// The kind of a badge, and its number.
    pub(crate) fn split(badge: u64) -> (u64, u32) {
        (badge >> 32 << 32, badge as u32)
    }
}

/// The capability to a service that was given to some process; what was connected with it ends when it is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrantNumber(pub(crate) u32);

struct Service {
    owner: ProcessNumber,
    /// Whether its process is given the address spaces of its clients.
    maps: bool,
    /// What its process grants, once it has said so.
    terms: Option<Terms>,
}

struct Grant {
    service: ServiceNumber,
    /// The first capability with the grant's badge: all others are copies of it.
    master: CPtr,
}

/// Why a grant was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantError {
    /// There is no service of that number.
    NoService,
    /// Capability slots are used up, or the kernel refuses.
    Exhausted(Exhausted),
}

impl From<Exhausted> for GrantError {
    fn from(error: Exhausted) -> Self {
        GrantError::Exhausted(error)
    }
}

impl core::fmt::Display for GrantError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            GrantError::NoService => f.write_str("there is no service of that number"),
            GrantError::Exhausted(error) => error.fmt(f),
        }
    }
}

/// What became of a message.
#[derive(Debug)]
pub enum Outcome {
    /// The broker has dealt with it.
    Handled,
    /// A process wants this printed.
    Print(ProcessNumber, Box<Text>),
    /// A process has ended, and nothing is left of it.
    Ended(ProcessNumber, End),
    /// A process says something that is not the broker's business. A call must be replied to before the next message is received.
    Other(ProcessNumber, Received),
}

/// What the broker has to do with at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Processes that live.
    pub processes: usize,
    /// Connections that stand.
    pub standing: usize,
    /// Connections that have ended and that somebody has not let go of.
    pub ending: usize,
    /// Connections made since the start.
    pub made: u64,
    /// Pages that were put in the place of what a process touched after it was gone.
    pub patched: u64,
}

/// See the crate's page.
pub struct Broker {
    listener: Endpoint,
    authority: Tcb,
    asid_pool: AsidPool,
    features: u64,
    timebase_hz: u64,
    transport: Transport,
    store: Store,
    processes: BTreeMap<u32, Record>,
    services: BTreeMap<u32, Service>,
    grants: BTreeMap<u32, Grant>,
    connections: BTreeMap<Id, Connection>,
    last_process: u32,
    last_service: u32,
    last_grant: u32,
    last_connection: u64,
    patched: u64,
    alarm: Option<AlarmClock>,
}

impl Broker {
    /// A broker with all memory, slots and addresses that are left; the calling thread, whose TCB `root` has, is to give it what its
    /// [`Broker::listener`] receives.
    ///
    /// # Errors
    /// That memory or slots are used up, or the kernel refuses.
    pub fn new(root: &Root, allocator: Allocator, window: Window) -> Result<Self, MapError> {
        let mut store = Store::new(allocator, window)?;
        let listener = store.allocator.make::<Endpoint>()?;
        Ok(Broker {
            listener,
            authority: root.tcb,
            asid_pool: root.asid_pool,
            features: root.features(),
            timebase_hz: root.timebase_hz(),
            transport: Transport::default(),
            store,
            processes: BTreeMap::new(),
            services: BTreeMap::new(),
            grants: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_process: 0,
            last_service: 0,
            last_grant: 0,
            last_connection: 0,
            patched: 0,
            alarm: None,
        })
    }

    /// Where processes call, fault and exit: receive from it, and give each message to [`Broker::handle`].
    pub fn listener(&self) -> Endpoint {
        self.listener
    }

    /// Memory and slots, for what else the root task makes.
    pub fn allocator(&mut self) -> &mut Allocator {
        &mut self.store.allocator
    }

    /// Addresses of the root task, for what else it maps.
    pub fn window(&mut self) -> &mut Window {
        &mut self.store.window
    }

    /// The features word that processes are started with: at first what the kernel says, see [`Root::features`].
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Starts processes with this features word from now on. Bits that the kernel does not have make them call what there is not.
    pub fn set_features(&mut self, features: u64) {
        self.features = features;
    }

    /// Starts processes for this transport from now on: at first [`Transport::Lanes`].
    pub fn set_transport(&mut self, transport: Transport) {
        self.transport = transport;
    }

    /// Makes a service that `owner`, which need not run yet, may serve; see [`Broker::next_process`].
    pub fn add_service(&mut self, owner: ProcessNumber) -> ServiceNumber {
        self.add(owner, false)
    }

    /// As [`Broker::add_service`], of a memory server: as long as a client is connected, `owner` has the capability to the client's
    /// address space ([`slots::SPACES`](baton_platform::protocol::slots::SPACES)) and can map there what it likes. Who grants such a
    /// service to a process entrusts the process's memory to the server.
    pub fn add_memory_service(&mut self, owner: ProcessNumber) -> ServiceNumber {
        self.add(owner, true)
    }

    fn add(&mut self, owner: ProcessNumber, maps: bool) -> ServiceNumber {
        self.last_service += 1;
        let service = Service {
            owner,
            maps,
            terms: None,
        };
        self.services.insert(self.last_service, service);
        ServiceNumber(self.last_service)
    }

    /// Lets another process, which need not run yet, serve a service from now on: one that takes the place of a process that has ended.
    /// Clients connect anew by the capabilities that they have; what is connected with the process before stays as it is. Whether
    /// there is such a service.
    pub fn hand_over(&mut self, service: ServiceNumber, owner: ProcessNumber) -> bool {
        let Some(service) = self.services.get_mut(&service.0) else {
            return false;
        };
        (service.owner, service.terms) = (owner, None);
        true
    }

    /// What is with processes and connections, and what is not: when none are left, all must have come back.
    pub fn stock(&self) -> Stock {
        self.store.stock()
    }

    /// Makes a capability to a service, to be given to a process when it is started.
    ///
    /// # Errors
    /// [`GrantError`].
    pub fn grant(&mut self, service: ServiceNumber) -> Result<GrantNumber, GrantError> {
        if !self.services.contains_key(&service.0) {
            return Err(GrantError::NoService);
        }
        let master = self.store.slot()?;
        let number = self.last_grant + 1;
        let listener = self.store.allocator.place(self.listener);
        // Without rights nothing can be done with it but to show it to us, who then see its badge.
        let minted = self.root_slot(master).mint_from(
            listener,
            CapRights::NONE,
            badge::GRANT | u64::from(number),
        );
        if let Err(error) = minted {
            self.store.give_slot(master);
            return Err(Exhausted::Kernel(error).into());
        }
        self.last_grant = number;
        self.grants.insert(number, Grant { service, master });
        Ok(GrantNumber(number))
    }

    /// Revokes a capability to a service, wherever copies of it are: what was connected with it ends, and nothing else. Whether there
    /// was such a grant.
    ///
    /// # Errors
    /// What the kernel answers; none, unless the root task has meddled with the broker's slots.
    pub fn revoke(&mut self, grant: GrantNumber) -> Result<bool, Error> {
        let Some(revoked) = self.grants.remove(&grant.0) else {
            return Ok(false);
        };
        let slot = self.root_slot(revoked.master);
        slot.revoke()?;
        slot.delete()?;
        self.store.give_slot(revoked.master);
        for id in self.connections_where(|connection| connection.grant == grant) {
            self.end(id);
        }
        Ok(true)
    }

    /// What the broker has to do with at the moment.
    pub fn figures(&self) -> Figures {
        let standing = self.connections.values().filter(|c| !c.has_ended()).count();
        Figures {
            processes: self.processes.len(),
            standing,
            ending: self.connections.len() - standing,
            made: self.last_connection,
            patched: self.patched,
        }
    }

    /// Deals with what [`Broker::listener`] has received, before the calling thread makes another system call that receives.
    pub fn handle(&mut self, received: Received) -> Outcome {
        match badge::split(received.badge) {
            (badge::PROCESS, number) if self.processes.contains_key(&number) => {
                self.hear(ProcessNumber(number), received)
            }
            (badge::ALARM, _) => {
                self.alarm_went_off();
                Outcome::Handled
            }
            // A signal with no badge of ours, or the last words of who has ended meanwhile.
            _ => Outcome::Handled,
        }
    }

    fn hear(&mut self, process: ProcessNumber, received: Received) -> Outcome {
        if self.answer(process, &received) {
            return Outcome::Handled;
        }
        match Event::from_message(received) {
            Event::Print(text) => Outcome::Print(process, Box::new(text)),
            Event::Panic(text) => self.ended(process, End::Panic(Box::new(text))),
            Event::Exit { code } => self.ended(process, End::Exit(code)),
            Event::Fault(fault) => {
                if self.patch(process, &fault) {
                    return Outcome::Handled;
                }
                self.ended(process, End::Fault(fault))
            }
            Event::Other(other) => Outcome::Other(process, other),
        }
    }

    fn ended(&mut self, process: ProcessNumber, end: End) -> Outcome {
        self.bury(process);
        Outcome::Ended(process, end)
    }

    /// A slot of the root task's capability space.
    fn root_slot(&self, cptr: CPtr) -> Slot {
        self.store.allocator.cnode().slot(cptr)
    }

    fn connections_where(&self, wanted: impl Fn(&Connection) -> bool) -> alloc::vec::Vec<Id> {
        let all = self.connections.iter();
        all.filter(|(_, connection)| wanted(connection))
            .map(|(id, _)| *id)
            .collect()
    }
}
