//! A booted kernel, and what a root task would have around it: free slots, objects, threads.
#![allow(dead_code, reason = "each test file uses some of it")]

pub mod lane;
pub mod random;

use baton_kernel_core::mem::{Paddr, Tcb, reg};
use baton_kernel_fake::{Fake, Message, Reply};
use baton_sel4_abi::bootinfo::word;
use baton_sel4_abi::context::{Register, USER_CONTEXT_WORDS};
use baton_sel4_abi::{
    CNodeCapData, CapRights, Error, Label, ObjectType, PAGE_BITS, ROOT_CNODE_SIZE_BITS, Syscall,
    slots,
};
use std::cell::Cell;

/// The root CNode in the calls that take one.
pub const ROOT: u64 = slots::INIT_THREAD_CNODE;
/// Bits of a plain slot number.
pub const DEPTH: u64 = 64;
/// The whole address space's highest priority, which the root task has.
pub const TOP: u64 = 255;
/// Where a new thread starts.
pub const START: u64 = 0x2000_0000;

/// A machine with a root task that runs.
pub struct World {
    pub fake: Fake,
    next: Cell<u64>,
    /// A large untyped, of which most things are made.
    pub memory: u64,
    next_page: Cell<u64>,
    /// Whether the page table for the pages that [`World::page`] maps is there.
    tables: Cell<bool>,
}

/// A thread that a test has made, in the root task's spaces, with an IPC buffer of its own.
#[derive(Clone, Copy)]
pub struct Thread {
    /// Its capability.
    pub cap: u64,
    /// The object.
    pub address: Paddr,
}

/// Where pages for tests are mapped.
const PAGES: u64 = 0x1000_0000;

impl World {
    pub fn new() -> Self {
        let fake = Fake::booted();
        let world = World {
            fake,
            next: Cell::new(0),
            memory: 0,
            next_page: Cell::new(PAGES),
            tables: Cell::new(false),
        };
        let first = world.info(word::EMPTY);
        world.next.set(first);
        let memory = world.boot_untyped(|bits, device| !device && bits >= 24).0;
        World { memory, ..world }
    }

    /// Where boot info is: a page behind the image's IPC buffer.
    pub fn info_address(&self) -> u64 {
        baton_kernel_fake::IMAGE_VADDR + baton_kernel_fake::IMAGE_BYTES + 0x1000
    }

    /// A word of boot info; only the root task can read it.
    pub fn info(&self, index: usize) -> u64 {
        let at = self.info_address() + index as u64 * 8;
        self.fake.load(at).expect("boot info is mapped")
    }

    /// Slot, size (bytes, log2) and physical address of the first untyped that a test wants.
    pub fn boot_untyped(&self, wanted: impl Fn(u64, bool) -> bool) -> (u64, u64, u64) {
        let (start, end) = (self.info(word::UNTYPED), self.info(word::UNTYPED + 1));
        for index in 0..(end - start) as usize {
            let flags = self.info(word::UNTYPED_LIST + index * 2 + 1);
            let (bits, device) = (flags & 0xff, flags & 0x100 != 0);
            if wanted(bits, device) {
                let paddr = self.info(word::UNTYPED_LIST + index * 2);
                return (start + index as u64, bits, paddr);
            }
        }
        panic!("no such untyped");
    }

    /// A slot of the root CNode that nobody uses.
    pub fn slot(&self) -> u64 {
        self.slots(1)
    }

    /// The first of `count` such slots.
    pub fn slots(&self, count: u64) -> u64 {
        let slot = self.next.get();
        self.next.set(slot + count);
        assert!(slot + count < 1 << ROOT_CNODE_SIZE_BITS);
        slot
    }

    // -- Invocations of the running thread -----------------------------------------------------------------------

    pub fn invoke(
        &self,
        cap: u64,
        label: Label,
        words: &[u64],
        caps: &[u64],
    ) -> Result<Vec<u64>, Error> {
        self.fake.invoke(cap, label, words, caps)
    }

    pub fn retype(
        &self,
        untyped: u64,
        object: ObjectType,
        bits: u64,
        slot: u64,
        count: u64,
    ) -> Result<(), Error> {
        let words = [object.number(), bits, 0, 0, slot, count];
        self.invoke(untyped, Label::UntypedRetype, &words, &[ROOT])?;
        Ok(())
    }

    /// A new object in a new slot.
    pub fn make(&self, object: ObjectType, bits: u64) -> u64 {
        let slot = self.slot();
        self.retype(self.memory, object, bits, slot, 1)
            .expect("memory suffices");
        slot
    }

    pub fn endpoint(&self) -> u64 {
        self.make(ObjectType::Endpoint, 0)
    }

