//! A kernel and a model side by side: how they begin, and how they take a step.

use crate::caps::{Cap, Place, own};
use crate::compare::{compare, read_cap, read_entry};
use crate::state::{IN_REGISTERS, Model, REGISTERS, State, Thread, reg};
use baton_kernel_core::cap::Cap as Stored;
use baton_kernel_core::mem::{Paddr, PageTable, Slot, tcb_slot};
use baton_kernel_fake::{Fake, IMAGE_BYTES, IMAGE_VADDR};
use baton_sel4_abi::bootinfo::word;
use baton_sel4_abi::message::ipc_buffer;
use baton_sel4_abi::{
    ASID_POOL_BITS, CNodeCapData, CapRights, Label, MessageInfo, ObjectType, ROOT_CNODE_SIZE_BITS,
    SLOT_BITS, Syscall, slots,
};

/// What happens next. Whoever runs then does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Call(Call),
    /// The timer.
    Tick,
    /// A device's interrupt.
    Interrupt(u64),
    /// An exception, by its cause and value.
    Exception(u64, u64),
}

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number, in `a7`.
    pub number: u64,
    /// The capability pointer, in `a0`.
    pub pointer: u64,
    /// The message info, in `a1`.
    pub info: u64,
    /// Message words, the first in registers, the others in the IPC buffer if there is one.
    pub words: Vec<u64>,
    /// Capability pointers in the IPC buffer.
    pub caps: Vec<u64>,
    /// Where a capability is to be received, if that is to be set: CNode, index, depth.
    pub receive: Option<[u64; 3]>,
}

impl Call {
    /// An invocation with these words and capabilities.
    pub fn invocation(pointer: u64, label: Label, words: &[u64], caps: &[u64]) -> Self {
        let info = MessageInfo::new(label.number(), 0, caps.len() as u64, words.len() as u64);
        Call {
            number: Syscall::Call.number() as u64,
            pointer,
            info: info.word(),
            words: words.to_vec(),
            caps: caps.to_vec(),
            receive: None,
        }
    }
}

impl Call {
    /// What stands in registers, by their numbers.
    fn registers(&self) -> impl Iterator<Item = (usize, u64)> {
        let words = self.words.iter().take(IN_REGISTERS).enumerate();
        let fixed = [
            (reg::A7, self.number),
            (reg::A0, self.pointer),
            (reg::A1, self.info),
        ];
        let words = words.map(|(index, &value)| (reg::A2 + index, value));
        fixed.into_iter().chain(words)
    }

    /// What stands in the IPC buffer, by its words' numbers.
    fn buffer_words(&self) -> impl Iterator<Item = (usize, u64)> {
        let words = self.words.iter().enumerate().skip(IN_REGISTERS);
        let words = words.map(|(index, &value)| (ipc_buffer::MSG + index, value));
        let caps = self.caps.iter().enumerate();
        let caps = caps.map(|(index, &value)| (ipc_buffer::CAPS_OR_BADGES + index, value));
        let receive = self.receive.into_iter().flatten().enumerate();
        let receive = receive.map(|(index, value)| (ipc_buffer::RECEIVE_CNODE + index, value));
        words.chain(caps).chain(receive)
    }
}

impl Model {
    /// The running thread sets its registers, and its IPC buffer if it has one that it may read: it is taken to have it mapped
    /// for writing somewhere.
    pub fn prepare(&mut self, call: &Call) {
        let Some(thread) = self.running else {
            return;
        };
        for (register, value) in call.registers() {
            self.set_register(thread, register, value);
        }
        if let Some(buffer) = self.buffer(thread, false) {
            for (index, value) in call.buffer_words() {
                self.set_word(buffer, index, value);
            }
        }
    }
}

pub struct World {
    pub fake: Fake,
    pub model: Model,
    /// How often an operation was interrupted.
    pub interrupted: u64,
}

impl World {
    /// A machine that has just booted, and a model that has taken over what the boot protocol promises.
    fn booted() -> Self {
        let fake = Fake::booted();
        // `run` looks at the records, as often as there is time for.
        fake.set_checking(false);
        let model = adopt(&fake);
        World {
            fake,
            model,
            interrupted: 0,
        }
    }

