//! Notifications: signals that gather, waiting, binding.

mod common;

use baton_kernel_core::ThreadState;
use baton_sel4_abi::{CapRights, Error, Label, slots};
use common::{TOP, World};

const TCB: u64 = slots::INIT_THREAD_TCB;
const ALL: CapRights = CapRights::ALL;

#[test]
fn badges_gather_until_they_are_taken() {
    let world = World::new();
    let notification = world.notification();
    for badge in [1, 4, 4, 16] {
        let badged = world.mint(notification, ALL, badge);
        world.signal(badged);
    }
    world.recv(notification);
    assert_eq!(world.got().badge, 21);
    world.nb_recv(notification);
    assert_eq!(world.got().badge, 0, "taken");
    let badged = world.mint(notification, ALL, 2);
    world.signal(badged);
    world.nb_recv(notification);
    assert_eq!(world.got().badge, 2, "nothing is left of the others");
}

#[test]
fn a_signal_wakes_one_of_those_who_wait_in_order() {
    let world = World::new();
    let notification = world.notification();
    let badged = world.mint(notification, ALL, 3);
    let waiting = [(); 2].map(|()| {
        let thread = world.started(TOP);
        world.yield_now();
        world.assert_runs(thread);
        world.recv(notification);
        thread
    });
    world.signal(badged);
    let state = |thread| ThreadState::of(world.tcb(thread));
    assert_eq!(state(waiting[0]), ThreadState::RUNNING);
    assert_eq!(state(waiting[1]), ThreadState::BLOCKED_ON_NOTIFICATION);
    world.yield_now();
    world.assert_runs(waiting[0]);
    assert_eq!(world.got().badge, 3);
    world.signal(badged);
    assert_eq!(state(waiting[1]), ThreadState::RUNNING);
}

#[test]
fn a_signal_switches_to_a_higher_priority() {
    let world = World::new();
    let notification = world.notification();
    let thread = world.thread(TOP);
    world.set_priority(TCB, TOP - 1).unwrap();
    world.start(thread);
    world.assert_runs(thread);
    world.recv(notification);
    assert!(!world.runs(thread));
    world.signal(notification);
    world.assert_runs(thread);
}

#[test]
fn signalling_and_waiting_need_their_rights() {
    let world = World::new();
    let notification = world.notification();
    let read = world.mint(notification, CapRights::READ, 1);
    let write = world.mint(notification, CapRights::WRITE, 2);
    world.signal(read);
    world.nb_recv(read);
    assert_eq!(world.got().badge, 0, "nothing was signalled");
    world.signal(write);
    world.nb_recv(read);
    assert_eq!(world.got().badge, 2);
    let handler = world.endpoint();
    let thread = world.thread_with_handler(TOP, handler);
    world.start(thread);
    world.yield_now();
    world.recv(write);
    assert!(!world.runs(thread), "a fault");
}

#[test]
fn a_bound_thread_gets_signals_while_it_receives() {
    let world = World::new();
    let (notification, endpoint) = (world.notification(), world.endpoint());
    let badged = world.mint(notification, ALL, 8);
    world
        .invoke(TCB, Label::TcbBindNotification, &[], &[notification])
        .unwrap();
    // Waiting when it comes.
    let thread = world.started(TOP - 1);
    world.recv(endpoint);
    world.assert_runs(thread);
    world.signal(badged);
    assert!(!world.runs(thread));
    assert_eq!(world.got().badge, 8);
    // It came before.
    world.signal(badged);
    world.recv(endpoint);
    assert_eq!(world.got().badge, 8);
    // The endpoint has forgotten the receiver.
    world.nb_recv(endpoint);
    assert_eq!(world.got().badge, 0);
}

#[test]
fn a_bound_thread_that_waits_for_a_reply_is_not_woken() {
    let world = World::new();
    let (notification, endpoint) = (world.notification(), world.endpoint());
    let client = world.thread(TOP - 1);
    world
        .invoke(client.cap, Label::TcbBindNotification, &[], &[notification])
        .unwrap();
    world.start(client);
    world.recv(endpoint);
    world.call(endpoint, 0, &[]);
    world.signal(notification);
    assert_eq!(
        ThreadState::of(world.tcb(client)),
        ThreadState::BLOCKED_ON_REPLY
    );
}

#[test]
fn binding_is_one_to_one() {
    let world = World::new();
    let (one, two) = (world.notification(), world.notification());
    let (a, b) = (world.thread(1), world.thread(1));
    let bind = |thread: common::Thread, caps: &[u64]| {
        world.invoke(thread.cap, Label::TcbBindNotification, &[], caps)
    };
    let unbind =
        |thread: common::Thread| world.invoke(thread.cap, Label::TcbUnbindNotification, &[], &[]);
    assert_eq!(unbind(a), Err(Error::IllegalOperation));
    bind(a, &[one]).unwrap();
    assert_eq!(bind(a, &[two]), Err(Error::IllegalOperation));
    assert_eq!(bind(b, &[one]), Err(Error::IllegalOperation));
    let write = world.copy(two, CapRights::WRITE);
    assert_eq!(bind(b, &[write]), Err(Error::IllegalOperation));
    assert_eq!(bind(b, &[]), Err(Error::TruncatedMessage));
    let endpoint = world.endpoint();
    assert_eq!(bind(b, &[endpoint]), Err(Error::IllegalOperation));
    unbind(a).unwrap();
    bind(b, &[one]).unwrap();
    // Either of the two can go.
    world.delete(b.cap);
    bind(a, &[one]).unwrap();
    world.delete(one);
    assert_eq!(unbind(a), Err(Error::IllegalOperation));
}

#[test]
fn a_notification_that_is_waited_for_cannot_be_bound() {
    let world = World::new();
    let notification = world.notification();
    let waiting = world.started(TOP);
    world.yield_now();
    world.assert_runs(waiting);
    world.recv(notification);
    let other = world.thread(1);
    assert_eq!(
        world.invoke(other.cap, Label::TcbBindNotification, &[], &[notification]),
        Err(Error::IllegalOperation)
    );
}

#[test]
fn deleting_a_notification_lets_those_who_wait_try_again() {
    let world = World::new();
    let notification = world.notification();
    let waiting = world.started(TOP);
    world.yield_now();
    world.recv(notification);
    world.delete(notification);
    assert_eq!(ThreadState::of(world.tcb(waiting)), ThreadState::RESTART);
}
