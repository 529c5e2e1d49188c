//! Processes with an inbox: made, remembered, and buried.

use crate::store::NOT_CODE;
use crate::{Broker, GrantNumber, badge};
use alloc::boxed::Box;
use baton_inbox::layout::MAX_CONNECTIONS;
use baton_platform::protocol::{NOTICES, TRANSPORT, Transport, entry, slots, space, state};
use baton_runtime::process::{Gift, SpawnError};
use baton_runtime::protocol::Text;
use baton_runtime::sel4::{
    CPtr, CapRights, Capability, Fault, Message, Notification, ObjectType, Page, nb_send,
};
use baton_runtime::{Arena, Exhausted, MapError, Mapped, ObjectSource, Process, ProcessConfig};

/// The number of a process, which no other one of this broker has or will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessNumber(pub(crate) u32);

impl ProcessNumber {
    /// The number as a word.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl core::fmt::Display for ProcessNumber {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// How a process ended.
#[derive(Debug)]
pub enum End {
    /// Its `main` returned this.
    Exit(u64),
    /// It panicked.
    Panic(Box<Text>),
    /// The kernel stopped a thread of it.
    Fault(Fault),
}

/// How a process is started.
#[derive(Clone, Copy, Debug)]
pub struct Spawn<'a> {
    /// The program: an ELF file.
    pub elf: &'a [u8],
    /// Priority of its first thread, and the highest that it can give others. Below the broker's.
    pub priority: u64,
    /// Bytes of its heap, rounded up to frames of 2 MiB.
    pub heap_bytes: u64,
    /// Pages of its stack.
    pub stack_pages: u64,
    /// Words for it, eight at most.
    pub arguments: &'a [u64],
    /// Capabilities to services that it gets, in this order.
    pub grants: &'a [GrantNumber],
}

/// What a process gets beyond what all get.
#[derive(Clone, Copy, Debug)]
pub struct Extras<'a> {
    /// Slots of its capability space (count, log2): at least [`slots::SIZE_BITS`].
    pub cnode_size_bits: u64,
    /// Capabilities for it, in the slots behind its capabilities to services.
    pub gifts: &'a [Gift],
}

impl Default for Extras<'_> {
    fn default() -> Self {
        Extras {
            cnode_size_bits: slots::SIZE_BITS,
            gifts: &[],
        }
    }
}

/// Bytes that a process needs beside its heap (log2): its image, page tables, and the like.
const IMAGE_BITS: u64 = 22;

/// What the broker knows of a process.
pub(crate) struct Record {
    arena: Arena,
    arena_bits: u64,
    /// The first capability with the process's badge.
    master: CPtr,
    pub(crate) process: Process,
    pub(crate) notification: Notification,
    /// Its pages: of the state word, of the hint word, and one of zeros to be mapped wherever something is gone.
    pub(crate) state: Page,
    pub(crate) hint: Page,
    pub(crate) zeros: Page,
    /// How its messages get across.
    pub(crate) transport: Transport,
    /// The ring that all its senders write, if that is how.
    pub(crate) ring: Option<Page>,
    notices: Mapped,
    notice_count: u64,
    /// Connection numbers that are taken, one bit each.
    pub(crate) taken: u64,
    /// When it wants to be signalled, in ticks.
    pub(crate) alarm_ticks: Option<u64>,
}

impl Record {
    /// Takes the lowest free connection number.
    pub(crate) fn take_index(&mut self) -> Option<u32> {
        let index = self.taken.trailing_ones();
        if index as usize >= MAX_CONNECTIONS {
            return None;
        }
        self.taken |= 1 << index;
        Some(index)
    }

    /// Maps a page of the process, with page tables out of its own memory.
    pub(crate) fn map(
        &mut self,
        page: Page,
        address: u64,
        rights: CapRights,
    ) -> Result<(), MapError> {
        self.process
            .vspace
            .map(&mut self.arena, page, address, rights, NOT_CODE)
    }

