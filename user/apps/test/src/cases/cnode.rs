//! Operations on CNodes, and the derivation tree.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::shared;
use baton_runtime::sel4::{
    CNode, CNodeCapData, CapRights, Capability, Endpoint, Error, LookupFailure, Message,
    ObjectType, Page, Rotation, Slot, Untyped,
};

cases! {
    copy_refers_to_the_same: "a copy refers to the same object",
    copy_to_occupied: "copying to a slot that is not empty is refused",
    copy_from_empty: "copying from an empty slot is refused",
    copy_untyped_with_children: "an untyped that has children cannot be copied",
    copy_keeps_badge: "a copy keeps the badge",
    mint_sets_badge: "minting sets a badge",
    mint_badge_once: "a badge cannot be changed",
    mint_guard: "minting a CNode sets its guard",
    move_empties_source: "moving empties the source",
    move_to_occupied: "moving to a slot that is not empty is refused",
    move_keeps_parent: "a moved capability keeps its place in the derivation tree",
    mutate_guard: "mutating a CNode moves it and sets its guard",
    mutate_badged: "mutating a capability that has a badge is refused",
    rotate_moves_both: "rotating moves pivot and source",
    rotate_swaps: "rotating with source as destination swaps",
    rotate_sets_guards: "rotating CNodes sets their guards",
    rotate_badged: "rotating a capability that has a badge is refused",
    rotate_checks: "rotating refuses equal slots, an occupied destination and empty sources",
    delete_is_idempotent: "deleting an empty slot is no error",
    delete_one_of_two: "deleting one of two capabilities keeps the object",
    delete_last_frees: "deleting the last capability frees the memory",
    revoke_spares_itself: "revoking deletes what was derived and spares itself",
    revoke_spares_siblings: "revoking a copy spares what was derived from the original",
    revoke_is_deep: "revoking reaches what was derived of what was derived",
    revoke_badged: "revoking a badged capability spares others and the original",
    save_caller: "a saved reply capability answers the caller later",
    save_caller_occupied: "a reply capability cannot be saved over another capability",
    save_caller_once: "a saved reply capability answers once, and is gone",
    reply_cannot_be_copied: "a reply capability cannot be copied",
    delete_cnode_deletes_contents: "deleting a CNode deletes what is in it",
    cnode_in_itself: "a CNode that contains itself can be deleted",
    foreign_depth: "a depth of 0 or beyond 64 is refused",
}

const ALL: CapRights = CapRights::ALL;

/// Whether the slot is empty: only then something can be moved there.
fn is_empty(env: &mut Env, slot: Slot) -> bool {
    let from = env.endpoint();
    let place = env.place(from);
    let result = slot.copy_from(place, ALL);
    if result.is_ok() {
        ok(slot.delete());
    }
    ok(place.delete());
    result.is_ok()
}

fn copy_refers_to_the_same(env: &mut Env) {
    let notification = env.notification();
    let copy = env.copy(notification);
    let badged = env.mint(copy, ALL, 4);
    badged.signal();
    assert_eq!(notification.poll(), 4);
}

fn copy_to_occupied(env: &mut Env) {
    let (a, b) = (env.endpoint(), env.endpoint());
    assert_eq!(
        env.place(a).copy_from(env.place(b), ALL),
        Err(Error::DeleteFirst)
    );
    assert_eq!(
        env.place(a).mint_from(env.place(b), ALL, 1),
        Err(Error::DeleteFirst)
    );
}

fn copy_from_empty(env: &mut Env) {
    let (to, from) = (env.slot(), env.slot());
    let results = [
        to.copy_from(from, ALL),
        to.mint_from(from, ALL, 1),
        to.move_from(from),
        to.mutate_from(from, 0),
    ];
    for result in results {
        assert!(matches!(
            result,
            Err(Error::FailedLookup {
                source: true,
                failure: LookupFailure::MissingCapability { .. },
            })
        ));
    }
}

