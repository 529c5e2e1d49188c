//! A node between processes: an executor, its inbox, and typed calls in both directions.
//!
//! ```text
//!  broker ──notice page, signal──▶ control task (band 0) ──bind, fail──▶ rpc node ──turns──▶ your tasks and handlers
//! ```
//!
//! Invariants:
//! - the broker hears that a connection has ended after the rpc node has let go of its lanes;
//! - whoever breaks the protocol is disconnected, so that he notices the end too;
//! - what a peer sent before it ended is still delivered.
//!
//! Neighbours: `connect` asks the broker, `notices` has what it tells; `baton-rpc` runs the connections.

use crate::clock::Clock;
use crate::connect::{
    self, ConnectError, Grants, Parts, ServeError, ServiceCap, ServiceNumber, Wants,
};
use crate::memory::writable;
use crate::notices::{Noticed, Notices};
use crate::platform::{Deferred, User};
use crate::protocol::{END, Transport, space};
use alloc::format;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use baton_executor::NewExecutorError;
use baton_inbox::layout::{HINT_WORDS, MAX_CONNECTIONS, STATE_WORDS};
use baton_inbox::{Publication, TailWord};
use baton_rpc::{
    Band, BindError, Binding, Client, Config, Connection, Handle, Interface, Mode, Node,
    NodeHandle, RunError, Service,
};
use baton_runtime::StartInfo;
use baton_sel4::abi::baton::FEATURE_PARK;
use baton_sel4::{Endpoint, Message};
use baton_trace::{End, Peer as TracePeer, Ring, Unit, write_lines};
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

/// How a node is set up.
#[derive(Clone, Copy, Debug)]
pub struct NodeConfig {
    /// Sizes of the executor; each credit granted to a client takes one task entry while that client is connected.
    pub config: Config,
    /// Events that the trace keeps, once it is switched on; 64 bytes each.
    pub trace_events: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        NodeConfig {
            config: Config::default(),
            trace_events: 64,
        }
    }
}

/// Why a node cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartNodeError {
    /// The executor cannot: too many of them, or too many tasks asked for.
    Executor(NewExecutorError),
    /// The executor's table is too small even for the control task: configure more tasks.
    NoTasks,
    /// The process has a node already: an inbox has one.
    SecondNode,
    /// The process was started for another transport than the program's: see `Broker::set_transport`.
    Transport,
}

impl fmt::Display for StartNodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartNodeError::Executor(error) => error.fmt(f),
            StartNodeError::NoTasks => {
                f.write_str("the executor has no task entry for the control task; configure more")
            }
            StartNodeError::SecondNode => f.write_str("the process's inbox has a node already"),
            StartNodeError::Transport => f.write_str(
                "the process was started for another way to get messages across than its program has",
            ),
        }
    }
}

impl core::error::Error for StartNodeError {}

/// Whom a connection leads to: what the broker says, which both sides trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The number of its process.
    pub process: u32,
    /// The connection's number in this process's inbox.
    pub index: u32,
}

/// Binds a client that has come, and tells the service of it.
type Bind<U> = dyn Fn(&NodeHandle<User<U>>, Parts, Binding, PeerInfo) -> Bound<U>;
type Bound<U> = Result<Client<User<U>>, BindError>;

struct Offer<U: Publication> {
    service: ServiceNumber,
    band: Band,
    bind: Rc<Bind<U>>,
}

/// A connection that this node has bound, or refused to.
struct Peer<U: Publication> {
    generation: u64,
    connection: Rc<Connection<User<U>>>,
    info: PeerInfo,
    watched: bool,
    /// Whether its end was seen in the notice page.
    dying: bool,
}

