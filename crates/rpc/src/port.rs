//! Ports: the connections of a node as its drain loop sees them.
//!
//! A port is a connection and the service behind it, if it has one. A look at a port empties its lanes, up to the quantum.
//!
//! Invariant: the table of ports is never changed but replaced ([`Inner::come_and_go`]), at the beginning of a turn. Whoever drives the
//! node holds the present one, so that a look needs no count of borrows, and whatever a task binds or unbinds meanwhile changes nothing under it.
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

/// Messages drained from one lane before the next is looked at.
pub const LANE_QUANTUM: u32 = 32;

/// One connection as the drain loop sees it.
pub(crate) struct Port<P: Platform> {
    pub(crate) connection: Rc<Connection<P>>,
    role: Role<P>,
}

/// Which lanes of a connection a look goes to: most have messages in one only.
enum Role<P: Platform> {
    /// Answers.
    Calls,
    /// Requests; and what else comes by their lane.
    Serves(Box<dyn Serve<P>>),
    /// Both.
    Both(Box<dyn Serve<P>>),
}

/// All connections, by number.
pub(crate) struct Ports<P: Platform> {
    by_number: [Option<Rc<Port<P>>>; MAX_CONNECTIONS],
    /// The only one there is, where a turn has no order to decide about.
    pub(crate) only: Option<Rc<Port<P>>>,
    /// Those that answers come by, one bit each.
    pub(crate) callers: u64,
}

impl<P: Platform> Ports<P> {
    /// No connection.
    pub(crate) fn none() -> Self {
        Ports {
            by_number: [const { None }; MAX_CONNECTIONS],
            only: None,
            callers: 0,
        }
    }

    /// Connection `index`, taken modulo [`MAX_CONNECTIONS`], if there is one.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Port<P>> {
        self.by_number[index as usize % MAX_CONNECTIONS].as_deref()
    }

    /// The same, to be kept.
    pub(crate) fn shared(&self, index: u32) -> Option<&Rc<Port<P>>> {
        self.by_number[index as usize % MAX_CONNECTIONS].as_ref()
    }

    /// Makes `port` the one of connection `index` (taken modulo [`MAX_CONNECTIONS`]), and returns what it was.
    pub(crate) fn set(&mut self, index: u32, port: Option<Rc<Port<P>>>) -> Option<Rc<Port<P>>> {
        let before =
            core::mem::replace(&mut self.by_number[index as usize % MAX_CONNECTIONS], port);
        let all = self.by_number.iter().flatten();
        let callers = all.filter(|port| port.connection.credits() != 0);
        self.callers = callers.fold(0, |set, port| set | port.connection.bit);
        let mut all = self.by_number.iter().flatten();
        // With one ring or a dispatcher messages do not come by connection.
        let by_connection = !P::Publication::ONE_RING && !P::Publication::DISPATCHED;
        self.only = match (all.next(), all.next()) {
            (Some(only), None) if by_connection => Some(only.clone()),
            _ => None,
        };
        before
    }
}

impl<P: Platform> Clone for Ports<P> {
    fn clone(&self) -> Self {
        Ports {
            by_number: self.by_number.clone(),
            only: self.only.clone(),
            callers: self.callers,
        }
    }
}

/// What whoever drives a node looks at: its ports as they were when the turn began, and the one among them that a turn begins with.
pub(crate) struct Looks<P: Platform> {
    pub(crate) ports: Rc<Ports<P>>,
    /// The only one there is, as in [`Ports`].
    pub(crate) only: Option<Rc<Port<P>>>,
    /// The only one that was worth a look when the hint word was `hint`; none once more must be looked at than the hint tells of.
    pub(crate) hinted: Option<Rc<Port<P>>>,
    pub(crate) hint: u64,
}

impl<P: Platform> Looks<P> {
    pub(crate) fn at(ports: Rc<Ports<P>>) -> Self {
        Looks {
            only: ports.only.clone(),
            ports,
            hinted: None,
            hint: 0,
        }
    }
}

impl<P: Platform> Inner<P> {
    /// The ports as they are now.
    pub(crate) fn ports(&self) -> Rc<Ports<P>> {
        self.ports.borrow().clone()
    }
}

impl<P: Platform> Port<P> {
    pub(crate) fn new(connection: Rc<Connection<P>>, server: Option<Box<dyn Serve<P>>>) -> Self {
        // Where requests and answers share a lane, whoever serves takes both.
        let takes_answers = connection.credits() != 0 && !P::Publication::ONE_LANE;
        let role = match server {
            Some(server) if takes_answers => Role::Both(server),
            Some(server) => Role::Serves(server),
            None => Role::Calls,
        };
        Port { connection, role }
    }

    /// Who serves the requests that come over it, if somebody does.
    pub(crate) fn server(&self) -> Option<&dyn Serve<P>> {
        match &self.role {
            Role::Serves(server) | Role::Both(server) => Some(&**server),
            Role::Calls => None,
        }
    }

    /// Drains its answers first, then, if it is served, its requests.
    #[inline(always)]
    pub(crate) fn look(&self, turn: Option<InTurn<'_>>) -> u32 {
        match &self.role {
            Role::Calls => self.connection.drain_answers(turn),
            Role::Serves(server) => self.drain_requests(&**server, turn),
            Role::Both(server) => self.look_at_both(&**server, turn),
        }
    }

    #[inline(never)]
    fn look_at_both(&self, server: &dyn Serve<P>, turn: Option<InTurn<'_>>) -> u32 {
        self.connection.drain_answers(turn) + self.drain_requests(server, turn)
    }

    #[inline(always)]
    fn drain_requests(&self, server: &dyn Serve<P>, turn: Option<InTurn<'_>>) -> u32 {
        match (self.connection.peek_request(), turn) {
            (Some(found), Some(turn)) => server.drain(turn, found),
            (Some(found), None) => server.drain_for_dispatcher(found),
            (None, _) => 0,
        }
    }

    /// Whether a message, or the sign of a corrupt peer, waits.
    pub(crate) fn has_message(&self) -> bool {
        self.connection.has_answer() || (self.server().is_some() && self.connection.has_request())
    }

    #[inline(never)]
    pub(crate) fn look_for_dispatcher(&self) {
        self.look(None);
    }
}

impl<P: Platform> Connection<P> {
    /// The next request; a corrupt peer is noticed.
    #[inline(always)]
    pub(crate) fn peek_request(&self) -> Option<Found<'_>> {
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
