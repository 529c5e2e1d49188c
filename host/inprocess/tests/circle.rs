//! Nodes that call each other: both roles in one node, in a circle, and with everything used up.

mod common;

use baton_rpc::service;
use common::{Here, Join, Side, credits, free_credits, settle, side};
use std::cell::{Cell, OnceCell};
use std::rc::Rc;

#[service]
trait Pass {
    /// Passes it on `hops` times, and counts them on the way back.
    async fn pass(&self, hops: u64) -> u64;
    fn shout(&self, value: u64);
}

#[derive(Default)]
struct Passer {
    next: OnceCell<PassClient<Here>>,
    heard: Cell<u64>,
}

impl Pass for Rc<Passer> {
    async fn pass(&self, hops: u64) -> u64 {
        if hops == 0 {
            return 0;
        }
        let next = self.next.get().expect("the circle is closed");
        next.pass(hops - 1).await.unwrap() + 1
    }

    fn shout(&self, _value: u64) {
        self.heard.set(self.heard.get() + 1);
    }
}

fn server(passer: &Rc<Passer>) -> Rc<PassServer<Rc<Passer>>> {
    Rc::new(PassServer(passer.clone()))
}

#[test]
fn both_roles_in_one_node_over_one_connection() {
    let (a, b) = (side(), side());
    let (at_a, at_b) = (Rc::new(Passer::default()), Rc::new(Passer::default()));
    let (to_b, to_a) = Join::of(credits(8, 8)).connect_both(&a, &b, server(&at_a), server(&at_b));
    at_a.next.set(PassClient::new(to_b.clone())).ok().unwrap();
    at_b.next.set(PassClient::new(to_a.clone())).ok().unwrap();
    let client = PassClient::new(to_b.clone());
    // Eight credits each way: fifteen hops nest.
    let task = a
        .node
        .executor()
        .spawn(async move { client.pass(15).await })
        .unwrap();
    settle(&[&a, &b], 100);
    assert_eq!(task.try_take(), Some(Ok(Ok(15))));
    assert_eq!((free_credits(&to_b), free_credits(&to_a)), (8, 8));
}

#[test]
fn a_node_calls_itself() {
    let a = side();
    let passer = Rc::new(Passer::default());
    let (client, _) = Join::of(credits(6, 0))
        .numbered(0, 1)
        .connect(&a, &a, server(&passer));
    passer
        .next
        .set(PassClient::new(client.clone()))
        .ok()
        .unwrap();
    let caller = PassClient::new(client.clone());
    let task = a
        .node
        .executor()
        .spawn(async move { caller.pass(5).await })
        .unwrap();
    settle(&[&a], 100);
    assert_eq!(task.try_take(), Some(Ok(Ok(5))));
    assert_eq!(free_credits(&client), 6);
}

#[test]
fn three_nodes_call_in_a_circle() {
    let sides = [side(), side(), side()];
    let passers: [Rc<Passer>; 3] = Default::default();
    let clients: Vec<_> = (0..3)
        .map(|at| {
            let next = (at + 1) % 3;
            let join = Join::of(credits(4, 0));
            let (client, _) = join.connect(&sides[at], &sides[next], server(&passers[next]));
            passers[at]
                .next
                .set(PassClient::new(client.clone()))
                .ok()
                .unwrap();
            client
        })
        .collect();
    // Four credits a link: twelve hops nest, three times round and a bit.
    let tasks: Vec<_> = clients
        .iter()
        .zip(&sides)
        .map(|(client, side)| {
            let client = PassClient::new(client.clone());
            side.node
                .executor()
                .spawn(async move { client.pass(3).await })
                .unwrap()
        })
        .collect();
    let all: Vec<&Side> = sides.iter().collect();
    settle(&all, 200);
    for task in tasks {
        assert_eq!(task.try_take(), Some(Ok(Ok(3))));
    }
    let client = PassClient::new(clients[0].clone());
    let long = sides[0]
        .node
        .executor()
        .spawn(async move { client.pass(11).await })
        .unwrap();
    settle(&all, 200);
    assert_eq!(long.try_take(), Some(Ok(Ok(11))));
    for client in &clients {
        assert_eq!(free_credits(client), 4);
    }
}

/// Both sides do this with everything used up: calls, one-way sends that wait for a credit, and calls that are dropped.
async fn everything(
    client: PassClient<Here>,
    executor: baton_rpc::Handle<Here>,
    rounds: u64,
) -> u64 {
    let mut answered = 0;
    for round in 0..rounds {
        let (one, two, sent) =
            futures::join!(client.pass(0), client.pass(0), client.send_shout(round),);
        assert_eq!((one, two, sent), (Ok(0), Ok(0), Ok(())));
        answered += 2;
        // Polled once, then dropped, at a moment that moves with the round.
        let mut dropped = Box::pin(client.pass(0));
        let _ = futures::poll!(&mut dropped);
        if round % 3 == 0 {
            futures::pending_once().await;
        }
        drop(dropped);
        let _ = executor.before(0, client.pass(0)).await;
    }
    answered
}

mod futures {
    pub use ::futures::{join, poll};

    /// Gives the turn away once.
    pub async fn pending_once() {
        let mut first = true;
        std::future::poll_fn(move |context| {
            if std::mem::take(&mut first) {
                context.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        })
        .await;
    }
}

fn two_that_never_stop(count: u32, turns: impl Fn(u32) -> (u32, u32)) {
    let (a, b) = (side(), side());
    let (at_a, at_b) = (Rc::new(Passer::default()), Rc::new(Passer::default()));
    let join = Join::of(credits(count, count));
    let (to_b, to_a) = join.connect_both(&a, &b, server(&at_a), server(&at_b));
    let mut tasks = Vec::new();
    for (side, client) in [(&a, &to_b), (&b, &to_a)] {
        for _ in 0..4 {
            let client = PassClient::new(client.clone());
            let executor = side.node.executor();
            let task = everything(client, executor.clone(), 30);
            tasks.push(executor.spawn(task).unwrap());
        }
    }
    let mut round = 0;
    while !tasks.iter().all(|task| task.is_finished()) {
        // Turns, not time: each round does some work for somebody.
        assert!(round < 40_000, "they stopped");
        let (of_a, of_b) = turns(round);
        for _ in 0..of_a {
            a.turn();
        }
        for _ in 0..of_b {
            b.turn();
        }
        round += 1;
    }
    for task in tasks {
        assert_eq!(task.try_take(), Some(Ok(60)));
    }
    settle(&[&a, &b], 100);
    let all = count as usize;
    assert_eq!((free_credits(&to_b), free_credits(&to_a)), (all, all));
    assert_eq!((at_a.heard.get(), at_b.heard.get()), (120, 120));
}

#[test]
fn with_lanes_of_one_slot_two_nodes_never_stop() {
    two_that_never_stop(1, |_| (1, 1));
}

#[test]
fn with_lanes_of_one_slot_and_uneven_turns_they_never_stop() {
    two_that_never_stop(1, |round| (1 + round % 3, 1 + round / 7 % 2));
}

#[test]
fn with_two_credits_and_one_side_far_behind_they_never_stop() {
    two_that_never_stop(2, |round| (u32::from(round % 5 == 0), 1));
}
