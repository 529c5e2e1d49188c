//! The service and how it is served.

use alloc::rc::Rc;
use alloc::vec::Vec;
use baton_rpc::{BulkIn, BulkOut, Wire, service};
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// What can be called.
#[service]
pub trait Exchange {
    /// The sum, wrapping.
    async fn add(&self, left: u64, right: u64) -> u64;

    /// Mixes four words into two.
    async fn mix(&self, a: u64, b: u64, c: u64, d: u64) -> (u64, u64);

    /// Answers `client` with `value` when [`Exchange::let_go`] is called.
    async fn held(&self, client: u64, value: u64) -> u64;

    /// Has all answer that are held.
    fn let_go(&self);

    /// How many handlers of `client` wait in [`Exchange::held`].
    async fn waiting(&self, client: u64) -> u64;

    /// Answers with the payload turned round, and its length.
    async fn turned(&self, data: BulkIn, out: BulkOut) -> (u64, BulkOut);

    /// Counts `value` in what [`Exchange::noted`] says of `client`.
    fn note(&self, client: u64, value: u64);

    /// What that client has noted since it asked last.
    async fn noted(&self, client: u64) -> Notes;
}

/// Notes of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Wire)]
pub struct Notes {
    /// How many.
    pub count: u64,
    /// Their sum, wrapping.
    pub sum: u64,
}

/// Serves [`Exchange`].
#[derive(Default)]
pub struct Desk {
    served: Cell<u64>,
    /// The clients whose handlers wait, one entry a handler.
    waiting: RefCell<Vec<u64>>,
    round: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
    notes: RefCell<Vec<(u64, Notes)>>,
}

/// Notes that a handler of `client` waits, until it is dropped.
struct Waits<'a> {
    all: &'a RefCell<Vec<u64>>,
    client: u64,
}

impl<'a> Waits<'a> {
    fn new(all: &'a RefCell<Vec<u64>>, client: u64) -> Self {
        all.borrow_mut().push(client);
        Waits { all, client }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut all = self.all.borrow_mut();
        let found = all.iter().position(|client| *client == self.client);
        if let Some(found) = found {
            all.swap_remove(found);
        }
    }
}

impl Desk {
    /// A desk at which nobody has been yet.
    pub fn new() -> Rc<Desk> {
        Rc::default()
    }

    /// Requests answered or begun.
    pub fn served(&self) -> u64 {
        self.served.get()
    }

    /// Handlers that wait in [`Exchange::held`].
    pub fn handlers_waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// How many notes of that client have not been asked for.
    pub fn notes_of(&self, client: u64) -> u64 {
        let notes = self.notes.borrow();
        let mut known = notes.iter();
        known
            .find(|(number, _)| *number == client)
            .map_or(0, |(_, notes)| notes.count)
    }

    fn serve(&self) {
        self.served.set(self.served.get() + 1);
    }
}

impl Exchange for Rc<Desk> {
    async fn add(&self, left: u64, right: u64) -> u64 {
        self.serve();
        left.wrapping_add(right)
    }

    async fn mix(&self, a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
        self.serve();
        (a.wrapping_mul(3) ^ c, b.wrapping_mul(5) ^ d)
    }

    async fn held(&self, client: u64, value: u64) -> u64 {
        self.serve();
        let _waits = Waits::new(&self.waiting, client);
        let round = self.round.get();
        poll_fn(|context| {
            if self.round.get() != round {
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
        value
    }

    fn let_go(&self) {
        self.serve();
        self.round.set(self.round.get() + 1);
        for waker in self.wakers.take() {
            waker.wake();
        }
    }

    async fn waiting(&self, client: u64) -> u64 {
        self.serve();
        let all = self.waiting.borrow();
        all.iter().filter(|waiting| **waiting == client).count() as u64
    }

    async fn turned(&self, data: BulkIn, mut out: BulkOut) -> (u64, BulkOut) {
        self.serve();
        let mut bytes = data.to_vec();
        bytes.reverse();
        // What does not fit comes back as nothing, which the client notices.
        let length = match out.write(&bytes) {
            Ok(()) => bytes.len() as u64,
            Err(_) => 0,
        };
        (length, out)
    }

    fn note(&self, client: u64, value: u64) {
        self.serve();
        let mut notes = self.notes.borrow_mut();
        let known = notes.iter().position(|(number, _)| *number == client);
        let at = known.unwrap_or(notes.len());
        if known.is_none() {
            notes.push((client, Notes::default()));
        }
        if let Some((_, notes)) = notes.get_mut(at) {
            notes.count += 1;
            notes.sum = notes.sum.wrapping_add(value);
        }
    }

    async fn noted(&self, client: u64) -> Notes {
        self.serve();
        let mut notes = self.notes.borrow_mut();
        let known = notes.iter().position(|(number, _)| *number == client);
        known.map_or(Notes::default(), |at| notes.swap_remove(at).1)
    }
}
