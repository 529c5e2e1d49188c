//! Kernel lanes: asynchronous system calls, what is refused, what a hostile thread can and cannot do with its lane.

mod common;

use baton_kernel_core::ThreadState;
use baton_kernel_core::cap::Cap;
use baton_kernel_core::mem::reg;
use baton_kernel_fake::Access;
use baton_sel4_abi::baton::asynchronous::{self, kind, method};
use baton_sel4_abi::baton::{lane_flag, region};
use baton_sel4_abi::{BatonCall, CapRights, Error, KernelLaneLabel, Label, ObjectType, slots};
use common::lane::{Answer, SHAPE, Shape};
use common::{DEPTH, ROOT, TOP, World};

const TCB: u64 = slots::INIT_THREAD_TCB;
const VSPACE: u64 = slots::INIT_THREAD_VSPACE;

/// More slots than are drained in passing.
const MANY: Shape = Shape {
    slot_bits: 5,
    request_bulk: 0,
    answer_bulk: 0,
    ..SHAPE
};

/// Answers of [`BatonCall::Doorbell`].
const ALL: u64 = 0;
const NOT_BOUND: u64 = 1;
const QUARANTINED: u64 = 2;

fn ok(token: u64, word: u64) -> Answer {
    Answer {
        token,
        error: None,
        words: [word, 0, 0, 0, 0],
    }
}

// -- The object ----------------------------------------------------------------------------------------------------

#[test]
fn lanes_have_sizes_and_one_capability() {
    let world = World::new();
    for bits in [0, 13, 22, 38] {
        let slot = world.slot();
        let made = world.retype(world.memory, ObjectType::KernelLane, bits, slot, 1);
        assert_eq!(made, Err(Error::InvalidArgument), "{bits}");
    }
    let lane = world.make(ObjectType::KernelLane, 14);
    let copy = world.slot();
    let copied = world.copy_to(lane, copy, CapRights::ALL);
    assert_eq!(copied, Err(Error::IllegalOperation));
    world.move_to(lane, copy).expect("moving");
    world.delete(copy);
    let device = world.boot_untyped(|bits, device| device && bits >= 14).0;
    assert_eq!(
        world.retype(device, ObjectType::KernelLane, 14, copy, 1),
        Err(Error::InvalidArgument)
    );
}

#[test]
fn pages_are_given_once_and_those_of_the_kernel_read_only() {
    let world = World::new();
    let lane = world.make(ObjectType::KernelLane, 14);
    let frame = |page, slot| {
        world.lane_invoke(
            lane,
            KernelLaneLabel::GetFrame,
            &[page, slot, DEPTH],
            &[ROOT],
        )
    };
    let first = world.slots(4);
    assert_eq!(frame(0, first), Err(Error::RangeError), "the kernel's own");
    assert_eq!(frame(4, first), Err(Error::RangeError));
    assert_eq!(frame(u64::MAX, first), Err(Error::RangeError));
    assert_eq!(frame(1, lane), Err(Error::DeleteFirst), "a full slot");
    for (page, rights) in [
        (1, CapRights::READ_WRITE),
        (2, CapRights::READ),
        (3, CapRights::READ),
    ] {
        frame(page, first + page).expect("a frame");
        assert!(matches!(
            world.cap_in(first + page),
            Cap::Frame { rights: found, device: false, .. } if found == rights
        ));
    }
    assert_eq!(frame(1, first), Err(Error::DeleteFirst), "given before");
    // They are the lane's children.
    world.revoke(lane);
    assert!((1..4).all(|page| !world.is_full(first + page)));
    assert!(world.is_full(lane));
    assert_eq!(
        frame(1, first),
        Err(Error::DeleteFirst),
        "and gone for good"
    );
}

#[test]
fn memory_of_a_lane_is_used_again_only_without_its_frames() {
    let world = World::new();
    let untyped = world.untyped(14);
    let lane = world.slots(3);
    let make = || world.retype(untyped, ObjectType::KernelLane, 14, lane, 1);
    make().unwrap();
    let frame = [1, lane + 1, DEPTH];
    world
        .lane_invoke(lane, KernelLaneLabel::GetFrame, &frame, &[ROOT])
        .unwrap();
    world.copy_to(lane + 1, lane + 2, CapRights::ALL).unwrap();
    world.delete(lane);
    assert_eq!(make(), Err(Error::NotEnoughMemory));
    world.delete(lane + 1);
    assert_eq!(make(), Err(Error::NotEnoughMemory), "a copy lives");
    world.delete(lane + 2);
    make().expect("all memory is free");
}

