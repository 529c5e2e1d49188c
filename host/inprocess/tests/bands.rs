//! Ready tasks of several bands beside one connection alone, where a turn looks at it straight, and beside one that is told of by the
//! hint: the order is the same.

mod common;

use baton_rpc::{Band, Config, Handle, service};
use baton_trace::Ring;
use common::{DeskClient, Held, Here, Join, Side, credits, settle};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

type Order = Rc<RefCell<Vec<&'static str>>>;

fn large() -> Side {
    let config = Config {
        tasks: 256,
        timers: 4,
        quantum: 2,
    };
    Side::new(config, Arc::new(Ring::new(1)))
}

/// Notes `name` when it runs, in `band`.
fn spawn(executor: &Handle<Here>, order: &Order, band: Band, name: &'static str) {
    let order = order.clone();
    let task = async move { order.borrow_mut().push(name) };
    executor.spawn_in(band, name, task).unwrap();
}

#[service]
trait Starts {
    /// Spawns tasks of a lower, its own and a higher band.
    async fn start(&self, value: u64) -> u64;
}

struct Starter(Handle<Here>, Order);

impl Starts for Rc<Starter> {
    async fn start(&self, value: u64) -> u64 {
        self.1.borrow_mut().push("handler");
        spawn(&self.0, &self.1, Band::LAST, "last");
        for name in ["normal 1", "normal 2", "normal 3"] {
            spawn(&self.0, &self.1, Band::NORMAL, name);
        }
        spawn(&self.0, &self.1, Band::FIRST, "first");
        value
    }
}

/// Binds idle connections to `server` until it has `idle` of them, and lets them go cold.
fn idle_connections(server: &Side, idle: usize) -> Vec<(Side, DeskClient<Here>)> {
    let clients = (0..idle)
        .map(|_| {
            let client = large();
            let (to, _) = Join::of(credits(1, 0)).connect(&client, server, Held::new().server());
            (client, DeskClient::new(to))
        })
        .collect();
    for _ in 0..200 {
        server.turn();
    }
    clients
}

/// Turns `side`, and says what was noted in each turn.
fn noted_by_turn(side: &Side, order: &Order, turns: u32) -> Vec<Vec<&'static str>> {
    (0..turns)
        .map(|_| {
            side.turn();
            order.take()
        })
        .collect()
}

#[test]
fn tasks_that_handlers_make_ready_run_by_bands() {
    // The second is more than the scan looks at without a hint.
    for idle in [0, 20] {
        let (a, b) = (large(), large());
        let order = Order::default();
        let starter = Rc::new(Starter(b.node.executor().clone(), order.clone()));
        let server = Rc::new(StartsServer(starter));
        let (client, _) = Join::of(credits(2, 0)).connect(&a, &b, server);
        let client = StartsClient::new(client);
        let _idle = idle_connections(&b, idle);
        a.turn();
        let call = client.start(1);
        a.turn();
        // A turn serves one band, that of the connection here, and at most a quantum of it; then the highest comes first.
        let expected: [&[&str]; 5] = [
            &["handler", "normal 1", "normal 2"],
            &["first"],
            &["normal 3"],
            &["last"],
            &[],
        ];
        assert_eq!(noted_by_turn(&b, &order, 5), expected, "{idle} idle");
        drop(call);
        settle(&[&a, &b], 50);
    }
}

