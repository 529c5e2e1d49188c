//! Messages, at all lengths and between address spaces.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::shared;
use baton_runtime::sel4::abi::Syscall;
use baton_runtime::sel4::{
    CapRights, Capability, Endpoint, Message, MessageInfo, Notification, Received, ipc_buffer,
    reply, syscall_registers,
};

cases! {
    call_all_lengths: "calls of 0 to 120 words between address spaces arrive whole, and so do the answers",
    serve_all_lengths: "a process is called with 0 to 120 words by this one",
    send_all_lengths: "sends of 0 to 120 words between address spaces arrive whole and in order",
    two_processes: "two processes talk to each other without this one",
    signals_between_processes: "processes wake each other by notifications",
    label_is_whole: "a label of 52 bits arrives whole",
    length_is_cut: "a length beyond 120 is cut to 120",
    without_buffer: "a thread without IPC buffer sends and receives four words and no more",
    senders_in_order: "senders that wait are served in the order in which they came",
    receivers_in_order: "receivers that wait are served in the order in which they came",
    transfers_cap: "a capability goes with a message into the receiver's slot",
    transfers_three: "only the first capability fits into the one receive slot",
    needs_grant: "without grant no capability goes along",
    unwraps: "a capability to the endpoint itself arrives as its badge",
    slot_is_occupied: "without an empty receive slot no capability arrives, but the message does",
    reply_transfers: "a capability goes with a reply when the caller may grant",
    transferred_is_derived: "a transferred capability is deleted when its original is revoked",
    reply_recv_serves: "ReplyRecv answers one caller and receives the next",
    caller_is_replaced: "receiving again forgets the caller that was not answered",
    receiver_gone: "a caller whose server is deleted stays without answer, and can be resumed",
    nb_send_lost: "NBSend without a receiver is lost",
    call_in_chain: "calls nest: a server calls another before it answers",
}

extern "C" fn send_word(endpoint: u64, word: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::new(1, &[word]));
    shared::add(0, 1);
}

extern "C" fn receive_word(endpoint: u64, index: u64, _: u64) {
    let received = Endpoint::new(endpoint).recv();
    shared::set(index as usize, received.mrs[0]);
}

extern "C" fn call_word(endpoint: u64, word: u64, _: u64) {
    let answer = Endpoint::new(endpoint).call(&Message::new(1, &[word]));
    shared::set(word as usize, 1000 + answer.mrs[0]);
}

const ECHO: u64 = 0;
const CALL_ALL_LENGTHS: u64 = 1;
const SEND_ALL_LENGTHS: u64 = 5;
const PING_PONG: u64 = 6;
const STOP: u64 = 99;
const ALL: CapRights = CapRights::ALL;

fn pattern(length: usize) -> [u64; 120] {
    core::array::from_fn(|index| ((length as u64) << 32) | (index as u64 * 7 + 1))
}

fn copy_words(received: &Received) -> [u64; 120] {
    core::array::from_fn(|index| received.word(index))
}

fn call_all_lengths(env: &mut Env) {
    let (endpoint, parent) = (env.endpoint(), env.endpoint());
    let gift = env.gift(endpoint, ALL);
    let process = env.new_process_of(parent, 7, PRIORITY, &[CALL_ALL_LENGTHS], &[gift]);
    ok(process.start());
    let mut received = endpoint.recv();
    for length in 0..=120 {
        let label = 1000 + length as u64;
        assert_eq!((received.label(), received.length()), (label, length));
        let words = copy_words(&received);
        assert_eq!(words[..length], pattern(length)[..length]);
        let answer = Message::new(label, &words[..length]);
        if length == 120 {
            reply(&answer);
        } else {
            received = endpoint.reply_recv(&answer);
        }
    }
    let end = parent.recv();
    assert_eq!((end.badge, end.mrs[0]), (7, 0));
}

