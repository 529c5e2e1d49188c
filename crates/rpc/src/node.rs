//! A node: an executor, its inbox, and the connections that are bound to it.
//!
//! The node is the executor's [`Source`]: a turn drains lanes through [`Node::drain`], and step 3, ringing, happens once at its
//! end in [`Node::flush`], for all that the turn wrote to each destination.

use crate::call::Client;
use crate::connection::{Connection, Ledger, Start};
use crate::error::{Failure, Violation};
use crate::serve::{NoService, Serve, Service, serving};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use baton_executor::{
    Config, Executor, Handle, InTurn, Mode, NO_TASK, NewExecutorError, RunError, Source, TableFull,
    Turns,
};
use baton_inbox::{
    Band, Bell, Found, LaneReader, LinkError, LinkParts, MAX_CONNECTIONS, Platform, Publication,
    Scan, SharedRing, sender_fence,
};
use baton_shm::Word;
use baton_trace::{Ring, Step};
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::Future;
use core::ops::Deref;
use core::task::{Poll, Waker};

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

/// One connection as the drain loop sees it.
#[repr(align(32))]
struct Port<P: Platform> {
    connection: Rc<Connection<P>>,
    server: Option<Box<dyn Serve<P>>>,
}

/// All connections, by number.
type Ports<P> = [Option<Port<P>>; MAX_CONNECTIONS];

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
    /// What is bound. Taken out while lanes are drained or flushed, so that no borrow need be counted there; it changes only in
    /// [`Inner::attend`].
    ports: Cell<Option<Box<Ports<P>>>>,
    /// The same connections, for look-ups at any time.
    directory: RefCell<Vec<Rc<Connection<P>>>>,
    /// Connections that come into the scan when the next turn begins.
    arriving: RefCell<Vec<Port<P>>>,
    /// Numbers that are taken, those of arriving connections included.
    taken: Cell<u64>,
    dispatcher: Dispatcher,
}

