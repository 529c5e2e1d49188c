//! What the threads of a program have in their hands when it begins: an object of every type, in every state that takes
//! several calls to reach.

use crate::Fake;
use baton_kernel_core::cap::Cap;
use baton_kernel_core::mem::{Paddr, Slot, tcb_slot};
use baton_sel4_abi::baton::{KERNEL_LANE_TYPE, MIN_KERNEL_LANE_BITS};
use baton_sel4_abi::bootinfo::word;
use baton_sel4_abi::{
    ASID_POOL_BITS, CNodeCapData, CapRights, Label, ObjectType, PAGE_BITS, ROOT_CNODE_SIZE_BITS,
    slots,
};

/// The root CNode in the calls that take one.
pub(super) const ROOT: u64 = slots::INIT_THREAD_CNODE;
/// Bits of a plain slot number.
pub(super) const DEPTH: u64 = 64;
/// Slots that programs play with, from [`Toys::first`] on. About half are empty at first.
pub(super) const SLOTS: u64 = 64;
/// Where pages are mapped: a page table is there, in both address spaces.
pub(super) const PAGES: u64 = 0x1000_0000;
/// An interrupt that a handler has, and one that none has.
pub(super) const IRQS: [u64; 2] = [10, 11];

/// A machine with threads and objects.
pub(super) struct Toys {
    pub(super) fake: Fake,
    /// The first slot that programs play with.
    pub(super) first: u64,
    /// The slot of the endpoint to which the threads' faults go.
    pub(super) handler: u64,
    /// The root CNode.
    root: Paddr,
    /// The next free one of the slots.
    next: u64,
}

impl Toys {
    /// Boots a machine and makes everything by system calls of the initial thread, which in the end has the lowest
    /// priority, so that another runs.
    pub(super) fn new() -> Self {
        let fake = Fake::booted();
        let cap = fake.current().slots[tcb_slot::CTABLE].cap();
        let Cap::CNode { address: root, .. } = Cap::decode(cap) else {
            panic!("the initial thread has no capability space");
        };
        let mut toys = Toys {
            fake,
            first: 0,
            handler: 0,
            root,
            next: 0,
        };
        toys.first = toys.boot_info(word::EMPTY);
        toys.next = toys.first;
        // Nothing of the set-up is what programs are about.
        toys.fake.set_checking(false);
        toys.make_all();
        toys.fake.set_checking(true);
        toys.fake.check();
        toys
    }

    /// The capability in a slot of the root CNode.
    pub(super) fn cap_in(&self, slot: u64) -> Cap {
        let at = self
            .root
            .add((slot % (1 << ROOT_CNODE_SIZE_BITS)) << Slot::BITS);
        Cap::decode(self.fake.kernel().mem.get::<Slot>(at).cap())
    }

    /// Where the slots that programs play with are in memory.
    pub(super) fn slots_address(&self) -> Paddr {
        self.root.add(self.first << Slot::BITS)
    }

    fn boot_info(&self, index: usize) -> u64 {
        let at = crate::IMAGE_VADDR + crate::IMAGE_BYTES + 0x1000 + index as u64 * 8;
        self.fake.load(at).expect("boot info is mapped")
    }

    /// The untypeds of boot info: slot, size (bytes, log2), whether it is a device's.
    fn boot_untypeds(&self) -> Vec<(u64, u64, bool)> {
        let (start, end) = (
            self.boot_info(word::UNTYPED),
            self.boot_info(word::UNTYPED + 1),
        );
        let all = (start..end).zip(0..).map(|(slot, index)| {
            let flags = self.boot_info(word::UNTYPED_LIST + index * 2 + 1);
            (slot, flags & 0xff, flags & 0x100 != 0)
        });
        all.collect()
    }

    /// The smallest untyped that has at least that size (bytes, log2).
    fn boot_untyped(&self, bits: u64) -> u64 {
        let all = self.boot_untypeds();
        let fitting = all
            .iter()
            .filter(|&&(_, size, device)| !device && size >= bits);
        let found = fitting.min_by_key(|(_, size, _)| *size);
        found.expect("such an untyped").0
    }

    fn device_untyped(&self) -> u64 {
        let all = self.boot_untypeds();
        let mut devices = all
            .iter()
            .filter(|&&(_, size, device)| device && size >= 12);
        devices.next().expect("memory of a device").0
    }

    fn moved(&mut self, source: u64) -> u64 {
        let slot = self.slot();
        let words = [slot, DEPTH, source, DEPTH];
        self.invoke(ROOT, Label::CNodeMove, &words, &[ROOT]);
        slot
    }

    fn invoke(&self, cap: u64, label: Label, words: &[u64], caps: &[u64]) {
        if let Err(error) = self.fake.invoke(cap, label, words, caps) {
            panic!("making what a program plays with: {label:?} of {cap:#x}: {error:?}");
        }
    }

    fn slot(&mut self) -> u64 {
        let slot = self.next;
        self.next += 1;
        assert!(self.next - self.first <= SLOTS, "too many toys");
        slot
    }

    fn make_of(&mut self, untyped: u64, object: ObjectType, bits: u64) -> u64 {
        self.make_number(untyped, object.number(), bits)
    }

