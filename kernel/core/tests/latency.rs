//! How much is done between two looks for a pending interrupt: it must not grow with what is deleted or cancelled.
//!
//! The measure is a count, not a time: every look is made to find an interrupt, so that each entry ends there, and
//! what has changed since the entry before is counted.

mod common;

use baton_kernel_core::ThreadState;
use baton_kernel_core::cap::{Cap, ZombieKind};
use baton_kernel_core::config::CLEAR_CHUNK_BITS;
use baton_kernel_fake::Message;
use baton_sel4_abi::{CapRights, Error, Label, ObjectType, Syscall, slots};
use common::{DEPTH, ROOT, START, TOP, Thread, World};

const ALL: CapRights = CapRights::ALL;
const SIZES: [usize; 3] = [1, 100, 1000];
/// Threads that a look may find to have gone on since the last.
const MOST: usize = 1;

/// Threads without an IPC buffer, each of which has done `block`. The root task then is above all of them.
fn threads(world: &World, count: usize, block: impl Fn(usize)) -> Vec<Thread> {
    let authority = [slots::INIT_THREAD_TCB];
    // A look at all of a thousand threads after each of ten thousand entries takes too long.
    world.fake.set_checking(count <= 100);
    world.set_priority(slots::INIT_THREAD_TCB, 1).unwrap();
    let first = world.slots(count as u64);
    let threads = (0..count).map(|index| {
        let slot = first + index as u64;
        world
            .retype(world.memory, ObjectType::Tcb, 0, slot, 1)
            .expect("memory suffices");
        let spaces = [ROOT, slots::INIT_THREAD_VSPACE];
        world
            .invoke(slot, Label::TcbSetSpace, &[0, 0, 0], &spaces)
            .expect("spaces");
        world
            .invoke(slot, Label::TcbSetSchedParams, &[TOP, 100], &authority)
            .expect("priorities");
        let thread = world.thread_in(slot);
        world.start(thread);
        world.assert_runs(thread);
        block(index);
        thread
    });
    let threads = threads.collect();
    world.set_priority(slots::INIT_THREAD_TCB, TOP).unwrap();
    threads
}

fn count(world: &World, threads: &[Thread], state: ThreadState) -> usize {
    threads
        .iter()
        .filter(|&&thread| ThreadState::of(world.tcb(thread)) == state)
        .count()
}

/// The root task makes a call and finds an interrupt at each look; `after` sees the machine after each entry. Returns
/// the number of entries.
fn preempted_at_each_look(
    world: &World,
    cap: u64,
    label: Label,
    words: &[u64],
    mut after: impl FnMut(),
) -> usize {
    let root = world.fake.current_address();
    let start = common::next_pc(world.fake.current());
    world.fake.hardware.raise_timer_after_looks(1);
    let message = Message {
        label: label.number(),
        words,
        caps: &[],
    };
    world.fake.syscall(Syscall::Call, cap, message);
    let mut entries = 1;
    loop {
        after();
        assert_eq!(world.fake.current_address(), root, "the highest priority");
        if common::next_pc(world.fake.current()) != start {
            assert_eq!(world.got().result(), Ok(vec![]));
            return entries;
        }
        world.fake.hardware.raise_timer_after_looks(1);
        world.fake.enter();
        entries += 1;
        assert!(entries < 5_000, "an operation without an end");
    }
}

/// A call that lets all threads go on: a bounded number at a time.
fn assert_goes_on_in_steps(
    world: &World,
    threads: &[Thread],
    cap: u64,
    label: Label,
    words: &[u64],
) {
    let mut before = 0;
    let entries = preempted_at_each_look(world, cap, label, words, || {
        let now = count(world, threads, ThreadState::RESTART);
        assert!(now - before <= MOST, "{} at once", now - before);
        before = now;
        if threads.len() <= 100 {
            world.fake.check();
        }
    });
    assert_eq!(before, threads.len(), "all go on");
    assert!(entries >= threads.len() / MOST, "{entries} entries");
    // Nothing is done twice: few entries find nothing to do any more.
    assert!(entries <= threads.len() / MOST + 5, "{entries} entries");
    world.fake.check();
}

