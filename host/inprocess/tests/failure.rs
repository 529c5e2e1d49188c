//! Requests that come to nothing, peers that die, peers that break the protocol; all others go on.

mod common;

use baton_inbox::lane::LaneWriter;
use baton_inbox::{InSlot, Info, Kind, Token};
use baton_inprocess::connection;
use baton_rpc::{
    BindError, Binding, CallError, Client, Failure, SendError, TryCallError, Violation,
};
use baton_shm::WriteSlots;
use common::{
    DeskClient, Held, Here, Join, Side, connection_of, credits, free_credits, settle, side,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

type Task<T> = baton_rpc::JoinHandle<Here, Result<T, CallError>>;

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

    fn held(&self, value: u64) -> Task<u64> {
        held(&self.a, &self.client, value)
    }

    /// The answer to one call.
    fn call<A: baton_rpc::Wire + 'static, T: baton_rpc::Wire + 'static>(
        &self,
        method: u16,
        args: A,
    ) -> Result<T, CallError> {
        let client = self.client.client().clone();
        let call = async move { client.call::<A, T>(method, args).await };
        let task = self.a.node.executor().spawn(call).unwrap();
        self.settle();
        task.try_take().expect("it was answered").unwrap()
    }
}

fn held(side: &Side, client: &DeskClient<Here>, value: u64) -> Task<u64> {
    let client = client.clone();
    let call = async move { client.held(value).await };
    side.node.executor().spawn(call).unwrap()
}

/// Whatever panics in a test of panics should not fill the output.
fn turn_that_panics(side: &Side) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let turned = catch_unwind(AssertUnwindSafe(|| side.node.turn()));
    std::panic::set_hook(hook);
    assert!(turned.is_err(), "nothing panicked");
}

#[test]
fn what_the_server_cannot_serve_it_refuses() {
    let scene = scene(2);
    assert_eq!(
        scene.call::<(u64,), u64>(99, (1,)),
        Err(CallError::UnknownMethod)
    );
    // One-way methods have no request, and a request method takes no one-way send.
    assert_eq!(
        scene.call::<(u64,), u64>(3, (1,)),
        Err(CallError::UnknownMethod)
    );
    assert_eq!(
        scene.call::<(u64,), bool>(6, (7,)),
        Err(CallError::BadArguments)
    );
    // A message that is too short for its method.
    assert_eq!(scene.call::<(), u64>(0, ()), Err(CallError::BadArguments));
    // The answer is shorter, or other, than the caller's type.
    assert_eq!(
        scene.call::<(u64,), (u64, u64)>(0, (1,)),
        Err(CallError::BadAnswer)
    );
    assert_eq!(
        scene.call::<(u64,), bool>(0, (7,)),
        Err(CallError::BadAnswer)
    );
    // A bulk length beyond the buffer.
    assert_eq!(
        scene.call::<(u64,), u64>(2, (65,)),
        Err(CallError::BadArguments)
    );
    assert_eq!(
        scene.call::<(u64,), u64>(2, (u64::MAX,)),
        Err(CallError::BadArguments)
    );
    assert_eq!(scene.call::<(u64,), u64>(0, (5,)), Ok(5));
    assert_eq!(free_credits(scene.client.client()), 2);
}

#[test]
fn one_way_sends_that_make_no_sense_are_counted() {
    let scene = scene(2);
    let client = scene.client.client();
    client.try_send(99, (1u64,)).unwrap();
    client.try_send(3, ()).unwrap();
    scene.settle();
    client.try_send(0, (1u64,)).unwrap();
    scene.settle();
    let server = scene.b.node.connections().next().unwrap();
    assert_eq!(server.counters().bad_one_ways.get(), 3);
    assert!(scene.held.notes.borrow().is_empty() && server.failure().is_none());
    assert_eq!(free_credits(client), 2);
}

#[test]
fn a_call_to_a_side_that_serves_nothing_fails() {
    let (a, b) = (side(), side());
    let (first, second) = connection(&a.at, &b.at, credits(2, 2), (0, 0));
    let client = a.node.bind_client(first, Binding::default()).unwrap();
    let _back: Client<Here> = b.node.bind_client(second, Binding::default()).unwrap();
    let client = DeskClient::new(client);
    let task = held(&a, &client, 1);
    settle(&[&a, &b], 50);
    assert_eq!(task.try_take(), Some(Ok(Err(CallError::NoService))));
    assert_eq!(free_credits(client.client()), 2);
}

