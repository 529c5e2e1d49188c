//! Credits: exhausted, waited for in order, and all of them back after whatever happened. Each test ends by taking them all.

mod common;

use baton_inbox::{InSlot, Publication, TailWord};
use baton_inprocess::InProcess;
use baton_rpc::{CallError, Client, SendError, TryCallError};
use baton_trace::Ring;
use common::{DeskClient, Held, Join, Side, Start, credits, free_credits, settle, small};
use std::rc::Rc;
use std::sync::Arc;

struct Scene<U: Publication = InSlot> {
    a: Side<U>,
    b: Side<U>,
    client: DeskClient<InProcess<U>>,
    held: Rc<Held>,
}

fn scene_at<U: Publication>(count: u32, start: Start) -> Scene<U> {
    let new = || Side::new(small(), Arc::new(Ring::new(1)));
    let (a, b): (Side<U>, Side<U>) = (new(), new());
    let held = Held::new();
    let join = Join {
        start,
        ..Join::of(credits(count, 0))
    };
    let (client, _) = join.connect(&a, &b, held.server());
    Scene {
        a,
        b,
        client: DeskClient::new(client),
        held,
    }
}

fn scene(count: u32) -> Scene {
    scene_at(count, Start::default())
}

impl<U: Publication> Scene<U> {
    fn client(&self) -> &Client<InProcess<U>> {
        self.client.client()
    }

    fn settle(&self) {
        settle(&[&self.a, &self.b], 50);
    }

    fn all_back(&self) {
        self.settle();
        assert_eq!(
            free_credits(self.client()),
            self.client().connection().credits()
        );
    }

    fn calls(&self, values: std::ops::Range<u64>) -> Vec<Task<U>> {
        values.map(|value| self.spawn_held(value)).collect()
    }

    fn spawn_held(&self, value: u64) -> Task<U> {
        let client = self.client.clone();
        let call = async move { client.held(value).await };
        self.a.node.executor().spawn(call).unwrap()
    }
}

type Task<U = InSlot> = baton_rpc::JoinHandle<InProcess<U>, Result<u64, CallError>>;

/// Six thousand calls over lanes of four slots, with positions and generations that wrap on the way.
fn wrapping<U: Publication>() {
    let start = Start {
        position: u32::MAX - 5,
        generation: (u64::MAX >> 16) - 2,
    };
    let scene: Scene<U> = scene_at(3, start);
    let client = scene.client.clone();
    let many = async move {
        for value in 0..500 {
            let (one, two, three) = futures::join!(
                client.echo(value),
                client.echo(value + 1),
                client.send_note(value)
            );
            assert_eq!((one, two, three), (Ok(value), Ok(value + 1), Ok(())));
        }
    };
    let task = scene.a.node.executor().spawn(many).unwrap();
    settle(&[&scene.a, &scene.b], 5_000);
    assert_eq!(task.try_take(), Some(Ok(())));
    assert_eq!(*scene.held.notes.borrow(), (0..500).collect::<Vec<_>>());
    scene.all_back();
    let counters = scene.client().connection().counters();
    assert_eq!(counters.stale_answers.get(), 0);
}

#[test]
fn positions_and_generations_wrap_with_sequences_in_slots() {
    wrapping::<InSlot>();
}

#[test]
fn positions_and_generations_wrap_with_tail_words() {
    wrapping::<TailWord>();
}

#[test]
fn a_single_message_arrives_with_tail_words() {
    let scene: Scene<TailWord> = scene_at(2, Start::default());
    let task = scene.spawn_held(3);
    scene.settle();
    assert_eq!(scene.held.answer_first(), Some(3));
    scene.settle();
    assert_eq!(task.try_take(), Some(Ok(Ok(3))));
    scene.all_back();
}

#[test]
fn cancels_and_late_answers_while_everything_wraps() {
    let start = Start {
        position: u32::MAX - 1,
        generation: u64::MAX >> 16,
    };
    let scene: Scene = scene_at(1, start);
    for value in 0..6 {
        let task = scene.spawn_held(value);
        scene.a.turn();
        scene.b.turn();
        task.cancel();
        if value % 2 == 0 {
            scene.held.answer(value);
        }
        scene.all_back();
        scene.held.waiting.borrow_mut().clear();
    }
    let task = scene.spawn_held(9);
    scene.settle();
    scene.held.answer(9);
    scene.settle();
    assert_eq!(task.try_take(), Some(Ok(Ok(9))));
}