    pub fn notification(&self) -> u64 {
        self.make(ObjectType::Notification, 0)
    }

    pub fn untyped(&self, bits: u64) -> u64 {
        self.make(ObjectType::Untyped, bits)
    }

    pub fn copy_to(&self, source: u64, dest: u64, rights: CapRights) -> Result<(), Error> {
        let words = [dest, DEPTH, source, DEPTH, rights.word()];
        self.invoke(ROOT, Label::CNodeCopy, &words, &[ROOT])?;
        Ok(())
    }

    pub fn copy(&self, source: u64, rights: CapRights) -> u64 {
        let slot = self.slot();
        self.copy_to(source, slot, rights).expect("a copy");
        slot
    }

    pub fn mint_to(
        &self,
        source: u64,
        dest: u64,
        rights: CapRights,
        data: u64,
    ) -> Result<(), Error> {
        let words = [dest, DEPTH, source, DEPTH, rights.word(), data];
        self.invoke(ROOT, Label::CNodeMint, &words, &[ROOT])?;
        Ok(())
    }

    pub fn mint(&self, source: u64, rights: CapRights, data: u64) -> u64 {
        let slot = self.slot();
        self.mint_to(source, slot, rights, data).expect("a copy");
        slot
    }

    pub fn move_to(&self, source: u64, dest: u64) -> Result<(), Error> {
        self.invoke(
            ROOT,
            Label::CNodeMove,
            &[dest, DEPTH, source, DEPTH],
            &[ROOT],
        )?;
        Ok(())
    }

    pub fn delete(&self, slot: u64) {
        self.invoke(ROOT, Label::CNodeDelete, &[slot, DEPTH], &[])
            .expect("deleting succeeds");
    }

    pub fn revoke(&self, slot: u64) {
        self.invoke(ROOT, Label::CNodeRevoke, &[slot, DEPTH], &[])
            .expect("revoking succeeds");
    }

