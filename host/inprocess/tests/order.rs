//! Who comes first: bands, fairness in a band, quanta, and inboxes with many connections.

mod common;

use baton_inprocess::connection;
use baton_rpc::{Band, BindError, Binding, Config, LANE_QUANTUM};
use baton_trace::Ring;
use common::{DeskClient, Held, Here, Join, Side, credits, free_credits, settle};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

/// A side that can hold the handlers of many connections.
fn large() -> Side {
    let config = Config {
        tasks: 1024,
        timers: 4,
        quantum: 8,
    };
    Side::new(config, Arc::new(Ring::new(1)))
}

/// Connects `client` to `held` on `server`, whose end is in `band`.
fn join_in(
    client: &Side,
    server: &Side,
    held: &Rc<Held>,
    count: u32,
    band: Band,
) -> DeskClient<Here> {
    let join = Join {
        bands: (Band::NORMAL, band),
        ..Join::of(credits(count, 0))
    };
    DeskClient::new(join.connect(client, server, held.server()).0)
}

#[test]
fn a_higher_band_is_served_before_a_flooded_lower_one() {
    let (a, b) = (large(), large());
    let held = Held::new();
    let flood = join_in(&a, &b, &held, 256, Band::NORMAL);
    let urgent = join_in(&a, &b, &held, 4, Band::FIRST);
    let flooding: Vec<_> = (0..256).map(|value| flood.echo(value)).collect();
    a.turn();
    b.turn();
    let served = held.echoed.borrow().len();
    assert_eq!(served, LANE_QUANTUM as usize);
    let urgently: Vec<_> = (1000..1003).map(|value| urgent.echo(value)).collect();
    a.turn();
    b.turn();
    assert_eq!(held.echoed.borrow()[served..], [1000, 1001, 1002]);
    // And that turn was theirs alone.
    b.turn();
    assert_eq!(
        held.echoed.borrow().len(),
        served + 3 + LANE_QUANTUM as usize
    );
    drop((flooding, urgently));
    settle(&[&a, &b], 100);
    assert_eq!(free_credits(flood.client()), 256);
    assert_eq!(free_credits(urgent.client()), 4);
}

#[test]
fn a_flooding_lane_does_not_starve_the_others_of_its_band() {
    let (a, b) = (large(), large());
    let held = Held::new();
    let floods: Vec<_> = (0..3)
        .map(|_| join_in(&a, &b, &held, 256, Band::NORMAL))
        .collect();
    let modest = join_in(&a, &b, &held, 1, Band::NORMAL);
    let mut calls: Vec<_> = floods
        .iter()
        .flat_map(|flood| (0..256).map(|value| flood.echo(value)))
        .collect();
    // Whichever lane is looked at first, in each turn the modest one's message is served.
    for round in 0..8 {
        calls.push(modest.echo(1000 + round));
        a.turn();
        b.turn();
        let served = held
            .echoed
            .borrow()
            .iter()
            .filter(|value| **value >= 1000)
            .count();
        assert_eq!(served as u64, round + 1);
        let last = calls.pop();
        a.turn();
        drop(last);
        a.turn();
    }
    drop(calls);
    settle(&[&a, &b], 200);
    assert_eq!(free_credits(modest.client()), 1);
}

#[test]
fn lanes_of_a_band_take_turns_in_being_first() {
    let (a, b) = (large(), large());
    let held = Held::new();
    let clients: Vec<_> = (0..4)
        .map(|_| join_in(&a, &b, &held, 4, Band::NORMAL))
        .collect();
    let mut first = Vec::new();
    for _ in 0..64 {
        let before = held.echoed.borrow().len();
        let calls: Vec<_> = (0..)
            .zip(&clients)
            .map(|(value, client)| client.echo(value))
            .collect();
        a.turn();
        b.turn();
        first.push(held.echoed.borrow()[before]);
        assert_eq!(held.echoed.borrow().len(), before + 4);
        a.turn();
        drop(calls);
    }
    for lane in 0..4 {
        assert!(first.contains(&lane), "lane {lane} never came first");
    }
}

