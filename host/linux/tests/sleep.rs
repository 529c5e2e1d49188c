//! Bells and the sleep on them. A lost wake-up shows as a test that never ends; nothing here waits for time to pass.

mod common;

use baton_inbox::{Bell, Platform};
use baton_linux::EventBell;
use baton_linux::bell::BellError;
use baton_linux::platform::Linux;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn a_ring_before_the_wait_ends_it_at_once() {
    common::watchdog();
    let linux = Linux::new().unwrap();
    let bell = linux.bells().add_bell().unwrap();
    bell.bell().ring();
    linux.wait(None);
    linux.own_bell().ring();
    linux.wait(None);
    // Once more with both, and a second ring of the same bell without a read in between.
    bell.bell().ring();
    linux.own_bell().ring();
    linux.wait(None);
}

#[test]
fn a_ring_is_reported_once() {
    let linux = Linux::new().unwrap();
    let bell = linux.bells().add_bell().unwrap();
    bell.bell().ring();
    linux.wait(None);
    // Would this wait return for the old ring, it would do so before its deadline.
    let deadline_ns = linux.now_ns() + 2_000_000;
    linux.wait(Some(deadline_ns));
    assert!(linux.now_ns() >= deadline_ns);
}

#[test]
fn a_deadline_that_has_passed_does_not_wait() {
    let linux = Linux::new().unwrap();
    linux.wait(Some(0));
    linux.wait(Some(linux.now_ns()));
}

#[test]
fn a_dropped_bell_wakes_nobody() {
    let linux = Linux::new().unwrap();
    let bell = linux.bells().add_bell().unwrap();
    let kept_by_peer = bell.bell().clone();
    drop(bell);
    kept_by_peer.ring();
    let deadline_ns = linux.now_ns() + 2_000_000;
    linux.wait(Some(deadline_ns));
    assert!(linux.now_ns() >= deadline_ns);
}

#[test]
fn no_ring_of_another_thread_is_lost() {
    const ROUNDS: u32 = 20_000;
    common::watchdog();
    let linux = Linux::new().unwrap();
    let bells = [(); 3].map(|()| linux.bells().add_bell().unwrap());
    let asked = Arc::new(AtomicU32::new(0));
    let answered = Arc::new(AtomicU32::new(0));
    let ringers: Vec<_> = bells
        .iter()
        .enumerate()
        .map(|(n, bell)| {
            let (bell, asked, answered) = (bell.bell().clone(), asked.clone(), answered.clone());
            std::thread::spawn(move || {
                loop {
                    // Acquire pairs with the sleeper's Release below.
                    let round = asked.load(Ordering::Acquire);
                    if round > ROUNDS {
                        return;
                    }
                    if round % 3 == n as u32 && answered.load(Ordering::Relaxed) < round {
                        // Release pairs with the sleeper's Acquire.
                        answered.store(round, Ordering::Release);
                        bell.ring();
                    } else {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    for round in 1..=ROUNDS {
        asked.store(round, Ordering::Release);
        while answered.load(Ordering::Acquire) != round {
            linux.wait(None);
        }
    }
    asked.store(ROUNDS + 1, Ordering::Release);
    for ringer in ringers {
        ringer.join().unwrap();
    }
}

#[test]
fn a_full_counter_does_not_block_the_ringer() {
    let bell = EventBell::new().unwrap();
    rustix::io::write(&bell, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    bell.ring();
    bell.ring();
}

#[test]
fn only_eventfds_are_taken_for_bells() {
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
    for fd in [read_end, write_end, file.into(), epoll] {
        assert_eq!(EventBell::from_peer(fd).unwrap_err(), BellError::NotEventfd);
    }
    // A blocking one is made non-blocking.
    let fd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let bell = EventBell::from_peer(fd).unwrap();
    rustix::io::write(&bell, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    bell.ring();
}

#[test]
fn the_current_executor_belongs_to_its_thread() {
    let marker = 0u8;
    assert!(Linux::current().is_null());
    Linux::set_current((&raw const marker).cast());
    assert_eq!(Linux::current(), (&raw const marker).cast());
    std::thread::spawn(|| assert!(Linux::current().is_null()))
        .join()
        .unwrap();
    Linux::set_current(core::ptr::null());
}

#[test]
fn a_thread_with_one_core_never_spins() {
    // A thread of its own, for the affinity stays with it.
    std::thread::spawn(|| {
        let mut one = rustix::thread::CpuSet::new();
        let all = rustix::thread::sched_getaffinity(None).unwrap();
        let first = (0..1024).find(|&cpu| all.is_set(cpu)).unwrap();
        one.set(first);
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        let linux = Linux::new().unwrap();
        assert_eq!(linux.spin_budget_ns(), 0);
    })
    .join()
    .unwrap();
}
