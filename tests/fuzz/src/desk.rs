//! Honest nodes, the service that they share, and what an honest client must get from it.

use baton_inbox::Publication;
use baton_inprocess::{Address, Clock, InProcess, Sizes, connect, node};
use baton_rpc::{BulkIn, BulkOut, CallError, Client, Config, JoinHandle, Node, Wire, service};
use baton_trace::Ring;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Bytes of each bulk buffer.
pub const BULK_BYTES: u32 = 64;

/// Rounds of turns after which honest nodes must have nothing left to do.
const MOST_ROUNDS: u32 = 2000;

/// A structure that travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub struct Named {
    /// A name.
    pub name: [u8; 11],
    /// A value with few valid words.
    pub mark: Option<char>,
}

/// An enumeration that travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub enum Order {
    /// No payload.
    Nothing,
    /// A signed and an optional part.
    Some(i16, Option<bool>),
    /// Another one.
    Other(Result<char, u8>),
}

/// What is called.
#[service]
pub trait Desk {
    /// The next number.
    async fn next(&self, value: u64) -> u64;
    /// The next number, when the gate opens.
    async fn held(&self, value: u64) -> u64;
    /// The bytes, turned round.
    async fn turned(&self, data: BulkIn, out: BulkOut) -> (u64, BulkOut);
    /// Adds to the sum.
    fn note(&self, value: u64);
    /// The same order.
    async fn ordered(&self, order: Order) -> Order;
    /// The same name.
    async fn named(&self, named: Named) -> Named;
    /// Whether the first is some.
    async fn is_some(&self, value: Option<bool>, mark: Result<u8, char>) -> (bool, bool);
}

/// How many handlers wait, and whether they may go on.
#[derive(Default)]
pub struct Gate {
    open: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    noted: Cell<u64>,
}

