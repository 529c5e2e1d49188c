//! The executor by itself: wakes at odd moments, ends, full tables, timers, panics.

mod common;

use baton_inprocess::{Clock, InProcess, node};
use baton_rpc::{Band, Config, JoinHandle, Mode, RunError};
use baton_trace::Ring;
use common::{Here, Side, settle, side};
use futures::channel::oneshot;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

fn sized(tasks: usize, timers: usize) -> Side {
    let config = Config {
        tasks,
        timers,
        quantum: 8,
    };
    Side::new(config, Arc::new(Ring::new(1)))
}

fn spawn<T: 'static>(
    side: &Side,
    future: impl Future<Output = T> + 'static,
) -> JoinHandle<Here, T> {
    side.node.executor().spawn(future).unwrap()
}

/// Gives its waker away and waits for ever, counting its polls.
fn forever(
    waker: &Rc<RefCell<Option<Waker>>>,
    polls: &Rc<Cell<u32>>,
) -> impl Future<Output = ()> + use<> {
    let (waker, polls) = (waker.clone(), polls.clone());
    std::future::poll_fn(move |context| {
        polls.set(polls.get() + 1);
        *waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    })
}

#[test]
fn many_wakes_are_one_poll() {
    let side = side();
    let (waker, polls) = (Rc::default(), Rc::default());
    let task = spawn(&side, forever(&waker, &polls));
    side.turn();
    let waker = waker.take().unwrap();
    for _ in 0..3 {
        waker.wake_by_ref();
    }
    let other = waker.clone();
    spawn(&side, async move {
        // The same from inside, on the executor's own thread.
        other.wake_by_ref();
        other.wake_by_ref();
    });
    side.turn();
    side.turn();
    // One for the wakes from outside, one for those from inside; or one for all.
    assert!((2..=3).contains(&polls.get()), "{}", polls.get());
    assert_eq!(side.turn(), 0);
    task.cancel();
    side.turn();
    assert!(task.is_finished());
}

