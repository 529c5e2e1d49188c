//! Every interleaving of one recorder and one reader, by the loom model checker.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p baton-trace --test loom_trace`.
#![cfg(loom)]

use baton_trace::{Event, Ring, Step};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread;

fn event(number: u64) -> Event {
    Event {
        time_ns: number,
        step: Step::Drain,
        connection: number as u16,
        task: number as u16,
        token: number,
        detail: number as u32,
    }
}

#[test]
fn a_snapshot_holds_no_torn_event() {
    loom::model(|| {
        let ring = Arc::new(Ring::new(1));
        let recorder = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                ring.record(event(0));
                ring.record(event(1));
            })
        };
        for (number, found) in ring.snapshot() {
            assert_eq!(found, event(number));
        }
        recorder.join().unwrap();
        assert_eq!(ring.snapshot(), [(1, event(1))]);
    });
}

/// The slot's protocol with two words, and with either fence left out on demand.
fn two_words(release_fence: bool, acquire_fence: bool) {
    loom::model(move || {
        let slot = Arc::new(std::array::from_fn::<_, 3, _>(|_| AtomicU64::new(0)));
        let writer = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                for number in 1..=2 {
                    slot[0].store(2 * number - 1, Ordering::Relaxed);
                    if release_fence {
                        fence(Ordering::Release); // pairs with the reader's Acquire fence
                    }
                    slot[1].store(number, Ordering::Relaxed);
                    slot[2].store(number, Ordering::Relaxed);
                    slot[0].store(2 * number, Ordering::Release); // pairs with the reader's Acquire load
                }
            })
        };
        let before = slot[0].load(Ordering::Acquire); // pairs with the writer's Release store
        let words = (
            slot[1].load(Ordering::Relaxed),
            slot[2].load(Ordering::Relaxed),
        );
        if acquire_fence {
            fence(Ordering::Acquire); // pairs with the writer's Release fence
        }
        let after = slot[0].load(Ordering::Relaxed);
        if before == after && before % 2 == 0 {
            assert_eq!(words, (before / 2, before / 2));
        }
        writer.join().unwrap();
    });
}

#[test]
fn the_protocol_holds() {
    two_words(true, true);
}

#[test]
#[should_panic]
fn it_fails_without_the_release_fence() {
    two_words(false, true);
}

#[test]
#[should_panic]
fn it_fails_without_the_acquire_fence() {
    two_words(true, false);
}