    /// Whether a slot holds a capability: moving it onto itself then fails for another reason.
    pub fn is_full(&self, slot: u64) -> bool {
        let to = self.slot();
        match self.move_to(slot, to) {
            Ok(()) => {
                self.move_to(to, slot).expect("moving back");
                true
            }
            Err(Error::FailedLookup) => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    // -- Memory and threads --------------------------------------------------------------------------------------

    /// A mapped page: its capability and address.
    pub fn page(&self) -> (u64, u64) {
        let vaddr = self.next_page.get();
        self.next_page.set(vaddr + (1 << PAGE_BITS));
        if !self.tables.replace(true) {
            let table = self.make(ObjectType::PageTable, 0);
            self.map_table(table, slots::INIT_THREAD_VSPACE, vaddr)
                .expect("a table");
        }
        let frame = self.make(ObjectType::Page, 0);
        self.map(
            frame,
            slots::INIT_THREAD_VSPACE,
            vaddr,
            CapRights::READ_WRITE,
        )
        .expect("a page");
        (frame, vaddr)
    }

    pub fn map(&self, frame: u64, root: u64, vaddr: u64, rights: CapRights) -> Result<(), Error> {
        let words = [vaddr, rights.word(), 0];
        self.invoke(frame, Label::PageMap, &words, &[root])?;
        Ok(())
    }

    pub fn map_table(&self, table: u64, root: u64, vaddr: u64) -> Result<(), Error> {
        self.invoke(table, Label::PageTableMap, &[vaddr, 0], &[root])?;
        Ok(())
    }

    /// A thread that does not run yet. Maximum controlled priority is that of the root task.
    pub fn thread(&self, priority: u64) -> Thread {
        self.thread_with_handler(priority, 0)
    }

    /// The same, whose faults go to an endpoint.
    pub fn thread_with_handler(&self, priority: u64, handler: u64) -> Thread {
        let cap = self.make(ObjectType::Tcb, 0);
        let (frame, buffer) = self.page();
        self.invoke(
            cap,
            Label::TcbConfigure,
            &[handler, 0, 0, buffer],
            &[ROOT, slots::INIT_THREAD_VSPACE, frame],
        )
        .expect("configuring");
        self.invoke(
            cap,
            Label::TcbSetSchedParams,
            &[TOP, priority],
            &[slots::INIT_THREAD_TCB],
        )
        .expect("priorities");
        self.thread_in(cap)
    }

    /// The thread whose capability is in a slot.
    pub fn thread_in(&self, cap: u64) -> Thread {
        let address = self.address_of_thread(cap);
        Thread { cap, address }
    }

    /// Where a thread is, by what the kernel keeps in the slot.
    fn address_of_thread(&self, slot: u64) -> Paddr {
        use baton_kernel_core::cap::Cap;
        match self.cap_in(slot) {
            Cap::Thread { tcb } => tcb,
            other => panic!("no thread: {other:?}"),
        }
    }

    /// What the kernel keeps in a slot of the root CNode.
    pub fn cap_in(&self, slot: u64) -> baton_kernel_core::cap::Cap {
        use baton_kernel_core::cap::Cap;
        use baton_kernel_core::mem::{Slot, tcb_slot};
        let kernel = self.fake.kernel();
        let root = self.fake.current().slots[tcb_slot::CTABLE].cap();
        let Cap::CNode { address, .. } = Cap::decode(root) else {
            panic!("the running thread has no capability space");
        };
        let slot: &Slot = kernel.mem.get(address.add(slot << Slot::BITS));
        Cap::decode(slot.cap())
    }

    /// Lets a thread run from [`START`] on. It runs at once if its priority is higher than that of the caller.
    pub fn start(&self, thread: Thread) {
        let words = [1, 1, START];
        let message = Message {
            label: Label::TcbWriteRegisters.number(),
            words: &words,
            caps: &[],
        };
        self.fake.syscall(Syscall::Call, thread.cap, message);
    }

    /// A thread that is ready to run.
    pub fn started(&self, priority: u64) -> Thread {
        let thread = self.thread(priority);
        self.start(thread);
        thread
    }

    pub fn set_priority(&self, thread: u64, priority: u64) -> Result<(), Error> {
        let authority = [slots::INIT_THREAD_TCB];
        self.invoke(thread, Label::TcbSetPriority, &[priority], &authority)?;
        Ok(())
    }

    pub fn tcb(&self, thread: Thread) -> &Tcb {
        self.fake.kernel().mem.get(thread.address)
    }

    pub fn runs(&self, thread: Thread) -> bool {
        !self.fake.is_idle() && self.fake.current_address() == thread.address
    }

    pub fn assert_runs(&self, thread: Thread) {
        assert!(self.runs(thread), "another thread runs");
    }

    // -- IPC of the running thread -------------------------------------------------------------------------------

    pub fn send(&self, cap: u64, label: u64, words: &[u64]) {
        self.send_caps(cap, label, words, &[]);
    }

    pub fn send_caps(&self, cap: u64, label: u64, words: &[u64], caps: &[u64]) {
        let message = Message { label, words, caps };
        self.fake.syscall(Syscall::Send, cap, message);
    }

    pub fn nb_send(&self, cap: u64, label: u64, words: &[u64]) {
        let caps = &[];
        self.fake
            .syscall(Syscall::NBSend, cap, Message { label, words, caps });
    }

    pub fn call(&self, cap: u64, label: u64, words: &[u64]) {
        let caps = &[];
        self.fake
            .syscall(Syscall::Call, cap, Message { label, words, caps });
    }

    pub fn recv(&self, cap: u64) {
        self.fake.syscall(Syscall::Recv, cap, Message::default());
    }

    pub fn nb_recv(&self, cap: u64) {
        self.fake.syscall(Syscall::NBRecv, cap, Message::default());
    }

    pub fn reply_message(&self, label: u64, words: &[u64]) {
        let caps = &[];
        self.fake
            .syscall(Syscall::Reply, 0, Message { label, words, caps });
    }

    pub fn reply_recv(&self, cap: u64, label: u64, words: &[u64]) {
        let caps = &[];
        self.fake
            .syscall(Syscall::ReplyRecv, cap, Message { label, words, caps });
    }

    pub fn yield_now(&self) {
        self.fake.syscall(Syscall::Yield, 0, Message::default());
    }

    pub fn signal(&self, cap: u64) {
        self.send(cap, 0, &[]);
    }

    /// What the running thread has got.
    pub fn got(&self) -> Reply {
        self.fake.reply()
    }

    /// Registers of a stopped thread, as `TCB_ReadRegisters` tells them.
    pub fn registers(&self, thread: Thread) -> Vec<u64> {
        self.invoke(
            thread.cap,
            Label::TcbReadRegisters,
            &[0, USER_CONTEXT_WORDS as u64],
            &[],
        )
        .expect("reading registers")
    }
}

/// A register of `TCB_ReadRegisters`' words.
pub fn register(words: &[u64], register: Register) -> u64 {
    words[register.index()]
}

/// The program counter at which the thread goes on.
pub fn next_pc(tcb: &Tcb) -> u64 {
    tcb.context.get::<{ reg::NEXT_PC }>()
}

/// The data that gives a CNode capability a guard.
pub fn guard(guard: u64, bits: u64) -> u64 {
    CNodeCapData::new(guard, bits).word()
}
