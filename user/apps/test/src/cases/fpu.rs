//! The floating-point unit.

use super::cases;
use crate::harness::{Env, PRIORITY, ok};
use crate::probe;
use crate::shared;
use baton_runtime::sel4::{Capability, Fault, Message, Notification, reply, yield_now};

cases! {
    kept_over_yield: "registers are kept while another thread uses them",
    kept_over_preemption: "registers are kept when the thread is preempted",
    kept_over_ipc: "registers are kept over messages to a thread that uses them",
    kept_in_process: "registers are kept between processes",
    control_is_kept: "rounding mode and flags are kept",
    disabled_faults: "a thread that is disabled faults when it uses them",
    enabled_again: "a thread that is enabled again goes on, with its own registers",
    disabled_keeps_others: "a disabled thread in between changes nothing",
    starts_clean: "a new thread finds zeros, not another's values",
}

fn pattern(seed: u64) -> [u64; 32] {
    core::array::from_fn(|index| 0x4000_0000_0000_0000 + seed * 1000 + index as u64)
}

fn is_kept(seed: u64, fcsr: u64) -> bool {
    let mut found = [0; 32];
    let found_fcsr = probe::store_fpu(&mut found);
    found == pattern(seed) && found_fcsr == fcsr
}

extern "C" fn use_and_yield(seed: u64, rounds: u64, _: u64) {
    for round in 0..rounds {
        // Rounding modes 0 to 4.
        let fcsr = ((seed % 5) << 5) | (round % 32);
        probe::load_fpu(&pattern(seed + round), fcsr);
        yield_now();
        if !is_kept(seed + round, fcsr) {
            shared::add(1, 1);
        }
    }
    shared::add(0, 1);
}

extern "C" fn signal(notification: u64, _: u64, _: u64) {
    Notification::new(notification).signal();
}

fn let_others_run(env: &mut Env) {
    let done = env.notification();
    env.thread(1, signal, [done.cptr(), 0, 0]);
    done.wait();
}

fn kept_over_yield(env: &mut Env) {
    for seed in 1..=3 {
        env.thread(PRIORITY - 1, use_and_yield, [seed * 100, 20, 0]);
    }
    let_others_run(env);
    assert_eq!((shared::get(0), shared::get(1)), (3, 0));
}

extern "C" fn use_and_spin(seed: u64, index: u64, _: u64) {
    probe::load_fpu(&pattern(seed), 0);
    shared::add(0, 1);
    // Until each has had its turn, which takes the end of this one's time slice.
    while shared::get(0) < 3 {
        core::hint::spin_loop();
    }
    shared::set(index as usize, if is_kept(seed, 0) { 1 } else { 2 });
}

fn kept_over_preemption(env: &mut Env) {
    for index in 1..=3 {
        env.thread(PRIORITY - 1, use_and_spin, [index * 7, index, 0]);
    }
    let_others_run(env);
    assert_eq!([1, 2, 3].map(shared::get), [1, 1, 1]);
}

extern "C" fn serve(endpoint: u64, _: u64, _: u64) {
    let endpoint = baton_runtime::sel4::Endpoint::new(endpoint);
    let mut received = endpoint.recv();
    loop {
        probe::load_fpu(&pattern(received.mrs[0] + 500), 1 << 5);
        received = endpoint.reply_recv(&Message::new(0, &[]));
    }
}

fn kept_over_ipc(env: &mut Env) {
    let endpoint = env.endpoint();
    env.thread(PRIORITY + 1, serve, [endpoint.cptr(), 0, 0]);
    for seed in 1..=10 {
        probe::load_fpu(&pattern(seed), 2 << 5);
        endpoint.call(&Message::new(0, &[seed]));
        assert!(is_kept(seed, 2 << 5), "round {seed}");
    }
    probe::load_fpu(&[0; 32], 0);
}

const FPU: u64 = 11;