struct Inner<U: Publication> {
    node: NodeHandle<User<U>>,
    broker: Endpoint,
    notices: Rc<Notices>,
    offers: RefCell<Vec<Offer<U>>>,
    peers: RefCell<[Option<Peer<U>>; MAX_CONNECTIONS]>,
    /// The last generation of each connection number that was bound, or that could not be.
    seen: RefCell<[u64; MAX_CONNECTIONS]>,
    ended: Cell<bool>,
    control: Cell<Option<Waker>>,
    /// Where each connection number led last, for the trace: events outlive the connections.
    ends: RefCell<[Option<End>; MAX_CONNECTIONS]>,
    /// Connections that have ever been bound.
    bound: Cell<u64>,
    /// Clients for whom there was no room, and why for the last.
    turned_away: Cell<u64>,
    last_refusal: Cell<Option<BindError>>,
    idlers: RefCell<Vec<Waker>>,
}

/// A handle to a node, for the tasks of its thread. Cheap to clone.
pub struct UserHandle<U: Publication = TailWord>(Rc<Inner<U>>);

impl<U: Publication> Clone for UserHandle<U> {
    fn clone(&self) -> Self {
        UserHandle(self.0.clone())
    }
}

/// An executor with an inbox between processes. When it is dropped, its tasks end and its peers see its end.
pub struct UserNode<U: Publication = TailWord> {
    // First: tasks, handlers and lanes go before the broker is told.
    node: Node<User<U>>,
    ending: Ending<U>,
}

/// Tells the broker of all that is left, however many handles are still about.
struct Ending<U: Publication>(UserHandle<U>);

impl<U: Publication> Drop for Ending<U> {
    fn drop(&mut self) {
        let inner = &self.0.0;
        inner.ended.set(true);
        inner.offers.take();
        let peers = inner.peers.replace([const { None }; MAX_CONNECTIONS]);
        for (index, peer) in peers.iter().enumerate() {
            if let Some(peer) = peer {
                inner.tell_end(index, peer.generation);
            }
        }
        inner.wake_idlers();
    }
}

/// Set when a node has begun: the pages of the inbox are one executor's.
static BEGUN: baton_sync::AtomicBool = baton_sync::AtomicBool::new(false);

impl<U: Publication> UserNode<U> {
    /// Starts the node of the process that was started with `info`, on the calling thread.
    ///
    /// # Errors
    ///
    /// [`StartNodeError`].
    pub fn start(info: &'static StartInfo, config: NodeConfig) -> Result<Self, StartNodeError> {
        let notices = Rc::new(Notices::new());
        if notices.transport() != Transport::of::<U>() as u64 {
            return Err(StartNodeError::Transport);
        }
        // Relaxed: only the flag itself counts.
        if BEGUN.swap(true, baton_sync::Ordering::Relaxed) {
            return Err(StartNodeError::SecondNode);
        }
        let broker = info.parent();
        let parks = info.features() & FEATURE_PARK != 0;
        let clock = Clock::new(info.timebase_hz());
        let platform = User::new(broker, clock, notices.clone(), parks);
        let ring = Arc::new(Ring::new(config.trace_events));
        let state = writable(space::STATE, STATE_WORDS, None);
        let hint = writable(space::HINT, HINT_WORDS, None);
        // Each is a whole page.
        let (Ok(state), Ok(hint)) = (state.word(0), hint.word(0)) else {
            unreachable!("the pages have words");
        };
        let own_ring = U::ONE_RING.then(|| connect::ring(space::RING, None).reader());
        let Ok(own_ring) = own_ring.transpose() else {
            unreachable!("the frame holds the ring");
        };
        let node = Node::with_ring(platform, state, hint, ring, config.config, own_ring)
            .map_err(StartNodeError::Executor)?;
        let handle = UserHandle(Rc::new(Inner {
            node: NodeHandle::clone(&node),
            broker,
            notices,
            offers: RefCell::default(),
            peers: RefCell::new([const { None }; MAX_CONNECTIONS]),
            seen: RefCell::new([0; MAX_CONNECTIONS]),
            ends: RefCell::new([None; MAX_CONNECTIONS]),
            ended: Cell::new(false),
            control: Cell::new(None),
            bound: Cell::new(0),
            turned_away: Cell::new(0),
            last_refusal: Cell::new(None),
            idlers: RefCell::default(),
        }));
        let control = control(handle.clone());
        node.executor()
            .spawn_in(Band::FIRST, "control", control)
            .map_err(|_| StartNodeError::NoTasks)?;
        Ok(UserNode {
            node,
            ending: Ending(handle),
        })
    }

