//! Handlers and the cells they are in, of those that fit and those that are put on the heap: when their futures are dropped, what comes
//! back, and what goes on after a handler has ended its own connection.

mod common;

use baton_rpc::{CallError, Failure, NodeHandle, service};
use common::{
    DeskClient, Held, Here, Join, Side, connection_of, credits, free_credits, settle, side,
};
use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What no cell is aligned for.
#[repr(align(128))]
struct Wide<T>(T);

/// What a handler does.
const FINISHES: u64 = 0;
const WAITS: u64 = 1;
const PANICS: u64 = 2;
const WAITS_AND_PANICS: u64 = 3;

#[service]
trait Odd {
    /// Does as told, in its cell.
    async fn narrow(&self, what: u64) -> u64;
    /// The same, on the heap.
    async fn wide(&self, what: u64) -> u64;
    /// Ends the connection over which it was called, and waits for ever if told so.
    async fn end(&self, waits: bool) -> u64;
}

/// A future written by hand. It holds something until it is dropped, and not only until it has finished.
struct ByHand {
    odds: Rc<Odds>,
    what: u64,
    first: bool,
    held: Guard,
}

/// Is counted while it is there, and notes at its end how many answers its side has sent.
struct Guard {
    odds: Rc<Odds>,
    _counted: Rc<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.odds.sent_at_drop.borrow_mut().push(self.odds.sent());
    }
}

impl Future for ByHand {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let waits = self.what == WAITS || self.what == WAITS_AND_PANICS;
        if self.first && waits {
            self.first = false;
            self.odds.waker.replace(Some(context.waker().clone()));
            return Poll::Pending;
        }
        assert!(
            self.what == FINISHES || self.what == WAITS,
            "this is the panic"
        );
        Poll::Ready(self.held.odds.address_error.get())
    }
}

/// [`ByHand`], aligned to more than a cell is.
struct WideByHand(Wide<ByHand>);

impl Future for WideByHand {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let at = &raw const self.0;
        let off = at.addr() % align_of::<Wide<ByHand>>();
        let inner = &mut self.0.0;
        inner.odds.address_error.set(off as u64);
        Pin::new(inner).poll(context)
    }
}

#[derive(Default)]
struct Odds {
    node: OnceCell<NodeHandle<Here>>,
    index: Cell<u32>,
    waker: RefCell<Option<Waker>>,
    counted: Rc<()>,
    sent_at_drop: RefCell<Vec<u32>>,
    /// How far a future on the heap was from an address that it may have.
    address_error: Cell<u64>,
}

impl Odds {
    fn by_hand(self: &Rc<Self>, what: u64) -> ByHand {
        ByHand {
            odds: self.clone(),
            what,
            first: true,
            held: Guard {
                odds: self.clone(),
                _counted: self.counted.clone(),
            },
        }
    }

    /// How many answers the server has written, as its dump says.
    fn sent(&self) -> u32 {
        let node = self.node.get().expect("it was set before the first call");
        let mut text = String::new();
        node.dump(&mut text).expect("a string takes all");
        let (_, rest) = text.split_once("answers out: ").expect("it is bound");
        let (number, _) = rest.split_once(' ').expect("a number stands there");
        number.parse().expect("a number")
    }

    /// Handlers' futures that are there.
    fn alive(&self) -> usize {
        Rc::strong_count(&self.counted) - 1
    }
}

impl Odd for Rc<Odds> {
    fn narrow(&self, what: u64) -> impl Future<Output = u64> {
        self.by_hand(what)
    }

    fn wide(&self, what: u64) -> impl Future<Output = u64> {
        WideByHand(Wide(self.by_hand(what)))
    }

    async fn end(&self, waits: bool) -> u64 {
        let _held = self.by_hand(FINISHES).held;
        let node = self.node.get().expect("it was set before the first call");
        node.unbind(self.index.get());
        if waits {
            pending::<()>().await;
        }
        // Still here: its cell, and what it borrows.
        self.alive() as u64
    }
}

