//! Making objects of untyped memory.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use baton_runtime::sel4::{
    CNode, CNodeCapData, CapRights, Capability, Endpoint, Error, LookupFailure, Message,
    ObjectType, Page, Slot, Untyped,
};

cases! {
    every_type: "every type of object is made, with its size",
    many_at_once: "256 objects are made at once, and no more",
    none: "making no objects is refused",
    unknown_type: "an unknown type is refused",
    untyped_sizes: "untypeds of less than 16 bytes or more than the address space are refused",
    cnode_sizes: "CNodes of no slots or too many are refused",
    destination_occupied: "a destination slot that is not empty is refused, and nothing is made",
    destination_outside: "a destination beyond the CNode is refused",
    destination_nested: "objects go into a CNode further down",
    destination_lookup: "a destination that cannot be resolved, or is no CNode, is refused",
    not_enough: "too little memory is refused, with what is left",
    watermark: "objects follow one another and do not overlap",
    aligned: "objects are aligned to their size",
    reset: "memory is given out again when the last child is gone, and not before",
    cleared: "memory that is given out again is zero",
    device: "of device memory only frames and untypeds are made",
    truncated: "a message that is too short is refused",
    wrong_capability: "a capability that is no untyped has no such operation",
    endpoint_works: "what is made works: endpoints, and CNodes as a capability space",
    copied: "original and copy of an untyped do not give out the same memory",
    deep_reuse: "memory is used for one type after another",
}

fn node(env: &Env) -> Slot {
    env.root.cnode.slot_at(0, 0)
}

fn make(env: &mut Env, untyped: Untyped, object: ObjectType, bits: u64) -> Result<Slot, Error> {
    let slot = env.slot();
    untyped.retype(object, bits, node(env), slot.index, 1)?;
    Ok(slot)
}

fn every_type(env: &mut Env) {
    let types = [
        (ObjectType::Untyped, 8, 8),
        (ObjectType::Tcb, 0, 11),
        (ObjectType::Endpoint, 0, 4),
        (ObjectType::Notification, 0, 5),
        (ObjectType::CapTable, 3, 8),
        (ObjectType::Page, 0, 12),
        (ObjectType::MegaPage, 0, 21),
        (ObjectType::PageTable, 0, 12),
    ];
    for (object, bits, size_bits) in types {
        let untyped = env.untyped(size_bits);
        let slot = ok(make(env, untyped, object, bits));
        let again = make(env, untyped, object, bits);
        assert_eq!(
            again,
            Err(Error::NotEnoughMemory { available_bytes: 0 }),
            "{object:?}"
        );
        ok(slot.delete());
        if size_bits > 4 {
            let small = env.untyped(size_bits - 1);
            let expected = Error::NotEnoughMemory {
                available_bytes: 1 << (size_bits - 1),
            };
            assert_eq!(make(env, small, object, bits), Err(expected), "{object:?}");
        }
    }
}

fn many_at_once(env: &mut Env) {
    let untyped = env.untyped(14);
    let cnode = env.cnode(9);
    let into = cnode.slot_at(0, 0);
    ok(untyped.retype(ObjectType::Endpoint, 0, into, 0, 256));
    let range = Error::RangeError { min: 1, max: 256 };
    assert_eq!(
        untyped.retype(ObjectType::Endpoint, 0, into, 256, 257),
        Err(range)
    );
    ok(untyped.retype(ObjectType::Endpoint, 0, into, 256, 256));
    // The first and the last are there, and are different objects.
    let (first, last) = (env.slot(), env.slot());
    ok(first.copy_from(cnode.slot_at(0, 9), CapRights::ALL));
    ok(last.copy_from(cnode.slot_at(511, 9), CapRights::ALL));
    Endpoint::new(first.index).nb_send(&Message::new(1, &[]));
    assert_eq!(Endpoint::new(last.index).nb_recv().badge, 0);
}

fn none(env: &mut Env) {
    let untyped = env.untyped(12);
    let slot = env.slot();
    assert_eq!(
        untyped.retype(ObjectType::Endpoint, 0, node(env), slot.index, 0),
        Err(Error::RangeError { min: 1, max: 256 })
    );
}