#[test]
fn tasks_that_wake_themselves_leave_room_for_lanes() {
    let (a, b) = (large(), large());
    let held = Held::new();
    let client = join_in(&a, &b, &held, 4, Band::NORMAL);
    let polls = Rc::new(Cell::new(0));
    let counted = polls.clone();
    let busy = std::future::poll_fn(move |context| {
        counted.set(counted.get() + 1);
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let busy = b.node.executor().spawn(busy).unwrap();
    let task = a
        .node
        .executor()
        .spawn(async move { client.echo(1).await })
        .unwrap();
    a.turn();
    b.turn();
    // A quantum of polls, and the lane was looked at first.
    assert_eq!(polls.get(), 8);
    assert_eq!(*held.echoed.borrow(), [1]);
    a.turn();
    assert_eq!(task.try_take(), Some(Ok(Ok(1))));
    busy.cancel();
    b.turn();
    b.turn();
    assert!(polls.get() <= 16 && busy.is_finished());
}

#[test]
fn a_higher_band_of_tasks_runs_before_lanes_of_a_lower_one() {
    let (a, b) = (large(), large());
    let held = Held::new();
    let client = join_in(&a, &b, &held, 4, Band::NORMAL);
    let call = client.echo(1);
    a.turn();
    let served = Rc::new(RefCell::new(Vec::new()));
    for (band, name) in [(Band::LAST, 7), (Band::NORMAL, 4), (Band::FIRST, 0)] {
        let (served, held) = (served.clone(), held.clone());
        let task = async move { served.borrow_mut().push((name, held.echoed.borrow().len())) };
        b.node.executor().spawn_in(band, "task", task).unwrap();
    }
    for _ in 0..3 {
        b.turn();
    }
    assert_eq!(*served.borrow(), [(0, 0), (4, 1), (7, 1)]);
    drop(call);
}

#[test]
fn an_inbox_holds_64_connections_and_says_so() {
    let (a, b) = (large(), large());
    let held = Held::new();
    let clients: Vec<_> = (0..64)
        .map(|_| join_in(&a, &b, &held, 2, Band::NORMAL))
        .collect();
    assert_eq!(a.node.connections().count(), 64);
    let full = BindError::InboxFull { capacity: 64 };
    assert_eq!(b.node.free_index(), Err(full));
    let (parts, _) = connection(&a.at, &b.at, credits(1, 0), (0, 0));
    assert_eq!(
        a.node.bind_client(parts, Binding::default()).err(),
        Some(full)
    );
    assert_eq!(
        full.to_string(),
        "the inbox holds 64 connections already; disconnect one first"
    );
    b.node.unbind(17);
    b.turn();
    assert_eq!(b.node.free_index(), Ok(17));
    // One call each, all of them at once.
    let calls = clients.clone();
    let all = async move {
        let calls = (0..).zip(&calls).map(|(value, client)| client.echo(value));
        futures::future::join_all(
            calls
                .enumerate()
                .filter(|(at, _)| *at != 17)
                .map(|(_, call)| call),
        )
        .await
    };
    let all = a.node.executor().spawn(all).unwrap();
    settle(&[&a, &b], 50);
    let values = all.try_take().unwrap().unwrap();
    let expected: Vec<_> = (0..64).filter(|value| *value != 17).map(Ok).collect();
    assert_eq!(values, expected);
}

#[test]
fn sixty_connections_work() {
    let (a, b) = (large(), large());
    let held = Held::new();
    let clients: Vec<_> = (0..60)
        .map(|_| join_in(&a, &b, &held, 2, Band::NORMAL))
        .collect();
    let tasks: Vec<_> = (0..)
        .zip(&clients)
        .map(|(number, client)| {
            let client = client.clone();
            let calls = async move {
                let mut sum = 0;
                for round in 0..20 {
                    sum += client.echo(number * 100 + round).await.unwrap();
                }
                sum
            };
            a.node.executor().spawn(calls).unwrap()
        })
        .collect();
    settle(&[&a, &b], 500);
    for (number, task) in (0..).zip(tasks) {
        assert_eq!(task.try_take(), Some(Ok(number * 2000 + 190)));
    }
    for client in &clients {
        assert_eq!(free_credits(client.client()), 2);
    }
}

/// More connections than the hint begins with, all of which were idle for long.
fn cold(number: usize) -> (Side, Side, Rc<Held>, Vec<DeskClient<Here>>) {
    let (a, b) = (large(), large());
    let held = Held::new();
    let clients = (0..number)
        .map(|_| join_in(&a, &b, &held, 2, Band::NORMAL))
        .collect();
    for _ in 0..200 {
        a.turn();
        b.turn();
    }
    (a, b, held, clients)
}

#[test]
fn idle_lanes_go_cold_and_come_back_with_their_next_message() {
    let (a, b, held, clients) = cold(20);
    for round in 0..3 {
        for (number, client) in clients.iter().enumerate() {
            let call = client.echo(round * 100 + number as u64);
            a.turn();
            b.turn();
            // Found in the very next turn: its sender has set the hint.
            assert_eq!(
                held.echoed.borrow().last(),
                Some(&(round * 100 + number as u64))
            );
            a.turn();
            drop(call);
        }
        for _ in 0..200 {
            a.turn();
            b.turn();
        }
    }
}

#[test]
fn hint_bits_that_somebody_clears_cost_only_time() {
    let (a, b) = (large(), large());
    let held = Held::new();
    // What every sender to `b` can do.
    let (parts, _) = connection(&a.at, &b.at, credits(1, 0), (0, 0));
    let hint = parts.peer_hint;
    let clients: Vec<_> = (0..20)
        .map(|_| join_in(&a, &b, &held, 2, Band::NORMAL))
        .collect();
    for _ in 0..10 {
        b.turn();
    }
    let calls: Vec<_> = (0..)
        .zip(&clients)
        .map(|(value, client)| client.echo(value))
        .collect();
    a.turn();
    let mut turns = 0;
    while held.echoed.borrow().len() < 20 {
        hint.store(0, Ordering::Relaxed);
        b.turn();
        turns += 1;
        assert!(turns <= 256, "a message was lost");
    }
    drop(calls);
    settle(&[&a, &b], 300);
}
