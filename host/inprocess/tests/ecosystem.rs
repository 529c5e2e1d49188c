//! Futures of the ecosystem on this executor, and wakes from real threads. Nothing here depends on how long anything takes.

mod common;

use baton_inbox::InSlot;
use baton_inprocess::{Clock, Sizes, connection, node};
use baton_rpc::{Binding, Mode, Node};
use baton_trace::Ring;
use common::{DeskClient, Held, Here, Join, credits, free_credits, settle, side, small};
use futures::channel::{mpsc, oneshot};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, join, select};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as threads;
use std::thread;
use std::time::Instant;

fn machine_node() -> (Node<Here>, baton_inprocess::Address) {
    let clock = Clock::Machine(Instant::now());
    node::<InSlot>(small(), clock, Arc::new(Ring::new(1)))
}

#[test]
fn a_set_of_calls_yields_each_answer_once() {
    let (a, b) = (side(), side());
    let held = Held::new();
    let (client, _) = Join::of(credits(4, 0)).connect(&a, &b, held.server());
    let client = DeskClient::new(client);
    let of_task = client.clone();
    let task = async move {
        let mut calls: FuturesUnordered<_> = (0..20).map(|value| of_task.held(value)).collect();
        let mut answers = Vec::new();
        while let Some(answer) = calls.next().await {
            answers.push(answer.unwrap());
        }
        answers
    };
    let task = a.node.executor().spawn(task).unwrap();
    let mut order = Vec::new();
    for _ in 0..20 {
        settle(&[&a, &b], 50);
        // The youngest first.
        let value = *held.values().last().expect("one is held");
        assert!(held.answer(value));
        order.push(value);
    }
    settle(&[&a, &b], 50);
    assert_eq!(task.try_take(), Some(Ok(order)));
    assert_eq!(free_credits(client.client()), 4);
}

#[test]
fn join_and_select_of_the_ecosystem() {
    let (a, b) = (side(), side());
    let held = Held::new();
    let (client, _) = Join::of(credits(4, 0)).connect(&a, &b, held.server());
    let client = DeskClient::new(client);
    let of_task = client.clone();
    let task = async move {
        let both = join!(of_task.echo(1), of_task.echo(2));
        let mut slow = of_task.held(3).fuse();
        let mut quick = of_task.echo(4).fuse();
        let first = select! {
            answer = slow => ("slow", answer),
            answer = quick => ("quick", answer),
        };
        (both, first, slow.await)
    };
    let task = a.node.executor().spawn(task).unwrap();
    settle(&[&a, &b], 50);
    held.answer(3);
    settle(&[&a, &b], 50);
    assert_eq!(
        task.try_take(),
        Some(Ok(((Ok(1), Ok(2)), ("quick", Ok(4)), Ok(3))))
    );
    assert_eq!(free_credits(client.client()), 4);
}

/// A value from another thread, one at a time, each asked for only when the one before has been seen.
fn ping_pong_with_a_thread(mode: Mode) {
    const ROUNDS: u64 = 300;
    let (node, _) = machine_node();
    let (mut to_task, mut values) = mpsc::channel::<u64>(1);
    let (to_thread, asked) = threads::channel::<u64>();
    let thread = thread::spawn(move || {
        for value in asked {
            to_task.try_send(value + 1).unwrap();
        }
    });
    let sum = node.run_until(mode, async move {
        let mut sum = 0;
        for round in 0..ROUNDS {
            to_thread.send(round).unwrap();
            sum += values.next().await.unwrap();
        }
        sum
    });
    thread.join().unwrap();
    assert_eq!(sum, Ok(ROUNDS * (ROUNDS + 1) / 2));
}

#[test]
fn a_thread_wakes_a_parked_executor() {
    ping_pong_with_a_thread(Mode::Park);
}

#[test]
fn a_thread_wakes_an_adaptive_executor() {
    ping_pong_with_a_thread(Mode::Adaptive);
}

#[test]
fn a_thread_wakes_a_polling_executor() {
    ping_pong_with_a_thread(Mode::Poll);
}