#[test]
fn binding_checks_its_arguments() {
    let world = World::new();
    let lane = world.unbound_lane(world.memory, SHAPE);
    let bind = |words: &[u64], caps: &[u64]| {
        world.lane_invoke(lane.cap, KernelLaneLabel::Bind, words, caps)
    };
    for (words, caps, error) in [
        (&[3, 0, 0][..], &[TCB][..], Error::TruncatedMessage),
        (&[3, 0, 0, 0], &[], Error::TruncatedMessage),
        (&[3, 0, 0, 0], &[ROOT], Error::InvalidCapability),
        (&[15, 0, 0, 0], &[TCB], Error::RangeError),
        (&[3, 0, 0, 1 << 32], &[TCB], Error::RangeError),
        (&[3, u64::MAX, 0, 0], &[TCB], Error::RangeError),
        (&[3, 0, u64::MAX - 63, 0], &[TCB], Error::RangeError),
        (&[3, 1, 0, 0], &[TCB], Error::AlignmentError),
        (&[3, 0, 32, 0], &[TCB], Error::AlignmentError),
        (&[7, 0, 0, 0], &[TCB], Error::NotEnoughMemory),
        (&[3, 2048, 0, 0], &[TCB], Error::NotEnoughMemory),
        (&[3, 0, 4096, 0], &[TCB], Error::NotEnoughMemory),
        (&[14, 0xffff_ffc0, 0, 0], &[TCB], Error::NotEnoughMemory),
    ] {
        assert_eq!(bind(words, caps), Err(error), "{words:?} {caps:?}");
    }
    let unbind = || world.lane_invoke(lane.cap, KernelLaneLabel::Unbind, &[], &[]);
    assert_eq!(unbind(), Err(Error::IllegalOperation));
    lane.bind(TCB).expect("binding");
    assert_eq!(lane.bind(TCB), Err(Error::IllegalOperation));
    let other = world.unbound_lane(world.memory, SHAPE);
    assert_eq!(other.bind(TCB), Err(Error::IllegalOperation));
    unbind().expect("unbinding");
    other.bind(TCB).expect("binding the other");
    assert_eq!(
        world.invoke_raw(lane.cap, 1023, &[], &[]),
        Err(Error::IllegalOperation)
    );
}

#[test]
fn the_kernels_region_says_what_inboxes_expect() {
    let world = World::new();
    let shape = Shape {
        start: u32::MAX,
        ..SHAPE
    };
    let lane = world.lane(TCB, shape);
    let start = u64::from(u32::MAX);
    assert_eq!(lane.load(0), region::MAGIC_VALUE);
    assert_eq!(lane.load(1), 3 << 8);
    assert_eq!(lane.load(2), 1024 << 32);
    assert_eq!(lane.load(region::HEAD_REQUESTS as u64), start);
    assert_eq!(lane.load(region::TAIL_ANSWERS as u64), start);
    assert_eq!(lane.load(region::STATE as u64), 1, "asleep");
    assert!(world.fake.store(lane.in_word(0), 0).is_err(), "read only");
}

// -- Invocations ---------------------------------------------------------------------------------------------------

#[test]
fn an_invocation_out_of_a_lane_does_what_the_call_does() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let thread = world.thread(1);
    assert_eq!(
        lane.call(thread.cap, Label::TcbSetTlsBase, &[0x1234], &[]),
        ok(0, 0)
    );
    assert_eq!(world.tcb(thread).context.get::<{ reg::TP }>(), 0x1234);
    // A result word.
    let frame = world.make(ObjectType::Page, 0);
    let Cap::Frame { address, .. } = world.cap_in(frame) else {
        panic!("a frame");
    };
    let answer = lane.call(frame, Label::PageGetAddress, &[], &[]);
    assert_eq!(answer.words[0], address.value());
    // A capability argument; the translation is in force at once.
    let vaddr = 0x1000_8000;
    let rights = CapRights::READ_WRITE.word();
    let answer = lane.call(frame, Label::PageMap, &[vaddr, rights, 0], &[VSPACE]);
    assert_eq!(answer.error, None);
    world.fake.store(vaddr, 7).expect("mapped");
    assert_eq!(lane.call(frame, Label::PageUnmap, &[], &[]).error, None);
    assert!(world.fake.load(vaddr).is_err());
}

#[test]
fn five_arguments_fit_into_a_slot() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let thread = world.thread(1);
    let answer = lane.call(
        thread.cap,
        Label::TcbWriteRegisters,
        &[0, 3, 0x100, 0x200, 0x300],
        &[],
    );
    assert_eq!(answer.error, None);
    assert_eq!(world.registers(thread)[..3], [0x100, 0x200, 0x300]);
}

