//! Inspection of a running process: whoever connects to its inspection socket gets the executor's dump.
//!
//! The control thread asks the executor by an event. When that does not answer within [`PATIENCE_NS`] (it hangs in one task,
//! or gets no processor), the control thread answers itself with what can be seen from outside. Only the same user and root are
//! answered.
//!
//! The socket of the first host in process 42 of user 1000 is the abstract `\0baton-inspect/1000/42`; those of further
//! hosts in the same process end in `.1`, `.2` and so on.

use crate::credentials;
use crate::handshake::Node;
use crate::names::listen_at;
use crate::platform::monotonic_ns;
use crate::registry::{Registry, Tag, token};
use crate::{ControlEvent, EventBell};
use baton_inbox::Bell;
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt::Timeout,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the executor may take to answer.
pub const PATIENCE_NS: u64 = 1_000_000_000;
/// Inspectors answered at once.
const MAX_INSPECTORS: usize = 4;
/// Hosts of one process that can be inspected.
pub const MAX_HOSTS: u32 = 64;

/// Where the executor's dump goes.
#[derive(Clone, Debug)]
pub struct InspectReply {
    text: Arc<Mutex<Option<String>>>,
    nudge: EventBell,
}

impl InspectReply {
    /// Answers those who asked. Never blocks; too late an answer is dropped.
    pub fn send(self, text: String) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        self.nudge.ring();
    }
}

enum State {
    /// Waits for the executor's text.
    Waiting { deadline_ns: u64 },
    /// Is being sent the text.
    Sending { text: Vec<u8>, sent: usize },
}

struct Inspector {
    id: u64,
    socket: OwnedFd,
    state: State,
}

/// What the control thread can say about the executor without it.
pub type Outside = Box<dyn Fn() -> String + Send>;

/// Those who inspect, on the control thread's side.
pub(crate) struct Inspectors {
    listener: Arc<OwnedFd>,
    reply: InspectReply,
    outside: Outside,
    inspectors: Vec<Inspector>,
}

fn address(uid: u32, pid: i32, host: u32) -> Result<SocketAddrUnix, Errno> {
    let name = match host {
        0 => format!("baton-inspect/{uid}/{pid}"),
        n => format!("baton-inspect/{uid}/{pid}.{n}"),
    };
    SocketAddrUnix::new_abstract_name(name.as_bytes())
}

impl Inspectors {
    pub(crate) fn new(uid: u32, nudge: EventBell, outside: Outside) -> Result<Self, Errno> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let mut listener = Err(Errno::ADDRINUSE);
        for host in 0..MAX_HOSTS {
            match listen_at(&address(uid, pid, host)?, SocketType::STREAM) {
                Ok(socket) => {
                    listener = Ok(socket);
                    break;
                }
                Err(Errno::ADDRINUSE) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(Inspectors {
            listener: Arc::new(listener?),
            reply: InspectReply {
                text: Arc::new(Mutex::new(None)),
                nudge,
            },
            outside,
            inspectors: Vec::with_capacity(MAX_INSPECTORS),
        })
    }

    pub(crate) fn listener(&self) -> &Arc<OwnedFd> {
        &self.listener
    }

    /// When somebody must be answered without the executor.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.inspectors
            .iter()
            .filter_map(|inspector| match inspector.state {
                State::Waiting { deadline_ns } => Some(deadline_ns),
                State::Sending { .. } => None,
            })
            .min()
    }

    /// Takes a new inspector in, if it may ask.
    pub(crate) fn begin(&mut self, node: &Node, socket: OwnedFd) {
        let allowed =
            credentials::of(&socket).is_ok_and(|found| found.uid == node.uid || found.uid == 0);
        if !allowed {
            return;
        }
        if self.inspectors.len() >= MAX_INSPECTORS {
            self.inspectors.remove(0);
        }
        let id = node.registry.new_id();
        let added = epoll::add(
            node.registry.epoll(),
            &socket,
            token(Tag::Inspector, id),
            epoll::EventFlags::RDHUP,
        );
        if added.is_err() {
            return;
        }
        self.inspectors.push(Inspector {
            id,
            socket,
            state: State::Waiting {
                deadline_ns: monotonic_ns().saturating_add(PATIENCE_NS),
            },
        });
        node.registry.inspect(ControlEvent::Inspect {
            reply: self.reply.clone(),
        });
    }

    /// An inspector can take more, or has hung up.
    pub(crate) fn advance(&mut self, registry: &Registry, id: u64) {
        let Some(at) = self.inspectors.iter().position(|known| known.id == id) else {
            return;
        };
        let done = match self.inspectors.get_mut(at) {
            Some(inspector) => match inspector.state {
                // Nothing but a hang-up is reported in this state.
                State::Waiting { .. } => true,
                State::Sending { .. } => inspector.send_some(registry),
            },
            None => false,
        };
        if done {
            self.inspectors.remove(at);
        }
    }

