//! Credits: taking one, waiting for one, giving one back.
//!
//! Whoever finds no free credit queues, in the order of calls. A queued call leaves its request in the queue, and whoever gives
//! the next credit back submits it; a [`Credit`] only waits, and is handed the entry.
//!
//! Invariant: a credit that comes back goes to the first in the queue, and to the free ones only if nobody waits. Who leaves
//! the queue gives back what was granted to him meanwhile.
//!
//! Neighbours: `tokens` has the entries and the queue itself; `call` and `bulk` take credits; `answer`, `drain` and `connection` give
//! them back; `submit` writes the requests that waited.

use crate::connection::Connection;
use crate::error::CallError;
use crate::tokens::{Entry, Queued, State};
use baton_inbox::{Info, Platform, Token};
use baton_trace::Step;
use core::future::Future;
use core::num::NonZeroU64;
use core::pin::Pin;
use core::task::{Context, Poll};

impl<P: Platform> Connection<P> {
    /// Takes a free credit, looking at the peer's head when there seems to be none.
    #[inline]
    pub(crate) fn take_settled(&self) -> Option<&Entry> {
        match self.tokens.take() {
            Some(entry) => Some(entry),
            None => self.settle_and_take(),
        }
    }

    #[cold]
    fn settle_and_take(&self) -> Option<&Entry> {
        if self.tokens.has_by_head() && self.failure().is_none() {
            self.settle();
        }
        self.tokens.take()
    }

    /// A credit is free again: the first who waits for one gets it, and its request goes out.
    #[inline]
    pub(crate) fn release(&self, entry: &Entry) {
        if self.tokens.starving.get() != 0 {
            self.tokens.begin_generation(entry);
            self.grant(entry);
        } else {
            self.tokens.put_back(entry);
        }
    }

    /// As [`Connection::release`], for a credit that was used otherwise than for an ordinary call.
    #[cold]
    pub(crate) fn release_special(&self, entry: &Entry) {
        entry.state.set(State::Plain);
        self.release(entry);
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn grant(&self, entry: &Entry) {
        if let Some((info, payload)) = self.tokens.grant(entry) {
            self.submit_queued(entry, info, payload);
        }
    }

    /// Queues a call for a credit; it is submitted by whoever gives one back.
    #[cold]
    #[inline(never)]
    #[allow(clippy::too_many_arguments)] // Six of them are the payload, in registers.
    pub(crate) fn queue_call(
        &self,
        info: Info,
        a: u64,
        b: u64,
        c: u64,
        d: u64,
        e: u64,
        f: u64,
    ) -> NonZeroU64 {
        self.wait_for_credit(Some((info, [a, b, c, d, e, f])))
    }

    /// Joins the queue for credits.
    #[cold]
    fn wait_for_credit(&self, request: Option<Queued>) -> NonZeroU64 {
        let ticket = self.tokens.queue(request);
        if self.tokens.has_by_head() && self.failure().is_none() {
            self.mark_unsettled();
        }
        if self.tracing() {
            let task = self.ledger.handle.running();
            self.event(Step::CreditWait, task, Token::NONE, 0);
        }
        ticket
    }

    /// Leaves the queue for credits; what was granted or submitted meanwhile is given back or cancelled.
    #[cold]
    pub(crate) fn leave_queue(&self, ticket: NonZeroU64) {
        if let Some(entry) = self.tokens.leave(ticket) {
            self.abandon(entry.index());
        }
    }

    /// Waits for a credit.
    pub(crate) fn credit(&self) -> Credit<'_, P> {
        Credit {
            connection: self,
            ticket: None,
        }
    }
}

/// Waits for a credit, in the order of those who wait.
pub(crate) struct Credit<'c, P: Platform> {
    connection: &'c Connection<P>,
    ticket: Option<NonZeroU64>,
}

impl<'c, P: Platform> Future for Credit<'c, P> {
    /// An entry that has been taken.
    type Output = Result<&'c Entry, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let connection = self.connection;
        if connection.failure().is_some() {
            return Poll::Ready(Err(connection.call_failure()));
        }
        if connection.tokens.capacity() == 0 {
            return Poll::Ready(Err(CallError::NoCredits));
        }
        let ticket = match self.ticket {
            Some(ticket) => ticket,
            None => {
                if let Some(entry) = connection.take_settled() {
                    return Poll::Ready(Ok(entry));
                }
                if connection.failure().is_some() {
                    // Looking for a credit has found the peer corrupt: whoever queued for one now would not be told.
                    return Poll::Ready(Err(connection.call_failure()));
                }
                let ticket = connection.wait_for_credit(None);
                self.ticket = Some(ticket);
                ticket
            }
        };
        match connection.tokens.poll_ticket(ticket, context.waker()) {
            Some(entry) => {
                self.ticket = None;
                Poll::Ready(Ok(entry))
            }
            None => Poll::Pending,
        }
    }
}

impl<P: Platform> Drop for Credit<'_, P> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.connection.leave_queue(ticket);
        }
    }
}