    /// Takes a step on both sides. False if the two cannot be compared any more: an interrupted operation has let another thread
    /// run before it was finished, and the model knows nothing between its beginning and its end.
    pub fn step(&mut self, step: &Step) -> bool {
        match step {
            Step::Call(call) => {
                if let Some(caller) = self.model.running {
                    self.prepare(call);
                    let before = self.arguments(caller, call);
                    self.model.syscall();
                    // What is interrupted is done over again; so its arguments must still be there.
                    let interrupt = before.is_some()
                        && self.model.running == Some(caller)
                        && self.arguments(caller, call) == before;
                    return self.enter(caller, interrupt);
                }
            }
            Step::Tick => {
                self.fake.tick();
                self.model.tick();
            }
            &Step::Interrupt(irq) => {
                self.fake.interrupt(irq);
                self.fake.hardware.lower(irq);
                self.model.interrupt(irq);
            }
            &Step::Exception(cause, value) => {
                if self.model.running.is_some() {
                    self.fake.exception(cause, value);
                    self.model.exception(cause, value);
                }
            }
        }
        true
    }

    /// For calls that may take long: the slots that they name.
    fn arguments(&self, caller: u64, call: &Call) -> Option<(Place, Place)> {
        let label = Label::from_number(MessageInfo::from_word(call.info).label());
        let place = self.model.lookup(caller, call.pointer).ok()?;
        let cap = self.model.cap(place);
        match (label?, cap?) {
            (Label::UntypedRetype, Cap::Untyped { .. }) => Some((place, place)),
            (
                Label::CNodeRevoke | Label::CNodeDelete | Label::CNodeCancelBadgedSends,
                Cap::CNode { .. },
            ) => {
                let [index, depth, ..] = call.words[..] else {
                    return None;
                };
                let dest = self.model.lookup_at(cap, index, depth, false).ok()?;
                Some((place, dest))
            }
            _ => None,
        }
    }

    /// The kernel's half of a call; with a timer interrupt at every look for one, if so wished. False if another thread ran
    /// meanwhile.
    fn enter(&mut self, caller: u64, interrupt: bool) -> bool {
        let hardware = &self.fake.hardware;
        loop {
            let looks = hardware.looks();
            if interrupt {
                hardware.raise_timer_after_looks(1);
            }
            self.fake.enter();
            if !interrupt || hardware.looks() == looks {
                // It is not to come later.
                hardware.raise_timer_after_looks(0);
                return true;
            }
            self.interrupted += 1;
            if self.fake.is_idle() || self.fake.current_address().value() != caller {
                return false;
            }
        }
    }

    /// The running thread sets its registers and its IPC buffer.
    fn prepare(&mut self, call: &Call) {
        let Some(thread) = self.model.running else {
            return;
        };
        let context = &self.fake.current().context;
        for (register, value) in call.registers() {
            context.write(register, value);
        }
        if let Some(buffer) = self.model.buffer(thread, false) {
            for (index, value) in call.buffer_words() {
                self.fake.set_physical(buffer + index as u64 * 8, value);
            }
        }
        self.model.prepare(call);
    }

    pub fn compare(&self, deep: bool) -> Result<(), String> {
        compare(&self.fake, &self.model, deep)
    }

    /// A word of boot info.
    fn info(&self, index: usize) -> u64 {
        let at = IMAGE_VADDR + IMAGE_BYTES + 0x1000 + index as u64 * 8;
        self.fake.load(at).expect("boot info is mapped")
    }

    /// The slot of the first untyped that is wanted, by size and whether it is a device's.
    fn boot_untyped(&self, wanted: impl Fn(u64, bool) -> bool) -> u64 {
        let (start, end) = (self.info(word::UNTYPED), self.info(word::UNTYPED + 1));
        let is_wanted = |&index: &u64| {
            let flags = self.info(word::UNTYPED_LIST + index as usize * 2 + 1);
            wanted(flags & 0xff, flags & 0x100 != 0)
        };
        let found = (0..end - start).find(is_wanted);
        start + found.expect("an untyped of that kind")
    }