fn unknown_type(env: &mut Env) {
    let untyped = env.untyped(12);
    let slot = env.slot();
    for number in [9, 10, 63, u64::MAX] {
        let result = untyped.retype_number(number, 12, node(env), slot.index, 1);
        assert_eq!(
            result,
            Err(Error::InvalidArgument { argument: 0 }),
            "{number}"
        );
    }
}

fn untyped_sizes(env: &mut Env) {
    let untyped = env.untyped(12);
    for bits in [0, 3] {
        assert_eq!(
            make(env, untyped, ObjectType::Untyped, bits),
            Err(Error::InvalidArgument { argument: 1 })
        );
    }
    for bits in [64, u64::MAX] {
        assert_eq!(
            make(env, untyped, ObjectType::Untyped, bits),
            Err(Error::RangeError { min: 0, max: 38 })
        );
    }
    ok(make(env, untyped, ObjectType::Untyped, 4));
}

fn cnode_sizes(env: &mut Env) {
    let untyped = env.untyped(12);
    assert_eq!(
        make(env, untyped, ObjectType::CapTable, 0),
        Err(Error::InvalidArgument { argument: 1 })
    );
    for bits in [60, u64::MAX] {
        assert!(
            make(env, untyped, ObjectType::CapTable, bits).is_err(),
            "{bits}"
        );
    }
    ok(make(env, untyped, ObjectType::CapTable, 1));
}

fn destination_occupied(env: &mut Env) {
    let untyped = env.untyped(12);
    let cnode = env.cnode(3);
    let endpoint = env.endpoint();
    ok(cnode
        .slot_at(5, 3)
        .copy_from(env.place(endpoint), CapRights::ALL));
    let into = cnode.slot_at(0, 0);
    assert_eq!(
        untyped.retype(ObjectType::Endpoint, 0, into, 2, 4),
        Err(Error::DeleteFirst)
    );
    // Nothing was made: slots and memory are as before.
    ok(untyped.retype(ObjectType::Endpoint, 0, into, 2, 3));
    ok(cnode.slot_at(4, 3).delete());
}

fn destination_outside(env: &mut Env) {
    let untyped = env.untyped(12);
    let cnode = env.cnode(3);
    let into = cnode.slot_at(0, 0);
    assert_eq!(
        untyped.retype(ObjectType::Endpoint, 0, into, 8, 1),
        Err(Error::RangeError { min: 0, max: 7 })
    );
    assert_eq!(
        untyped.retype(ObjectType::Endpoint, 0, into, 6, 3),
        Err(Error::RangeError { min: 1, max: 2 })
    );
    assert!(
        untyped
            .retype(ObjectType::Endpoint, 0, into, u64::MAX, 2)
            .is_err()
    );
    ok(untyped.retype(ObjectType::Endpoint, 0, into, 6, 2));
}

fn destination_nested(env: &mut Env) {
    let untyped = env.untyped(12);
    let (outer, inner) = (env.cnode(2), env.cnode(4));
    ok(outer
        .slot_at(3, 2)
        .copy_from(env.place(inner), CapRights::ALL));
    // Looked up with two bits from the outer CNode.
    ok(untyped.retype(ObjectType::Endpoint, 0, outer.slot_at(3, 2), 9, 1));
    let slot = env.slot();
    ok(slot.copy_from(inner.slot_at(9, 4), CapRights::ALL));
}

fn destination_lookup(env: &mut Env) {
    let untyped = env.untyped(12);
    let cnode = env.cnode(2);
    let root = env.slot();
    ok(root.mint_guarded_from(env.place(cnode), CNodeCapData::new(1, 3)));
    let guarded = CNode::new(root.index);
    let mismatch = untyped.retype(ObjectType::Endpoint, 0, guarded.slot_at(0, 5), 0, 1);
    assert!(matches!(
        mismatch,
        Err(Error::FailedLookup {
            source: false,
            failure: LookupFailure::GuardMismatch { .. }
        })
    ));
    // The slot is found and holds no CNode.
    let empty = untyped.retype(ObjectType::Endpoint, 0, cnode.slot_at(1, 2), 0, 1);
    assert!(matches!(
        empty,
        Err(Error::FailedLookup {
            source: false,
            failure: LookupFailure::MissingCapability { .. }
        })
    ));
    let endpoint = env.endpoint();
    let not_cnode = CNode::new(endpoint.cptr()).slot_at(0, 0);
    assert!(
        untyped
            .retype(ObjectType::Endpoint, 0, not_cnode, 0, 1)
            .is_err()
    );
}

