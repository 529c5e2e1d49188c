//! Ports: the connections of a node as its drain loop sees them.
//!
//! A port is a connection and the service behind it, if it has one. A look at a port empties its lanes, up to the quantum.
//!
//! Invariant: the ports are taken out of their place while lanes are drained or flushed, and go back whatever panics meanwhile. So
//! whoever comes in between finds none, and needs no count of borrows.
//!
//! Neighbours: `source` looks at the ports of a turn; `arrival` alone puts ports in and takes them out; `dispatcher` looks in the
//! transports that Baton is compared with.

use crate::connection::Connection;
use crate::error::Violation;
use crate::node::Inner;
use crate::serve::Serve;
use alloc::boxed::Box;
use alloc::rc::Rc;
use baton_executor::InTurn;
use baton_inbox::{Found, MAX_CONNECTIONS, Platform, Publication};
use core::cell::Cell;

/// Messages drained from one lane before the next is looked at.
pub const LANE_QUANTUM: u32 = 32;

/// One connection as the drain loop sees it.
#[repr(align(32))]
pub(crate) struct Port<P: Platform> {
    pub(crate) connection: Rc<Connection<P>>,
    pub(crate) server: Option<Box<dyn Serve<P>>>,
}

/// All connections, by number.
pub(crate) type Ports<P> = [Option<Port<P>>; MAX_CONNECTIONS];

/// The ports while they are taken out; they go back also when a handler or a task panics.
pub(crate) struct Borrowed<'a, P: Platform> {
    place: &'a Cell<Option<Box<Ports<P>>>>,
    pub(crate) ports: Option<Box<Ports<P>>>,
}

impl<P: Platform> Drop for Borrowed<'_, P> {
    #[inline(always)]
    fn drop(&mut self) {
        // The place is empty: nothing is dropped here.
        core::mem::forget(self.place.replace(self.ports.take()));
    }
}

impl<P: Platform> Inner<P> {
    /// Runs `with` on the ports. Nested calls find none; nothing nests but by mistake.
    #[inline(always)]
    pub(crate) fn with_ports<R>(&self, with: impl FnOnce(&Ports<P>) -> R) -> Option<R> {
        let borrowed = self.borrow_ports()?;
        borrowed.ports.as_deref().map(with)
    }

    /// The ports, until the value is dropped.
    #[inline(always)]
    pub(crate) fn borrow_ports(&self) -> Option<Borrowed<'_, P>> {
        Some(Borrowed {
            place: &self.ports,
            ports: Some(self.ports.take()?),
        })
    }
}

impl<P: Platform> Port<P> {
    /// Drains its answers first, then, if it is served, its requests.
    #[inline(always)]
    pub(crate) fn look(&self, turn: Option<InTurn<'_>>) -> u32 {
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

    #[cold]
    #[inline(never)]
    pub(crate) fn look_again(&self, turn: InTurn<'_>) -> u32 {
        self.look(Some(turn))
    }

    #[inline(never)]
    pub(crate) fn look_for_dispatcher(&self) {
        self.look(None);
    }
}

impl<P: Platform> Connection<P> {
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
    pub(crate) fn has_request(&self) -> bool {
        !matches!(self.link.requests_in.peek(), Ok(None))
    }

    /// Whether an answer, or the sign of a corrupt peer, waits in the lane.
    pub(crate) fn has_answer(&self) -> bool {
        self.tokens.capacity() != 0 && !matches!(self.link.answers_in().peek(), Ok(None))
    }
}

/// The numbers of the bits that are set.
pub(crate) fn bits(mut set: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let index = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (index < u64::BITS).then_some(index)
    })
}