#[test]
fn many_threads_wake_many_tasks() {
    let (node, _) = machine_node();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..40).map(|_| oneshot::channel::<u64>()).unzip();
    let tasks: Vec<_> = receivers
        .into_iter()
        .map(|receiver| node.executor().spawn(receiver).unwrap())
        .collect();
    let mut senders: Vec<Vec<_>> = (0u64..).zip(senders).fold(
        (0..4).map(|_| Vec::new()).collect(),
        |mut all: Vec<Vec<_>>, (value, sender)| {
            all[value as usize % 4].push((value, sender));
            all
        },
    );
    let threads: Vec<_> = senders
        .drain(..)
        .map(|senders| {
            thread::spawn(move || {
                for (value, sender) in senders {
                    sender.send(value).unwrap();
                }
            })
        })
        .collect();
    let values = node
        .run_until(Mode::Park, futures::future::join_all(tasks))
        .unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    for (value, answer) in (0..).zip(values) {
        assert_eq!(answer, Ok(Ok(value)));
    }
}

#[test]
fn a_sleep_on_the_machines_clock_ends() {
    let (node, _) = machine_node();
    let executor = node.executor().clone();
    for mode in [Mode::Park, Mode::Adaptive, Mode::Poll] {
        let slept = node.run_until(mode, executor.sleep(1_000_000));
        assert_eq!(slept, Ok(Ok(())));
    }
}

/// A server on a thread of its own; the connection's ends are made here and sent there.
fn calls_between_threads(mode: Mode) {
    const CALLS: u64 = 400;
    let (node, at) = machine_node();
    let (send_address, address) = threads::channel();
    let (send_parts, parts) = threads::channel();
    let (end, ended) = oneshot::channel::<()>();
    let server = thread::spawn(move || {
        let (node, at) = machine_node();
        send_address.send(at).unwrap();
        let held = Held::new();
        let back = node.bind(parts.recv().unwrap(), Binding::default(), held.server());
        node.run_until(mode, ended).unwrap().unwrap();
        drop(back);
        let (echoed, notes) = (held.echoed.borrow().len(), held.notes.borrow().clone());
        (echoed, notes)
    });
    let sizes = Sizes {
        credits: 2,
        back_credits: 0,
        request_bulk_bytes: 64,
        answer_bulk_bytes: 64,
    };
    let (ours, theirs) = connection(&at, &address.recv().unwrap(), sizes, (0, 0));
    send_parts.send(theirs).unwrap();
    let client = node.bind_client(ours, Binding::default()).unwrap();
    let client = Rc::new(DeskClient::new(client));
    let calls = async {
        for value in 0..CALLS {
            let (one, two, sent) = join!(
                client.echo(value),
                client.echo(value + 1),
                client.send_note(value)
            );
            assert_eq!((one, two, sent), (Ok(value), Ok(value + 1), Ok(())));
            if value % 16 == 0 {
                let mut buffer = client.client().buffer().await.unwrap();
                buffer.write(&[1, 2, 3]).unwrap();
                let answer = client.turned(buffer).await.unwrap();
                assert_eq!(answer.to_vec(), [3, 2, 1]);
            }
        }
        // A call that the server has begun for certain, dropped: its handler goes.
        drop(client.held(1));
    };
    node.run_until(mode, calls).unwrap();
    end.send(()).unwrap();
    let (echoed, notes) = server.join().unwrap();
    assert_eq!(echoed as u64, 2 * CALLS);
    assert_eq!(notes, (0..CALLS).collect::<Vec<_>>());
}

#[test]
fn parked_threads_call_each_other() {
    calls_between_threads(Mode::Park);
}

#[test]
fn adaptive_threads_call_each_other() {
    calls_between_threads(Mode::Adaptive);
}

#[test]
fn a_wakers_executor_may_end_while_threads_wake() {
    for _ in 0..20 {
        let (node, _) = machine_node();
        let (sender, receiver) = oneshot::channel::<()>();
        let (started, has_started) = threads::channel();
        node.executor()
            .spawn(async move {
                started.send(()).unwrap();
                let _ = receiver.await;
            })
            .unwrap();
        let thread = thread::spawn(move || {
            has_started.recv().unwrap();
            let _ = sender.send(());
        });
        node.run_until(Mode::Park, async {}).unwrap();
        node.turn().unwrap();
        drop(node);
        thread.join().unwrap();
    }
}