fn serve_all_lengths(env: &mut Env) {
    let (endpoint, parent) = (env.endpoint(), env.endpoint());
    let gift = env.gift(endpoint, CapRights::READ);
    let process = env.new_process_of(parent, 7, PRIORITY + 1, &[ECHO], &[gift]);
    ok(process.start());
    for length in 0..=120 {
        let words = pattern(length);
        let answer = endpoint.call(&Message::new(1, &words[..length]));
        assert_eq!(answer.length(), length);
        assert_eq!(copy_words(&answer)[..length], words[..length]);
    }
    endpoint.send(&Message::new(STOP, &[]));
    assert_eq!(parent.recv().mrs[0], 121);
}

fn send_all_lengths(env: &mut Env) {
    let endpoint = env.endpoint();
    let gift = env.gift(endpoint, CapRights::WRITE);
    env.process(PRIORITY, &[SEND_ALL_LENGTHS], &[gift]);
    for length in 0..=120 {
        let received = endpoint.recv();
        assert_eq!(
            (received.label(), received.length()),
            (length as u64, length)
        );
        assert_eq!(copy_words(&received)[..length], pattern(length)[..length]);
    }
}

fn two_processes(env: &mut Env) {
    let (endpoint, parent) = (env.endpoint(), env.endpoint());
    let (server, client) = (env.gift(endpoint, CapRights::READ), env.gift(endpoint, ALL));
    ok(env
        .new_process_of(parent, 1, PRIORITY, &[ECHO], &[server])
        .start());
    ok(env
        .new_process_of(parent, 2, PRIORITY, &[CALL_ALL_LENGTHS], &[client])
        .start());
    let end = parent.recv();
    assert_eq!((end.badge, end.mrs[0]), (2, 0));
    endpoint.send(&Message::new(STOP, &[]));
    let end = parent.recv();
    assert_eq!((end.badge, end.mrs[0]), (1, 121));
}

fn signals_between_processes(env: &mut Env) {
    let (ping, pong, parent) = (env.notification(), env.notification(), env.endpoint());
    let gifts = [
        env.gift(ping, CapRights::READ),
        env.gift(pong, CapRights::WRITE),
    ];
    let process = env.new_process_of(parent, 1, PRIORITY, &[PING_PONG, 50], &gifts);
    ok(process.start());
    for _ in 0..50 {
        // A signal without badge is a word of 0: it wakes, and that is all.
        ping.signal();
        assert_eq!(pong.wait(), 0);
    }
    assert_eq!(parent.recv().mrs[0], 50);
}

fn label_is_whole(env: &mut Env) {
    let endpoint = env.endpoint();
    let label = (1 << 52) - 3;
    env.thread(PRIORITY - 1, send_label, [endpoint.cptr(), label, 0]);
    assert_eq!(endpoint.recv().label(), label);
}

extern "C" fn send_label(endpoint: u64, label: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::new(label, &[]));
}

extern "C" fn send_127(endpoint: u64, _: u64, _: u64) {
    for index in 0..120 {
        ipc_buffer().set_message_register(index, 500 + index as u64);
    }
    let info = MessageInfo::new(3, 0, 0, 127).word();
    syscall_registers(
        Syscall::Send.number(),
        [endpoint, info, 500, 501, 502, 503, 0],
    );
}

fn length_is_cut(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY - 1, send_127, [endpoint.cptr(), 0, 0]);
    // The word behind the last message register is the user's: it must not be overwritten.
    ipc_buffer().set_user_data(0x5afe);
    let received = endpoint.recv();
    assert_eq!(received.info.length(), 120);
    assert_eq!(
        (received.word(119), ipc_buffer().user_data()),
        (619, 0x5afe)
    );
}

extern "C" fn send_eight(endpoint: u64, _: u64, _: u64) {
    Endpoint::new(endpoint).send(&Message::new(1, &[1, 2, 3, 4, 5, 6, 7, 8]));
    let received = Endpoint::new(endpoint).recv();
    shared::set(0, received.info.length());
    shared::set(1, received.mrs[3]);
}