/// The dispatcher task, where there is one, and which connections it is to look at.
#[derive(Default)]
struct Dispatcher {
    waker: RefCell<Option<Waker>>,
    connections: Cell<u64>,
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
                ports: Cell::new(Some(Box::new([const { None }; MAX_CONNECTIONS]))),
                directory: RefCell::new(Vec::with_capacity(MAX_CONNECTIONS)),
                arriving: RefCell::new(Vec::with_capacity(MAX_CONNECTIONS)),
                taken: Cell::new(0),
                dispatcher: Dispatcher::default(),
            })),
        };
        if P::Publication::DISPATCHED {
            node.spawn_dispatcher();
        }
        Ok(node)
    }

    fn spawn_dispatcher(&self) {
        let inner = Rc::downgrade(&self.handle.0);
        let dispatcher = core::future::poll_fn(move |context| {
            if let Some(inner) = inner.upgrade() {
                inner.dispatch(context.waker());
            }
            Poll::<()>::Pending
        });
        let executor = &self.executor;
        // Detached. A fresh executor has a free entry, unless it was configured with none: then nothing can run anyway.
        let _ = executor.spawn_in(Band::NORMAL, "dispatcher", dispatcher);
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
        Ok(Drive {
            turns: self.executor.turns()?,
            source: &self.handle.0,
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
    source: &'a Inner<P>,
}

impl<P: Platform> Drive<'_, P> {
    /// Does one turn and says how much was done: messages drained and tasks polled.
    #[inline]
    pub fn turn(&mut self) -> u32 {
        self.turns.turn(self.source)
    }
}

impl<P: Platform> Drop for Node<P> {
    fn drop(&mut self) {
        // Tasks first: they hold connections and handles to this node.
        self.executor.end();
        for index in 0..MAX_CONNECTIONS as u32 {
            self.handle.unbind(index);
        }
        self.handle.0.attend();
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
            |handle, credits, band| match credits {
                0 => Ok(None),
                _ => serving(handle, Rc::new(NoService), credits, band).map(Some),
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
        self.bind_with(parts, binding, Some(peer_ring), |handle, credits, band| {
            let service = service.map(|service| serving(handle, service, credits, band));
            service.transpose()
        })
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
        self.bind_with(parts, binding, None, |handle, credits, band| {
            serving(handle, service, credits, band).map(Some)
        })
    }

    fn bind_with(
        &self,
        parts: LinkParts<P::Bell>,
        binding: Binding,
        peer_ring: Option<&SharedRing>,
        server: impl FnOnce(&Handle<P>, u32, Band) -> Result<Option<Box<dyn Serve<P>>>, TableFull>,
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
        let server = server(&inner.ledger.handle, parts.granted, binding.band)?;
        let connection = Rc::new(Connection::new(
            inner.ledger.clone(),
            index,
            binding.name,
            binding.band,
            parts,
            binding.start,
            peer_ring,
        )?);
        inner.taken.set(taken | connection.bit);
        if let Some(server) = &server {
            connection.first_handler.set(server.first_task());
        }
        inner.directory.borrow_mut().push(connection.clone());
        inner.arriving.borrow_mut().push(Port {
            connection: connection.clone(),
            server,
        });
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
        self.0.ledger.tracing.set(on);
    }
}

impl<P: Platform> Inner<P> {
    /// Runs `with` on the ports. Nested calls find none; nothing nests but by mistake.
    #[inline(always)]
    fn with_ports<R>(&self, with: impl FnOnce(&Ports<P>) -> R) -> Option<R> {
        let borrowed = self.borrow_ports()?;
        borrowed.ports.as_deref().map(with)
    }

    /// The ports, until the value is dropped.
    #[inline(always)]
    fn borrow_ports(&self) -> Option<Borrowed<'_, P>> {
        Some(Borrowed {
            place: &self.ports,
            ports: Some(self.ports.take()?),
        })
    }

    /// Drains several connections of a band, another one first each turn.
    #[inline(never)]
    fn drain_many(&self, turn: InTurn<'_>, ports: &Ports<P>, candidates: u64, band: Band) -> u32 {
        let mut done = 0;
        for index in self.scan.visit(candidates, band) {
            done += self.drain_one(turn, ports, index);
        }
        done
    }

    #[inline(always)]
    fn drain_one(&self, turn: InTurn<'_>, ports: &Ports<P>, index: u32) -> u32 {
        let Some(port) = &ports[index as usize % MAX_CONNECTIONS] else {
            return 0;
        };
        let found = port.look(Some(turn));
        if self.scan.is_hinted() {
            return found + self.note_look(turn, port, index, found);
        }
        found
    }

    /// Puts arrived connections into the scan and takes those that leave out of it.
    fn come_and_go(&self) {
        let arriving = core::mem::take(&mut *self.arriving.borrow_mut());
        let leaving = self.ledger.leaving.replace(0);
        if arriving.is_empty() && leaving == 0 {
            return;
        }
        let Some(mut ports) = self.ports.take() else {
            return;
        };
        let handle = &self.ledger.handle;
        for port in arriving {
            let index = port.connection.index();
            self.scan.bind(u32::from(index), port.connection.band());
            handle.event(Step::Bound, index, NO_TASK, 0, 0);
            // What was written since it was bound could not be rung for: it had no port.
            port.connection.mark_dirty();
            ports[usize::from(index) % MAX_CONNECTIONS] = Some(port);
        }
        let mut gone = Vec::new();
        for index in bits(leaving) {
            self.scan.unbind(index);
            let unsettled = &self.ledger.unsettled;
            unsettled.set(unsettled.get() & !(1 << index));
            if let Some(port) = ports[index as usize].take() {
                handle.event(Step::Unbound, index as u16, NO_TASK, 0, 0);
                let mut directory = self.directory.borrow_mut();
                directory.retain(|connection| !Rc::ptr_eq(connection, &port.connection));
                gone.push(port);
            }
            self.taken.set(self.taken.get() & !(1 << index));
        }
        self.ports.set(Some(ports));
        // Dropping handlers may run anybody's code, so it comes last.
        drop(gone);
    }

    /// Gets back what heads have freed, and sends CANCELs that wait for that.
    #[cold]
    #[inline(never)]
    fn settle(&self) {
        let unsettled = self.ledger.unsettled.replace(0);
        if unsettled == 0 {
            return;
        }
        self.with_ports(|ports| {
            for index in bits(unsettled) {
                if let Some(port) = &ports[index as usize]
                    && port.connection.failure().is_none()
                    && port.connection.settle()
                {
                    port.connection.mark_unsettled();
                }
            }
        });
    }

    /// Takes at most a quantum for each connection out of the ring that all senders share.
    fn drain_ring(&self, turn: Option<InTurn<'_>>) -> u32 {
        let Some(ring) = &self.ledger.ring else {
            return 0;
        };
        let drained = self.with_ports(|ports| {
            let quantum = LANE_QUANTUM * self.scan.bound().count_ones();
            let mut drained = 0;
            while drained < quantum {
                // The writers are trusted, so there is no corrupt tail.
                let Ok(Some(found)) = ring.peek() else { break };
                drained += 1;
                let (token, source) = found.token_and_source();
                let port = ports.get(source as usize).and_then(Option::as_ref);
                match port {
                    Some(port) => match &port.server {
                        Some(server) => server.take(turn, &port.connection, ring, found, token),
                        None => port.connection.take_in_answer::<false>(turn, ring, token),
                    },
                    None => ring.advance(),
                }
            }
            drained
        });
        drained.unwrap_or(0)
    }

    /// Looks which connections have messages, and leaves them to the dispatcher task.
    fn wake_dispatcher(&self, candidates: u64) {
        let found = match &self.ledger.ring {
            Some(ring) => u64::from(!matches!(ring.peek(), Ok(None))),
            None => {
                let found = self.with_ports(|ports| {
                    let has_message = |index: &u32| {
                        ports[*index as usize].as_ref().is_some_and(|port| {
                            port.connection.has_answer()
                                || (port.server.is_some() && port.connection.has_request())
                        })
                    };
                    bits(candidates)
                        .filter(has_message)
                        .fold(0, |found, index| found | 1 << index)
                });
                found.unwrap_or(0)
            }
        };
        if found == 0 {
            return;
        }
        self.dispatcher.connections.set(found);
        if let Some(waker) = &*self.dispatcher.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// One poll of the dispatcher task: empties what has messages and wakes the tasks named in them.
    fn dispatch(&self, waker: &Waker) {
        let mut own = self.dispatcher.waker.borrow_mut();
        if own.is_none() {
            *own = Some(waker.clone());
        }
        drop(own);
        let connections = self.dispatcher.connections.replace(0);
        if connections == 0 {
            return;
        }
        if P::Publication::ONE_RING {
            self.drain_ring(None);
            return;
        }
        self.with_ports(|ports| {
            for index in bits(connections) {
                if let Some(port) = &ports[index as usize] {
                    port.look_for_dispatcher();
                }
            }
        });
    }

    /// What a look found at connection `index`, for the hint; looks again if the hint was just cleared.
    #[cold]
    #[inline(never)]
    fn note_look(&self, turn: InTurn<'_>, port: &Port<P>, index: u32, found: u32) -> u32 {
        if found != 0 {
            self.scan.was_busy(index);
            return 0;
        }
        if !self.scan.was_idle(index) {
            return 0;
        }
        let found = port.look_again(turn);
        if found != 0 {
            self.scan.was_busy(index);
        }
        found
    }

    /// What was written over a connection that was bound in this very turn goes out in the next, when it has arrived.
    #[cold]
    fn keep_for_arrival(&self, dirty: u64) {
        let arriving = self.arriving.borrow();
        if arriving.iter().any(|port| port.connection.bit & dirty != 0) {
            self.ledger.dirty.set(self.ledger.dirty.get() | dirty);
        }
    }

    #[inline(always)]
    fn flush_written(&self, ports: &Ports<P>, dirty: u64, heads: u64) {
        if P::Publication::HOLDS_BACK {
            // Before the fence: who reads a peer's state must have published all that the peer is to find in its last look.
            for index in bits(dirty) {
                if let Some(port) = &ports[index as usize] {
                    port.connection.link.flush();
                }
            }
        }
        sender_fence();
        let mut left = dirty | heads;
        while left != 0 {
            let index = left.trailing_zeros() as usize % MAX_CONNECTIONS;
            left &= left - 1;
            let Some(port) = &ports[index] else {
                self.keep_for_arrival(dirty & 1 << index);
                continue;
            };
            let link = &port.connection.link;
            if dirty & port.connection.bit != 0 {
                link.peer_hint.raise();
            } else if !link.peer_wants_space() {
                continue;
            }
            if link.peer_state.must_ring() {
                port.connection.ring();
            }
        }
    }
}

/// The numbers of the bits that are set.
fn bits(mut set: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let index = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (index < u64::BITS).then_some(index)
    })
}

