//! The server: what all its clients share.

use crate::janitor::{Janitor, Job};
use crate::machine::Machine;
use crate::pool::Pool;
use crate::service::Figures;
use crate::session::Session;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::task::Waker;

/// What clients may have, each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pages that count, at most; whole blocks count, and so do page tables.
    pub quota_pages: u64,
    /// Pages of a region at most.
    pub region_pages: u64,
    /// Regions at most.
    pub regions: u64,
    /// Where the window of addresses begins that is the server's to give: a multiple of 1 GiB.
    pub window: u64,
    /// Pages of the window, at most 1 GiB.
    pub window_pages: u64,
}

/// What all sessions share.
pub(crate) struct Shared<M> {
    pub(crate) machine: M,
    pub(crate) limits: Limits,
    pub(crate) pool: RefCell<Pool>,
    pub(crate) clients: Cell<u64>,
    pub(crate) requests: Cell<u64>,
    pub(crate) undone: Cell<u64>,
    pub(crate) jobs: RefCell<VecDeque<Job<M>>>,
    pub(crate) janitor: Cell<Option<Waker>>,
    last_client: Cell<u64>,
}

/// A memory server. Cheap to clone.
pub struct Server<M>(pub(crate) Rc<Shared<M>>);

impl<M> Clone for Server<M> {
    fn clone(&self) -> Self {
        Server(self.0.clone())
    }
}

impl<M: Machine> Server<M> {
    /// A server of `blocks` blocks of which nothing is made, and which are nobody else's.
    pub fn new(machine: M, blocks: u32, limits: Limits) -> Self {
        Server(Rc::new(Shared {
            machine,
            limits,
            pool: RefCell::new(Pool::new(blocks)),
            clients: Cell::new(0),
            requests: Cell::new(0),
            undone: Cell::new(0),
            jobs: RefCell::default(),
            janitor: Cell::new(None),
            last_client: Cell::new(0),
        }))
    }

    /// The service for a client whose address space has that number. End it with [`Session::end`], and keep the number the client's until
    /// that has come back.
    pub fn session(&self, space: u32) -> Session<M> {
        let shared = &self.0;
        shared.clients.set(shared.clients.get() + 1);
        shared.last_client.set(shared.last_client.get() + 1);
        Session::new(shared.clone(), shared.last_client.get(), space)
    }

    /// What undoes requests that were dropped half-way: to be run as a task of its own, as long as there are clients.
    pub fn janitor(&self) -> Janitor<M> {
        Janitor(self.0.clone())
    }

    /// The kernel below.
    pub fn machine(&self) -> &M {
        &self.0.machine
    }

    /// What the server has.
    pub fn figures(&self) -> Figures {
        self.0.figures()
    }
}

impl<M> Shared<M> {
    pub(crate) fn figures(&self) -> Figures {
        let [blocks, free_blocks, lost_blocks] = self.pool.borrow().counts();
        Figures {
            blocks,
            free_blocks,
            lost_blocks,
            clients: self.clients.get(),
            requests: self.requests.get(),
            undone: self.undone.get(),
        }
    }
}
