//! What can go wrong between a hostile thread and its kernel lane, one by one: death before and after publishing and while a message is
//! preempted, floods, answers that nobody reads, tokens of others, counters at their ends. The table is in `docs/soundness.md`.

mod common;

use baton_kernel_core::ThreadState;
use baton_kernel_core::cap::Cap;
use baton_kernel_core::mem::{KernelLane, reg};
use baton_sel4_abi::baton::asynchronous::kind;
use baton_sel4_abi::baton::{kernel_lane_in_page, region};
use baton_sel4_abi::{BatonCall, CapRights, KernelLaneLabel, Label, ObjectType, slots};
use common::lane::{Lane, SHAPE, Shape};
use common::{DEPTH, ROOT, TOP, Thread, World};

const TCB: u64 = slots::INIT_THREAD_TCB;

/// Answers of [`BatonCall::Doorbell`].
const ALL: u64 = 0;
const NOT_BOUND: u64 = 1;
const QUARANTINED: u64 = 2;

/// More copies than are deleted between two looks for an interrupt.
const COPIES: u64 = 100;

fn drained(lane: &Lane<'_>) -> u64 {
    lane.load(region::HEAD_REQUESTS as u64)
}

/// The badges that have been signalled since the last look; 0 for none.
fn signalled(world: &World, notification: u64) -> u64 {
    world.nb_recv(notification);
    world.got().badge
}

/// A thread of the root task's priority that runs, and is not the root task.
fn running_thread(world: &World) -> Thread {
    let thread = world.started(TOP);
    world.yield_now();
    world.assert_runs(thread);
    thread
}

/// Gives up the core until the root task has it.
fn back_to_root(world: &World) {
    let root = world.thread_in(TCB);
    for _ in 0..10 {
        if world.runs(root) {
            return;
        }
        world.yield_now();
    }
    panic!("the root task does not run");
}

// -- Death ---------------------------------------------------------------------------------------------------------

#[test]
fn a_thread_that_dies_before_or_after_it_publishes_leaves_nothing_to_perform() {
    for published in [false, true] {
        let world = World::new();
        let notification = world.notification();
        let badged = world.mint(notification, CapRights::ALL, 2);
        let thread = world.thread(TOP);
        let lane = world.lane(thread.cap, SHAPE);
        for kind in [kind::ONE_WAY, kind::REQUEST] {
            lane.write(kind, 0, 7, &[badged]);
        }
        if published {
            lane.publish();
        }
        world.delete(thread.cap);
        world.fake.ticks(20);
        assert_eq!(signalled(&world, notification), 0, "nobody's time");
        // Whoever gets the lane next does not get the messages.
        lane.bind(TCB).expect("free again");
        assert_eq!(lane.doorbell(), ALL);
        assert_eq!(drained(&lane), 0);
        assert_eq!(lane.answers(), []);
        assert_eq!(signalled(&world, notification), 0);
    }
}

#[test]
fn a_thread_that_is_stopped_between_publishing_and_ringing_is_not_drained_until_it_runs() {
    let world = World::new();
    let notification = world.notification();
    let badged = world.mint(notification, CapRights::ALL, 2);
    let thread = running_thread(&world);
    back_to_root(&world);
    let lane = world.lane(thread.cap, SHAPE);
    lane.push(kind::REQUEST, 0, 7, &[badged]);
    world
        .invoke(thread.cap, Label::TcbSuspend, &[], &[])
        .expect("suspending");
    world.fake.ticks(20);
    assert_eq!(signalled(&world, notification), 0);
    world
        .invoke(thread.cap, Label::TcbResume, &[], &[])
        .expect("resuming");
    // Nobody has rung: it is found at the thread's next entry, the tick at the latest.
    for _ in 0..20 {
        world.fake.tick();
    }
    back_to_root(&world);
    assert_eq!(signalled(&world, notification), 2);
    assert_eq!(lane.answers().len(), 1);
}

#[test]
fn a_thread_that_dies_parked_is_missed_by_nobody() {
    let world = World::new();
    let (theirs, other) = (world.notification(), world.notification());
    let badged = world.mint(theirs, CapRights::ALL, 4);
    let thread = running_thread(&world);
    assert_eq!(world.baton_call(BatonCall::Park, theirs, 0), None);
    let lane = world.lane(thread.cap, SHAPE);
    lane.write(kind::REQUEST, 0, 1, &[other]);
    world.delete(thread.cap);
    // Who signals it out of a lane is answered as ever, and the signal stays where it is.
    lane.bind(TCB).expect("free again");
    lane.push(kind::REQUEST, 0, 9, &[badged]);
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers().len(), 1);
    assert_eq!(signalled(&world, theirs), 4);
    assert_eq!(signalled(&world, other), 0);
}

