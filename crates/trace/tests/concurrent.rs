//! A reader that looks while another thread records never sees a torn event.
#![cfg(not(loom))]

use baton_trace::{Event, Ring, Step};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// An event all of whose fields follow from its number, so that mixing two shows.
fn event(number: u64, salt: u64) -> Event {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
    Event {
        time_ns: mixed,
        step: Step::ALL[(mixed % Step::ALL.len() as u64) as usize],
        connection: (mixed >> 8) as u16,
        task: (mixed >> 24) as u16,
        token: !mixed,
        detail: (mixed >> 32) as u32,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn snapshots_hold_whole_events_in_order(
        capacity in 1usize..40,
        events in 1u64..20_000,
        salt: u64,
    ) {
        let ring = Ring::new(capacity);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..events {
                    ring.record(event(number, salt));
                }
                done.store(true, Ordering::Release); // pairs with the Acquire load below
            });
            loop {
                let last_look = done.load(Ordering::Acquire); // pairs with the Release store above
                let snapshot = ring.snapshot();
                assert!(snapshot.len() <= ring.capacity());
                assert!(snapshot.is_sorted_by(|a, b| a.0 < b.0));
                for (number, found) in &snapshot {
                    assert_eq!(*found, event(*number, salt));
                }
                if last_look {
                    let kept = events.min(ring.capacity() as u64);
                    assert_eq!(snapshot.len() as u64, kept);
                    assert_eq!(ring.lost(), events - kept);
                    break;
                }
            }
        });
    }
}
