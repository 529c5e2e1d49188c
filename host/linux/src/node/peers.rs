//! Who is connected: one place a connection number.

use super::watch::Labels;
use crate::credentials::PeerInfo;
use crate::link::Connection as Guard;
use crate::platform::Linux;
use baton_inbox::layout::MAX_CONNECTIONS;
use baton_rpc::{Connection, NodeHandle};
use core::cell::{Cell, RefCell};
use core::pin::pin;
use core::task::{Context, Waker};
use std::rc::Rc;

struct Peer {
    /// Dropped last: the peer sees a hang-up, and the number is free again.
    guard: Guard,
    connection: Rc<Connection<Linux>>,
    info: PeerInfo,
    /// Whether the control task is told when the connection ends.
    watched: bool,
}

/// The peers of one node.
pub(super) struct Peers {
    places: RefCell<[Option<Peer>; MAX_CONNECTIONS]>,
    len: Cell<usize>,
    ever: Cell<bool>,
    labels: Labels,
}

impl Peers {
    pub(super) fn new(labels: Labels) -> Self {
        Peers {
            labels,
            places: RefCell::new([const { None }; MAX_CONNECTIONS]),
            len: Cell::new(0),
            ever: Cell::new(false),
        }
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    pub(super) fn insert(
        &self,
        guard: Guard,
        connection: Rc<Connection<Linux>>,
        info: PeerInfo,
        peer_bit: u32,
    ) {
        self.labels.set(guard.own_bit(), &info, peer_bit);
        let peer = Peer {
            connection,
            info,
            watched: false,
            guard,
        };
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get_mut(peer.guard.own_bit() as usize) {
            debug_assert!(place.is_none(), "the host gives a number out once");
            let old = place.replace(peer);
            self.len.set(self.len.get() + usize::from(old.is_none()));
            self.ever.set(true);
            drop(places);
            drop(old);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// Whether there has ever been one.
    pub(super) fn ever(&self) -> bool {
        self.ever.get()
    }

    pub(super) fn info(&self, connection: &Rc<Connection<Linux>>) -> Option<PeerInfo> {
        let places = self.places.borrow();
        let peer = places.get(usize::from(connection.index()))?.as_ref()?;
        Rc::ptr_eq(&peer.connection, connection).then(|| peer.info.clone())
    }

    /// The connection that the host calls `id`, at number `own_bit`.
    pub(super) fn connection(&self, own_bit: u32, id: u64) -> Option<Rc<Connection<Linux>>> {
        let places = self.places.borrow();
        let peer = places.get(own_bit as usize)?.as_ref()?;
        (peer.guard.id() == id).then(|| peer.connection.clone())
    }

    /// Lets go of those whose lanes have left the node's scan; `waker` is woken when another connection ends.
    ///
    /// Says whether any has ended whose lanes are still in the scan: look again after a turn.
    pub(super) fn sweep(&self, node: &NodeHandle<Linux>, waker: &Waker) -> bool {
        let mut again = false;
        for index in 0..MAX_CONNECTIONS {
            let mut places = self.places.borrow_mut();
            let Some(Some(peer)) = places.get_mut(index) else {
                continue;
            };
            if !peer.watched {
                peer.watched = true;
                // Only to leave the waker there; an end that has come already is seen below.
                let ended = pin!(peer.connection.ended());
                let _ = ended.poll(&mut Context::from_waker(waker));
            }
            if peer.connection.failure().is_none() {
                continue;
            }
            let bound = node.connection(index as u32);
            if bound.is_some_and(|bound| Rc::ptr_eq(&bound, &peer.connection)) {
                again = true;
                continue;
            }
            let gone = places.get_mut(index).and_then(Option::take);
            self.len.set(self.len.get() - 1);
            drop(places);
            drop(gone);
        }
        again
    }

    /// Lets go of all, at the node's end.
    pub(super) fn clear(&self) {
        let gone = self.places.replace([const { None }; MAX_CONNECTIONS]);
        self.len.set(0);
        drop(gone);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        debug_assert!(
            self.connection.failure().is_some(),
            "a connection ends before its socket is closed"
        );
    }
}