    /// Writes what the notice page says of connection `index`; the process learns of it by the next [`Record::notify`].
    pub(crate) fn note(&self, index: u32, generation: u64, state: u64, words: Option<[u64; 4]>) {
        let at = |offset: usize| ((entry(index as usize) + offset) * 8) as u64;
        for (offset, word) in words.into_iter().flatten().enumerate() {
            self.notices.write(at(1 + offset), word);
        }
        self.notices.write(at(0), state::word(generation, state));
    }

    /// Wakes the process for what was noted.
    pub(crate) fn notify(&mut self) {
        self.notice_count += 1;
        self.notices.write(NOTICES as u64 * 8, self.notice_count);
        self.signal();
    }

    /// Signals the process's notification.
    pub(crate) fn signal(&self) {
        nb_send(self.notification.cptr(), &Message::new(0, &[]));
    }
}

impl Broker {
    /// The number that the next process gets.
    pub fn next_process(&self) -> ProcessNumber {
        ProcessNumber(self.last_process + 1)
    }

    /// The number that the process after that one gets, so that services of both can be made first.
    pub fn process_after(&self, process: ProcessNumber) -> ProcessNumber {
        ProcessNumber(process.0 + 1)
    }

    /// Ends all processes that live.
    pub fn kill_all(&mut self) {
        while let Some(number) = self.processes.keys().next().copied() {
            self.bury(ProcessNumber(number));
        }
    }

    /// Starts a process with an inbox; it runs when its priority lets it.
    ///
    /// # Errors
    /// That the program is none, a grant was revoked, memory or slots are used up, or the kernel refuses. Nothing is left of it then.
    pub fn spawn(&mut self, spawn: &Spawn<'_>) -> Result<ProcessNumber, SpawnError> {
        self.spawn_with(spawn, &Extras::default())
    }

    /// As [`Broker::spawn`], with more.
    ///
    /// # Errors
    /// As [`Broker::spawn`].
    pub fn spawn_with(
        &mut self,
        spawn: &Spawn<'_>,
        extras: &Extras<'_>,
    ) -> Result<ProcessNumber, SpawnError> {
        let number = self.next_process();
        let record = self.make(number, spawn, extras)?;
        let process = record.process;
        self.last_process = number.0;
        self.processes.insert(number.0, record);
        if let Err(error) = process.start() {
            self.bury(number);
            return Err(error.into());
        }
        Ok(number)
    }

    /// Ends a process wherever it is: its connections end, and nothing is left of it. Whether it lived.
    pub fn kill(&mut self, process: ProcessNumber) -> bool {
        self.bury(process)
    }

    fn make(
        &mut self,
        number: ProcessNumber,
        spawn: &Spawn<'_>,
        extras: &Extras<'_>,
    ) -> Result<Record, SpawnError> {
        let ring_bytes = match self.transport {
            Transport::OneRing => 1 << space::RING_BITS,
            Transport::Lanes | Transport::OneLane => 0,
        };
        let bytes = (1 << IMAGE_BITS) + ring_bytes + spawn.heap_bytes.next_multiple_of(1 << 21);
        let arena_bits = u64::from(bytes.next_power_of_two().ilog2());
        let master = self.store.slot()?;
        let arena = match self.store.arena(arena_bits) {
            Ok(arena) => arena,
            Err(error) => {
                self.store.give_slot(master);
                return Err(error.into());
            }
        };
        let mut holder = Some(arena);
        let made = self.make_of(&mut holder, arena_bits, master, number, spawn, extras);
        if made.is_err() {
            if let Some(arena) = holder {
                self.store.give_arena(arena_bits, arena);
            }
            self.drop_master(master);
        }
        made
    }