#[test]
fn a_handler_that_panics_at_its_first_poll_answers_and_others_go_on() {
    let scene = scene(2);
    let client = scene.client.clone();
    let call = async move { client.panics().await };
    let task = scene.a.node.executor().spawn(call).unwrap();
    let other = scene.held(5);
    scene.a.turn();
    turn_that_panics(&scene.b);
    scene.settle();
    assert_eq!(task.try_take(), Some(Ok(Err(CallError::NoReply))));
    scene.held.answer(5);
    scene.settle();
    assert_eq!(other.try_take(), Some(Ok(Ok(5))));
    // The credit of the one that panicked is as good as the other.
    let client = scene.client.clone();
    let both = async move { futures::join!(client.echo(1), client.echo(2)) };
    let both = scene.a.node.executor().spawn(both).unwrap();
    scene.settle();
    assert_eq!(both.try_take(), Some(Ok((Ok(1), Ok(2)))));
    assert_eq!(free_credits(scene.client.client()), 2);
}

#[test]
fn a_handler_that_panics_later_answers_and_others_go_on() {
    let scene = scene(2);
    let client = scene.client.clone();
    let call = async move { client.panics_later().await };
    let task = scene.a.node.executor().spawn(call).unwrap();
    let other = scene.held(5);
    scene.settle();
    scene.held.answer(0);
    turn_that_panics(&scene.b);
    scene.settle();
    assert_eq!(task.try_take(), Some(Ok(Err(CallError::NoReply))));
    scene.held.answer(5);
    scene.settle();
    assert_eq!(other.try_take(), Some(Ok(Ok(5))));
    // The credit of the one that panicked is as good as the other.
    let client = scene.client.clone();
    let both = async move { futures::join!(client.echo(1), client.echo(2)) };
    let both = scene.a.node.executor().spawn(both).unwrap();
    scene.settle();
    assert_eq!(both.try_take(), Some(Ok((Ok(1), Ok(2)))));
    assert_eq!(free_credits(scene.client.client()), 2);
}

#[test]
fn a_task_that_panics_on_its_answer_loses_nothing_of_others() {
    let scene = scene(3);
    let client = scene.client.clone();
    let bad = async move {
        let value = client.echo(1).await.unwrap();
        assert_eq!(value, 2, "this is the panic");
    };
    let bad = scene.a.node.executor().spawn(bad).unwrap();
    let calls: Vec<_> = (10..12)
        .map(|value| {
            let client = scene.client.clone();
            let call = async move { client.echo(value).await };
            scene.a.node.executor().spawn(call).unwrap()
        })
        .collect();
    scene.a.turn();
    scene.b.turn();
    turn_that_panics(&scene.a);
    scene.settle();
    for (value, call) in (10..).zip(calls) {
        assert_eq!(call.try_take(), Some(Ok(Ok(value))));
    }
    assert!(
        bad.is_finished(),
        "whoever joins a task that panicked would wait for ever"
    );
    assert_eq!(free_credits(scene.client.client()), 3);
}

