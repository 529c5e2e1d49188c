//! Receiving without waiting.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::shared;
use baton_runtime::sel4::{CapRights, Capability, Endpoint, Message};

cases! {
    nothing_there: "NBRecv of nothing returns badge 0 at once",
    takes_sender: "NBRecv takes a message that waits, with its badge and words",
    takes_call: "NBRecv takes a call, which can be answered",
    one_each: "each NBRecv takes one message, in order",
    polls_notification: "NBRecv of a notification takes the word and clears it",
    leaves_queue: "NBRecv leaves no trace on an empty endpoint",
}

extern "C" fn send(endpoint: u64, word: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::new(
        2,
        &[word, word + 1, word + 2, word + 3, word + 4],
    ));
    shared::add(0, 1);
}

extern "C" fn call(endpoint: u64, _: u64, _: u64) {
    let answer = Endpoint::new(endpoint).call(&Message::new(2, &[]));
    shared::set(0, answer.mrs[0]);
}

fn nothing_there(env: &mut Env) {
    let endpoint = env.endpoint();
    assert_eq!(endpoint.nb_recv().badge, 0);
    let notification = env.notification();
    assert_eq!(notification.poll(), 0);
}

fn takes_sender(env: &mut Env) {
    let endpoint = env.endpoint();
    let badged = env.mint(endpoint, CapRights::ALL, 0xbad);
    env.thread(PRIORITY + 1, send, [badged.cptr(), 40, 0]);
    let received = endpoint.nb_recv();
    assert_eq!(
        (received.badge, received.label(), received.length()),
        (0xbad, 2, 5)
    );
    assert_eq!((received.word(0), received.word(4)), (40, 44));
    assert_eq!(shared::get(0), 1);
}

fn takes_call(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, call, [endpoint.cptr(), 0, 0]);
    assert_eq!(endpoint.nb_recv().label(), 2);
    baton_runtime::sel4::reply(&Message::new(0, &[17]));
    assert_eq!(shared::get(0), 17);
}

fn one_each(env: &mut Env) {
    let endpoint = env.endpoint();
    let badged = env.mint(endpoint, CapRights::ALL, 1);
    for word in [10, 20, 30] {
        env.thread(PRIORITY + 1, send, [badged.cptr(), word, 0]);
    }
    for word in [10, 20, 30] {
        assert_eq!(endpoint.nb_recv().word(0), word);
    }
    assert_eq!(endpoint.nb_recv().badge, 0);
}

fn polls_notification(env: &mut Env) {
    let notification = env.notification();
    let badged = env.mint(notification, CapRights::ALL, 6);
    badged.signal();
    assert_eq!(notification.poll(), 6);
    assert_eq!(notification.poll(), 0);
}

fn leaves_queue(env: &mut Env) {
    let endpoint = env.endpoint();
    assert_eq!(endpoint.nb_recv().badge, 0);
    // If this thread were still in the queue, the send would be taken by it.
    let sender = env.thread(PRIORITY + 1, send, [endpoint.cptr(), 1, 0]);
    assert_eq!(shared::get(0), 0);
    ok(sender.tcb.suspend());
    assert_eq!(endpoint.nb_recv().badge, 0);
}
