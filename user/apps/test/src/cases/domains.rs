//! Scheduling domains: what holds for every kernel, and what needs one with several domains.

use super::Case;
use crate::harness::{Env, PRIORITY, ok};
use crate::shared;
use baton_runtime::sel4::{
    CapRights, Capability, DomainSet, Endpoint, Error, Message, Notification, Tcb, yield_now,
};

macro_rules! domain_cases {
    ($($function:ident: $needs:literal, $name:literal),* $(,)?) => {
        /// The cases of this category.
        pub const CASES: &[Case] = &[$(Case {
            name: $name,
            run: $function,
            needs_domains: $needs,
        }),*];
    };
}

domain_cases! {
    own_domain: false, "a thread can be put into the domain that it is in",
    no_such_domain: false, "a domain that does not exist is refused",
    must_be_thread: false, "only threads can be put into a domain",
    capability_is_needed: false, "only the domain capability puts threads into domains",
    other_domain_runs: true, "threads of each domain run in its time, without this one yielding",
    priority_does_not_cross: true, "a thread of higher priority in another domain does not go before",
    messages_cross: true, "messages and answers cross domains",
    signals_cross: true, "a signal wakes a thread of another domain",
    schedule_repeats: true, "the schedule goes round",
    empty_domain: true, "a domain without threads delays the others, and that is all",
    back_again: true, "a thread can be put back",
    suspended_in_other: true, "a thread that is stopped in another domain does not run",
    unscheduled: true, "a domain that has no entry in the schedule does not run",
    configured_domain: true, "a schedule entry names a domain that exists",
    configured_start: true, "a schedule starts at an entry that is part of it",
}

/// Each domain in turn, for one tick. Before and after a case, only the first runs.
fn schedule_all(env: &Env) {
    for domain in 0..env.domains {
        ok(env.root.domains.schedule_configure(domain, domain, 1));
    }
    ok(env.root.domains.schedule_configure(env.domains, 0, 0));
    ok(env.root.domains.schedule_set_start(0));
}

fn own_domain(env: &mut Env) {
    let tcb = env.bare_tcb();
    ok(env.root.domains.set(0, tcb));
    ok(env.root.domains.set(0, env.tcb));
}

fn no_such_domain(env: &mut Env) {
    let tcb = env.bare_tcb();
    for domain in [env.domains, 255, u64::MAX] {
        assert_eq!(
            env.root.domains.set(domain, tcb),
            Err(Error::InvalidArgument { argument: 0 }),
            "{domain}"
        );
    }
}

fn must_be_thread(env: &mut Env) {
    let endpoint = env.endpoint();
    let empty = env.slot();
    for cptr in [endpoint.cptr(), empty.index] {
        let result = env.root.domains.set(0, Tcb::new(cptr));
        assert_eq!(result, Err(Error::InvalidArgument { argument: 1 }));
    }
}

fn capability_is_needed(env: &mut Env) {
    let tcb = env.bare_tcb();
    let result = DomainSet::new(tcb.cptr()).set(0, tcb);
    assert_eq!(result, Err(Error::IllegalOperation));
    // A copy is as good.
    let copy = env.copy(env.root.domains);
    ok(copy.set(0, tcb));
}

extern "C" fn mark(index: u64, _: u64, _: u64) {
    shared::set(index as usize, 1);
}

extern "C" fn count_until_stopped(index: u64, stop: u64, _: u64) {
    while shared::get(stop as usize) == 0 {
        shared::add(index as usize, 1);
    }
}

/// Starts a thread in a domain.
fn thread_in(
    env: &mut Env,
    domain: u64,
    priority: u64,
    entry: baton_runtime::ThreadEntry,
    words: [u64; 3],
) -> baton_runtime::Thread {
    let thread = env.new_thread(priority);
    ok(env.root.domains.set(domain, thread.tcb));
    ok(thread.start(entry, words));
    thread
}

/// Runs on until the word is not 0, which another domain must see to.
fn until_set(index: usize) {
    while shared::get(index) == 0 {
        core::hint::spin_loop();
    }
}

fn other_domain_runs(env: &mut Env) {
    schedule_all(env);
    for domain in 1..env.domains {
        thread_in(env, domain, 1, mark, [domain, 0, 0]);
    }
    // This thread never waits: their time comes by the schedule alone.
    for domain in 1..env.domains {
        until_set(domain as usize);
    }
}