#[test]
fn deleting_an_endpoint_is_done_in_steps() {
    for size in SIZES {
        for receive in [false, true] {
            let world = World::new();
            let endpoint = world.endpoint();
            let threads = threads(&world, size, |_| match receive {
                true => world.recv(endpoint),
                false => world.send(endpoint, 0, &[]),
            });
            let words = [endpoint, DEPTH];
            assert_goes_on_in_steps(&world, &threads, ROOT, Label::CNodeDelete, &words);
            assert!(!world.is_full(endpoint));
        }
    }
}

#[test]
fn deleting_a_notification_is_done_in_steps() {
    for size in SIZES {
        let world = World::new();
        let notification = world.notification();
        let threads = threads(&world, size, |_| world.recv(notification));
        let words = [notification, DEPTH];
        assert_goes_on_in_steps(&world, &threads, ROOT, Label::CNodeDelete, &words);
        assert!(!world.is_full(notification));
    }
}

#[test]
fn what_is_being_deleted_is_out_of_reach() {
    let world = World::new();
    let endpoint = world.endpoint();
    let waiting = threads(&world, 10, |_| world.recv(endpoint));
    let peer = world.started(TOP);
    let mut looked = false;
    let words = [endpoint, DEPTH];
    preempted_at_each_look(&world, ROOT, Label::CNodeDelete, &words, || {
        let left = count(&world, &waiting, ThreadState::BLOCKED_ON_RECEIVE);
        if left == 0 || looked {
            return;
        }
        looked = true;
        let zombie = world.cap_in(endpoint);
        let kind = ZombieKind::Endpoint;
        assert!(matches!(zombie, Cap::Zombie { kind: is, .. } if is == kind));
        // The time slice of the root task ends, and another thread tries to get through to those who still wait.
        world.fake.ticks(5);
        world.assert_runs(peer);
        world.call(endpoint, 0, &[]);
        assert_eq!(world.got().error(), Some(Error::InvalidCapability));
        world.send(endpoint, 0, &[]);
        assert_eq!(
            world.copy_to(endpoint, world.slot(), ALL),
            Err(Error::IllegalOperation)
        );
        world.assert_runs(peer);
        let now = count(&world, &waiting, ThreadState::BLOCKED_ON_RECEIVE);
        assert_eq!(now, left);
        world.yield_now();
    });
    assert!(looked);
    assert!(!world.is_full(endpoint));
}

#[test]
fn a_queue_in_a_cnode_or_untyped_is_emptied_in_steps() {
    for size in SIZES {
        for revoke in [false, true] {
            let world = World::new();
            let parent = world.untyped(10);
            let endpoint = world.slot();
            world
                .retype(parent, ObjectType::Endpoint, 0, endpoint, 1)
                .expect("memory suffices");
            let threads = threads(&world, size, |_| world.recv(endpoint));
            let cnode = world.make(ObjectType::CapTable, 1);
            let words = [1, 1, endpoint, DEPTH];
            world
                .invoke(cnode, Label::CNodeMove, &words, &[ROOT])
                .expect("an empty slot");
            let (label, slot) = match revoke {
                true => (Label::CNodeRevoke, parent),
                false => (Label::CNodeDelete, cnode),
            };
            assert_goes_on_in_steps(&world, &threads, ROOT, label, &[slot, DEPTH]);
            world
                .retype(parent, ObjectType::Endpoint, 0, endpoint, 1)
                .expect("the memory is free");
        }
    }
}