fn copy_untyped_with_children(env: &mut Env) {
    let untyped = env.untyped(13);
    let first = env.slot();
    ok(first.copy_from(env.place(untyped), ALL));
    ok(first.delete());
    let to = env.slot();
    let node = env.root.cnode.slot_at(0, 0);
    ok(untyped.retype(ObjectType::Endpoint, 0, node, to.index, 1));
    assert_eq!(
        env.slot().copy_from(env.place(untyped), ALL),
        Err(Error::RevokeFirst)
    );
    ok(to.delete());
    ok(env.slot().copy_from(env.place(untyped), ALL));
}

fn copy_keeps_badge(env: &mut Env) {
    let notification = env.notification();
    let badged = env.mint(notification, ALL, 0x77);
    env.copy(badged).signal();
    assert_eq!(notification.poll(), 0x77);
}

fn mint_sets_badge(env: &mut Env) {
    let notification = env.notification();
    env.mint(notification, ALL, u64::MAX >> 1).signal();
    assert_eq!(notification.poll(), u64::MAX >> 1);
}

fn mint_badge_once(env: &mut Env) {
    let endpoint = env.endpoint();
    let badged = env.mint(endpoint, ALL, 1);
    let to = env.slot();
    assert_eq!(
        to.mint_from(env.place(badged), ALL, 2),
        Err(Error::IllegalOperation)
    );
    assert!(is_empty(env, to));
}

fn mint_guard(env: &mut Env) {
    let cnode = env.cnode(4);
    let guarded = env.slot();
    // Guard of 10 bits, then 4 of index: 14 bits of depth.
    ok(guarded.mint_guarded_from(env.place(cnode), CNodeCapData::new(0x2a5, 10)));
    let endpoint = env.endpoint();
    let inside = CNode::new(guarded.index);
    ok(inside
        .slot_at(0x2a5 << 4 | 9, 14)
        .copy_from(env.place(endpoint), ALL));
    assert_eq!(
        cnode.slot_at(9, 4).copy_from(env.place(endpoint), ALL),
        Err(Error::DeleteFirst)
    );
    assert!(matches!(
        inside.slot_at(0x2a4 << 4 | 9, 14).delete(),
        Err(Error::FailedLookup {
            failure: LookupFailure::GuardMismatch { .. },
            ..
        })
    ));
}

fn move_empties_source(env: &mut Env) {
    let notification = env.notification();
    let to = env.slot();
    ok(to.move_from(env.place(notification)));
    assert!(is_empty(env, env.place(notification)));
    let badged = env.slot();
    ok(badged.mint_from(to, ALL, 3));
    baton_runtime::sel4::Notification::new(badged.index).signal();
    assert_eq!(baton_runtime::sel4::Notification::new(to.index).poll(), 3);
}

fn move_to_occupied(env: &mut Env) {
    let (a, b) = (env.endpoint(), env.endpoint());
    assert_eq!(
        env.place(a).move_from(env.place(b)),
        Err(Error::DeleteFirst)
    );
    assert_eq!(
        env.place(a).move_from(env.place(a)),
        Err(Error::DeleteFirst)
    );
}

fn move_keeps_parent(env: &mut Env) {
    let endpoint = env.endpoint();
    let child = env.mint(endpoint, ALL, 8);
    let to = env.slot();
    ok(to.move_from(env.place(child)));
    ok(env.place(endpoint).revoke());
    assert!(is_empty(env, to));
    // And a parent that was moved keeps its children.
    let child = env.mint(endpoint, ALL, 8);
    let to = env.slot();
    ok(to.move_from(env.place(endpoint)));
    ok(to.revoke());
    assert!(is_empty(env, env.place(child)));
}

