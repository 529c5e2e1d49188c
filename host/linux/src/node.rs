//! A node between processes: a host, an executor, and typed calls in both directions.
//!
//! ```text
//!  control thread ──events──▶ control task (band 0) ──bind, fail──▶ rpc node ──turns──▶ your tasks and handlers
//!   sockets, deaths            `control`                              inbox, lanes
//! ```
//!
//! Invariants:
//! - a connection's socket is closed, and its index given back, only after the rpc node has let go of its lanes;
//! - whoever breaks the protocol is disconnected, so that he notices the end too;
//! - what a peer sent before it hung up is still delivered.
//!
//! Neighbours: [`crate::Host`] makes connections, `baton-rpc` runs them; `peers` holds who is connected.

mod control;
mod peers;
mod watch;

use crate::control::ListenerId;
use crate::credentials::PeerInfo;
use crate::handshake::{ConnectError, Grants, Wants};
use crate::host::{Host, HostConfig, ListenError, StartError};
use crate::link::PeerLink;
use crate::names::ServiceName;
use crate::platform::Linux;
use baton_executor::NewExecutorError;
use baton_inbox::layout::{HINT_WORDS, MAX_CONNECTIONS};
use baton_inbox::{Band, LinkParts};
use baton_rpc::{
    BindError, Binding, Client, Config, Handle, Interface, Mode, Node, NodeHandle, RunError,
    Service,
};
use baton_trace::Ring;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::Future;
use core::task::{Poll, Waker};
use peers::Peers;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use watch::Labels;

/// How long [`LinuxHandle::connect`] waits for the service.
pub const CONNECT_TIMEOUT_NS: u64 = 5_000_000_000;

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// How the process is called towards its peers (32 bytes at most); its command's name where it is `None`.
    pub name: Option<String>,
    /// Sizes of the executor; each credit granted to a client takes one task entry while that client is connected.
    pub config: Config,
    /// Events that the trace keeps, once it is switched on; 64 bytes each.
    pub trace_events: usize,
    /// Connections the inbox holds at most; cut to `MAX_CONNECTIONS`.
    pub capacity: u32,
}

impl Default for NodeConfig {
    fn default() -> Self {
        NodeConfig {
            name: None,
            config: Config::default(),
            trace_events: 4096,
            capacity: MAX_CONNECTIONS as u32,
        }
    }
}

/// Why a node cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartNodeError {
    /// The host cannot: exhaustion.
    Host(StartError),
    /// The executor cannot: too many of them, or too many tasks asked for.
    Executor(NewExecutorError),
    /// The executor's table is too small even for the control task: configure more tasks.
    NoTasks,
}

impl fmt::Display for StartNodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartNodeError::Host(error) => error.fmt(f),
            StartNodeError::Executor(error) => error.fmt(f),
            StartNodeError::NoTasks => {
                f.write_str("the executor has no task entry for the control task; configure more")
            }
        }
    }
}

impl std::error::Error for StartNodeError {}