fn kept_in_process(env: &mut Env) {
    let (parent, ready) = (env.endpoint(), env.notification());
    let all = baton_runtime::sel4::CapRights::ALL;
    let mut go = [None; 3];
    for (index, go) in go.iter_mut().enumerate() {
        let notification = env.notification();
        *go = Some(notification);
        let gifts = [env.gift(notification, all), env.gift(ready, all)];
        let arguments = [FPU, 0x4100_0000_0000_0000 + index as u64 * 64];
        let process =
            env.new_process_of(parent, index as u64 + 1, PRIORITY + 1, &arguments, &gifts);
        ok(process.start());
        ready.wait();
    }
    for (index, go) in go.iter().flatten().enumerate() {
        go.signal();
        let end = parent.recv();
        assert_eq!(end.label(), baton_runtime::protocol::EXIT);
        assert_eq!(
            (end.badge, end.mrs[0]),
            (index as u64 + 1, 0x4100_0000_0000_0000 + index as u64 * 64)
        );
    }
}

fn control_is_kept(env: &mut Env) {
    env.thread(PRIORITY, use_and_yield, [3, 3, 0]);
    for fcsr in [0, 0x1f, 1 << 5, (4 << 5) | 3] {
        probe::load_fpu(&pattern(9), fcsr);
        yield_now();
        assert!(is_kept(9, fcsr));
    }
    probe::load_fpu(&[0; 32], 0);
}

extern "C" fn use_once(seed: u64, index: u64, _: u64) {
    probe::load_fpu(&pattern(seed), 0);
    shared::set(index as usize, if is_kept(seed, 0) { 1 } else { 2 });
}

fn disabled_faults(env: &mut Env) {
    let faults = env.endpoint();
    let thread = env.new_faulting_thread(PRIORITY + 1, faults.cptr());
    assert_eq!(thread.tcb.set_flags(0, 1), Ok(1));
    ok(thread.start(use_once, [1, 0, 0]));
    let Some(Fault::UserException { number, .. }) = Fault::from_message(&faults.nb_recv()) else {
        panic!("no exception");
    };
    assert_eq!((number, shared::get(0)), (2, 0));
}

fn enabled_again(env: &mut Env) {
    let faults = env.endpoint();
    let thread = env.new_faulting_thread(PRIORITY + 1, faults.cptr());
    ok(thread.tcb.set_flags(0, 1));
    ok(thread.start(use_once, [1, 0, 0]));
    let received = faults.nb_recv();
    assert!(Fault::from_message(&received).is_some());
    assert_eq!(thread.tcb.set_flags(1, 0), Ok(0));
    reply(&Message::new(0, &[]));
    assert_eq!(shared::get(0), 1);
}

extern "C" fn add(index: u64, _: u64, _: u64) {
    shared::add(index as usize, 1);
}

fn disabled_keeps_others(env: &mut Env) {
    let disabled = env.new_thread(PRIORITY + 1);
    ok(disabled.tcb.set_flags(0, 1));
    for round in 1..=5 {
        probe::load_fpu(&pattern(round), 0);
        ok(disabled.start(add, [0, 0, 0]));
        assert_eq!(shared::get(0), round);
        assert!(is_kept(round, 0));
    }
    probe::load_fpu(&[0; 32], 0);
}

extern "C" fn look(index: u64, _: u64, _: u64) {
    let mut found = [1; 32];
    let fcsr = probe::store_fpu(&mut found);
    shared::set(
        index as usize,
        if found == [0; 32] && fcsr == 0 { 1 } else { 2 },
    );
}

fn starts_clean(env: &mut Env) {
    probe::load_fpu(&pattern(5), 0x7f);
    env.thread(PRIORITY + 1, look, [0, 0, 0]);
    assert_eq!(shared::get(0), 1);
    assert!(is_kept(5, 0x7f));
    probe::load_fpu(&[0; 32], 0);
}
