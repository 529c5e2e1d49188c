//! Connections: made of frames that are mapped on both sides, and taken apart again.
//!
//! Capabilities of a connection's frames are in a node of its own, so that the broker's capability space does not fill up:
//!
//! ```text
//! for each side:  n slots    the region that it writes, mapped there read-write; when the connection has ended, pages of zeros
//!                 n slots    the same frames, mapped read-only at the other side
//!                 3 slots    at this side: the page of the peer's state word, read-only; that of its hint word; its ring, if it has one
//! ```

use crate::process::{ProcessNumber, Record};
use crate::store::Store;
use crate::{Broker, GrantNumber};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use baton_inbox::RegionLayout;
use baton_platform::ServiceNumber;
use baton_platform::protocol::space::{self, Place};
use baton_platform::protocol::{Entry, Refusal, Terms, Transport, slots, state};
use baton_runtime::sel4::{
    CNode, CapRights, Capability, Error, Fault, Message, ObjectType, Page, Slot, Untyped, reply,
};
use baton_runtime::{Exhausted, MapError, ObjectSource};

/// Names a connection for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) u64);

/// The client's side, and the server's.
pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

const PAGE_BITS: u64 = 12;
/// Objects that one Retype makes at most.
const RETYPE_LIMIT: u64 = 256;

/// One end.
#[derive(Clone, Copy, Debug)]
struct Side {
    process: ProcessNumber,
    /// The connection's number in that process's inbox.
    index: u32,
    /// Pages of the region that it writes.
    pages: u64,
    /// Whether nothing there refers to the connection any more.
    released: bool,
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) grant: GrantNumber,
    sides: [Side; 2],
    frames: Untyped,
    frames_bits: u64,
    node_memory: Untyped,
    node: CNode,
    node_bits: u64,
    ended: bool,
    /// Whether its frames were taken back though somebody has not let go of it.
    reclaimed: bool,
}

impl Connection {
    /// Whether that process is one of its ends.
    pub(crate) fn has(&self, process: ProcessNumber) -> bool {
        self.sides.iter().any(|side| side.process == process)
    }

    /// Whether it stands no more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    fn side_of(&self, process: ProcessNumber, index: u32) -> Option<usize> {
        let mut sides = self.sides.iter();
        sides.position(|side| side.process == process && side.index == index && !side.released)
    }

    fn slot(&self, index: u64) -> Slot {
        self.node.slot_at(index, self.node_bits)
    }

    /// First slot of what belongs to a side.
    fn base(&self, side: usize) -> u64 {
        match side {
            CLIENT => 0,
            _ => 2 * self.sides[CLIENT].pages + 3,
        }
    }

    /// The capability by which a side writes page `page` of its region.
    fn written(&self, side: usize, page: u64) -> Slot {
        self.slot(self.base(side) + page)
    }

    /// The capability by which the other side reads page `page` of the region that `side` writes.
    fn read(&self, side: usize, page: u64) -> Slot {
        self.slot(self.base(side) + self.sides[side].pages + page)
    }

    /// The capabilities by which a side sees its peer's state word and hint word.
    fn words(&self, side: usize) -> [Slot; 2] {
        let first = self.base(side) + 2 * self.sides[side].pages;
        [self.slot(first), self.slot(first + 1)]
    }

    /// The capability by which a side writes its peer's ring.
    fn ring(&self, side: usize) -> Slot {
        self.slot(self.base(side) + 2 * self.sides[side].pages + 2)
    }
}

/// Addresses of a side's peer's two words.
fn word_addresses(index: u32) -> [u64; 2] {
    let index = u64::from(index);
    [space::peer_state(index), space::peer_hint(index)]
}

fn pages(layout: &RegionLayout) -> u64 {
    (layout.words() as u64 * 8).div_ceil(1 << PAGE_BITS)
}

/// Bits of at least `count`.
fn bits(count: u64) -> u64 {
    u64::from(count.next_power_of_two().ilog2())
}

fn map_slot(
    store: &Store,
    record: &mut Record,
    slot: Slot,
    address: u64,
    rights: CapRights,
) -> Result<(), MapError> {
    store.invoke_at(slot, |cptr| {
        record.map(Page::from_cptr(cptr), address, rights)
    })
}