/// Why a service is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServeError {
    /// Its name cannot be listened under.
    Listen(ListenError),
    /// This node has ended.
    Ended,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Listen(error) => error.fmt(f),
            ServeError::Ended => f.write_str("this node has ended; serve from a running one"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Binds a client that has come, and tells the service of it.
type Bind = dyn Fn(&NodeHandle<Linux>, LinkParts<crate::EventBell>, Binding, &PeerInfo) -> Bound;
type Bound = Result<Client<Linux>, BindError>;

/// A name that is listened under, and what is bound to those who come.
struct Offer {
    name: ServiceName,
    band: Band,
    bind: Rc<Bind>,
}

/// What all handles of a node share.
struct Inner {
    node: NodeHandle<Linux>,
    host: RefCell<Option<Host>>,
    offers: RefCell<HashMap<ListenerId, Offer>>,
    peers: Peers,
    /// Of the control task, to be woken when a connection was added.
    control: Cell<Option<Waker>>,
    /// Of those who wait for the last peer to go.
    idlers: RefCell<Vec<Waker>>,
    /// Clients that have ever been bound, and those for whom there was no room.
    accepted: Cell<u64>,
    turned_away: Cell<u64>,
    last_refusal: Cell<Option<BindError>>,
}

/// A handle to a node, for the tasks and whoever else lives on its thread. Cheap to clone.
#[derive(Clone)]
pub struct LinuxHandle(Rc<Inner>);

/// An executor with an inbox between processes. When it is dropped, its tasks end and its peers see a hang-up.
pub struct LinuxNode {
    // First: tasks, handlers and lanes go before the sockets are closed.
    node: Node<Linux>,
    ending: Ending,
}

/// Closes what the handles share, however many of them are still about.
struct Ending(LinuxHandle);

impl Drop for Ending {
    fn drop(&mut self) {
        let inner = &self.0.0;
        inner.offers.take();
        inner.peers.clear();
        let host = inner.host.take();
        drop(host);
        inner.wake_idlers();
    }
}

impl LinuxNode {
    /// Starts a node on the calling thread, with its control thread beside it.
    ///
    /// # Errors
    ///
    /// [`StartNodeError`]: this process has run out of something.
    pub fn start(config: NodeConfig) -> Result<LinuxNode, StartNodeError> {
        let ring = Arc::new(Ring::new(config.trace_events));
        let labels = Labels::default();
        let watch = watch::Late::default();
        let own_name = config.name.clone();
        let started = Host::start(HostConfig {
            capacity: config.capacity,
            name: config.name,
            outside: watch::outside(&watch),
            answer: watch::answer(&ring, &labels, own_name),
        })
        .map_err(StartNodeError::Host)?;
        let no_memory = || {
            let errno = rustix::io::Errno::NOMEM;
            StartNodeError::Host(StartError::System(errno))
        };
        let state = started.s_page.word(0).map_err(|_| no_memory())?;
        let hint = started
            .hint_page
            .word(HINT_WORDS - 1)
            .map_err(|_| no_memory())?;
        let node = Node::new(started.platform, state, hint, ring, config.config)
            .map_err(StartNodeError::Executor)?;
        watch.set(node.executor().watch());
        let handle = LinuxHandle(Rc::new(Inner {
            node: NodeHandle::clone(&node),
            host: RefCell::new(Some(started.host)),
            offers: RefCell::default(),
            peers: Peers::new(labels),
            control: Cell::new(None),
            idlers: RefCell::default(),
            accepted: Cell::new(0),
            turned_away: Cell::new(0),
            last_refusal: Cell::new(None),
        }));
        let control = control::task(handle.clone());
        node.executor()
            .spawn_in(Band::FIRST, "control", control)
            .map_err(|_| StartNodeError::NoTasks)?;
        Ok(LinuxNode {
            node,
            ending: Ending(handle),
        })
    }

    /// A handle for tasks.
    pub fn handle(&self) -> LinuxHandle {
        self.ending.0.clone()
    }

    /// Does one turn and says how much was done.
    ///
    /// # Errors
    ///
    /// [`RunError::Nested`] when called from inside a task.
    pub fn turn(&self) -> Result<u32, RunError> {
        self.node.turn()
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

impl LinuxHandle {
    /// The executor, for spawning, sleeping and deadlines.
    pub fn executor(&self) -> &Handle<Linux> {
        self.0.node.executor()
    }

    /// The rpc node below.
    pub fn node(&self) -> &NodeHandle<Linux> {
        &self.0.node
    }

    /// Offers `service` under `name` to every client that connects, with its requests in `band`.
    ///
    /// # Errors
    ///
    /// [`ServeError`].
    pub fn serve<S: Service<Linux>>(
        &self,
        name: &ServiceName,
        service: Rc<S>,
        grants: Grants,
        band: Band,
    ) -> Result<(), ServeError> {
        self.serve_and_call(name, service, grants, band, |_, _| {})
    }

    /// As [`LinuxHandle::serve`], and hands each new client to `connected`, so that it can be called back.
    ///
    /// Set `want_back_credits` and `back_interface` in `grants` for that.
    ///
    /// # Errors
    ///
    /// [`ServeError`].
    pub fn serve_and_call<S: Service<Linux>>(
        &self,
        name: &ServiceName,
        service: Rc<S>,
        grants: Grants,
        band: Band,
        connected: impl Fn(Client<Linux>, &PeerInfo) + 'static,
    ) -> Result<(), ServeError> {
        let host = self.host().ok_or(ServeError::Ended)?;
        let id = host
            .listen(name, S::INTERFACE.hash, grants)
            .map_err(ServeError::Listen)?;
        let bind: Rc<Bind> = Rc::new(move |node, parts, binding, peer| {
            let client = node.bind(parts, binding, service.clone())?;
            connected(client.clone(), peer);
            Ok(client)
        });
        let name = name.clone();
        let offer = Offer { name, band, bind };
        self.0.offers.borrow_mut().insert(id, offer);
        Ok(())
    }

    /// Stops offering `name` and frees it; those who are connected stay. Whether it was offered.
    pub fn stop_serving(&self, name: &ServiceName) -> bool {
        let found = self
            .0
            .offers
            .borrow()
            .iter()
            .find_map(|(id, offer)| (offer.name == *name).then_some(*id));
        let Some(id) = found else {
            return false;
        };
        let offer = self.0.offers.borrow_mut().remove(&id);
        drop(offer);
        self.host().is_some_and(|host| host.unlisten(id))
    }

    /// Connects to the service `name`, to call it. Blocks for at most [`CONNECT_TIMEOUT_NS`].
    ///
    /// The connection stays until [`LinuxHandle::disconnect`], its peer's end, or the node's, also when the client is dropped.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says who is to blame and what to do.
    pub fn connect(
        &self,
        name: &ServiceName,
        interface: Interface,
        wants: &Wants,
    ) -> Result<Client<Linux>, ConnectError> {
        self.connect_with(name, interface, wants, |node, parts, binding| {
            node.bind_client(parts, binding)
        })
    }

    /// Connects to the service `name`, to call it and to be called back at `service` over the same connection.
    ///
    /// `offer_credits` in `wants` says how often at once; `back_interface` is set here.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says who is to blame and what to do.
    pub fn connect_and_serve<S: Service<Linux>>(
        &self,
        name: &ServiceName,
        interface: Interface,
        wants: &Wants,
        service: Rc<S>,
    ) -> Result<Client<Linux>, ConnectError> {
        let wants = Wants {
            back_interface: S::INTERFACE.hash,
            ..wants.clone()
        };
        self.connect_with(name, interface, &wants, |node, parts, binding| {
            node.bind(parts, binding, service)
        })
    }

    fn connect_with(
        &self,
        name: &ServiceName,
        interface: Interface,
        wants: &Wants,
        bind: impl FnOnce(&NodeHandle<Linux>, LinkParts<crate::EventBell>, Binding) -> Bound,
    ) -> Result<Client<Linux>, ConnectError> {
        let host = self.host().ok_or(ConnectError::Ended)?;
        let link = host.connect(name, interface.hash, wants, CONNECT_TIMEOUT_NS)?;
        self.bind(link, Band::NORMAL, |node, parts, binding, _| {
            bind(node, parts, binding)
        })
        .map_err(ConnectError::NotBound)
    }

    /// Binds a connection that the host has made, and remembers whose it is.
    fn bind(
        &self,
        link: PeerLink,
        band: Band,
        bind: impl FnOnce(&NodeHandle<Linux>, LinkParts<crate::EventBell>, Binding, &PeerInfo) -> Bound,
    ) -> Result<Client<Linux>, BindError> {
        let peer_bit = link.peer_hint_bit;
        let (parts, info, guard) = link.into_parts();
        let binding = Binding {
            index: Some(guard.own_bit()),
            name: format!("{} (pid {})", info.name, info.pid),
            band,
            ..Binding::default()
        };
        let client = bind(&self.0.node, parts, binding, &info)?;
        let connection = client.connection().clone();
        self.0.peers.insert(guard, connection, info, peer_bit);
        self.0.wake_control();
        Ok(client)
    }

    /// Ends a connection: calls under way end in `Disconnected`, its handlers are dropped, and the peer sees a hang-up.
    ///
    /// What was sent before is still delivered, if the peer lives.
    pub fn disconnect(&self, client: &Client<Linux>) {
        let connection = client.connection();
        let index = u32::from(connection.index());
        let bound = self.0.node.connection(index);
        if bound.is_some_and(|bound| Rc::ptr_eq(&bound, connection)) {
            self.0.node.unbind(index);
        }
    }

    /// Waits until at least one peer has been connected and none is any more.
    pub fn idle(&self) -> impl Future<Output = ()> + use<> {
        let inner = self.0.clone();
        core::future::poll_fn(move |context| {
            let ended = inner.host.borrow().is_none();
            if ended || (inner.peers.ever() && inner.peers.is_empty()) {
                return Poll::Ready(());
            }
            let mut idlers = inner.idlers.borrow_mut();
            if !idlers.iter().any(|idler| idler.will_wake(context.waker())) {
                idlers.push(context.waker().clone());
            }
            Poll::Pending
        })
    }

    /// Whom the connection of `client` leads to, as long as it stands.
    pub fn peer(&self, client: &Client<Linux>) -> Option<PeerInfo> {
        self.0.peers.info(client.connection())
    }

    /// Connections that stand.
    pub fn peers(&self) -> usize {
        self.0.peers.len()
    }

    /// Writes what the trace holds as the recording of this process, under that name, with where the connections lead.
    ///
    /// `baton-timeline` joins the recordings of several processes.
    ///
    /// # Errors
    ///
    /// Whatever `out` says.
    pub fn write_recording(&self, name: &str, out: &mut impl fmt::Write) -> fmt::Result {
        let labels = self.0.peers.labels();
        labels.write_recording(self.executor().trace(), name, out)
    }

    /// Writes what the node is doing: who is connected, all tasks, and who waits for whom.
    ///
    /// # Errors
    ///
    /// Only those of `out`.
    pub fn dump(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let inner = &self.0;
        let pid = std::process::id();
        let capacity = self.host().map_or(0, |host| host.capacity());
        writeln!(
            out,
            "process {pid}: {} connections of {capacity}, {} clients accepted, {} turned away",
            inner.peers.len(),
            inner.accepted.get(),
            inner.turned_away.get()
        )?;
        if let Some(error) = inner.last_refusal.get() {
            writeln!(out, "  turned away last: {error}")?;
        }
        for offer in inner.offers.borrow().values() {
            writeln!(
                out,
                "serves {:?} in band {}",
                offer.name.as_str(),
                offer.band.index()
            )?;
        }
        inner.node.dump(out)
    }

    fn host(&self) -> Option<Host> {
        self.0.host.borrow().clone()
    }
}

impl Inner {
    fn wake_control(&self) {
        if let Some(waker) = self.control.take() {
            waker.wake();
        }
    }

    fn wake_idlers(&self) {
        for idler in self.idlers.take() {
            idler.wake();
        }
    }
}
