//! Priorities, time slices, and who runs next.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::probe;
use crate::shared;
use baton_runtime::Thread;
use baton_runtime::sel4::{
    CapRights, Capability, Endpoint, Error, Message, Notification, reply, yield_now,
};

cases! {
    higher_runs_at_once: "a thread of higher priority runs as soon as it is started",
    equal_runs_later: "a thread of the same priority runs when this one yields",
    lower_never: "a thread of lower priority does not run while this one does",
    raised_runs_at_once: "raising a thread's priority above this one's lets it run at once",
    lowering_oneself: "lowering one's own priority lets others run at once",
    time_slices: "threads of one priority share the processor without yielding",
    yield_order: "yielding goes round in order",
    all_priorities: "each priority goes before the lower ones",
    limit_of_priority: "a priority above the authority's maximum is refused",
    limit_of_maximum: "a maximum above the authority's maximum is refused",
    sched_params: "both are set at once, and both are checked",
    authority_must_be_thread: "the authority must be a thread",
    suspend_and_resume: "a suspended thread does not run, a resumed one does",
    wake_higher: "a message to a thread of higher priority lets it run at once",
    wake_lower: "a message to a thread of lower priority lets this one go on",
    reply_wakes_higher: "a reply to a thread of higher priority lets it run at once",
    signal_order: "signals wake waiting threads in order",
    queued_keeps_place: "changing the priority of a thread that waits for a message keeps its place",
    idle: "when all threads wait, an interrupt brings the system back",
    read_cannot_move_self: "a thread's own time slice ends although it never calls the kernel",
}

/// Appends a number to the record that cases compare.
fn record(number: u64) {
    let index = shared::add(40, 1);
    shared::set(41 + index as usize, number);
}

fn recorded<const N: usize>() -> [u64; N] {
    assert_eq!(shared::get(40), N as u64, "number of records");
    core::array::from_fn(|index| shared::get(41 + index))
}

extern "C" fn note(number: u64, _: u64, _: u64) {
    record(number);
}

extern "C" fn note_and_yield(number: u64, rounds: u64, _: u64) {
    for _ in 0..rounds {
        record(number);
        yield_now();
    }
}

extern "C" fn wait_and_note(notification: u64, number: u64, _: u64) {
    Notification::new(notification).wait();
    record(number);
}

extern "C" fn receive_and_note(endpoint: u64, number: u64, _: u64) {
    Endpoint::new(endpoint).recv();
    record(number);
}

extern "C" fn call_and_note(endpoint: u64, number: u64, _: u64) {
    Endpoint::new(endpoint).call(&Message::new(0, &[]));
    record(number);
}

extern "C" fn signal(notification: u64, _: u64, _: u64) {
    Notification::new(notification).signal();
}

/// Lets everything of lower priority run until it waits.
fn let_others_run(env: &mut Env) {
    let done = env.notification();
    env.thread(1, signal, [done.cptr(), 0, 0]);
    done.wait();
}

fn higher_runs_at_once(env: &mut Env) {
    env.thread(PRIORITY + 1, note, [1, 0, 0]);
    record(2);
    assert_eq!(recorded(), [1, 2]);
}

fn equal_runs_later(env: &mut Env) {
    // Whether the start itself ends this thread's turn is not promised; that a yield does, is.
    env.thread(PRIORITY, note, [1, 0, 0]);
    yield_now();
    record(2);
    assert_eq!(recorded(), [1, 2]);
}

fn lower_never(env: &mut Env) {
    env.thread(PRIORITY - 1, note, [1, 0, 0]);
    for _ in 0..200 {
        yield_now();
    }
    assert_eq!(shared::get(40), 0);
    let_others_run(env);
    assert_eq!(recorded(), [1]);
}

fn raised_runs_at_once(env: &mut Env) {
    let thread = env.thread(PRIORITY - 1, note, [1, 0, 0]);
    record(0);
    ok(thread.tcb.set_priority(env.tcb, PRIORITY + 1));
    record(2);
    assert_eq!(recorded(), [0, 1, 2]);
}

