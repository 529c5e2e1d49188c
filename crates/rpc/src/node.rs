//! A node: an executor, its inbox, and the connections that are bound to it.
//!
//! The node is the executor's [`Source`]: a turn drains lanes through [`Node::drain`], and step 3, ringing, happens once at its
//! end in [`Node::flush`], for all that the turn wrote to each destination.

use crate::call::Client;
use crate::connection::{Connection, Ledger, Start};
use crate::error::Failure;
use crate::serve::{Serve, Service, serving};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use baton_executor::{
    Config, Executor, Handle, Mode, NO_TASK, NewExecutorError, RunError, Source, TableFull,
};
use baton_inbox::{
    Band, Bell, LinkError, LinkParts, MAX_CONNECTIONS, Platform, Scan, sender_fence,
};
use baton_shm::Word;
use baton_trace::{Ring, Step};
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::Future;
use core::ops::Deref;

/// Messages drained from one lane before the next is looked at.
pub const LANE_QUANTUM: u32 = 32;

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

struct Bound<P: Platform> {
    connection: Rc<Connection<P>>,
    server: Option<Box<dyn Serve<P>>>,
}

/// The part of a node that its tasks may hold: everything but the executor's ownership.
pub struct NodeHandle<P: Platform>(Rc<Inner<P>>);

impl<P: Platform> Clone for NodeHandle<P> {
    fn clone(&self) -> Self {
        NodeHandle(self.0.clone())
    }
}

struct Inner<P: Platform> {
    ledger: Rc<Ledger<P>>,
    scan: Scan,
    bound: [RefCell<Option<Bound<P>>>; MAX_CONNECTIONS],
    look_at_all: Cell<bool>,
}

/// An executor, its inbox and its connections.
pub struct Node<P: Platform> {
    // Before `executor`: handlers and connections go before the executor does.
    handle: NodeHandle<P>,
    executor: Executor<P>,
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
        let executor = Executor::new(platform, state, trace, config)?;
        let ledger = Rc::new(Ledger {
            handle: Handle::clone(&executor),
            dirty: Cell::new(0),
            heads: Cell::new(0),
            unsettled: Cell::new(0),
            failed: Cell::new(0),
            tracing: Cell::new(false),
        });
        Ok(Node {
            executor,
            handle: NodeHandle(Rc::new(Inner {
                ledger,
                scan: Scan::new(hint),
                bound: [const { RefCell::new(None) }; MAX_CONNECTIONS],
                look_at_all: Cell::new(false),
            })),
        })
    }

    /// Does one turn and says how much was done.
    ///
    /// # Errors
    ///
    /// [`RunError::Nested`] when called from inside a task.
    #[inline]
    pub fn turn(&self) -> Result<u32, RunError> {
        self.executor.turn(&*self.handle.0)
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

impl<P: Platform> Drop for Node<P> {
    fn drop(&mut self) {
        // Tasks first: they hold connections and handles to this node.
        self.executor.end();
        for index in 0..MAX_CONNECTIONS as u32 {
            self.handle.unbind(index);
        }
        self.handle.0.begin_turn_slow();
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
        self.bind_with(parts, binding, |_, _, _| Ok(None))
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
        self.bind_with(parts, binding, |handle, credits, band| {
            serving(handle, service, credits, band).map(Some)
        })
    }

    fn bind_with(
        &self,
        parts: LinkParts<P::Bell>,
        binding: Binding,
        server: impl FnOnce(&Handle<P>, u32, Band) -> Result<Option<Box<dyn Serve<P>>>, TableFull>,
    ) -> Result<Client<P>, BindError> {
        let inner = &self.0;
        let index = match binding.index {
            Some(index) => index,
            None => self.free_index()?,
        };
        let mut place = inner
            .bound
            .get(index as usize)
            .and_then(|place| place.try_borrow_mut().ok())
            .filter(|place| place.is_none())
            .ok_or(BindError::IndexTaken(index))?;
        let server = server(&inner.ledger.handle, parts.granted, binding.band)?;
        let connection = Rc::new(Connection::new(
            inner.ledger.clone(),
            index,
            binding.name,
            binding.band,
            parts,
            binding.start,
        )?);
        inner.scan.bind(index, binding.band);
        inner.look_at_all.set(true);
        inner
            .ledger
            .handle
            .event(Step::Bound, index as u16, NO_TASK, 0, 0);
        *place = Some(Bound {
            connection: connection.clone(),
            server,
        });
        Ok(Client(connection))
    }

    /// Disconnects connection `index`: its calls end in [`Failure::Disconnected`] unless it has failed before.
    ///
    /// Its lanes leave the scan, its handlers are dropped and its number becomes free when the next turn begins.
    pub fn unbind(&self, index: u32) {
        let Some(place) = self.0.bound.get(index as usize) else {
            return;
        };
        let connection = match place.try_borrow() {
            Ok(place) => place.as_ref().map(|bound| bound.connection.clone()),
            Err(_) => None,
        };
        if let Some(connection) = connection {
            connection.fail(Failure::Disconnected);
            let failed = &self.0.ledger.failed;
            failed.set(failed.get() | connection.bit);
        }
    }

    /// The first number that no connection has.
    ///
    /// # Errors
    ///
    /// [`BindError::InboxFull`].
    pub fn free_index(&self) -> Result<u32, BindError> {
        let free = self
            .0
            .bound
            .iter()
            .position(|place| place.try_borrow().is_ok_and(|place| place.is_none()));
        free.map(|index| index as u32).ok_or(BindError::InboxFull {
            capacity: MAX_CONNECTIONS,
        })
    }

    /// The connection of that number.
    pub fn connection(&self, index: u32) -> Option<Rc<Connection<P>>> {
        let place = self.0.bound.get(index as usize)?.try_borrow().ok()?;
        place.as_ref().map(|bound| bound.connection.clone())
    }

    /// All connections that are bound.
    pub fn connections(&self) -> impl Iterator<Item = Rc<Connection<P>>> + '_ {
        (0..MAX_CONNECTIONS as u32).filter_map(|index| self.connection(index))
    }
}