/// A thread whose message, the revocation of an endpoint with many copies, has been preempted; the root task runs.
struct Preempted<'w> {
    thread: Thread,
    lane: Lane<'w>,
    endpoint: u64,
    copies: u64,
    token: u64,
}

impl<'w> Preempted<'w> {
    fn new(world: &'w World) -> Self {
        let endpoint = world.endpoint();
        let copies = world.slots(COPIES);
        for copy in copies..copies + COPIES {
            world
                .mint_to(endpoint, copy, CapRights::ALL, copy)
                .expect("a copy");
        }
        let thread = world.thread(TOP);
        let lane = world.lane(thread.cap, SHAPE);
        let revoke = Label::CNodeRevoke.number();
        let token = lane.request(ROOT, revoke, &[endpoint, DEPTH], &[]);
        world.start(thread);
        world.yield_now();
        world.assert_runs(thread);
        // Each tick comes in the middle of it; when the thread's time is up, the root task runs.
        let root = world.thread_in(TCB);
        for _ in 0..10 {
            world.fake.hardware.raise_timer_after_looks(1);
            world.baton_call(BatonCall::Doorbell, 0, 0);
            if world.runs(root) {
                break;
            }
        }
        world.assert_runs(root);
        let preempted = Preempted {
            thread,
            lane,
            endpoint,
            copies,
            token,
        };
        let left = preempted.copies_left(world);
        assert!((1..COPIES).contains(&left), "{left} are left");
        preempted
    }

    fn copies_left(&self, world: &World) -> u64 {
        let copies = self.copies..self.copies + COPIES;
        copies
            .filter(|&slot| world.cap_in(slot) != Cap::Null)
            .count() as u64
    }

    /// What was begun can be done by somebody else.
    fn finish(&self, world: &World) {
        world.revoke(self.endpoint);
        assert_eq!(self.copies_left(world), 0);
    }

    /// Lets the thread run until it has rung to the end.
    fn let_run(&self, world: &World) -> u64 {
        for _ in 0..100 {
            if world.runs(self.thread) {
                let answer = world.baton_call(BatonCall::Doorbell, 0, 0);
                let (a0, _) = answer.expect("nobody is more urgent");
                return a0;
            }
            world.yield_now();
        }
        panic!("it does not run");
    }
}

#[test]
fn a_thread_that_dies_while_its_message_is_preempted_leaves_what_can_be_done_again() {
    let world = World::new();
    let preempted = Preempted::new(&world);
    world.delete(preempted.thread.cap);
    let left = preempted.copies_left(&world);
    world.fake.ticks(20);
    assert_eq!(preempted.copies_left(&world), left, "nobody goes on");
    preempted.finish(&world);
}

#[test]
fn a_lane_that_is_deleted_while_its_message_is_preempted_takes_the_message_along() {
    let world = World::new();
    let preempted = Preempted::new(&world);
    world.delete(preempted.lane.cap);
    let left = preempted.copies_left(&world);
    assert_eq!(preempted.let_run(&world), NOT_BOUND);
    assert_eq!(preempted.copies_left(&world), left);
    back_to_root(&world);
    preempted.finish(&world);
}

#[test]
fn whoever_gets_a_lane_does_not_go_on_with_anothers_preempted_message() {
    let world = World::new();
    let preempted = Preempted::new(&world);
    let lane = &preempted.lane;
    world
        .lane_invoke(lane.cap, KernelLaneLabel::Unbind, &[], &[])
        .expect("unbinding");
    lane.bind(TCB).expect("binding");
    let left = preempted.copies_left(&world);
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers(), []);
    assert_eq!(preempted.copies_left(&world), left);
    preempted.finish(&world);
}

#[test]
fn a_preempted_message_looks_its_capabilities_up_again() {
    let world = World::new();
    let preempted = Preempted::new(&world);
    // What it revokes is now something else.
    let elsewhere = world.slot();
    world
        .move_to(preempted.endpoint, elsewhere)
        .expect("a free slot");
    let other = world.notification();
    let copy = world.mint(other, CapRights::ALL, 1);
    world
        .move_to(other, preempted.endpoint)
        .expect("a free slot");
    let left = preempted.copies_left(&world);
    assert_eq!(preempted.let_run(&world), ALL);
    let answers = preempted.lane.answers();
    assert_eq!(answers.len(), 1);
    assert_eq!(
        (answers[0].token, answers[0].error),
        (preempted.token, None)
    );
    back_to_root(&world);
    assert!(!world.is_full(copy), "as the call would, made again");
    assert_eq!(preempted.copies_left(&world), left);
    world.revoke(elsewhere);
    assert_eq!(preempted.copies_left(&world), 0);
}