#[test]
fn an_interrupt_lets_its_notification_go_in_steps() {
    const IRQ: u64 = 7;
    for size in SIZES {
        for delete in [false, true] {
            let world = World::new();
            let handler = world.slot();
            let issue = || {
                let words = [IRQ, handler, DEPTH];
                world.invoke(slots::IRQ_CONTROL, Label::IrqIssueHandler, &words, &[ROOT])
            };
            issue().expect("a free interrupt");
            let notification = world.notification();
            let threads = threads(&world, size, |_| world.recv(notification));
            world
                .invoke(handler, Label::IrqSetHandler, &[], &[notification])
                .expect("a notification");
            // The last capability is that in the interrupt's own slot.
            world.delete(notification);
            assert_eq!(count(&world, &threads, ThreadState::RESTART), 0);
            if delete {
                let words = [handler, DEPTH];
                assert_goes_on_in_steps(&world, &threads, ROOT, Label::CNodeDelete, &words);
                assert!(!world.fake.hardware.is_unmasked(IRQ));
                issue().expect("the interrupt is free");
            } else {
                assert_goes_on_in_steps(&world, &threads, handler, Label::IrqClear, &[]);
                let other = world.notification();
                world
                    .invoke(handler, Label::IrqSetHandler, &[], &[other])
                    .expect("another notification");
            }
        }
    }
}

#[test]
fn clearing_is_done_in_chunks() {
    for bits in [12, 16, 20] {
        let world = World::new();
        let untyped = world.untyped(bits);
        let slot = world.slot();
        let words = [ObjectType::Untyped.number(), bits, 0, 0, slot, 1];
        world
            .invoke(untyped, Label::UntypedRetype, &words, &[ROOT])
            .expect("it is empty");
        world.revoke(untyped);
        let left = || match world.cap_in(untyped) {
            Cap::Untyped { used, .. } => used,
            other => panic!("no untyped: {other:?}"),
        };
        let looks = world.fake.hardware.looks();
        let mut before = left();
        world
            .invoke(untyped, Label::UntypedRetype, &words, &[ROOT])
            .expect("it is empty again");
        let chunks = world.fake.hardware.looks() - looks;
        assert_eq!(chunks, before >> CLEAR_CHUNK_BITS);
        // And so if it is interrupted at each.
        world.revoke(untyped);
        let mut least = before;
        world.fake.hardware.raise_timer_after_looks(1);
        let message = Message {
            label: Label::UntypedRetype.number(),
            words: &words,
            caps: &[ROOT],
        };
        world.fake.syscall(Syscall::Call, untyped, message);
        for _ in 0..chunks {
            let now = left();
            assert_eq!(before - now, 1 << CLEAR_CHUNK_BITS);
            (before, least) = (now, now);
            world.fake.hardware.raise_timer_after_looks(1);
            world.fake.enter();
        }
        assert_eq!(least, 0);
        assert_eq!(left(), 1 << bits, "made at last");
        assert_eq!(world.got().result(), Ok(vec![]));
    }
}

// -- Cancelling badged sends -------------------------------------------------------------------------------------------

/// An endpoint, with capabilities of badges 1 and 2 in the slots behind its own.
fn badged_endpoint(world: &World) -> u64 {
    let endpoint = world.slots(3);
    world
        .retype(world.memory, ObjectType::Endpoint, 0, endpoint, 1)
        .expect("memory suffices");
    for badge in [1, 2] {
        world
            .mint_to(endpoint, endpoint + badge, ALL, badge)
            .expect("an empty slot");
    }
    endpoint
}

fn waits(world: &World, thread: Thread) -> bool {
    ThreadState::of(world.tcb(thread)) == ThreadState::BLOCKED_ON_SEND
}

#[test]
fn cancelling_badged_sends_is_done_in_steps() {
    type Badge = fn(usize) -> u64;
    let badges: [Badge; 4] = [
        |_| 1,
        |_| 2,
        |index| 1 + index as u64 % 2,
        |index| {
            if index % 10 == 9 { 1 } else { 2 }
        },
    ];
    for size in SIZES {
        for badge in badges {
            let world = World::new();
            let endpoint = badged_endpoint(&world);
            let all = threads(&world, size, |index| {
                world.send(endpoint + badge(index), index as u64, &[]);
            });
            let mut before = size;
            let words = [endpoint + 1, DEPTH];
            let label = Label::CNodeCancelBadgedSends;
            let entries = preempted_at_each_look(&world, ROOT, label, &words, || {
                let now = count(&world, &all, ThreadState::BLOCKED_ON_SEND);
                assert!(before - now <= MOST, "{} at once", before - now);
                before = now;
                if size <= 100 {
                    world.fake.check();
                }
            });
            // Each is looked at once, those who stay as well.
            assert!(entries >= size / MOST, "{entries} entries for {size}");
            assert!(entries <= size / MOST + 1, "{entries} entries for {size}");
            world.fake.check();
            // Who stays is in the same order as before.
            for (index, &thread) in all.iter().enumerate() {
                assert_eq!(waits(&world, thread), badge(index) == 2);
                if badge(index) == 2 {
                    world.recv(endpoint);
                    assert_eq!(world.got().info.label(), index as u64);
                }
            }
        }
    }
}

