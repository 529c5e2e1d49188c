//! The ring that all senders share, and the dispatcher task: how the transports that Baton is compared with receive.
//!
//! With a dispatcher, a turn drains nothing itself. It only looks which connections have messages and wakes a task, which empties
//! them and wakes the tasks named in them. With one ring, all connections are drained out of that.
//!
//! Invariant: no node on the ordinary publication comes here; the choice is made at compile time, by constants of
//! [`Publication`]. Writers of a shared ring are trusted.
//!
//! Neighbours: `source` chooses; `port` has the look at one connection.

use crate::node::{Inner, Node};
use crate::port::{LANE_QUANTUM, Port, bits};
use alloc::rc::Rc;
use baton_executor::InTurn;
use baton_inbox::{Band, Platform, Publication};
use core::cell::{Cell, RefCell};
use core::task::{Poll, Waker};

/// The dispatcher task, where there is one, and which connections it is to look at.
#[derive(Default)]
pub(crate) struct Dispatcher {
    waker: RefCell<Option<Waker>>,
    connections: Cell<u64>,
}

impl<P: Platform> Node<P> {
    pub(crate) fn spawn_dispatcher(&self) {
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
}

impl<P: Platform> Inner<P> {
    /// Takes at most a quantum for each connection out of the ring that all senders share.
    pub(crate) fn drain_ring(&self, turn: Option<InTurn<'_>>) -> u32 {
        let Some(ring) = &self.ledger.ring else {
            return 0;
        };
        let ports = self.ports();
        let quantum = LANE_QUANTUM * self.scan.bound().count_ones();
        let mut drained = 0;
        while drained < quantum {
            // The writers are trusted, so there is no corrupt tail.
            let Ok(Some(found)) = ring.peek() else { break };
            drained += 1;
            let (token, source) = found.token_and_source();
            let port = ports.get(source);
            match port {
                Some(port) => match port.server() {
                    Some(server) => server.take(turn, ring, found, token),
                    None => {
                        port.connection.take_in_answer::<false>(turn, token);
                        ring.advance();
                    }
                },
                None => ring.advance(),
            }
        }
        drained
    }

    /// Looks which connections have messages, and leaves them to the dispatcher task.
    pub(crate) fn wake_dispatcher(&self, candidates: u64) {
        let found = match &self.ledger.ring {
            Some(ring) => u64::from(!matches!(ring.peek(), Ok(None))),
            None => {
                let ports = self.ports();
                let has_message = |index: &u32| ports.get(*index).is_some_and(Port::has_message);
                bits(candidates)
                    .filter(has_message)
                    .fold(0, |found, index| found | 1 << index)
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
        let ports = self.ports();
        for index in bits(connections) {
            if let Some(port) = ports.get(index) {
                port.look_for_dispatcher();
            }
        }
    }
}
