//! Looking up capability pointers.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use baton_runtime::sel4::{
    CNode, CNodeCapData, CapRights, Capability, Endpoint, Error, Fault, LookupFailure, Message,
    Notification, Spaces,
};

cases! {
    plain_number: "a plain slot number is resolved at full depth",
    two_levels: "a pointer is resolved through two CNodes with guards",
    guard_mismatch: "a guard that does not match is named with its bits",
    depth_mismatch: "bits that are left over or missing are a depth mismatch",
    missing_slot: "an operation on an empty source names the missing capability",
    invalid_root: "a root that is no CNode is an invalid root",
    thread_with_guard: "a thread's pointers are resolved through the guard of its root",
    recv_fault: "receiving from a pointer that cannot be resolved is a fault that says why",
    call_fault: "calling a pointer that cannot be resolved is a fault in the send phase",
    nb_send_silent: "NBSend to a pointer that cannot be resolved is nothing",
}

const ALL: CapRights = CapRights::ALL;

fn plain_number(env: &mut Env) {
    let notification = env.notification();
    let badged = env.mint(notification, ALL, 1);
    badged.signal();
    assert_eq!(notification.poll(), 1);
}

/// A root of 3 bits with a guard of 55 bits of value 5, and in its slot 6 a CNode of 4 bits with a guard of 2 bits of value 1.
fn space(env: &mut Env) -> (CNode, CNode) {
    let (outer, inner) = (env.cnode(3), env.cnode(4));
    ok(outer
        .slot_at(6, 3)
        .mint_guarded_from(env.place(inner), CNodeCapData::new(1, 2)));
    let root = env.slot();
    ok(root.mint_guarded_from(env.place(outer), CNodeCapData::new(5, 55)));
    (CNode::new(root.index), inner)
}

fn pointer(guard: u64, slot: u64, inner_guard: u64, index: u64) -> u64 {
    (guard << 9) | (slot << 6) | (inner_guard << 4) | index
}

fn two_levels(env: &mut Env) {
    let (root, inner) = space(env);
    let endpoint = env.endpoint();
    ok(root
        .slot(pointer(5, 6, 1, 11))
        .copy_from(env.place(endpoint), ALL));
    assert_eq!(
        inner.slot_at(11, 4).copy_from(env.place(endpoint), ALL),
        Err(Error::DeleteFirst)
    );
    // The outer CNode's own slot is reached with fewer bits.
    ok(root
        .slot_at(pointer(5, 2, 0, 0) >> 6, 58)
        .copy_from(env.place(endpoint), ALL));
}

fn destination(failure: LookupFailure) -> Result<(), Error> {
    Err(Error::FailedLookup {
        source: false,
        failure,
    })
}

fn guard_mismatch(env: &mut Env) {
    let (root, _) = space(env);
    assert_eq!(
        root.slot(pointer(4, 6, 1, 0)).delete(),
        destination(LookupFailure::GuardMismatch {
            bits_left: 64,
            guard: 5,
            guard_bits: 55
        })
    );
    assert_eq!(
        root.slot(pointer(5, 6, 2, 0)).delete(),
        destination(LookupFailure::GuardMismatch {
            bits_left: 6,
            guard: 1,
            guard_bits: 2
        })
    );
}

fn depth_mismatch(env: &mut Env) {
    let (root, inner) = space(env);
    // Three bits are left where the inner CNode wants six.
    assert!(matches!(
        root.slot_at(pointer(5, 6, 1, 0) >> 3, 61).delete(),
        Err(Error::FailedLookup {
            failure: LookupFailure::GuardMismatch { bits_left: 3, .. }
                | LookupFailure::DepthMismatch { bits_left: 3, .. },
            ..
        })
    ));
    // Without a guard, four bits are resolved; two are too few.
    assert_eq!(
        inner.slot_at(0, 2).delete(),
        destination(LookupFailure::DepthMismatch {
            bits_left: 2,
            bits_found: 4
        })
    );
    // Bits are left over in a slot that holds no CNode.
    let endpoint = env.endpoint();
    ok(inner.slot_at(3, 4).copy_from(env.place(endpoint), ALL));
    assert!(matches!(
        inner.slot_at(3 << 8, 12).delete(),
        Err(Error::FailedLookup {
            failure: LookupFailure::DepthMismatch { .. },
            ..
        })
    ));
}