impl Broker {
    /// Makes a connection by `grant`, on agreed terms, between two living processes; returns its number at the client.
    pub(crate) fn connect(
        &mut self,
        grant: GrantNumber,
        service: ServiceNumber,
        client: ProcessNumber,
        server: ProcessNumber,
        terms: &Terms,
    ) -> Result<u32, Refusal> {
        let maps = self.services.get(&service.0).is_some_and(|it| it.maps);
        let transports = [client, server].map(|process| self.transport_of(process));
        let transport = match transports {
            [Some(client), Some(server)] if client == server => client,
            [Some(_), Some(_)] => return Err(Refusal::Transport),
            _ => return Err(Refusal::NotServing),
        };
        let layouts = terms.layouts(transport).map_err(|_| Refusal::TooMuch)?;
        let layouts = [layouts.0, layouts.1];
        let pages = [pages(&layouts[CLIENT]), pages(&layouts[SERVER])];
        if pages
            .iter()
            .any(|pages| pages << PAGE_BITS > space::REGION_BYTES)
        {
            return Err(Refusal::TooMuch);
        }
        let mut take = |process: ProcessNumber, full| {
            let record = self
                .processes
                .get_mut(&process.0)
                .ok_or(Refusal::NotServing)?;
            record.take_index().ok_or(full)
        };
        let client_index = take(client, Refusal::OwnFull)?;
        let server_index = match take(server, Refusal::ServerFull) {
            Ok(index) => index,
            Err(refusal) => {
                self.free_index(client, client_index);
                return Err(refusal);
            }
        };
        let side = |process, index, pages| Side {
            process,
            index,
            pages,
            released: false,
        };
        let sides = [
            side(client, client_index, pages[CLIENT]),
            side(server, server_index, pages[SERVER]),
        ];
        let made = match self.make_connection(grant, sides) {
            // What others have not let go of is taken back by force rather than refuse somebody.
            Err(_) if self.reclaim() != 0 => self.make_connection(grant, sides),
            made => made,
        };
        let connection = match made {
            Ok(connection) => connection,
            Err(_) => {
                self.free_index(client, client_index);
                self.free_index(server, server_index);
                return Err(Refusal::Exhausted);
            }
        };
        let mapped = self.map_connection(&connection, &layouts);
        let mapped = mapped.and_then(|()| match maps {
            true => self.lend_space(&connection),
            false => Ok(()),
        });
        if mapped.is_err() {
            self.dismantle(connection);
            return Err(Refusal::Exhausted);
        }
        self.last_connection += 1;
        let id = Id(self.last_connection);
        let entry = |serves, credits, granted, peer: &Side| Entry {
            service: service.0,
            serves,
            credits,
            granted,
            request_bulk_bytes: terms.request_bulk_bytes,
            answer_bulk_bytes: terms.answer_bulk_bytes,
            peer_index: peer.index,
            peer: peer.process.0,
        };
        let entries = [
            entry(false, terms.credits, terms.back_credits, &sides[SERVER]),
            entry(true, terms.back_credits, terms.credits, &sides[CLIENT]),
        ];
        for (side, entry) in sides.iter().zip(entries) {
            if let Some(record) = self.processes.get_mut(&side.process.0) {
                record.note(side.index, id.0, state::STANDS, Some(entry.to_words()));
            }
        }
        self.connections.insert(id, connection);
        if let Some(record) = self.processes.get_mut(&server.0) {
            record.notify();
        }
        Ok(client_index)
    }

    /// How the messages of a process that lives get across.
    pub(crate) fn transport_of(&self, process: ProcessNumber) -> Option<Transport> {
        let record = self.processes.get(&process.0)?;
        Some(record.transport)
    }

    fn free_index(&mut self, process: ProcessNumber, index: u32) {
        if let Some(record) = self.processes.get_mut(&process.0) {
            record.taken &= !(1 << index);
        }
    }