/// Preempts the root task's cancellation of badge 1 once, and lets `meanwhile` happen; then it goes on, preempted at each
/// look. Returns the entries from then on.
fn with_a_break(world: &World, endpoint: u64, steps: usize, meanwhile: impl Fn()) -> usize {
    let mut entry = 0;
    let words = [endpoint + 1, DEPTH];
    let label = Label::CNodeCancelBadgedSends;
    let entries = preempted_at_each_look(world, ROOT, label, &words, || {
        world.fake.check();
        entry += 1;
        if entry == steps {
            meanwhile();
            world.fake.check();
        }
    });
    entries - steps
}

/// Another thread of the highest priority, and what the root task had in its registers.
fn while_other_runs(world: &World, other: Thread, what: impl FnOnce()) {
    world.fake.ticks(5);
    world.assert_runs(other);
    what();
    world.assert_runs(other);
    world.yield_now();
}

#[test]
fn senders_that_send_again_do_not_keep_a_cancellation_busy() {
    let world = World::new();
    let endpoint = badged_endpoint(&world);
    let senders = threads(&world, 50, |_| world.send(endpoint + 1, 0, &[]));
    for sender in &senders {
        world.set_priority(sender.cap, TOP).unwrap();
    }
    let root = world.fake.current_address();
    let mut cancelled = 0;
    let words = [endpoint + 1, DEPTH];
    let label = Label::CNodeCancelBadgedSends;
    let entries = preempted_at_each_look(&world, ROOT, label, &words, || {
        world.fake.check();
        if count(&world, &senders, ThreadState::RESTART) == 0 {
            return;
        }
        cancelled += 1;
        // The time slice of the root task ends, and the one that was sent away sends again.
        world.fake.ticks(5);
        while world.fake.current_address() != root {
            world.fake.enter();
        }
        assert_eq!(count(&world, &senders, ThreadState::BLOCKED_ON_SEND), 50);
    });
    assert_eq!((cancelled, entries), (50, 50));
    world.fake.check();
}

#[test]
fn a_cancellation_goes_on_whatever_became_of_who_stays() {
    // Senders 0 to 19 stay if their number is even. After 10 steps, 0 to 9 have been looked at, and 8 is the last who stays.
    let badge = |index: usize| if index.is_multiple_of(2) { 2 } else { 1 };
    type Meanwhile = fn(&World, &[Thread], u64);
    let cases: [(usize, Meanwhile); 7] = [
        (10, |_, _, _| {}),
        // Where it would go on stops waiting.
        (10, |world, all, _| stop(world, all[8])),
        // All who were looked at do.
        (10, |world, all, _| {
            for index in [8, 6, 4, 2, 0] {
                stop(world, all[index]);
            }
        }),
        // It is received from, and one that was not looked at yet.
        (8, |world, _, endpoint| {
            for index in [0, 2, 4, 6, 8, 10, 11] {
                world.recv(endpoint);
                assert_eq!(world.got().info.label(), index);
            }
        }),
        // It is deleted.
        (10, |world, all, _| {
            stop(world, all[8]);
            world.delete(all[8].cap);
        }),
        // The last stops waiting.
        (9, |world, all, _| stop(world, all[19])),
        (10, |world, all, _| {
            for index in (10..20).rev() {
                stop(world, all[index]);
            }
        }),
    ];
    for (number, (most, meanwhile)) in cases.into_iter().enumerate() {
        let world = World::new();
        let endpoint = badged_endpoint(&world);
        let all = threads(&world, 20, |index| {
            world.send(endpoint + badge(index), index as u64, &[]);
        });
        let other = world.started(TOP);
        let entries = with_a_break(&world, endpoint, 10, || {
            while_other_runs(&world, other, || meanwhile(&world, &all, endpoint));
        });
        assert!(entries <= most, "case {number}: {entries} more entries");
        for (index, &thread) in all.iter().enumerate() {
            let gone = number == 4 && index == 8;
            assert!(
                gone || badge(index) == 2 || !waits(&world, thread),
                "case {number}: {index} still waits"
            );
        }
    }
}

