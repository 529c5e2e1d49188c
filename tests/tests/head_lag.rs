//! A head that lags behind what was drained is no offence: answers are visible before the head is published.
#![cfg(not(loom))]

use baton_inbox::InSlot;
use baton_inbox::link::HEAD_LAG;
use baton_inprocess::{Clock, InProcess, Sizes, connect, node};
use baton_rpc::{Config, LANE_QUANTUM, Node, service};
use baton_trace::Ring;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

#[service]
trait Steps {
    /// Answers at once.
    async fn step(&self, number: u64) -> u64;
    fn note(&self, number: u64);
}

type Turned = Node<InProcess<InSlot>>;

/// Turns the client's node while a batch is drained, as if it ran on another core.
struct InBatch {
    client: RefCell<Weak<Turned>>,
    at: u64,
    turned: Cell<bool>,
}

impl Steps for InBatch {
    async fn step(&self, number: u64) -> u64 {
        if number == self.at && !self.turned.replace(true) {
            let client = self.client.borrow().upgrade().unwrap();
            for _ in 0..4 {
                client.turn().unwrap();
            }
        }
        number
    }

    fn note(&self, _number: u64) {}
}

#[test]
fn a_client_that_overtakes_the_published_head_goes_on() {
    let make = || {
        node::<InSlot>(
            Config::default(),
            Clock::Machine(Instant::now()),
            Arc::new(Ring::new(8)),
        )
    };
    let (client, at_client) = make();
    let (server, at_server) = make();
    let client = Rc::new(client);
    let service = Rc::new(StepsServer(InBatch {
        client: RefCell::new(Rc::downgrade(&client)),
        at: 3,
        turned: Cell::new(false),
    }));
    let sizes = Sizes {
        credits: 4,
        back_credits: 0,
        request_bulk_bytes: 0,
        answer_bulk_bytes: 0,
    };
    let ends = ((&*client, &at_client), (&server, &at_server));
    let steps = StepsClient::new(connect(ends.0, ends.1, sizes, service).unwrap());
    // All four credits: a note, and three steps in one batch.
    steps.note(0).unwrap();
    let mut calls = Vec::new();
    for first in 1..=3 {
        let steps = steps.clone();
        // Each goes on with a second step as soon as the first is answered.
        let task = async move {
            let one = steps.step(first).await?;
            let two = steps.step(first + 10).await?;
            Ok::<_, baton_rpc::CallError>((one, two))
        };
        calls.push((first, client.executor().spawn(task).unwrap()));
    }
    client.turn().unwrap();
    // While step 3 is served, steps 1 and 2 come back and two more are sent: six messages, no head yet.
    let sent = Rc::new(Cell::new(None));
    let at_end = sent.clone();
    let again = steps.clone();
    let look = client.executor().spawn(async move {
        // In every turn until all credits are out and a look at the head is due.
        std::future::poll_fn(|context| {
            at_end.set(Some(again.note(1)));
            if matches!(at_end.get(), Some(Err(_))) {
                context.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        })
        .await;
    });
    look.unwrap();
    for _ in 0..8 {
        server.turn().unwrap();
        client.turn().unwrap();
        assert_eq!(steps.client().connection().failure(), None);
    }
    for (first, call) in calls {
        assert_eq!(call.try_take().unwrap().unwrap(), Ok((first, first + 10)));
    }
    const { assert!(LANE_QUANTUM <= HEAD_LAG) };
    assert_eq!(sent.get(), Some(Ok(())), "credits came back in the end");
}
