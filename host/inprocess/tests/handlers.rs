//! Handlers in their cells: futures that do not fit, that leave something behind, that are cancelled, or that end their own connection.

mod common;

use baton_rpc::{CallError, service};
use common::{Here, Join, Side, credits, side};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A value that no cell is aligned for.
#[derive(Clone, Copy)]
#[repr(align(128))]
struct Wide(u64);

#[service]
trait Odd {
    /// Waits with something wide in its future until it is woken, and gives it back.
    async fn wide(&self, value: u64, waits: bool) -> u64;
    /// A future written by hand, which holds something until it is dropped.
    async fn by_hand(&self, value: u64) -> u64;
    /// Ends the connection over which it was called.
    async fn end(&self) -> u64;
}

type Deed = Box<dyn Fn()>;

#[derive(Default)]
struct Odds {
    waker: RefCell<Option<Waker>>,
    woken: Cell<bool>,
    held: Rc<()>,
    dropped_before_answer: Rc<Cell<bool>>,
    end: RefCell<Option<Deed>>,
}

/// Finishes at once, and still holds what it holds.
struct Holds {
    _held: Rc<()>,
    value: u64,
}

impl Future for Holds {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<u64> {
        Poll::Ready(self.value)
    }
}

struct SetOnDrop(Rc<Cell<bool>>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

impl Odd for Rc<Odds> {
    async fn wide(&self, value: u64, waits: bool) -> u64 {
        let wide = Wide(value);
        let _dropped = SetOnDrop(self.dropped_before_answer.clone());
        std::future::poll_fn(|context| {
            if !waits || self.woken.get() {
                return Poll::Ready(());
            }
            self.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
        let at = &raw const wide;
        assert!(
            at.is_aligned(),
            "the future was moved to where it must not be"
        );
        wide.0
    }

    #[allow(
        clippy::manual_async_fn,
        reason = "it is no async block that is tested"
    )]
    fn by_hand(&self, value: u64) -> impl Future<Output = u64> {
        Holds {
            _held: self.held.clone(),
            value,
        }
    }

    async fn end(&self) -> u64 {
        if let Some(end) = self.end.take() {
            end();
        }
        // Still here: its cell and what it borrows must be too.
        std::future::ready(()).await;
        u64::from(self.end.borrow().is_none())
    }
}

struct Scene {
    a: Side,
    b: Side,
    client: OddClient<Here>,
    odds: Rc<Odds>,
}

fn scene() -> Scene {
    let (a, b) = (side(), side());
    let odds = Rc::new(Odds::default());
    let server = Rc::new(OddServer(odds.clone()));
    let (client, back) = Join::of(credits(2, 0)).connect(&a, &b, server);
    let index = u32::from(back.connection().index());
    let node = (*b.node).clone();
    odds.end.replace(Some(Box::new(move || node.unbind(index))));
    let client = OddClient::new(client);
    Scene { a, b, client, odds }
}

impl Scene {
    fn settle(&self) {
        for _ in 0..8 {
            self.a.turn();
            self.b.turn();
        }
    }

    /// Makes a call in a task, lets all settle, and says how it ended, if it has.
    fn call<F, T>(&self, call: impl FnOnce(OddClient<Here>) -> F) -> Option<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let task = self.a.node.executor().spawn(call(self.client.clone()));
        let task = task.expect("there is a free entry");
        self.settle();
        task.try_take()
            .map(|result| result.expect("nobody cancels the task"))
    }
}

#[test]
fn a_future_that_no_cell_is_aligned_for_is_served_at_once() {
    let scene = scene();
    let answer = scene.call(|client| async move { client.wide(7, false).await });
    assert_eq!(answer, Some(Ok(7)));
}

#[test]
fn a_future_that_no_cell_is_aligned_for_may_wait() {
    let scene = scene();
    let client = scene.client.clone();
    let call = async move { client.wide(8, true).await };
    let task = scene.a.node.executor().spawn(call).unwrap();
    scene.settle();
    assert!(task.try_take().is_none());
    scene.odds.woken.set(true);
    scene.odds.waker.take().expect("it waits").wake();
    scene.settle();
    assert_eq!(task.try_take().unwrap().unwrap(), Ok(8));
}

#[test]
fn a_cancelled_handler_drops_its_future_before_it_answers() {
    let scene = scene();
    let client = scene.client.clone();
    let call = async move { client.wide(9, true).await };
    let task = scene.a.node.executor().spawn(call).unwrap();
    scene.settle();
    assert!(!scene.odds.dropped_before_answer.get());
    task.cancel();
    scene.a.turn();
    scene.a.turn();
    // In this turn of the server the CANCEL comes in, the future goes, and the answer goes out.
    scene.settle();
    assert!(scene.odds.dropped_before_answer.get());
    // Both credits are back: two calls at once are answered.
    for value in [1, 2] {
        let answer = scene.call(move |client| async move { client.wide(value, false).await });
        assert_eq!(answer, Some(Ok(value)));
    }
}

#[test]
fn what_a_finished_future_still_holds_is_dropped() {
    let scene = scene();
    for value in 0..10 {
        let answer = scene.call(move |client| async move { client.by_hand(value).await });
        assert_eq!(answer, Some(Ok(value)));
    }
    assert_eq!(Rc::strong_count(&scene.odds.held), 1);
}

#[test]
fn a_handler_may_end_its_own_connection() {
    let scene = scene();
    let answer = scene.call(|client| async move { client.end().await });
    // The connection had ended before there was an answer.
    assert!(
        matches!(answer, None | Some(Err(CallError::Failed(_)))),
        "{answer:?}"
    );
    scene.settle();
    // The number is free again, and the node goes on.
    assert_eq!(scene.b.node.connections().count(), 0);
    assert_eq!(scene.b.turn(), 0);
}
