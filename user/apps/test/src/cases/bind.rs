//! Notifications that are bound to a thread.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::shared;
use baton_runtime::sel4::{CapRights, Endpoint, Error, Message, Notification};

cases! {
    wakes_receiver: "a signal wakes the bound thread that receives from an endpoint",
    earlier_signal: "a signal that came before is delivered by the next receive",
    message_still_arrives: "messages still arrive, and go before later signals",
    nb_recv_takes_signal: "NBRecv on an endpoint takes the signal of the bound notification",
    signals_collect: "signals collect in one word until they are received",
    unbound_is_silent: "after unbinding, signals no longer end a receive",
    thread_has_one: "a thread cannot be bound twice",
    notification_has_one: "a notification cannot be bound to two threads",
    needs_receive_right: "binding needs the right to receive",
    not_while_waited_on: "a notification on which threads wait cannot be bound",
    deleting_unbinds: "deleting the notification unbinds it",
    deleting_thread_unbinds: "deleting the thread unbinds the notification",
    unbind_nothing: "unbinding a thread that is not bound is refused",
    wait_directly: "a bound thread can wait for the notification itself",
}

extern "C" fn signal(notification: u64, _: u64, _: u64) {
    Notification::new(notification).signal();
}

extern "C" fn send(endpoint: u64, label: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::new(label, &[label]));
}

fn bound(env: &mut Env) -> (Notification, Notification, Endpoint) {
    let notification = env.notification();
    ok(env.tcb.bind_notification(notification));
    let badged = env.mint(notification, CapRights::ALL, 0x20);
    (notification, badged, env.endpoint())
}

fn wakes_receiver(env: &mut Env) {
    let (_, badged, endpoint) = bound(env);
    env.thread(PRIORITY - 1, signal, [cptr(badged), 0, 0]);
    assert_eq!(endpoint.recv().badge, 0x20);
}

fn cptr(capability: impl baton_runtime::sel4::Capability) -> u64 {
    capability.cptr()
}

fn earlier_signal(env: &mut Env) {
    let (_, badged, endpoint) = bound(env);
    badged.signal();
    assert_eq!(endpoint.recv().badge, 0x20);
    assert_eq!(endpoint.nb_recv().badge, 0);
}

fn message_still_arrives(env: &mut Env) {
    let (_, badged, endpoint) = bound(env);
    let badged_endpoint = env.mint(endpoint, CapRights::ALL, 0x40);
    env.thread(PRIORITY - 1, send, [cptr(badged_endpoint), 9, 0]);
    let received = endpoint.recv();
    assert_eq!(
        (received.badge, received.label(), received.mrs[0]),
        (0x40, 9, 9)
    );
    badged.signal();
    assert_eq!(endpoint.recv().badge, 0x20);
}

fn nb_recv_takes_signal(env: &mut Env) {
    let (_, badged, endpoint) = bound(env);
    assert_eq!(endpoint.nb_recv().badge, 0);
    badged.signal();
    assert_eq!(endpoint.nb_recv().badge, 0x20);
    assert_eq!(endpoint.nb_recv().badge, 0);
}

fn signals_collect(env: &mut Env) {
    let (notification, badged, endpoint) = bound(env);
    let other = env.mint(notification, CapRights::ALL, 0x03);
    badged.signal();
    other.signal();
    badged.signal();
    assert_eq!(endpoint.recv().badge, 0x23);
    assert_eq!(notification.poll(), 0);
}

fn unbound_is_silent(env: &mut Env) {
    let (notification, badged, endpoint) = bound(env);
    ok(env.tcb.unbind_notification());
    badged.signal();
    env.thread(PRIORITY - 1, send, [cptr(endpoint), 5, 0]);
    let received = endpoint.recv();
    assert_eq!((received.badge, received.label()), (0, 5));
    assert_eq!(notification.poll(), 0x20);
}

fn thread_has_one(env: &mut Env) {
    bound(env);
    let second = env.notification();
    assert_eq!(
        env.tcb.bind_notification(second),
        Err(Error::IllegalOperation)
    );
}

fn notification_has_one(env: &mut Env) {
    let (notification, ..) = bound(env);
    let thread = env.new_thread(PRIORITY);
    assert_eq!(
        thread.tcb.bind_notification(notification),
        Err(Error::IllegalOperation)
    );
    ok(env.tcb.unbind_notification());
    ok(thread.tcb.bind_notification(notification));
}

fn needs_receive_right(env: &mut Env) {
    let notification = env.notification();
    let write_only = env.mint(notification, CapRights::WRITE, 0);
    assert_eq!(
        env.tcb.bind_notification(write_only),
        Err(Error::IllegalOperation)
    );
    let read_only = env.mint(notification, CapRights::READ, 0);
    ok(env.tcb.bind_notification(read_only));
}

extern "C" fn wait(notification: u64, index: u64, _: u64) {
    let badge = Notification::new(notification).wait();
    shared::set(index as usize, badge);
}

fn not_while_waited_on(env: &mut Env) {
    let notification = env.notification();
    env.thread(PRIORITY + 1, wait, [cptr(notification), 0, 0]);
    assert_eq!(
        env.tcb.bind_notification(notification),
        Err(Error::IllegalOperation)
    );
    let badged = env.mint(notification, CapRights::ALL, 1);
    badged.signal();
    assert_eq!(shared::get(0), 1);
    ok(env.tcb.bind_notification(notification));
}

fn deleting_unbinds(env: &mut Env) {
    let (notification, badged, _) = bound(env);
    ok(env.place(badged).delete());
    ok(env.place(notification).delete());
    let second = env.notification();
    ok(env.tcb.bind_notification(second));
}

fn deleting_thread_unbinds(env: &mut Env) {
    let notification = env.notification();
    let thread = env.new_thread(PRIORITY);
    ok(thread.tcb.bind_notification(notification));
    ok(env.place(thread.tcb).delete());
    ok(env.tcb.bind_notification(notification));
    let badged = env.mint(notification, CapRights::ALL, 2);
    badged.signal();
    assert_eq!(env.endpoint().recv().badge, 2);
}

fn unbind_nothing(env: &mut Env) {
    assert_eq!(env.tcb.unbind_notification(), Err(Error::IllegalOperation));
}

fn wait_directly(env: &mut Env) {
    let (notification, badged, _) = bound(env);
    env.thread(PRIORITY - 1, signal, [cptr(badged), 0, 0]);
    assert_eq!(notification.wait(), 0x20);
}