    /// Frames and slots for a connection.
    fn make_connection(
        &mut self,
        grant: GrantNumber,
        sides: [Side; 2],
    ) -> Result<Connection, Exhausted> {
        let pages = sides[CLIENT].pages + sides[SERVER].pages;
        let frames_bits = bits(pages) + PAGE_BITS;
        let node_bits = bits(2 * pages + 6);
        let node_memory_bits = ObjectType::CapTable.size_bits(node_bits);
        let frames = self.store.untyped(frames_bits)?;
        let node_memory = match self.store.untyped(node_memory_bits) {
            Ok(memory) => memory,
            Err(error) => {
                self.store.give_untyped(frames_bits, frames);
                return Err(error);
            }
        };
        let node = match self.store.cnode_of(node_memory, node_bits) {
            Ok(node) => node,
            Err(error) => {
                self.store.give_untyped(frames_bits, frames);
                self.store.give_untyped(node_memory_bits, node_memory);
                return Err(error);
            }
        };
        Ok(Connection {
            grant,
            sides,
            frames,
            frames_bits,
            node_memory,
            node,
            node_bits,
            ended: false,
            reclaimed: false,
        })
    }

    /// Makes a connection's frames, writes what both regions begin with, and maps all on both sides.
    fn map_connection(
        &mut self,
        connection: &Connection,
        layouts: &[RegionLayout; 2],
    ) -> Result<(), MapError> {
        for (side, layout) in layouts.iter().enumerate() {
            let base = connection.base(side);
            let count = connection.sides[side].pages;
            let mut made = 0;
            while made < count {
                let some = (count - made).min(RETYPE_LIMIT);
                connection.frames.retype(
                    ObjectType::Page,
                    0,
                    connection.node.slot_at(0, 0),
                    base + made,
                    some,
                )?;
                made += some;
            }
            self.store
                .with_frame(connection.written(side, 0), |frame| {
                    for (offset, word) in layout.header().into_iter().enumerate() {
                        frame.write(offset as u64 * 8, word);
                    }
                })?;
        }
        let Broker {
            store, processes, ..
        } = self;
        for side in [CLIENT, SERVER] {
            let (writer, reader) = (connection.sides[side], connection.sides[1 - side]);
            for page in 0..writer.pages {
                let written = connection.written(side, page);
                let at = space::outgoing(writer.index.into()) + (page << PAGE_BITS);
                let record = living_mut(processes, writer.process)?;
                map_slot(store, record, written, at, CapRights::READ_WRITE)?;
                let read = connection.read(side, page);
                read.copy_from(written, CapRights::READ)?;
                let at = space::incoming(reader.index.into()) + (page << PAGE_BITS);
                let record = living_mut(processes, reader.process)?;
                map_slot(store, record, read, at, CapRights::READ)?;
            }
            let (own, peer) = (writer, reader);
            let record = living_mut(processes, peer.process)?;
            let pages = [record.state, record.hint].map(|page| store.allocator.place(page));
            let bell = store.allocator.place(record.notification);
            let ring = record.ring.map(|ring| store.allocator.place(ring));
            let rights = [CapRights::READ, CapRights::READ_WRITE];
            let record = living_mut(processes, own.process)?;
            let slots_and_pages = connection.words(side).into_iter().zip(pages);
            let places = rights.into_iter().zip(word_addresses(own.index));
            for ((slot, page), (rights, at)) in slots_and_pages.zip(places) {
                slot.copy_from(page, rights)?;
                map_slot(store, record, slot, at, rights)?;
            }
            if let Some(ring) = ring {
                let slot = connection.ring(side);
                slot.copy_from(ring, CapRights::READ_WRITE)?;
                let at = space::peer_ring(own.index.into());
                map_slot(store, record, slot, at, CapRights::READ_WRITE)?;
            }
            // Nobody asks by whom it was rung: the badge only must not be 0.
            bell_slot(record, own.index).mint_from(bell, CapRights::WRITE, 1 << peer.index)?;
        }
        Ok(())
    }

    /// Gives the server the client's address space, as long as the connection stands.
    fn lend_space(&self, connection: &Connection) -> Result<(), MapError> {
        let [client, server] = connection.sides;
        let space = living(&self.processes, client.process)?
            .process
            .vspace
            .root();
        let record = living(&self.processes, server.process)?;
        let from = self.store.allocator.place(space);
        space_slot(record, server.index).copy_from(from, CapRights::ALL)?;
        Ok(())
    }

