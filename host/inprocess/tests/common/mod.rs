//! What the tests of this package share: nodes that are turned by hand, and a service whose handlers wait until told.
#![allow(
    dead_code,
    missing_docs,
    reason = "each test uses a part of it, and its names say what they are"
)]

use baton_inbox::{InSlot, Publication};
use baton_inprocess::{Address, Clock, InProcess, Sizes, connection, node};
use baton_rpc::{
    Band, Binding, BulkIn, BulkOut, Client, Config, Connection, Node, Platform, Service, service,
};
use baton_trace::Ring;
use futures::channel::oneshot;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

pub use baton_rpc::Start;

pub type Here = InProcess<InSlot>;

/// A node, its address, and the clock that it reads.
pub struct Side<U: Publication = InSlot> {
    pub node: Node<InProcess<U>>,
    pub at: Address,
    pub clock: Arc<Mutex<u64>>,
}

impl<U: Publication> Side<U> {
    pub fn new(config: Config, trace: Arc<Ring>) -> Self {
        let clock = Arc::new(Mutex::new(0));
        let (node, at) = node(config, Clock::Manual(clock.clone()), trace);
        Side { node, at, clock }
    }

    pub fn turn(&self) -> u32 {
        self.node.turn().expect("the test is no task")
    }

    pub fn set_clock_ns(&self, now_ns: u64) {
        *self.clock.lock().expect("nobody panicked holding it") = now_ns;
    }
}

pub fn side() -> Side {
    Side::new(small(), Arc::new(Ring::new(16)))
}

/// Sizes that many nodes in one test process can afford.
pub fn small() -> Config {
    Config {
        tasks: 64,
        timers: 8,
        quantum: 8,
    }
}

pub fn credits(credits: u32, back_credits: u32) -> Sizes {
    Sizes {
        credits,
        back_credits,
        request_bulk_bytes: 64,
        answer_bulk_bytes: 64,
    }
}

/// How two sides are connected.
pub struct Join {
    pub sizes: Sizes,
    /// The connection's number at the client and at the server; free ones if none is said.
    pub indices: Option<(u32, u32)>,
    pub start: Start,
    /// The band at the client and at the server.
    pub bands: (Band, Band),
}

impl Join {
    pub fn of(sizes: Sizes) -> Self {
        Join {
            sizes,
            indices: None,
            start: Start::default(),
            bands: (Band::NORMAL, Band::NORMAL),
        }
    }

    pub fn numbered(mut self, client: u32, server: u32) -> Self {
        self.indices = Some((client, server));
        self
    }

    /// Connects them: the first may call `service` on the second. The results are the clients at both ends.
    pub fn connect<U: Publication, S: Service<InProcess<U>>>(
        self,
        client: &Side<U>,
        server: &Side<U>,
        service: Rc<S>,
    ) -> (Client<InProcess<U>>, Client<InProcess<U>>) {
        let indices = self.indices.unwrap_or_else(|| {
            let free = |side: &Side<U>| side.node.free_index().expect("the inbox has room");
            (free(client), free(server))
        });
        let (a, b) = connection(&client.at, &server.at, self.sizes, indices);
        let binding = |index, band, name: &str| Binding {
            index: Some(index),
            name: name.to_string(),
            band,
            start: self.start,
        };
        let at_server = binding(indices.1, self.bands.1, "client");
        let back = server.node.bind(b, at_server, service);
        let to = client
            .node
            .bind_client(a, binding(indices.0, self.bands.0, "server"));
        (to.expect("client binds"), back.expect("server binds"))
    }

    /// Connects them so that each serves the other.
    pub fn connect_both<U: Publication, S: Service<InProcess<U>>, T: Service<InProcess<U>>>(
        self,
        first: &Side<U>,
        second: &Side<U>,
        at_first: Rc<S>,
        at_second: Rc<T>,
    ) -> (Client<InProcess<U>>, Client<InProcess<U>>) {
        let indices = self.indices.unwrap_or_else(|| {
            let free = |side: &Side<U>| side.node.free_index().expect("the inbox has room");
            (free(first), free(second))
        });
        let (a, b) = connection(&first.at, &second.at, self.sizes, indices);
        let binding = |index, band, name: &str| Binding {
            index: Some(index),
            name: name.to_string(),
            band,
            start: self.start,
        };
        let to_second = first
            .node
            .bind(a, binding(indices.0, self.bands.0, "second"), at_first);
        let to_first = second
            .node
            .bind(b, binding(indices.1, self.bands.1, "first"), at_second);
        (
            to_second.expect("first binds"),
            to_first.expect("second binds"),
        )
    }
}

