//! Address spaces: pages of all sizes, page tables, identifiers.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::probe;
use crate::shared;
use baton_runtime::ObjectSource;
use baton_runtime::VSpace;
use baton_runtime::sel4::abi::USER_TOP;
use baton_runtime::sel4::{
    AsidPool, CapRights, Capability, Error, Fault, LookupFailure, Message, ObjectType, Page,
    PageTable, Untyped, VmAttributes,
};

cases! {
    small_page: "a page of 4 KiB is mapped, read and written to its ends",
    large_page: "a page of 2 MiB is mapped, read and written to its ends",
    huge_page: "a page of 1 GiB is mapped and has its address",
    missing_table: "without a page table, mapping says what is missing",
    occupied: "mapping where another page is mapped is refused",
    remap_changes_rights: "mapping a page again where it is changes its rights at once",
    remap_elsewhere: "a page that is mapped cannot be mapped elsewhere as well",
    misaligned: "an address that is not aligned to the page is refused",
    beyond_user_space: "an address beyond user space is refused",
    not_a_vspace: "an address space that is none is refused",
    unmap: "an unmapped page is gone at once",
    unmap_twice: "unmapping what is not mapped is no error",
    delete_unmaps: "deleting the capability that maps a page unmaps it; deleting a copy does not",
    write_implies_nothing: "a page without rights is not accessible",
    execute_needs_no_attribute: "code runs unless the page is execute-never",
    table_unmap: "unmapping a page table takes all its pages away",
    table_delete: "deleting a page table takes all its pages away, and its memory is free",
    table_twice: "a page table is mapped once",
    table_occupied: "a page table where one is, or a page, is refused",
    table_copies: "a page table that is not mapped cannot be copied, a mapped one can",
    unassigned_vspace: "an address space without identifier takes no pages",
    assign_once: "an address space gets one identifier",
    assign_mapped_table: "a page table that is mapped in an address space cannot become one",
    make_pool: "a pool is made of 4 KiB, and gives address spaces identifiers",
    make_pool_checks: "a pool wants an untyped of its size without children, and an empty slot",
    pool_is_full: "a pool gives 512 identifiers and no more",
    pool_deleted: "deleting a pool makes its address spaces unusable",
    vspace_deleted: "deleting an address space stops its threads when they next need it",
    many_spaces: "identifiers are used again: a thousand address spaces, one after another",
    page_address: "pages tell their physical addresses, which follow one another",
    separate_spaces: "the same address is different memory in different address spaces",
    truncated: "messages that are too short, or lack the address space, are refused",
}

const READ: CapRights = CapRights::READ;
const READ_WRITE: CapRights = CapRights::READ_WRITE;
const NEVER: VmAttributes = VmAttributes::EXECUTE_NEVER;
const DEFAULT: VmAttributes = VmAttributes::DEFAULT;
const FREE: u64 = 0x18_0000_0000;

extern "C" fn read(address: u64, index: u64, _: u64) {
    let value = probe::read(address);
    shared::set(index as usize, 1 + value);
}

extern "C" fn write(address: u64, value: u64, _: u64) {
    probe::write(address, value);
    shared::set(0, 1);
}

extern "C" fn execute(address: u64, _: u64, _: u64) {
    let value = probe::execute(address);
    shared::set(0, value);
}

/// Whether a thread that does this faults at the address.
fn faults(env: &mut Env, entry: baton_runtime::ThreadEntry, address: u64) -> bool {
    let endpoint = env.endpoint();
    let thread = env.new_faulting_thread(PRIORITY + 1, endpoint.cptr());
    ok(thread.start(entry, [address, 3, 0]));
    let received = endpoint.nb_recv();
    let faulted = match Fault::from_message(&received) {
        Some(Fault::Vm { address: at, .. }) => {
            assert_eq!(at, address);
            true
        }
        _ => false,
    };
    ok(thread.tcb.suspend());
    faulted
}

fn object(env: &mut Env, object: ObjectType) -> u64 {
    ok(env.arena.object(object, 0))
}

