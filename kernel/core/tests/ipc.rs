//! Endpoints and replies: who meets whom, what is transferred, and what rights permit.

mod common;

use baton_kernel_core::ThreadState;
use baton_kernel_core::cap::Cap;
use baton_sel4_abi::{
    CapRights, Error, Label, LookupFailureKind, MSG_MAX_LENGTH, ObjectType, slots,
};
use common::{DEPTH, ROOT, TOP, Thread, World, guard};

const TCB: u64 = slots::INIT_THREAD_TCB;
const ALL: CapRights = CapRights::ALL;

/// A thread of the root task's priority, which runs now; the root task is behind it in the queue.
fn peer(world: &World) -> Thread {
    let thread = world.started(TOP);
    world.yield_now();
    world.assert_runs(thread);
    thread
}

/// A thread that runs whenever the root task waits.
fn lower(world: &World) -> Thread {
    world.started(TOP - 1)
}

#[test]
fn a_waiting_receiver_gets_message_and_badge() {
    let world = World::new();
    let endpoint = world.endpoint();
    let badged = world.mint(endpoint, ALL, 0x77);
    let sender = lower(&world);
    let root = world.fake.current_address();
    world.recv(endpoint);
    world.assert_runs(sender);
    world.send(badged, 5, &[1, 2, 3]);
    assert_eq!(world.fake.current_address(), root);
    let got = world.got();
    assert_eq!((got.badge, got.info.label()), (0x77, 5));
    assert_eq!(got.words, [1, 2, 3]);
}

#[test]
fn a_waiting_sender_is_received_from_and_goes_on() {
    let world = World::new();
    let endpoint = world.endpoint();
    let badged = world.mint(endpoint, ALL, 9);
    let sender = peer(&world);
    world.send(badged, 1, &[42]);
    assert!(!world.runs(sender), "it waits");
    world.recv(endpoint);
    let got = world.got();
    assert_eq!((got.badge, &got.words[..]), (9, &[42][..]));
    world.yield_now();
    world.assert_runs(sender);
}

#[test]
fn senders_are_served_in_order() {
    let world = World::new();
    let endpoint = world.endpoint();
    for badge in 1..=3 {
        let badged = world.mint(endpoint, ALL, badge);
        peer(&world);
        world.send(badged, 0, &[]);
    }
    for badge in 1..=3 {
        world.recv(endpoint);
        assert_eq!(world.got().badge, badge);
    }
}

#[test]
fn messages_of_every_length_arrive_whole() {
    let world = World::new();
    let endpoint = world.endpoint();
    lower(&world);
    let all: Vec<u64> = (0..MSG_MAX_LENGTH).map(|word| word * 3 + 1).collect();
    for length in 0..=MSG_MAX_LENGTH as usize {
        world.recv(endpoint);
        world.send(endpoint, length as u64, &all[..length]);
        let got = world.got();
        assert_eq!(got.info.length() as usize, length);
        assert_eq!(got.words, all[..length]);
    }
}

#[test]
fn long_messages_are_cut_where_the_receiver_has_no_buffer() {
    let world = World::new();
    let endpoint = world.endpoint();
    let receiver = world.thread(TOP);
    world
        .invoke(receiver.cap, Label::TcbSetIpcBuffer, &[0], &[ROOT])
        .unwrap();
    world.start(receiver);
    world.yield_now();
    world.assert_runs(receiver);
    world.recv(endpoint);
    world.send(endpoint, 0, &[1, 2, 3, 4, 5, 6]);
    world.yield_now();
    world.assert_runs(receiver);
    let got = world.got();
    assert_eq!(got.info.length(), 4);
    assert_eq!(got.words, [1, 2, 3, 4]);
}

#[test]
fn not_waiting_sends_and_receives_go_on_at_once() {
    let world = World::new();
    let endpoint = world.endpoint();
    let root = world.fake.current_address();
    world.nb_send(endpoint, 0, &[1]);
    assert_eq!(world.fake.current_address(), root);
    world.nb_recv(endpoint);
    assert_eq!(world.fake.current_address(), root);
    assert_eq!(world.got().badge, 0, "nothing was there");
    let badged = world.mint(endpoint, ALL, 4);
    let sender = peer(&world);
    world.send(badged, 0, &[]);
    assert!(!world.runs(sender));
    world.nb_recv(endpoint);
    assert_eq!(world.got().badge, 4);
}