    /// A handle for tasks.
    pub fn handle(&self) -> UserHandle<U> {
        self.ending.0.clone()
    }

    /// The rpc node, to be driven turn by turn.
    pub fn node(&self) -> &Node<User<U>> {
        &self.node
    }

    /// Runs until `future` has finished, and returns its result. All other tasks and handlers run meanwhile.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run_until<F: Future>(&self, mode: Mode, future: F) -> Result<F::Output, RunError> {
        self.node.run_until(mode, future)
    }
}

impl<U: Publication> UserHandle<U> {
    /// The executor, for spawning, sleeping and deadlines.
    pub fn executor(&self) -> &Handle<User<U>> {
        self.0.node.executor()
    }

    /// The rpc node below.
    pub fn node(&self) -> &NodeHandle<User<U>> {
        &self.0.node
    }

    /// Offers `service` as number `number` to every client that connects, with its requests in `band`.
    ///
    /// # Errors
    ///
    /// [`ServeError`].
    pub fn serve<S: Service<User<U>>>(
        &self,
        number: ServiceNumber,
        service: Rc<S>,
        grants: &Grants,
        band: Band,
    ) -> Result<(), ServeError> {
        self.serve_and_call(number, service, grants, band, |_, _| {})
    }

    /// As [`UserHandle::serve`], and hands each new client to `connected`, so that it can be called back.
    ///
    /// Set `want_back_credits` and `back_interface` in `grants` for that.
    ///
    /// # Errors
    ///
    /// [`ServeError`].
    pub fn serve_and_call<S: Service<User<U>>>(
        &self,
        number: ServiceNumber,
        service: Rc<S>,
        grants: &Grants,
        band: Band,
        connected: impl Fn(Client<User<U>>, PeerInfo) + 'static,
    ) -> Result<(), ServeError> {
        let make = move |_| service.clone();
        self.serve_each(number, make, grants, band, move |client, peer, _| {
            connected(client, peer)
        })
    }

    /// As [`UserHandle::serve_and_call`], with a service that `make` makes for each client: for services that must know who calls.
    ///
    /// # Errors
    ///
    /// [`ServeError`].
    pub fn serve_each<S: Service<User<U>>>(
        &self,
        number: ServiceNumber,
        make: impl Fn(PeerInfo) -> Rc<S> + 'static,
        grants: &Grants,
        band: Band,
        connected: impl Fn(Client<User<U>>, PeerInfo, Rc<S>) + 'static,
    ) -> Result<(), ServeError> {
        let inner = &self.0;
        if inner.ended.get() {
            return Err(ServeError::Ended);
        }
        let bind: Rc<Bind<U>> = Rc::new(move |node, parts, binding, peer| {
            let service = make(peer);
            let client = bind_served(node, parts, binding, service.clone())?;
            connected(client.clone(), peer, service);
            Ok(client)
        });
        let offer = Offer {
            service: number,
            band,
            bind,
        };
        // First, for clients may come as soon as the broker knows.
        inner.offers.borrow_mut().push(offer);
        let served = connect::serve(inner.broker, number, S::INTERFACE.hash, grants);
        if served.is_err() {
            let offer = inner.offers.borrow_mut().pop();
            drop(offer);
        }
        served
    }

    /// Connects to the service, to call it. The broker answers at once, whatever the service does.
    ///
    /// The connection stays until [`UserHandle::disconnect`], its peer's end, or the node's, also when the client is dropped.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says who is to blame and what to do.
    pub fn connect(
        &self,
        service: ServiceCap,
        interface: Interface,
        wants: &Wants,
    ) -> Result<Client<User<U>>, ConnectError> {
        self.connect_with(service, interface, 0, wants, |node, parts, binding| {
            bind_client(node, parts, binding)
        })
    }