fn table(env: &mut Env) -> PageTable {
    PageTable::new(object(env, ObjectType::PageTable))
}

/// A new address space with an identifier.
fn space(env: &mut Env) -> VSpace {
    let pool = env.root.asid_pool;
    ok(VSpace::make(&mut env.arena, pool))
}

fn root(env: &Env) -> PageTable {
    env.root.vspace.root()
}

fn small_page(env: &mut Env) {
    let page = env.page();
    let mapped = env.map(page);
    mapped.write(0, 1);
    mapped.write(4088, 2);
    assert_eq!(
        (mapped.read(0), mapped.read(8), mapped.read(4088)),
        (1, 0, 2)
    );
    assert!(faults(env, read, mapped.address() + 4096) || mapped.read(0) == 1);
}

fn large_page(env: &mut Env) {
    let page = Page::new(object(env, ObjectType::MegaPage));
    let mapped = ok(env.window.map(&mut env.arena, page, 21));
    for offset in [0, 4096, 1 << 20, (1 << 21) - 8] {
        assert_eq!(mapped.read(offset), 0);
        mapped.write(offset, offset + 1);
    }
    for offset in [0, 4096, 1 << 20, (1 << 21) - 8] {
        assert_eq!(mapped.read(offset), offset + 1);
    }
}

fn huge_page(env: &mut Env) {
    // Of device memory: one gigabyte of RAM is more than the machine need have.
    let slot = env.slot();
    let node = env.root.cnode.slot_at(0, 0);
    ok(env
        .device_untyped
        .retype(ObjectType::GigaPage, 0, node, slot.index, 1));
    let page = Page::new(slot.index);
    let address = ok(page.address());
    assert!(address.is_multiple_of(1 << 30));
    ok(page.map(root(env), FREE, READ_WRITE, NEVER));
    // The one entry serves all of it: no smaller page fits there, and no table.
    let (small, other) = (env.page(), table(env));
    assert!(matches!(
        small.map(root(env), FREE + 0x1234_5000, READ, NEVER),
        Err(Error::FailedLookup { .. })
    ));
    assert_eq!(other.map(root(env), FREE, DEFAULT), Err(Error::DeleteFirst));
    ok(page.unmap());
    ok(other.map(root(env), FREE, DEFAULT));
    ok(other.unmap());
    assert_eq!(
        page.map(root(env), FREE + (1 << 21), READ, NEVER),
        Err(Error::AlignmentError)
    );
    ok(slot.delete());
    ok(env.place(env.device_untyped).revoke());
}

fn missing_table(env: &mut Env) {
    let page = env.page();
    let missing = |bits_left| {
        Err(Error::FailedLookup {
            source: false,
            failure: LookupFailure::MissingCapability { bits_left },
        })
    };
    assert_eq!(page.map(root(env), FREE, READ, NEVER), missing(30));
    let first = table(env);
    ok(first.map(root(env), FREE, DEFAULT));
    assert_eq!(page.map(root(env), FREE, READ, NEVER), missing(21));
    let second = table(env);
    ok(second.map(root(env), FREE, DEFAULT));
    ok(page.map(root(env), FREE, READ, NEVER));
}

fn occupied(env: &mut Env) {
    let (first, second) = (env.page(), env.page());
    let mapped = env.map(first);
    mapped.write(0, 8);
    assert_eq!(
        second.map(root(env), mapped.address(), READ, NEVER),
        Err(Error::DeleteFirst)
    );
    assert_eq!(mapped.read(0), 8);
}

fn remap_changes_rights(env: &mut Env) {
    let page = env.page();
    let mapped = env.map(page);
    mapped.write(0, 6);
    ok(page.map(root(env), mapped.address(), READ, NEVER));
    assert!(faults(env, write, mapped.address()));
    assert_eq!(mapped.read(0), 6);
    ok(page.map(root(env), mapped.address(), READ_WRITE, NEVER));
    mapped.write(0, 7);
    assert_eq!(mapped.read(0), 7);
}