#[test]
fn frames_that_are_revoked_while_a_message_is_preempted_do_not_stop_it() {
    let world = World::new();
    let preempted = Preempted::new(&world);
    let lane = &preempted.lane;
    let out = lane.out_word(0);
    world.revoke(lane.cap);
    assert!(world.fake.load(out).is_err(), "unmapped");
    assert_eq!(preempted.let_run(&world), ALL);
    back_to_root(&world);
    assert_eq!(preempted.copies_left(&world), 0);
    assert!(world.is_full(preempted.endpoint) && world.is_full(lane.cap));
}

#[test]
fn memory_that_is_revoked_while_a_message_is_preempted_is_whole_again() {
    let world = World::new();
    let untyped = world.untyped(16);
    let other = world.unbound_lane(untyped, SHAPE);
    let preempted = Preempted::new(&world);
    // Another lane takes its place, of memory that can be revoked.
    world.delete(preempted.lane.cap);
    other.bind(preempted.thread.cap).expect("binding");
    let copies = world.slots(COPIES);
    for copy in copies..copies + COPIES {
        let minted = world.mint_to(preempted.endpoint, copy, CapRights::ALL, copy);
        minted.expect("a copy");
    }
    let revoke = Label::CNodeRevoke.number();
    other.request(ROOT, revoke, &[preempted.endpoint, DEPTH], &[]);
    let root = world.thread_in(TCB);
    for _ in 0..100 {
        if world.runs(root) {
            world.yield_now();
        } else {
            world.fake.hardware.raise_timer_after_looks(1);
            world.baton_call(BatonCall::Doorbell, 0, 0);
            if world.runs(root) {
                break;
            }
        }
    }
    world.assert_runs(root);
    assert!(world.cap_in(copies + COPIES - 1) != Cap::Null || world.cap_in(copies) != Cap::Null);
    world.revoke(untyped);
    assert_eq!(preempted.let_run(&world), NOT_BOUND);
    back_to_root(&world);
    let slot = world.slot();
    world
        .retype(untyped, ObjectType::CapTable, 11, slot, 1)
        .expect("all of the memory");
    preempted.finish(&world);
}

// -- Floods --------------------------------------------------------------------------------------------------------

#[test]
fn a_flooding_thread_has_no_more_than_its_share() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    let other = world.started(TOP);
    let root = world.thread_in(TCB);
    let (mut own, mut others) = (0_u32, 0_u32);
    for _ in 0..400 {
        if world.runs(other) {
            others += 1;
            world.fake.tick();
            continue;
        }
        world.assert_runs(root);
        own += 1;
        // Its lane is always full, it rings all the time, and each tick comes while the kernel is at it.
        while u64::from(lane.tail.get()) - drained(&lane) < lane.slots() {
            lane.push(kind::ONE_WAY, 0, 0, &[notification]);
        }
        world.fake.hardware.raise_timer_after_looks(2);
        world.baton_call(BatonCall::Doorbell, 0, 0);
    }
    assert!(own.abs_diff(others) <= 10, "{own} ticks against {others}");
}

#[test]
fn a_flood_in_passing_is_bounded_for_each_entry() {
    let world = World::new();
    let shape = Shape {
        slot_bits: 5,
        request_bulk: 0,
        answer_bulk: 0,
        ..SHAPE
    };
    let lane = world.lane(TCB, shape);
    let notification = world.notification();
    for _ in 0..8 {
        while u64::from(lane.tail.get()) - drained(&lane) < lane.slots() {
            lane.push(kind::ONE_WAY, 0, 0, &[notification]);
        }
        let before = drained(&lane);
        world.fake.tick();
        assert_eq!(drained(&lane) - before, 16);
    }
}

#[test]
fn ringing_for_nothing_does_nothing() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let state = lane.load(region::STATE as u64);
    for _ in 0..100 {
        assert_eq!(lane.doorbell(), ALL);
    }
    assert_eq!(lane.load(region::STATE as u64), state, "the same epoch");
    assert_eq!((drained(&lane), lane.answers().len()), (0, 0));
    // Nor is it news.
    let notification = world.notification();
    let other = world.started(TOP - 1);
    assert_eq!(world.baton_call(BatonCall::Park, notification, 0), None);
    world.assert_runs(other);
}