#[test]
fn long_messages_and_answers_go_through_the_bulk_buffers() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let thread = world.thread(1);
    let registers: Vec<u64> = (0..32).map(|number| 0x1000 + number).collect();
    let mut words = vec![0, 32];
    words.extend(&registers);
    lane.request(thread.cap, Label::TcbWriteRegisters.number(), &words, &[]);
    let token = lane.request_long(thread.cap, Label::TcbReadRegisters.number(), &[0, 32], &[]);
    assert_eq!(lane.doorbell(), ALL);
    let [written, read] = lane.answers()[..] else {
        panic!("two answers");
    };
    assert_eq!((written.error, written.words), (None, [0; 5]));
    assert_eq!((read.token, read.error), (token, None));
    assert_eq!(read.words[..4], registers[..4]);
    assert_eq!(read.words[4], 32 * 8);
    assert_eq!(lane.long_words(read), registers);
    // Without the long form, the first five.
    let read = lane.call(thread.cap, Label::TcbReadRegisters, &[0, 32], &[]);
    assert_eq!(read.words[..], registers[..5]);
    // The error's words are there as well.
    lane.request_long(thread.cap, Label::TcbReadRegisters.number(), &[0, 33], &[]);
    assert_eq!(lane.doorbell(), ALL);
    let answer = lane.answer().unwrap();
    assert_eq!(answer.error, Some(Error::RangeError));
    assert_eq!(lane.long_words(answer), [1, 32]);
}

#[test]
fn more_than_two_arguments_and_capabilities_retype() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let slot = world.slot();
    let words = [ObjectType::Endpoint.number(), 0, 0, 0, slot, 1];
    let answer = lane.call(world.memory, Label::UntypedRetype, &words, &[ROOT]);
    assert_eq!(answer.error, None);
    assert!(matches!(world.cap_in(slot), Cap::Endpoint { .. }));
    let badged = world.slot();
    let words = [badged, DEPTH, slot, DEPTH, CapRights::ALL.word(), 77];
    let answer = lane.call(ROOT, Label::CNodeMint, &words, &[ROOT]);
    assert_eq!(answer.error, None);
    assert!(matches!(
        world.cap_in(badged),
        Cap::Endpoint { badge: 77, .. }
    ));
}

#[test]
fn errors_are_those_of_the_call_with_their_words() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let thread = world.thread(1);
    let full = world.endpoint();
    for (cap, label, words, caps) in [
        (thread.cap, Label::TcbSetTlsBase, &[][..], &[][..]),
        (thread.cap, Label::TcbSetPriority, &[256], &[thread.cap]),
        (thread.cap, Label::TcbSetPriority, &[1], &[full]),
        (thread.cap, Label::PageMap, &[], &[]),
        (ROOT, Label::CNodeDelete, &[full], &[]),
        (ROOT, Label::CNodeDelete, &[full, 65], &[]),
        (ROOT, Label::CNodeDelete, &[full, 3], &[]),
        (ROOT, Label::CNodeMove, &[full, DEPTH, full, DEPTH], &[ROOT]),
        (VSPACE, Label::PageTableUnmap, &[], &[]),
        (
            world.memory,
            Label::UntypedRetype,
            &[0, 3, 0, 0, 0, 0],
            &[ROOT],
        ),
    ] {
        let message = baton_kernel_fake::Message {
            label: label.number(),
            words,
            caps,
        };
        world
            .fake
            .syscall(baton_sel4_abi::Syscall::Call, cap, message);
        let reply = world.got();
        let answer = lane.call(cap, label, words, caps);
        assert!(answer.error.is_some());
        assert_eq!(answer.error, reply.error(), "{label:?} {words:?}");
        let count = reply.words.len();
        assert_eq!(answer.words[..count], reply.words, "{label:?} {words:?}");
    }
    // Where the call faults, the message is refused.
    for (cap, caps) in [(0x9999, &[][..]), (thread.cap, &[0x9999])] {
        let answer = lane.call(cap, Label::TcbSetPriority, &[1], caps);
        assert_eq!(answer.error, Some(Error::FailedLookup));
    }
}

