//! The control thread: everything of a process that is a descriptor and not a lane.
//!
//! It accepts and advances handshakes, notices hang-ups and deaths, and answers inspections. What the executor must know goes
//! into a bounded queue, which a task of the executor awaits ([`crate::Host::next_event`]). The thread sleeps in one epoll
//! wait and never waits for anybody else; a client that is slow or silent only occupies one of [`MAX_PENDING`] places, from which
//! newer ones push the oldest out.

use crate::handshake::Node;
use crate::handshake::server::{Failure, Pending, Step, refuse};
use crate::inspect::{InspectReply, Inspectors};
use crate::link::{DeathReason, PeerLink};
use crate::platform::monotonic_ns;
use crate::registry::{Listening, Tag, token, untoken};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use rustix::time::Timespec;
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

/// Handshakes that may be under way at once.
pub const MAX_PENDING: usize = 32;
/// Connections accepted before other events get their turn.
const ACCEPT_QUANTUM: usize = 16;

/// Names a listener of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub(crate) u64);

/// What the executor must know.
#[derive(Debug)]
pub enum ControlEvent {
    /// A client has connected to one of our listeners.
    Connected(Box<PeerLink>, ListenerId),
    /// A peer has hung up or died. What it published before is still in its region.
    Died {
        /// The connection's index in our inbox.
        own_bit: u32,
        /// The connection's [`crate::Connection::id`].
        id: u64,
        /// How it was noticed.
        why: DeathReason,
    },
    /// Somebody asks for the executor's dump.
    Inspect {
        /// Where the text goes.
        reply: InspectReply,
    },
}

/// How handshakes went, since the start; for dumps.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connected: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) pushed_out: AtomicU64,
}