    /// Takes a connection apart that both sides have let go of, or never had.
    fn dismantle(&mut self, connection: Connection) {
        for side in connection.sides {
            if let Some(record) = self.processes.get_mut(&side.process.0)
                && !side.released
            {
                take_back(record, side.index);
                record.taken &= !(1 << side.index);
            }
        }
        if !connection.reclaimed {
            self.store
                .give_untyped(connection.frames_bits, connection.frames);
        }
        let node = self.root_slot(connection.node.cptr());
        // With its memory goes the node, and with that the capabilities in it.
        let memory_bits = ObjectType::CapTable.size_bits(connection.node_bits);
        self.store.give_untyped(memory_bits, connection.node_memory);
        if node.delete().is_ok() {
            self.store.give_slot(connection.node.cptr());
        }
    }

    /// Ends a connection: neither side can tell the other anything from here on, and both are told so.
    pub(crate) fn end(&mut self, id: Id) {
        let Some(mut connection) = self.connections.remove(&id) else {
            return;
        };
        if !core::mem::replace(&mut connection.ended, true) {
            for side in [CLIENT, SERVER] {
                self.cut(&connection, side, id);
            }
            for side in connection.sides {
                if let Some(record) = self.processes.get_mut(&side.process.0)
                    && !side.released
                {
                    record.notify();
                }
            }
        }
        self.put_back(id, connection);
    }

    /// Takes from one side all by which it could reach the other, and puts zeros in its place. What the other wrote stays readable.
    fn cut(&mut self, connection: &Connection, side: usize, id: Id) {
        let Side {
            process,
            index,
            pages,
            released,
        } = connection.sides[side];
        let Some(record) = self.processes.get_mut(&process.0).filter(|_| !released) else {
            return;
        };
        // First, so that whoever sees zeros also sees why.
        record.note(index, id.0, state::ENDED, None);
        take_back(record, index);
        let first = space::outgoing(index.into());
        let own = (0..pages).map(|page| {
            let address = first + (page << PAGE_BITS);
            (connection.written(side, page), address)
        });
        let words = connection
            .words(side)
            .into_iter()
            .zip(word_addresses(index));
        for (slot, address) in own.chain(words) {
            // Where that fails the page is gone, and the process's next access to it comes to `patch`.
            let _ = put_zeros(&self.store, record, slot, address);
        }
    }

    /// Puts a connection back where it was, unless nobody refers to it any more.
    fn put_back(&mut self, id: Id, connection: Connection) {
        if connection.sides.iter().all(|side| side.released) {
            self.dismantle(connection);
        } else {
            self.connections.insert(id, connection);
        }
    }

    /// That process's inbox has let go of connection `index`. Whether there was such a one.
    pub(crate) fn end_of(&mut self, process: ProcessNumber, index: u32, generation: u64) -> bool {
        let id = Id(generation);
        let found = self.connections.get(&id);
        let known = found.is_some_and(|connection| connection.side_of(process, index).is_some());
        if known {
            self.end(id);
        }
        known
    }

    /// Nothing in that process refers to connection `index` any more. Whether there was such a one.
    pub(crate) fn release(&mut self, process: ProcessNumber, index: u32, generation: u64) -> bool {
        if !self.end_of(process, index, generation) {
            return false;
        }
        let id = Id(generation);
        let Some(mut connection) = self.connections.remove(&id) else {
            return false;
        };
        if let Some(side) = connection.side_of(process, index) {
            self.unmap(&connection, side);
            connection.sides[side].released = true;
            if let Some(record) = self.processes.get_mut(&process.0) {
                record.note(index, id.0, state::FREE, None);
                record.taken &= !(1 << index);
            }
        }
        self.put_back(id, connection);
        true
    }

    /// Unmaps from one side all of an ended connection.
    fn unmap(&self, connection: &Connection, side: usize) {
        let own = (0..connection.sides[side].pages).map(|page| connection.written(side, page));
        let peers =
            (0..connection.sides[1 - side].pages).map(|page| connection.read(1 - side, page));
        let words = connection.words(side).into_iter();
        for slot in own.chain(peers).chain(words).chain([connection.ring(side)]) {
            // Deleting a mapped frame's capability unmaps it. It is empty where the frames were taken back.
            let _ = slot.delete();
        }
    }

    /// A process of that connection has ended: nothing there refers to it any more.
    pub(crate) fn died(&mut self, id: Id, process: ProcessNumber) {
        let Some(mut connection) = self.connections.remove(&id) else {
            return;
        };
        for side in [CLIENT, SERVER] {
            if connection.sides[side].process == process {
                // Before its address space goes: the kernel remembers mappings by the number of that, which the next process may get,
                // and would unmap them there.
                self.unmap(&connection, side);
                connection.sides[side].released = true;
            }
        }
        self.connections.insert(id, connection);
        self.end(id);
    }

