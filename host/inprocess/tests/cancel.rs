//! Cancel against answer, in every order that turns allow; deadlines; selects that leave an answer behind.

mod common;

use baton_rpc::{CallError, DeadlineError};
use common::{DeskClient, Held, Here, Join, Side, credits, free_credits, settle, side};
use futures::future::{Either, select};
use std::pin::pin;
use std::rc::Rc;

struct Scene {
    a: Side,
    b: Side,
    client: DeskClient<Here>,
    held: Rc<Held>,
}

fn scene(count: u32) -> Scene {
    let (a, b) = (side(), side());
    let held = Held::new();
    let (client, _) = Join::of(credits(count, 0)).connect(&a, &b, held.server());
    let client = DeskClient::new(client);
    Scene { a, b, client, held }
}

impl Scene {
    fn settle(&self) {
        settle(&[&self.a, &self.b], 50);
    }

    fn all_back(&self) {
        self.settle();
        let all = self.client.client().connection().credits();
        assert_eq!(free_credits(self.client.client()), all);
    }
}

/// What can happen between a call and the end of its cancellation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Move {
    TurnClient,
    TurnServer,
    /// The task that waits is cancelled.
    Cancel,
    /// The handler is let go, if it waits.
    Answer,
}

/// All sequences of `length` moves in which each of the last two happens at most once.
fn each_sequence(length: u32, mut with: impl FnMut(&[Move])) {
    use Move::*;
    const MOVES: [Move; 4] = [TurnClient, TurnServer, Cancel, Answer];
    for number in 0..4u32.pow(length) {
        let moves: Vec<Move> = (0..length)
            .map(|place| MOVES[(number >> (2 * place)) as usize % 4])
            .collect();
        let once = |what| moves.iter().filter(|one| **one == what).count() <= 1;
        if once(Cancel) && once(Answer) {
            with(&moves);
        }
    }
}

#[test]
fn cancel_and_answer_race_in_every_order() {
    // Nodes are made once: each sequence begins and ends with all credits free.
    let scene = scene(1);
    let (mut answered, mut cancelled) = (0, 0);
    each_sequence(6, |moves| {
        let client = scene.client.clone();
        let call = async move { client.held(7).await };
        let task = scene.a.node.executor().spawn(call).unwrap();
        for one in moves {
            match one {
                Move::TurnClient => drop(scene.a.turn()),
                Move::TurnServer => drop(scene.b.turn()),
                Move::Cancel => task.cancel(),
                Move::Answer => drop(scene.held.answer(7)),
            }
        }
        scene.settle();
        scene.held.answer(7);
        scene.settle();
        match task.try_take() {
            Some(Ok(result)) => {
                assert_eq!(result, Ok(7), "{moves:?}");
                answered += 1;
            }
            Some(Err(error)) => {
                assert_eq!(
                    error.to_string(),
                    "the task was cancelled before it finished"
                );
                assert!(moves.contains(&Move::Cancel), "{moves:?}");
                cancelled += 1;
            }
            None => panic!("neither answered nor cancelled after {moves:?}"),
        }
        assert_eq!(free_credits(scene.client.client()), 1, "{moves:?}");
        scene.held.waiting.borrow_mut().clear();
        assert!(scene.client.client().connection().failure().is_none());
    });
    assert!(answered > 100 && cancelled > 100, "{answered} {cancelled}");
    let counters = scene.client.client().connection().counters();
    assert_eq!(counters.stale_answers.get(), 0);
}

#[test]
fn a_cancel_that_comes_after_the_answer_was_sent_is_counted_and_nothing_else() {
    let scene = scene(1);
    let of_server = scene.b.node.connection(0).unwrap();
    let call = scene.client.held(2);
    scene.a.turn();
    scene.b.turn();
    drop(call);
    scene.held.answer(2);
    scene.b.turn();
    scene.all_back();
    assert_eq!(of_server.counters().late_cancels.get(), 1);
    assert_eq!(scene.held.dropped.get(), 0);
}

