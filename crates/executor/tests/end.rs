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

/// An ended executor's memory for foreign wakes goes to the next one; what it runs at the moment must not be told from there.
#[test]
fn a_task_that_ends_its_executor_and_makes_another_is_not_dropped_while_it_runs() {
    let word = || HeapWords::region(8).word(0).expect("it has words");
    let platform = || Alone {
        sleeps_left: Cell::new(8),
    };
    let make = move || {
        let config = Config {
            tasks: 3,
            ..Config::default()
        };
        let made = Executor::new(platform(), word(), Arc::new(Ring::new(8)), config);
        Rc::new(made.expect("there is room for two"))
    };
    let executor = make();
    let handle = Handle::clone(&executor);
    let dropped = Rc::new(Cell::new(false));
    let noted = dropped.clone();
    let last = Cell::new(Some(executor.clone()));
    let task = async move {
        let noted = OnDrop(move || noted.set(true));
        let ended = last.take().expect("polled once");
        ended.end();
        let _next: Vec<_> = (0..8).map(|_| make()).collect();
        // Drops all tasks of the ended executor but the one that runs.
        drop(ended);
        std::hint::black_box(&noted);
        last
    };
    handle.spawn(task).expect("there is room");
    let seen = dropped.clone();
    drop(executor);
    let _ = handle.turn(&());
    assert!(seen.get(), "it goes when its poll is over");
}