#[test]
fn a_wake_during_the_poll_leads_to_another() {
    let side = side();
    let polls = Rc::new(Cell::new(0));
    let counted = polls.clone();
    let task = std::future::poll_fn(move |context| {
        counted.set(counted.get() + 1);
        if counted.get() < 3 {
            context.waker().wake_by_ref();
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    });
    let task = spawn(&side, task);
    side.turn();
    assert_eq!(polls.get(), 3);
    assert!(task.is_finished());
    assert_eq!(side.turn(), 0);
}

#[test]
fn a_wake_after_completion_does_nothing() {
    let side = side();
    let (waker, polls) = (Rc::default(), Rc::default());
    let task = spawn(&side, forever(&waker, &polls));
    side.turn();
    let waker = waker.take().unwrap();
    task.cancel();
    side.turn();
    waker.wake_by_ref();
    side.turn();
    // The entry goes to somebody else, who is at worst polled once too often.
    let (other, other_polls) = (Rc::default(), Rc::default());
    let other_task = spawn(&side, forever(&other, &other_polls));
    side.turn();
    waker.wake();
    side.turn();
    assert_eq!(polls.get(), 1);
    assert!(other_polls.get() <= 2 && !other_task.is_finished());
}

#[test]
fn a_wake_after_the_executors_end_does_nothing() {
    let (waker, polls) = (Rc::default(), Rc::default());
    let ended = side();
    let task = spawn(&ended, forever(&waker, &polls));
    ended.turn();
    let waker = waker.take().unwrap();
    drop(ended);
    assert!(task.is_finished());
    waker.wake_by_ref();
    // The next executor, which may use the same slot of the registry.
    let next = side();
    waker.wake_by_ref();
    std::thread::scope(|scope| {
        scope.spawn(|| waker.wake_by_ref());
    });
    assert_eq!(next.turn(), 0);
    assert_eq!(polls.get(), 1);
}

#[test]
fn an_executor_is_not_driven_from_inside_its_own_task() {
    let side = Rc::new(side());
    let inner = side.clone();
    let task = spawn(&side, async move {
        let turned = inner.node.turn();
        (turned, inner.node.run_until(Mode::Poll, async {}))
    });
    side.turn();
    assert_eq!(
        task.try_take(),
        Some(Ok((Err(RunError::Nested), Err(RunError::Nested))))
    );
}

#[test]
fn another_executor_may_be_driven_from_inside_a_task() {
    let (outer, inner) = (side(), side());
    let (sender, receiver) = oneshot::channel();
    let inside = spawn(&inner, receiver);
    let task = spawn(&outer, async move {
        sender.send(5).unwrap();
        inner.node.turn().unwrap();
        (inside.try_take(), inner)
    });
    outer.turn();
    let (answer, _inner) = task.try_take().unwrap().unwrap();
    assert_eq!(answer, Some(Ok(Ok(5))));
}

#[test]
fn a_full_table_refuses_and_recovers() {
    let side = sized(2, 1);
    let (waker, polls) = (Rc::default(), Rc::default());
    let first = spawn(&side, forever(&waker, &polls));
    let _second = spawn(&side, forever(&waker, &polls));
    let full = side.node.executor().spawn(async {}).err().unwrap();
    assert_eq!((full.wanted, full.capacity), (1, 2));
    let run = side.node.run_until(Mode::Poll, async {});
    assert!(matches!(run, Err(RunError::TableFull(_))));
    first.cancel();
    side.turn();
    let third = spawn(&side, async { 3 });
    side.turn();
    assert_eq!(third.try_take(), Some(Ok(3)));
}

#[test]
fn all_timers_armed_is_an_error_and_no_more() {
    let side = sized(8, 2);
    let executor = side.node.executor().clone();
    let sleeps: Vec<_> = [30, 10, 20]
        .map(|deadline_ns| spawn(&side, executor.sleep_until(deadline_ns)))
        .into();
    side.turn();
    assert_eq!(
        sleeps[2]
            .try_take()
            .unwrap()
            .unwrap()
            .unwrap_err()
            .to_string(),
        "all 2 timer entries are armed"
    );
    let before = {
        let executor = executor.clone();
        spawn(&side, async move {
            executor.before(5, std::future::pending::<()>()).await
        })
    };
    side.turn();
    assert!(before.try_take().unwrap().unwrap().is_err());
    for (now_ns, done) in [(9, [false, false]), (10, [false, true]), (30, [true, true])] {
        side.set_clock_ns(now_ns);
        side.turn();
        side.turn();
        assert_eq!(
            [0, 1].map(|at: usize| sleeps[at].is_finished()),
            done,
            "at {now_ns}"
        );
    }
    // And they are free again.
    for _ in 0..5 {
        let deadline_ns = executor.platform_now_ns() + 1;
        let sleep = spawn(&side, executor.sleep_until(deadline_ns));
        side.turn();
        side.set_clock_ns(deadline_ns);
        side.turn();
        side.turn();
        assert_eq!(sleep.try_take(), Some(Ok(Ok(()))));
    }
}

trait Now {
    fn platform_now_ns(&self) -> u64;
}

impl Now for baton_rpc::Handle<Here> {
    fn platform_now_ns(&self) -> u64 {
        use baton_rpc::Platform;
        self.platform().now_ns()
    }
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines() {
    let side = sized(64, 64);
    let order = Rc::new(RefCell::new(Vec::new()));
    // A permutation of 0..61, some of them dropped again.
    let tasks: Vec<_> = (0..61u64)
        .map(|number| {
            let deadline_ns = number * 37 % 61 + 1;
            let (order, executor) = (order.clone(), side.node.executor().clone());
            let task = spawn(&side, async move {
                executor.sleep_until(deadline_ns).await.unwrap();
                order.borrow_mut().push(deadline_ns);
            });
            (deadline_ns, task)
        })
        .collect();
    for _ in 0..20 {
        side.turn();
    }
    for (deadline_ns, task) in &tasks {
        if deadline_ns % 3 == 0 {
            task.cancel();
        }
    }
    for _ in 0..20 {
        side.turn();
    }
    side.set_clock_ns(1000);
    settle(&[&side], 100);
    let expected: Vec<_> = (1..=61)
        .filter(|deadline_ns| deadline_ns % 3 != 0)
        .collect();
    assert_eq!(*order.borrow(), expected);
}

#[test]
fn a_deadline_at_the_end_of_time_never_comes() {
    let side = sized(8, 8);
    let executor = side.node.executor().clone();
    let never = spawn(&side, executor.sleep(u64::MAX));
    let soon = spawn(&side, executor.sleep(10));
    side.turn();
    side.set_clock_ns(u64::MAX - 1);
    settle(&[&side], 20);
    assert!(soon.is_finished() && !never.is_finished());
}

#[test]
fn a_task_that_panics_is_dropped_and_its_joiner_told() {
    struct Dropped(Rc<Cell<u32>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let side = side();
    let dropped = Rc::new(Cell::new(0));
    let held = Dropped(dropped.clone());
    let bad = spawn(&side, async move {
        let _held = held;
        panic!("of a task");
    });
    let joiner = spawn(&side, bad);
    let good = spawn(&side, async { 7 });
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = catch_unwind(AssertUnwindSafe(|| side.node.turn()));
    std::panic::set_hook(hook);
    assert!(panicked.is_err());
    settle(&[&side], 20);
    assert_eq!(good.try_take(), Some(Ok(7)));
    assert_eq!(dropped.get(), 1);
    let told = joiner.try_take().expect("the joiner waits for ever");
    assert!(told.unwrap().is_err());
    assert_eq!(side.node.run_until(Mode::Poll, async { 8 }), Ok(8));
}

#[test]
fn a_root_future_that_panics_leaves_the_executor_usable() {
    let side = side();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        side.node
            .run_until(Mode::Poll, async { panic!("of the root") })
    }));
    std::panic::set_hook(hook);
    assert!(panicked.is_err());
    for value in 0..200 {
        assert_eq!(side.node.run_until(Mode::Poll, async { value }), Ok(value));
    }
}