fn stop(world: &World, thread: Thread) {
    world
        .invoke(thread.cap, Label::TcbSuspend, &[], &[])
        .expect("a thread");
}

/// Looks of a cancellation that goes through all of ten senders.
const BEHIND_EACH_BUT_THE_LAST: u64 = 9;

#[test]
fn a_new_cancellation_is_not_taken_for_one_that_goes_on() {
    let world = World::new();
    let endpoint = badged_endpoint(&world);
    let all = threads(&world, 10, |_| world.send(endpoint + 2, 0, &[]));
    let other = world.started(TOP);
    // The second cancellation is of the same endpoint and badge, and by another thread, which one that was preempted does
    // not concern: it begins at the first sender.
    with_a_break(&world, endpoint, 5, || {
        while_other_runs(&world, other, || {
            let looks = world.fake.hardware.looks();
            world
                .invoke(
                    ROOT,
                    Label::CNodeCancelBadgedSends,
                    &[endpoint + 1, DEPTH],
                    &[],
                )
                .expect("all rights");
            assert_eq!(
                world.fake.hardware.looks() - looks,
                BEHIND_EACH_BUT_THE_LAST
            );
        });
    });
    assert_eq!(count(&world, &all, ThreadState::BLOCKED_ON_SEND), 10);
}

#[test]
fn a_caller_that_is_made_to_do_something_else_begins_anew() {
    let world = World::new();
    let endpoint = badged_endpoint(&world);
    let all = threads(&world, 10, |_| world.send(endpoint + 2, 0, &[]));
    let other = world.started(TOP);
    // `other` cancels, is preempted after five senders, and does not go on.
    world.yield_now();
    world.assert_runs(other);
    let message = Message {
        label: Label::CNodeCancelBadgedSends.number(),
        words: &[endpoint + 1, DEPTH],
        caps: &[],
    };
    let cancel = || world.fake.syscall(Syscall::Call, ROOT, message);
    world.fake.hardware.raise_timer_after_looks(5);
    cancel();
    world.fake.check();
    world.fake.ticks(5);
    let words = [1, 1, START];
    world
        .invoke(other.cap, Label::TcbWriteRegisters, &words, &[])
        .expect("a thread");
    world.yield_now();
    world.assert_runs(other);
    let looks = world.fake.hardware.looks();
    cancel();
    assert_eq!(world.got().result(), Ok(vec![]));
    assert_eq!(
        world.fake.hardware.looks() - looks,
        BEHIND_EACH_BUT_THE_LAST
    );
    assert_eq!(count(&world, &all, ThreadState::BLOCKED_ON_SEND), 10);
}

#[test]
fn an_endpoint_at_the_same_place_is_another() {
    let world = World::new();
    let parent = world.untyped(4);
    let endpoint = world.slots(3);
    let make = || {
        world
            .retype(parent, ObjectType::Endpoint, 0, endpoint, 1)
            .expect("memory suffices");
        for badge in [1, 2] {
            world
                .mint_to(endpoint, endpoint + badge, ALL, badge)
                .expect("an empty slot");
        }
    };
    make();
    let all = threads(&world, 10, |_| world.send(endpoint + 1, 0, &[]));
    let other = world.started(TOP);
    with_a_break(&world, endpoint, 5, || {
        while_other_runs(&world, other, || {
            world.revoke(parent);
            make();
        });
    });
    assert_eq!(count(&world, &all, ThreadState::RESTART), 10);
}