fn remap_elsewhere(env: &mut Env) {
    let page = env.page();
    let mapped = env.map(page);
    let other = env.hole();
    assert_eq!(
        page.map(root(env), other, READ_WRITE, NEVER),
        Err(Error::InvalidArgument { argument: 0 })
    );
    mapped.write(0, 1);
    let elsewhere = space(env);
    assert!(
        page.map(elsewhere.root(), mapped.address(), READ, NEVER)
            .is_err()
    );
}

fn misaligned(env: &mut Env) {
    let (small, large) = (env.page(), Page::new(object(env, ObjectType::MegaPage)));
    for offset in [1, 8, 2048] {
        assert_eq!(
            small.map(root(env), FREE + offset, READ, NEVER),
            Err(Error::AlignmentError)
        );
    }
    assert_eq!(
        large.map(root(env), FREE + 4096, READ, NEVER),
        Err(Error::AlignmentError)
    );
}

fn beyond_user_space(env: &mut Env) {
    let (page, large) = (env.page(), Page::new(object(env, ObjectType::MegaPage)));
    let expected = Err(Error::InvalidArgument { argument: 0 });
    for address in [USER_TOP, 1 << 39, 0xffff_ffff_8020_0000, u64::MAX - 4095] {
        assert_eq!(
            page.map(root(env), address, READ, NEVER),
            expected,
            "{address:#x}"
        );
    }
    // Its end would be beyond.
    assert_eq!(
        large.map(root(env), USER_TOP & !((1 << 21) - 1), READ, NEVER),
        expected
    );
    let table = table(env);
    assert_eq!(
        table.map(root(env), 0xffff_ffc0_0000_0000, DEFAULT),
        expected
    );
    let vspace = env.root.vspace;
    ok(vspace.map(&mut env.arena, page, USER_TOP - 4096, READ, NEVER));
}

fn not_a_vspace(env: &mut Env) {
    let (page, endpoint) = (env.page(), env.endpoint());
    let expected = Err(Error::InvalidCapability { capability: 1 });
    assert_eq!(
        page.map(PageTable::new(endpoint.cptr()), FREE, READ, NEVER),
        expected
    );
    // A page table that is not the root, and a page.
    assert_eq!(
        page.map(PageTable::new(page.cptr()), FREE, READ, NEVER),
        expected
    );
    let table = table(env);
    assert_eq!(
        table.map(PageTable::new(endpoint.cptr()), FREE, DEFAULT),
        expected
    );
}

fn unmap(env: &mut Env) {
    let page = env.page();
    let mapped = env.map(page);
    let address = mapped.address();
    mapped.write(0, 5);
    let endpoint = env.endpoint();
    let reader = env.new_faulting_thread(PRIORITY + 1, endpoint.cptr());
    ok(reader.start(read, [address, 3, 0]));
    assert_eq!(shared::get(3), 6);
    // Nothing is mapped from here on: that would hide a translation that is left over.
    ok(page.unmap());
    ok(reader.start(read, [address, 4, 0]));
    let received = endpoint.nb_recv();
    assert!(
        matches!(Fault::from_message(&received), Some(Fault::Vm { address: at, .. }) if at == address)
    );
    assert_eq!(shared::get(4), 0);
    // What was written is still there when it is mapped again, wherever.
    let mapped = env.map(page);
    assert_eq!(mapped.read(0), 5);
}

fn unmap_twice(env: &mut Env) {
    let page = env.page();
    ok(page.unmap());
    env.map(page);
    ok(page.unmap());
    ok(page.unmap());
    let table = table(env);
    ok(table.unmap());
}

fn delete_unmaps(env: &mut Env) {
    let page = env.page();
    let copy = env.copy(page);
    let mapped = env.map(copy);
    let other = env.copy(page);
    ok(env.place(other).delete());
    assert!(!faults(env, read, mapped.address()));
    ok(env.place(copy).delete());
    assert!(faults(env, read, mapped.address()));
}

