//! Capability spaces and CNodes: lookup, copying, moving, the derivation tree, deleting with zombies.

mod common;

use baton_kernel_core::cap::Cap;
use baton_sel4_abi::{CapRights, Error, Label, LookupFailureKind, ObjectType, slots};
use common::{DEPTH, ROOT, World, guard};

fn rights(world: &World, slot: u64) -> CapRights {
    match world.cap_in(slot) {
        Cap::Endpoint { rights, .. } | Cap::Notification { rights, .. } => rights,
        Cap::Frame { rights, .. } => rights,
        other => panic!("{other:?}"),
    }
}

fn badge(world: &World, slot: u64) -> u64 {
    match world.cap_in(slot) {
        Cap::Endpoint { badge, .. } | Cap::Notification { badge, .. } => badge,
        other => panic!("{other:?}"),
    }
}

#[test]
fn copies_have_no_more_rights() {
    let world = World::new();
    let endpoint = world.endpoint();
    assert_eq!(rights(&world, endpoint), CapRights::ALL);
    let read = world.copy(endpoint, CapRights::READ);
    assert_eq!(rights(&world, read), CapRights::READ);
    let again = world.copy(read, CapRights::ALL);
    assert_eq!(rights(&world, again), CapRights::READ);
    let none = world.copy(read, CapRights::WRITE);
    assert_eq!(rights(&world, none), CapRights::NONE);
    let frame = world.make(ObjectType::Page, 0);
    let read_only = world.copy(frame, CapRights::READ);
    assert_eq!(rights(&world, read_only), CapRights::READ);
}

#[test]
fn a_badge_is_given_once() {
    let world = World::new();
    for object in [world.endpoint(), world.notification()] {
        let badged = world.mint(object, CapRights::ALL, 7);
        assert_eq!(badge(&world, badged), 7);
        let slot = world.slot();
        assert_eq!(
            world.mint_to(badged, slot, CapRights::ALL, 8),
            Err(Error::IllegalOperation)
        );
        let copy = world.copy(badged, CapRights::ALL);
        assert_eq!(badge(&world, copy), 7);
    }
}

#[test]
fn copying_checks_its_slots() {
    let world = World::new();
    let endpoint = world.endpoint();
    let free = world.slot();
    let all = CapRights::ALL;
    assert_eq!(
        world.copy_to(endpoint, endpoint, all),
        Err(Error::DeleteFirst)
    );
    assert_eq!(world.copy_to(free, free, all), Err(Error::FailedLookup));
    let got = world.got().words;
    assert_eq!(got[0], 1, "the source's lookup");
    assert_eq!(got[1], LookupFailureKind::MissingCapability.number());
    assert_eq!(got[2], 64);
    let words = [free, DEPTH, endpoint, DEPTH];
    let few = world.invoke(ROOT, Label::CNodeCopy, &words, &[ROOT]);
    assert_eq!(few, Err(Error::TruncatedMessage));
    let words = [free, DEPTH, endpoint, DEPTH, 15];
    let no_root = world.invoke(ROOT, Label::CNodeCopy, &words, &[]);
    assert_eq!(no_root, Err(Error::TruncatedMessage));
    let bad_root = world.invoke(ROOT, Label::CNodeCopy, &words, &[endpoint]);
    assert_eq!(bad_root, Err(Error::FailedLookup));
    assert_eq!(
        world.got().words[1],
        LookupFailureKind::InvalidRoot.number()
    );
    assert!(!world.is_full(free));
}

#[test]
fn some_capabilities_cannot_be_copied() {
    let world = World::new();
    let slot = world.slot();
    let copied = world.copy_to(slots::IRQ_CONTROL, slot, CapRights::ALL);
    assert_eq!(copied, Err(Error::IllegalOperation));
    let table = world.make(ObjectType::PageTable, 0);
    let unmapped = world.copy_to(table, slot, CapRights::ALL);
    assert_eq!(unmapped, Err(Error::IllegalOperation));
}