fn mutate_guard(env: &mut Env) {
    let cnode = env.cnode(4);
    let to = env.slot();
    ok(to.mutate_from(env.place(cnode), CNodeCapData::new(0b101, 3).word()));
    assert!(is_empty(env, env.place(cnode)));
    let inside = CNode::new(to.index).slot_at(0b101 << 4 | 2, 7);
    let endpoint = env.endpoint();
    ok(inside.copy_from(env.place(endpoint), ALL));
}

fn mutate_badged(env: &mut Env) {
    let endpoint = env.endpoint();
    let badged = env.mint(endpoint, ALL, 1);
    let to = env.slot();
    assert_eq!(
        to.mutate_from(env.place(badged), 2),
        Err(Error::IllegalOperation)
    );
    assert!(is_empty(env, to));
    assert!(!is_empty(env, env.place(badged)));
}

/// Two pages with their addresses, by which they are told apart: badged capabilities cannot be rotated.
fn two_pages(env: &mut Env) -> ([Page; 2], [u64; 2]) {
    let pages = [env.page(), env.page()];
    (pages, pages.map(|page| ok(page.address())))
}

fn rotate_moves_both(env: &mut Env) {
    let ([a, b], [address_of_a, address_of_b]) = two_pages(env);
    let dest = env.slot();
    let rotation = Rotation {
        dest,
        dest_data: 0,
        pivot: env.place(a),
        pivot_data: 0,
        src: env.place(b),
    };
    ok(rotation.rotate());
    assert_eq!(Page::new(dest.index).address(), Ok(address_of_a));
    assert_eq!(a.address(), Ok(address_of_b));
    assert!(is_empty(env, env.place(b)));
}

fn rotate_swaps(env: &mut Env) {
    let ([a, b], [address_of_a, address_of_b]) = two_pages(env);
    let rotation = Rotation {
        dest: env.place(a),
        dest_data: 0,
        pivot: env.place(b),
        pivot_data: 0,
        src: env.place(a),
    };
    ok(rotation.rotate());
    assert_eq!(a.address(), Ok(address_of_b));
    assert_eq!(b.address(), Ok(address_of_a));
}

fn rotate_sets_guards(env: &mut Env) {
    let (outer, inner) = (env.cnode(4), env.cnode(4));
    let dest = env.slot();
    let rotation = Rotation {
        dest,
        dest_data: CNodeCapData::new(1, 2).word(),
        pivot: env.place(outer),
        pivot_data: CNodeCapData::new(5, 3).word(),
        src: env.place(inner),
    };
    ok(rotation.rotate());
    let endpoint = env.endpoint();
    let from = env.place(endpoint);
    ok(CNode::new(dest.index)
        .slot_at(1 << 4 | 7, 6)
        .copy_from(from, ALL));
    ok(CNode::new(outer.cptr())
        .slot_at(5 << 4 | 7, 7)
        .copy_from(from, ALL));
}

fn rotate_badged(env: &mut Env) {
    let notification = env.notification();
    let (a, b) = (
        env.mint(notification, ALL, 1),
        env.mint(notification, ALL, 2),
    );
    let rotation = Rotation {
        dest: env.slot(),
        dest_data: 0,
        pivot: env.place(a),
        pivot_data: 0,
        src: env.place(b),
    };
    assert_eq!(rotation.rotate(), Err(Error::IllegalOperation));
    a.signal();
    assert_eq!(notification.poll(), 1);
}

fn rotate_checks(env: &mut Env) {
    let (a, b, c) = (env.page(), env.page(), env.page());
    let (a, b, c) = (env.place(a), env.place(b), env.place(c));
    let empty = env.slot();
    let other = env.slot();
    let rotate = |dest, pivot, src| {
        let rotation = Rotation {
            dest,
            dest_data: 0,
            pivot,
            pivot_data: 0,
            src,
        };
        rotation.rotate()
    };
    assert_eq!(rotate(empty, a, a), Err(Error::IllegalOperation));
    assert_eq!(rotate(a, a, b), Err(Error::IllegalOperation));
    assert_eq!(rotate(c, a, b), Err(Error::DeleteFirst));
    assert!(matches!(
        rotate(empty, other, a),
        Err(Error::FailedLookup { source: false, .. })
    ));
    assert!(matches!(
        rotate(empty, a, other),
        Err(Error::FailedLookup { source: true, .. })
    ));
}