struct Scene {
    a: Side,
    b: Side,
    client: OddClient<Here>,
    odds: Rc<Odds>,
}

/// One server, whose cells have room for the narrow futures only, and one client with two credits.
fn scene() -> Scene {
    let (a, b) = (side(), side());
    let odds = Rc::new(Odds::default());
    let node = NodeHandle::clone(&b.node);
    assert!(odds.node.set(node).is_ok());
    let client = bind(&a, &b, &odds);
    Scene { a, b, client, odds }
}

fn bind(a: &Side, b: &Side, odds: &Rc<Odds>) -> OddClient<Here> {
    let server = Rc::new(OddServer(odds.clone()));
    let (client, back) = Join::of(credits(2, 0)).connect(a, b, server);
    odds.index.set(back.connection().index().into());
    OddClient::new(client)
}

type Task = baton_rpc::JoinHandle<Here, Result<u64, CallError>>;

impl Scene {
    fn settle(&self) {
        settle(&[&self.a, &self.b], 50);
    }

    fn begin(&self, wide: bool, what: u64) -> Task {
        let client = self.client.clone();
        let call = async move {
            match wide {
                true => client.wide(what).await,
                false => client.narrow(what).await,
            }
        };
        self.a.node.executor().spawn(call).unwrap()
    }

    fn wake(&self) {
        self.odds.waker.take().expect("a handler waits").wake();
    }

    fn turn_that_panics(&self) {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let turned = catch_unwind(AssertUnwindSafe(|| self.b.turn()));
        std::panic::set_hook(hook);
        assert!(turned.is_err(), "nothing panicked");
    }

    /// Nothing is left of any handler, and both credits serve again, in both kinds of handler.
    fn check(&self) {
        self.settle();
        assert_eq!(self.odds.alive(), 0);
        let client = self.client.client();
        assert_eq!(free_credits(client), connection_of(client).credits());
        let tasks = [self.begin(false, FINISHES), self.begin(true, FINISHES)];
        self.settle();
        for task in tasks {
            assert_eq!(task.try_take(), Some(Ok(Ok(0))));
        }
        assert_eq!(self.odds.alive(), 0);
    }
}

#[test]
fn a_future_that_finishes_at_once_is_dropped_before_its_answer() {
    for wide in [false, true] {
        let scene = scene();
        for round in 0..4 {
            let task = scene.begin(wide, FINISHES);
            scene.settle();
            assert_eq!(task.try_take(), Some(Ok(Ok(0))));
            assert_eq!(scene.odds.alive(), 0);
            let dropped = scene.odds.sent_at_drop.take();
            assert_eq!(dropped, [round], "wide: {wide}");
        }
        scene.check();
    }
}

#[test]
fn a_future_that_waited_is_polled_where_it_was_and_dropped_once() {
    for wide in [false, true] {
        let scene = scene();
        let task = scene.begin(wide, WAITS);
        scene.settle();
        assert_eq!((task.is_finished(), scene.odds.alive()), (false, 1));
        // Another one comes and goes beside it.
        let other = scene.begin(!wide, FINISHES);
        scene.settle();
        assert_eq!(other.try_take(), Some(Ok(Ok(0))));
        assert_eq!((task.is_finished(), scene.odds.alive()), (false, 1));
        scene.wake();
        scene.settle();
        assert_eq!(task.try_take(), Some(Ok(Ok(0))));
        assert_eq!(scene.odds.sent_at_drop.borrow().len(), 2);
        scene.check();
    }
}