#[test]
fn messages_that_are_none_are_refused() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let cap = world.thread(1).cap;
    let label = Label::TcbSetTlsBase.number();
    let short = |count| method(label, count, false);
    let long = method(label, 0, true);
    let reserved = short(0) | asynchronous::RESERVED as u16;
    for (method, token, payload, error) in [
        (short(0), 0, &[][..], Error::TruncatedMessage),
        (short(3), 0, &[cap, ROOT, ROOT], Error::TruncatedMessage),
        (reserved, 0, &[cap, 1], Error::IllegalOperation),
        (reserved, 0, &[], Error::IllegalOperation),
        (long, 0, &[cap, 0, 0, 0], Error::TruncatedMessage),
        (long, 8, &[cap, 0, 0, 0, 8], Error::RangeError),
        (long, 0xffff, &[cap, 0, 0, 0, 8], Error::RangeError),
        (long, 0, &[cap, 0, 0, 0, 520], Error::RangeError),
        (long, 0, &[cap, 0, 0, 0, u64::MAX], Error::RangeError),
        (long, 0, &[cap, 0, 0, 0, 12], Error::AlignmentError),
        (
            asynchronous::method(0xfff, 0, false),
            0,
            &[cap],
            Error::IllegalOperation,
        ),
    ] {
        lane.push(kind::REQUEST, method, token, payload);
        assert_eq!(lane.doorbell(), ALL);
        let answer = lane.answer().expect("an answer");
        assert_eq!(answer.error, Some(error), "{method:#x} {payload:?}");
    }
    // More words than a slot has.
    let at = lane.slot_word(lane.tail.get());
    lane.push(kind::REQUEST, short(0), 0, &[cap, 1]);
    lane.store(
        at,
        (255 | kind::REQUEST << 8 | u64::from(short(0)) << 16) << 32,
    );
    assert_eq!(lane.doorbell(), ALL);
    let answer = lane.answer().expect("an answer");
    assert_eq!(answer.error, Some(Error::RangeError));
    assert_eq!(answer.words[..2], [1, 6]);
    // Cancelling, answers to the kernel, and what is no kind at all: passed over.
    for kind in [kind::CANCEL, kind::ANSWER, 0, 255] {
        lane.push(kind, short(0), 0, &[cap, 0x77]);
    }
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers(), []);
    let head = lane.load(region::HEAD_REQUESTS as u64);
    assert_eq!(head, u64::from(lane.tail.get()));
}

#[test]
fn what_makes_no_sense_out_of_a_lane_is_refused_and_changes_nothing() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let thread = world.thread(1);
    let endpoint = world.endpoint();
    let receiver = world.started(TOP);
    world.yield_now();
    world.assert_runs(receiver);
    world.recv(endpoint);
    let slot = world.slot();
    for (cap, label, words, caps) in [
        // What waits, and what is a message of the caller's registers.
        (endpoint, Label::UntypedRetype.number(), &[][..], &[][..]),
        // The caller itself.
        (TCB, Label::TcbSuspend.number(), &[], &[]),
        (TCB, Label::TcbSetTlsBase.number(), &[1], &[]),
        (TCB, Label::TcbSetPriority.number(), &[1], &[TCB]),
        (thread.cap, Label::TcbCopyRegisters.number(), &[1], &[TCB]),
        (ROOT, Label::CNodeSaveCaller.number(), &[slot, DEPTH], &[]),
        (slots::DOMAIN, Label::DomainSet.number(), &[0], &[TCB]),
        // Lanes.
        (lane.cap, KernelLaneLabel::Unbind.number(), &[], &[]),
        (
            lane.cap,
            KernelLaneLabel::GetFrame.number(),
            &[1, slot, DEPTH],
            &[ROOT],
        ),
    ] {
        lane.request(cap, label, words, caps);
        assert_eq!(lane.doorbell(), ALL);
        let answer = lane.answer().expect("an answer");
        assert_eq!(answer.error, Some(Error::IllegalOperation), "{cap} {label}");
    }
    assert_eq!(
        ThreadState::of(world.tcb(receiver)),
        ThreadState::BLOCKED_ON_RECEIVE
    );
    // Another thread can be changed as ever.
    let answer = lane.call(thread.cap, Label::TcbSetPriority, &[3], &[TCB]);
    assert_eq!(answer.error, None);
}

#[test]
fn signals_go_out_of_a_lane_with_and_without_an_answer() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    let badged = world.mint(notification, CapRights::ALL, 5);
    let read = world.mint(notification, CapRights::READ, 1);
    lane.push(kind::ONE_WAY, 0, 0, &[badged]);
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers(), []);
    world.nb_recv(notification);
    assert_eq!(world.got().badge, 5);
    lane.push(kind::REQUEST, 0, 9, &[badged]);
    lane.push(kind::REQUEST, 0, 10, &[read]);
    lane.push(kind::ONE_WAY, 0, 0, &[0x9999]);
    assert_eq!(lane.doorbell(), ALL);
    let [done, refused] = lane.answers()[..] else {
        panic!("two answers");
    };
    assert_eq!(done, ok(9, 0));
    assert_eq!(refused.error, Some(Error::InvalidCapability));
    world.nb_recv(notification);
    assert_eq!(world.got().badge, 5);
}

// -- The lane itself -----------------------------------------------------------------------------------------------

#[test]
fn a_batch_is_performed_in_order_and_published_at_once() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let thread = world.thread(1);
    let mut tokens = Vec::new();
    for round in 0..5 {
        for value in 0..8 {
            let base = [round * 8 + value];
            tokens.push(lane.request(thread.cap, Label::TcbSetTlsBase.number(), &base, &[]));
        }
        let state = lane.load(region::STATE as u64);
        assert_eq!(state & 1, 1);
        assert_eq!(lane.doorbell(), ALL);
        assert_ne!(lane.load(region::STATE as u64), state, "another epoch");
        assert_eq!(lane.load(region::STATE as u64) & 1, 1);
        let expected: Vec<_> = tokens.drain(..).map(|token| ok(token, 0)).collect();
        assert_eq!(lane.answers(), expected);
        let base = world.tcb(thread).context.get::<{ reg::TP }>();
        assert_eq!(base, round * 8 + 7);
    }
}