fn write_implies_nothing(env: &mut Env) {
    let page = env.page();
    let weak = env.mint(page, CapRights::NONE, 0);
    let address = env.hole();
    let vspace = env.root.vspace;
    // Whether such a mapping is made at all, nobody can use it.
    let _ = vspace.map(&mut env.arena, weak, address, READ_WRITE, DEFAULT);
    assert!(faults(env, read, address));
    assert!(faults(env, write, address));
}

fn execute_needs_no_attribute(env: &mut Env) {
    let page = env.page();
    let mapped = env.map(page);
    mapped.write_u32(0, probe::RETURN_42[0]);
    mapped.write_u32(4, probe::RETURN_42[1]);
    assert!(faults(env, execute, mapped.address()));
    ok(mapped.unmap(page));
    ok(page.map(root(env), mapped.address(), READ, DEFAULT));
    env.thread(PRIORITY + 1, execute, [mapped.address(), 0, 0]);
    assert_eq!(shared::get(0), 42);
}

/// Maps a page below two tables that are the case's own.
fn own_tables(env: &mut Env) -> (PageTable, PageTable, Page) {
    let (upper, lower, page) = (table(env), table(env), env.page());
    ok(upper.map(root(env), FREE, DEFAULT));
    ok(lower.map(root(env), FREE, DEFAULT));
    ok(page.map(root(env), FREE, READ_WRITE, NEVER));
    (upper, lower, page)
}

fn table_unmap(env: &mut Env) {
    let (upper, lower, page) = own_tables(env);
    assert!(!faults(env, read, FREE));
    ok(lower.unmap());
    assert!(faults(env, read, FREE));
    ok(page.unmap());
    ok(lower.map(root(env), FREE, DEFAULT));
    // The table comes back empty.
    assert!(faults(env, read, FREE));
    ok(page.map(root(env), FREE, READ, NEVER));
    assert!(!faults(env, read, FREE));
    ok(upper.unmap());
    assert!(faults(env, read, FREE));
}

fn table_delete(env: &mut Env) {
    let untyped = env.untyped(12);
    let slot = env.slot();
    let node = env.root.cnode.slot_at(0, 0);
    let (upper, page) = (table(env), env.page());
    ok(untyped.retype(ObjectType::PageTable, 0, node, slot.index, 1));
    ok(upper.map(root(env), FREE, DEFAULT));
    ok(PageTable::new(slot.index).map(root(env), FREE, DEFAULT));
    ok(page.map(root(env), FREE, READ, NEVER));
    ok(slot.delete());
    assert!(faults(env, read, FREE));
    ok(untyped.retype(ObjectType::PageTable, 0, node, slot.index, 1));
    ok(page.unmap());
    ok(PageTable::new(slot.index).map(root(env), FREE, DEFAULT));
    ok(page.map(root(env), FREE, READ, NEVER));
    assert!(!faults(env, read, FREE));
}

fn table_twice(env: &mut Env) {
    let (upper, lower, _) = own_tables(env);
    let expected = Err(Error::InvalidCapability { capability: 0 });
    assert_eq!(upper.map(root(env), FREE + (1 << 30), DEFAULT), expected);
    assert_eq!(lower.map(root(env), FREE + (1 << 21), DEFAULT), expected);
}

fn table_occupied(env: &mut Env) {
    own_tables(env);
    let more = table(env);
    assert_eq!(more.map(root(env), FREE, DEFAULT), Err(Error::DeleteFirst));
    let large = Page::new(object(env, ObjectType::MegaPage));
    ok(large.map(root(env), FREE + (2 << 21), READ, NEVER));
    assert_eq!(
        more.map(root(env), FREE + (2 << 21), DEFAULT),
        Err(Error::DeleteFirst)
    );
    // And a large page where a table is.
    let other = Page::new(object(env, ObjectType::MegaPage));
    assert!(matches!(
        other.map(root(env), FREE, READ, NEVER),
        Err(Error::FailedLookup { .. })
    ));
}

fn table_copies(env: &mut Env) {
    let unmapped = table(env);
    let slot = env.slot();
    assert_eq!(
        slot.copy_from(env.place(unmapped), CapRights::ALL),
        Err(Error::IllegalOperation)
    );
    ok(unmapped.map(root(env), FREE, DEFAULT));
    ok(slot.copy_from(env.place(unmapped), CapRights::ALL));
}