impl Counters {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the thread runs on.
pub(crate) struct Control {
    node: Arc<Node>,
    nudge: Arc<OwnedFd>,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    pending: VecDeque<(u64, Pending)>,
    inspectors: Inspectors,
    /// A descriptor to give up when there is no other left to refuse a connection with.
    spare: Option<OwnedFd>,
}

impl Control {
    pub(crate) fn new(
        node: Arc<Node>,
        nudge: Arc<OwnedFd>,
        stop: Arc<AtomicBool>,
        counters: Arc<Counters>,
        inspectors: Inspectors,
    ) -> Result<Control, Errno> {
        epoll::add(
            node.registry.epoll(),
            &nudge,
            token(Tag::Nudge, 0),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        epoll::add(
            node.registry.epoll(),
            inspectors.listener(),
            token(Tag::InspectListener, 0),
            epoll::EventFlags::IN,
        )?;
        let spare = Some(rustix::io::fcntl_dupfd_cloexec(&nudge, 0)?);
        Ok(Control {
            node,
            nudge,
            stop,
            counters,
            pending: VecDeque::with_capacity(MAX_PENDING),
            inspectors,
            spare,
        })
    }

    /// Runs until it is told to stop.
    pub(crate) fn run(mut self) {
        let registry = self.node.registry.clone();
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 32];
        // Acquire pairs with the Release of `HostInner::drop`; the nudge that follows it ends the wait.
        while !self.stop.load(Ordering::Acquire) {
            let timeout = self.inspectors.deadline_ns().map(|deadline_ns| {
                // Whole milliseconds, rounded up: kernels before Linux 5.11 know no others.
                let left_ns = deadline_ns
                    .saturating_sub(monotonic_ns())
                    .next_multiple_of(1_000_000);
                Timespec {
                    tv_sec: i64::try_from(left_ns / 1_000_000_000).unwrap_or(i64::MAX),
                    tv_nsec: (left_ns % 1_000_000_000) as _,
                }
            });
            let ready = match epoll::wait(registry.epoll(), &mut events, timeout.as_ref()) {
                Ok((ready, _)) => ready,
                // A signal; or a failure that cannot be, and that must not become a busy loop.
                Err(errno) => {
                    if errno != Errno::INTR {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    continue;
                }
            };
            for event in ready {
                let Some((tag, id)) = untoken(event.data) else {
                    continue;
                };
                match tag {
                    Tag::Nudge => {}
                    Tag::Listener => self.accept(id),
                    Tag::Pending => self.advance(id),
                    Tag::PeerSocket => registry.died(id, DeathReason::HungUp),
                    Tag::PeerProcess => registry.died(id, DeathReason::Exited),
                    Tag::InspectListener => self.accept_inspectors(),
                    Tag::Inspector => self.inspectors.advance(&registry, id),
                }
            }
            self.inspectors.tick(&registry);
        }
    }

    /// Takes new clients in.
    fn accept(&mut self, id: u64) {
        let Some(listening) = self.node.registry.listener(id) else {
            return;
        };
        for _ in 0..ACCEPT_QUANTUM {
            let Some(socket) = self.accept_one(&listening.socket) else {
                return;
            };
            self.begin(socket, &listening);
        }
    }

    fn begin(&mut self, socket: OwnedFd, listening: &Listening) {
        let pending = match Pending::new(&self.node, socket, listening.terms.clone()) {
            Ok(pending) => pending,
            Err(failure) => return self.over(failure),
        };
        if self.pending.len() >= MAX_PENDING {
            // The closed socket leaves the epoll by itself: nobody else holds it.
            self.pending.pop_front();
            Counters::count(&self.counters.pushed_out);
        }
        let id = self.node.registry.new_id();
        let added = epoll::add(
            self.node.registry.epoll(),
            &pending,
            token(Tag::Pending, id),
            epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
        );
        match added {
            Ok(()) => self.pending.push_back((id, pending)),
            Err(errno) => self.over(Failure::System(errno)),
        }
    }

    /// Accepts one connection, or gives up a pending one for which there is no descriptor.
    fn accept_one(&mut self, listener: &OwnedFd) -> Option<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            match rustix::net::accept_with(listener, flags) {
                Ok(socket) => return Some(socket),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
                    self.turn_away(listener);
                    return None;
                }
                Err(_) => return None,
            }
        }
    }

    /// Refuses one waiting connection with the spare descriptor, so that it does not report itself for ever.
    fn turn_away(&mut self, listener: &OwnedFd) {
        drop(self.spare.take());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match rustix::net::accept_with(listener, flags) {
            Ok(socket) => {
                let failure = refuse(&socket, crate::handshake::reason::EXHAUSTED, 0);
                drop(socket);
                self.over(failure);
            }
            // Somebody else took the descriptor, or memory is short: wait for better times, but do not spin for them.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        self.spare = rustix::io::fcntl_dupfd_cloexec(&self.nudge, 0).ok();
    }

    fn advance(&mut self, id: u64) {
        let Some(at) = self.pending.iter().position(|(known, _)| *known == id) else {
            return;
        };
        let Some((_, pending)) = self.pending.remove(at) else {
            return;
        };
        let listener = pending.terms().id;
        match pending.advance(&self.node) {
            Step::Waiting(pending) => self.pending.insert(at, (id, pending)),
            Step::Connected(link) => {
                Counters::count(&self.counters.connected);
                self.node.registry.connected(*link, listener);
            }
            Step::Over(failure) => self.over(failure),
        }
    }

    fn over(&self, failure: Failure) {
        Counters::count(match failure {
            Failure::Refused { .. } => &self.counters.refused,
            Failure::HungUp | Failure::Fault(_) | Failure::System(_) => &self.counters.failed,
        });
    }

    fn accept_inspectors(&mut self) {
        for _ in 0..ACCEPT_QUANTUM {
            let listener = self.inspectors.listener().clone();
            let Some(socket) = self.accept_one(&listener) else {
                return;
            };
            self.inspectors.begin(&self.node, socket);
        }
    }
}