#[test]
fn a_call_is_replied_to_once() {
    let world = World::new();
    let endpoint = world.endpoint();
    let client = lower(&world);
    world.recv(endpoint);
    world.call(endpoint, 7, &[1]);
    assert_eq!(world.got().info.label(), 7);
    assert_eq!(
        ThreadState::of(world.tcb(client)),
        ThreadState::BLOCKED_ON_REPLY
    );
    world.reply_message(8, &[10, 20]);
    assert_eq!(ThreadState::of(world.tcb(client)), ThreadState::RUNNING);
    // The second goes nowhere.
    world.reply_message(9, &[30]);
    world.recv(endpoint);
    world.assert_runs(client);
    let got = world.got();
    assert_eq!((got.badge, got.info.label()), (0, 8));
    assert_eq!(got.words, [10, 20]);
}

#[test]
fn reply_recv_replies_and_waits() {
    let world = World::new();
    let endpoint = world.endpoint();
    let client = lower(&world);
    world.recv(endpoint);
    for round in 0..3 {
        world.assert_runs(client);
        world.call(endpoint, round, &[round]);
        assert_eq!(world.got().words, [round]);
        world.reply_recv(endpoint, round + 10, &[round + 100]);
        world.assert_runs(client);
        assert_eq!(world.got().words, [round + 100]);
    }
}

#[test]
fn a_saved_reply_outlives_the_next_call() {
    let world = World::new();
    let endpoint = world.endpoint();
    let client = lower(&world);
    world.recv(endpoint);
    world.call(endpoint, 0, &[]);
    let saved = world.slot();
    let save = |slot| world.invoke(ROOT, Label::CNodeSaveCaller, &[slot, DEPTH], &[]);
    save(saved).unwrap();
    assert_eq!(save(saved), Err(Error::DeleteFirst));
    assert!(matches!(world.cap_in(saved), Cap::Reply { .. }));
    let other = world.slot();
    assert_eq!(
        world.copy_to(saved, other, ALL),
        Err(Error::IllegalOperation)
    );
    world.nb_recv(endpoint);
    world.send(saved, 3, &[33]);
    assert_eq!(world.cap_in(saved), Cap::Null, "used up");
    world.recv(endpoint);
    world.assert_runs(client);
    assert_eq!(world.got().words, [33]);
}

#[test]
fn receiving_again_gives_up_the_reply() {
    let world = World::new();
    let endpoint = world.endpoint();
    let client = lower(&world);
    world.recv(endpoint);
    world.call(endpoint, 0, &[]);
    world.nb_recv(endpoint);
    world.reply_message(0, &[]);
    assert_eq!(
        ThreadState::of(world.tcb(client)),
        ThreadState::BLOCKED_ON_REPLY,
        "nobody can answer any more"
    );
}

#[test]
fn a_restarted_caller_makes_its_call_again() {
    let world = World::new();
    let endpoint = world.endpoint();
    let client = lower(&world);
    world.recv(endpoint);
    let pc = common::next_pc(world.tcb(client));
    world.call(endpoint, 0, &[]);
    world
        .invoke(client.cap, Label::TcbResume, &[], &[])
        .unwrap();
    world.reply_message(1, &[1]);
    world.recv(endpoint);
    world.assert_runs(client);
    assert_eq!(common::next_pc(world.tcb(client)), pc);
    assert_eq!(ThreadState::of(world.tcb(client)), ThreadState::RUNNING);
}

#[test]
fn rights_decide_who_may_send_and_receive() {
    let world = World::new();
    let endpoint = world.endpoint();
    let handler = world.endpoint();
    let thread = world.thread_with_handler(TOP, handler);
    world.start(thread);
    let read = world.copy(endpoint, CapRights::READ);
    let write = world.copy(endpoint, CapRights::WRITE);
    world.yield_now();
    world.assert_runs(thread);
    // Without the right to send nothing happens, without that to receive it is a fault.
    world.nb_send(read, 0, &[]);
    world.assert_runs(thread);
    world.send(read, 0, &[]);
    world.assert_runs(thread);
    world.call(read, 0, &[]);
    world.assert_runs(thread);
    assert_eq!(world.got().error(), Some(Error::InvalidCapability));
    world.recv(write);
    assert!(!world.runs(thread));
    world.recv(handler);
    let got = world.got();
    assert_eq!(got.info.label(), 1);
    assert_eq!(got.words[1..3], [write, 1], "in the receive phase");
}