/// The ports while they are taken out; they go back also when a handler or a task panics.
struct Borrowed<'a, P: Platform> {
    place: &'a Cell<Option<Box<Ports<P>>>>,
    ports: Option<Box<Ports<P>>>,
}

impl<P: Platform> Drop for Borrowed<'_, P> {
    #[inline(always)]
    fn drop(&mut self) {
        // The place is empty: nothing is dropped here.
        core::mem::forget(self.place.replace(self.ports.take()));
    }
}

impl<P: Platform> Port<P> {
    #[cold]
    #[inline(never)]
    fn look_again(&self, turn: InTurn<'_>) -> u32 {
        self.look(Some(turn))
    }

    #[inline(never)]
    fn look_for_dispatcher(&self) {
        self.look(None);
    }

    /// Drains its answers first, then, if it is served, its requests.
    #[inline(always)]
    fn look(&self, turn: Option<InTurn<'_>>) -> u32 {
        let connection = &self.connection;
        let mut done = 0;
        // Where requests and answers share a lane, whoever serves takes both.
        let has_answers = !P::Publication::ONE_LANE || self.server.is_none();
        if connection.tokens.capacity() != 0 && has_answers {
            done += connection.drain_answers(turn);
        }
        if let Some(server) = &self.server
            && let Some(found) = connection.peek_request()
        {
            done += server.drain(turn, connection, found);
        }
        done
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

    /// Has the executor take this connection out of the scan.
    pub(crate) fn leave(&self) {
        let leaving = &self.ledger.leaving;
        leaving.set(leaving.get() | self.bit);
        self.ledger.handle.attend();
    }

    /// The next request; a corrupt peer is noticed.
    #[inline(always)]
    fn peek_request(&self) -> Option<Found<'_>> {
        match self.link.requests_in.peek() {
            Ok(found) => found,
            Err(_) => {
                self.corrupt(Violation::Tail);
                None
            }
        }
    }