fn not_enough(env: &mut Env) {
    let untyped = env.untyped(13);
    ok(make(env, untyped, ObjectType::Endpoint, 0));
    // Page-aligned, only the second half is left for a page.
    ok(make(env, untyped, ObjectType::Page, 0));
    assert_eq!(
        make(env, untyped, ObjectType::Endpoint, 0),
        Err(Error::NotEnoughMemory { available_bytes: 0 })
    );
    let untyped = env.untyped(13);
    ok(make(env, untyped, ObjectType::Page, 0));
    let (slot, _) = (env.slot(), env.slot());
    assert_eq!(
        untyped.retype(ObjectType::Page, 0, node(env), slot.index, 2),
        Err(Error::NotEnoughMemory {
            available_bytes: 4096
        })
    );
}

fn watermark(env: &mut Env) {
    let untyped = env.untyped(16);
    let mut last = None;
    for _ in 0..16 {
        let slot = ok(make(env, untyped, ObjectType::Page, 0));
        let address = ok(Page::new(slot.index).address());
        if let Some(last) = last {
            assert_eq!(address, last + 4096);
        }
        last = Some(address);
    }
    assert!(make(env, untyped, ObjectType::Page, 0).is_err());
}

fn aligned(env: &mut Env) {
    let untyped = env.untyped(22);
    ok(make(env, untyped, ObjectType::Endpoint, 0));
    let page = ok(make(env, untyped, ObjectType::Page, 0));
    ok(make(env, untyped, ObjectType::Tcb, 0));
    let mega = ok(make(env, untyped, ObjectType::MegaPage, 0));
    let (page, mega) = (Page::new(page.index), Page::new(mega.index));
    assert!(ok(page.address()).is_multiple_of(1 << 12));
    assert!(ok(mega.address()).is_multiple_of(1 << 21));
    assert!(ok(mega.address()) > ok(page.address()));
}

fn reset(env: &mut Env) {
    let untyped = env.untyped(13);
    let (first, second) = (
        ok(make(env, untyped, ObjectType::Page, 0)),
        ok(make(env, untyped, ObjectType::Page, 0)),
    );
    let address = ok(Page::new(first.index).address());
    ok(first.delete());
    assert!(make(env, untyped, ObjectType::Page, 0).is_err());
    ok(second.delete());
    let third = ok(make(env, untyped, ObjectType::Page, 0));
    assert_eq!(Page::new(third.index).address(), Ok(address));
}

fn cleared(env: &mut Env) {
    let untyped = env.untyped(14);
    for round in 0..2 {
        for _ in 0..4 {
            let slot = ok(make(env, untyped, ObjectType::Page, 0));
            let mapped = env.map(Page::new(slot.index));
            for offset in (0..4096).step_by(8) {
                assert_eq!(mapped.read(offset), 0, "round {round}");
                mapped.write(offset, u64::MAX);
            }
        }
        ok(env.place(untyped).revoke());
    }
    // As other objects it is as good as new.
    let cnode = ok(make(env, untyped, ObjectType::CapTable, 8));
    let endpoint = env.endpoint();
    for index in [0, 100, 255] {
        let slot = CNode::new(cnode.index).slot_at(index, 8);
        ok(slot.copy_from(env.place(endpoint), CapRights::ALL));
    }
}