#[test]
fn a_cancel_that_comes_with_the_handlers_wake_comes_first() {
    let scene = scene(1);
    let of_server = scene.b.node.connection(0).unwrap();
    let call = scene.client.held(1);
    scene.a.turn();
    scene.b.turn();
    drop(call);
    scene.a.turn();
    scene.held.answer(1);
    // Lanes are drained before ready tasks run.
    scene.b.turn();
    assert_eq!(scene.held.dropped.get(), 1);
    scene.all_back();
    assert_eq!(of_server.counters().late_cancels.get(), 0);
}

#[test]
fn the_client_asks_for_the_end_of_a_call_whose_request_is_not_drained_yet() {
    let scene = scene(2);
    let call = scene.client.held(1);
    drop(call);
    for _ in 0..5 {
        scene.a.turn();
        // No CANCEL before the request is drained: the credit pays for one slot at a time.
        assert_eq!(free_credits(scene.client.client()), 1);
    }
    scene.b.turn();
    assert_eq!(scene.held.values(), [1]);
    scene.a.turn();
    scene.b.turn();
    assert_eq!(scene.held.dropped.get(), 1);
    scene.all_back();
}

#[test]
fn many_dropped_calls_are_cancelled_in_one_go() {
    let scene = scene(8);
    let calls: Vec<_> = (0..8).map(|value| scene.client.held(value)).collect();
    scene.a.turn();
    scene.b.turn();
    assert_eq!(scene.held.values().len(), 8);
    drop(calls);
    scene.a.turn();
    scene.b.turn();
    assert_eq!(scene.held.dropped.get(), 8);
    scene.all_back();
}

#[test]
fn a_deadline_cancels_the_call() {
    let scene = scene(1);
    let executor = scene.a.node.executor().clone();
    let client = scene.client.clone();
    let call = async move { executor.before(100, client.held(1)).await };
    let task = scene.a.node.executor().spawn(call).unwrap();
    scene.settle();
    scene.a.set_clock_ns(99);
    scene.settle();
    assert!(!task.is_finished());
    scene.a.set_clock_ns(100);
    scene.settle();
    assert_eq!(task.try_take(), Some(Ok(Err(DeadlineError::Passed))));
    assert_eq!(scene.held.dropped.get(), 1);
    scene.all_back();
}

#[test]
fn an_answer_in_time_disarms_the_deadline() {
    let scene = scene(1);
    let executor = scene.a.node.executor().clone();
    let client = scene.client.clone();
    let calls = async move {
        // More often than there are timers: each is given back.
        for value in 0..40 {
            let answer = executor.before(100, client.echo(value)).await;
            assert_eq!(answer, Ok(Ok(value)));
        }
    };
    let task = scene.a.node.executor().spawn(calls).unwrap();
    settle(&[&scene.a, &scene.b], 100);
    assert!(task.is_finished());
    scene.all_back();
}

#[test]
fn an_answer_that_comes_together_with_the_deadline_is_taken() {
    let scene = scene(1);
    let executor = scene.a.node.executor().clone();
    let client = scene.client.clone();
    let call = async move { executor.before(100, client.echo(1)).await };
    let task = scene.a.node.executor().spawn(call).unwrap();
    scene.a.turn();
    scene.b.turn();
    scene.a.set_clock_ns(100);
    scene.settle();
    assert_eq!(task.try_take(), Some(Ok(Ok(Ok(1)))));
    scene.all_back();
}

#[test]
fn a_deadline_covers_the_wait_for_a_credit() {
    let scene = scene(1);
    let held = scene.client.held(0);
    let executor = scene.a.node.executor().clone();
    let client = scene.client.clone();
    let call = async move { executor.before(100, client.held(1)).await };
    let task = scene.a.node.executor().spawn(call).unwrap();
    scene.settle();
    scene.a.set_clock_ns(100);
    scene.settle();
    assert_eq!(task.try_take(), Some(Ok(Err(DeadlineError::Passed))));
    assert_eq!(scene.held.values(), [0]);
    drop(held);
    scene.all_back();
}