#[test]
fn the_death_of_a_peer_completes_its_calls_and_nobody_elses() {
    let (a, b, c) = (side(), side(), side());
    let (at_b, at_c) = (Held::new(), Held::new());
    let (to_b, _) = Join::of(credits(2, 0)).connect(&a, &b, at_b.server());
    let (to_c, _) = Join::of(credits(2, 0)).connect(&a, &c, at_c.server());
    let (to_b, to_c) = (DeskClient::new(to_b), DeskClient::new(to_c));
    let with_b: Vec<_> = (0..4).map(|value| held(&a, &to_b, value)).collect();
    let with_c = held(&a, &to_c, 9);
    settle(&[&a, &b, &c], 50);
    let ended = a
        .node
        .executor()
        .spawn(connection_of(to_b.client()).ended())
        .unwrap();
    a.turn();
    connection_of(to_b.client()).fail(Failure::PeerDied);
    settle(&[&a, &c], 50);
    // Two were out, two waited for a credit: all know.
    for task in with_b {
        let died = Err(CallError::Failed(Failure::PeerDied));
        assert_eq!(task.try_take(), Some(Ok(died)));
    }
    assert_eq!(ended.try_take(), Some(Ok(Failure::PeerDied)));
    assert!(!with_c.is_finished());
    at_c.answer(9);
    settle(&[&a, &c], 50);
    assert_eq!(with_c.try_take(), Some(Ok(Ok(9))));
    // Whatever is begun afterwards fails at once.
    assert_eq!(to_b.note(1), Err(SendError::Failed(Failure::PeerDied)));
    match to_b.try_echo(1) {
        Err(TryCallError::Failed((1,), Failure::PeerDied)) => {}
        _ => panic!("called a dead peer"),
    }
    let late = held(&a, &to_b, 5);
    settle(&[&a, &c], 50);
    let died = Err(CallError::Failed(Failure::PeerDied));
    assert_eq!(late.try_take(), Some(Ok(died)));
    let ended = a
        .node
        .executor()
        .spawn(connection_of(to_b.client()).ended())
        .unwrap();
    a.turn();
    assert_eq!(ended.try_take(), Some(Ok(Failure::PeerDied)));
}

#[test]
fn the_death_of_a_client_drops_its_handlers_and_nobody_elses() {
    let (a, b, c) = (side(), side(), side());
    let at_c = Held::new();
    let (from_a, _) = Join::of(credits(2, 0)).connect(&a, &c, at_c.server());
    let (from_b, _) = Join::of(credits(2, 0)).connect(&b, &c, at_c.server());
    let (from_a, from_b) = (DeskClient::new(from_a), DeskClient::new(from_b));
    let _of_a = [held(&a, &from_a, 1), held(&a, &from_a, 2)];
    let of_b = held(&b, &from_b, 3);
    settle(&[&a, &b, &c], 50);
    assert_eq!(at_c.values(), [1, 2, 3]);
    let dead = c.node.connection(0).unwrap();
    dead.fail(Failure::PeerDied);
    assert_eq!(at_c.dropped.get(), 0);
    c.turn();
    assert_eq!(at_c.dropped.get(), 2);
    assert!(c.node.connection(0).is_none());
    at_c.answer(3);
    settle(&[&b, &c], 50);
    assert_eq!(of_b.try_take(), Some(Ok(Ok(3))));
}

#[test]
fn unbinding_ends_calls_and_frees_the_number() {
    let scene = scene(1);
    let task = scene.held(1);
    scene.settle();
    scene.a.node.unbind(0);
    assert_eq!(
        connection_of(scene.client.client()).failure(),
        Some(Failure::Disconnected)
    );
    scene.a.turn();
    scene.a.turn();
    let ended = Err(CallError::Failed(Failure::Disconnected));
    assert_eq!(task.try_take(), Some(Ok(ended)));
    scene.b.node.unbind(0);
    scene.b.turn();
    assert_eq!(scene.held.dropped.get(), 1);
    scene.held.waiting.borrow_mut().clear();
    // The same numbers again, many times: task entries and everything else come back.
    for value in 0..100 {
        let join = Join::of(credits(8, 0)).numbered(0, 0);
        let (client, _) = join.connect(&scene.a, &scene.b, scene.held.server());
        let client = DeskClient::new(client);
        let task = held(&scene.a, &client, value);
        scene.settle();
        assert!(scene.held.answer(value));
        scene.settle();
        assert_eq!(task.try_take(), Some(Ok(Ok(value))));
        scene.a.node.unbind(0);
        scene.b.node.unbind(0);
        scene.a.turn();
        scene.b.turn();
        scene.held.waiting.borrow_mut().clear();
    }
}

#[test]
fn a_number_is_taken_until_its_connection_has_left_the_scan() {
    let scene = scene(1);
    let (parts, _) = connection(&scene.a.at, &scene.b.at, credits(1, 0), (0, 1));
    let at = |index| Binding {
        index: Some(index),
        ..Binding::default()
    };
    scene.a.node.unbind(0);
    let taken = scene.a.node.bind_client(parts, at(0)).err();
    assert_eq!(taken, Some(BindError::IndexTaken(0)));
    scene.a.turn();
    for index in [64, u32::MAX] {
        let (parts, _) = connection(&scene.a.at, &scene.b.at, credits(1, 0), (0, 1));
        let taken = scene.a.node.bind_client(parts, at(index)).err();
        assert_eq!(taken, Some(BindError::IndexTaken(index)));
    }
    let (parts, _) = connection(&scene.a.at, &scene.b.at, credits(1, 0), (0, 1));
    assert!(scene.a.node.bind_client(parts, at(0)).is_ok());
    // Unbinding what is not bound does nothing.
    scene.a.node.unbind(5);
    scene.a.node.unbind(99);
    scene.a.turn();
}