fn delete_is_idempotent(env: &mut Env) {
    let slot = env.slot();
    ok(slot.delete());
    let endpoint = env.endpoint();
    ok(slot.copy_from(env.place(endpoint), ALL));
    ok(slot.delete());
    ok(slot.delete());
}

fn delete_one_of_two(env: &mut Env) {
    let notification = env.notification();
    let copy = env.copy(notification);
    ok(env.place(notification).delete());
    let badged = env.mint(copy, ALL, 9);
    badged.signal();
    assert_eq!(copy.poll(), 9);
}

fn delete_last_frees(env: &mut Env) {
    let untyped = env.untyped(12);
    let node = env.root.cnode.slot_at(0, 0);
    let to = env.slot();
    ok(untyped.retype(ObjectType::Page, 0, node, to.index, 1));
    let second = env.slot();
    assert_eq!(
        untyped.retype(ObjectType::Page, 0, node, second.index, 1),
        Err(Error::NotEnoughMemory { available_bytes: 0 })
    );
    ok(second.copy_from(to, ALL));
    ok(to.delete());
    assert!(
        untyped
            .retype(ObjectType::Page, 0, node, to.index, 1)
            .is_err()
    );
    ok(second.delete());
    ok(untyped.retype(ObjectType::Page, 0, node, to.index, 1));
}

fn revoke_spares_itself(env: &mut Env) {
    let endpoint = env.endpoint();
    let children: [Endpoint; 5] =
        core::array::from_fn(|index| env.mint(endpoint, ALL, index as u64 + 1));
    let copy = env.copy(endpoint);
    ok(env.place(endpoint).revoke());
    for child in children {
        assert!(is_empty(env, env.place(child)));
    }
    assert!(!is_empty(env, env.place(endpoint)));
    // A copy of the original is its child: the original is the one that the untyped made.
    assert!(is_empty(env, env.place(copy)));
}

fn revoke_spares_siblings(env: &mut Env) {
    let endpoint = env.endpoint();
    let (a, b) = (env.copy(endpoint), env.copy(endpoint));
    ok(env.place(a).revoke());
    assert!(!is_empty(env, env.place(b)));
    assert!(!is_empty(env, env.place(endpoint)));
}

fn revoke_is_deep(env: &mut Env) {
    let outer = env.untyped(16);
    let node = env.root.cnode.slot_at(0, 0);
    let (inner, endpoint, badged) = (env.slot(), env.slot(), env.slot());
    ok(outer.retype(ObjectType::Untyped, 14, node, inner.index, 1));
    ok(Untyped::new(inner.index).retype(ObjectType::Endpoint, 0, node, endpoint.index, 1));
    ok(badged.mint_from(endpoint, ALL, 1));
    ok(env.place(outer).revoke());
    for slot in [inner, endpoint, badged] {
        assert!(is_empty(env, slot));
    }
    ok(outer.retype(ObjectType::Untyped, 16, node, inner.index, 1));
}

fn revoke_badged(env: &mut Env) {
    let endpoint = env.endpoint();
    let (one, two) = (env.mint(endpoint, ALL, 1), env.mint(endpoint, ALL, 2));
    let copy_of_one = env.copy(one);
    ok(env.place(one).revoke());
    assert!(is_empty(env, env.place(copy_of_one)));
    assert!(!is_empty(env, env.place(two)));
    assert!(!is_empty(env, env.place(one)));
    assert!(!is_empty(env, env.place(endpoint)));
}

extern "C" fn call(endpoint: u64, index: u64, _: u64) {
    let answer = Endpoint::new(endpoint).call(&Message::new(1, &[index]));
    shared::set(index as usize, answer.mrs[0]);
}