#[test]
fn a_call_without_grant_gets_no_reply() {
    let world = World::new();
    let endpoint = world.endpoint();
    let plain = world.copy(endpoint, CapRights::READ_WRITE);
    let client = lower(&world);
    world.recv(endpoint);
    world.call(plain, 0, &[]);
    assert_eq!(ThreadState::of(world.tcb(client)), ThreadState::INACTIVE);
    assert_eq!(
        world.fake.current().slots[3].cap(),
        [0, 0],
        "no reply capability"
    );
    let with_reply = world.copy(
        endpoint,
        CapRights::READ_WRITE.union(CapRights::GRANT_REPLY),
    );
    let client = lower(&world);
    world.recv(endpoint);
    world.call(with_reply, 0, &[]);
    world.reply_message(0, &[4]);
    world.recv(endpoint);
    world.assert_runs(client);
    assert_eq!(world.got().words, [4]);
}

#[test]
fn a_capability_is_granted_into_the_named_slot() {
    let world = World::new();
    let endpoint = world.endpoint();
    let gift = world.notification();
    let gift = world.mint(gift, ALL, 0x55);
    let place = world.slot();
    lower(&world);
    world.fake.set_receive_path(ROOT, place, DEPTH);
    world.recv(endpoint);
    world.send_caps(endpoint, 0, &[], &[gift]);
    let got = world.got();
    assert_eq!((got.info.extra_caps(), got.info.caps_unwrapped()), (1, 0));
    assert_eq!(world.cap_in(place), world.cap_in(gift));
    // The slot is full now: the message arrives, the capability does not.
    world.recv(endpoint);
    world.send_caps(endpoint, 0, &[8], &[gift]);
    let got = world.got();
    assert_eq!(got.info.extra_caps(), 0);
    assert_eq!(got.words, [8]);
}

#[test]
fn capabilities_to_the_endpoint_itself_arrive_as_badges() {
    let world = World::new();
    let endpoint = world.endpoint();
    let (one, two) = (world.mint(endpoint, ALL, 11), world.mint(endpoint, ALL, 12));
    let gift = world.notification();
    let place = world.slot();
    lower(&world);
    world.fake.set_receive_path(ROOT, place, DEPTH);
    world.recv(endpoint);
    world.send_caps(endpoint, 0, &[], &[one, gift, two]);
    let got = world.got();
    assert_eq!(got.info.extra_caps(), 3);
    assert_eq!(got.info.caps_unwrapped(), 0b101);
    use baton_sel4_abi::message::ipc_buffer::CAPS_OR_BADGES;
    assert_eq!(world.fake.buffer_word(CAPS_OR_BADGES), 11);
    assert_eq!(world.fake.buffer_word(CAPS_OR_BADGES + 2), 12);
    assert!(matches!(world.cap_in(place), Cap::Notification { .. }));
}

#[test]
fn without_grant_no_capability_goes_along() {
    let world = World::new();
    let endpoint = world.endpoint();
    let no_grant = world.copy(endpoint, ALL.without(CapRights::GRANT));
    let gift = world.notification();
    let place = world.slot();
    lower(&world);
    world.fake.set_receive_path(ROOT, place, DEPTH);
    world.recv(endpoint);
    world.send_caps(no_grant, 0, &[1], &[gift]);
    let got = world.got();
    assert_eq!(got.info.extra_caps(), 0);
    assert_eq!(got.words, [1]);
    assert_eq!(world.cap_in(place), Cap::Null);
}

