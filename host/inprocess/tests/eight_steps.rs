//! The whole event sequence of both nodes, request by request: both write into one ring, on one thread.

mod common;
#[path = "common/events.rs"]
mod events;

use baton_rpc::service;
use baton_trace::Ring;
use common::{DeskClient, Held, Here, Join, Side, credits, free_credits, small};
use events::{begin, happened, shared_ring};
use futures::channel::oneshot;
use std::rc::Rc;
use std::sync::Arc;

/// Two sides and a served connection of number 1 at the client and 2 at the server.
struct Scene {
    ring: Arc<Ring>,
    since: u64,
    now_ns: u64,
    a: Side,
    b: Side,
    client: DeskClient<Here>,
    held: Rc<Held>,
}

impl Scene {
    fn new() -> Self {
        let ring = shared_ring();
        let a = Side::new(small(), ring.clone());
        let b = Side::new(small(), ring.clone());
        let held = Held::new();
        let join = Join::of(credits(2, 0)).numbered(1, 2);
        let (client, _) = join.connect(&a, &b, held.server());
        let client = DeskClient::new(client);
        begin(&[&a.node, &b.node]);
        Scene {
            ring,
            since: 0,
            now_ns: 0,
            a,
            b,
            client,
            held,
        }
    }

    /// One turn of `a`, or of `b`, each at a time of its own.
    fn turn_a(&mut self) {
        self.tick();
        self.a.turn();
    }

    fn turn_b(&mut self) {
        self.tick();
        self.b.turn();
    }

    fn tick(&mut self) {
        self.now_ns += 1;
        self.a.set_clock_ns(self.now_ns);
        self.b.set_clock_ns(self.now_ns);
    }

    fn happened(&mut self) -> Vec<String> {
        happened(&self.ring, &mut self.since)
    }
}

#[test]
fn a_request_that_is_answered_at_once() {
    let mut scene = Scene::new();
    let client = scene.client.clone();
    let call = async move { client.echo(7).await };
    let task = scene.a.node.executor().spawn(call).unwrap();
    scene.turn_a();
    scene.turn_b();
    scene.turn_a();
    assert_eq!(
        scene.happened(),
        [
            "1 c1 call t0 0.0 0",
            "1 c1 submit t0 0.0 0",
            "2 c2 drain t0 0.0 0",
            "2 c2 serve t0 0.0 0",
            "2 c2 reply t0 0.0 0",
            "3 c1 drain_answer t0 0.0 0",
            "3 c1 resume t0 0.0 0",
        ]
    );
    assert_eq!(task.try_take().unwrap().unwrap(), Ok(7));
}

#[test]
fn the_next_request_of_a_credit_has_the_next_generation() {
    let mut scene = Scene::new();
    let client = scene.client.clone();
    let calls = async move { (client.echo(7).await, client.echo(8).await) };
    let task = scene.a.node.executor().spawn(calls).unwrap();
    for _ in 0..2 {
        scene.turn_a();
        scene.turn_b();
    }
    scene.turn_a();
    assert_eq!(
        scene.happened()[5..],
        [
            "3 c1 drain_answer t0 0.0 0",
            "3 c1 resume t0 0.0 0",
            "3 c1 call t0 0.1 0",
            "3 c1 submit t0 0.1 0",
            "4 c2 drain t0 0.1 0",
            "4 c2 serve t0 0.1 0",
            "4 c2 reply t0 0.1 0",
            "5 c1 drain_answer t0 0.1 0",
            "5 c1 resume t0 0.1 0",
        ]
    );
    assert_eq!(task.try_take().unwrap().unwrap(), (Ok(7), Ok(8)));
}

#[service]
trait Hop {
    async fn hop(&self, value: u64) -> u64;
}

struct Relay(DeskClient<Here>);

impl Hop for Relay {
    async fn hop(&self, value: u64) -> u64 {
        self.0.echo(value + 1).await.unwrap() + 1
    }
}