fn without_buffer(env: &mut Env) {
    let endpoint = env.endpoint();
    let thread = env.new_thread(PRIORITY + 1);
    ok(thread.tcb.set_ipc_buffer(0, thread.page));
    ok(thread.start(send_eight, [endpoint.cptr(), 0, 0]));
    for index in 0..8 {
        ipc_buffer().set_message_register(index, 0xaa);
    }
    let received = endpoint.recv();
    assert_eq!((received.info.length(), received.mrs), (4, [1, 2, 3, 4]));
    assert_eq!(ipc_buffer().message_register(5), 0xaa);
    endpoint.send(&Message::new(1, &[9, 8, 7, 6, 5, 4]));
    assert_eq!((shared::get(0), shared::get(1)), (4, 6));
}

fn senders_in_order(env: &mut Env) {
    let endpoint = env.endpoint();
    // Priorities do not matter to the queue.
    for (word, priority) in [(10, 5), (11, 9), (12, 1), (13, 9)] {
        env.thread(PRIORITY + priority, send_word, [endpoint.cptr(), word, 0]);
    }
    let words: [u64; 4] = core::array::from_fn(|_| endpoint.recv().mrs[0]);
    assert_eq!(words, [10, 11, 12, 13]);
    assert_eq!(shared::get(0), 4);
}

fn receivers_in_order(env: &mut Env) {
    let endpoint = env.endpoint();
    for index in 0..4 {
        env.thread(
            PRIORITY + 4 - index,
            receive_word,
            [endpoint.cptr(), index, 0],
        );
    }
    for word in 20..24 {
        endpoint.send(&Message::new(0, &[word]));
    }
    let words: [u64; 4] = core::array::from_fn(shared::get);
    assert_eq!(words, [20, 21, 22, 23]);
}

extern "C" fn send_caps(endpoint: u64, first: u64, count: u64) {
    let caps = [first, first + 1, first + 2];
    Endpoint::new(endpoint).send(&Message::with_caps(
        4,
        &[1, 2, 3, 4, 5],
        &caps[..count as usize],
    ));
}

/// A slot in which the next receive puts a capability.
fn receive_slot(env: &mut Env) -> baton_runtime::sel4::Slot {
    let slot = env.slot();
    ipc_buffer().set_receive_slot(env.root.cnode.cptr(), slot.index, 64);
    slot
}

fn transfers_cap(env: &mut Env) {
    let (endpoint, notification) = (env.endpoint(), env.notification());
    let badged = env.mint(notification, ALL, 0x11);
    env.thread(PRIORITY - 1, send_caps, [endpoint.cptr(), badged.cptr(), 1]);
    let slot = receive_slot(env);
    let received = endpoint.recv();
    assert_eq!(
        (received.info.extra_caps(), received.info.caps_unwrapped()),
        (1, 0)
    );
    assert_eq!((received.length(), received.word(4)), (5, 5));
    Notification::new(slot.index).signal();
    assert_eq!(notification.poll(), 0x11);
    // The sender keeps its own.
    badged.signal();
    assert_eq!(notification.poll(), 0x11);
}

fn transfers_three(env: &mut Env) {
    let endpoint = env.endpoint();
    let notification = env.notification();
    let first = env.mint(notification, ALL, 1);
    env.mint(notification, ALL, 2);
    env.mint(notification, ALL, 4);
    env.thread(PRIORITY - 1, send_caps, [endpoint.cptr(), first.cptr(), 3]);
    let slot = receive_slot(env);
    let received = endpoint.recv();
    assert_eq!(received.info.extra_caps(), 1);
    Notification::new(slot.index).signal();
    assert_eq!(notification.poll(), 1);
}