fn unassigned_vspace(env: &mut Env) {
    let (unassigned, page) = (table(env), env.page());
    let result = page.map(unassigned, FREE, READ, NEVER);
    assert!(
        matches!(
            result,
            Err(Error::FailedLookup { .. } | Error::InvalidCapability { .. })
        ),
        "{result:?}"
    );
}

fn assign_once(env: &mut Env) {
    let vspace = table(env);
    ok(env.root.asid_pool.assign(vspace));
    assert_eq!(
        env.root.asid_pool.assign(vspace),
        Err(Error::InvalidCapability { capability: 1 })
    );
    let endpoint = env.endpoint();
    assert_eq!(
        env.root.asid_pool.assign(PageTable::new(endpoint.cptr())),
        Err(Error::InvalidCapability { capability: 1 })
    );
}

fn assign_mapped_table(env: &mut Env) {
    let (upper, ..) = own_tables(env);
    assert_eq!(
        env.root.asid_pool.assign(upper),
        Err(Error::InvalidCapability { capability: 1 })
    );
}

fn new_pool(env: &mut Env) -> AsidPool {
    let untyped = env.untyped(12);
    let slot = env.slot();
    ok(env.root.asid_control.make_pool(untyped, slot));
    AsidPool::new(slot.index)
}

fn make_pool(env: &mut Env) {
    let pool = new_pool(env);
    let vspace = ok(VSpace::make(&mut env.arena, pool));
    let page = env.page();
    ok(vspace.map(&mut env.arena, page, FREE, READ, NEVER));
}

fn make_pool_checks(env: &mut Env) {
    let control = env.root.asid_control;
    let slot = env.slot();
    for bits in [11, 13] {
        let untyped = env.untyped(bits);
        assert_eq!(
            control.make_pool(untyped, slot),
            Err(Error::InvalidCapability { capability: 1 })
        );
    }
    let page = env.page();
    assert_eq!(
        control.make_pool(Untyped::new(page.cptr()), slot),
        Err(Error::InvalidCapability { capability: 1 })
    );
    let untyped = env.untyped(12);
    assert_eq!(
        control.make_pool(untyped, env.place(page)),
        Err(Error::DeleteFirst)
    );
    let child = env.slot();
    let node = env.root.cnode.slot_at(0, 0);
    ok(untyped.retype(ObjectType::Endpoint, 0, node, child.index, 1));
    assert_eq!(control.make_pool(untyped, slot), Err(Error::RevokeFirst));
    ok(child.delete());
    ok(control.make_pool(untyped, slot));
}

fn pool_is_full(env: &mut Env) {
    let pool = new_pool(env);
    let mut last = None;
    for number in 0..512 {
        let vspace = table(env);
        assert_eq!(pool.assign(vspace), Ok(()), "{number}");
        last = Some(vspace);
    }
    let one_more = table(env);
    assert_eq!(pool.assign(one_more), Err(Error::DeleteFirst));
    if let Some(last) = last {
        ok(env.place(last).delete());
    }
    ok(pool.assign(one_more));
}

fn pool_deleted(env: &mut Env) {
    let pool = new_pool(env);
    let vspace = ok(VSpace::make(&mut env.arena, pool));
    let (page, second) = (env.page(), env.page());
    ok(vspace.map(&mut env.arena, page, FREE, READ, NEVER));
    ok(env.place(pool).delete());
    assert!(second.map(vspace.root(), FREE + 4096, READ, NEVER).is_err());
    // What it mapped can be unmapped and used elsewhere.
    ok(page.unmap());
    env.map(page);
}

const ECHO: u64 = 0;