impl<P: Platform> Inner<P> {
    /// Takes failed connections out of the scan, and settles what waits for heads.
    #[cold]
    fn begin_turn_slow(&self) {
        let mut failed = self.ledger.failed.replace(0);
        while failed != 0 {
            let index = failed.trailing_zeros();
            failed &= failed - 1;
            self.scan.unbind(index);
            self.ledger
                .unsettled
                .set(self.ledger.unsettled.get() & !(1 << index));
            // Dropping the handlers may run anybody's code, so nothing is borrowed meanwhile.
            let gone = self.bound[index as usize].borrow_mut().take();
            if let Some(bound) = gone {
                self.ledger
                    .handle
                    .event(Step::Unbound, index as u16, NO_TASK, 0, 0);
                drop(bound);
            }
        }
        self.settle();
    }

    fn settle(&self) {
        let mut unsettled = self.ledger.unsettled.replace(0);
        while unsettled != 0 {
            let index = unsettled.trailing_zeros();
            unsettled &= unsettled - 1;
            let place = self.bound[index as usize].borrow();
            if let Some(bound) = place.as_ref()
                && bound.connection.failure().is_none()
                && bound.connection.settle()
            {
                bound.connection.mark_unsettled();
            }
        }
    }

    /// Looks at one connection: its answers first, then, if it is served, its requests.
    #[inline]
    fn look(&self, index: u32) -> u32 {
        let place = self.bound[index as usize % MAX_CONNECTIONS].borrow();
        let Some(bound) = place.as_ref() else {
            return 0;
        };
        let connection = &bound.connection;
        let mut done = 0;
        if connection.tokens.capacity() != 0 {
            done += connection.drain_answers(LANE_QUANTUM);
        }
        if let Some(server) = &bound.server
            && connection.has_request()
        {
            done += server.drain(connection, LANE_QUANTUM);
        }
        done
    }