impl Gate {
    /// Lets those through who wait, and, while it stays open, all others.
    pub fn set_open(&self, open: bool) {
        self.open.set(open);
        if open {
            let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// The sum of all notes.
    pub fn noted(&self) -> u64 {
        self.noted.get()
    }
}

/// The service behind a gate.
pub struct Gated(pub Rc<Gate>);

impl Desk for Gated {
    async fn next(&self, value: u64) -> u64 {
        value.wrapping_add(1)
    }

    async fn held(&self, value: u64) -> u64 {
        poll_fn(|context| {
            if self.0.open.get() {
                return Poll::Ready(());
            }
            self.0.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
        value.wrapping_add(1)
    }

    async fn turned(&self, data: BulkIn, mut out: BulkOut) -> (u64, BulkOut) {
        let mut bytes = data.to_vec();
        bytes.reverse();
        out.write(&bytes).expect("both buffers have the same size");
        (bytes.len() as u64, out)
    }

    fn note(&self, value: u64) {
        self.0.noted.set(self.0.noted.get().wrapping_add(value));
    }

    async fn ordered(&self, order: Order) -> Order {
        order
    }

    async fn named(&self, named: Named) -> Named {
        named
    }

    async fn is_some(&self, value: Option<bool>, mark: Result<u8, char>) -> (bool, bool) {
        (value.is_some(), mark.is_ok())
    }
}

/// A node, its address and its clock.
pub struct Side<U: Publication> {
    /// The node.
    pub node: Node<InProcess<U>>,
    /// What its senders hold.
    pub at: Address,
    /// Its clock, in nanoseconds.
    pub clock: Arc<Mutex<u64>>,
}

impl<U: Publication> Side<U> {
    /// A node for `tasks` tasks.
    pub fn new(tasks: usize) -> Self {
        let clock = Arc::new(Mutex::new(0));
        let config = Config {
            tasks,
            timers: 8,
            quantum: 8,
        };
        let (node, at) = node(
            config,
            Clock::Manual(clock.clone()),
            Arc::new(Ring::new(16)),
        );
        Side { node, at, clock }
    }

    /// One turn; says how much was done.
    pub fn turn(&self) -> u32 {
        self.node.turn().expect("no task turns it")
    }
}

/// Turns all sides until none does anything.
///
/// # Panics
///
/// When they never come to rest.
pub fn settle<U: Publication>(sides: &[&Side<U>]) {
    let mut idle = 0;
    for _ in 0..MOST_ROUNDS {
        let done: u32 = sides.iter().map(|side| side.turn()).sum();
        idle = if done == 0 { idle + 1 } else { 0 };
        if idle == 4 {
            return;
        }
    }
    panic!("still busy after {MOST_ROUNDS} rounds");
}

type Task<U> = JoinHandle<InProcess<U>, bool>;

/// A client that plays by the rules, at a server that does.
pub struct Honest<U: Publication> {
    /// Its node.
    pub side: Side<U>,
    client: DeskClient<InProcess<U>>,
    gate: Rc<Gate>,
    tasks: Vec<Task<U>>,
    cancelled: Vec<Task<U>>,
    noted: Cell<u64>,
    credits: usize,
}

impl<U: Publication> Honest<U> {
    /// A client of a new connection to `server`, which serves it behind a gate of its own.
    pub fn new(server: &Side<U>, side: Side<U>, credits: u32) -> Self {
        let gate = Rc::new(Gate::default());
        let sizes = Sizes {
            credits,
            back_credits: 0,
            request_bulk_bytes: BULK_BYTES,
            answer_bulk_bytes: BULK_BYTES,
        };
        let client = connect(
            (&side.node, &side.at),
            (&server.node, &server.at),
            sizes,
            Rc::new(DeskServer(Gated(gate.clone()))),
        );
        Honest {
            side,
            client: DeskClient::new(client.expect("there is room for it")),
            gate,
            tasks: Vec::new(),
            cancelled: Vec::new(),
            noted: Cell::new(0),
            credits: credits as usize,
        }
    }

    fn spawn(&mut self, call: impl Future<Output = bool> + 'static) {
        // A full table is the caller's own limit, not the subject.
        if let Ok(task) = self.side.node.executor().spawn(call) {
            self.tasks.push(task);
        }
    }

    /// Begins call number `which`; a task checks its answer.
    pub fn call(&mut self, which: u8, value: u64) {
        let client = self.client.clone();
        match which % 6 {
            0 => self.spawn(async move { client.next(value).await == Ok(value.wrapping_add(1)) }),
            1 => self.spawn(async move { client.held(value).await == Ok(value.wrapping_add(1)) }),
            2 => self.spawn(async move { turned(client.client(), value).await }),
            3 => {
                if client.note(value).is_ok() {
                    self.noted.set(self.noted.get().wrapping_add(value));
                }
            }
            4 => {
                let order = Order::Some(value as i16, Some(value.is_multiple_of(3)));
                self.spawn(async move { client.ordered(order).await == Ok(order) });
            }
            _ => self.spawn(async move {
                let first = client.next(value);
                let second = client.held(value);
                // Dropped out of order, the second before its answer.
                drop(second);
                first.await == Ok(value.wrapping_add(1))
            }),
        }
    }

    /// Drops one of the tasks with what it called.
    pub fn cancel(&mut self, which: usize) {
        if !self.tasks.is_empty() {
            let task = self.tasks.swap_remove(which % self.tasks.len());
            task.cancel();
            self.cancelled.push(task);
        }
    }

    /// Opens or closes the gate of this client's handlers.
    pub fn set_open(&self, open: bool) {
        self.gate.set_open(open);
    }

    /// Comes to rest with `server` and checks what was got.
    ///
    /// # Panics
    ///
    /// When a call did not end, or not as it should.
    pub fn check(mut self, server: &Side<U>) {
        self.set_open(true);
        settle(&[server, &self.side]);
        for task in self.tasks.drain(..) {
            assert_eq!(task.try_take(), Some(Ok(true)), "an honest call");
        }
        for task in self.cancelled.drain(..) {
            assert_ne!(task.try_take(), None, "a cancelled task is still there");
        }
        let connection = self.client.client().connection();
        assert_eq!(connection.failure(), None, "an honest connection");
        assert_eq!(connection.counters().stale_answers.get(), 0);
        assert_eq!(self.gate.noted(), self.noted.get(), "one-way sends");
        let credits = free_credits(self.client.client());
        assert_eq!(credits, self.credits, "credits that came back");
    }
}

async fn turned<U: Publication>(client: &Client<InProcess<U>>, value: u64) -> bool {
    let Ok(mut buffer) = client.buffer().await else {
        return false;
    };
    let bytes = value.to_le_bytes();
    if buffer.write(&bytes).is_err() {
        return false;
    }
    let answer = client.call_bulk::<(), u64>(TURNED, (), buffer).await;
    match answer {
        Ok(answer) => answer.value == 8 && answer.to_vec() == value.to_be_bytes(),
        Err(error) => panic!("an honest bulk call: {error}"),
    }
}

/// The number of [`Desk::turned`].
pub const TURNED: u16 = 2;

/// How many credits are free: takes them all, and gives them back.
pub fn free_credits<U: Publication>(client: &Client<InProcess<U>>) -> usize {
    let mut taken = Vec::new();
    while let Ok(buffer) = client.try_buffer() {
        taken.push(buffer);
    }
    taken.len()
}

/// Whether a call ended as calls to a hostile peer may: with any value of its type, or any error.
pub fn ended<T>(result: Result<T, CallError>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => !error.to_string().is_empty(),
    }
}
