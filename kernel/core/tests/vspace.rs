//! Address spaces: mapping, rights, unmapping, identifiers. Accesses go through a cache that is as stale as hardware allows.

mod common;

use baton_kernel_core::cap::Cap;
use baton_sel4_abi::{CapRights, Error, Label, ObjectType, slots};
use common::{DEPTH, ROOT, World};

const VSPACE: u64 = slots::INIT_THREAD_VSPACE;
const RW: CapRights = CapRights::READ_WRITE;
/// An address with nothing around it.
const FAR: u64 = 0x20_0000_0000;

/// Tables for 4 KiB pages at an address.
fn tables(world: &World, root: u64, vaddr: u64) -> [u64; 2] {
    [(); 2].map(|()| {
        let table = world.make(ObjectType::PageTable, 0);
        world.map_table(table, root, vaddr).unwrap();
        table
    })
}

fn map(world: &World, frame: u64, vaddr: u64, rights: CapRights, attributes: u64) {
    let words = [vaddr, rights.word(), attributes];
    world
        .invoke(frame, Label::PageMap, &words, &[VSPACE])
        .unwrap();
}

fn unmap(world: &World, frame: u64) {
    world.invoke(frame, Label::PageUnmap, &[], &[]).unwrap();
}

#[test]
fn a_mapped_page_can_be_used_and_an_unmapped_one_not() {
    let world = World::new();
    tables(&world, VSPACE, FAR);
    let frame = world.make(ObjectType::Page, 0);
    assert!(world.fake.load(FAR).is_err());
    map(&world, frame, FAR, RW, 0);
    world.fake.store(FAR + 8, 7).unwrap();
    assert_eq!(world.fake.load(FAR + 8), Ok(7));
    assert!(world.fake.load(FAR + 4096).is_err());
    unmap(&world, frame);
    assert!(world.fake.load(FAR + 8).is_err());
    unmap(&world, frame);
    // Mapped elsewhere it is the same memory.
    map(&world, frame, FAR + 4096, RW, 0);
    assert_eq!(world.fake.load(FAR + 4096 + 8), Ok(7));
}

#[test]
fn rights_and_attributes_are_the_hardwares() {
    let world = World::new();
    tables(&world, VSPACE, FAR);
    let frame = world.make(ObjectType::Page, 0);
    map(&world, frame, FAR, RW, 0);
    assert!(world.fake.fetch(FAR).is_ok());
    map(&world, frame, FAR, RW, 1);
    assert!(world.fake.fetch(FAR).is_err(), "execute never");
    assert!(world.fake.store(FAR, 1).is_ok());
    map(&world, frame, FAR, CapRights::READ, 1);
    assert!(world.fake.store(FAR, 1).is_err());
    assert_eq!(world.fake.load(FAR), Ok(1));
    let read_only = world.copy(frame, CapRights::READ);
    unmap(&world, frame);
    map(&world, read_only, FAR, RW, 0);
    assert!(world.fake.store(FAR, 1).is_err(), "the capability's rights");
}

#[test]
fn deleting_the_capability_unmaps() {
    let world = World::new();
    tables(&world, VSPACE, FAR);
    let frame = world.make(ObjectType::Page, 0);
    let copy = world.copy(frame, RW);
    map(&world, frame, FAR, RW, 0);
    map(&world, copy, FAR + 4096, RW, 0);
    world.fake.store(FAR, 5).unwrap();
    assert_eq!(world.fake.load(FAR + 4096), Ok(5));
    world.delete(frame);
    assert!(world.fake.load(FAR).is_err());
    assert_eq!(
        world.fake.load(FAR + 4096),
        Ok(5),
        "the copy's mapping stays"
    );
    world.delete(copy);
    assert!(world.fake.load(FAR + 4096).is_err());
}

#[test]
fn revoking_the_memory_unmaps_all_of_it() {
    let world = World::new();
    tables(&world, VSPACE, FAR);
    let untyped = world.untyped(14);
    let frames = world.slots(4);
    world
        .retype(untyped, ObjectType::Page, 0, frames, 4)
        .unwrap();
    for index in 0..4 {
        map(&world, frames + index, FAR + index * 4096, RW, 0);
        world.fake.store(FAR + index * 4096, 1).unwrap();
    }
    world.revoke(untyped);
    for index in 0..4 {
        assert!(world.fake.load(FAR + index * 4096).is_err());
    }
}