    /// Hands out the executor's answer, or ours to whom has waited long enough.
    pub(crate) fn tick(&mut self, registry: &Registry) {
        let answer = self
            .reply
            .text
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let outside = &self.outside;
        let now_ns = monotonic_ns();
        self.inspectors.retain_mut(|inspector| {
            let State::Waiting { deadline_ns } = inspector.state else {
                return true;
            };
            let text = match &answer {
                Some(text) => text.clone(),
                None if deadline_ns <= now_ns => format!(
                    "the executor did not answer within {} ms: one task keeps it busy or waits inside a poll, it gets no \
                     processor, or nobody fetches its control events; seen from outside:\n{}\n",
                    PATIENCE_NS / 1_000_000,
                    outside()
                ),
                None => return true,
            };
            inspector.state = State::Sending {
                text: text.into_bytes(),
                sent: 0,
            };
            !inspector.send_some(registry)
        });
    }
}

impl Inspector {
    /// Sends what the socket takes; whether that was all, or nobody wants it any more.
    fn send_some(&mut self, registry: &Registry) -> bool {
        let State::Sending { text, sent } = &mut self.state else {
            return false;
        };
        while let Some(rest) = text.get(*sent..).filter(|rest| !rest.is_empty()) {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.socket, rest, flags) {
                Ok(len) => *sent += len,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let again = epoll::modify(
                        registry.epoll(),
                        &self.socket,
                        token(Tag::Inspector, self.id),
                        epoll::EventFlags::OUT | epoll::EventFlags::RDHUP,
                    );
                    return again.is_err();
                }
                Err(_) => return true,
            }
        }
        true
    }
}

/// Why a process cannot be inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InspectError {
    /// There is no such process.
    NoSuchProcess,
    /// The process belongs to another user: become that user, or root.
    OtherUser {
        /// Its user.
        uid: u32,
    },
    /// The process runs no Baton.
    NotBaton,
    /// Another process listens in its place: it is an impostor.
    Impostor {
        /// That process.
        pid: i32,
    },
    /// The process did not answer in time: it is stopped.
    TimedOut,
    /// The kernel refused something.
    System(Errno),
}

impl core::fmt::Display for InspectError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            InspectError::NoSuchProcess => f.write_str("there is no such process"),
            InspectError::OtherUser { uid } => write!(
                f,
                "the process belongs to user {uid}; only that user and root can inspect it"
            ),
            InspectError::NotBaton => f.write_str("the process runs no Baton"),
            InspectError::Impostor { pid } => {
                write!(f, "process {pid} listens in its place; do not trust it")
            }
            InspectError::TimedOut => {
                f.write_str("the process did not answer in time; it may be stopped")
            }
            InspectError::System(errno) => errno.fmt(f),
        }
    }
}

impl std::error::Error for InspectError {}

/// Fetches the dumps of all hosts in process `pid`.
///
/// # Errors
///
/// [`InspectError`] says why there are none.
pub fn inspect(pid: i32, timeout_ns: u64) -> Result<Vec<String>, InspectError> {
    let uid = match rustix::fs::stat(format!("/proc/{pid}")) {
        Ok(stat) => stat.st_uid,
        Err(Errno::NOENT) => return Err(InspectError::NoSuchProcess),
        Err(errno) => return Err(InspectError::System(errno)),
    };
    let own_uid = rustix::process::geteuid().as_raw();
    if own_uid != uid && own_uid != 0 {
        return Err(InspectError::OtherUser { uid });
    }
    let mut dumps = Vec::new();
    for host in 0..MAX_HOSTS {
        let address = address(uid, pid, host).map_err(InspectError::System)?;
        match fetch(&address, pid, timeout_ns)? {
            Some(dump) => dumps.push(dump),
            None => break,
        }
    }
    if dumps.is_empty() {
        return Err(InspectError::NotBaton);
    }
    Ok(dumps)
}

/// One host's dump, if there is such a host.
fn fetch(
    address: &SocketAddrUnix,
    pid: i32,
    timeout_ns: u64,
) -> Result<Option<String>, InspectError> {
    let system = InspectError::System;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(system)?;
    let patience = Some(Duration::from_nanos(timeout_ns.max(1_000)));
    for direction in [Timeout::Send, Timeout::Recv] {
        rustix::net::sockopt::set_socket_timeout(&socket, direction, patience).map_err(system)?;
    }
    match rustix::net::connect(&socket, address) {
        Ok(()) => {}
        Err(Errno::CONNREFUSED) => return Ok(None),
        Err(Errno::AGAIN) => return Err(InspectError::TimedOut),
        Err(errno) => return Err(system(errno)),
    }
    let holder = credentials::of(&socket).map_err(system)?.pid;
    if holder != pid {
        return Err(InspectError::Impostor { pid: holder });
    }
    let mut dump = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(socket.as_fd(), &mut buffer[..]) {
            Ok(0) => return Ok(Some(String::from_utf8_lossy(&dump).into_owned())),
            Ok(len) => dump.extend_from_slice(buffer.get(..len).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(InspectError::TimedOut),
            Err(errno) => return Err(system(errno)),
        }
    }
}
