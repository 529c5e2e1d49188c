//! With a dispatcher between, a handler may be cancelled that was never polled: its future is dropped before its answer goes out all the same.

mod common;

use baton_inbox::{Dispatched, InSlot};
use baton_inprocess::InProcess;
use baton_rpc::{Band, NodeHandle, service};
use baton_trace::Ring;
use common::{Join, Side, credits, free_credits, settle, small};
use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

type There = InProcess<Dispatched<InSlot>>;

#[service]
trait Odd {
    async fn narrow(&self) -> u64;
    async fn wide(&self) -> u64;
}

#[derive(Default)]
struct Odds {
    node: OnceCell<NodeHandle<There>>,
    polls: Cell<u32>,
    sent_at_drop: RefCell<Vec<String>>,
}

struct Notes(Rc<Odds>);

impl Drop for Notes {
    fn drop(&mut self) {
        let node = self.0.node.get().expect("it was set before the first call");
        let mut text = String::new();
        node.dump(&mut text).expect("a string takes all");
        let sent = text
            .lines()
            .find_map(|line| line.split_once("answers out: "));
        let (_, sent) = sent.expect("the connection is bound");
        self.0.sent_at_drop.borrow_mut().push(sent.to_string());
    }
}

impl Future for Notes {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<u64> {
        self.0.polls.set(self.0.polls.get() + 1);
        Poll::Ready(7)
    }
}

/// No cell is aligned for it.
#[repr(align(128))]
struct Wide(Notes);

impl Future for Wide {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Odd for Rc<Odds> {
    fn narrow(&self) -> impl Future<Output = u64> {
        Notes(self.clone())
    }

    fn wide(&self) -> impl Future<Output = u64> {
        Wide(Notes(self.clone()))
    }
}

fn cancelled_before_its_first_poll(wide: bool) {
    let side = || Side::<Dispatched<InSlot>>::new(small(), Arc::new(Ring::new(16)));
    let (a, b) = (side(), side());
    let odds = Rc::new(Odds::default());
    assert!(odds.node.set(NodeHandle::clone(&b.node)).is_ok());
    let server = Rc::new(OddServer(odds.clone()));
    let join = Join {
        // Below the dispatcher's, in which there is always something to be done: the handler's turn does not come.
        bands: (Band::NORMAL, Band::LAST),
        ..Join::of(credits(1, 0))
    };
    let (client, _) = join.connect(&a, &b, server);
    let odd = OddClient::new(client.clone());
    settle(&[&a, &b], 50);
    let call = async move {
        match wide {
            true => odd.wide().await,
            false => odd.narrow().await,
        }
    };
    let task = a.node.executor().spawn(call).unwrap();
    let busy = poll_fn(|context| {
        context.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    let busy = b.node.executor().spawn(busy).unwrap();
    a.turn();
    for _ in 0..4 {
        b.turn();
    }
    task.cancel();
    for _ in 0..4 {
        a.turn();
        b.turn();
    }
    busy.cancel();
    settle(&[&a, &b], 50);
    assert_eq!(
        odds.polls.get(),
        0,
        "the cancel did not come before the poll"
    );
    assert_eq!(*odds.sent_at_drop.borrow(), ["0 sent"], "wide: {wide}");
    assert_eq!(free_credits(&client), 1);
}

#[test]
fn a_future_in_its_cell_that_was_never_polled_is_dropped_before_its_answer() {
    cancelled_before_its_first_poll(false);
}

#[test]
fn a_future_on_the_heap_that_was_never_polled_is_dropped_before_its_answer() {
    cancelled_before_its_first_poll(true);
}