#[test]
fn a_reply_grants_only_if_the_receiver_could() {
    let world = World::new();
    let endpoint = world.endpoint();
    let receive_only = world.copy(endpoint, ALL.without(CapRights::GRANT));
    let gift = world.notification();
    for (with, arrives) in [(endpoint, 1), (receive_only, 0)] {
        let place = world.slot();
        let client = lower(&world);
        world.recv(with);
        world.assert_runs(client);
        world.fake.set_receive_path(ROOT, place, DEPTH);
        world.call(endpoint, 0, &[]);
        let caps = &[gift];
        let message = baton_kernel_fake::Message {
            caps,
            ..Default::default()
        };
        world
            .fake
            .syscall(baton_sel4_abi::Syscall::Reply, 0, message);
        world.recv(endpoint);
        world.assert_runs(client);
        assert_eq!(world.got().info.extra_caps(), arrives);
        // Back to the root task, for which the client is out of the way from now on.
        world.send(endpoint, 0, &[]);
        world
            .invoke(client.cap, Label::TcbSuspend, &[], &[])
            .unwrap();
        assert_eq!(world.cap_in(place) != Cap::Null, arrives == 1);
    }
}

#[test]
fn cancelling_badged_sends_takes_those_and_no_others() {
    let world = World::new();
    let endpoint = world.endpoint();
    let mut senders = Vec::new();
    for badge in [1, 2, 1] {
        let badged = world.mint(endpoint, ALL, badge);
        senders.push((badge, badged, peer(&world)));
        world.send(badged, badge, &[]);
    }
    let cancelled = world.mint(endpoint, ALL, 1);
    world
        .invoke(
            ROOT,
            Label::CNodeCancelBadgedSends,
            &[cancelled, DEPTH],
            &[],
        )
        .unwrap();
    for &(badge, _, thread) in &senders {
        let state = ThreadState::of(world.tcb(thread));
        let waits = state == ThreadState::BLOCKED_ON_SEND;
        assert_eq!(waits, badge == 2);
    }
    world.recv(endpoint);
    assert_eq!(world.got().badge, 2);
}

#[test]
fn revoking_a_badge_cancels_its_senders() {
    let world = World::new();
    let endpoint = world.endpoint();
    let badged = world.mint(endpoint, ALL, 1);
    let sender = peer(&world);
    world.send(badged, 0, &[]);
    world.delete(badged);
    // The capability is gone but the message was sent before.
    world.nb_recv(endpoint);
    assert_eq!(world.got().badge, 1);
    assert_eq!(ThreadState::of(world.tcb(sender)), ThreadState::RUNNING);
}

#[test]
fn deleting_an_endpoint_lets_all_who_wait_try_again() {
    let world = World::new();
    let endpoint = world.endpoint();
    let handler = world.endpoint();
    let sender = world.thread_with_handler(TOP, handler);
    world.start(sender);
    world.yield_now();
    world.assert_runs(sender);
    world.send(endpoint, 0, &[]);
    world.delete(endpoint);
    assert_eq!(ThreadState::of(world.tcb(sender)), ThreadState::RESTART);
    world.yield_now();
    world.assert_runs(sender);
    // It makes its system call again; the capability is not there any more, so nothing is sent.
    let pc = common::next_pc(world.fake.current());
    world.fake.enter();
    world.assert_runs(sender);
    assert_eq!(common::next_pc(world.fake.current()), pc + 4);
    // Receiving from nothing, however, is a fault.
    world.recv(endpoint);
    world.recv(handler);
    let got = world.got();
    assert_eq!(got.info.label(), 1);
    let missing = LookupFailureKind::MissingCapability.number();
    assert_eq!(got.words[1..4], [endpoint, 1, missing]);
}

#[test]
fn invoking_something_else_than_there_is_is_an_error_not_a_fault() {
    let world = World::new();
    let free = world.slot();
    let got = world.invoke(free, Label::TcbResume, &[], &[]);
    // A call to an empty slot is answered.
    assert_eq!(got, Err(Error::InvalidCapability));
    let node = world.make(ObjectType::CapTable, 2);
    let inner = world.mint(node, ALL, guard(0, 62));
    assert_eq!(
        world.invoke(inner, Label::TcbResume, &[], &[]),
        Err(Error::IllegalOperation)
    );
    assert_eq!(
        world.invoke(TCB, Label::UntypedRetype, &[0; 6], &[]),
        Err(Error::IllegalOperation)
    );
}