fn priority_does_not_cross(env: &mut Env) {
    schedule_all(env);
    let thread = env.new_thread(PRIORITY + 50);
    ok(env.root.domains.set(1, thread.tcb));
    // In this domain's time the other one would run at once if priority counted. Once in a while its time comes in between, so try
    // until it has not.
    let mut ran_later = false;
    for _ in 0..100 {
        shared::set(0, 0);
        ok(thread.start(mark, [0, 0, 0]));
        if shared::get(0) == 0 {
            ran_later = true;
            break;
        }
    }
    assert!(ran_later);
    until_set(0);
}

extern "C" fn serve(endpoint: u64, _: u64, _: u64) {
    let endpoint = Endpoint::new(endpoint);
    let mut received = endpoint.recv();
    loop {
        received = endpoint.reply_recv(&Message::new(0, &[received.mrs[0] + 1]));
    }
}

fn messages_cross(env: &mut Env) {
    schedule_all(env);
    let endpoint = env.endpoint();
    thread_in(env, 1, 10, serve, [endpoint.cptr(), 0, 0]);
    for word in 0..5 {
        assert_eq!(endpoint.call(&Message::new(0, &[word])).mrs[0], word + 1);
    }
}

extern "C" fn wait_and_signal(wait: u64, signal: u64, rounds: u64) {
    for _ in 0..rounds {
        Notification::new(wait).wait();
        Notification::new(signal).signal();
    }
}

fn signals_cross(env: &mut Env) {
    schedule_all(env);
    let (there, back) = (env.notification(), env.notification());
    let badged = env.mint(back, CapRights::ALL, 3);
    thread_in(
        env,
        env.domains - 1,
        10,
        wait_and_signal,
        [there.cptr(), badged.cptr(), 4],
    );
    for _ in 0..4 {
        there.signal();
        assert_eq!(back.wait(), 3);
    }
}

fn schedule_repeats(env: &mut Env) {
    schedule_all(env);
    thread_in(env, 1, 10, count_until_stopped, [0, 5, 0]);
    // Its count goes up, stands while this thread runs, and goes up again: three times.
    let mut last = 0;
    for _ in 0..3 {
        while shared::get(0) == last {
            core::hint::spin_loop();
        }
        last = shared::get(0);
    }
    shared::set(5, 1);
}

fn empty_domain(env: &mut Env) {
    schedule_all(env);
    // All domains but this thread's and the last are empty.
    let last = env.domains - 1;
    for _ in 0..3 {
        shared::set(0, 0);
        thread_in(env, last, 1, mark, [0, 0, 0]);
        until_set(0);
    }
}

fn back_again(env: &mut Env) {
    schedule_all(env);
    let thread = thread_in(env, 1, PRIORITY, count_until_stopped, [0, 5, 0]);
    until_set(0);
    ok(env.root.domains.set(0, thread.tcb));
    // In one domain, yielding lets it run, in this domain's time.
    let before = shared::get(0);
    while shared::get(0) == before {
        yield_now();
    }
    shared::set(5, 1);
}

fn suspended_in_other(env: &mut Env) {
    schedule_all(env);
    let thread = thread_in(env, 1, 10, count_until_stopped, [0, 5, 0]);
    until_set(0);
    ok(thread.tcb.suspend());
    let before = shared::get(0);
    // By the time that another thread of that domain has run, this one would have.
    thread_in(env, 1, 5, mark, [1, 0, 0]);
    until_set(1);
    assert_eq!(shared::get(0), before);
}

fn configured_domain(env: &mut Env) {
    assert!(
        env.root
            .domains
            .schedule_configure(0, env.domains, 1)
            .is_err()
    );
    assert!(env.root.domains.schedule_configure(u64::MAX, 0, 1).is_err());
    schedule_all(env);
}

fn configured_start(env: &mut Env) {
    assert!(env.root.domains.schedule_set_start(u64::MAX).is_err());
    // An entry without ticks is an end, and none starts there.
    schedule_all(env);
    assert!(env.root.domains.schedule_set_start(env.domains).is_err());
}

fn unscheduled(env: &mut Env) {
    // Domain 1 has no entry: its thread does not run, though the others' do.
    for (index, domain) in [0, 2, 3].into_iter().enumerate() {
        ok(env.root.domains.schedule_configure(index as u64, domain, 1));
    }
    ok(env.root.domains.schedule_configure(3, 0, 0));
    ok(env.root.domains.schedule_set_start(0));
    thread_in(env, 1, 50, mark, [1, 0, 0]);
    for _ in 0..3 {
        shared::set(3, 0);
        thread_in(env, 3, 1, mark, [3, 0, 0]);
        until_set(3);
    }
    assert_eq!(shared::get(1), 0);
    // As soon as it has one, it does.
    schedule_all(env);
    until_set(1);
}
