//! Untyped memory: retype with all its errors, the watermark, clearing.

mod common;

use baton_kernel_core::cap::Cap;
use baton_sel4_abi::{CapRights, Error, Label, ObjectType};
use common::{DEPTH, ROOT, World};

fn address(world: &World, slot: u64) -> u64 {
    match world.cap_in(slot) {
        Cap::Untyped { address, .. }
        | Cap::Endpoint { address, .. }
        | Cap::Frame { address, .. }
        | Cap::CNode { address, .. } => address.value(),
        Cap::Thread { tcb } => tcb.value(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn objects_lie_one_behind_the_other_and_aligned() {
    let world = World::new();
    let untyped = world.untyped(13);
    let base = address(&world, untyped);
    let slots = world.slots(3);
    let retype = |object, slot| world.retype(untyped, object, 0, slot, 1);
    retype(ObjectType::Endpoint, slots).unwrap();
    retype(ObjectType::Tcb, slots + 1).unwrap();
    retype(ObjectType::Endpoint, slots + 2).unwrap();
    assert_eq!(address(&world, slots), base);
    assert_eq!(address(&world, slots + 1), base + 2048);
    assert_eq!(address(&world, slots + 2), base + 4096);
}

#[test]
fn memory_ends() {
    let world = World::new();
    let untyped = world.untyped(12);
    let slots = world.slots(4);
    world.retype(untyped, ObjectType::Tcb, 0, slots, 2).unwrap();
    assert_eq!(
        world.retype(untyped, ObjectType::Endpoint, 0, slots + 2, 1),
        Err(Error::NotEnoughMemory)
    );
    assert_eq!(world.got().words, [0], "bytes that are left");
    world.delete(slots);
    assert_eq!(
        world.retype(untyped, ObjectType::Endpoint, 0, slots + 2, 1),
        Err(Error::NotEnoughMemory),
        "the other thread is still there"
    );
    world.delete(slots + 1);
    world
        .retype(untyped, ObjectType::Endpoint, 0, slots + 2, 1)
        .unwrap();
}

#[test]
fn reused_memory_is_cleared() {
    let world = World::new();
    let untyped = world.untyped(13);
    let base = address(&world, untyped);
    let slots = world.slots(2);
    world
        .retype(untyped, ObjectType::Page, 0, slots, 2)
        .unwrap();
    for word in 0..1024 {
        world.fake.set_physical(base + word * 8, !0);
    }
    world.revoke(untyped);
    assert!(!world.is_full(slots));
    world
        .retype(untyped, ObjectType::Page, 0, slots, 1)
        .unwrap();
    for word in 0..1024 {
        assert_eq!(world.fake.physical(base + word * 8), 0, "word {word}");
    }
}

#[test]
fn arguments_are_checked() {
    let world = World::new();
    let untyped = world.untyped(16);
    let slots = world.slots(8);
    let retype = |object: u64, bits, slot, count| {
        let words = [object, bits, 0, 0, slot, count];
        world.invoke(untyped, Label::UntypedRetype, &words, &[ROOT])
    };
    let endpoint = ObjectType::Endpoint.number();
    assert_eq!(retype(9, 0, slots, 1), Err(Error::InvalidArgument));
    let table = ObjectType::CapTable.number();
    assert_eq!(retype(table, 0, slots, 1), Err(Error::InvalidArgument));
    assert_eq!(retype(table, 64, slots, 1), Err(Error::RangeError));
    assert_eq!(retype(table, !0, slots, 1), Err(Error::RangeError));
    assert_eq!(retype(0, 3, slots, 1), Err(Error::InvalidArgument));
    assert_eq!(retype(0, 39, slots, 1), Err(Error::RangeError));
    assert_eq!(retype(endpoint, 0, slots, 0), Err(Error::RangeError));
    assert_eq!(world.got().words, [1, 256]);
    assert_eq!(retype(endpoint, 0, slots, 257), Err(Error::RangeError));
    assert_eq!(world.got().words, [1, 256]);
    assert_eq!(retype(endpoint, 0, 8192, 1), Err(Error::RangeError));
    assert_eq!(world.got().words, [0, 8191]);
    assert_eq!(retype(endpoint, 0, 8190, 3), Err(Error::RangeError));
    assert_eq!(world.got().words, [1, 2]);
    assert_eq!(retype(endpoint, 0, !0, 2), Err(Error::RangeError));
    let few = world.invoke(
        untyped,
        Label::UntypedRetype,
        &[endpoint, 0, 0, 0, 9],
        &[ROOT],
    );
    assert_eq!(few, Err(Error::TruncatedMessage));
    let words = [endpoint, 0, 0, 0, slots, 1];
    let no_cnode = world.invoke(untyped, Label::UntypedRetype, &words, &[]);
    assert_eq!(no_cnode, Err(Error::TruncatedMessage));
    let not_cnode = world.invoke(untyped, Label::UntypedRetype, &words, &[untyped]);
    assert_eq!(not_cnode, Err(Error::FailedLookup));
    let other = world.invoke(untyped, Label::TcbResume, &words, &[ROOT]);
    assert_eq!(other, Err(Error::IllegalOperation));
    retype(endpoint, 0, slots + 1, 1).unwrap();
    assert_eq!(retype(endpoint, 0, slots, 2), Err(Error::DeleteFirst));
    assert!(!world.is_full(slots), "all or nothing");
}

#[test]
fn destination_can_be_looked_up() {
    let world = World::new();
    let cnode = world.make(ObjectType::CapTable, 4);
    let words = [ObjectType::Endpoint.number(), 0, cnode, DEPTH, 3, 2];
    world
        .invoke(world.memory, Label::UntypedRetype, &words, &[ROOT])
        .unwrap();
    let again = world.invoke(world.memory, Label::UntypedRetype, &words, &[ROOT]);
    assert_eq!(again, Err(Error::DeleteFirst));
}

#[test]
fn device_memory_becomes_frames_and_untypeds_only() {
    let world = World::new();
    let (device, ..) = world.boot_untyped(|bits, device| device && bits >= 14);
    let slots = world.slots(3);
    assert_eq!(
        world.retype(device, ObjectType::Endpoint, 0, slots, 1),
        Err(Error::InvalidArgument)
    );
    world
        .retype(device, ObjectType::Untyped, 13, slots, 1)
        .unwrap();
    world
        .retype(slots, ObjectType::Page, 0, slots + 1, 2)
        .unwrap();
    assert!(matches!(
        world.cap_in(slots + 1),
        Cap::Frame { device: true, .. }
    ));
    // Nothing touches the memory when it is reused.
    world.revoke(slots);
    world
        .retype(slots, ObjectType::Page, 0, slots + 1, 2)
        .unwrap();
}

#[test]
fn a_copy_of_untyped_memory_takes_it_all() {
    let world = World::new();
    let untyped = world.untyped(12);
    let copy = world.copy(untyped, CapRights::ALL);
    let slot = world.slot();
    assert_eq!(
        world.retype(untyped, ObjectType::Endpoint, 0, slot, 1),
        Err(Error::NotEnoughMemory),
        "or both would make objects of the same memory"
    );
    world
        .retype(copy, ObjectType::Endpoint, 0, slot, 1)
        .unwrap();
    let another = world.slot();
    assert_eq!(
        world.copy_to(copy, another, CapRights::ALL),
        Err(Error::RevokeFirst)
    );
}

#[test]
fn new_objects_are_children_of_the_untyped() {
    let world = World::new();
    let untyped = world.untyped(14);
    let slots = world.slots(3);
    world
        .retype(untyped, ObjectType::Untyped, 12, slots, 1)
        .unwrap();
    world
        .retype(slots, ObjectType::Endpoint, 0, slots + 1, 1)
        .unwrap();
    world.copy_to(slots + 1, slots + 2, CapRights::ALL).unwrap();
    world.revoke(untyped);
    for slot in slots..slots + 3 {
        assert!(!world.is_full(slot), "slot {slot}");
    }
    assert!(world.is_full(untyped));
}

#[test]
fn clearing_can_be_interrupted() {
    let world = World::new();
    let untyped = world.untyped(20);
    let base = address(&world, untyped);
    let slot = world.slots(200);
    world
        .retype(untyped, ObjectType::Page, 0, slot, 200)
        .unwrap();
    world.revoke(untyped);
    world.fake.set_physical(base + 8, 1);
    let before = world.fake.hardware.looks();
    world.fake.hardware.raise_timer_after_looks(3);
    world.retype(untyped, ObjectType::Page, 0, slot, 1).unwrap();
    assert!(world.fake.hardware.looks() > before + 3, "it went on");
    assert_eq!(world.fake.physical(base + 8), 0);
}