#[test]
fn what_is_not_published_is_not_performed() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    lane.write(kind::REQUEST, 0, 0, &[notification]);
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers(), []);
    lane.publish();
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers().len(), 1);
}

#[test]
fn positions_wrap() {
    let world = World::new();
    for start in [u32::MAX - 3, u32::MAX, u32::MAX - 8] {
        let shape = Shape { start, ..SHAPE };
        let lane = world.lane(TCB, shape);
        let thread = world.thread(1);
        for round in 0..6 {
            for value in 0..7 {
                let words = [round * 7 + value];
                lane.request(thread.cap, Label::TcbSetTlsBase.number(), &words, &[]);
            }
            assert_eq!(lane.doorbell(), ALL);
            assert_eq!(lane.answers().len(), 7);
        }
        world.delete(lane.cap);
    }
}

#[test]
fn a_tail_that_is_not_possible_quarantines_the_lane_alone() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let thread = world.thread(1);
    assert_eq!(
        lane.call(thread.cap, Label::TcbSetTlsBase, &[1], &[]).error,
        None
    );
    for tail in [10, 0, u64::MAX, 1 << 31] {
        lane.store(region::TAIL_REQUESTS as u64, tail);
        assert_eq!(lane.doorbell(), QUARANTINED, "{tail}");
        assert_eq!(lane.load(region::FLAGS as u64), lane_flag::QUARANTINED);
        // Not believed any more, whatever it says.
        lane.publish();
        assert_eq!(lane.doorbell(), QUARANTINED);
        let notification = world.notification();
        let parked = world.baton_call(BatonCall::Park, notification, 0);
        assert_eq!(parked, Some((0, 2)));
        // System calls go on, and it can be bound anew.
        world
            .lane_invoke(lane.cap, KernelLaneLabel::Unbind, &[], &[])
            .expect("unbinding");
        lane.bind(TCB).expect("binding");
        assert_eq!(lane.load(region::FLAGS as u64), 0);
        assert_eq!(
            lane.call(thread.cap, Label::TcbSetTlsBase, &[1], &[]).error,
            None
        );
    }
}

#[test]
fn bits_above_the_position_in_the_tail_mean_nothing() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    lane.write(kind::REQUEST, 0, 3, &[notification]);
    lane.store(region::TAIL_REQUESTS as u64, 0xffff_ffff_0000_0001);
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers(), [ok(3, 0)]);
}

#[test]
fn a_thread_without_a_lane_is_told_so() {
    let world = World::new();
    assert_eq!(
        world
            .baton_call(BatonCall::Doorbell, 7, 0)
            .map(|(a0, _)| a0),
        Some(NOT_BOUND)
    );
    let lane = world.lane(TCB, SHAPE);
    assert_eq!(lane.doorbell(), ALL);
    world.delete(lane.cap);
    assert_eq!(lane.doorbell(), NOT_BOUND);
}

#[test]
fn a_lane_is_only_drained_for_its_thread() {
    let world = World::new();
    let other = world.thread(TOP - 1);
    let lane = world.lane(other.cap, SHAPE);
    let notification = world.notification();
    lane.push(kind::REQUEST, 0, 0, &[notification]);
    let drained = || lane.load(region::HEAD_REQUESTS as u64);
    assert_eq!(lane.doorbell(), NOT_BOUND);
    world.fake.ticks(20);
    world.start(other);
    world.fake.ticks(20);
    assert_eq!(drained(), 0, "it does not run");
    // Lets the other run, and so its lane be drained.
    let wait = world.notification();
    world.recv(wait);
    world.assert_runs(other);
    assert_eq!(drained(), 0, "it has not entered the kernel yet");
    world.fake.tick();
    assert_eq!(drained(), 1, "in passing");
}

#[test]
fn a_few_messages_are_performed_in_passing() {
    let world = World::new();
    let lane = world.lane(TCB, MANY);
    let (notification, empty) = (world.notification(), world.notification());
    for token in 0..32 {
        lane.push(kind::REQUEST, 0, token, &[notification]);
    }
    world.nb_recv(empty);
    assert_eq!(lane.answers().len(), 16);
    world.fake.tick();
    assert_eq!(lane.answers().len(), 16);
    // After the call, not before it: the call that has preceded them does not see them.
    world.nb_recv(notification);
    lane.push(
        kind::ONE_WAY,
        0,
        0,
        &[world.mint(notification, CapRights::ALL, 4)],
    );
    world.nb_recv(notification);
    assert_eq!(world.got().badge, 0);
    world.nb_recv(notification);
    assert_eq!(world.got().badge, 4);
}