fn needs_grant(env: &mut Env) {
    let (endpoint, notification) = (env.endpoint(), env.notification());
    let weak = env.mint(endpoint, ALL.without(CapRights::GRANT), 0);
    env.thread(
        PRIORITY - 1,
        send_caps,
        [weak.cptr(), notification.cptr(), 1],
    );
    let slot = receive_slot(env);
    let received = endpoint.recv();
    assert_eq!((received.info.extra_caps(), received.length()), (0, 5));
    ok(slot.copy_from(env.place(notification), ALL));
}

fn unwraps(env: &mut Env) {
    let (endpoint, notification) = (env.endpoint(), env.notification());
    let first = env.mint(endpoint, ALL, 0x21);
    let second = env.mint(endpoint, ALL, 0x22);
    let third = env.mint(notification, ALL, 0x40);
    assert_eq!(
        (second.cptr(), third.cptr()),
        (first.cptr() + 1, first.cptr() + 2)
    );
    env.thread(PRIORITY - 1, send_caps, [endpoint.cptr(), first.cptr(), 3]);
    let slot = receive_slot(env);
    let received = endpoint.recv();
    assert_eq!(
        (received.info.extra_caps(), received.info.caps_unwrapped()),
        (3, 0b011)
    );
    assert_eq!(
        (ipc_buffer().cap_or_badge(0), ipc_buffer().cap_or_badge(1)),
        (0x21, 0x22)
    );
    Notification::new(slot.index).signal();
    assert_eq!(notification.poll(), 0x40);
}

fn slot_is_occupied(env: &mut Env) {
    let (endpoint, notification) = (env.endpoint(), env.notification());
    let other = env.endpoint();
    ipc_buffer().set_receive_slot(env.root.cnode.cptr(), other.cptr(), 64);
    env.thread(
        PRIORITY - 1,
        send_caps,
        [endpoint.cptr(), notification.cptr(), 1],
    );
    let received = endpoint.recv();
    assert_eq!(
        (
            received.info.extra_caps(),
            received.length(),
            received.word(4)
        ),
        (0, 5, 5)
    );
}

extern "C" fn serve_with_cap(endpoint: u64, cap: u64, _: u64) {
    Endpoint::new(endpoint).recv();
    reply(&Message::with_caps(0, &[1], &[cap]));
}

fn reply_transfers(env: &mut Env) {
    let (endpoint, notification) = (env.endpoint(), env.notification());
    let badged = env.mint(notification, ALL, 0x50);
    env.thread(
        PRIORITY + 1,
        serve_with_cap,
        [endpoint.cptr(), badged.cptr(), 0],
    );
    let slot = receive_slot(env);
    let answer = endpoint.call(&Message::new(0, &[]));
    assert_eq!(answer.info.extra_caps(), 1);
    Notification::new(slot.index).signal();
    assert_eq!(notification.poll(), 0x50);

    // A server that receives without grant may not grant by its reply.
    let weak = env.mint(endpoint, CapRights::READ, 0);
    env.thread(
        PRIORITY + 1,
        serve_with_cap,
        [weak.cptr(), badged.cptr(), 0],
    );
    let slot = receive_slot(env);
    let answer = endpoint.call(&Message::new(0, &[]));
    assert_eq!((answer.info.extra_caps(), answer.mrs[0]), (0, 1));
    ok(slot.copy_from(env.place(notification), ALL));
}

fn transferred_is_derived(env: &mut Env) {
    let (endpoint, notification) = (env.endpoint(), env.notification());
    env.thread(
        PRIORITY - 1,
        send_caps,
        [endpoint.cptr(), notification.cptr(), 1],
    );
    let slot = receive_slot(env);
    assert_eq!(endpoint.recv().info.extra_caps(), 1);
    ok(env.place(notification).revoke());
    ok(slot.copy_from(env.place(endpoint), ALL));
}