    /// An invocation of the setting up, which must succeed.
    fn invoke(&mut self, pointer: u64, label: Label, words: &[u64], caps: &[u64]) {
        let caller = self.model.running.expect("the root task runs");
        self.step(&Step::Call(Call::invocation(pointer, label, words, caps)));
        if self.model.running == Some(caller) {
            let info = self.model.message_info(caller);
            let answer = &self.model.thread(caller).registers[reg::A2..reg::A2 + 4];
            assert_eq!(
                info.label(),
                0,
                "{label:?} {words:x?} {caps:x?}: {answer:x?}"
            );
        }
    }

    /// A world in which five threads in two capability spaces and two address spaces have everything that there is, and
    /// nothing is left of the root task.
    ///
    /// # Errors
    /// Kernel and model are not at the same place already.
    pub fn new() -> Result<Self, String> {
        let mut world = Self::booted();
        world.compare(true)?;
        SetUp::new(&mut world).all();
        world.compare(true)?;
        Ok(world)
    }
}

/// What the model is when the kernel has booted.
fn adopt(fake: &Fake) -> Model {
    let kernel = fake.kernel();
    let mut model = Model::empty();
    let tcb = fake.current();
    let thread = fake.current_address().value();
    let Stored::CNode { address: root, .. } = Stored::decode(tcb.slots[tcb_slot::CTABLE].cap())
    else {
        panic!("the root task has no capability space");
    };
    let root = root.value();
    model.nodes.insert(root, ROOT_CNODE_SIZE_BITS);
    for index in 0..1 << ROOT_CNODE_SIZE_BITS {
        let slot: &Slot = kernel.mem.get(Paddr::new(root + (index << SLOT_BITS)));
        if let Some(cap) = read_cap(Stored::decode(slot.cap())) {
            model.insert_root(cap, Place::Node(root, index));
        }
    }
    let mut registers = [0; REGISTERS];
    for (register, value) in registers.iter_mut().enumerate() {
        *value = tcb.context.read(register);
    }
    let root_task = Thread {
        registers,
        state: State::Running,
        priority: 255,
        mcp: 255,
        buffer_at: IMAGE_VADDR + IMAGE_BYTES,
        ..Thread::new()
    };
    model.threads.insert(thread, root_task);
    for (slot, number) in [
        (slots::INIT_THREAD_CNODE, own::CSPACE),
        (slots::INIT_THREAD_VSPACE, own::VSPACE),
        (slots::INIT_THREAD_IPC_BUFFER, own::BUFFER),
    ] {
        let source = Place::Node(root, slot);
        let cap = model.cap(source).expect("boot put it there");
        let copy = model.derive(source, cap).ok().flatten();
        let copy = copy.expect("what boot has copied");
        model.insert(copy, source, Place::Thread(thread, number));
    }
    model.provide_reply_master(thread);
    adopt_spaces(fake, &mut model);
    model.running = Some(thread);
    model
}

/// Page tables, and the ASID pool with the one address space.
fn adopt_spaces(fake: &Fake, model: &mut Model) {
    let mut root = None;
    for (&place, entry) in &model.caps {
        match entry.cap {
            Cap::Table { at, .. } => {
                let table: &PageTable = fake.kernel().mem.get(Paddr::new(at));
                // The upper half of the root is the kernel's.
                let entries = (0_u64..).zip(&table.entries).take(256);
                let known = entries.filter_map(|(index, entry)| {
                    let translation = read_entry(entry.get())?;
                    Some((index, translation))
                });
                model.tables.insert(at, known.collect());
                if matches!(place, Place::Node(_, slots::INIT_THREAD_VSPACE)) {
                    root = Some(at);
                }
            }
            Cap::AsidPool { at, base } => {
                model.pools.insert(at, Default::default());
                model.pool_of.insert(base, at);
            }
            _ => {}
        }
    }
    // Identifier 0 is nobody's, so the first is 1.
    let root = root.expect("boot makes an address space");
    for pool in model.pools.values_mut() {
        pool.insert(1, root);
    }
}

/// Guards so that plain numbers resolve in 64 bits.
fn guard_for(bits: u64) -> u64 {
    CNodeCapData::skip_to(bits).word()
}