    /// Whether a request, or the sign of a corrupt peer, waits in the lane.
    fn has_request(&self) -> bool {
        !matches!(self.link.requests_in.peek(), Ok(None))
    }

    /// Whether an answer, or the sign of a corrupt peer, waits in the lane.
    fn has_answer(&self) -> bool {
        self.tokens.capacity() != 0 && !matches!(self.link.answers_in().peek(), Ok(None))
    }
}

impl<P: Platform> Source for Inner<P> {
    #[cold]
    fn attend(&self) {
        self.come_and_go();
        self.settle();
        self.ledger.tracing.set(self.ledger.handle.trace().is_on());
        self.scan.look_at_all();
        if self.ledger.unsettled.get() != 0 {
            // Only the peer's head can change this, and it does so without a message.
            self.ledger.handle.attend();
        }
    }

    #[inline]
    fn candidates(&self) -> u64 {
        self.scan.candidates()
    }

    #[inline]
    fn bands(&self) -> u32 {
        self.scan.bands()
    }

    #[inline(always)]
    fn drain(&self, turn: InTurn<'_>, candidates: u64, band: Band) -> u32 {
        if P::Publication::DISPATCHED {
            self.wake_dispatcher(candidates);
            return 0;
        }
        if P::Publication::ONE_RING {
            return self.drain_ring(Some(turn));
        }
        let members = self.scan.members(candidates, band);
        if members == 0 {
            return 0;
        }
        let Some(borrowed) = self.borrow_ports() else {
            return 0;
        };
        let Some(ports) = borrowed.ports.as_deref() else {
            return 0;
        };
        if members & (members - 1) != 0 {
            return self.drain_many(turn, ports, candidates, band);
        }
        self.drain_one(turn, ports, members.trailing_zeros())
    }

    #[inline(always)]
    fn flush(&self) {
        let ledger = &*self.ledger;
        let dirty = ledger.dirty.get();
        let heads = ledger.heads.get();
        if dirty | heads != 0 {
            ledger.dirty.set(0);
            ledger.heads.set(0);
            self.with_ports(|ports| self.flush_written(ports, dirty, heads));
        }
    }

    fn last_look(&self) -> bool {
        let ledger = &self.ledger;
        if let Some(ring) = &ledger.ring
            && !matches!(ring.peek(), Ok(None))
        {
            return true;
        }
        let unsettled = ledger.unsettled.get();
        if unsettled != 0 {
            self.with_ports(|ports| {
                for index in bits(unsettled) {
                    if let Some(port) = &ports[index as usize] {
                        port.connection.link.set_want_space(true);
                    }
                }
            });
            // Orders the want before the heads read below, as `announce_sleep` did for everything else.
            sender_fence();
            self.settle();
        }
        if ledger.leaving.get() | ledger.dirty.get() | ledger.heads.get() != 0
            || !self.arriving.borrow().is_empty()
        {
            return true;
        }
        let found = self.with_ports(|ports| {
            ports.iter().flatten().any(|port| {
                port.connection.has_answer()
                    || (port.server.is_some() && port.connection.has_request())
            })
        });
        found.unwrap_or(true)
    }

    fn woken(&self) {
        self.with_ports(|ports| {
            for port in ports.iter().flatten() {
                port.connection.link.set_want_space(false);
            }
        });
    }
}
