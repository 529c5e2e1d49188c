//! What each right of a capability permits.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::shared;
use baton_runtime::sel4::{
    CapRights, Capability, Endpoint, Fault, LookupFailure, Message, Notification,
};

cases! {
    send_needs_write: "a send without the write right goes nowhere",
    call_needs_write: "a call without the write right is answered with an error",
    recv_needs_read: "a receive without the read right is a fault",
    signal_needs_write: "a signal without the write right is nothing",
    wait_needs_read: "a wait without the read right is a fault",
    nb_recv_needs_read: "NBRecv without the read right is a fault",
    call_without_grant_reply: "a call without grant and grant-reply gets no answer",
    grant_reply_suffices: "a call with grant-reply alone is answered",
    rights_shrink: "copying can take rights away, never add them",
    rights_shrink_on_notifications: "copying cannot add rights to a notification either",
    ignored_on_tcb: "rights do not matter to a capability that has none",
}

extern "C" fn receive(endpoint: u64, index: u64, _: u64) {
    let received = Endpoint::new(endpoint).recv();
    shared::set(index as usize, 1 + received.label());
}

extern "C" fn nb_receive(endpoint: u64, index: u64, _: u64) {
    Endpoint::new(endpoint).nb_recv();
    shared::set(index as usize, 1);
}

extern "C" fn call(endpoint: u64, index: u64, _: u64) {
    let answer = Endpoint::new(endpoint).call(&Message::new(5, &[]));
    shared::set(index as usize, 1 + answer.label());
}

fn send_needs_write(env: &mut Env) {
    let endpoint = env.endpoint();
    let weak = env.mint(endpoint, CapRights::ALL.without(CapRights::WRITE), 0);
    env.thread(PRIORITY + 1, receive, [endpoint.cptr(), 0, 0]);
    weak.send(&Message::new(1, &[]));
    weak.nb_send(&Message::new(1, &[]));
    assert_eq!(shared::get(0), 0);
    let enough = env.mint(endpoint, CapRights::WRITE, 0);
    enough.send(&Message::new(1, &[]));
    assert_eq!(shared::get(0), 2);
}

fn call_needs_write(env: &mut Env) {
    let endpoint = env.endpoint();
    let weak = env.mint(endpoint, CapRights::ALL.without(CapRights::WRITE), 0);
    env.thread(PRIORITY + 1, receive, [endpoint.cptr(), 0, 0]);
    let answer = weak.call(&Message::new(1, &[]));
    // InvalidCapability, of the capability that was invoked.
    assert_eq!((answer.label(), answer.mrs[0]), (2, 0));
    assert_eq!(shared::get(0), 0);
}

fn fault_of(env: &mut Env, entry: baton_runtime::ThreadEntry, cptr: u64) -> Fault {
    let faults = env.endpoint();
    let thread = env.new_faulting_thread(PRIORITY + 1, faults.cptr());
    ok(thread.start(entry, [cptr, 0, 0]));
    let received = faults.recv();
    Fault::from_message(&received).expect("a fault")
}

fn assert_refused(fault: Fault, expected: u64) {
    let Fault::Cap {
        cptr,
        in_recv_phase,
        failure,
        ..
    } = fault
    else {
        panic!("another fault: {fault}");
    };
    assert_eq!((cptr, in_recv_phase), (expected, true));
    assert!(matches!(failure, LookupFailure::MissingCapability { .. }));
    assert_eq!(shared::get(0), 0);
}

fn recv_needs_read(env: &mut Env) {
    let endpoint = env.endpoint();
    let weak = env.mint(endpoint, CapRights::ALL.without(CapRights::READ), 0);
    let fault = fault_of(env, receive, weak.cptr());
    assert_refused(fault, weak.cptr());
    let enough = env.mint(endpoint, CapRights::READ, 0);
    env.thread(PRIORITY + 1, receive, [enough.cptr(), 1, 0]);
    endpoint.send(&Message::new(1, &[]));
    assert_eq!(shared::get(1), 2);
}

fn signal_needs_write(env: &mut Env) {
    let notification = env.notification();
    env.mint(notification, CapRights::READ, 1).signal();
    assert_eq!(notification.poll(), 0);
    env.mint(notification, CapRights::WRITE, 1).signal();
    assert_eq!(notification.poll(), 1);
}

fn wait_needs_read(env: &mut Env) {
    let notification = env.notification();
    let weak = env.mint(notification, CapRights::WRITE, 0);
    let fault = fault_of(env, receive, weak.cptr());
    assert_refused(fault, weak.cptr());
}

fn nb_recv_needs_read(env: &mut Env) {
    let endpoint = env.endpoint();
    let weak = env.mint(endpoint, CapRights::WRITE, 0);
    let fault = fault_of(env, nb_receive, weak.cptr());
    assert_refused(fault, weak.cptr());
}

fn call_without_grant_reply(env: &mut Env) {
    let endpoint = env.endpoint();
    let weak = env.mint(endpoint, CapRights::WRITE, 0);
    env.thread(PRIORITY + 1, call, [weak.cptr(), 0, 0]);
    assert_eq!(endpoint.recv().label(), 5);
    baton_runtime::sel4::reply(&Message::new(7, &[]));
    let slot = env.slot();
    // Whatever the kernel says about it, there is nothing to save.
    let _ = slot.save_caller();
    let endpoint_slot = env.place(endpoint);
    ok(slot.copy_from(endpoint_slot, CapRights::ALL));
    assert_eq!(shared::get(0), 0);
}

fn grant_reply_suffices(env: &mut Env) {
    let endpoint = env.endpoint();
    for (index, right) in [CapRights::GRANT_REPLY, CapRights::GRANT]
        .into_iter()
        .enumerate()
    {
        let enough = env.mint(endpoint, CapRights::WRITE.union(right), 0);
        env.thread(PRIORITY + 1, call, [enough.cptr(), index as u64, 0]);
        assert_eq!(endpoint.recv().label(), 5);
        baton_runtime::sel4::reply(&Message::new(7, &[]));
        assert_eq!(shared::get(index), 8);
    }
}

fn rights_shrink(env: &mut Env) {
    let endpoint = env.endpoint();
    let read = env.mint(endpoint, CapRights::READ, 0);
    let again = env.mint(read, CapRights::ALL, 0);
    env.thread(PRIORITY + 1, receive, [endpoint.cptr(), 0, 0]);
    again.send(&Message::new(1, &[]));
    assert_eq!(shared::get(0), 0);
    assert_eq!(again.call(&Message::new(1, &[])).label(), 2);
}

fn rights_shrink_on_notifications(env: &mut Env) {
    let notification = env.notification();
    let read = env.mint(notification, CapRights::READ, 3);
    let again = env.copy(read);
    Notification::signal(again);
    assert_eq!(notification.poll(), 0);
}

fn ignored_on_tcb(env: &mut Env) {
    let thread = env.new_thread(PRIORITY - 1);
    let slot = env.slot();
    ok(slot.copy_from(env.place(thread.tcb), CapRights::NONE));
    ok(baton_runtime::sel4::Tcb::new(slot.index).suspend());
}
