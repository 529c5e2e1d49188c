//! The entry of the future that `run_until` drives, once that future has finished.

use baton_inbox::InSlot;
use baton_inprocess::{Clock, node};
use baton_rpc::{Config, Mode};
use baton_trace::Ring;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;

#[test]
fn a_root_whose_entry_is_taken_in_the_turn_of_its_end_is_still_seen_to_end() {
    let config = Config {
        tasks: 2,
        ..Config::default()
    };
    let clock = Clock::Manual(Arc::new(Mutex::new(0)));
    let (node, _) = node::<InSlot>(config, clock, Arc::new(Ring::new(8)));
    let executor = node.executor().clone();
    let mut polls = 0;
    // Polled before the root, and once more after it: then it takes the root's entry.
    let heir = poll_fn(move |context| {
        polls += 1;
        if polls == 2 {
            executor.spawn(pending::<()>()).unwrap();
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    node.executor().spawn(heir).unwrap();
    let mut turns = 0;
    let root = poll_fn(|_| {
        turns += 1;
        Poll::Ready(turns)
    });
    assert_eq!(node.run_until(Mode::Adaptive, root), Ok(1));
}