    fn make_number(&mut self, untyped: u64, number: u64, bits: u64) -> u64 {
        let slot = self.slot();
        let words = [number, bits, 0, 0, slot, 1];
        self.invoke(untyped, Label::UntypedRetype, &words, &[ROOT]);
        slot
    }

    fn copy(&mut self, source: u64) -> u64 {
        let slot = self.slot();
        let words = [slot, DEPTH, source, DEPTH, CapRights::ALL.word()];
        self.invoke(ROOT, Label::CNodeCopy, &words, &[ROOT]);
        slot
    }

    fn mint(&mut self, source: u64, data: u64) -> u64 {
        let slot = self.slot();
        let words = [slot, DEPTH, source, DEPTH, CapRights::ALL.word(), data];
        self.invoke(ROOT, Label::CNodeMint, &words, &[ROOT]);
        slot
    }

    fn map(&self, frame: u64, space: u64, vaddr: u64) {
        let words = [vaddr, CapRights::READ_WRITE.word(), 0];
        self.invoke(frame, Label::PageMap, &words, &[space]);
    }

    fn make_all(&mut self) {
        // Everything is made of this one, so that a program can revoke everything. No larger than need be: it is cleared.
        let pool = self.boot_untyped(18);
        let pool = self.moved(pool);
        let large = self.boot_untyped(22);
        self.moved(large);
        let endpoint = self.make_of(pool, ObjectType::Endpoint, 0);
        self.handler = endpoint;
        self.make_of(pool, ObjectType::Endpoint, 0);
        self.mint(endpoint, 5);
        let notification = self.make_of(pool, ObjectType::Notification, 0);
        let bound = self.make_of(pool, ObjectType::Notification, 0);
        self.mint(notification, 3);
        self.make_of(pool, ObjectType::Tcb, 0);
        self.make_of(pool, ObjectType::CapTable, 4);
        self.make_of(pool, ObjectType::Untyped, 16);
        self.make_of(pool, ObjectType::Untyped, ASID_POOL_BITS);
        self.make_number(pool, KERNEL_LANE_TYPE, MIN_KERNEL_LANE_BITS);
        let device = self.device_untyped();
        self.make_of(device, ObjectType::Untyped, 12);
        self.copy(ROOT);
        self.copy(slots::INIT_THREAD_VSPACE);

        let handler = self.slot();
        let words = [IRQS[0], handler, DEPTH];
        self.invoke(slots::IRQ_CONTROL, Label::IrqIssueHandler, &words, &[ROOT]);
        self.invoke(handler, Label::IrqSetHandler, &[], &[notification]);

        self.make_of(pool, ObjectType::Page, 0);
        self.make_of(pool, ObjectType::PageTable, 0);
        let space = self.make_of(pool, ObjectType::PageTable, 0);
        self.invoke(
            slots::INIT_THREAD_ASID_POOL,
            Label::AsidPoolAssign,
            &[],
            &[space],
        );
        let spaces = [slots::INIT_THREAD_VSPACE, space];
        for space in spaces {
            let levels = if space == spaces[0] { 1 } else { 2 };
            for _ in 0..levels {
                let table = self.make_of(pool, ObjectType::PageTable, 0);
                self.invoke(table, Label::PageTableMap, &[PAGES, 0], &[space]);
            }
        }
        // A capability space of two levels that resolves plain slot numbers as well.
        let upper = self.make_of(pool, ObjectType::CapTable, 4);
        let words = [
            0,
            4,
            ROOT,
            DEPTH,
            CapRights::ALL.word(),
            CNodeCapData::new(0, 0).word(),
        ];
        self.invoke(upper, Label::CNodeMint, &words, &[ROOT]);
        let guard = CNodeCapData::new(0, DEPTH - 4 - ROOT_CNODE_SIZE_BITS).word();
        for (number, priority) in [200, 200, 150, 150, 100].into_iter().enumerate() {
            let (cspace, data) = if number == 1 {
                (upper, guard)
            } else {
                (ROOT, 0)
            };
            let space = spaces[number % spaces.len()];
            let vaddr = PAGES + ((number as u64) << PAGE_BITS);
            let frame = self.make_of(pool, ObjectType::Page, 0);
            self.map(frame, space, vaddr);
            let thread = self.make_of(pool, ObjectType::Tcb, 0);
            self.invoke(
                thread,
                Label::TcbConfigure,
                &[endpoint, data, 0, vaddr],
                &[cspace, space, frame],
            );
            let authority = [slots::INIT_THREAD_TCB];
            self.invoke(
                thread,
                Label::TcbSetSchedParams,
                &[255, priority],
                &authority,
            );
            if number == 2 {
                self.invoke(thread, Label::TcbBindNotification, &[], &[bound]);
            }
            self.invoke(thread, Label::TcbWriteRegisters, &[1, 1, 0x2000_0000], &[]);
        }
        self.lower_initial_thread();
    }

    /// Not [`Toys::invoke`]: another thread runs when it is done.
    fn lower_initial_thread(&self) {
        let message = crate::Message {
            label: Label::TcbSetPriority.number(),
            words: &[100],
            caps: &[slots::INIT_THREAD_TCB],
        };
        let call = baton_sel4_abi::Syscall::Call;
        self.fake.syscall(call, slots::INIT_THREAD_TCB, message);
    }
}