fn save_caller(env: &mut Env) {
    let endpoint = env.endpoint();
    let slots: [Slot; 3] = core::array::from_fn(|_| env.slot());
    for (index, slot) in slots.iter().enumerate() {
        env.thread(PRIORITY + 1, call, [endpoint.cptr(), index as u64, 0]);
        assert_eq!(endpoint.recv().mrs[0], index as u64);
        ok(slot.save_caller());
    }
    // Answered in another order.
    for (index, slot) in slots.iter().enumerate().rev() {
        assert_eq!(shared::get(index), 0);
        baton_runtime::sel4::send(slot.index, &Message::new(0, &[100 + index as u64]));
        assert_eq!(shared::get(index), 100 + index as u64);
    }
}

fn save_caller_occupied(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, call, [endpoint.cptr(), 0, 0]);
    endpoint.recv();
    assert_eq!(env.place(endpoint).save_caller(), Err(Error::DeleteFirst));
    baton_runtime::sel4::reply(&Message::new(0, &[5]));
    assert_eq!(shared::get(0), 5);
}

fn save_caller_once(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, call, [endpoint.cptr(), 0, 0]);
    endpoint.recv();
    let slot = env.slot();
    ok(slot.save_caller());
    // Nothing is left to reply to.
    baton_runtime::sel4::reply(&Message::new(0, &[1]));
    assert_eq!(shared::get(0), 0);
    baton_runtime::sel4::send(slot.index, &Message::new(0, &[2]));
    assert_eq!(shared::get(0), 2);
    assert!(is_empty(env, slot));
}

fn reply_cannot_be_copied(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, call, [endpoint.cptr(), 0, 0]);
    endpoint.recv();
    let (slot, copy) = (env.slot(), env.slot());
    ok(slot.save_caller());
    assert_eq!(copy.copy_from(slot, ALL), Err(Error::IllegalOperation));
    assert_eq!(copy.mint_from(slot, ALL, 1), Err(Error::IllegalOperation));
    ok(copy.move_from(slot));
    baton_runtime::sel4::send(copy.index, &Message::new(0, &[3]));
    assert_eq!(shared::get(0), 3);
}

fn delete_cnode_deletes_contents(env: &mut Env) {
    let untyped = env.untyped(12);
    let node = env.root.cnode.slot_at(0, 0);
    let cnode = env.cnode(4);
    let page = env.slot();
    ok(untyped.retype(ObjectType::Page, 0, node, page.index, 1));
    ok(cnode.slot_at(3, 4).move_from(page));
    assert!(
        untyped
            .retype(ObjectType::Page, 0, node, page.index, 1)
            .is_err()
    );
    ok(env.place(cnode).delete());
    ok(untyped.retype(ObjectType::Page, 0, node, page.index, 1));
}

fn cnode_in_itself(env: &mut Env) {
    let untyped = env.untyped(10);
    let node = env.root.cnode.slot_at(0, 0);
    let outer = env.slot();
    ok(untyped.retype(ObjectType::CapTable, 5, node, outer.index, 1));
    let cnode = CNode::new(outer.index);
    ok(cnode.slot_at(1, 5).copy_from(outer, ALL));
    ok(cnode.slot_at(2, 5).copy_from(outer, ALL));
    ok(outer.delete());
    // Only the copies inside hold it now: revoking the untyped takes them.
    ok(env.place(untyped).revoke());
    ok(untyped.retype(ObjectType::CapTable, 5, node, outer.index, 1));
}

fn foreign_depth(env: &mut Env) {
    let endpoint = env.endpoint();
    for depth in [0, 65, 255] {
        let slot = env.root.cnode.slot_at(endpoint.cptr(), depth);
        assert_eq!(
            slot.delete(),
            Err(Error::RangeError { min: 1, max: 64 }),
            "depth {depth}"
        );
    }
    assert!(!is_empty(env, env.place(endpoint)));
}