#[test]
fn a_handler_that_calls_a_third_node() {
    let ring = shared_ring();
    let [a, b, c] = [(); 3].map(|()| Side::new(small(), ring.clone()));
    let join = |client, server| Join::of(credits(2, 0)).numbered(client, server);
    let (to_c, _) = join(3, 4).connect(&b, &c, Held::new().server());
    let relay = Rc::new(HopServer(Relay(DeskClient::new(to_c))));
    let (to_b, _) = join(1, 2).connect(&a, &b, relay);
    begin(&[&a.node, &b.node, &c.node]);
    let to_b = HopClient::new(to_b);
    let task = a
        .node
        .executor()
        .spawn(async move { to_b.hop(10).await })
        .unwrap();
    for side in [&a, &b, &c, &b, &a] {
        side.turn();
    }
    assert_eq!(
        happened(&ring, &mut 0),
        [
            "0 c1 call t0 0.0 0",
            "0 c1 submit t0 0.0 0",
            "0 c2 drain t0 0.0 0",
            "0 c2 serve t0 0.0 0",
            "0 c3 call t0 0.0 0",
            "0 c3 submit t0 0.0 0",
            "0 c4 drain t0 0.0 0",
            "0 c4 serve t0 0.0 0",
            "0 c4 reply t0 0.0 0",
            "0 c3 drain_answer t0 0.0 0",
            "0 c3 resume t0 0.0 0",
            "0 c2 reply t0 0.0 0",
            "0 c1 drain_answer t0 0.0 0",
            "0 c1 resume t0 0.0 0",
        ]
    );
    assert_eq!(task.try_take().unwrap().unwrap(), Ok(12));
}

#[test]
fn a_request_with_bulk_takes_the_same_steps() {
    let mut scene = Scene::new();
    let client = scene.client.clone();
    let call = async move {
        let mut buffer = client.client().buffer().await.unwrap();
        buffer.write(b"baton").unwrap();
        let answer = client.turned(buffer).await.unwrap();
        (answer.value, answer.to_vec())
    };
    let task = scene.a.node.executor().spawn(call).unwrap();
    scene.turn_a();
    scene.turn_b();
    scene.turn_a();
    assert_eq!(
        scene.happened(),
        [
            "1 c1 call t0 0.0 2",
            "1 c1 submit t0 0.0 2",
            "2 c2 drain t0 0.0 2",
            "2 c2 serve t0 0.0 2",
            "2 c2 reply t0 0.0 0",
            "3 c1 drain_answer t0 0.0 0",
            "3 c1 resume t0 0.0 0",
        ]
    );
    assert_eq!(task.try_take().unwrap().unwrap(), (5, b"notab".to_vec()));
    assert_eq!(free_credits(scene.client.client()), 2);
}

#[test]
fn a_call_that_is_dropped_is_cancelled() {
    let mut scene = Scene::new();
    let client = scene.client.clone();
    let call = async move { client.held(7).await };
    let task = scene.a.node.executor().spawn(call).unwrap();
    scene.turn_a();
    scene.turn_b();
    task.cancel();
    scene.turn_a();
    assert_eq!(free_credits(scene.client.client()), 1);
    scene.turn_a();
    scene.turn_b();
    assert_eq!(scene.held.dropped.get(), 1);
    scene.turn_a();
    assert_eq!(
        scene.happened(),
        [
            "1 c1 call t0 0.0 1",
            "1 c1 submit t0 0.0 1",
            "2 c2 drain t0 0.0 1",
            "2 c2 serve t0 0.0 1",
            "4 c1 cancel - 0.0 0",
            "5 c2 cancel t0 0.0 0",
            "5 c2 reply - 0.0 1",
            "6 c1 drain_answer - 0.0 0",
        ]
    );
    assert_eq!(free_credits(scene.client.client()), 2);
}

#[test]
fn a_one_way_send_is_written_and_popped() {
    let mut scene = Scene::new();
    let client = scene.client.clone();
    let send = async move { client.note(7) };
    let task = scene.a.node.executor().spawn(send).unwrap();
    scene.turn_a();
    scene.turn_b();
    scene.turn_a();
    assert_eq!(
        scene.happened(),
        ["1 c1 one_way t0 0.0 3", "2 c2 one_way - 0.0 3"]
    );
    assert_eq!(task.try_take(), Some(Ok(Ok(()))));
    assert_eq!(*scene.held.notes.borrow(), [7]);
    assert_eq!(free_credits(scene.client.client()), 2);
}