/// The threads' first capability space: slots (log2). All that is there is used by its number.
pub const FIRST_RADIX: u64 = 5;
/// The second: slots (log2) of each of its two levels.
const SECOND_RADIX: u64 = 4;
/// Threads.
const THREADS: u64 = 5;
/// Where their IPC buffers are said to be.
const BUFFERS: u64 = 0x1000_0000;

/// The root task at work.
struct SetUp<'w> {
    world: &'w mut World,
    memory: u64,
    next: u64,
}

impl<'w> SetUp<'w> {
    fn new(world: &'w mut World) -> Self {
        let memory = world.boot_untyped(|bits, device| !device && (18..22).contains(&bits));
        let next = world.info(word::EMPTY);
        SetUp {
            world,
            memory,
            next,
        }
    }

    /// The first of new slots with new objects.
    fn make(&mut self, kind: ObjectType, bits: u64, count: u64) -> u64 {
        let slot = self.next;
        self.next += count;
        let words = [kind.number(), bits, 0, 0, slot, count];
        let root = [slots::INIT_THREAD_CNODE];
        self.world
            .invoke(self.memory, Label::UntypedRetype, &words, &root);
        slot
    }

    /// Copies from the root CNode into another, with a badge or guard if `data`.
    fn copy(&mut self, from: u64, node: u64, to: (u64, u64), rights: u64, data: Option<u64>) {
        let (index, depth) = to;
        let mut words = vec![index, depth, from, 64, rights];
        words.extend(data);
        let label = match data {
            Some(_) => Label::CNodeMint,
            None => Label::CNodeCopy,
        };
        self.world
            .invoke(node, label, &words, &[slots::INIT_THREAD_CNODE]);
    }

    fn move_to(&mut self, from: u64, node: u64, to: (u64, u64)) {
        let words = [to.0, to.1, from, 64];
        self.world
            .invoke(node, Label::CNodeMove, &words, &[slots::INIT_THREAD_CNODE]);
    }

