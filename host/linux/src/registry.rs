//! What the control thread shares with the others: who is watched, which indices are taken, and the events to be fetched.
//!
//! Invariants:
//! - the queue has room for everything that may come: at most one arrival and one death a connection, of which there are no more
//!   than indices, and one inspection;
//! - an event of a connection is never delivered after its `Connection` was dropped, so that a reused index cannot be
//!   confused with its former holder's death;
//! - events, which may own connections, are never dropped under the lock that dropping a connection takes.

use crate::control::{ControlEvent, ListenerId};
use crate::handshake::Grants;
use crate::link::{DeathReason, PeerLink};
use baton_inbox::layout::MAX_CONNECTIONS;
use core::task::{Context, Poll, Waker};
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a descriptor in the control thread's epoll is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Nudge,
    Listener,
    Pending,
    PeerSocket,
    PeerProcess,
    InspectListener,
    Inspector,
}

const TAGS: [Tag; 7] = [
    Tag::Nudge,
    Tag::Listener,
    Tag::Pending,
    Tag::PeerSocket,
    Tag::PeerProcess,
    Tag::InspectListener,
    Tag::Inspector,
];

/// An epoll token: what it is and which one.
pub(crate) fn token(tag: Tag, id: u64) -> epoll::EventData {
    epoll::EventData::new_u64(id << 3 | tag as u64)
}

/// The reverse of [`token`].
pub(crate) fn untoken(data: epoll::EventData) -> Option<(Tag, u64)> {
    let data = data.u64();
    Some((*TAGS.get((data & 7) as usize)?, data >> 3))
}

struct Watch {
    own_bit: u32,
    socket: Arc<OwnedFd>,
    pidfd: Option<Arc<OwnedFd>>,
}

/// What a listener offers.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) id: ListenerId,
    pub(crate) interface: u64,
    pub(crate) grants: Grants,
}

/// A listening socket and what it offers.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) socket: OwnedFd,
    /// Apart from the socket, so that a handshake under way does not keep the name.
    pub(crate) terms: Arc<Terms>,
}

#[derive(Default)]
struct State {
    taken: u128,
    next_id: u64,
    watches: HashMap<u64, Watch>,
    listeners: HashMap<u64, Arc<Listening>>,
    queue: VecDeque<ControlEvent>,
    waker: Option<Waker>,
    closed: bool,
}

/// See the module's page.
pub(crate) struct Registry {
    epoll: OwnedFd,
    capacity: u32,
    state: Mutex<State>,
}

/// A taken index; free again when dropped.
pub(crate) struct Index {
    registry: Arc<Registry>,
    bit: u32,
}

impl Index {
    pub(crate) fn bit(&self) -> u32 {
        self.bit
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.registry.lock().taken &= !(1 << self.bit);
    }
}