#[test]
fn large_frames_are_mapped_whole() {
    let world = World::new();
    let table = world.make(ObjectType::PageTable, 0);
    world.map_table(table, VSPACE, FAR).unwrap();
    let mega = world.make(ObjectType::MegaPage, 0);
    map(&world, mega, FAR, RW, 0);
    world.fake.store(FAR + 0x1f_fff8, 3).unwrap();
    assert_eq!(world.fake.load(FAR + 0x1f_fff8), Ok(3));
    assert!(world.fake.load(FAR + 0x20_0000).is_err());
    // No table where a frame is.
    let inner = world.make(ObjectType::PageTable, 0);
    assert_eq!(world.map_table(inner, VSPACE, FAR), Err(Error::DeleteFirst));
    unmap(&world, mega);
    assert!(world.fake.load(FAR).is_err());
    world.map_table(inner, VSPACE, FAR).unwrap();
}

#[test]
fn mapping_is_refused_where_it_cannot_be() {
    let world = World::new();
    let frame = world.make(ObjectType::Page, 0);
    let at = |vaddr| world.map(frame, VSPACE, vaddr, RW);
    assert_eq!(at(FAR), Err(Error::FailedLookup), "no tables");
    tables(&world, VSPACE, FAR);
    assert_eq!(at(FAR + 8), Err(Error::AlignmentError));
    assert_eq!(at(0x3f_ffff_f000), Err(Error::InvalidArgument));
    assert_eq!(at(!0xfff), Err(Error::InvalidArgument));
    assert_eq!(
        world.map(frame, frame, FAR, RW),
        Err(Error::InvalidCapability)
    );
    at(FAR).unwrap();
    let other = world.make(ObjectType::Page, 0);
    assert_eq!(
        world.map(other, VSPACE, FAR, RW),
        Err(Error::DeleteFirst),
        "something is there"
    );
    assert_eq!(
        at(FAR + 4096),
        Err(Error::InvalidArgument),
        "it is somewhere else"
    );
    let words = [FAR, 3];
    assert_eq!(
        world.invoke(frame, Label::PageMap, &words, &[VSPACE]),
        Err(Error::TruncatedMessage)
    );
    let words = [FAR, 3, 0];
    assert_eq!(
        world.invoke(frame, Label::PageMap, &words, &[]),
        Err(Error::TruncatedMessage)
    );
}

#[test]
fn deleting_a_table_takes_what_is_below_it() {
    let world = World::new();
    let [upper, lower] = tables(&world, VSPACE, FAR);
    let frame = world.make(ObjectType::Page, 0);
    map(&world, frame, FAR, RW, 0);
    world.fake.store(FAR, 1).unwrap();
    world.delete(lower);
    assert!(world.fake.load(FAR).is_err());
    let lower = world.make(ObjectType::PageTable, 0);
    world.map_table(lower, VSPACE, FAR).unwrap();
    assert!(world.fake.load(FAR).is_err());
    world
        .invoke(upper, Label::PageTableUnmap, &[], &[])
        .unwrap();
    assert!(world.fake.load(FAR).is_err());
    // The frame's capability still says that it is mapped there; unmapping it is no mistake.
    unmap(&world, frame);
}

#[test]
fn each_address_space_is_its_own() {
    let world = World::new();
    let root = world.make(ObjectType::PageTable, 0);
    let frame = world.make(ObjectType::Page, 0);
    assert_eq!(
        world.map(frame, root, FAR, RW),
        Err(Error::InvalidCapability),
        "no identifier yet"
    );
    let assign = |root| {
        let pool = slots::INIT_THREAD_ASID_POOL;
        world.invoke(pool, Label::AsidPoolAssign, &[], &[root])
    };
    assign(root).unwrap();
    assert_eq!(assign(root), Err(Error::InvalidCapability), "only once");
    tables(&world, root, FAR);
    world.map(frame, root, FAR, RW).unwrap();
    assert!(world.fake.load(FAR).is_err());

    let thread = world.thread(common::TOP);
    let (buffer, _) = world.page();
    let copy = world.copy(buffer, RW);
    tables(&world, root, 0x1000_0000);
    world.map(copy, root, 0x1000_0000, RW).unwrap();
    world
        .invoke(
            thread.cap,
            Label::TcbConfigure,
            &[0, 0, 0, 0x1000_0000],
            &[ROOT, root, copy],
        )
        .unwrap();
    world.start(thread);
    let own = world.fake.hardware.address_space();
    world.yield_now();
    world.assert_runs(thread);
    assert_ne!(world.fake.hardware.address_space().1, own.1);
    world.fake.store(FAR, 9).unwrap();
    assert!(world.fake.load(0x1_0000).is_err(), "the root task's image");
    world.yield_now();
    assert_eq!(world.fake.hardware.address_space(), own);
    // An address space that goes while a thread uses it.
    world.delete(root);
    let last = world.fake.hardware.address_space();
    assert_eq!(last, own);
}

