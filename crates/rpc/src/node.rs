//! A node: an executor, its inbox, and the connections that are bound to it.
//!
//! Tasks hold a [`NodeHandle`], which binds, unbinds and looks up; only the [`Node`] itself can be driven.
//!
//! Invariant: a connection's number is taken from `bind` until its port has left the scan, so no two connections that a turn may
//! look at have the same one.
//!
//! Neighbours: `source` makes the node the executor's source of messages; `arrival` puts what was bound into the scan, as a `port`;
//! `dispatcher` is for the transports that Baton is compared with; `dump` prints a node.

use crate::call::Client;
use crate::connection::{Connection, Ledger, Start};
use crate::dispatcher::Dispatcher;
use crate::error::Failure;
use crate::port::{Looks, Port, Ports};
use crate::serve::{NoService, Serve, Service, serving};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use baton_executor::{
    Config, Executor, Handle, Mode, NewExecutorError, RunError, Source, TableFull, Turns,
};
use baton_inbox::{
    Band, LaneReader, LinkError, LinkParts, MAX_CONNECTIONS, Platform, Publication, Scan,
    SharedRing,
};
use baton_shm::Word;
use baton_trace::Ring;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::Future;
use core::ops::Deref;

/// Why a connection was not bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// The inbox has no room: it holds as many connections as it can.
    InboxFull {
        /// How many that is.
        capacity: usize,
    },
    /// The number asked for is in use or out of range: a mistake of the broker.
    IndexTaken(u32),
    /// The executor has not as many task entries left as the peer was granted credits.
    TableFull(TableFull),
    /// The regions are not what was agreed on.
    Link(LinkError),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::InboxFull { capacity } => write!(
                f,
                "the inbox holds {capacity} connections already; disconnect one first"
            ),
            BindError::IndexTaken(index) => {
                write!(f, "connection number {index} is in use or out of range")
            }
            BindError::TableFull(error) => error.fmt(f),
            BindError::Link(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for BindError {}

impl From<LinkError> for BindError {
    fn from(error: LinkError) -> Self {
        BindError::Link(error)
    }
}

impl From<TableFull> for BindError {
    fn from(error: TableFull) -> Self {
        BindError::TableFull(error)
    }
}

/// What to bind a connection as.
pub struct Binding {
    /// Its number in this inbox, or none for the first free one.
    pub index: Option<u32>,
    /// What the peer is called, for dumps.
    pub name: String,
    /// The priority band of its lanes and handlers, chosen by the receiver.
    pub band: Band,
    /// Where positions and generations begin.
    pub start: Start,
}

impl Default for Binding {
    fn default() -> Self {
        Binding {
            index: None,
            name: String::new(),
            band: Band::NORMAL,
            start: Start::default(),
        }
    }
}

/// The part of a node that its tasks may hold: everything but the executor's ownership.
pub struct NodeHandle<P: Platform>(pub(crate) Rc<Inner<P>>);

impl<P: Platform> Clone for NodeHandle<P> {
    fn clone(&self) -> Self {
        NodeHandle(self.0.clone())
    }
}

impl<P: Platform> Inner<P> {
    /// Switches the events of this node's connections on or off.
    pub(crate) fn set_tracing(&self, on: bool) {
        if self.ledger.tracing.replace(on) != on {
            for connection in self.directory.borrow().iter() {
                connection.set_tracing(on);
            }
        }
    }
}

pub(crate) struct Inner<P: Platform> {
    pub(crate) ledger: Rc<Ledger<P>>,
    pub(crate) scan: Scan,
    /// What is bound and has arrived. Never changed, but replaced by [`Inner::come_and_go`].
    pub(crate) ports: RefCell<Rc<Ports<P>>>,
    /// The same connections, for look-ups at any time.
    pub(crate) directory: RefCell<Vec<Rc<Connection<P>>>>,
    /// Connections that come into the scan when the next turn begins.
    pub(crate) arriving: RefCell<Vec<Port<P>>>,
    /// Numbers that are taken, those of arriving connections included.
    pub(crate) taken: Cell<u64>,
    /// How often the executor has attended to this node.
    pub(crate) attended: Cell<u32>,
    /// Connections whose peers were asked to ring for space when the executor went to sleep, one bit each.
    pub(crate) wanting: Cell<u64>,
    pub(crate) dispatcher: Dispatcher,
}

/// An executor, its inbox and its connections.
pub struct Node<P: Platform> {
    // Before `executor`: handlers and connections go before the executor does.
    pub(crate) handle: NodeHandle<P>,
    pub(crate) executor: Executor<P>,
}

impl<P: Platform> Deref for Node<P> {
    type Target = NodeHandle<P>;

    fn deref(&self) -> &NodeHandle<P> {
        &self.handle
    }
}

impl<P: Platform> Node<P> {
    /// Makes a node on `platform`, whose senders read the word `state` and set bits in the word `hint`.
    ///
    /// # Errors
    ///
    /// [`NewExecutorError`].
    pub fn new(
        platform: P,
        state: Word,
        hint: Word,
        trace: Arc<Ring>,
        config: Config,
    ) -> Result<Self, NewExecutorError> {
        Self::with_ring(platform, state, hint, trace, config, None)
    }

    /// As [`Node::new`], for a node whose senders all write `ring`.
    ///
    /// # Errors
    ///
    /// [`NewExecutorError`].
    pub fn with_ring(
        platform: P,
        state: Word,
        hint: Word,
        trace: Arc<Ring>,
        config: Config,
        ring: Option<LaneReader<P::Publication>>,
    ) -> Result<Self, NewExecutorError> {
        let executor = Executor::new(platform, state, trace, config)?;
        let ledger = Rc::new(Ledger {
            handle: Handle::clone(&executor),
            dirty: Cell::new(0),
            heads: Cell::new(0),
            unsettled: Cell::new(0),
            leaving: Cell::new(0),
            tracing: Cell::new(false),
            ring,
        });
        let node = Node {
            executor,
            handle: NodeHandle(Rc::new(Inner {
                ledger,
                scan: Scan::new(hint),
                ports: RefCell::new(Rc::new(Ports::none())),
                directory: RefCell::new(Vec::with_capacity(MAX_CONNECTIONS)),
                arriving: RefCell::new(Vec::with_capacity(MAX_CONNECTIONS)),
                taken: Cell::new(0),
                attended: Cell::new(0),
                wanting: Cell::new(0),
                dispatcher: Dispatcher::default(),
            })),
        };
        if P::Publication::DISPATCHED {
            node.spawn_dispatcher();
        }
        Ok(node)
    }

    /// Does one turn and says how much was done.
    ///
    /// # Errors
    ///
    /// [`RunError::Nested`] when called from inside a task.
    #[inline]
    pub fn turn(&self) -> Result<u32, RunError> {
        Ok(self.drive()?.turn())
    }

    /// Takes the node over for turns that the caller makes himself, as the loop of another event source does.
    ///
    /// # Errors
    ///
    /// [`RunError::Nested`] when the node is being driven already.
    #[inline]
    pub fn drive(&self) -> Result<Drive<'_, P>, RunError> {
        let turns = self.executor.turns()?;
        let source = &*self.handle.0;
        Ok(Drive {
            turns,
            held: source.hold(),
            source,
        })
    }

    /// Runs until `future` has finished, and returns its result.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run_until<F: Future>(&self, mode: Mode, future: F) -> Result<F::Output, RunError> {
        self.executor.run_until(&*self.handle.0, mode, future)
    }
}

