//! Are the kernel's records in order? For tests on the host: walks everything that can be reached and looks at what the
//! modules promise. Only with the feature `check`; it is the one part of the kernel that allocates.

extern crate std;

use crate::cap::{Cap, ZombieKind};
use crate::config::{DOMAINS, PRIORITIES};
use crate::endpoint::queue_state;
use crate::machine::Machine;
use crate::state::Kernel;
use crate::tcb::{QUEUED, ThreadState, is_runnable};
use baton_kernel_mem::{Endpoint, IrqTable, KernelLane, Notification, Paddr, Slot, Tcb, tcb_slot};
use baton_sel4_abi as abi;
use core::mem::offset_of;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec::Vec;

/// Untypeds of at most that size (bytes, log2) are looked at for being clear above their watermark.
const SMALL_UNTYPED_BITS: u64 = 17;

/// What is looked at at once for being clear: words, slots, bytes.
const BLOCK_WORDS: usize = 64;
const BLOCK_SLOTS: u64 = BLOCK_BYTES >> Slot::BITS;
const BLOCK_BYTES: u64 = BLOCK_WORDS as u64 * 8;

/// Everything that was found.
#[derive(Default)]
struct Found {
    /// Slots that hold something, by address.
    slots: BTreeMap<u64, Cap>,
    /// Empty slots that are not all zeros, as they must be.
    unclear: Vec<u64>,
    threads: BTreeSet<u64>,
    endpoints: BTreeSet<u64>,
    notifications: BTreeSet<u64>,
    cnodes: BTreeSet<u64>,
    /// Kernel lanes, and their sizes (bytes, log2).
    lanes: BTreeMap<u64, u64>,
    /// Objects that take memory of their own: first address to first behind, and what it is.
    objects: BTreeMap<u64, (u64, &'static str)>,
}

/// What is wrong.
type Checked = Result<(), String>;

macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}

mod vspace;

impl<'m, M: Machine> Kernel<'m, M> {
    /// Looks at all records, and whether unused memory is clear. To be called between two kernel entries.
    ///
    /// # Errors
    ///
    /// The first thing that is not as it should be.
    pub fn check(self) -> Checked {
        let found = self.check_found()?;
        self.check_clear(&found)
    }

    /// The same, but for the contents of unused memory, which take most of the time.
    ///
    /// # Errors
    ///
    /// As [`Kernel::check`].
    pub fn check_records(self) -> Checked {
        self.check_found().map(|_| ())
    }

    fn check_found(self) -> Result<Found, String> {
        let found = self.explore()?;
        self.check_tree(&found)?;
        self.check_memory(&found)?;
        self.check_vspaces(&found)?;
        self.check_ready(&found)?;
        self.check_cancellation()?;
        // The queues that threads wait in, by their objects: each is walked once.
        let mut queues = BTreeMap::new();
        for &thread in &found.threads {
            self.check_thread(Paddr::new(thread), &mut queues)?;
        }
        for &endpoint in &found.endpoints {
            self.check_endpoint(self.mem.get(Paddr::new(endpoint)))?;
        }
        for &notification in &found.notifications {
            self.check_notification(self.mem.get(Paddr::new(notification)))?;
        }
        for (&lane, &size_bits) in &found.lanes {
            self.check_lane(&found, Paddr::new(lane), size_bits)?;
        }
        Ok(found)
    }

    /// Where the table of the interrupts' slots is.
    pub fn irq_table(self) -> Paddr {
        self.core.irq_table.get()
    }

