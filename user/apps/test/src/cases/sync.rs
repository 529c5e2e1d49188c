//! Synchronisation built of notifications.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::shared;
use baton_runtime::sel4::{CapRights, Capability, Notification, VmAttributes, yield_now};

cases! {
    mutex: "a mutex keeps threads of one priority apart",
    mutex_between_processes: "a mutex keeps processes apart that share a frame",
    semaphore: "a bounded buffer between producers and consumers loses nothing",
    condition: "a condition wakes all that wait for it",
    signals_are_or: "signals of several badges are combined, and taken by one wait",
}

extern "C" fn signal(notification: u64, _: u64, _: u64) {
    Notification::new(notification).signal();
}

fn let_others_run(env: &mut Env) {
    let done = env.notification();
    env.thread(1, signal, [done.cptr(), 0, 0]);
    done.wait();
}

extern "C" fn count(mutex: u64, rounds: u64, _: u64) {
    let mutex = Notification::new(mutex);
    for _ in 0..rounds {
        mutex.wait();
        // Not atomic on purpose: the mutex must make it so.
        let seen = shared::get(0);
        yield_now();
        shared::set(0, seen + 1);
        mutex.signal();
    }
}

fn mutex(env: &mut Env) {
    let notification = env.notification();
    let mutex = env.mint(notification, CapRights::ALL, 1);
    mutex.signal();
    for _ in 0..4 {
        env.thread(PRIORITY - 1, count, [mutex.cptr(), 50, 0]);
    }
    let_others_run(env);
    assert_eq!(shared::get(0), 200);
}

const COUNT_UNDER_MUTEX: u64 = 10;

fn mutex_between_processes(env: &mut Env) {
    let (notification, parent) = (env.notification(), env.endpoint());
    let mutex = env.mint(notification, CapRights::ALL, 1);
    let page = env.page();
    let mapped = env.map(page);
    let address = 0x30_0000_0000;
    for badge in 1..=3 {
        let gift = env.gift(mutex, CapRights::ALL);
        let arguments = [COUNT_UNDER_MUTEX, address, 40];
        let process = env.new_process_of(parent, badge, PRIORITY - 1, &arguments, &[gift]);
        let copy = env.copy(page);
        let (rights, attributes) = (CapRights::READ_WRITE, VmAttributes::EXECUTE_NEVER);
        ok(process
            .vspace
            .map(&mut env.arena, copy, address, rights, attributes));
        ok(process.start());
    }
    mutex.signal();
    for _ in 0..3 {
        assert_eq!(parent.recv().mrs[0], 40);
    }
    assert_eq!(mapped.read(0), 120);
}

// Words of the bounded buffer: 10 to 13 are its places, 1 the next to fill, 2 the next to empty.
const PLACES: u64 = 4;

extern "C" fn produce(room: u64, filled: u64, first: u64) {
    for number in first..first + 25 {
        acquire(room, 3);
        let place = shared::add(1, 1) % PLACES;
        shared::set(10 + place as usize, number);
        release(filled, 4);
    }
}

extern "C" fn consume(room: u64, filled: u64, count: u64) {
    for _ in 0..count {
        acquire(filled, 4);
        let place = shared::add(2, 1) % PLACES;
        shared::add(0, shared::get(10 + place as usize));
        release(room, 3);
    }
}

/// A counting semaphore: the count is the shared word, those that find it empty wait for the notification.
fn acquire(notification: u64, count: usize) {
    loop {
        let seen = shared::get(count);
        if seen > 0 {
            // No other thread of this priority runs in between: there is no call of the kernel and the word is one.
            let taken = shared::word(count)
                .compare_exchange(
                    seen,
                    seen - 1,
                    baton_runtime::sync::Ordering::SeqCst,
                    baton_runtime::sync::Ordering::SeqCst,
                )
                .is_ok();
            if taken {
                return;
            }
        } else {
            Notification::new(notification).wait();
        }
    }
}

fn release(notification: u64, count: usize) {
    shared::add(count, 1);
    Notification::new(notification).signal();
}

fn semaphore(env: &mut Env) {
    let (room, filled) = (env.notification(), env.notification());
    let (room, filled) = (
        env.mint(room, CapRights::ALL, 1),
        env.mint(filled, CapRights::ALL, 1),
    );
    shared::set(3, PLACES);
    env.thread(PRIORITY - 1, consume, [room.cptr(), filled.cptr(), 50]);
    env.thread(PRIORITY - 2, produce, [room.cptr(), filled.cptr(), 1]);
    env.thread(PRIORITY - 2, produce, [room.cptr(), filled.cptr(), 26]);
    let_others_run(env);
    assert_eq!(shared::get(0), (1..=50).sum());
}

extern "C" fn wait_for_condition(notification: u64, _: u64, _: u64) {
    while shared::get(0) == 0 {
        Notification::new(notification).wait();
    }
    shared::add(1, 1);
    // Pass it on to the next that waits.
    Notification::new(notification).signal();
}

fn condition(env: &mut Env) {
    let notification = env.notification();
    for _ in 0..6 {
        env.thread(
            PRIORITY + 1,
            wait_for_condition,
            [notification.cptr(), 0, 0],
        );
    }
    notification.signal();
    assert_eq!(shared::get(1), 0);
    shared::set(0, 1);
    notification.signal();
    assert_eq!(shared::get(1), 6);
}

fn signals_are_or(env: &mut Env) {
    let notification = env.notification();
    for badge in [1, 2, 0x100, 2] {
        env.mint(notification, CapRights::ALL, badge).signal();
    }
    assert_eq!(notification.wait(), 0x103);
    assert_eq!(notification.poll(), 0);
}