#[test]
fn a_cancelled_future_is_dropped_before_its_answer_goes_out() {
    for wide in [false, true] {
        let scene = scene();
        let task = scene.begin(wide, WAITS);
        scene.settle();
        assert_eq!((scene.odds.alive(), scene.odds.sent()), (1, 0));
        task.cancel();
        // One turn drops the call, and the CANCEL goes out in the next.
        scene.a.turn();
        scene.a.turn();
        assert_eq!((scene.odds.alive(), scene.odds.sent()), (1, 0));
        scene.b.turn();
        assert_eq!((scene.odds.alive(), scene.odds.sent()), (0, 1));
        // The credit may be used as soon as the answer is there; what the future borrows of it must be gone by then.
        assert_eq!(*scene.odds.sent_at_drop.borrow(), [0], "wide: {wide}");
        // Its waker has outlived it.
        scene.wake();
        scene.check();
    }
}

#[test]
fn a_future_that_panics_is_dropped_and_its_cell_comes_back() {
    for wide in [false, true] {
        for waits in [false, true] {
            let scene = scene();
            for _ in 0..3 {
                let what = if waits { WAITS_AND_PANICS } else { PANICS };
                let task = scene.begin(wide, what);
                scene.a.turn();
                if waits {
                    scene.b.turn();
                    assert_eq!(scene.odds.alive(), 1);
                    scene.wake();
                }
                scene.turn_that_panics();
                assert_eq!(scene.odds.alive(), 0);
                scene.settle();
                assert_eq!(task.try_take(), Some(Ok(Err(CallError::NoReply))));
                scene.check();
            }
        }
    }
}

#[test]
fn futures_that_wait_are_dropped_with_their_node() {
    let Scene { a, b, client, odds } = scene();
    let calls = [true, false].map(|wide| {
        let client = client.clone();
        let call = async move {
            match wide {
                true => client.wide(WAITS).await,
                false => client.narrow(WAITS).await,
            }
        };
        a.node.executor().spawn(call).unwrap()
    });
    settle(&[&a, &b], 50);
    assert_eq!(odds.alive(), 2);
    drop(b);
    assert_eq!(odds.alive(), 0);
    drop(calls);
}

#[test]
fn what_a_handler_leaves_that_ends_its_own_connection_goes_in_the_next_turn() {
    for waits in [false, true] {
        let mut scene = scene();
        // Somebody else, whom all this does not concern.
        let held = Held::new();
        let other = side();
        let (client, _) = Join::of(credits(2, 0)).connect(&other, &scene.b, held.server());
        let desk = DeskClient::new(client);
        let echo = |value| {
            let desk = desk.clone();
            let call = async move { desk.echo(value).await };
            let task = other.node.executor().spawn(call).unwrap();
            settle(&[&other, &scene.b], 50);
            assert_eq!(task.try_take(), Some(Ok(Ok(value))));
        };
        echo(1);
        // A second handler of the same connection waits.
        let waiting = scene.begin(true, WAITS);
        scene.settle();
        assert_eq!(scene.odds.alive(), 1);
        let client = scene.client.clone();
        let call = async move { client.end(waits).await };
        let ending = scene.a.node.executor().spawn(call).unwrap();
        scene.a.turn();
        scene.b.turn();
        let index = scene.odds.index.get();
        let ended = scene.b.node.connection(index);
        let failure = ended.as_ref().and_then(|connection| connection.failure());
        assert_eq!(failure, Some(Failure::Disconnected));
        drop(ended);
        assert_eq!(scene.odds.alive(), if waits { 2 } else { 1 });
        scene.b.turn();
        assert_eq!(scene.odds.alive(), 0);
        assert!(scene.b.node.connection(index).is_none());
        // What wakes them comes too late for them.
        scene.wake();
        echo(2);
        // The client is told by nobody here; it ends its side by itself.
        let at_client = connection_of(scene.client.client()).index();
        scene.a.node.unbind(at_client.into());
        scene.settle();
        for task in [waiting, ending] {
            let failed = Err(CallError::Failed(Failure::Disconnected));
            assert_eq!(task.try_take(), Some(Ok(failed)));
        }
        // The number and the cells serve again.
        scene.client = bind(&scene.a, &scene.b, &scene.odds);
        assert_eq!(scene.odds.index.get(), index);
        scene.check();
        echo(3);
    }
}