#[test]
fn who_waits_for_a_credit_is_seen_to_wait() {
    let mut scene = Scene::new();
    for value in 0..3 {
        let client = scene.client.clone();
        let call = async move { client.echo(value).await };
        scene.a.node.executor().spawn(call).unwrap();
    }
    scene.turn_a();
    let submits = scene.happened();
    assert_eq!(submits.len(), 5);
    assert_eq!(submits[4], "1 c1 credit_wait t2 - 0");
    scene.turn_b();
    scene.turn_a();
    scene.turn_b();
    scene.turn_a();
    // The answer to the first brings its credit back, and with that the third request goes out at once.
    assert_eq!(
        scene.happened()[6..],
        [
            "3 c1 drain_answer t0 0.0 0",
            "3 c1 resume t0 0.0 0",
            "3 c1 call t2 0.1 0",
            "3 c1 submit t2 0.1 0",
            "3 c1 drain_answer t1 1.0 0",
            "3 c1 resume t1 1.0 0",
            "4 c2 drain t0 0.1 0",
            "4 c2 serve t0 0.1 0",
            "4 c2 reply t0 0.1 0",
            "5 c1 drain_answer t2 0.1 0",
            "5 c1 resume t2 0.1 0",
        ]
    );
}

#[test]
fn a_task_that_waits_for_two_answers_is_resumed_for_each() {
    let mut scene = Scene::new();
    let client = scene.client.clone();
    let calls = async move { futures::join!(client.echo(1), client.echo(2)) };
    let task = scene.a.node.executor().spawn(calls).unwrap();
    scene.turn_a();
    scene.turn_b();
    scene.turn_a();
    assert_eq!(
        scene.happened()[10..],
        [
            "3 c1 drain_answer t0 0.0 0",
            "3 c1 resume t0 0.0 0",
            "3 c1 drain_answer t0 1.0 0",
            "3 c1 resume t0 1.0 0",
        ]
    );
    assert_eq!(task.try_take().unwrap().unwrap(), (Ok(1), Ok(2)));
}

#[test]
fn an_answer_that_must_wait_for_a_higher_band_is_resumed_all_the_same() {
    let mut scene = Scene::new();
    let client = scene.client.clone();
    let executor = scene.a.node.executor().clone();
    let (wake_first, first_woken) = oneshot::channel::<()>();
    let first = async move {
        let _ = first_woken.await;
    };
    executor
        .spawn_in(baton_rpc::Band::FIRST, "first", first)
        .unwrap();
    scene.turn_a();
    // The first answer's task readies the one of the higher band, so the second answer is copied away and its task queued.
    let other = client.clone();
    let mut wake_first = Some(wake_first);
    let one = async move {
        client.echo(1).await.unwrap();
        wake_first.take().unwrap().send(()).unwrap();
    };
    executor.spawn(one).unwrap();
    let two = executor.spawn(async move { other.echo(2).await }).unwrap();
    scene.turn_a();
    scene.turn_b();
    scene.happened();
    scene.turn_a();
    assert_eq!(two.try_take().unwrap().unwrap(), Ok(2));
    let steps = scene.happened();
    assert_eq!(
        steps,
        [
            "4 c1 drain_answer t1 0.0 0",
            "4 c1 resume t1 0.0 0",
            "4 c1 drain_answer t2 1.0 0",
            "4 c1 resume t2 1.0 0",
        ]
    );
}

#[test]
fn nothing_is_recorded_while_tracing_is_off() {
    let mut scene = Scene::new();
    scene.a.node.set_tracing(false);
    scene.b.node.set_tracing(false);
    let client = scene.client.clone();
    let call = async move { client.echo(7).await };
    scene.a.node.executor().spawn(call).unwrap();
    scene.turn_a();
    scene.turn_b();
    scene.turn_a();
    assert_eq!(scene.ring.recorded(), 0);
}