/// A node that is being driven turn by turn; see [`Node::drive`].
pub struct Drive<'a, P: Platform> {
    turns: Turns<'a, P>,
    held: Looks<P>,
    source: &'a Inner<P>,
}

impl<P: Platform> Drive<'_, P> {
    /// Does one turn and says how much was done: messages drained and tasks polled.
    #[inline]
    pub fn turn(&mut self) -> u32 {
        self.turns.turn(self.source, &mut self.held)
    }
}

impl<P: Platform> Drop for Node<P> {
    fn drop(&mut self) {
        // Tasks first: they hold connections and handles to this node.
        self.executor.end();
        for index in 0..MAX_CONNECTIONS as u32 {
            self.handle.unbind(index);
        }
        let inner = &self.handle.0;
        inner.attend(&mut inner.hold());
    }
}

impl<P: Platform> NodeHandle<P> {
    /// The executor, for spawning, sleeping and deadlines.
    pub fn executor(&self) -> &Handle<P> {
        &self.0.ledger.handle
    }

    /// Binds a connection that only calls.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind_client(
        &self,
        parts: LinkParts<P::Bell>,
        binding: Binding,
    ) -> Result<Client<P>, BindError> {
        // A peer that was granted credits all the same must not wait for ever.
        self.bind_with(
            parts,
            binding,
            None,
            |handle, connection, band| match connection.granted() {
                0 => Ok(None),
                _ => serving(handle, connection, Rc::new(NoService), band).map(Some),
            },
        )
    }

    /// Binds a connection to a peer whose senders all write `peer_ring`; served, if there is a service.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind_to_ring<S: Service<P>>(
        &self,
        parts: LinkParts<P::Bell>,
        binding: Binding,
        service: Option<Rc<S>>,
        peer_ring: &SharedRing,
    ) -> Result<Client<P>, BindError> {
        self.bind_with(
            parts,
            binding,
            Some(peer_ring),
            |handle, connection, band| {
                let service = service.map(|service| serving(handle, connection, service, band));
                service.transpose()
            },
        )
    }

    /// Binds a connection that only calls, to a peer whose senders all write `peer_ring`.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind_client_to_ring(
        &self,
        parts: LinkParts<P::Bell>,
        binding: Binding,
        peer_ring: &SharedRing,
    ) -> Result<Client<P>, BindError> {
        self.bind_to_ring(parts, binding, None::<Rc<NoService>>, peer_ring)
    }

    /// Binds a connection that is served by `service`, and may call as well.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind<S: Service<P>>(
        &self,
        parts: LinkParts<P::Bell>,
        binding: Binding,
        service: Rc<S>,
    ) -> Result<Client<P>, BindError> {
        self.bind_with(parts, binding, None, |handle, connection, band| {
            serving(handle, connection, service, band).map(Some)
        })
    }

    fn bind_with(
        &self,
        parts: LinkParts<P::Bell>,
        binding: Binding,
        peer_ring: Option<&SharedRing>,
        server: impl FnOnce(
            &Handle<P>,
            &Rc<Connection<P>>,
            Band,
        ) -> Result<Option<Box<dyn Serve<P>>>, TableFull>,
    ) -> Result<Client<P>, BindError> {
        let inner = &self.0;
        let index = match binding.index {
            Some(index) => index,
            None => self.free_index()?,
        };
        let taken = inner.taken.get();
        if index as usize >= MAX_CONNECTIONS || taken & 1 << index != 0 {
            return Err(BindError::IndexTaken(index));
        }
        let connection = Rc::new(Connection::new(
            inner.ledger.clone(),
            index,
            binding.name,
            binding.band,
            parts,
            binding.start,
            peer_ring,
        )?);
        let server = server(&inner.ledger.handle, &connection, binding.band)?;
        inner.taken.set(taken | connection.bit);
        if let Some(server) = &server {
            connection.first_handler.set(server.first_task());
        }
        inner.directory.borrow_mut().push(connection.clone());
        let port = Port::new(connection.clone(), server);
        inner.arriving.borrow_mut().push(port);
        inner.ledger.handle.attend();
        Ok(Client(connection))
    }

    /// Disconnects connection `index`: its calls end in [`Failure::Disconnected`] unless it has failed before.
    ///
    /// Its lanes leave the scan, its handlers are dropped and its number becomes free when the next turn begins.
    pub fn unbind(&self, index: u32) {
        if let Some(connection) = self.connection(index) {
            connection.fail(Failure::Disconnected);
            connection.leave();
        }
    }

    /// The first number that no connection has.
    ///
    /// # Errors
    ///
    /// [`BindError::InboxFull`].
    pub fn free_index(&self) -> Result<u32, BindError> {
        let free = (!self.0.taken.get()).trailing_zeros();
        if free as usize >= MAX_CONNECTIONS {
            return Err(BindError::InboxFull {
                capacity: MAX_CONNECTIONS,
            });
        }
        Ok(free)
    }

    /// The connection of that number.
    pub fn connection(&self, index: u32) -> Option<Rc<Connection<P>>> {
        let directory = self.0.directory.borrow();
        let mut all = directory.iter();
        all.find(|connection| u32::from(connection.index()) == index)
            .cloned()
    }

    /// All connections that are bound.
    pub fn connections(&self) -> impl Iterator<Item = Rc<Connection<P>>> + '_ {
        (0..MAX_CONNECTIONS as u32).filter_map(|index| self.connection(index))
    }

    /// Switches tracing on or off at once; the ring's own switch is looked at only every so many turns.
    pub fn set_tracing(&self, on: bool) {
        self.executor().trace().set_on(on);
        self.0.set_tracing(on);
    }
}
