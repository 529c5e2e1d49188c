//! What a handler is given: a request, and the right to answer it.
//!
//! Purpose: a private copy of one message, its arguments read by type, and the [`Reply`] that goes out for it (step 6).
//!
//! Invariant: each request is answered exactly once. A [`Reply`] that is dropped unused answers with an error, so a peer never waits
//! for a handler that is gone.
//!
//! Neighbours: `serve` makes requests out of slots; `bulk` adds payload beyond the slot; the code that `#[service]` writes uses both.

use crate::connection::Connection;
use crate::wire::{SliceReader, Wire};
use baton_executor::When;
use baton_inbox::{Info, Kind, PAYLOAD_WORDS, PayloadWriter, Platform, Status, Token};
use baton_trace::Step;

/// A private copy of a message.
pub(crate) struct Received {
    pub(crate) info: Info,
    /// Words behind the message's length mean nothing.
    pub(crate) payload: [u64; PAYLOAD_WORDS],
}

impl Received {
    #[inline]
    fn args<A: Wire>(&self) -> Option<A> {
        if self.info.words() < A::WORDS {
            return None;
        }
        A::get(&mut SliceReader::new(&self.payload))
    }
}

/// A request that has not been answered. Dropped unanswered, it is answered with an error.
pub struct Request<'a, P: Platform> {
    pub(crate) message: Received,
    pub(crate) reply: Reply<'a, P>,
}

/// The right to answer one request. Dropped unused, it answers with an error.
pub struct Reply<'a, P: Platform> {
    connection: &'a Connection<P>,
    token: Token,
}

/// A one-way send.
pub struct OneWay<'a, P: Platform> {
    pub(crate) connection: &'a Connection<P>,
    pub(crate) message: Received,
}

impl<'a, P: Platform> Request<'a, P> {
    #[inline(always)]
    pub(crate) fn new(connection: &'a Connection<P>, token: Token, message: Received) -> Self {
        Request {
            message,
            reply: Reply { connection, token },
        }
    }

    /// The method that is asked for.
    #[inline]
    pub fn method(&self) -> u16 {
        self.message.info.method()
    }

    /// Who asks.
    #[inline]
    pub fn connection(&self) -> &'a Connection<P> {
        self.reply.connection
    }

    /// The credit that pays for the request: the number of its bulk buffers.
    #[inline]
    pub(crate) fn credit(&self) -> u16 {
        self.reply.token.index()
    }

    /// The arguments, or none when the message is too short or holds no such values.
    #[inline]
    pub fn args<A: Wire>(&self) -> Option<A> {
        self.message.args()
    }

    /// Leaves the arguments, and keeps the right to answer.
    #[inline]
    pub fn into_reply(self) -> Reply<'a, P> {
        self.reply
    }

    /// Answers that the arguments make no sense.
    #[cold]
    pub fn refuse_bad_arguments(self) {
        self.reply.refuse(Status::BadArguments);
    }

    /// Answers that there is no such method.
    #[cold]
    pub fn refuse_unknown_method(self) {
        self.reply.refuse(Status::UnknownMethod);
    }
}

impl<'a, P: Platform> Reply<'a, P> {
    /// Who asked.
    #[inline]
    pub fn connection(&self) -> &'a Connection<P> {
        self.connection
    }

    /// Step 6: answers with `value`. Whoever starts handlers sees by himself which connections were answered [at once](When::is_at_once).
    #[inline(always)]
    pub fn send<T: Wire>(self, value: T, when: When) {
        let info = Info::new(Kind::Answer, Status::Done as u16, T::WORDS);
        self.send_with(
            info,
            when,
            #[inline(always)]
            |out| value.put(out),
        );
    }

    #[inline(always)]
    pub(crate) fn send_with(
        self,
        info: Info,
        when: When,
        payload: impl FnOnce(&mut PayloadWriter<'_>),
    ) {
        let (connection, token) = (self.connection, self.token);
        // Answered from here on: its destructor would do it once more.
        core::mem::forget(self);
        connection.answer(token, info, when, payload);
    }

    #[inline(never)]
    pub(crate) fn refuse(self, status: Status) {
        self.send_with(
            Info::new(Kind::Answer, status as u16, 0),
            When::LATER,
            |_| {},
        );
    }
}

impl<P: Platform> Drop for Reply<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.connection.answer_dropped(self.token);
    }
}

impl<'a, P: Platform> OneWay<'a, P> {
    /// The method that is meant.
    #[inline]
    pub fn method(&self) -> u16 {
        self.message.info.method()
    }

    /// Who sent it.
    pub fn connection(&self) -> &'a Connection<P> {
        self.connection
    }

    /// The arguments, or none when the message is too short or holds no such values.
    #[inline]
    pub fn args<A: Wire>(&self) -> Option<A> {
        self.message.args()
    }

    /// Counts the message as one that made no sense.
    #[cold]
    pub fn bad_message(self) {
        let bad = &self.connection.counters().bad_one_ways;
        bad.set(bad.get() + 1);
    }
}

impl<P: Platform> Connection<P> {
    /// Step 6: writes an answer. Nothing is written when the connection has ended.
    #[inline(always)]
    fn answer(
        &self,
        token: Token,
        info: Info,
        when: When,
        payload: impl FnOnce(&mut PayloadWriter<'_>),
    ) {
        if self.is_special() && !self.may_answer(token, info) {
            return;
        }
        self.link.answers_out().push(info, token, payload);
        if !when.is_at_once() {
            self.mark_dirty();
        }
    }

    /// Whether a connection that has ended or is traced still takes answers; one that is traced notes it.
    #[cold]
    #[inline(never)]
    fn may_answer(&self, token: Token, info: Info) -> bool {
        if self.failure().is_some() {
            return false;
        }
        if self.tracing() {
            let task = self.ledger.handle.running();
            self.event(Step::Reply, task, token, u32::from(info.method()));
        }
        true
    }

    #[cold]
    fn answer_dropped(&self, token: Token) {
        let status = self.dropped_status.get();
        self.answer(
            token,
            Info::new(Kind::Answer, status as u16, 0),
            When::LATER,
            |_| {},
        );
    }
}