    /// Connects to the service, to call it and to be called back at `own` over the same connection.
    ///
    /// `offer_credits` in `wants` says how often at once.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says who is to blame and what to do.
    pub fn connect_and_serve<S: Service<User<U>>>(
        &self,
        service: ServiceCap,
        interface: Interface,
        wants: &Wants,
        own: Rc<S>,
    ) -> Result<Client<User<U>>, ConnectError> {
        let back = S::INTERFACE.hash;
        self.connect_with(service, interface, back, wants, |node, parts, binding| {
            bind_served(node, parts, binding, own)
        })
    }

    fn connect_with(
        &self,
        service: ServiceCap,
        interface: Interface,
        back_interface: u64,
        wants: &Wants,
        bind: impl FnOnce(&NodeHandle<User<U>>, Parts, Binding) -> Bound<U>,
    ) -> Result<Client<User<U>>, ConnectError> {
        let inner = &self.0;
        if inner.ended.get() {
            return Err(ConnectError::Ended);
        }
        let hash = interface.hash;
        let index = connect::connect(inner.broker, service, hash, back_interface, wants)?;
        let Some(noticed) = inner.notices.connection(index) else {
            return Err(ConnectError::BadAnswer(index as u64));
        };
        inner.bind(index, &noticed, Band::NORMAL, bind)
    }

    /// Ends a connection: calls under way end in `Disconnected`, its handlers are dropped, and the peer sees the end.
    ///
    /// What was sent before is still delivered, if the peer lives.
    pub fn disconnect(&self, client: &Client<User<U>>) {
        let connection = client.connection();
        let index = u32::from(connection.index());
        let bound = self.0.node.connection(index);
        if bound.is_some_and(|bound| Rc::ptr_eq(&bound, connection)) {
            self.0.node.unbind(index);
        }
    }

    /// Connections that stand.
    pub fn peers(&self) -> usize {
        self.0.standing()
    }

    /// Whom the connection of `client` leads to, as long as it stands.
    pub fn peer(&self, client: &Client<User<U>>) -> Option<PeerInfo> {
        let peers = self.0.peers.borrow();
        let peer = peers
            .get(usize::from(client.connection().index()))?
            .as_ref()?;
        Rc::ptr_eq(&peer.connection, client.connection()).then_some(peer.info)
    }

    /// Connections that have been bound since the start.
    pub fn bound(&self) -> u64 {
        self.0.bound.get()
    }

    /// Waits until at least one peer has been connected and none is any more.
    pub fn idle(&self) -> impl Future<Output = ()> + use<U> {
        self.idle_after(1)
    }