#[test]
fn a_dropped_client_node_leaves_the_server_working() {
    let Scene { a, b, client, held } = scene(2);
    let task = {
        let client = client.clone();
        a.node
            .executor()
            .spawn(async move { client.held(1).await })
            .unwrap()
    };
    settle(&[&a, &b], 50);
    drop(a);
    assert_eq!(
        task.try_take().unwrap().unwrap_err().to_string(),
        "the task was cancelled before it finished"
    );
    drop(client);
    held.answer(1);
    b.turn();
    b.turn();
    let other = side();
    let (client, _) = Join::of(credits(2, 0)).connect(&other, &b, held.server());
    let client = DeskClient::new(client);
    let task = {
        let client = client.clone();
        other
            .node
            .executor()
            .spawn(async move { client.echo(2).await })
            .unwrap()
    };
    settle(&[&other, &b], 50);
    assert_eq!(task.try_take(), Some(Ok(Ok(2))));
}

/// A connection whose first side the test plays by hand, and the writer of its request lane.
fn played(server: &Side, held: &Rc<Held>) -> LaneWriter<InSlot> {
    let nobody = side();
    let (ours, theirs) = connection(&nobody.at, &server.at, credits(2, 0), (0, 0));
    server
        .node
        .bind(theirs, Binding::default(), held.server())
        .unwrap();
    let layout = ours.out_layout;
    let slots = WriteSlots::new(
        &ours.outgoing,
        layout.request_slots(),
        layout.request_bits(),
    );
    LaneWriter::new(slots.unwrap(), ours.outgoing.word(32).unwrap(), 0)
}

fn violation_of(server: &Side, lane: &LaneWriter<InSlot>, messages: &[(Kind, Token)]) -> Failure {
    let index = server.node.connections().last().unwrap();
    for (kind, token) in messages {
        lane.push(Info::new(*kind, 1, 1), *token, |out| out.word(7));
    }
    for _ in 0..3 {
        server.turn();
    }
    index.failure().expect("it was quarantined")
}

#[test]
fn a_peer_that_breaks_the_protocol_is_quarantined_and_others_go_on() {
    let server = side();
    let held = Held::new();
    let good = side();
    let (client, _) = Join::of(credits(2, 0)).connect(&good, &server, held.server());
    let client = DeskClient::new(client);
    let credit = Failure::PeerCorrupt(Violation::Credit);
    let token = Token::new;
    for (messages, expected) in [
        // A credit that it does not hold, one used twice, one that is no token at all.
        (&[(Kind::Request, token(2, 0))][..], credit),
        (
            &[(Kind::Request, token(0, 0)), (Kind::Request, token(0, 1))],
            credit,
        ),
        (&[(Kind::Request, Token::NONE)], credit),
        (
            &[(Kind::Answer, token(0, 0))],
            Failure::PeerCorrupt(Violation::Kind),
        ),
    ] {
        let lane = played(&server, &held);
        assert_eq!(violation_of(&server, &lane, messages), expected);
        held.waiting.borrow_mut().clear();
        let client = client.clone();
        let echo = async move { client.echo(1).await };
        let echo = good.node.executor().spawn(echo).unwrap();
        settle(&[&good, &server], 50);
        assert_eq!(echo.try_take(), Some(Ok(Ok(1))));
    }
}

#[test]
fn a_cancel_for_nothing_is_counted() {
    let server = side();
    let held = Held::new();
    let lane = played(&server, &held);
    for token in [Token::new(0, 0), Token::new(9, 9), Token::NONE] {
        lane.push(Info::new(Kind::Cancel, 0, 0), token, |_| {});
        server.turn();
    }
    let connection = server.node.connections().next().unwrap();
    assert_eq!(connection.counters().late_cancels.get(), 3);
    assert_eq!(connection.failure(), None);
}
