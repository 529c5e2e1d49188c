//! Step 3: the event sequences of requests and answers to nodes that sleep.

mod common;
#[path = "common/events.rs"]
mod events;
#[path = "common/hooked.rs"]
mod hooked;

use common::{DeskClient, Held};
use events::{begin, happened, shared_ring};
use futures::channel::oneshot;
use hooked::{Sleeper, connect};
use std::rc::Rc;

/// The server's only task: it ends when the test says so.
fn until_told() -> (oneshot::Sender<()>, impl Future<Output = ()>) {
    let (sender, receiver) = oneshot::channel();
    (sender, async move { receiver.await.unwrap() })
}

#[test]
fn a_sleeping_server_is_rung() {
    let ring = shared_ring();
    let a = Rc::new(Sleeper::new(ring.clone()));
    let b = Sleeper::new(ring.clone());
    let client = DeskClient::new(connect(&a, &b, 2, Held::new().server()));
    begin(&[&a.node, &b.node]);
    let call = async move { client.echo(7).await };
    let task = a.node.executor().spawn(call).unwrap();
    let (end, told) = until_told();
    let turned = a.clone();
    b.while_asleep(move || {
        turned.node.turn().unwrap();
    });
    let turned = a.clone();
    b.while_asleep(move || {
        turned.node.turn().unwrap();
        end.send(()).unwrap();
    });
    b.node.run_until(baton_rpc::Mode::Park, told).unwrap();
    assert_eq!(
        happened(&ring, &mut 0),
        [
            "0 c65535 sleep - - 0",
            "0 c1 call t0 0.0 0",
            "0 c1 submit t0 0.0 0",
            "0 c1 ring - - 0",
            "0 c65535 woken - - 0",
            "0 c2 drain t0 0.0 0",
            "0 c2 serve t0 0.0 0",
            "0 c2 reply t0 0.0 0",
            "0 c65535 sleep - - 0",
            "0 c1 drain_answer t0 0.0 0",
            "0 c1 resume t0 0.0 0",
            "0 c65535 woken - - 0",
        ]
    );
    assert_eq!(b.bell.rings(), 1);
    assert_eq!(a.bell.rings(), 0);
    assert_eq!(task.try_take().unwrap().unwrap(), Ok(7));
}

#[test]
fn two_requests_of_a_batch_ring_once() {
    let ring = shared_ring();
    let a = Rc::new(Sleeper::new(ring.clone()));
    let b = Sleeper::new(ring.clone());
    let client = DeskClient::new(connect(&a, &b, 2, Held::new().server()));
    begin(&[&a.node, &b.node]);
    for value in 0..2 {
        let client = client.clone();
        let call = async move { client.echo(value).await };
        a.node.executor().spawn(call).unwrap();
    }
    let (end, told) = until_told();
    let turned = a.clone();
    b.while_asleep(move || {
        turned.node.turn().unwrap();
        // Nothing was added, so nothing rings again.
        turned.node.turn().unwrap();
    });
    b.while_asleep(move || end.send(()).unwrap());
    b.node.run_until(baton_rpc::Mode::Park, told).unwrap();
    assert_eq!(
        happened(&ring, &mut 0),
        [
            "0 c65535 sleep - - 0",
            "0 c1 call t0 0.0 0",
            "0 c1 submit t0 0.0 0",
            "0 c1 call t1 1.0 0",
            "0 c1 submit t1 1.0 0",
            "0 c1 ring - - 0",
            "0 c65535 woken - - 0",
            "0 c2 drain t0 0.0 0",
            "0 c2 serve t0 0.0 0",
            "0 c2 reply t0 0.0 0",
            "0 c2 drain t1 1.0 0",
            "0 c2 serve t1 1.0 0",
            "0 c2 reply t1 1.0 0",
            "0 c65535 sleep - - 0",
            "0 c65535 woken - - 0",
        ]
    );
    assert_eq!(b.bell.rings(), 1);
}

#[test]
fn a_client_that_sleeps_over_its_call_is_rung_by_the_answer() {
    let ring = shared_ring();
    let a = Sleeper::new(ring.clone());
    let b = Rc::new(Sleeper::new(ring.clone()));
    let client = DeskClient::new(connect(&a, &b, 2, Held::new().server()));
    begin(&[&a.node, &b.node]);
    let turned = b.clone();
    a.while_asleep(move || {
        turned.node.turn().unwrap();
    });
    let call = async { client.echo(7).await };
    let answer = a.node.run_until(baton_rpc::Mode::Park, call);
    assert_eq!(answer, Ok(Ok(7)));
    assert_eq!(
        happened(&ring, &mut 0),
        [
            "0 c1 call t0 0.0 0",
            "0 c1 submit t0 0.0 0",
            "0 c65535 sleep - - 0",
            "0 c2 drain t0 0.0 0",
            "0 c2 serve t0 0.0 0",
            "0 c2 reply t0 0.0 0",
            "0 c2 ring - - 0",
            "0 c65535 woken - - 0",
            "0 c1 drain_answer t0 0.0 0",
            "0 c1 resume t0 0.0 0",
        ]
    );
    assert_eq!((a.bell.rings(), b.bell.rings()), (1, 0));
}