#[test]
fn pools_of_identifiers_are_made_of_memory() {
    let world = World::new();
    let make = |untyped, slot| {
        world.invoke(
            slots::ASID_CONTROL,
            Label::AsidControlMakePool,
            &[slot, DEPTH],
            &[untyped, ROOT],
        )
    };
    let small = world.untyped(11);
    let slot = world.slot();
    assert_eq!(make(small, slot), Err(Error::InvalidCapability));
    let untyped = world.untyped(12);
    make(untyped, slot).unwrap();
    assert!(matches!(
        world.cap_in(slot),
        Cap::AsidPool { base: 512, .. }
    ));
    assert_eq!(make(untyped, world.slot()), Err(Error::RevokeFirst));
    let root = world.make(ObjectType::PageTable, 0);
    world
        .invoke(slot, Label::AsidPoolAssign, &[], &[root])
        .unwrap();
    assert!(matches!(
        world.cap_in(root),
        Cap::PageTable { asid: 512, .. }
    ));
    // All 127 that are left, and no more.
    let mut made = Vec::new();
    loop {
        let (untyped, slot) = (world.untyped(12), world.slot());
        match make(untyped, slot) {
            Ok(_) => made.push((untyped, slot)),
            Err(error) => {
                assert_eq!(error, Error::DeleteFirst);
                break;
            }
        }
    }
    assert_eq!(made.len(), 126);
    // One that goes gives its place back.
    world.revoke(made[5].0);
    let slot = world.slot();
    make(made[5].0, slot).unwrap();
    assert_eq!(world.cap_in(made[5].1), Cap::Null);
}

#[test]
fn a_deleted_pool_ends_its_address_spaces() {
    let world = World::new();
    let untyped = world.untyped(12);
    let pool = world.slot();
    world
        .invoke(
            slots::ASID_CONTROL,
            Label::AsidControlMakePool,
            &[pool, DEPTH],
            &[untyped, ROOT],
        )
        .unwrap();
    let root = world.make(ObjectType::PageTable, 0);
    world
        .invoke(pool, Label::AsidPoolAssign, &[], &[root])
        .unwrap();
    tables(&world, root, FAR);
    let frame = world.make(ObjectType::Page, 0);
    world.map(frame, root, FAR, RW).unwrap();
    world.revoke(untyped);
    let other = world.make(ObjectType::Page, 0);
    assert!(world.map(other, root, FAR + 4096, RW).is_err());
    unmap(&world, frame);
    world.delete(root);
}

#[test]
fn a_reused_identifier_shows_nothing_of_the_old_address_space() {
    let world = World::new();
    let make_pool = |untyped, slot| {
        let words = [slot, DEPTH];
        let caps = [untyped, ROOT];
        world
            .invoke(
                slots::ASID_CONTROL,
                Label::AsidControlMakePool,
                &words,
                &caps,
            )
            .unwrap();
    };
    let (untyped, pool) = (world.untyped(12), world.slot());
    // Twice the same, but that the second has nothing mapped; so nothing else flushes anything either.
    for round in 0..2 {
        make_pool(untyped, pool);
        let root = world.make(ObjectType::PageTable, 0);
        world
            .invoke(pool, Label::AsidPoolAssign, &[], &[root])
            .unwrap();
        if round == 0 {
            tables(&world, root, FAR);
            let secret = world.make(ObjectType::Page, 0);
            world.map(secret, root, FAR, RW).unwrap();
        }
        let thread = world.thread(common::TOP);
        let caps = [ROOT, root, ROOT];
        world
            .invoke(thread.cap, Label::TcbConfigure, &[0; 4], &caps)
            .unwrap();
        world.start(thread);
        world.yield_now();
        world.assert_runs(thread);
        assert_eq!(world.fake.hardware.address_space().1, 512);
        assert_eq!(world.fake.load(FAR).is_ok(), round == 0);
        world.yield_now();
        world.delete(thread.cap);
        world.revoke(untyped);
    }
}

#[test]
fn device_frames_can_be_mapped() {
    let world = World::new();
    tables(&world, VSPACE, FAR);
    let (device, _, paddr) = world.boot_untyped(|bits, device| device && bits >= 12);
    let frame = world.slot();
    world.retype(device, ObjectType::Page, 0, frame, 1).unwrap();
    map(&world, frame, FAR, RW, 0);
    let at = world.fake.translate(baton_kernel_fake::Access::Load, FAR);
    assert_eq!(at, Ok(paddr));
    let address = world.invoke(frame, Label::PageGetAddress, &[], &[]);
    assert_eq!(address, Ok(vec![paddr]));
}