#[test]
fn a_deleted_thread_or_lane_lets_the_other_go() {
    let world = World::new();
    let thread = world.thread(1);
    let lane = world.lane(thread.cap, SHAPE);
    world.delete(thread.cap);
    lane.bind(TCB).expect("free again");
    world.delete(lane.cap);
    world.lane(TCB, SHAPE);
}

// -- Deleting what is in use ---------------------------------------------------------------------------------------

#[test]
fn revoking_the_frames_of_a_bound_lane_takes_them_from_the_user_alone() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    let badged = world.mint(notification, CapRights::ALL, 6);
    lane.push(kind::REQUEST, 0, 0, &[badged]);
    world.revoke(lane.cap);
    // Performed in passing, or now: answered to nobody.
    assert_eq!(lane.doorbell(), ALL);
    world.nb_recv(notification);
    assert_eq!(world.got().badge, 6);
    let lost = world.fake.translate(Access::Store, lane.out_word(0));
    let fault = lost.expect_err("unmapped");
    world.fake.fault(fault);
}

#[test]
fn a_message_may_delete_its_own_lane() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    lane.request(ROOT, Label::CNodeDelete.number(), &[lane.cap, DEPTH], &[]);
    lane.push(kind::ONE_WAY, 0, 0, &[notification]);
    assert_eq!(lane.doorbell(), NOT_BOUND);
    assert!(!world.is_full(lane.cap));
    world.nb_recv(notification);
    assert_eq!(world.got().badge, 0, "what came behind is not performed");
    assert_eq!(lane.answers(), [], "nor answered");
}

#[test]
fn a_message_may_revoke_the_memory_of_its_lane() {
    let world = World::new();
    let untyped = world.untyped(16);
    let lane = world.unbound_lane(untyped, SHAPE);
    lane.bind(TCB).unwrap();
    lane.request(ROOT, Label::CNodeRevoke.number(), &[untyped, DEPTH], &[]);
    assert_eq!(lane.doorbell(), NOT_BOUND);
    assert!(world.fake.load(lane.in_word(0)).is_err());
    // The memory is free, and cleared before anything is made of it.
    let slot = world.slot();
    world
        .retype(untyped, ObjectType::CapTable, 11, slot, 1)
        .expect("all of the memory");
}

#[test]
fn a_message_may_delete_its_own_thread() {
    let world = World::new();
    let thread = world.thread(TOP);
    let lane = world.lane(thread.cap, SHAPE);
    lane.request(ROOT, Label::CNodeDelete.number(), &[thread.cap, DEPTH], &[]);
    world.start(thread);
    world.yield_now();
    world.assert_runs(thread);
    assert_eq!(world.baton_call(BatonCall::Doorbell, 0, 0), None);
    assert!(!world.is_full(thread.cap));
    // The same in passing.
    let thread = world.thread(TOP);
    lane.bind(thread.cap).expect("free again");
    lane.request(ROOT, Label::CNodeDelete.number(), &[thread.cap, DEPTH], &[]);
    world.start(thread);
    world.yield_now();
    world.assert_runs(thread);
    world.fake.tick();
    assert!(!world.runs(thread));
    assert!(!world.is_full(thread.cap));
}

#[test]
fn a_preempted_message_goes_on_from_the_kernels_copy() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    for long in [false, true] {
        let root = world.endpoint();
        let copies = world.slots(250);
        for copy in copies..copies + 250 {
            let badge = copy;
            world.mint_to(root, copy, CapRights::ALL, badge).unwrap();
        }
        let victim = world.endpoint();
        let words = [root, DEPTH];
        let label = Label::CNodeRevoke.number();
        let (position, token) = (
            lane.tail.get(),
            if long {
                lane.request_long(ROOT, label, &words, &[])
            } else {
                lane.request(ROOT, label, &words, &[])
            },
        );
        world.fake.hardware.raise_timer_after_looks(1);
        let rings = world.baton_call(BatonCall::Doorbell, 0, 0);
        assert!(rings.is_some(), "the caller makes the call again");
        // Not by a system call, which would go on with it in passing.
        let left = |slot| world.cap_in(slot) != Cap::Null;
        assert!(left(copies) || left(copies + 249));
        // The slot now says something else.
        let at = lane.slot_word(position);
        lane.store(at + 3, victim);
        lane.store(lane.request_bulk(token & 0xffff), victim);
        lane.store(at, u64::MAX);
        assert_eq!(lane.doorbell(), ALL);
        assert_eq!(lane.answers(), [ok(token, 0)]);
        assert!(!(copies..copies + 250).any(|copy| world.is_full(copy)));
        assert!(world.is_full(victim) && world.is_full(root));
    }
}