#[test]
fn moving_leaves_the_derivation_as_it_was() {
    let world = World::new();
    let endpoint = world.endpoint();
    let child = world.mint(endpoint, CapRights::ALL, 1);
    let (moved_parent, moved_child) = (world.slot(), world.slot());
    world.move_to(endpoint, moved_parent).unwrap();
    world.move_to(child, moved_child).unwrap();
    assert!(!world.is_full(endpoint) && !world.is_full(child));
    world.revoke(moved_parent);
    assert!(!world.is_full(moved_child));
    assert!(world.is_full(moved_parent));
}

#[test]
fn mutate_gives_guards_but_no_badges() {
    let world = World::new();
    let cnode = world.make(ObjectType::CapTable, 4);
    let to = world.slot();
    let mutate = |from, data| {
        world.invoke(
            ROOT,
            Label::CNodeMutate,
            &[to, DEPTH, from, DEPTH, data],
            &[ROOT],
        )
    };
    mutate(cnode, guard(5, 60)).unwrap();
    assert!(!world.is_full(cnode));
    match world.cap_in(to) {
        Cap::CNode { guard, .. } => assert_eq!((guard.guard(), guard.guard_size()), (5, 60)),
        other => panic!("{other:?}"),
    }
    world.move_to(to, cnode).unwrap();
    assert_eq!(mutate(cnode, guard(0, 61)), Err(Error::IllegalOperation));
    let endpoint = world.endpoint();
    assert_eq!(mutate(endpoint, 3), Err(Error::IllegalOperation));
    assert!(world.is_full(endpoint));
}

#[test]
fn rotate_moves_two_and_swaps() {
    let world = World::new();
    let first = world.make(ObjectType::Page, 0);
    let second = world.make(ObjectType::Tcb, 0);
    let dest = world.slot();
    let rotate = |dest, pivot, source| {
        let words = [dest, DEPTH, 0, pivot, DEPTH, 0, source, DEPTH];
        world.invoke(ROOT, Label::CNodeRotate, &words, &[ROOT, ROOT])
    };
    rotate(dest, first, second).unwrap();
    assert!(matches!(world.cap_in(dest), Cap::Frame { .. }));
    assert!(matches!(world.cap_in(first), Cap::Thread { .. }));
    assert!(!world.is_full(second));
    // Source and destination are one: the two change places.
    rotate(dest, first, dest).unwrap();
    assert!(matches!(world.cap_in(first), Cap::Frame { .. }));
    assert!(matches!(world.cap_in(dest), Cap::Thread { .. }));
    assert_eq!(rotate(second, dest, dest), Err(Error::IllegalOperation));
    assert_eq!(rotate(dest, dest, first), Err(Error::IllegalOperation));
    assert_eq!(
        rotate(second, world.slot(), first),
        Err(Error::FailedLookup)
    );
    let third = world.endpoint();
    assert_eq!(rotate(third, dest, first), Err(Error::DeleteFirst));
    // What is only moved gets no badge, not even none.
    assert_eq!(rotate(second, third, first), Err(Error::IllegalOperation));
}

#[test]
fn swapping_neighbours_in_the_tree_keeps_it_whole() {
    let world = World::new();
    let frame = world.make(ObjectType::Page, 0);
    let child = world.copy(frame, CapRights::READ);
    let words = [frame, DEPTH, 0, child, DEPTH, 0, frame, DEPTH];
    world
        .invoke(ROOT, Label::CNodeRotate, &words, &[ROOT, ROOT])
        .unwrap();
    assert_eq!(rights(&world, frame), CapRights::READ);
    assert_eq!(rights(&world, child), CapRights::READ_WRITE);
    world.revoke(child);
    assert!(!world.is_full(frame), "the child, where the parent was");
    assert!(world.is_full(child));
}