fn reply_recv_serves(env: &mut Env) {
    let endpoint = env.endpoint();
    for word in [1, 2, 3] {
        env.thread(PRIORITY + 1, call_word, [endpoint.cptr(), word, 0]);
    }
    let mut received = endpoint.recv();
    for word in [1, 2, 3] {
        assert_eq!(received.mrs[0], word);
        assert_eq!(shared::get(word as usize), 0);
        if word < 3 {
            received = endpoint.reply_recv(&Message::new(0, &[word * 2]));
            assert_eq!(shared::get(word as usize), 1000 + word * 2);
        }
    }
    reply(&Message::new(0, &[6]));
    assert_eq!(shared::get(3), 1006);
}

fn caller_is_replaced(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, call_word, [endpoint.cptr(), 1, 0]);
    env.thread(PRIORITY + 1, call_word, [endpoint.cptr(), 2, 0]);
    endpoint.recv();
    endpoint.recv();
    reply(&Message::new(0, &[5]));
    assert_eq!((shared::get(1), shared::get(2)), (0, 1005));
    // Also when what came then was no call.
    env.thread(PRIORITY + 1, call_word, [endpoint.cptr(), 3, 0]);
    env.thread(PRIORITY + 1, send_word, [endpoint.cptr(), 4, 0]);
    assert_eq!([endpoint.recv().mrs[0], endpoint.recv().mrs[0]], [3, 4]);
    reply(&Message::new(0, &[7]));
    assert_eq!(shared::get(3), 0);
    // And a second reply reaches nobody.
    reply(&Message::new(0, &[6]));
    assert_eq!((shared::get(1), shared::get(2)), (0, 1005));
}

extern "C" fn receive_and_wait(endpoint: u64, notification: u64, _: u64) {
    Endpoint::new(endpoint).recv();
    Notification::new(notification).wait();
}

fn receiver_gone(env: &mut Env) {
    let (endpoint, never) = (env.endpoint(), env.notification());
    let server = env.thread(
        PRIORITY + 2,
        receive_and_wait,
        [endpoint.cptr(), never.cptr(), 0],
    );
    let caller = env.thread(PRIORITY + 1, call_word, [endpoint.cptr(), 1, 0]);
    ok(env.place(server.tcb).delete());
    assert_eq!(shared::get(1), 0);
    // Resumed, it makes its call again, and is answered here.
    ok(caller.tcb.resume());
    assert_eq!(endpoint.recv().mrs[0], 1);
    reply(&Message::new(0, &[3]));
    assert_eq!(shared::get(1), 1003);
}

fn nb_send_lost(env: &mut Env) {
    let endpoint = env.endpoint();
    endpoint.nb_send(&Message::new(1, &[1]));
    assert_eq!(endpoint.nb_recv().badge, 0);
    env.thread(PRIORITY + 1, receive_word, [endpoint.cptr(), 5, 0]);
    endpoint.nb_send(&Message::new(1, &[77]));
    assert_eq!(shared::get(5), 77);
}

extern "C" fn forward(endpoint: u64, to: u64, _: u64) {
    let received = Endpoint::new(endpoint).recv();
    let answer = Endpoint::new(to).call(&Message::new(0, &[received.mrs[0] + 1]));
    reply(&Message::new(0, &[answer.mrs[0] * 10]));
}

extern "C" fn double(endpoint: u64, _: u64, _: u64) {
    let received = Endpoint::new(endpoint).recv();
    reply(&Message::new(0, &[received.mrs[0] * 2]));
}

fn call_in_chain(env: &mut Env) {
    let (first, second, third) = (env.endpoint(), env.endpoint(), env.endpoint());
    env.thread(PRIORITY, forward, [first.cptr(), second.cptr(), 0]);
    env.thread(PRIORITY + 1, forward, [second.cptr(), third.cptr(), 0]);
    env.thread(PRIORITY - 1, double, [third.cptr(), 0, 0]);
    // ((5 + 1) + 1) * 2 * 10 * 10
    assert_eq!(first.call(&Message::new(0, &[5])).mrs[0], 1400);
}
