//! The base of thread-local storage.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::probe;
use crate::shared;
use baton_runtime::sel4::{Capability, Notification, Tcb, yield_now};

cases! {
    of_another: "the base of another thread is what its tp holds",
    of_oneself: "a thread sets its own base",
    each_its_own: "each thread keeps its own base while others run",
    while_waiting: "the base of a thread that waits can be set",
}

extern "C" fn show(index: u64, _: u64, _: u64) {
    shared::set(index as usize, probe::thread_pointer());
}

fn of_another(env: &mut Env) {
    let thread = env.new_thread(PRIORITY + 1);
    let context = thread.context(show, [0; 3]);
    ok(thread.tcb.write_all_registers(false, &context));
    // Its area stays where it is: a second copy of it would do, but a thread that ends needs one.
    let base = context.tp;
    ok(thread.tcb.set_tls_base(0x1234_5678_9ab0));
    assert_eq!(
        ok(thread.tcb.read_registers(false, 32)).tp,
        0x1234_5678_9ab0
    );
    ok(thread.tcb.set_tls_base(base));
    ok(thread.tcb.resume());
    assert_eq!(shared::get(0), base);
}

extern "C" fn change_own(tcb: u64, area: u64, _: u64) {
    let base = probe::thread_pointer();
    // The call itself needs nothing of the area: its one word travels in a register.
    let result = Tcb::new(tcb).set_tls_base(area);
    shared::set(0, probe::thread_pointer());
    let back = Tcb::new(tcb).set_tls_base(base);
    shared::set(1, 1 + u64::from(result.is_ok() && back.is_ok()));
}

fn of_oneself(env: &mut Env) {
    let thread = env.new_thread(PRIORITY + 1);
    ok(thread.start(change_own, [thread.tcb.cptr(), 0x7700, 0]));
    assert_eq!((shared::get(0), shared::get(1)), (0x7700, 2));
}

extern "C" fn compare(index: u64, rounds: u64, _: u64) {
    let base = probe::thread_pointer();
    for _ in 0..rounds {
        yield_now();
        if probe::thread_pointer() != base {
            return;
        }
    }
    shared::set(index as usize, base);
}

fn each_its_own(env: &mut Env) {
    for index in 0..4 {
        env.thread(PRIORITY, compare, [index, 20, 0]);
    }
    for _ in 0..40 {
        yield_now();
    }
    let bases: [u64; 4] = core::array::from_fn(shared::get);
    for (index, base) in bases.iter().enumerate() {
        assert!(*base != 0 && !bases[..index].contains(base));
    }
}

extern "C" fn wait_and_show(notification: u64, index: u64, tcb: u64) {
    let base = probe::thread_pointer();
    Notification::new(notification).wait();
    shared::set(index as usize, probe::thread_pointer());
    let _ = Tcb::new(tcb).set_tls_base(base);
}

fn while_waiting(env: &mut Env) {
    let notification = env.notification();
    let thread = env.new_thread(PRIORITY + 1);
    ok(thread.start(wait_and_show, [notification.cptr(), 0, thread.tcb.cptr()]));
    ok(thread.tcb.set_tls_base(0x5500));
    notification.signal();
    assert_eq!(shared::get(0), 0x5500);
}