#[test]
fn a_select_leaves_the_other_answer_to_be_taken_later() {
    let scene = scene(2);
    let client = scene.client.clone();
    let both = async move {
        let (one, two) = (client.held(1), client.held(2));
        match select(one, two).await {
            Either::Left((first, rest)) => (first, rest.await),
            Either::Right((first, rest)) => (first, rest.await),
        }
    };
    let task = scene.a.node.executor().spawn(both).unwrap();
    scene.settle();
    // The second is answered; `select` polls the first, which waits on, and takes the second.
    scene.held.answer(2);
    scene.settle();
    scene.held.answer(1);
    scene.settle();
    assert_eq!(task.try_take(), Some(Ok((Ok(2), Ok(1)))));
    scene.all_back();
}

/// Polls `call` only when `gate` has opened, so that an answer that comes before is not taken in place.
#[test]
fn an_answer_that_its_task_does_not_take_is_saved() {
    let scene = scene(2);
    let client = scene.client.clone();
    let (open, gate) = futures::channel::oneshot::channel::<()>();
    let task = async move {
        let (mut one, two) = (pin!(client.echo(1)), client.echo(2));
        // Polled once, so that its answer finds this task.
        assert!(futures::poll!(one.as_mut()).is_pending());
        let two = two.await;
        gate.await.unwrap();
        (one.await, two)
    };
    let task = scene.a.node.executor().spawn(task).unwrap();
    scene.settle();
    let other = scene.client.client().connection();
    assert!(!task.is_finished() && other.failure().is_none());
    // Its lane goes on meanwhile, over the slot of the saved answer.
    for value in 10..20 {
        let client = scene.client.clone();
        let echo = async move { client.echo(value).await };
        let echo = scene.a.node.executor().spawn(echo).unwrap();
        scene.settle();
        assert_eq!(echo.try_take(), Some(Ok(Ok(value))));
    }
    open.send(()).unwrap();
    scene.settle();
    assert_eq!(task.try_take(), Some(Ok((Ok(1), Ok(2)))));
    scene.all_back();
}

#[test]
fn a_saved_answer_that_nobody_takes_gives_its_credit_back() {
    let scene = scene(1);
    let client = scene.client.clone();
    let task = async move {
        let mut call = pin!(client.echo(1));
        assert!(futures::poll!(call.as_mut()).is_pending());
        std::future::pending::<()>().await;
    };
    let task = scene.a.node.executor().spawn(task).unwrap();
    scene.settle();
    assert_eq!(free_credits(scene.client.client()), 0);
    task.cancel();
    scene.all_back();
}

#[test]
fn one_task_joins_many_calls() {
    let scene = scene(4);
    let client = scene.client.clone();
    let calls = async move {
        let calls = (0..32).map(|value| client.echo(value));
        futures::future::join_all(calls).await
    };
    let task = scene.a.node.executor().spawn(calls).unwrap();
    settle(&[&scene.a, &scene.b], 100);
    let expected: Vec<Result<u64, CallError>> = (0..32).map(Ok).collect();
    assert_eq!(task.try_take(), Some(Ok(expected)));
    scene.all_back();
}

#[test]
fn a_call_moves_to_another_task_between_polls() {
    let scene = scene(1);
    let client: &'static DeskClient<Here> = Box::leak(Box::new(scene.client.clone()));
    let call = client.held(1);
    let (sender, receiver) = futures::channel::oneshot::channel();
    let first = async move {
        let mut call = call;
        assert!(futures::poll!(&mut call).is_pending());
        assert!(sender.send(call).is_ok());
    };
    let second = async move { receiver.await.unwrap().await };
    scene.a.node.executor().spawn(first).unwrap();
    let second = scene.a.node.executor().spawn(second).unwrap();
    scene.settle();
    scene.held.answer(1);
    scene.settle();
    assert_eq!(second.try_take(), Some(Ok(Ok(1))));
    scene.all_back();
}