#[test]
fn those_who_wait_for_a_credit_get_it_in_their_order() {
    let scene = scene(2);
    let tasks = scene.calls(0..6);
    scene.settle();
    assert_eq!(scene.held.values(), [0, 1]);
    // Whichever is answered, the one that has waited longest comes next.
    for (answered, next) in [(1, [0, 2]), (0, [2, 3]), (3, [2, 4]), (2, [4, 5])] {
        scene.held.answer(answered);
        scene.settle();
        assert_eq!(scene.held.values(), next);
    }
    scene.held.answer(5);
    scene.held.answer(4);
    scene.settle();
    for (value, task) in (0..).zip(tasks) {
        assert_eq!(task.try_take(), Some(Ok(Ok(value))));
    }
    scene.all_back();
}

#[test]
fn a_call_that_waited_goes_before_one_that_comes_later() {
    let scene = scene(1);
    let first = scene.spawn_held(0);
    let second = scene.spawn_held(1);
    scene.settle();
    scene.held.answer(0);
    // Its answer is drained in the same turn in which the third call is made.
    scene.b.turn();
    let third = scene.spawn_held(2);
    scene.settle();
    assert_eq!(scene.held.values(), [1]);
    scene.held.answer(1);
    scene.settle();
    assert_eq!(scene.held.values(), [2]);
    scene.held.answer(2);
    scene.settle();
    assert!(first.is_finished() && second.is_finished() && third.is_finished());
    scene.all_back();
}

#[test]
fn try_call_gives_the_arguments_back_when_all_credits_are_out() {
    let scene = scene(1);
    let call = scene.client.try_held(1).unwrap();
    match scene.client.try_held(2) {
        Err(TryCallError::Full((value,))) => assert_eq!(value, 2),
        _ => panic!("there was a second credit"),
    }
    assert_eq!(scene.client.note(3), Err(SendError::Full));
    drop(call);
    scene.all_back();
    assert_eq!(*scene.held.notes.borrow(), []);
}

#[test]
fn try_call_does_not_overtake_those_who_wait() {
    let scene = scene(1);
    let _first = scene.spawn_held(0);
    let second = scene.spawn_held(1);
    scene.settle();
    scene.held.answer(0);
    scene.b.turn();
    scene.a.turn();
    // The credit has come back, and belongs to the second call although that may not have been submitted yet.
    assert!(matches!(
        scene.client.try_held(2),
        Err(TryCallError::Full((2,)))
    ));
    scene.settle();
    assert_eq!(scene.held.values(), [1]);
    scene.held.answer(1);
    scene.settle();
    assert!(second.is_finished());
    scene.all_back();
}

#[test]
fn a_queued_call_that_is_dropped_leaves_the_queue() {
    let scene = scene(1);
    let tasks = scene.calls(0..4);
    scene.settle();
    tasks[1].cancel();
    tasks[3].cancel();
    scene.settle();
    scene.held.answer(0);
    scene.settle();
    assert_eq!(scene.held.values(), [2]);
    scene.held.answer(2);
    scene.settle();
    assert_eq!(scene.held.values(), []);
    assert_eq!(scene.held.dropped.get(), 0);
    scene.all_back();
}

#[test]
fn a_credit_granted_to_a_call_that_is_dropped_goes_on_to_the_next() {
    let scene = scene(1);
    let tasks = scene.calls(0..3);
    scene.settle();
    scene.held.answer(0);
    scene.b.turn();
    // In one turn: the answer grants the second its credit and so sends its request; then its task is dropped.
    tasks[1].cancel();
    scene.settle();
    assert_eq!(scene.held.values(), [1, 2]);
    assert_eq!(scene.held.dropped.get(), 1);
    scene.held.answer(2);
    scene.all_back();
    assert!(tasks[2].is_finished());
}

#[test]
fn a_queued_call_that_was_never_polled_is_sent_and_cancelled() {
    let scene = scene(1);
    let first = scene.client.held(0);
    let never_polled = scene.client.held(1);
    let third = scene.spawn_held(2);
    scene.settle();
    drop(first);
    scene.settle();
    // Its turn comes before that of the third, whether it is polled or not.
    assert_eq!(free_credits(scene.client()), 0);
    assert_eq!(scene.held.values(), [0, 1]);
    drop(never_polled);
    scene.settle();
    assert_eq!(scene.held.values(), [0, 1, 2]);
    assert_eq!(scene.held.dropped.get(), 2);
    scene.held.answer(2);
    scene.settle();
    assert!(third.is_finished());
    scene.all_back();
}