    #[inline]
    fn flush_written(&self, dirty: u64, heads: u64) {
        let mut left = dirty | heads;
        sender_fence();
        while left != 0 {
            let index = left.trailing_zeros();
            let bit = left & left.wrapping_neg();
            left &= left - 1;
            let place = self.bound[index as usize % MAX_CONNECTIONS].borrow();
            let Some(bound) = place.as_ref() else {
                continue;
            };
            let connection = &bound.connection;
            let link = &connection.link;
            if dirty & bit != 0 {
                link.peer_hint.raise();
            } else if !link.peer_wants_space() {
                continue;
            }
            if link.peer_state.must_ring() {
                connection.ring();
            }
        }
    }
}

impl<P: Platform> Connection<P> {
    /// Step 3: the peer sleeps and was not rung for it yet.
    #[cold]
    fn ring(&self) {
        if self.tracing() {
            self.event(Step::Ring, NO_TASK, baton_inbox::Token::NONE, 0);
        }
        self.bell.ring();
    }

    /// Whether a request, or the sign of a corrupt peer, waits in the lane.
    #[inline]
    fn has_request(&self) -> bool {
        !matches!(self.link.requests_in.peek(), Ok(None))
    }

    /// Whether an answer, or the sign of a corrupt peer, waits in the lane.
    #[inline]
    fn has_answer(&self) -> bool {
        self.tokens.capacity() != 0 && !matches!(self.link.answers_in.peek(), Ok(None))
    }
}

impl<P: Platform> Source for Inner<P> {
    #[inline]
    fn begin_turn(&self) -> u64 {
        let ledger = &self.ledger;
        if ledger.failed.get() | ledger.unsettled.get() != 0 {
            self.begin_turn_slow();
        }
        ledger.tracing.set(ledger.handle.trace().is_on());
        let candidates = self.scan.begin_turn();
        if self.look_at_all.replace(false) {
            return self.scan.bound();
        }
        candidates
    }

    #[inline]
    fn bands(&self) -> u32 {
        self.scan.bands()
    }

    #[inline]
    fn drain(&self, candidates: u64, band: Band) -> u32 {
        let mut done = 0;
        for index in self.scan.visit(candidates, band) {
            let found = self.look(index);
            done += found;
            if found != 0 {
                self.scan.was_busy(index);
            } else if self.scan.was_idle(index) {
                let found = self.look(index);
                done += found;
                if found != 0 {
                    self.scan.warm(index);
                }
            }
        }
        done
    }

    #[inline]
    fn flush(&self) {
        let dirty = self.ledger.dirty.replace(0);
        let heads = self.ledger.heads.replace(0);
        if dirty | heads != 0 {
            self.flush_written(dirty, heads);
        }
    }

    fn last_look(&self) -> bool {
        let ledger = &self.ledger;
        let unsettled = ledger.unsettled.get();
        if unsettled != 0 {
            for connection in self.each(unsettled) {
                connection.link.set_want_space(true);
            }
            // Orders the want before the heads read below, as `announce_sleep` did for everything else.
            sender_fence();
            self.settle();
        }
        if ledger.failed.get() | ledger.dirty.get() | ledger.heads.get() != 0 {
            return true;
        }
        let mut found = false;
        for connection in self.each(self.scan.bound()) {
            found |= connection.has_answer() || connection.has_request();
        }
        found
    }

    fn woken(&self) {
        self.look_at_all.set(true);
        for connection in self.each(self.ledger.unsettled.get()) {
            connection.link.set_want_space(false);
        }
    }
}

impl<P: Platform> Inner<P> {
    fn each(&self, mut bits: u64) -> impl Iterator<Item = Rc<Connection<P>>> + '_ {
        core::iter::from_fn(move || {
            while bits != 0 {
                let index = bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let place = self.bound[index].borrow();
                if let Some(bound) = place.as_ref() {
                    return Some(bound.connection.clone());
                }
            }
            None
        })
    }
}