#[test]
fn ready_tasks_of_a_higher_band_run_before_a_message_and_those_of_a_lower_after_it() {
    for idle in [0, 20] {
        let (a, b) = (large(), large());
        let order = Order::default();
        let starter = Rc::new(Starter(b.node.executor().clone(), order.clone()));
        let server = Rc::new(StartsServer(starter));
        let (client, _) = Join::of(credits(2, 0)).connect(&a, &b, server);
        let client = StartsClient::new(client);
        let _idle = idle_connections(&b, idle);
        a.turn();
        let call = client.start(1);
        a.turn();
        spawn(b.node.executor(), &order, Band::LAST, "lower");
        spawn(b.node.executor(), &order, Band::FIRST, "higher");
        let expected: [&[&str]; 6] = [
            &["higher"],
            &["handler", "normal 1", "normal 2"],
            &["first"],
            &["normal 3"],
            &["lower", "last"],
            &[],
        ];
        assert_eq!(noted_by_turn(&b, &order, 6), expected, "{idle} idle");
        drop(call);
        settle(&[&a, &b], 50);
    }
}

#[test]
fn without_a_connection_tasks_run_by_bands() {
    let a = large();
    let order = Order::default();
    let executor = a.node.executor();
    spawn(executor, &order, Band::LAST, "last");
    let (handle, noted) = (executor.clone(), order.clone());
    let normal = async move {
        noted.borrow_mut().push("normal");
        spawn(&handle, &noted, Band::FIRST, "late first");
    };
    executor.spawn_in(Band::NORMAL, "normal", normal).unwrap();
    spawn(executor, &order, Band::NORMAL, "normal 2");
    spawn(executor, &order, Band::FIRST, "first");
    let expected: [&[&str]; 5] = [
        &["first"],
        &["normal", "normal 2"],
        &["late first"],
        &["last"],
        &[],
    ];
    assert_eq!(noted_by_turn(&a, &order, 5), expected);
}

#[test]
fn an_answer_resumes_no_task_of_a_lower_band_before_ready_ones_of_a_higher() {
    let (a, b) = (large(), large());
    let order = Order::default();
    let held = Held::new();
    let (client, _) = Join::of(credits(4, 0)).connect(&a, &b, held.server());
    let client = DeskClient::new(client);
    let executor = a.node.executor();
    // Its answer comes first, and it makes a task of the first band ready.
    let (handle, noted, desk) = (executor.clone(), order.clone(), client.clone());
    let wakes = async move {
        desk.echo(1).await.unwrap();
        noted.borrow_mut().push("wakes");
        spawn(&handle, &noted, Band::FIRST, "first");
    };
    executor.spawn_in(Band::NORMAL, "wakes", wakes).unwrap();
    a.turn();
    for (band, name) in [(Band::LAST, "last"), (Band::NORMAL, "normal")] {
        let (noted, desk) = (order.clone(), client.clone());
        let waits = async move {
            desk.echo(2).await.unwrap();
            noted.borrow_mut().push(name);
        };
        executor.spawn_in(band, name, waits).unwrap();
        a.turn();
    }
    a.turn();
    b.turn();
    // One in the connection's band still has its place in this turn; one of a lower band must wait.
    let expected: [&[&str]; 4] = [&["wakes", "normal"], &["first"], &["last"], &[]];
    assert_eq!(noted_by_turn(&a, &order, 4), expected);
}

#[test]
fn a_busy_task_of_a_lower_band_does_not_hold_up_messages_nor_they_it() {
    let (a, b) = (large(), large());
    let held = Held::new();
    let (client, _) = Join::of(credits(4, 0)).connect(&a, &b, held.server());
    let client = DeskClient::new(client);
    let polls = Rc::new(std::cell::Cell::new(0));
    let counted = polls.clone();
    let busy = poll_fn(move |context| {
        counted.set(counted.get() + 1);
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let executor = b.node.executor();
    let busy = executor.spawn_in(Band::LAST, "busy", busy).unwrap();
    b.turn();
    for round in 1..=5 {
        let before = polls.get();
        let call = client.echo(round);
        a.turn();
        b.turn();
        assert_eq!(held.echoed.borrow().last(), Some(&round));
        assert_eq!(polls.get(), before, "that turn was the message's");
        b.turn();
        // A quantum.
        assert_eq!(polls.get(), before + 2);
        a.turn();
        drop(call);
    }
    drop(busy);
}