fn device(env: &mut Env) {
    let device = env.device_untyped;
    for object in [
        ObjectType::Tcb,
        ObjectType::Endpoint,
        ObjectType::Notification,
        ObjectType::PageTable,
    ] {
        assert_eq!(
            make(env, device, object, 0),
            Err(Error::InvalidArgument { argument: 1 }),
            "{object:?}"
        );
    }
    assert!(make(env, device, ObjectType::CapTable, 4).is_err());
    let inner = ok(make(env, device, ObjectType::Untyped, 13));
    let inner = Untyped::new(inner.index);
    assert!(make(env, inner, ObjectType::Endpoint, 0).is_err());
    let frame = ok(make(env, inner, ObjectType::Page, 0));
    // A device frame cannot be an IPC buffer.
    let thread = env.new_thread(PRIORITY);
    assert!(
        thread
            .tcb
            .set_ipc_buffer(0x20_0000, Page::new(frame.index))
            .is_err()
    );
    // What was made of the device is not part of the arena.
    ok(env.place(device).revoke());
}

fn truncated(env: &mut Env) {
    use baton_runtime::sel4::{Label, call_raw};
    let untyped = env.untyped(12);
    let (slot, root) = (env.slot(), env.root.cnode.cptr());
    let label = Label::UntypedRetype.number();
    let words = [ObjectType::Endpoint.number(), 0, 0, 0, slot.index, 1];
    // TruncatedMessage.
    let short = call_raw(
        untyped.cptr(),
        &Message::with_caps(label, &words[..5], &[root]),
    );
    assert_eq!(short.label(), 7);
    let without_root = call_raw(untyped.cptr(), &Message::new(label, &words));
    assert_eq!(without_root.label(), 7);
    let whole = call_raw(untyped.cptr(), &Message::with_caps(label, &words, &[root]));
    assert_eq!(whole.label(), 0);
}

fn wrong_capability(env: &mut Env) {
    let slot = env.slot();
    let (page, tcb) = (env.page(), env.bare_tcb());
    for cptr in [page.cptr(), tcb.cptr(), env.root.cnode.cptr()] {
        let result = Untyped::new(cptr).retype(ObjectType::Endpoint, 0, node(env), slot.index, 1);
        assert_eq!(result, Err(Error::IllegalOperation));
    }
    let result = Untyped::new(slot.index).retype(ObjectType::Endpoint, 0, node(env), slot.index, 1);
    assert_eq!(result, Err(Error::InvalidCapability { capability: 0 }));
}

extern "C" fn send(endpoint: u64, _: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::new(4, &[8]));
}

fn endpoint_works(env: &mut Env) {
    let untyped = env.untyped(12);
    let endpoint = Endpoint::new(ok(make(env, untyped, ObjectType::Endpoint, 0)).index);
    env.thread(PRIORITY - 1, send, [endpoint.cptr(), 0, 0]);
    assert_eq!(endpoint.recv().mrs[0], 8);
}

fn deep_reuse(env: &mut Env) {
    let untyped = env.untyped(17);
    let types = [
        (ObjectType::Tcb, 0),
        (ObjectType::CapTable, 6),
        (ObjectType::Page, 0),
        (ObjectType::PageTable, 0),
        (ObjectType::Notification, 0),
        (ObjectType::Untyped, 12),
        (ObjectType::Endpoint, 0),
    ];
    let cnode = env.cnode(6);
    for _ in 0..4 {
        for (object, bits) in types {
            ok(untyped.retype(object, bits, cnode.slot_at(0, 0), 0, 32));
            ok(env.place(untyped).revoke());
        }
    }
}

fn copied(env: &mut Env) {
    let untyped = env.untyped(13);
    let copy = env.copy(untyped);
    // While the copy lives, the original has nothing to give.
    let refused = Err(Error::NotEnoughMemory { available_bytes: 0 });
    assert_eq!(make(env, untyped, ObjectType::Page, 0), refused);
    let page = ok(make(env, copy, ObjectType::Page, 0));
    assert_eq!(make(env, untyped, ObjectType::Page, 0), refused);
    ok(env.place(copy).delete());
    assert_eq!(make(env, untyped, ObjectType::Page, 0), refused);
    ok(page.delete());
    ok(make(env, untyped, ObjectType::Page, 0));
}