#[test]
fn joins_say_what_became_of_a_task() {
    let side = side();
    let done = spawn(&side, async { 1 });
    let joined = spawn(&side, done);
    settle(&[&side], 10);
    assert_eq!(joined.try_take(), Some(Ok(Ok(1))));
    assert!(joined.try_take().unwrap().is_err());
    let never = spawn(&side, std::future::pending::<()>());
    never.cancel();
    never.cancel();
    let cancelled = spawn(&side, never);
    settle(&[&side], 10);
    assert!(cancelled.try_take().unwrap().unwrap().is_err());
}

#[test]
fn a_task_may_cancel_itself_and_end_its_executor() {
    let side = side();
    let handle: Rc<RefCell<Option<JoinHandle<Here, ()>>>> = Rc::default();
    let own = handle.clone();
    let task = spawn(&side, async move {
        own.borrow().as_ref().unwrap().cancel();
        std::future::pending::<()>().await;
    });
    *handle.borrow_mut() = Some(task);
    settle(&[&side], 10);
    assert!(handle.borrow().as_ref().unwrap().is_finished());
}

#[test]
fn an_entry_used_again_begins_at_the_end_of_its_own_band() {
    // One entry: a task of the last band wakes itself and finishes, so that a stale wake stays behind in that band.
    let side = sized(2, 1);
    let busy = std::future::poll_fn(|context: &mut std::task::Context<'_>| {
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let executor = side.node.executor();
    let stale = std::future::poll_fn(|context: &mut std::task::Context<'_>| {
        context.waker().wake_by_ref();
        Poll::Ready(())
    });
    let stale = executor.spawn_in(Band::LAST, "stale", stale).unwrap();
    // It is cut off from its stale wake by a quantum of polls of itself.
    let config_quantum = 8;
    let first = executor.spawn_in(Band::LAST, "first", async {}).unwrap();
    for _ in 0..config_quantum {
        if stale.is_finished() {
            break;
        }
        side.turn();
    }
    assert!(stale.is_finished() && first.is_finished());
    let _busy = executor.spawn_in(Band::NORMAL, "busy", busy).unwrap();
    let urgent = executor.spawn_in(Band::FIRST, "urgent", async {}).unwrap();
    side.turn();
    assert!(urgent.is_finished());
}

#[test]
fn a_stale_wake_does_not_hold_back_a_task_of_a_higher_band() {
    let side = sized(2, 1);
    let executor = side.node.executor();
    let (waker, polls) = (Rc::default(), Rc::default());
    let old = executor
        .spawn_in(Band::LAST, "old", forever(&waker, &polls))
        .unwrap();
    side.turn();
    old.cancel();
    side.turn();
    assert!(old.is_finished());
    // The first entry is free again. A wake that is still about queues it in the last band.
    let waker = waker.take().unwrap();
    let busy = std::future::poll_fn(move |context: &mut std::task::Context<'_>| {
        waker.wake_by_ref();
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let _busy = executor.spawn_in(Band::NORMAL, "busy", busy).unwrap();
    side.turn();
    let urgent = executor.spawn_in(Band::FIRST, "urgent", async {}).unwrap();
    for _ in 0..10 {
        side.turn();
    }
    assert!(
        urgent.is_finished(),
        "it starves in the band of the entry's last task"
    );
}

#[test]
fn an_executor_that_was_ended_runs_no_more() {
    let (node, _at) = node::<baton_inbox::InSlot>(
        common::small(),
        Clock::Machine(Instant::now()),
        Arc::new(Ring::new(1)),
    );
    let _: &baton_rpc::Node<InProcess> = &node;
    let executor = node.executor().clone();
    drop(node);
    // Only a handle is left: nothing drives it, and what is spawned is dropped with it.
    let late = executor.spawn(async { 1 }).unwrap();
    drop(executor);
    assert!(late.try_take().unwrap().is_err());
}
