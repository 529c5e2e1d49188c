//! Cancelling the sends that wait with a badge.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::shared;
use baton_runtime::sel4::{CapRights, Capability, Endpoint, Error, Message};

cases! {
    only_that_badge: "only sends with that badge are cancelled; the others keep their order",
    cancelled_send_again: "a cancelled send is made again when its capability is still there",
    calls_are_cancelled: "a call that waits is cancelled too",
    without_badge: "without a badge nothing is cancelled",
    needs_all_rights: "a capability without all rights is refused",
    not_an_endpoint: "a capability of another kind is refused",
    nobody_waits: "cancelling where nobody waits changes nothing",
}

extern "C" fn send(endpoint: u64, word: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::new(3, &[word]));
    shared::add(word as usize, 1);
}

extern "C" fn call(endpoint: u64, word: u64, _: u64) {
    let answer = Endpoint::new(endpoint).call(&Message::new(3, &[word]));
    shared::add(word as usize, 1 + answer.label());
}

fn only_that_badge(env: &mut Env) {
    let endpoint = env.endpoint();
    let faults = env.endpoint();
    let canceller = env.mint(endpoint, CapRights::ALL, 1);
    // Five senders with badges 1, 2, 1, 3, 1; each has a capability of its own.
    for (index, badge) in [1, 2, 1, 3, 1].into_iter().enumerate() {
        let own = env.mint(endpoint, CapRights::ALL, badge);
        let thread = env.new_faulting_thread(PRIORITY + 1, faults.cptr());
        ok(thread.start(send, [own.cptr(), index as u64, 0]));
        if badge == 1 {
            // Sending again after the cancellation must fail, so that it shows.
            ok(env.place(own).delete());
        }
    }
    ok(env.place(canceller).cancel_badged_sends());
    let mut received = [0; 2];
    for word in &mut received {
        let message = endpoint.recv();
        *word = message.mrs[0];
        assert_eq!(message.badge, if message.mrs[0] == 1 { 2 } else { 3 });
    }
    assert_eq!(received, [1, 3]);
    assert_eq!(endpoint.nb_recv().badge, 0);
    // The cancelled ones went on and did not get their message through.
    assert_eq!((shared::get(1), shared::get(3)), (1, 1));
    assert_eq!([0, 2, 4].map(shared::get), [1, 1, 1]);
}

fn cancelled_send_again(env: &mut Env) {
    let endpoint = env.endpoint();
    let badged = env.mint(endpoint, CapRights::ALL, 5);
    env.thread(PRIORITY + 1, send, [badged.cptr(), 0, 0]);
    ok(env.place(badged).cancel_badged_sends());
    assert_eq!(shared::get(0), 0);
    let received = endpoint.recv();
    assert_eq!((received.badge, received.mrs[0]), (5, 0));
    assert_eq!(shared::get(0), 1);
}

fn calls_are_cancelled(env: &mut Env) {
    let endpoint = env.endpoint();
    let canceller = env.mint(endpoint, CapRights::ALL, 5);
    let own = env.mint(endpoint, CapRights::ALL, 5);
    env.thread(PRIORITY + 1, call, [own.cptr(), 7, 0]);
    ok(env.place(own).delete());
    ok(env.place(canceller).cancel_badged_sends());
    assert_eq!(endpoint.nb_recv().badge, 0);
    // Made again, the call was answered by the kernel: no such capability.
    assert_eq!(shared::get(7), 1 + 2);
}

fn without_badge(env: &mut Env) {
    let endpoint = env.endpoint();
    let from = env.mint(endpoint, CapRights::ALL, 0);
    env.thread(PRIORITY + 1, send, [endpoint.cptr(), 0, 0]);
    // seL4 cancels nothing then, and says that it went well.
    ok(env.place(from).cancel_badged_sends());
    assert_eq!(endpoint.recv().mrs[0], 0);
}

fn needs_all_rights(env: &mut Env) {
    let endpoint = env.endpoint();
    let all = CapRights::ALL;
    let missing = [
        CapRights::READ,
        CapRights::WRITE,
        CapRights::GRANT,
        CapRights::GRANT_REPLY,
    ];
    for right in missing {
        let weak = env.mint(endpoint, all.without(right), 6);
        assert_eq!(
            env.place(weak).cancel_badged_sends(),
            Err(Error::IllegalOperation)
        );
    }
}

fn not_an_endpoint(env: &mut Env) {
    let notification = env.notification();
    let badged = env.mint(notification, CapRights::ALL, 6);
    assert_eq!(
        env.place(badged).cancel_badged_sends(),
        Err(Error::IllegalOperation)
    );
    let empty = env.slot();
    assert_eq!(empty.cancel_badged_sends(), Err(Error::IllegalOperation));
}

fn nobody_waits(env: &mut Env) {
    let endpoint = env.endpoint();
    let badged = env.mint(endpoint, CapRights::ALL, 6);
    ok(env.place(badged).cancel_badged_sends());
    env.thread(PRIORITY + 1, send, [endpoint.cptr(), 0, 0]);
    ok(env.place(badged).cancel_badged_sends());
    assert_eq!(endpoint.recv().badge, 0);
    assert_eq!(shared::get(0), 1);
}