fn vspace_deleted(env: &mut Env) {
    let (endpoint, parent) = (env.endpoint(), env.endpoint());
    let gift = env.gift(endpoint, CapRights::ALL);
    let process = env.new_process_of(parent, 1, PRIORITY + 1, &[ECHO], &[gift]);
    ok(process.start());
    assert_eq!(endpoint.call(&Message::new(0, &[4])).mrs[0], 4);
    // All capabilities to it: the one in the process's own capability space and the thread's as well.
    ok(env.place(process.vspace.root()).revoke());
    ok(env.place(process.vspace.root()).delete());
    endpoint.send(&Message::new(0, &[5]));
    // It ran into nothing, and says so.
    let received = parent.recv();
    assert!(matches!(
        Fault::from_message(&received),
        Some(Fault::Vm { fsr: 1, .. })
    ));
}

fn many_spaces(env: &mut Env) {
    let untyped = env.untyped(14);
    let (slot, page) = (env.slot(), env.page());
    let node = env.root.cnode.slot_at(0, 0);
    let tables = [env.slot(), env.slot()];
    for number in 0..1000_u64 {
        ok(untyped.retype(ObjectType::PageTable, 0, node, slot.index, 1));
        let vspace = PageTable::new(slot.index);
        assert_eq!(env.root.asid_pool.assign(vspace), Ok(()), "{number}");
        if number % 100 == 0 {
            for table in tables {
                ok(untyped.retype(ObjectType::PageTable, 0, node, table.index, 1));
                ok(PageTable::new(table.index).map(vspace, FREE, DEFAULT));
            }
            ok(page.map(vspace, FREE, READ, NEVER));
        }
        ok(env.place(untyped).revoke());
        ok(page.unmap());
    }
}

fn page_address(env: &mut Env) {
    let untyped = env.untyped(14);
    let node = env.root.cnode.slot_at(0, 0);
    let mut addresses = [0; 4];
    for address in &mut addresses {
        let slot = env.slot();
        ok(untyped.retype(ObjectType::Page, 0, node, slot.index, 1));
        *address = ok(Page::new(slot.index).address());
    }
    assert!(addresses[0].is_multiple_of(1 << 14));
    for (index, address) in addresses.iter().enumerate() {
        assert_eq!(*address, addresses[0] + index as u64 * 4096);
    }
}

const WRITE_ROLE: u64 = 3;

fn separate_spaces(env: &mut Env) {
    let parent = env.endpoint();
    let mut frames = [None; 3];
    for (index, frame) in frames.iter_mut().enumerate() {
        let badge = index as u64 + 1;
        let arguments = [WRITE_ROLE, FREE, badge * 111];
        let process = env.new_process_of(parent, badge, PRIORITY + 1, &arguments, &[]);
        let page = env.page();
        ok(process
            .vspace
            .map(&mut env.arena, page, FREE, READ_WRITE, NEVER));
        ok(process.start());
        let copy = env.copy(page);
        *frame = Some(env.map(copy));
        let end = parent.recv();
        assert_eq!((end.badge, end.mrs[0]), (badge, badge * 111));
    }
    for (index, frame) in frames.iter().flatten().enumerate() {
        assert_eq!(frame.read(0), (index as u64 + 1) * 111);
    }
}

fn truncated(env: &mut Env) {
    use baton_runtime::sel4::{Label, call_raw};
    const TRUNCATED: u64 = 7;
    let (page, table) = (env.page(), table(env));
    let vspace = [root(env).cptr()];
    let words = [FREE, READ.word(), 0];
    let map = Label::PageMap.number();
    assert_eq!(
        call_raw(page.cptr(), &Message::with_caps(map, &words[..2], &vspace)).label(),
        TRUNCATED
    );
    assert_eq!(
        call_raw(page.cptr(), &Message::new(map, &words)).label(),
        TRUNCATED
    );
    let map = Label::PageTableMap.number();
    assert_eq!(
        call_raw(table.cptr(), &Message::with_caps(map, &words[..1], &vspace)).label(),
        TRUNCATED
    );
    assert_eq!(
        call_raw(table.cptr(), &Message::new(map, &words[..2])).label(),
        TRUNCATED
    );
    let assign = Label::AsidPoolAssign.number();
    assert_eq!(
        call_raw(env.root.asid_pool.cptr(), &Message::new(assign, &[])).label(),
        TRUNCATED
    );
}