#[test]
fn revoking_follows_who_was_made_of_whom() {
    let world = World::new();
    let endpoint = world.endpoint();
    let badged = world.mint(endpoint, CapRights::ALL, 1);
    let badged_copy = world.copy(badged, CapRights::ALL);
    let other = world.mint(endpoint, CapRights::ALL, 2);
    let sibling = world.copy(endpoint, CapRights::ALL);
    world.revoke(badged);
    assert!(!world.is_full(badged_copy));
    assert!(world.is_full(badged) && world.is_full(other) && world.is_full(sibling));
    // A copy of the original is its child, as all that was made of the object is.
    world.revoke(sibling);
    assert!(world.is_full(endpoint) && world.is_full(other));
    world.revoke(endpoint);
    assert!(world.is_full(endpoint));
    assert!(!world.is_full(badged) && !world.is_full(other) && !world.is_full(sibling));
}

#[test]
fn deleting_a_parent_leaves_its_children_to_the_grandparent() {
    let world = World::new();
    let untyped = world.untyped(12);
    let slots = world.slots(1);
    world
        .retype(untyped, ObjectType::Endpoint, 0, slots, 1)
        .unwrap();
    let badged = world.mint(slots, CapRights::ALL, 1);
    let copy = world.copy(badged, CapRights::ALL);
    world.delete(badged);
    assert!(world.is_full(copy));
    world.delete(slots);
    assert!(world.is_full(copy));
    world.revoke(untyped);
    assert!(!world.is_full(copy));
}

#[test]
fn lookup_tells_why_it_failed() {
    let world = World::new();
    // The root CNode in front of a CNode of 16 slots with a guard of 4 bits.
    let cnode = world.make(ObjectType::CapTable, 4);
    let guarded = world.mint(cnode, CapRights::ALL, guard(9, 4));
    let endpoint = world.endpoint();
    let inner = |index: u64| guarded << 8 | 9 << 4 | index;
    let copy = |dest, depth| {
        let words = [dest, depth, endpoint, DEPTH, 15];
        // From a root without its guard, so that the depth counts from the left.
        world.invoke(plain_root(&world), Label::CNodeCopy, &words, &[ROOT])
    };
    copy(inner(3), 21).unwrap();
    assert_eq!(copy(inner(3), 21), Err(Error::DeleteFirst));
    assert_eq!(copy(inner(3) ^ 0x30, 21), Err(Error::FailedLookup));
    let kind = LookupFailureKind::GuardMismatch.number();
    assert_eq!(world.got().words, [0, kind, 8, 9, 4]);
    assert_eq!(copy(inner(3) >> 2, 19), Err(Error::FailedLookup));
    let kind = LookupFailureKind::DepthMismatch.number();
    assert_eq!(world.got().words, [0, kind, 6, 8]);
    assert_eq!(copy(inner(3) << 3, 24), Err(Error::FailedLookup));
    assert_eq!(world.got().words[..3], [0, kind, 3]);
    assert_eq!(copy(0, 0), Err(Error::RangeError));
    assert_eq!(world.got().words, [1, 64]);
    assert_eq!(copy(0, 65), Err(Error::RangeError));
}

/// The root CNode through a capability without a guard.
fn plain_root(world: &World) -> u64 {
    world.mint(ROOT, CapRights::ALL, guard(0, 0))
}

#[test]
fn deleting_a_cnode_deletes_what_is_in_it() {
    let world = World::new();
    let cnode = world.make(ObjectType::CapTable, 6);
    let endpoint = world.endpoint();
    let badged = world.mint(endpoint, CapRights::ALL, 5);
    let words = |index| [index, 6, badged, DEPTH];
    world
        .invoke(cnode, Label::CNodeMove, &words(63), &[ROOT])
        .unwrap();
    let inner = world.untyped(12);
    world
        .invoke(cnode, Label::CNodeMove, &[0, 6, inner, DEPTH], &[ROOT])
        .unwrap();
    world.delete(cnode);
    assert!(!world.is_full(cnode));
    // Nothing derives from the endpoint any more.
    let again = world.mint(endpoint, CapRights::ALL, 5);
    world.delete(again);
}