fn lowering_oneself(env: &mut Env) {
    env.thread(PRIORITY - 5, note, [1, 0, 0]);
    record(0);
    ok(env.tcb.set_priority(env.tcb, PRIORITY - 6));
    record(2);
    ok(env.tcb.set_priority(env.tcb, PRIORITY));
    assert_eq!(recorded(), [0, 1, 2]);
}

extern "C" fn count_until(index: u64, _: u64, _: u64) {
    while shared::get(0) == 0 {
        shared::add(index as usize, 1);
        if (1..=3).all(|index| shared::get(index) > 0) {
            shared::set(0, 1);
        }
    }
}

fn time_slices(env: &mut Env) {
    for index in 1..=3 {
        env.thread(PRIORITY - 1, count_until, [index, 0, 0]);
    }
    let_others_run(env);
    assert!((1..=3).all(|index| shared::get(index) > 0));
}

fn yield_order(env: &mut Env) {
    for number in 1..=3 {
        env.thread(PRIORITY - 1, note_and_yield, [number, 3, 0]);
    }
    let_others_run(env);
    // Which goes first is not promised; that they take turns is.
    let order: [u64; 9] = recorded();
    assert_eq!(order[0] + order[1] + order[2], 6, "{order:?}");
    assert_eq!(order[..6], order[3..], "{order:?}");
}

fn all_priorities(env: &mut Env) {
    let order = [99, 2, 64, 63, 3, 65, 31, 32, 33];
    for priority in order {
        env.thread(priority, note, [priority, 0, 0]);
    }
    let done = env.notification();
    let last = env.new_thread(1);
    ok(last.start(signal, [done.cptr(), 0, 0]));
    done.wait();
    assert_eq!(recorded(), [99, 65, 64, 63, 33, 32, 31, 3, 2]);
}

fn limit_of_priority(env: &mut Env) {
    let thread = env.new_thread(PRIORITY);
    ok(thread.tcb.set_mc_priority(env.tcb, 50));
    let other = env.bare_tcb();
    let range = Err(Error::RangeError { min: 0, max: 50 });
    assert_eq!(other.set_priority(thread.tcb, 51), range);
    assert_eq!(other.set_priority(thread.tcb, u64::MAX), range);
    ok(other.set_priority(thread.tcb, 50));
    ok(other.set_priority(thread.tcb, 0));
}

fn limit_of_maximum(env: &mut Env) {
    let thread = env.new_thread(PRIORITY);
    ok(thread.tcb.set_mc_priority(env.tcb, 50));
    let other = env.bare_tcb();
    assert_eq!(
        other.set_mc_priority(thread.tcb, 51),
        Err(Error::RangeError { min: 0, max: 50 })
    );
    ok(other.set_mc_priority(thread.tcb, 50));
    assert_eq!(
        other.set_priority(other, 51),
        Err(Error::RangeError { min: 0, max: 50 })
    );
}

fn sched_params(env: &mut Env) {
    let thread = env.new_thread(PRIORITY);
    ok(thread.tcb.set_mc_priority(env.tcb, 50));
    let other = env.new_thread(10);
    let range = Err(Error::RangeError { min: 0, max: 50 });
    assert_eq!(other.tcb.set_sched_params(thread.tcb, 51, 1), range);
    assert_eq!(other.tcb.set_sched_params(thread.tcb, 1, 51), range);
    ok(other.tcb.set_sched_params(env.tcb, 60, PRIORITY + 1));
    ok(other.start(note, [1, 0, 0]));
    record(2);
    assert_eq!(recorded(), [1, 2]);
    assert_eq!(
        other.tcb.set_priority(other.tcb, 61),
        Err(Error::RangeError { min: 0, max: 60 })
    );
}