    /// Takes back the frames of connections that have ended but were not let go of by somebody. Who touches them from then on finds
    /// zeros. Returns how many there were.
    ///
    /// Called by itself when there is no memory for a connection.
    pub fn reclaim(&mut self) -> usize {
        let taken: Vec<Id> =
            self.connections_where(|connection| connection.ended && !connection.reclaimed);
        for id in &taken {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.reclaimed = true;
                let (frames_bits, frames) = (connection.frames_bits, connection.frames);
                // What it is used for next is cleared by the kernel first.
                self.store.give_untyped(frames_bits, frames);
            }
        }
        taken.len()
    }

    /// Deals with a fault where a connection is or was: puts zeros in the place of what is gone, and lets the thread go on. Says no
    /// if the fault is the process's own mistake.
    pub(crate) fn patch(&mut self, process: ProcessNumber, fault: &Fault) -> bool {
        let Fault::Vm { address, .. } = *fault else {
            return false;
        };
        let Some(place) = space::place(address) else {
            return false;
        };
        let (Place::Outgoing { index, .. }
        | Place::Incoming { index, .. }
        | Place::PeerState { index }
        | Place::PeerHint { index }) = place;
        let index = index as u32;
        let ended = self.connections.values().find_map(|connection| {
            let side = connection.side_of(process, index)?;
            connection.ended.then_some((connection, side))
        });
        let Some((connection, side)) = ended else {
            return false;
        };
        let slot = match place {
            Place::Outgoing { page, .. } if page < connection.sides[side].pages => {
                connection.written(side, page)
            }
            Place::Incoming { page, .. } if page < connection.sides[1 - side].pages => {
                connection.read(1 - side, page)
            }
            Place::PeerState { .. } => connection.words(side)[0],
            Place::PeerHint { .. } => connection.words(side)[1],
            _ => return false,
        };
        let Some(record) = self.processes.get_mut(&process.0) else {
            return false;
        };
        let page = address >> PAGE_BITS << PAGE_BITS;
        // What is mapped already and faults all the same is refused here: the process wrote where it may only read.
        if map_zeros(&self.store, record, slot, page).is_err() {
            return false;
        }
        self.patched += 1;
        reply(&Message::new(0, &[]));
        true
    }
}

const MISSING: MapError = MapError::Kernel(Error::InvalidCapability { capability: 0 });

fn living(processes: &BTreeMap<u32, Record>, process: ProcessNumber) -> Result<&Record, MapError> {
    processes.get(&process.0).ok_or(MISSING)
}

fn living_mut(
    processes: &mut BTreeMap<u32, Record>,
    process: ProcessNumber,
) -> Result<&mut Record, MapError> {
    processes.get_mut(&process.0).ok_or(MISSING)
}

/// Where the capability is by which a process rings the peer of its connection `index`.
fn bell_slot(record: &Record, index: u32) -> Slot {
    record.process.slot(slots::BELLS + u64::from(index))
}

/// Where a memory server has the address space of the client of its connection `index`.
fn space_slot(record: &Record, index: u32) -> Slot {
    record.process.slot(slots::SPACES + u64::from(index))
}

/// Takes from a process what it has of connection `index` beside its mappings.
fn take_back(record: &Record, index: u32) {
    // Both are empty if they were taken back, or never given.
    let _ = bell_slot(record, index).delete();
    let _ = space_slot(record, index).delete();
}

/// Unmaps what is at `address` by the capability in `slot`, and maps the process's page of zeros there instead.
fn put_zeros(store: &Store, record: &mut Record, slot: Slot, address: u64) -> Result<(), MapError> {
    slot.delete()?;
    map_zeros(store, record, slot, address)
}

/// Maps the process's page of zeros at `address` by a capability in `slot`, which is empty.
fn map_zeros(store: &Store, record: &mut Record, slot: Slot, address: u64) -> Result<(), MapError> {
    let zeros = store.allocator.place(record.zeros);
    slot.copy_from(zeros, CapRights::READ_WRITE)?;
    map_slot(store, record, slot, address, CapRights::READ_WRITE)
}