#[service]
pub trait Desk {
    async fn echo(&self, value: u64) -> u64;
    /// Answers when the test says so.
    async fn held(&self, value: u64) -> u64;
    /// Answers with the bytes of the request, turned round.
    async fn turned(&self, data: BulkIn, out: BulkOut) -> (u64, BulkOut);
    fn note(&self, value: u64);
    async fn panics(&self) -> u64;
    /// Waits until the test says so, then panics.
    async fn panics_later(&self) -> u64;
    async fn yes(&self, yes: bool) -> bool;
}

/// What the test knows of the handlers.
#[derive(Default)]
pub struct Held {
    pub waiting: RefCell<VecDeque<(u64, oneshot::Sender<u64>)>>,
    /// Handlers that were dropped while they waited.
    pub dropped: Cell<u32>,
    pub echoed: RefCell<Vec<u64>>,
    pub notes: RefCell<Vec<u64>>,
}

struct CountDrop<'a>(&'a Cell<u32>);

impl Drop for CountDrop<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

impl Held {
    pub fn new() -> Rc<Held> {
        Rc::default()
    }

    pub fn server(self: &Rc<Self>) -> Rc<DeskServer<Rc<Held>>> {
        Rc::new(DeskServer(self.clone()))
    }

    /// Lets the handler that has waited longest answer with its own value.
    pub fn answer_first(&self) -> Option<u64> {
        let (value, sender) = self.waiting.borrow_mut().pop_front()?;
        sender.send(value).ok()?;
        Some(value)
    }

    /// Lets the handler of `value` answer with it.
    pub fn answer(&self, value: u64) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let Some(at) = waiting.iter().position(|(held, _)| *held == value) else {
            return false;
        };
        let (value, sender) = waiting.remove(at).expect("it was just found");
        drop(waiting);
        sender.send(value).is_ok()
    }

    pub fn values(&self) -> Vec<u64> {
        self.waiting
            .borrow()
            .iter()
            .map(|(value, _)| *value)
            .collect()
    }
}

impl Desk for Rc<Held> {
    async fn echo(&self, value: u64) -> u64 {
        self.echoed.borrow_mut().push(value);
        value
    }

    async fn held(&self, value: u64) -> u64 {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back((value, sender));
        let dropped = CountDrop(&self.dropped);
        let answer = receiver.await.expect("the test keeps the sender");
        std::mem::forget(dropped);
        answer
    }

    async fn turned(&self, data: BulkIn, mut out: BulkOut) -> (u64, BulkOut) {
        let mut bytes = data.to_vec();
        bytes.reverse();
        out.write(&bytes).expect("both buffers have the same size");
        (bytes.len() as u64, out)
    }

    fn note(&self, value: u64) {
        self.notes.borrow_mut().push(value);
    }

    async fn panics(&self) -> u64 {
        panic!("a handler that panics at its first poll")
    }

    async fn panics_later(&self) -> u64 {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back((0, sender));
        let _ = receiver.await;
        panic!("a handler that panics later")
    }

    async fn yes(&self, yes: bool) -> bool {
        yes
    }
}

/// How many credits are free now: takes them all, and gives them back.
pub fn free_credits<P: Platform>(client: &Client<P>) -> usize {
    let mut taken = Vec::new();
    while let Ok(buffer) = client.try_buffer() {
        taken.push(buffer);
    }
    taken.len()
}

/// Turns the sides one after the other until none has anything to do; fails the test when that takes `limit` rounds.
pub fn settle<U: Publication>(sides: &[&Side<U>], limit: u32) {
    let mut idle = 0;
    for _ in 0..limit {
        let done: u32 = sides.iter().map(|side| side.turn()).sum();
        // Credits come back at the beginning of a turn, which counts as nothing done.
        idle = if done == 0 { idle + 1 } else { 0 };
        if idle == 3 {
            return;
        }
    }
    panic!("still busy after {limit} rounds");
}

pub fn connection_of<P: Platform>(client: &Client<P>) -> &Rc<Connection<P>> {
    client.connection()
}