fn authority_must_be_thread(env: &mut Env) {
    let (thread, endpoint) = (env.bare_tcb(), env.endpoint());
    let not_a_thread = baton_runtime::sel4::Tcb::new(endpoint.cptr());
    let expected = Err(Error::InvalidCapability { capability: 1 });
    assert_eq!(thread.set_priority(not_a_thread, 1), expected);
    assert_eq!(thread.set_mc_priority(not_a_thread, 1), expected);
    assert_eq!(thread.set_sched_params(not_a_thread, 1, 1), expected);
}

extern "C" fn count_forever(index: u64, _: u64, _: u64) {
    loop {
        shared::add(index as usize, 1);
        yield_now();
    }
}

fn suspend_and_resume(env: &mut Env) {
    let thread: Thread = env.thread(PRIORITY, count_forever, [0, 0, 0]);
    yield_now();
    let before = shared::get(0);
    assert!(before > 0);
    ok(thread.tcb.suspend());
    ok(thread.tcb.suspend());
    yield_now();
    yield_now();
    assert_eq!(shared::get(0), before);
    ok(thread.tcb.resume());
    ok(thread.tcb.resume());
    yield_now();
    assert!(shared::get(0) > before);
}

fn wake_higher(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, receive_and_note, [endpoint.cptr(), 1, 0]);
    record(0);
    endpoint.send(&Message::new(0, &[]));
    record(2);
    assert_eq!(recorded(), [0, 1, 2]);
}

fn wake_lower(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY - 1, receive_and_note, [endpoint.cptr(), 1, 0]);
    let_others_run(env);
    endpoint.send(&Message::new(0, &[]));
    record(0);
    let_others_run(env);
    record(2);
    assert_eq!(recorded(), [0, 1, 2]);
}

fn reply_wakes_higher(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, call_and_note, [endpoint.cptr(), 1, 0]);
    endpoint.recv();
    record(0);
    reply(&Message::new(0, &[]));
    record(2);
    assert_eq!(recorded(), [0, 1, 2]);
}

fn signal_order(env: &mut Env) {
    let notification = env.notification();
    for number in 1..=4 {
        env.thread(
            PRIORITY + number % 3 + 1,
            wait_and_note,
            [notification.cptr(), number, 0],
        );
    }
    for _ in 0..4 {
        notification.signal();
    }
    assert_eq!(recorded(), [1, 2, 3, 4]);
}

fn queued_keeps_place(env: &mut Env) {
    let endpoint = env.endpoint();
    let first = env.thread(PRIORITY + 1, receive_and_note, [endpoint.cptr(), 1, 0]);
    env.thread(PRIORITY + 1, receive_and_note, [endpoint.cptr(), 2, 0]);
    ok(first.tcb.set_priority(env.tcb, PRIORITY + 2));
    endpoint.send(&Message::new(0, &[]));
    endpoint.send(&Message::new(0, &[]));
    assert_eq!(recorded(), [1, 2]);
}

fn idle(env: &mut Env) {
    // With the watchdog stopped nothing runs but the kernel until the clock's interrupt arrives.
    let notification = env.notification();
    let slot = env.slot();
    ok(env
        .root
        .irq_control
        .handler(super::interrupts::CLOCK_IRQ, slot));
    let handler = baton_runtime::sel4::IrqHandler::new(slot.index);
    let badged = env.mint(notification, CapRights::ALL, 2);
    ok(handler.set_notification(badged));
    super::interrupts::alarm_in(env, 2_000_000);
    ok(env.watchdog.suspend());
    assert_eq!(notification.wait(), 2);
    super::interrupts::quiet(env);
    ok(handler.acknowledge());
    ok(slot.delete());
}

extern "C" fn spin(stop: u64, seed: u64, _: u64) {
    let changed = probe::spin_until(shared::word(stop as usize), seed);
    shared::set(2, 1 + changed);
}

extern "C" fn set(index: u64, _: u64, _: u64) {
    shared::set(index as usize, 1);
}

fn read_cannot_move_self(env: &mut Env) {
    env.thread(PRIORITY - 1, spin, [1, 99, 0]);
    env.thread(PRIORITY - 1, set, [1, 0, 0]);
    let_others_run(env);
    assert_eq!(shared::get(2), 1);
}