    fn all(mut self) {
        let all = CapRights::ALL.word();
        let first_plain = self.make(ObjectType::CapTable, FIRST_RADIX, 1);
        let second_plain = self.make(ObjectType::CapTable, SECOND_RADIX, 1);
        let inner = self.make(ObjectType::CapTable, SECOND_RADIX, 1);
        let untypeds = self.make(ObjectType::Untyped, 16, 1);
        let small = self.make(ObjectType::Untyped, 13, 1);
        let for_pools = self.make(ObjectType::Untyped, ASID_POOL_BITS, 2);
        let frames = self.make(ObjectType::Page, 0, THREADS + 1);
        let tables = self.make(ObjectType::PageTable, 0, 8);
        let threads = self.make(ObjectType::Tcb, 0, THREADS);
        let endpoints = self.make(ObjectType::Endpoint, 0, 3);
        let notifications = self.make(ObjectType::Notification, 0, 3);
        let root = slots::INIT_THREAD_CNODE;
        let device = self.world.boot_untyped(|bits, device| device && bits >= 31);

        // Address spaces: two roots with tables, and some frames in the first.
        let pool = slots::INIT_THREAD_ASID_POOL;
        for space in tables..tables + 2 {
            self.world
                .invoke(pool, Label::AsidPoolAssign, &[], &[space]);
        }
        for (table, space) in [(2, 0), (3, 0), (4, 1), (5, 1)] {
            let words = [BUFFERS, 0];
            self.world.invoke(
                tables + table,
                Label::PageTableMap,
                &words,
                &[tables + space],
            );
        }
        for number in 0..2 {
            let words = [BUFFERS + (number << 12), CapRights::READ_WRITE.word(), 1];
            self.world
                .invoke(frames + number, Label::PageMap, &words, &[tables]);
        }

        // Capability spaces: one of a single level, one of two, each reachable from the other.
        let first = self.next;
        let second = self.next + 1;
        self.next += 2;
        self.copy(
            first_plain,
            root,
            (first, 64),
            all,
            Some(guard_for(FIRST_RADIX)),
        );
        let both = guard_for(2 * SECOND_RADIX);
        self.copy(second_plain, root, (second, 64), all, Some(both));
        let spaces = [first, first, first, second, second];
        for (number, &space) in (0..).zip(&spaces) {
            // Three have a handler for their faults; pointers are those of their own spaces.
            let handler = [9, 0, 10, 5 << SECOND_RADIX, 0][number as usize];
            let buffer = BUFFERS + (number << 12) + (number % 2) * 0x400;
            let vspace = tables + number % 2;
            self.world.invoke(
                threads + number,
                Label::TcbConfigure,
                &[handler, 0, 0, buffer],
                &[space, vspace, frames + number],
            );
            let priority = [110, 100, 100, 100, 90][number as usize];
            let mcp = if number == 2 { 105 } else { 120 };
            self.world.invoke(
                threads + number,
                Label::TcbSetSchedParams,
                &[mcp, priority],
                &[slots::INIT_THREAD_TCB],
            );
            let words = [1, 3, 0x2000_0000 + (number << 16), 0x1111, 0x7000_0000];
            self.world
                .invoke(threads + number, Label::TcbWriteRegisters, &words, &[]);
        }

        // What is in the spaces. Copies and badges first, for then the originals move.
        let at = |number| (number, FIRST_RADIX);
        let in_second = |number| (number, SECOND_RADIX);
        self.copy(first, first_plain, at(1), all, None);
        self.copy(second, first_plain, at(2), all, None);
        self.copy(inner, first_plain, at(3), all, None);
        self.copy(endpoints, first_plain, at(10), all, Some(7));
        let send_only = CapRights::WRITE.union(CapRights::GRANT_REPLY).word();
        self.copy(endpoints + 1, first_plain, at(12), send_only, Some(6));
        self.copy(notifications + 1, first_plain, at(14), all, Some(1));
        self.copy(pool, first_plain, at(19), all, None);
        self.copy(tables, first_plain, at(20), all, None);
        self.copy(second, inner, in_second(8), all, None);
        self.copy(first, inner, in_second(9), all, None);
        self.copy(inner, inner, in_second(10), all, None);
        self.copy(inner, second_plain, in_second(2), all, None);
        self.copy(threads + 3, second_plain, in_second(4), all, None);
        self.copy(endpoints, second_plain, in_second(5), all, Some(3));
        let receive_only = CapRights::READ.word();
        self.copy(
            endpoints + 1,
            second_plain,
            in_second(6),
            receive_only,
            None,
        );
        self.copy(notifications, second_plain, in_second(7), all, Some(2));
        self.copy(notifications + 1, second_plain, in_second(8), all, None);
        self.copy(tables + 1, second_plain, in_second(9), all, None);
        self.copy(frames + 1, second_plain, in_second(10), all, None);
        self.copy(endpoints + 2, inner, in_second(1), all, Some(4));
        self.copy(frames + THREADS, inner, in_second(4), all, None);
        for number in 0..THREADS {
            self.move_to(threads + number, first_plain, at(4 + number));
        }
        for (from, to) in [
            (endpoints, 9),
            (endpoints + 1, 11),
            (notifications, 13),
            (untypeds, 15),
            (small, 16),
            (slots::IRQ_CONTROL, 17),
            (slots::ASID_CONTROL, 18),
            (frames, 21),
            (tables + 6, 22),
            (device, 23),
            (tables + 2, 26),
            (tables + 3, 27),
            (for_pools + 1, 28),
        ] {
            self.move_to(from, first_plain, at(to));
        }
        for (from, to) in [
            (endpoints + 2, 0),
            (notifications + 2, 2),
            (frames + THREADS, 5),
            (tables + 7, 6),
            (tables + 4, 11),
            (tables + 5, 12),
            (for_pools, 7),
        ] {
            self.move_to(from, inner, in_second(to));
        }
        self.copy(root, first_plain, at(24), all, None);
        self.copy(slots::INIT_THREAD_TCB, first_plain, at(25), all, None);

        // The first of them takes away what is left of the root task.
        let (tcb, lowest) = (slots::INIT_THREAD_TCB, [0]);
        self.world
            .invoke(tcb, Label::TcbSetPriority, &lowest, &[tcb]);
        for (node, index) in [(24, 1), (24, 2), (1, 25), (1, 24)] {
            self.world
                .invoke(node, Label::CNodeDelete, &[index, 64], &[]);
        }
    }
}
