//! One inbox's place in the world: its pages, its control thread, its listeners and its connections.

use crate::bell::EventBell;
use crate::control::{Control, ControlEvent, Counters, ListenerId};
use crate::handshake::{ConnectError, Grants, Node, Wants};
use crate::inspect::{Answer, Inspectors, Outside};
use crate::link::PeerLink;
use crate::memory::{CreateError, OwnRegion, SharedPage};
use crate::names::{self, BindError, ServiceName};
use crate::platform::Linux;
use crate::registry::{Listening, Registry, Terms};
use crate::wire::to_wire_name;
use baton_inbox::Bell;
use baton_inbox::layout::{HINT_WORDS, MAX_CONNECTIONS, STATE_WORDS};
use baton_shm::Region;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::sync::Arc;
use std::thread::JoinHandle;

/// How a host is set up.
pub struct HostConfig {
    /// Connections the inbox holds at most; cut to `MAX_CONNECTIONS`.
    pub capacity: u32,
    /// How the process is called towards its peers (32 bytes at most); its command's name where it is `None`.
    pub name: Option<String>,
    /// What can be said about the executor when it does not answer an inspection; runs on the control thread.
    pub outside: Outside,
    /// What is answered about the trace; runs on the control thread.
    pub answer: Answer,
}

impl Default for HostConfig {
    fn default() -> Self {
        HostConfig {
            capacity: MAX_CONNECTIONS as u32,
            name: None,
            outside: Box::new(String::new),
            answer: Box::new(|_| None),
        }
    }
}

impl fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConfig")
            .field("capacity", &self.capacity)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A host that has just begun: what goes to the executor, and the handle that stays.
#[derive(Debug)]
pub struct Started {
    /// The handle by which connections are made; clones may go to other threads.
    pub host: Host,
    /// The machine below the executor.
    pub platform: Linux,
    /// The page of the inbox's state word, which only we write.
    pub s_page: Region,
    /// The page in which senders leave hints.
    pub hint_page: Region,
}

/// Why a host cannot begin: exhaustion, each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Its pages could not be made.
    Memory(CreateError),
    /// A descriptor or socket could not be made.
    System(Errno),
    /// The control thread could not be started.
    Thread,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Memory(error) => error.fmt(f),
            StartError::System(errno) => write!(f, "cannot set up the host's descriptors: {errno}"),
            StartError::Thread => f.write_str("cannot start the control thread"),
        }
    }
}

impl std::error::Error for StartError {}

/// Why a service cannot listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenError {
    /// A living process has the name already: end it, or take another name.
    NameInUse {
        /// The name.
        name: ServiceName,
        /// The process that has it, if it could be found.
        holder_pid: Option<i32>,
    },
    /// More is granted than any connection can have: grant less.
    TooMuch(baton_inbox::LayoutError),
    /// The kernel refused: too many open files, or no memory.
    System(Errno),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::NameInUse {
                name,
                holder_pid: Some(pid),
            } => write!(f, "the name {name} is in use by process {pid}"),
            ListenError::NameInUse {
                name,
                holder_pid: None,
            } => write!(
                f,
                "the name {name} is in use by a process that cannot be found"
            ),
            ListenError::TooMuch(error) => error.fmt(f),
            ListenError::System(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for ListenError {}

/// The handle of one inbox's host. Cheap to clone; the control thread ends with the last clone.
///
/// Connections outlive it, but nobody notices their peers' deaths any more.
#[derive(Clone)]
pub struct Host(Arc<HostInner>);

struct HostInner {
    node: Arc<Node>,
    nudge: EventBell,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({} connections)", self.connections())
    }
}

impl Host {
    /// Makes the pages of an inbox and starts its control thread.
    ///
    /// # Errors
    ///
    /// [`StartError`]: this process has run out of something.
    pub fn start(config: HostConfig) -> Result<Started, StartError> {
        let system = StartError::System;
        let platform = Linux::new().map_err(system)?;
        let (s_page, s_page_fd) =
            OwnRegion::create("baton-state", STATE_WORDS).map_err(StartError::Memory)?;
        let (hint_page, hint_page_fd) =
            SharedPage::create("baton-hint", HINT_WORDS).map_err(StartError::Memory)?;
        let name = config.name.unwrap_or_else(command_name);
        let uid = rustix::process::geteuid().as_raw();
        let node = Arc::new(Node {
            name: to_wire_name(&name),
            uid,
            s_page: s_page_fd,
            hint_page: hint_page_fd,
            bells: platform.bells(),
            registry: Arc::new(Registry::new(config.capacity).map_err(system)?),
        });
        let nudge = EventBell::new().map_err(system)?;
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(Counters::default());
        let outside = outside(&node, &counters, config.outside);
        let inspectors =
            Inspectors::new(uid, nudge.clone(), outside, config.answer).map_err(system)?;
        let nudge_fd = rustix::io::fcntl_dupfd_cloexec(nudge.as_fd(), 0).map_err(system)?;
        let control = Control::new(
            node.clone(),
            Arc::new(nudge_fd),
            stop.clone(),
            counters,
            inspectors,
        )
        .map_err(system)?;
        let thread = std::thread::Builder::new()
            .name("baton-control".into())
            .spawn(move || control.run())
            .map_err(|_| StartError::Thread)?;
        let host = Host(Arc::new(HostInner {
            node,
            nudge,
            stop,
            thread: Some(thread),
        }));
        Ok(Started {
            host,
            platform,
            s_page,
            hint_page,
        })
    }