#[test]
fn credits_of_one_way_sends_come_back_with_the_head() {
    let scene = scene(3);
    for value in 0..3 {
        scene.client.note(value).unwrap();
    }
    assert_eq!(scene.client.note(3), Err(SendError::Full));
    assert!(matches!(
        scene.client.try_echo(3),
        Err(TryCallError::Full(_))
    ));
    scene.a.turn();
    assert_eq!(scene.client.note(3), Err(SendError::Full));
    // Drained and its head published: the client finds that out by itself, without a turn.
    scene.b.turn();
    assert_eq!(scene.client.note(3), Ok(()));
    assert_eq!(free_credits(scene.client()), 2);
    scene.b.turn();
    assert_eq!(*scene.held.notes.borrow(), [0, 1, 2, 3]);
    scene.all_back();
}

#[test]
fn sends_and_calls_wait_in_one_queue() {
    let scene = scene(1);
    let task = {
        let client = scene.client.clone();
        let all = async move {
            let mut done = Vec::new();
            for value in 0..20 {
                client.send_note(value).await.unwrap();
                done.push(client.echo(value).await.unwrap());
            }
            done
        };
        scene.a.node.executor().spawn(all).unwrap()
    };
    let other = {
        let client = scene.client.clone();
        let sends = async move {
            for value in 100..120 {
                client.send_note(value).await.unwrap();
            }
        };
        scene.a.node.executor().spawn(sends).unwrap()
    };
    settle(&[&scene.a, &scene.b], 300);
    assert_eq!(task.try_take(), Some(Ok((0..20).collect())));
    assert_eq!(other.try_take(), Some(Ok(())));
    let notes = scene.held.notes.borrow();
    let of = |range: std::ops::Range<u64>| notes.iter().copied().filter(move |n| range.contains(n));
    assert!(of(0..20).eq(0..20) && of(100..120).eq(100..120));
    scene.all_back();
}

#[test]
fn a_connection_without_credits_says_so() {
    let scene = scene(0);
    let client = scene.client.clone();
    let calls = async move {
        (
            client.echo(1).await,
            client.send_note(2).await,
            client.client().buffer().await.map(|_| ()),
        )
    };
    let task = scene.a.node.executor().spawn(calls).unwrap();
    scene.settle();
    assert_eq!(
        task.try_take(),
        Some(Ok((
            Err(CallError::NoCredits),
            Err(SendError::NoCredits),
            Err(CallError::NoCredits)
        )))
    );
    assert_eq!(scene.client.note(3), Err(SendError::NoCredits));
    assert!(matches!(
        scene.client.try_echo(4),
        Err(TryCallError::Full((4,)))
    ));
}

#[test]
fn the_buffer_of_a_bulk_call_comes_back_with_its_answer() {
    let scene = scene(2);
    let client = scene.client.clone();
    let many = async move {
        let mut buffer = client.client().buffer().await.unwrap();
        assert_eq!(buffer.capacity_bytes(), 64);
        assert!(buffer.write(&[0; 65]).is_err());
        for round in 0..5u8 {
            buffer.write(&[round, 1, 2]).unwrap();
            let answer = client.turned(buffer).await.unwrap();
            assert_eq!((answer.value, answer.to_vec()), (3, vec![2, 1, round]));
            buffer = answer.into_buffer();
        }
    };
    let task = scene.a.node.executor().spawn(many).unwrap();
    scene.a.turn();
    assert_eq!(free_credits(scene.client()), 1);
    scene.settle();
    assert_eq!(task.try_take(), Some(Ok(())));
    scene.all_back();
}

#[test]
fn a_bulk_call_that_is_dropped_keeps_its_buffer_until_the_answer() {
    let scene = scene(1);
    let buffer = scene.client().try_buffer().ok().unwrap();
    drop(scene.client.turned(buffer));
    assert_eq!(free_credits(scene.client()), 0);
    scene.all_back();
}

#[test]
fn a_buffer_of_another_connection_pays_for_nothing() {
    let (one, other) = (scene(1), scene(1));
    let buffer = other.client().try_buffer().ok().unwrap();
    let call = one.client.turned(buffer);
    let mut call = std::pin::pin!(call);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match call.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Err(error)) => assert_eq!(error, CallError::NoCredits),
        _ => panic!("it was called"),
    }
    one.all_back();
    other.all_back();
}