#[test]
fn who_never_reads_its_answers_overwrites_them_and_nothing_else() {
    let world = World::new();
    let other = world.thread(TOP - 1);
    let theirs = world.lane(other.cap, SHAPE);
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    // All that the thread can see of its neighbour, and behind its own answers.
    let words = 1 << (SHAPE.size_bits - 1 - 3);
    let neighbour = || (0..words).map(|word| theirs.load(word)).collect::<Vec<_>>();
    let before = neighbour();
    let slots_end = lane.slot_word(0) + (lane.slots() + 1) * region::SLOT_STRIDE as u64;
    // More requests than slots are out: it does not wait for answers.
    for token in 0..3 * lane.slots() + 3 {
        lane.push(kind::REQUEST, 0, token, &[notification]);
        if token % 3 == 2 {
            assert_eq!(lane.doorbell(), ALL);
        }
    }
    assert_eq!(drained(&lane), 27);
    assert_eq!(lane.load(region::TAIL_ANSWERS as u64), 27);
    // The last eight are there, in their places.
    let first = lane.slot_word(0) + region::SLOT_STRIDE as u64;
    for index in 0..8 {
        let token = lane.load(first + index * region::SLOT_STRIDE as u64 + 1);
        assert_eq!((token % 8, token / 8 >= 2), (index, true), "{token}");
    }
    assert!((slots_end..words).all(|word| lane.load(word) == 0));
    assert_eq!(neighbour(), before);
    world.fake.check();
}

#[test]
fn two_threads_that_signal_each_other_with_full_lanes_both_go_on() {
    let world = World::new();
    let (mine, theirs) = (world.notification(), world.notification());
    let to_me = world.mint(mine, CapRights::ALL, 1);
    let to_them = world.mint(theirs, CapRights::ALL, 2);
    let other = world.thread(TOP);
    let lane = world.lane(TCB, SHAPE);
    let other_lane = world.lane(other.cap, SHAPE);
    world.start(other);
    let root = world.thread_in(TCB);
    let mut turns = [0, 0];
    for _ in 0..40 {
        // Whoever runs: all its slots full, no answer of the last round read, and then it sleeps.
        let (number, own, peer, wait) = if world.runs(root) {
            (0, &lane, to_them, mine)
        } else {
            world.assert_runs(other);
            (1, &other_lane, to_me, theirs)
        };
        turns[number] += 1;
        for token in 0..own.slots() {
            own.push(kind::REQUEST, 0, token, &[peer]);
        }
        let parked = world.baton_call(BatonCall::Park, wait, 0);
        assert!(matches!(parked, Some((0, 1)) | None), "{parked:?}");
        if parked.is_some() {
            // News: it looks, and sleeps in earnest.
            world.baton_call(BatonCall::Park, wait, 0);
        }
        assert!(!world.fake.is_idle(), "both sleep");
    }
    assert!(turns[0] >= 19 && turns[1] >= 19, "{turns:?}");
}

// -- Numbers -------------------------------------------------------------------------------------------------------

#[test]
fn tokens_are_the_threads_own_and_mean_nothing_to_the_kernel() {
    let world = World::new();
    let other = world.thread(TOP - 1);
    let theirs = world.lane(other.cap, SHAPE);
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    // One that another thread waits for, one twice, one of no credit.
    let token = theirs.request(other.cap, Label::TcbSetTlsBase.number(), &[1], &[]);
    let tokens = [token, 5, 5, 0xffff, u64::MAX, 0x1234_0000];
    for token in tokens {
        lane.push(kind::REQUEST, 0, token, &[notification]);
    }
    assert_eq!(lane.doorbell(), ALL);
    let answered: Vec<u64> = lane.answers().iter().map(|answer| answer.token).collect();
    assert_eq!(answered, tokens);
    assert_eq!(theirs.answers(), []);
    assert_eq!(drained(&theirs), 0);
    // Cancelling another's, or one's own that is done, is passed over.
    for token in tokens {
        lane.push(kind::CANCEL, 0, token, &[]);
    }
    lane.push(kind::REQUEST, 0, 5, &[notification]);
    lane.push(kind::CANCEL, 0, 5, &[]);
    assert_eq!(lane.doorbell(), ALL);
    assert_eq!(lane.answers().len(), 1, "performed all the same");
    assert_eq!(theirs.answers(), []);
}

