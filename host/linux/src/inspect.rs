//! Inspection of a running process: whoever connects to its inspection socket asks a [`Question`] and gets a text.
//!
//! For a dump, the control thread asks the executor by an event. When that does not answer within [`PATIENCE_NS`] (it hangs
//! in one task, or gets no processor), the control thread answers itself with what can be seen from outside. Everything
//! about the trace it answers itself at once. Only the same user and root are answered.
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

/// Longest question on the wire, with its line end.
const MAX_QUESTION: usize = 16;

/// What can be asked of a running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// What the executor is doing, and who waits for whom.
    Dump,
    /// Record events from now on.
    TraceOn,
    /// Record no more events.
    TraceOff,
    /// The recorded events, one line each.
    Events,
    /// The recorded events as lines for [`baton_trace::Line`], with where the connections lead.
    Recording,
}

impl Question {
    const ALL: [Question; 5] = [
        Question::Dump,
        Question::TraceOn,
        Question::TraceOff,
        Question::Events,
        Question::Recording,
    ];

    /// The question on the wire.
    const fn line(self) -> &'static [u8] {
        match self {
            Question::Dump => b"dump\n",
            Question::TraceOn => b"trace on\n",
            Question::TraceOff => b"trace off\n",
            Question::Events => b"events\n",
            Question::Recording => b"recording\n",
        }
    }

    fn of_line(line: &[u8]) -> Option<Question> {
        Question::ALL
            .into_iter()
            .find(|question| question.line() == line)
    }
}

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
    /// Has not asked yet.
    Asking { line: Vec<u8> },
    /// Waits for the executor's text; `before` is what could be seen from outside when it asked.
    Waiting { deadline_ns: u64, before: String },
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
/// Answers every question but [`Question::Dump`], on the control thread; none where nothing is recorded.
pub type Answer = Box<dyn Fn(Question) -> Option<String> + Send>;

/// Those who inspect, on the control thread's side.
pub(crate) struct Inspectors {
    listener: Arc<OwnedFd>,
    reply: InspectReply,
    outside: Outside,
    answer: Answer,
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
    pub(crate) fn new(
        uid: u32,
        nudge: EventBell,
        outside: Outside,
        answer: Answer,
    ) -> Result<Self, Errno> {
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
            answer,
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
                State::Waiting { deadline_ns, .. } => Some(deadline_ns),
                State::Asking { .. } | State::Sending { .. } => None,
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
            epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
        );
        if added.is_err() {
            return;
        }
        self.inspectors.push(Inspector {
            id,
            socket,
            state: State::Asking { line: Vec::new() },
        });
    }

    /// An inspector has asked, can take more, or has hung up.
    pub(crate) fn advance(&mut self, registry: &Registry, id: u64) {
        let Some(at) = self.inspectors.iter().position(|known| known.id == id) else {
            return;
        };
        let done = match self.inspectors.get_mut(at) {
            Some(inspector) => match inspector.state {
                State::Asking { .. } => match inspector.ask() {
                    Ok(None) => false,
                    Ok(Some(question)) => self.begin_answer(registry, at, question),
                    Err(_) => true,
                },
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

    /// Answers a question, or has the executor do it. Whether the inspector is done with.
    fn begin_answer(&mut self, registry: &Registry, at: usize, question: Question) -> bool {
        let Some(inspector) = self.inspectors.get_mut(at) else {
            return false;
        };
        if question == Question::Dump {
            inspector.state = State::Waiting {
                deadline_ns: monotonic_ns().saturating_add(PATIENCE_NS),
                before: (self.outside)(),
            };
            registry.inspect(ControlEvent::Inspect {
                reply: self.reply.clone(),
            });
            // From here on only a hang-up is of interest.
            return inspector.listen_for(registry, epoll::EventFlags::RDHUP);
        }
        let text = (self.answer)(question).unwrap_or_else(|| "nothing is recorded here\n".into());
        inspector.state = State::Sending {
            text: text.into_bytes(),
            sent: 0,
        };
        inspector.send_some(registry)
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
            let State::Waiting {
                deadline_ns,
                before,
            } = &inspector.state
            else {
                return true;
            };
            let text = match &answer {
                Some(text) => text.clone(),
                None if *deadline_ns <= now_ns => format!(
                    "the executor did not answer within {} ms: one task keeps it busy or waits inside a poll, it gets no \
                     processor, or nobody fetches its control events; seen from outside when it was asked:\n{before}\nand \
                     now:\n{}\n",
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
    /// Reads what there is of the question; an error means that this is no inspector, or it has gone.
    fn ask(&mut self) -> Result<Option<Question>, Errno> {
        let State::Asking { line } = &mut self.state else {
            return Ok(None);
        };
        let mut buffer = [0; MAX_QUESTION];
        match rustix::io::read(&self.socket, &mut buffer) {
            Ok(0) => Err(Errno::CONNRESET),
            Ok(len) => {
                line.extend_from_slice(buffer.get(..len).unwrap_or_default());
                match Question::of_line(line) {
                    None if line.len() >= MAX_QUESTION || line.ends_with(b"\n") => {
                        Err(Errno::INVAL)
                    }
                    question => Ok(question),
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Is told of these from now on; whether that failed, and the inspector is done with.
    fn listen_for(&self, registry: &Registry, flags: epoll::EventFlags) -> bool {
        let data = token(Tag::Inspector, self.id);
        epoll::modify(registry.epoll(), &self.socket, data, flags).is_err()
    }

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
                    let flags = epoll::EventFlags::OUT | epoll::EventFlags::RDHUP;
                    return self.listen_for(registry, flags);
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

/// Asks all hosts in process `pid` and returns the answer of each.
///
/// # Errors
///
/// [`InspectError`] says why there are none.
pub fn inspect(pid: i32, question: Question, timeout_ns: u64) -> Result<Vec<String>, InspectError> {
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
        match fetch(&address, pid, question, timeout_ns)? {
            Some(dump) => dumps.push(dump),
            None => break,
        }
    }
    if dumps.is_empty() {
        return Err(InspectError::NotBaton);
    }
    Ok(dumps)
}

/// One host's answer, if there is such a host.
fn fetch(
    address: &SocketAddrUnix,
    pid: i32,
    question: Question,
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
    // A line is shorter than any socket's buffer: it goes whole.
    rustix::net::send(&socket, question.line(), SendFlags::NOSIGNAL).map_err(system)?;
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