// -- Whose time ----------------------------------------------------------------------------------------------------

#[test]
fn a_higher_priority_waits_for_one_message_at_most() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    let waiting = world.thread(TOP);
    world.set_priority(TCB, TOP - 1).unwrap();
    world.start(waiting);
    world.assert_runs(waiting);
    world.recv(notification);
    let other = world.thread(1);
    for base in 0..3 {
        lane.request(other.cap, Label::TcbSetTlsBase.number(), &[base], &[]);
    }
    lane.push(kind::REQUEST, 0, 3, &[notification]);
    for base in 4..7 {
        lane.request(other.cap, Label::TcbSetTlsBase.number(), &[base], &[]);
    }
    assert_eq!(world.baton_call(BatonCall::Doorbell, 0, 0), None);
    world.assert_runs(waiting);
    assert_eq!(lane.load(region::HEAD_REQUESTS as u64), 4);
    // The call is made again, and does the rest.
    world.recv(notification);
    assert!(!world.runs(waiting));
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers().len(), 7);
}

#[test]
fn an_interrupt_waits_for_one_message_at_most() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let thread = world.thread(1);
    for base in 0..8 {
        lane.request(thread.cap, Label::TcbSetTlsBase.number(), &[base], &[]);
    }
    world.fake.hardware.raise_timer_after_looks(3);
    world.baton_call(BatonCall::Doorbell, 0, 0);
    assert_eq!(lane.load(region::HEAD_REQUESTS as u64), 3);
    assert!(!world.fake.hardware.is_interrupted(), "and was handled");
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers().len(), 8);
}

#[test]
fn draining_uses_up_the_time_slice() {
    let world = World::new();
    let lane = world.lane(TCB, MANY);
    let notification = world.notification();
    let other = world.started(TOP);
    world.yield_now();
    world.yield_now();
    assert!(!world.runs(other));
    for token in 0..32 {
        lane.push(kind::REQUEST, 0, token, &[notification]);
    }
    // Every tick comes while the kernel drains.
    let mut ticks = 0;
    while !world.runs(other) {
        world.fake.hardware.raise_timer_after_looks(1);
        world.baton_call(BatonCall::Doorbell, 0, 0);
        ticks += 1;
        assert!(ticks < 10, "the other thread never runs");
    }
    let yields = lane.load(region::FLAGS as u64) & lane_flag::YIELD;
    assert_eq!(yields, lane_flag::YIELD, "somebody else is ready");
}

#[test]
fn a_low_priority_with_a_full_lane_runs_when_nobody_else_does() {
    let world = World::new();
    let low = world.started(TOP - 1);
    let lane = world.lane(low.cap, SHAPE);
    let notification = world.notification();
    for token in 0..8 {
        lane.push(kind::REQUEST, 0, token, &[notification]);
    }
    for _ in 0..20 {
        world.fake.tick();
        world.yield_now();
    }
    assert_eq!(lane.answers(), [], "none of the time of a higher priority");
}

// -- Parking -------------------------------------------------------------------------------------------------------

#[test]
fn parking_waits_as_receiving_does() {
    let world = World::new();
    let notification = world.notification();
    let badged = world.mint(notification, CapRights::ALL, 3);
    // A signal that has come already is not lost.
    world.signal(badged);
    let parked = world.baton_call(BatonCall::Park, notification, 0);
    assert_eq!(parked, Some((3, 0)));
    let other = world.started(TOP - 1);
    assert_eq!(world.baton_call(BatonCall::Park, notification, 0), None);
    world.assert_runs(other);
    world.signal(badged);
    assert!(!world.runs(other));
    assert_eq!(world.got().badge, 3);
    // Messages at an endpoint as well.
    let endpoint = world.endpoint();
    assert_eq!(world.baton_call(BatonCall::Park, endpoint, 0), None);
    world.send(endpoint, 9, &[1, 2]);
    assert_eq!(world.got().info.label(), 9);
    assert_eq!(world.got().words, [1, 2]);
}

#[test]
fn parking_without_a_capability_is_a_fault() {
    let world = World::new();
    let handler = world.endpoint();
    let thread = world.thread_with_handler(TOP, handler);
    world.start(thread);
    world.yield_now();
    world.assert_runs(thread);
    assert_eq!(world.baton_call(BatonCall::Park, 0x9999, 0), None);
    world.recv(handler);
    assert_eq!(world.got().info.label(), 1, "a capability fault");
    assert_eq!(world.got().words[1..3], [0x9999, 1], "while receiving");
    world.reply_message(0, &[]);
}