#[test]
fn full_lanes_wrap_and_tails_beyond_the_wrap_are_refused() {
    for start in [u32::MAX - 7, u32::MAX - 3, u32::MAX, 0] {
        for tail in [9_u32, u32::MAX, 1 << 31] {
            let world = World::new();
            let lane = world.lane(TCB, Shape { start, ..SHAPE });
            let notification = world.notification();
            for round in 0..3_u64 {
                for token in 0..lane.slots() {
                    let token = token | round << 16;
                    lane.push(kind::REQUEST, 0, token, &[notification]);
                }
                assert_eq!(lane.doorbell(), ALL);
                assert_eq!(drained(&lane), u64::from(lane.tail.get()));
                let answers = lane.answers();
                assert_eq!(answers.len(), 8);
                assert!(answers.iter().all(|answer| answer.token >> 16 == round));
            }
            let tail = lane.tail.get().wrapping_add(tail);
            lane.store(region::TAIL_REQUESTS as u64, u64::from(tail));
            assert_eq!(lane.doorbell(), QUARANTINED, "{start:#x} {tail:#x}");
        }
    }
}

#[test]
fn the_epoch_wraps() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let Cap::KernelLane { address, .. } = world.cap_in(lane.cap) else {
        panic!("a lane");
    };
    let notification = world.notification();
    let record: &KernelLane = world.fake.kernel().mem.get(address);
    // Its last value, and the one whose upper bit the state word has no place for.
    for epoch in [u64::MAX, u64::MAX >> 1] {
        record.epoch.set(epoch);
        let mut states = Vec::new();
        for token in 0..4 {
            lane.push(kind::REQUEST, 0, token, &[notification]);
            assert_eq!(lane.doorbell(), ALL);
            states.push(lane.load(region::STATE as u64));
        }
        assert!(states.iter().all(|state| state & 1 == 1), "asleep");
        assert!(states.windows(2).all(|pair| pair[0] != pair[1]), "new ones");
        assert_eq!(lane.answers().len(), 4);
    }
}

// -- What a thread may do to its own memory ------------------------------------------------------------------------

#[test]
fn one_frame_of_a_bound_lane_that_is_deleted_is_missed_by_the_thread_alone() {
    let world = World::new();
    let lane = world.lane(TCB, SHAPE);
    let notification = world.notification();
    let badged = world.mint(notification, CapRights::ALL, 8);
    // The first page of the kernel's region: where the kernel publishes.
    let in_page = kernel_lane_in_page(SHAPE.size_bits);
    world.delete(lane.frames + in_page - 1);
    assert!(world.fake.load(lane.in_word(0)).is_err());
    lane.push(kind::REQUEST, 0, 0, &[badged]);
    let answer = world.baton_call(BatonCall::Doorbell, 0, 0);
    assert_eq!(answer.map(|(a0, _)| a0), Some(ALL));
    assert_eq!(signalled(&world, notification), 8);
    // Then the one that the thread publishes in.
    lane.push(kind::REQUEST, 0, 0, &[badged]);
    world.delete(lane.frames);
    assert!(world.fake.store(lane.out_word(0), 0).is_err());
    world.baton_call(BatonCall::Doorbell, 0, 0);
    assert_eq!(signalled(&world, notification), 8);
    world.fake.check();
}

#[test]
fn a_slot_that_another_thread_rewrites_is_performed_as_it_was_copied() {
    let world = World::new();
    let thread = world.thread(TOP);
    let lane = world.lane(thread.cap, SHAPE);
    let victim = world.thread(1);
    lane.request(victim.cap, Label::TcbSetTlsBase.number(), &[0x11], &[]);
    // The root task has the same page: what it writes before the kernel copies the slot counts, and nothing after that.
    let at = lane.slot_word(0);
    lane.store(at + 3, 0x22);
    world.start(thread);
    world.yield_now();
    world.assert_runs(thread);
    world.baton_call(BatonCall::Doorbell, 0, 0);
    lane.store(at + 3, 0x33);
    world.baton_call(BatonCall::Doorbell, 0, 0);
    assert_eq!(world.tcb(victim).context.get::<{ reg::TP }>(), 0x22);
    assert_eq!(lane.answers().len(), 1);
    assert_eq!(ThreadState::of(world.tcb(thread)), ThreadState::RUNNING);
    // Published again, it is another message; the empty slots before it are none.
    lane.tail.set(9);
    lane.publish();
    let ninth = world.baton_call(BatonCall::Doorbell, 0, 0);
    assert_eq!(ninth.map(|(a0, _)| a0), Some(ALL));
    assert_eq!(world.tcb(victim).context.get::<{ reg::TP }>(), 0x33);
    let answers = lane.answers();
    assert_eq!((answers.len(), answers[0].error), (1, None));
}