#[test]
fn a_cnode_that_holds_itself_can_be_deleted() {
    let world = World::new();
    let untyped = world.untyped(16);
    let cnode = world.slot();
    world
        .retype(untyped, ObjectType::CapTable, 5, cnode, 1)
        .unwrap();
    let copy = [3, 5, cnode, DEPTH, 15];
    world
        .invoke(cnode, Label::CNodeCopy, &copy, &[ROOT])
        .unwrap();
    // Two that hold each other.
    let other = world.slot();
    world
        .retype(untyped, ObjectType::CapTable, 5, other, 1)
        .unwrap();
    for (into, of) in [(cnode, other), (other, cnode)] {
        world
            .invoke(into, Label::CNodeCopy, &[7, 5, of, DEPTH, 15], &[ROOT])
            .unwrap();
    }
    world.delete(cnode);
    world.delete(other);
    let slot = world.slot();
    // The last capabilities were those inside; revoking takes them apart as well.
    world.revoke(untyped);
    world
        .retype(untyped, ObjectType::Untyped, 16, slot, 1)
        .unwrap();
}

#[test]
fn deep_chains_of_cnodes_are_deleted_without_recursion() {
    let world = World::new();
    let untyped = world.untyped(21);
    let mut outer = world.slot();
    world
        .retype(untyped, ObjectType::CapTable, 1, outer, 1)
        .unwrap();
    for _ in 0..1000 {
        let next = world.slot();
        world
            .retype(untyped, ObjectType::CapTable, 1, next, 1)
            .unwrap();
        world
            .invoke(next, Label::CNodeMove, &[1, 1, outer, DEPTH], &[ROOT])
            .unwrap();
        outer = next;
    }
    world.delete(outer);
    assert_eq!(world.cap_in(outer), Cap::Null);
    // CNodes whose last capability was in another have become zombies that hold themselves, as in seL4; who has the memory
    // gets rid of them.
    world.revoke(untyped);
    let slot = world.slot();
    world
        .retype(untyped, ObjectType::Untyped, 21, slot, 1)
        .expect("nothing of it is in use");
}

#[test]
fn revoking_can_be_interrupted_and_goes_on() {
    let world = World::new();
    let endpoint = world.endpoint();
    let first = world.slots(1000);
    for slot in first..first + 1000 {
        world.copy_to(endpoint, slot, CapRights::ALL).unwrap();
    }
    let looks = world.fake.hardware.looks();
    world.fake.hardware.raise_timer_after_looks(2);
    world.revoke(endpoint);
    assert!(world.fake.hardware.looks() > looks + 2, "it went on");
    for slot in first..first + 1000 {
        assert_eq!(world.cap_in(slot), Cap::Null);
    }
}

#[test]
fn deleting_a_large_cnode_can_be_interrupted_and_goes_on() {
    let world = World::new();
    let cnode = world.make(ObjectType::CapTable, 10);
    let endpoint = world.endpoint();
    for index in 0..1024 {
        let words = [index, 10, endpoint, DEPTH, 15];
        world
            .invoke(cnode, Label::CNodeCopy, &words, &[ROOT])
            .unwrap();
    }
    for after in [1, 2, 3, 4] {
        world.fake.hardware.raise_timer_after_looks(after);
    }
    let looks = world.fake.hardware.looks();
    world.delete(cnode);
    assert!(world.fake.hardware.looks() > looks + 4);
    assert_eq!(world.cap_in(cnode), Cap::Null);
    let badged = world.mint(endpoint, CapRights::ALL, 1);
    world.delete(badged);
}

#[test]
fn cancel_badged_sends_needs_all_rights() {
    let world = World::new();
    let endpoint = world.endpoint();
    let cancel = |slot| world.invoke(ROOT, Label::CNodeCancelBadgedSends, &[slot, DEPTH], &[]);
    assert_eq!(cancel(endpoint), Ok(vec![]));
    let less = world.copy(endpoint, CapRights::READ_WRITE);
    assert_eq!(cancel(less), Err(Error::IllegalOperation));
    let other = world.notification();
    assert_eq!(cancel(other), Err(Error::IllegalOperation));
}