    /// Waits until at least so many connections have been bound since the start and none stands any more.
    pub fn idle_after(&self, connections: u64) -> impl Future<Output = ()> + use<U> {
        let inner = self.0.clone();
        poll_fn(move |context| {
            if inner.ended.get() || (inner.bound.get() >= connections && inner.standing() == 0) {
                return Poll::Ready(());
            }
            let mut idlers = inner.idlers.borrow_mut();
            if !idlers.iter().any(|idler| idler.will_wake(context.waker())) {
                idlers.push(context.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Clients that could not be bound, and why the last could not.
    pub fn turned_away(&self) -> (u64, Option<BindError>) {
        (self.0.turned_away.get(), self.0.last_refusal.get())
    }

    /// Writes what the trace holds as the recording of this process, which the broker knows by that number, with where the connections
    /// lead. `baton-timeline` on the host joins the recordings of several processes.
    ///
    /// # Errors
    ///
    /// Only those of `out`.
    pub fn write_recording(
        &self,
        process: u32,
        name: &str,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        let names: Vec<_> = (0..)
            .zip(self.0.ends.borrow().iter())
            .filter_map(|(number, end)| {
                end.map(|end| (number, end, format!("process {}", end.process)))
            })
            .collect();
        let connections = names
            .iter()
            .map(|(number, end, name)| (*number, TracePeer::Process(*end), name.as_str()));
        let events = self.executor().trace().snapshot();
        write_lines(process, Unit::Instructions, name, connections, &events, out)
    }

    /// Writes what the node is doing: who is connected, all tasks, and who waits for whom.
    ///
    /// # Errors
    ///
    /// Only those of `out`.
    pub fn dump(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let inner = &self.0;
        writeln!(
            out,
            "{} connections, {} bound since the start, {} turned away",
            inner.standing(),
            inner.bound.get(),
            inner.turned_away.get()
        )?;
        for offer in inner.offers.borrow().iter() {
            writeln!(
                out,
                "serves number {} in band {}",
                offer.service.0,
                offer.band.index()
            )?;
        }
        inner.node.dump(out)
    }
}

impl<U: Publication> Inner<U> {
    fn deferred(&self) -> &Deferred {
        self.node.executor().platform().deferred()
    }

    /// Connections that are bound and have not failed.
    fn standing(&self) -> usize {
        let peers = self.peers.borrow();
        let standing = |peer: &&Peer<U>| peer.connection.failure().is_none();
        peers.iter().flatten().filter(standing).count()
    }

    fn tell_end(&self, index: usize, generation: u64) {
        self.broker
            .call(&Message::new(END, &[index as u64, generation]));
    }

    fn wake_idlers(&self) {
        for idler in self.idlers.take() {
            idler.wake();
        }
    }

    /// Binds a connection that the broker has made, and remembers it. One that cannot be bound is ended.
    fn bind(
        &self,
        index: usize,
        noticed: &Noticed,
        band: Band,
        bind: impl FnOnce(&NodeHandle<User<U>>, Parts, Binding) -> Bound<U>,
    ) -> Result<Client<User<U>>, ConnectError> {
        if let Some(seen) = self.seen.borrow_mut().get_mut(index) {
            *seen = noticed.generation;
        }
        let info = PeerInfo {
            process: noticed.entry.peer,
            index: index as u32,
        };
        let binding = Binding {
            index: Some(index as u32),
            name: format!("process {}", info.process),
            band,
            ..Binding::default()
        };
        let bound =
            connect::parts::<U>(self.broker, self.deferred(), &self.notices, index, noticed)
                .map_err(ConnectError::Layout)
                .and_then(|parts| bind(&self.node, parts, binding).map_err(ConnectError::NotBound));
        if let Ok(client) = &bound {
            if let Some(end) = self.ends.borrow_mut().get_mut(index) {
                *end = Some(End {
                    process: info.process,
                    connection: noticed.entry.peer_index as u16,
                });
            }
            let peer = Peer {
                generation: noticed.generation,
                connection: client.connection().clone(),
                info,
                watched: false,
                dying: false,
            };
            let old = self
                .peers
                .borrow_mut()
                .get_mut(index)
                .and_then(|place| place.replace(peer));
            drop(old);
            self.bound.set(self.bound.get() + 1);
            if let Some(waker) = self.control.take() {
                waker.wake();
            }
        }
        bound
    }

    /// Binds clients that have come, and lets the ends of peers be known.
    fn read_notices(&self) {
        for index in 0..MAX_CONNECTIONS {
            let Some(noticed) = self.notices.connection(index) else {
                continue;
            };
            let is_new = self.seen.borrow().get(index) != Some(&noticed.generation);
            if is_new {
                // One that is not served is about to be bound by `connect`.
                if noticed.entry.serves {
                    self.arrived(index, &noticed);
                }
            } else if !noticed.stands
                && let Some(connection) = self.starts_dying(index)
            {
                self.node.peer_died(&connection);
            }
        }
    }

    /// Notes that connection `index` is at its end, and returns it unless that was known.
    fn starts_dying(&self, index: usize) -> Option<Rc<Connection<User<U>>>> {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.get_mut(index)?.as_mut()?;
        let known = core::mem::replace(&mut peer.dying, true);
        (!known).then(|| peer.connection.clone())
    }

    /// A client has come to one of our services.
    fn arrived(&self, index: usize, noticed: &Noticed) {
        let offer = {
            let offers = self.offers.borrow();
            let mut offers = offers.iter();
            offers
                .find(|offer| offer.service.0 == noticed.entry.service)
                .map(|offer| (offer.band, offer.bind.clone()))
        };
        let Some((band, bind)) = offer else {
            self.turn_away(None);
            // What was mapped for it is given back.
            drop(connect::parts::<U>(
                self.broker,
                self.deferred(),
                &self.notices,
                index,
                noticed,
            ));
            return;
        };
        let info = PeerInfo {
            process: noticed.entry.peer,
            index: index as u32,
        };
        let bound = self.bind(index, noticed, band, |node, parts, binding| {
            bind(node, parts, binding, info)
        });
        match bound {
            // The parts are dropped, and with them what was mapped is given back.
            Err(ConnectError::NotBound(error)) => self.turn_away(Some(error)),
            Err(_) => self.turn_away(None),
            // It came and went before we looked: what it sent is served all the same.
            Ok(_) if !noticed.stands => {
                if let Some(connection) = self.starts_dying(index) {
                    self.node.peer_died(&connection);
                }
            }
            Ok(_) => {}
        }
    }

    fn turn_away(&self, why: Option<BindError>) {
        self.turned_away.set(self.turned_away.get() + 1);
        if why.is_some() {
            self.last_refusal.set(why);
        }
    }

    /// Tells the broker of those whose lanes have left the scan; `waker` is woken when another connection ends.
    ///
    /// Says whether any has ended whose lanes are still in the scan: look again after a turn.
    fn sweep(&self, waker: &Waker) -> bool {
        let mut again = false;
        for index in 0..MAX_CONNECTIONS {
            let mut peers = self.peers.borrow_mut();
            let Some(place) = peers.get_mut(index) else {
                continue;
            };
            let Some(peer) = place else {
                continue;
            };
            let connection = &peer.connection;
            if !peer.watched {
                peer.watched = true;
                // Only to leave the waker there; an end that has come already is seen below.
                let ended = pin!(connection.ended());
                let _ = ended.poll(&mut Context::from_waker(waker));
            }
            if connection.failure().is_none() {
                continue;
            }
            let bound = self.node.connection(index as u32);
            if bound.is_some_and(|bound| Rc::ptr_eq(&bound, connection)) {
                again = true;
                continue;
            }
            let gone = place.take();
            drop(peers);
            if let Some(gone) = gone {
                self.tell_end(index, gone.generation);
            }
        }
        again
    }
}

/// Binds a connection that is served by `service`.
fn bind_served<U: Publication, S: Service<User<U>>>(
    node: &NodeHandle<User<U>>,
    parts: Parts,
    binding: Binding,
    service: Rc<S>,
) -> Bound<U> {
    match parts.ring {
        Some(ring) => node.bind_to_ring(parts.link, binding, Some(service), &ring),
        None => node.bind(parts.link, binding, service),
    }
}

/// Binds a connection that only calls.
fn bind_client<U: Publication>(
    node: &NodeHandle<User<U>>,
    parts: Parts,
    binding: Binding,
) -> Bound<U> {
    match parts.ring {
        Some(ring) => node.bind_client_to_ring(parts.link, binding, &ring),
        None => node.bind_client(parts.link, binding),
    }
}

/// Runs as long as the node does: what the broker notes becomes arrivals and ends, and ends are told to the broker.
fn control<U: Publication>(handle: UserHandle<U>) -> impl Future<Output = ()> {
    poll_fn(move |context| {
        let inner = &handle.0;
        inner.control.set(Some(context.waker().clone()));
        while inner.notices.take_new(context.waker()) {
            inner.read_notices();
        }
        if inner.sweep(context.waker()) {
            // The lanes leave the scan when the next turn begins.
            context.waker().wake_by_ref();
        }
        if inner.standing() == 0 {
            inner.wake_idlers();
        }
        Poll::Pending
    })
}