    /// Makes all that a process has; on success the arena has moved into its record.
    fn make_of(
        &mut self,
        holder: &mut Option<Arena>,
        arena_bits: u64,
        master: CPtr,
        number: ProcessNumber,
        spawn: &Spawn<'_>,
        extras: &Extras<'_>,
    ) -> Result<Record, SpawnError> {
        let arena = holder.as_mut().ok_or(Exhausted::Slots)?;
        let listener = self.store.allocator.place(self.listener);
        let badge = badge::PROCESS | u64::from(number.0);
        let parent = self.store.allocator.cnode().slot(master);
        parent.mint_from(listener, CapRights::ALL, badge)?;
        let config = ProcessConfig {
            elf: spawn.elf,
            parent,
            badge: 0,
            authority: self.authority,
            priority: spawn.priority,
            asid_pool: self.asid_pool,
            cnode_size_bits: extras.cnode_size_bits.max(slots::SIZE_BITS),
            stack_pages: spawn.stack_pages,
            heap_bytes: spawn.heap_bytes,
            timebase_hz: self.timebase_hz,
            features: self.features,
            arguments: spawn.arguments,
            gifts: &[],
        };
        // First, for it is large.
        let ring = match self.transport {
            Transport::OneRing => Some(arena.object(ObjectType::MegaPage, 0)?),
            Transport::Lanes | Transport::OneLane => None,
        };
        let ring = ring.map(Page::from_cptr);
        let process = Process::make(arena, &mut self.store.scratch_window(), &config)?;
        let notification = arena.make::<Notification>()?;
        let gift = |from, rights| Gift {
            from,
            rights,
            badge: 0,
        };
        let own = gift(arena.place(notification), CapRights::ALL);
        process.give(slots::NOTIFICATION, &own)?;
        for (slot, grant) in (slots::SERVICES..).zip(spawn.grants) {
            // A grant that was revoked has no capability to copy, which is what the kernel would say as well.
            let grant = self.grants.get(&grant.0);
            let master = grant.map_or(0, |grant| grant.master);
            let from = self.store.allocator.cnode().slot(master);
            process.give(slot, &gift(from, CapRights::NONE))?;
        }
        for (slot, gift) in (slots::SERVICES + spawn.grants.len() as u64..).zip(extras.gifts) {
            process.give(slot, gift)?;
        }
        let [state, hint, zeros, notices] = [(); 4].map(|()| arena.make::<Page>());
        let (state, hint, zeros, notices) = (state?, hint?, zeros?, notices?);
        let readable = arena.copy_of(notices)?;
        let vspace = process.vspace;
        vspace.map(arena, state, space::STATE, CapRights::READ_WRITE, NOT_CODE)?;
        vspace.map(arena, hint, space::HINT, CapRights::READ_WRITE, NOT_CODE)?;
        vspace.map(arena, readable, space::NOTICES, CapRights::READ, NOT_CODE)?;
        if let Some(ring) = ring {
            vspace.map(arena, ring, space::RING, CapRights::READ_WRITE, NOT_CODE)?;
        }
        let address = self.store.page_address();
        let mapped = self
            .store
            .window
            .map_at(&mut self.store.allocator, notices, address, 12);
        let notices = match mapped {
            Ok(mapped) => mapped,
            Err(error) => {
                self.store.give_page_address(address);
                return Err(error.into());
            }
        };
        notices.write(TRANSPORT as u64 * 8, self.transport as u64);
        let arena = holder.take().ok_or(Exhausted::Slots)?;
        Ok(Record {
            arena,
            arena_bits,
            master,
            process,
            notification,
            state,
            hint,
            zeros,
            transport: self.transport,
            ring,
            notices,
            notice_count: 0,
            taken: 0,
            alarm_ticks: None,
        })
    }

    /// Revokes what speaks with a process's badge, wherever it is.
    fn drop_master(&mut self, master: CPtr) {
        let slot = self.root_slot(master);
        // An empty slot is revoked and deleted without complaint.
        if slot.revoke().and_then(|()| slot.delete()).is_ok() {
            self.store.give_slot(master);
        }
    }

    /// Ends what is left of a process: it runs no more, its connections end, its memory is given back. Whether it lived.
    pub(crate) fn bury(&mut self, process: ProcessNumber) -> bool {
        let Some(record) = self.processes.remove(&process.0) else {
            return false;
        };
        // It must not write any more when its peers are told that it does not. Refused only if it has deleted itself.
        let _ = record.process.tcb.suspend();
        for id in self.connections_where(|connection| connection.has(process)) {
            self.died(id, process);
        }
        for service in self.services.values_mut() {
            if service.owner == process {
                service.terms = None;
            }
        }
        self.drop_master(record.master);
        let address = record.notices.address();
        self.store.give_arena(record.arena_bits, record.arena);
        self.store.give_page_address(address);
        true
    }
}