impl Registry {
    /// `capacity` is cut to what an inbox can hold.
    pub(crate) fn new(capacity: u32) -> Result<Registry, Errno> {
        let capacity = capacity.min(MAX_CONNECTIONS as u32);
        let state = State {
            queue: VecDeque::with_capacity(2 * capacity as usize + 1),
            ..State::default()
        };
        Ok(Registry {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            capacity,
            state: Mutex::new(state),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under this lock; should one of ours panic, every field is still valid by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    pub(crate) fn epoll(&self) -> &OwnedFd {
        &self.epoll
    }

    /// A number never given before.
    pub(crate) fn new_id(&self) -> u64 {
        let mut state = self.lock();
        state.next_id += 1;
        state.next_id
    }

    /// Takes the lowest free index, if one is left.
    pub(crate) fn take_index(self: &Arc<Self>) -> Option<Index> {
        let mut state = self.lock();
        let bit = state.taken.trailing_ones();
        if bit >= self.capacity {
            return None;
        }
        state.taken |= 1 << bit;
        Some(Index {
            registry: self.clone(),
            bit,
        })
    }

    /// How many indices are taken.
    pub(crate) fn connections(&self) -> u32 {
        self.lock().taken.count_ones()
    }

    /// Begins to watch a connection, and returns its id.
    pub(crate) fn watch(
        &self,
        own_bit: u32,
        socket: &Arc<OwnedFd>,
        pidfd: Option<&Arc<OwnedFd>>,
    ) -> Result<u64, Errno> {
        let id = self.new_id();
        let watch = Watch {
            own_bit,
            socket: socket.clone(),
            pidfd: pidfd.cloned(),
        };
        self.lock().watches.insert(id, watch);
        // Not IN: a peer has nothing more to say here, and what it says all the same is not even looked at.
        let hang_up = epoll::EventFlags::RDHUP;
        let data = token(Tag::PeerSocket, id);
        let added = match epoll::add(&self.epoll, socket, data, hang_up) {
            // On the server's side it is known from the handshake.
            Err(Errno::EXIST) => epoll::modify(&self.epoll, socket, data, hang_up),
            other => other,
        }
        .and_then(|()| match pidfd {
            Some(pidfd) => epoll::add(
                &self.epoll,
                pidfd,
                token(Tag::PeerProcess, id),
                epoll::EventFlags::IN,
            ),
            None => Ok(()),
        });
        if let Err(errno) = added {
            self.unwatch(id);
            return Err(errno);
        }
        Ok(id)
    }

    fn forget(&self, watch: Option<Watch>) {
        if let Some(watch) = watch {
            self.remove_fd(&watch.socket);
            if let Some(pidfd) = watch.pidfd {
                self.remove_fd(&pidfd);
            }
        }
    }

    /// Takes a descriptor out of the control thread's epoll; it does not matter if it was not in it.
    pub(crate) fn remove_fd(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Ends watching; no event of this connection is delivered from now on.
    pub(crate) fn unwatch(&self, id: u64) {
        let mut state = self.lock();
        state
            .queue
            .retain(|event| !matches!(event, ControlEvent::Died { id: died, .. } if *died == id));
        let watch = state.watches.remove(&id);
        drop(state);
        self.forget(watch);
    }

    /// Queues the death of a connection, once.
    pub(crate) fn died(&self, id: u64, why: DeathReason) {
        let mut state = self.lock();
        let Some(watch) = state.watches.remove(&id) else {
            return;
        };
        state.queue.push_back(ControlEvent::Died {
            own_bit: watch.own_bit,
            id,
            why,
        });
        let waker = state.waker.take();
        drop(state);
        self.forget(Some(watch));
        wake(waker);
    }

    /// Queues an arrival.
    pub(crate) fn connected(&self, link: PeerLink, listener: ListenerId) {
        self.push(ControlEvent::Connected(Box::new(link), listener));
    }

    /// Queues an inspection, in place of one that was not fetched yet.
    pub(crate) fn inspect(&self, event: ControlEvent) {
        let mut state = self.lock();
        let old = state
            .queue
            .iter()
            .position(|event| matches!(event, ControlEvent::Inspect { .. }))
            .and_then(|at| state.queue.remove(at));
        drop(state);
        drop(old);
        self.push(event);
    }

    fn push(&self, event: ControlEvent) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            drop(event);
            return;
        }
        state.queue.push_back(event);
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// The next event, or a promise to wake the task when there is one.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<ControlEvent> {
        let mut state = self.lock();
        if let Some(event) = state.queue.pop_front() {
            return Poll::Ready(event);
        }
        let waker = cx.waker().clone();
        let old = state.waker.replace(waker);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// The next event, if there is one.
    pub(crate) fn try_next(&self) -> Option<ControlEvent> {
        self.lock().queue.pop_front()
    }

    /// Registers a listening socket.
    pub(crate) fn listen(&self, listening: Listening) -> Result<(), Errno> {
        let id = listening.terms.id;
        let listening = Arc::new(listening);
        self.lock().listeners.insert(id.0, listening.clone());
        let added = epoll::add(
            &self.epoll,
            &listening.socket,
            token(Tag::Listener, id.0),
            epoll::EventFlags::IN,
        );
        if let Err(errno) = added {
            self.unlisten(id);
            return Err(errno);
        }
        Ok(())
    }

    /// Ends listening and frees the name; handshakes under way go on.
    pub(crate) fn unlisten(&self, id: ListenerId) -> bool {
        let listening = self.lock().listeners.remove(&id.0);
        match listening {
            Some(listening) => {
                self.remove_fd(&listening.socket);
                // New connections are refused from here on, whoever still holds the socket.
                let _ = rustix::net::shutdown(&listening.socket, rustix::net::Shutdown::Both);
                true
            }
            None => false,
        }
    }

    /// The listener with this id, if it still listens.
    pub(crate) fn listener(&self, id: u64) -> Option<Arc<Listening>> {
        self.lock().listeners.get(&id).cloned()
    }

    /// Drops everything that nobody will fetch any more.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let queue = core::mem::take(&mut state.queue);
        let listeners = core::mem::take(&mut state.listeners);
        let waker = state.waker.take();
        drop(state);
        drop((queue, listeners, waker));
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