fn missing_slot(env: &mut Env) {
    let (to, from) = (env.slot(), env.slot());
    let Err(Error::FailedLookup { source, failure }) = to.copy_from(from, ALL) else {
        panic!("an empty source was copied");
    };
    assert!(source);
    assert!(matches!(failure, LookupFailure::MissingCapability { .. }));
}

fn invalid_root(env: &mut Env) {
    let (endpoint, to) = (env.endpoint(), env.slot());
    let no_cnode = CNode::new(endpoint.cptr()).slot(4);
    assert_eq!(
        to.copy_from(no_cnode, ALL),
        Err(Error::FailedLookup {
            source: true,
            failure: LookupFailure::InvalidRoot
        })
    );
}

extern "C" fn signal(cptr: u64, _: u64, _: u64) {
    Notification::new(cptr).signal();
}

extern "C" fn recv(cptr: u64, _: u64, _: u64) {
    Endpoint::new(cptr).recv();
}

extern "C" fn call(cptr: u64, _: u64, _: u64) {
    Endpoint::new(cptr).call(&Message::new(0, &[]));
}

fn thread_with_guard(env: &mut Env) {
    let (root, _) = space(env);
    let notification = env.notification();
    let done = env.notification();
    ok(root
        .slot(pointer(5, 6, 1, 2))
        .mint_from(env.place(notification), ALL, 6));
    let thread = env.new_thread(PRIORITY + 1);
    let spaces = Spaces {
        fault_endpoint: 0,
        cspace: root,
        cspace_data: CNodeCapData::default(),
        vspace: env.root.vspace.root(),
    };
    ok(thread.tcb.set_space(&spaces));
    ok(thread.start(signal, [pointer(5, 6, 1, 2), 0, 0]));
    assert_eq!(notification.poll(), 6);
    assert_eq!(done.poll(), 0);
    // With another guard set by the configuration, another pointer is right.
    let spaces = Spaces {
        cspace_data: CNodeCapData::new(9, 55),
        ..spaces
    };
    ok(thread.tcb.set_space(&spaces));
    ok(thread.start(signal, [pointer(9, 6, 1, 2), 0, 0]));
    assert_eq!(notification.poll(), 6);
}

/// Runs `entry` in the space above with a pointer, and returns the fault.
fn fault_of(env: &mut Env, entry: baton_runtime::ThreadEntry, cptr: u64) -> Fault {
    let (root, _) = space(env);
    let faults = env.endpoint();
    let handler = pointer(5, 6, 1, 1);
    ok(root.slot(handler).copy_from(env.place(faults), ALL));
    let thread = env.new_thread(PRIORITY + 1);
    let spaces = Spaces {
        fault_endpoint: handler,
        cspace: root,
        cspace_data: CNodeCapData::default(),
        vspace: env.root.vspace.root(),
    };
    ok(thread.tcb.set_space(&spaces));
    ok(thread.start(entry, [cptr, 0, 0]));
    let received = faults.recv();
    Fault::from_message(&received).expect("a fault")
}

fn recv_fault(env: &mut Env) {
    let bad = pointer(4, 6, 1, 2);
    let Fault::Cap {
        cptr,
        in_recv_phase,
        failure,
        ..
    } = fault_of(env, recv, bad)
    else {
        panic!("another fault");
    };
    assert_eq!((cptr, in_recv_phase), (bad, true));
    assert_eq!(
        failure,
        LookupFailure::GuardMismatch {
            bits_left: 64,
            guard: 5,
            guard_bits: 55
        }
    );
}

fn call_fault(env: &mut Env) {
    let bad = pointer(5, 6, 3, 2);
    let Fault::Cap {
        cptr,
        in_recv_phase,
        failure,
        ..
    } = fault_of(env, call, bad)
    else {
        panic!("another fault");
    };
    assert_eq!((cptr, in_recv_phase), (bad, false));
    assert!(matches!(
        failure,
        LookupFailure::GuardMismatch { bits_left: 6, .. }
    ));
}

fn nb_send_silent(env: &mut Env) {
    let size = env.root.boot_info.init_thread_cnode_size_bits;
    Endpoint::new(1 << (size + 3)).nb_send(&Message::new(0, &[]));
    Endpoint::new(0).nb_send(&Message::new(0, &[]));
}