#[test]
fn what_cannot_be_signalled_is_passed_over_when_parking() {
    let world = World::new();
    let mine = world.notification();
    let unwritable = world.copy(mine, CapRights::READ);
    for other in [0x9998, unwritable, world.endpoint()] {
        // Somebody has signalled, so that it need not wait.
        world.signal(mine);
        let parked = world.baton_call(BatonCall::SignalPark, mine, other);
        assert_eq!(parked.map(|(_, how)| how), Some(0), "it has received");
    }
    let thread = world.started(TOP);
    assert_eq!(world.baton_call(BatonCall::SignalPark, mine, 0x9998), None);
    world.assert_runs(thread);
    world.signal(mine);
    world.yield_now();
    assert!(!world.runs(thread), "it waited as it should");
}

#[test]
fn who_is_woken_when_parking_takes_turns_with_others() {
    let world = World::new();
    let (mine, theirs) = (world.notification(), world.notification());
    let server = world.started(TOP);
    world.yield_now();
    world.assert_runs(server);
    world.recv(theirs);
    let bystander = world.started(TOP);
    assert_eq!(world.baton_call(BatonCall::SignalPark, mine, theirs), None);
    world.assert_runs(bystander);
    world.yield_now();
    world.assert_runs(server);
}

#[test]
fn parking_drains_and_switches_to_what_it_woke() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let (mine, theirs) = (world.notification(), world.notification());
    let server = world.started(TOP);
    world.yield_now();
    world.assert_runs(server);
    world.recv(theirs);
    let bystander = world.started(TOP);
    lane.push(kind::ONE_WAY, 0, 0, &[theirs]);
    assert_eq!(world.baton_call(BatonCall::Park, mine, 0), None);
    world.assert_runs(server);
    world.recv(theirs);
    world.assert_runs(bystander);
}

#[test]
fn parking_does_not_wait_while_there_are_answers() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    lane.push(kind::REQUEST, 0, 1, &[world.notification()]);
    let parked = world.baton_call(BatonCall::Park, notification, 0);
    assert_eq!(parked, Some((0, 1)));
    assert_eq!(lane.answers(), [ok(1, 0)]);
    // Those that came in passing, after the last look.
    lane.push(kind::REQUEST, 0, 2, &[world.notification()]);
    world.fake.tick();
    let parked = world.baton_call(BatonCall::Park, notification, 0);
    assert_eq!(parked, Some((0, 1)));
    let other = world.started(TOP - 1);
    assert_eq!(world.baton_call(BatonCall::Park, notification, 0), None);
    world.assert_runs(other);
}

#[test]
fn parking_does_not_wait_when_places_have_become_free() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let (mine, theirs) = (world.notification(), world.notification());
    lane.push(kind::ONE_WAY, 0, 0, &[theirs]);
    lane.store(region::WANT_SPACE as u64, 1);
    let parked = world.baton_call(BatonCall::Park, mine, 0);
    assert_eq!(parked, Some((0, 1)));
}

#[test]
fn signal_and_park_is_one_call() {
    let world = World::new();
    let (mine, theirs) = (world.notification(), world.notification());
    let badged = world.mint(theirs, CapRights::ALL, 12);
    let server = world.started(TOP);
    world.yield_now();
    world.assert_runs(server);
    world.recv(theirs);
    assert!(!world.runs(server));
    for _ in 0..3 {
        let call = BatonCall::SignalPark;
        assert_eq!(world.baton_call(call, mine, badged), None);
        world.assert_runs(server);
        assert_eq!(world.got().badge, 12);
        assert_eq!(world.baton_call(call, theirs, mine), None);
        assert!(!world.runs(server));
    }
    // With answers it does not wait, but signals.
    let lane = world.lane(TCB, SHAPE);
    lane.push(kind::REQUEST, 0, 1, &[mine]);
    let parked = world.baton_call(BatonCall::SignalPark, mine, badged);
    assert_eq!(parked, Some((0, 1)));
    world.yield_now();
    world.assert_runs(server);
}

#[test]
fn a_suspended_thread_goes_on_with_its_lane_later() {
    let world = World::new();
    let lane = world.lane(TCB, MANY);
    let notification = world.notification();
    let manager = world.started(TOP);
    for token in 0..32 {
        lane.push(kind::REQUEST, 0, token, &[notification]);
    }
    let drained = || lane.load(region::HEAD_REQUESTS as u64);
    while !world.runs(manager) {
        world.fake.hardware.raise_timer_after_looks(2);
        world.baton_call(BatonCall::Doorbell, 0, 0);
    }
    let before = drained();
    assert!(before < 32);
    world.invoke(TCB, Label::TcbSuspend, &[], &[]).unwrap();
    world.fake.ticks(10);
    assert_eq!(drained(), before);
    world.invoke(TCB, Label::TcbResume, &[], &[]).unwrap();
    while world.runs(manager) {
        world.yield_now();
    }
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers().len(), 32);
}
