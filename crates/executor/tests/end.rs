//! The end of an executor while it runs.
#![cfg(not(loom))]

use baton_executor::{Config, Executor, Handle, Mode, RunError};
use baton_inbox::{Bell, InSlot, Platform};
use baton_shm::HeapWords;
use baton_trace::Ring;
use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

thread_local! {
    static CURRENT: Cell<*const ()> = const { Cell::new(std::ptr::null()) };
}

/// Sleeps a few times, and then says that nothing will ever come.
struct Alone {
    sleeps_left: Cell<u32>,
}

struct NoBell;

impl Bell for NoBell {
    fn ring(&self) {}
}

impl Platform for Alone {
    type Bell = NoBell;
    type Publication = InSlot;

    fn wait(&self, _deadline_ns: Option<u64>) {
        let left = self.sleeps_left.get();
        assert_ne!(left, 0, "it sleeps for ever");
        self.sleeps_left.set(left - 1);
    }
    fn own_bell(&self) -> NoBell {
        NoBell
    }
    fn now_ns(&self) -> u64 {
        0
    }
    fn spin_budget_ns(&self) -> u64 {
        0
    }
    fn spin_ended(&self, _spun_ns: u64, _found_work: bool) {}
    fn current() -> *const () {
        CURRENT.get()
    }
    fn set_current(current: *const ()) {
        CURRENT.set(current);
    }
}

/// Does something when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Found by fuzzing: what a dropped task spawned took the root's entry, and the run waited for that for ever.
#[test]
fn a_run_ends_with_its_executor_though_another_task_takes_the_roots_entry() {
    let state = HeapWords::region(8).word(0).expect("it has words");
    let platform = Alone {
        sleeps_left: Cell::new(8),
    };
    let config = Config {
        tasks: 3,
        ..Config::default()
    };
    let executor = Executor::new(platform, state, Arc::new(Ring::new(8)), config);
    let executor = Rc::new(executor.expect("there is room for one"));

    // The root has the first entry. It fills the others: with a task that spawns when it is dropped, and one that ends the executor.
    let other = executor.clone();
    let mut polled = false;
    let root = poll_fn(move |_| {
        if !std::mem::replace(&mut polled, true) {
            let handle = Handle::clone(&other);
            let heir = OnDrop(move || {
                handle
                    .spawn(pending::<()>())
                    .expect("the root's entry is free");
            });
            let holder = async move {
                let _heir = heir;
                pending::<()>().await;
            };
            other.spawn(holder).expect("two entries are free");
            let ended = other.clone();
            let ender = async move { ended.end() };
            other.spawn(ender).expect("one entry is free");
        }
        Poll::<()>::Pending
    });
    assert_eq!(
        executor.run_until(&(), Mode::Park, root),
        Err(RunError::Ended)
    );
}