    /// Listens for clients of interface `interface` (its hash) under `name`.
    ///
    /// They arrive as [`ControlEvent::Connected`] with the id returned here.
    ///
    /// # Errors
    ///
    /// [`ListenError`] says who has the name, or what has run out.
    pub fn listen(
        &self,
        name: &ServiceName,
        interface: u64,
        grants: Grants,
    ) -> Result<ListenerId, ListenError> {
        // What is granted must be possible for every client, not be found out with the first.
        crate::handshake::Agreed {
            client_credits: grants.max_credits,
            server_credits: grants.want_back_credits,
            request_bulk_bytes: grants.max_request_bulk_bytes,
            answer_bulk_bytes: grants.max_answer_bulk_bytes,
        }
        .layouts()
        .map_err(ListenError::TooMuch)?;
        let socket = names::listen(name).map_err(|error| match error {
            BindError::InUse { holder_pid } => ListenError::NameInUse {
                name: name.clone(),
                holder_pid,
            },
            BindError::System(errno) => ListenError::System(errno),
        })?;
        let registry = &self.0.node.registry;
        let id = ListenerId(registry.new_id());
        let terms = Arc::new(Terms {
            id,
            interface,
            grants,
        });
        registry
            .listen(Listening { socket, terms })
            .map_err(ListenError::System)?;
        Ok(id)
    }

    /// Ends listening and frees the name; connections stay. Whether there was such a listener.
    pub fn unlisten(&self, id: ListenerId) -> bool {
        self.0.node.registry.unlisten(id)
    }

    /// Connects to the service `name` of interface `interface` (its hash), and blocks for at most `timeout_ns`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] says who is to blame and what to do.
    pub fn connect(
        &self,
        name: &ServiceName,
        interface: u64,
        wants: &Wants,
        timeout_ns: u64,
    ) -> Result<PeerLink, ConnectError> {
        crate::handshake::client::connect(&self.0.node, name, interface, wants, timeout_ns)
    }

    /// The next thing the executor must know. One task at a time may wait for it.
    pub async fn next_event(&self) -> ControlEvent {
        core::future::poll_fn(|cx| self.0.node.registry.poll_next(cx)).await
    }

    /// The next thing the executor must know, if there is one already.
    pub fn try_next_event(&self) -> Option<ControlEvent> {
        self.0.node.registry.try_next()
    }

    /// Indices taken: connections, and handshakes under way.
    pub fn connections(&self) -> u32 {
        self.0.node.registry.connections()
    }

    /// Connections the inbox holds at most.
    pub fn capacity(&self) -> u32 {
        self.0.node.registry.capacity()
    }
}

impl Drop for HostInner {
    fn drop(&mut self) {
        // Release pairs with the Acquire of `Control::run`.
        self.stop.store(true, Ordering::Release);
        self.nudge.ring();
        if let Some(thread) = self.thread.take()
            // The last handle may have been in the closure that answers inspections.
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic there was reported by that thread itself; there is nothing to add.
            let _ = thread.join();
        }
        self.node.registry.close();
    }
}

fn command_name() -> String {
    std::fs::read_to_string("/proc/self/comm")
        .map(|name| name.trim_end().to_owned())
        .unwrap_or_default()
}

/// What the host itself can say, and then what the caller can.
fn outside(node: &Arc<Node>, counters: &Arc<Counters>, callers: Outside) -> Outside {
    let registry = Arc::downgrade(&node.registry);
    let capacity = node.registry.capacity();
    let counters = counters.clone();
    Box::new(move || {
        let connections = registry.upgrade().map_or(0, |r| r.connections());
        let count = |counter: &core::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "connections: {connections} of {capacity}\nhandshakes: {} done, {} refused, {} failed, {} pushed out\n{}",
            count(&counters.connected),
            count(&counters.refused),
            count(&counters.failed),
            count(&counters.pushed_out),
            callers()
        )
    })
}