    /// Finds all capabilities, from the threads and the interrupt table on.
    ///
    /// A thread that waits, and whose capability is out of reach, is found by who waits with it, and by the neighbours
    /// of its slots.
    fn explore(self) -> Result<Found, String> {
        let mut found = Found::default();
        // Slots to look at: first address, number.
        let mut work = Vec::new();
        let irq_table = self.core.irq_table.get();
        if !irq_table.is_null() {
            let count = self.mem.get::<IrqTable>(irq_table).slots.len();
            work.push((irq_table.value(), count as u64));
        }
        let mut threads: Vec<u64> = self.ready_threads().map(|at| at.value()).collect();
        threads.push(self.core.current.get().value());
        loop {
            while let Some(thread) = threads.pop() {
                if thread != 0 && found.threads.insert(thread) {
                    work.push((thread + offset_of!(Tcb, slots) as u64, 5));
                }
            }
            let Some((first, count)) = work.pop() else {
                self.explore_queues(&found, &mut threads)?;
                if threads.iter().all(|thread| found.threads.contains(thread)) {
                    return Ok(found);
                }
                continue;
            };
            let mut index = 0;
            while index < count {
                let at = first + (index << Slot::BITS);
                if count - index >= BLOCK_SLOTS && self.is_block_clear(at) {
                    index += BLOCK_SLOTS;
                    continue;
                }
                index += 1;
                let slot: &Slot = self.mem.get(Paddr::new(at));
                match Cap::decode(slot.cap()) {
                    Cap::Null => {
                        let links = (slot.prev.get(), slot.next.get());
                        if links != (0, 0) || slot.cap() != [0, 0] {
                            found.unclear.push(at);
                        }
                    }
                    cap => {
                        if found.slots.insert(at, cap).is_none() {
                            found.note(cap, &mut threads, &mut work)?;
                            // Neighbours may be in a CNode or thread that no capability leads to any more.
                            for neighbour in [slot.prev.get(), slot.next.get() & !3] {
                                if neighbour != 0 && !found.slots.contains_key(&neighbour) {
                                    work.push((neighbour, 1));
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Whether a block of memory is all zeros: quickly, for most of what is looked at is.
    fn is_block_clear(self, at: u64) -> bool {
        let words = self.mem.user_words::<BLOCK_WORDS>(Paddr::new(at));
        words.is_some_and(|words| words.iter().fold(0, |all, word| all | word.get()) == 0)
    }

    /// The threads that wait at known objects.
    fn explore_queues(self, found: &Found, threads: &mut Vec<u64>) -> Checked {
        for &at in found.endpoints.iter().chain(&found.notifications) {
            let head = self.mem.get::<Endpoint>(Paddr::new(at)).head.get();
            threads.extend(self.queue(head)?);
        }
        Ok(())
    }

    fn ready_threads(self) -> impl Iterator<Item = Paddr> {
        let mem = self.mem;
        self.core
            .ready
            .iter()
            .flatten()
            .flat_map(move |queue| {
                core::iter::successors(Some(queue.head.get()), move |&at| {
                    Some(Paddr::new(mem.get_or_null::<Tcb>(at)?.ready_next.get()))
                })
            })
            .filter(|at| !at.is_null())
    }

    /// Links of slots agree, and capabilities to one object stand together.
    fn check_tree(self, found: &Found) -> Checked {
        if let Some(at) = found.unclear.first() {
            return Err(format!("the empty slot {at:#x} is linked"));
        }
        // A block of capabilities to one object begins where the one before is another object's.
        let mut begun: Vec<(u64, Cap)> = Vec::new();
        for (&at, &cap) in &found.slots {
            let slot: &Slot = self.mem.get(Paddr::new(at));
            let next = slot.next.get() & !3;
            let prev = slot.prev.get();
            for neighbour in [next, prev] {
                ensure!(
                    neighbour == 0 || found.slots.contains_key(&neighbour),
                    "slot {at:#x} ({cap:?}) is linked to {neighbour:#x}, which holds nothing"
                );
            }
            if next != 0 {
                let back = self.mem.get::<Slot>(Paddr::new(next)).prev.get();
                ensure!(back == at, "slot {next:#x} does not point back at {at:#x}");
            }
            if prev == 0 {
                begun.push((at, cap));
                continue;
            }
            let before: &Slot = self.mem.get(Paddr::new(prev));
            ensure!(
                before.next.get() & !3 == at,
                "slot {prev:#x} does not point at {at:#x}"
            );
            if !Cap::decode(before.cap()).same_object(cap) {
                begun.push((at, cap));
            }
        }
        let mut objects = BTreeMap::new();
        for (at, cap) in begun {
            if let Some(identity) = identity(cap) {
                let other = objects.insert(identity, at);
                ensure!(
                    other.is_none(),
                    "capabilities to {cap:?} stand apart, at {at:#x} and {other:x?}"
                );
            }
        }
        Ok(())
    }

    /// Objects lie in memory and do not overlap; what was made of untyped memory lies below its watermark.
    fn check_memory(self, found: &Found) -> Checked {
        let mut last = (0, "nothing");
        for (&start, &(end, what)) in &found.objects {
            ensure!(
                last.0 <= start,
                "{what} at {start:#x} overlaps {} that ends at {:#x}",
                last.1,
                last.0
            );
            last = (end, what);
        }
        for &cap in found.slots.values() {
            let Cap::Untyped {
                address,
                size_bits,
                device: false,
                used,
            } = cap
            else {
                continue;
            };
            let (start, end) = (address.value(), address.value() + (1 << size_bits));
            ensure!(used <= 1 << size_bits, "{cap:?} is fuller than full");
            for (&object, &(behind, what)) in found.objects.range(start..end) {
                ensure!(
                    behind <= start + used,
                    "{what} at {object:#x} lies above the watermark of {cap:?}"
                );
            }
        }
        Ok(())
    }

    /// Memory above a watermark is clear.
    fn check_clear(self, found: &Found) -> Checked {
        for &cap in found.slots.values() {
            let Cap::Untyped {
                address,
                size_bits: size_bits @ ..=SMALL_UNTYPED_BITS,
                device: false,
                used,
            } = cap
            else {
                continue;
            };
            let (start, end) = (address.value(), address.value() + (1 << size_bits));
            let mut at = start + used.next_multiple_of(8);
            while at < end {
                if end - at >= BLOCK_BYTES && self.is_block_clear(at) {
                    at += BLOCK_BYTES;
                    continue;
                }
                let word = self.mem.user_words::<1>(Paddr::new(at));
                ensure!(
                    word.is_some_and(|[word]| word.get() == 0),
                    "{cap:?} is not clear at {at:#x}"
                );
                at += 8;
            }
        }
        Ok(())
    }

    /// Ready queues and their bits.
    fn check_ready(self, found: &Found) -> Checked {
        let current = self.core.current.get();
        ensure!(
            self.core.action.get() == 0,
            "the scheduler has left something undone"
        );
        for domain in 0..DOMAINS {
            let is_ready =
                |&priority: &usize| !self.core.ready[domain][priority].head.get().is_null();
            let top = (0..PRIORITIES).rev().find(is_ready);
            ensure!(
                self.core.ready_top[domain].get() == top.map_or(0, |top| top as u64 + 1),
                "the highest ready priority of domain {domain} is {top:?}, and another is noted"
            );
            for priority in 0..PRIORITIES {
                let queue = &self.core.ready[domain][priority];
                let bit = self.core.ready_bits[domain][priority / 64].get() >> (priority % 64) & 1;
                let head = queue.head.get();
                ensure!(
                    head.is_null() == (bit == 0),
                    "the bits of priority {priority} do not say what is in its queue"
                );
                let (mut at, mut prev) = (head, Paddr::NULL);
                while let Some(tcb) = self.mem.get_or_null::<Tcb>(at) {
                    let here = (tcb.priority.get(), tcb.domain.get());
                    ensure!(
                        here == (priority as u64, domain as u64),
                        "thread {at:?} of {here:?} is queued for {priority} in {domain}"
                    );
                    ensure!(
                        tcb.state.get() & QUEUED != 0 && is_runnable(tcb),
                        "thread {at:?} is queued and should not be"
                    );
                    ensure!(
                        tcb.ready_prev.get() == prev.value(),
                        "the ready queue is torn at {at:?}"
                    );
                    (prev, at) = (at, Paddr::new(tcb.ready_next.get()));
                }
                ensure!(
                    head.is_null() || queue.tail.get() == prev,
                    "the tail of priority {priority} is not its last"
                );
            }
        }
        let queued: BTreeSet<u64> = self.ready_threads().map(Paddr::value).collect();
        for &thread in &found.threads {
            let tcb: &Tcb = self.mem.get(Paddr::new(thread));
            let flag = tcb.state.get() & QUEUED != 0;
            ensure!(
                flag == queued.contains(&thread),
                "the flag of thread {thread:#x} does not say whether it is queued"
            );
            let runs = current.value() == thread;
            ensure!(
                !is_runnable(tcb) || runs || flag,
                "thread {thread:#x} could run and is nowhere"
            );
            ensure!(!(runs && flag), "the running thread is queued");
        }
        if let Some(tcb) = self.mem.get_or_null::<Tcb>(current) {
            ensure!(is_runnable(tcb), "the running thread is stopped");
        }
        Ok(())
    }

    /// What a thread waits for knows of it.
    fn check_thread(self, at: Paddr, queues: &mut BTreeMap<u64, BTreeSet<u64>>) -> Checked {
        let tcb: &Tcb = self.mem.get(at);
        let blocking = Paddr::new(tcb.blocking_object.get());
        let wanted = match ThreadState::of(tcb) {
            ThreadState::BLOCKED_ON_SEND => queue_state::SEND,
            ThreadState::BLOCKED_ON_RECEIVE => queue_state::RECEIVE,
            ThreadState::BLOCKED_ON_NOTIFICATION => queue_state::WAITING,
            _ => 0,
        };
        if wanted != 0 {
            // Head word and links are alike in both.
            let head = self.mem.get::<Endpoint>(blocking).head.get();
            let queue = match queues.entry(blocking.value()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.queue(head)?.into_iter().collect()),
            };
            ensure!(
                head & queue_state::MASK == wanted && queue.contains(&at.value()),
                "thread {at:?} waits at {blocking:?}, which does not know"
            );
        }
        ensure!(
            tcb.space_epoch.get() != self.core.space_epoch.get()
                || self.space_of(tcb) == Some(tcb.space.get()),
            "thread {at:?} remembers another address space than its own"
        );
        ensure!(
            tcb.fault[0].get() == 0
                || matches!(
                    ThreadState::of(tcb),
                    ThreadState::BLOCKED_ON_SEND | ThreadState::BLOCKED_ON_REPLY
                ),
            "thread {at:?} has a fault and does not wait for its handler"
        );
        let bound = Paddr::new(tcb.bound_notification.get());
        if let Some(notification) = self.mem.get_or_null::<Notification>(bound) {
            ensure!(
                notification.bound.get() == at.value(),
                "thread {at:?} is bound to {bound:?}, which does not know"
            );
        }
        if let Some(lane) = self.lane_of(tcb) {
            ensure!(
                lane.tcb.get() == at.value(),
                "thread {at:?} has a kernel lane that does not know"
            );
        }
        match Cap::decode(tcb.slots[tcb_slot::CALLER].cap()) {
            Cap::Null => {}
            Cap::Reply {
                tcb: caller,
                master: false,
                ..
            } => {
                let caller: &Tcb = self.mem.get(caller);
                ensure!(
                    ThreadState::of(caller) == ThreadState::BLOCKED_ON_REPLY,
                    "thread {at:?} may reply to one that does not wait"
                );
            }
            other => return Err(format!("{other:?} is the caller of {at:?}")),
        }
        Ok(())
    }

    /// The threads of a wait queue; its links agree.
    fn queue(self, head: u64) -> Result<Vec<u64>, String> {
        let mut threads = Vec::new();
        let (mut at, mut prev) = (head & !queue_state::MASK, 0);
        while let Some(tcb) = self.mem.get_or_null::<Tcb>(Paddr::new(at)) {
            ensure!(
                tcb.queue_prev.get() == prev,
                "a wait queue is torn at {at:#x}"
            );
            ensure!(threads.len() < 10_000, "a wait queue without an end");
            threads.push(at);
            (prev, at) = (at, tcb.queue_next.get());
        }
        Ok(threads)
    }

    fn check_endpoint(self, endpoint: &'m Endpoint) -> Checked {
        let head = endpoint.head.get();
        let wanted = match head & queue_state::MASK {
            queue_state::SEND => ThreadState::BLOCKED_ON_SEND,
            queue_state::RECEIVE => ThreadState::BLOCKED_ON_RECEIVE,
            _ => {
                ensure!(head == 0, "an idle endpoint with a queue");
                return Ok(());
            }
        };
        self.check_waiting(
            self.mem.address(endpoint),
            head,
            endpoint.tail.get(),
            wanted,
        )
    }

    fn check_notification(self, notification: &'m Notification) -> Checked {
        let at = self.mem.address(notification);
        let head = notification.head.get();
        match head & queue_state::MASK {
            queue_state::WAITING => {
                let tail = notification.tail.get();
                self.check_waiting(at, head, tail, ThreadState::BLOCKED_ON_NOTIFICATION)?;
            }
            state => ensure!(head == state, "threads wait at {at:?}, which does not wait"),
        }
        if let Some(tcb) = self
            .mem
            .get_or_null::<Tcb>(Paddr::new(notification.bound.get()))
        {
            ensure!(
                tcb.bound_notification.get() == at.value(),
                "{at:?} is bound to a thread that does not know"
            );
        }
        Ok(())
    }

    /// A lane and its thread know each other; all that the record names lies in the lane's pages, where nothing else lies but frames
    /// that were made of them.
    fn check_lane(self, found: &Found, at: Paddr, size_bits: u64) -> Checked {
        let lane: &KernelLane = self.mem.get(at);
        ensure!(
            lane.size_bits.get() == size_bits,
            "lane {at:?} has forgotten its size"
        );
        let (start, end) = (at.value(), at.value() + (1 << size_bits));
        for (&object, &(behind, what)) in found.objects.range(start + 1..end) {
            let page = (object - start) >> abi::PAGE_BITS;
            let issued = lane.issued[page as usize / 64].get() >> (page % 64) & 1;
            ensure!(
                what == "a frame" && behind == object + (1 << abi::PAGE_BITS) && issued == 1,
                "{what} at {object:#x} lies in lane {at:?}"
            );
        }
        let Some(tcb) = self.mem.get_or_null::<Tcb>(Paddr::new(lane.tcb.get())) else {
            ensure!(lane.flags.get() == 0, "lane {at:?} is busy for nobody");
            return Ok(());
        };
        ensure!(
            tcb.lane.get() == start,
            "lane {at:?} is bound to a thread that does not know"
        );
        let slots = (lane.mask.get() + 1) * (abi::baton::region::SLOT_STRIDE as u64) * 8;
        let middle = lane.in_region.get();
        for (first, bulk, low, high) in [
            (&lane.requests, &lane.request_bulk, start + 0x1000, middle),
            (&lane.answers, &lane.answer_bulk, middle, end),
        ] {
            let behind = first.get() + slots + bulk.get() * (lane.mask.get() + 1);
            ensure!(
                low < first.get() && behind <= high,
                "slots of lane {at:?} leave their region"
            );
        }
        let out = lane.published.get().wrapping_sub(lane.head.get()) & u64::from(u32::MAX);
        ensure!(
            out <= lane.mask.get() + 1,
            "lane {at:?} believes a tail that is not possible"
        );
        Ok(())
    }

    fn check_waiting(self, object: Paddr, head: u64, tail: u64, wanted: ThreadState) -> Checked {
        let threads = self.queue(head)?;
        ensure!(
            threads.last() == Some(&tail),
            "the tail of {object:?} is not its last"
        );
        for at in threads {
            let tcb: &Tcb = self.mem.get(Paddr::new(at));
            ensure!(
                ThreadState::of(tcb) == wanted && tcb.blocking_object.get() == object.value(),
                "thread {at:#x} is queued at {object:?} and does not wait there"
            );
        }
        Ok(())
    }
}

impl Found {
    /// Notes the object of a capability, and what is to be looked at next.
    fn note(&mut self, cap: Cap, threads: &mut Vec<u64>, work: &mut Vec<(u64, u64)>) -> Checked {
        let (at, bits, what) = match cap {
            Cap::Endpoint { address, .. } => {
                self.endpoints.insert(address.value());
                (address, abi::ENDPOINT_BITS, "an endpoint")
            }
            Cap::Notification { address, .. } => {
                self.notifications.insert(address.value());
                (address, abi::NOTIFICATION_BITS, "a notification")
            }
            Cap::CNode { address, radix, .. } => {
                if self.cnodes.insert(address.value()) {
                    work.push((address.value(), 1 << radix));
                }
                (address, radix + abi::SLOT_BITS, "a CNode")
            }
            Cap::Thread { tcb } => {
                threads.push(tcb.value());
                (tcb, abi::TCB_BITS, "a thread")
            }
            Cap::Zombie {
                address,
                kind,
                left,
            } => {
                let (offset, bits) = match kind {
                    ZombieKind::Thread => (offset_of!(Tcb, slots) as u64, abi::TCB_BITS),
                    ZombieKind::CNode(radix) => (0, radix + abi::SLOT_BITS),
                    ZombieKind::Endpoint => {
                        self.endpoints.insert(address.value());
                        (0, abi::ENDPOINT_BITS)
                    }
                    ZombieKind::Notification => {
                        self.notifications.insert(address.value());
                        (0, abi::NOTIFICATION_BITS)
                    }
                };
                if self.cnodes.insert(address.value()) {
                    work.push((address.value() + offset, left));
                }
                (address, bits, "a zombie")
            }
            Cap::Reply { tcb, .. } => {
                threads.push(tcb.value());
                return Ok(());
            }
            Cap::Frame {
                address,
                size,
                device: false,
                ..
            } => (address, size.bits(), "a frame"),
            Cap::PageTable { address, .. } => (address, abi::PAGE_TABLE_BITS, "a page table"),
            Cap::AsidPool { address, .. } => (address, abi::ASID_POOL_BITS, "an ASID pool"),
            Cap::KernelLane { address, size_bits } => {
                self.lanes.insert(address.value(), size_bits);
                // Its other pages are frames, as soon as there are capabilities to them.
                (address, abi::PAGE_BITS, "a kernel lane")
            }
            _ => return Ok(()),
        };
        let end = at.value() + (1 << bits);
        let before = self.objects.insert(at.value(), (end, what));
        ensure!(
            before.is_none_or(|before| before == (end, what)),
            "{what} and {before:?} are both at {at:?}"
        );
        Ok(())
    }
}

/// What distinguishes the object of a capability from others, where capabilities to it must stand together.
fn identity(cap: Cap) -> Option<(u8, u64)> {
    Some(match cap {
        Cap::Endpoint { address, .. } => (0, address.value()),
        Cap::Notification { address, .. } => (1, address.value()),
        Cap::CNode { address, .. } => (2, address.value()),
        Cap::Thread { tcb } => (3, tcb.value()),
        Cap::Frame { address, .. } => (4, address.value()),
        Cap::PageTable { address, .. } => (5, address.value()),
        Cap::AsidPool { address, .. } => (6, address.value()),
        Cap::IrqHandler { irq } => (7, irq),
        Cap::Reply { tcb, .. } => (8, tcb.value()),
        Cap::KernelLane { address, .. } => (9, address.value()),
        _ => return None,
    })
}
