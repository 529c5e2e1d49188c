//! Steps 4, 5 and 6: requests come in, handlers run, answers go out.
//!
//! The service is monomorphised into the drain loop: a request is copied once out of its slot, straight into the future that
//! serves it, and that future's first poll happens on the spot. One virtual call a lane and turn stands before all this.

use crate::connection::Connection;
use crate::error::Violation;
use crate::port::LANE_QUANTUM;
use crate::wire::{SliceReader, Wire};
use alloc::boxed::Box;
use alloc::rc::Rc;
use baton_executor::{CellInUse, Handle, InTurn, Pool, Started, TableFull};
use baton_inbox::{
    Band, Found, Info, Kind, LaneReader, PAYLOAD_WORDS, PayloadWriter, Platform, Publication,
    Status, Token,
};
use baton_trace::Step;
use core::future::Future;

/// What a service is called and what it can do; both sides of a connection must agree on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The trait's name.
    pub name: &'static str,
    /// A hash over the signatures of its methods in order.
    pub hash: u64,
    /// Their names; a method's number is its place here.
    pub methods: &'static [&'static str],
}

/// A service: what `#[service]` generates around the user's trait.
pub trait Service<P: Platform>: 'static {
    /// The interface that clients must have been built with.
    const INTERFACE: Interface;

    /// Serves one request; the future ends by consuming it.
    ///
    /// The future must be an `async` block or function, or like one leave nothing to be dropped when it has finished: its
    /// destructor does not run then (what it holds would leak). One credit is one request, so it must not wait for anything
    /// after its reply.
    fn serve(self: Rc<Self>, request: Request<P>) -> impl Future<Output = ()> + 'static;

    /// Takes one one-way send.
    fn notify(&self, message: OneWay<P>);
}

/// A private copy of a message.
pub(crate) struct Received {
    pub(crate) info: Info,
    pub(crate) token: Token,
    /// Words behind the message's length mean nothing.
    pub(crate) payload: [u64; PAYLOAD_WORDS],
}

/// A request that has not been answered. Dropped unanswered, it is answered with an error.
pub struct Request<P: Platform> {
    pub(crate) connection: Rc<Connection<P>>,
    pub(crate) message: Received,
}

/// A one-way send.
pub struct OneWay<P: Platform> {
    connection: Rc<Connection<P>>,
    message: Received,
}

impl<P: Platform> Request<P> {
    /// The method that is asked for.
    #[inline]
    pub fn method(&self) -> u16 {
        self.message.info.method()
    }

    /// Who asks.
    pub fn connection(&self) -> &Rc<Connection<P>> {
        &self.connection
    }

    /// The arguments, or none when the message is too short or holds no such values.
    #[inline]
    pub fn args<A: Wire>(&self) -> Option<A> {
        read_args(&self.message)
    }

    /// Answers with `value`.
    #[inline(always)]
    pub fn reply<T: Wire>(self, value: T) {
        let info = Info::new(Kind::Answer, Status::Done as u16, T::WORDS);
        self.answer(info, |out| value.put(out));
    }

    /// Answers that the arguments make no sense.
    #[cold]
    pub fn refuse_bad_arguments(self) {
        self.refuse(Status::BadArguments);
    }

    /// Answers that there is no such method.
    #[cold]
    pub fn refuse_unknown_method(self) {
        self.refuse(Status::UnknownMethod);
    }

    #[inline(never)]
    fn refuse(self, status: Status) {
        self.answer(Info::new(Kind::Answer, status as u16, 0), |_| {});
    }

    #[inline(always)]
    pub(crate) fn answer(mut self, info: Info, payload: impl FnOnce(&mut PayloadWriter<'_>)) {
        let token = core::mem::replace(&mut self.message.token, Token::NONE);
        self.connection.answer(token, info, payload);
    }
}

impl<P: Platform> Drop for Request<P> {
    #[inline]
    fn drop(&mut self) {
        if self.message.token != Token::NONE {
            self.connection.answer_dropped(self.message.token);
        }
    }
}

impl<P: Platform> OneWay<P> {
    /// The method that is meant.
    #[inline]
    pub fn method(&self) -> u16 {
        self.message.info.method()
    }

    /// Who sent it.
    pub fn connection(&self) -> &Rc<Connection<P>> {
        &self.connection
    }

    /// The arguments, or none when the message is too short or holds no such values.
    #[inline]
    pub fn args<A: Wire>(&self) -> Option<A> {
        read_args(&self.message)
    }

    /// Counts the message as one that made no sense.
    #[cold]
    pub fn bad_message(self) {
        let bad = &self.connection.counters().bad_one_ways;
        bad.set(bad.get() + 1);
    }
}

#[inline]
fn read_args<A: Wire>(message: &Received) -> Option<A> {
    if message.info.words() < A::WORDS {
        return None;
    }
    A::get(&mut SliceReader::new(&message.payload))
}

impl<P: Platform> Connection<P> {
    /// Step 6: writes an answer. Nothing is written when the connection has ended.
    #[inline(always)]
    pub(crate) fn answer(
        &self,
        token: Token,
        info: Info,
        payload: impl FnOnce(&mut PayloadWriter<'_>),
    ) {
        if self.failure.get().is_some() {
            return;
        }
        if self.tracing() {
            let task = self.ledger.handle.running();
            self.event(Step::Reply, task, token, u32::from(info.method()));
        }
        self.link.answers_out().push(info, token, payload);
        self.mark_dirty();
    }

    #[cold]
    fn answer_dropped(&self, token: Token) {
        let status = self.dropped_status.get();
        self.answer(token, Info::new(Kind::Answer, status as u16, 0), |_| {});
    }
}

/// What serves a connection that was bound to no service.
pub(crate) struct NoService;

impl<P: Platform> Service<P> for NoService {
    const INTERFACE: Interface = Interface {
        name: "",
        hash: 0,
        methods: &[],
    };

    async fn serve(self: Rc<Self>, request: Request<P>) {
        request.refuse(Status::NoService);
    }

    fn notify(&self, message: OneWay<P>) {
        message.bad_message();
    }
}

/// The serving side of a connection, whatever its service.
pub(crate) trait Serve<P: Platform> {
    /// The task entry of the first credit's handler; those of the others follow.
    fn first_task(&self) -> u16;
    /// Drains at most [`LANE_QUANTUM`] messages of the request lane and says how many there were. With no turn, a dispatcher drains.
    /// `first` is the first of them.
    fn drain(
        &self,
        turn: Option<InTurn<'_>>,
        connection: &Rc<Connection<P>>,
        first: Found<'_>,
    ) -> u32;

    /// Takes one message out of a ring that all senders share.
    fn take(
        &self,
        turn: Option<InTurn<'_>>,
        connection: &Rc<Connection<P>>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    );
}

/// A service and the cells for its handlers, one a credit of the peer.
struct Serving<P, F, M, N>
where
    P: Platform,
    F: Future<Output = ()> + 'static,
{
    pool: Pool<P, F>,
    start: M,
    notify: N,
}

/// Makes the serving side of a connection with `credits` credits.
pub(crate) fn serving<P: Platform, S: Service<P>>(
    handle: &Handle<P>,
    service: Rc<S>,
    credits: u32,
    band: Band,
) -> Result<Box<dyn Serve<P>>, TableFull> {
    let for_one_ways = service.clone();
    make(
        handle,
        credits,
        band,
        move |request| S::serve(service.clone(), request),
        move |message| for_one_ways.notify(message),
    )
}

/// Names the type of the handlers' futures, which nobody can write down.
fn make<P, F, M, N>(
    handle: &Handle<P>,
    credits: u32,
    band: Band,
    start: M,
    notify: N,
) -> Result<Box<dyn Serve<P>>, TableFull>
where
    P: Platform,
    F: Future<Output = ()> + 'static,
    M: Fn(Request<P>) -> F + 'static,
    N: Fn(OneWay<P>) + 'static,
{
    Ok(Box::new(Serving {
        pool: Pool::new(handle, credits as usize, band, "handler")?,
        start,
        notify,
    }))
}

impl<P, F, M, N> Serve<P> for Serving<P, F, M, N>
where
    P: Platform,
    F: Future<Output = ()> + 'static,
    M: Fn(Request<P>) -> F,
    N: Fn(OneWay<P>),
{
    fn first_task(&self) -> u16 {
        self.pool.task(0)
    }

    fn drain(
        &self,
        turn: Option<InTurn<'_>>,
        connection: &Rc<Connection<P>>,
        first: Found<'_>,
    ) -> u32 {
        if connection.tracing() {
            self.drain_traced(turn, connection, first)
        } else {
            self.drain_with::<false>(turn, connection, first)
        }
    }

    fn take(
        &self,
        turn: Option<InTurn<'_>>,
        connection: &Rc<Connection<P>>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    ) {
        // Elsewhere nobody calls this; then the handler is not made part of it either.
        if P::Publication::ONE_RING
            && self
                .message::<false>(turn, connection, lane, found, token)
                .is_err()
        {
            lane.advance();
        }
    }
}

impl<P, F, M, N> Serving<P, F, M, N>
where
    P: Platform,
    F: Future<Output = ()> + 'static,
    M: Fn(Request<P>) -> F,
    N: Fn(OneWay<P>),
{
    /// Step 4: pops, copies once, validates.
    #[inline(always)]
    fn drain_with<const TRACE: bool>(
        &self,
        turn: Option<InTurn<'_>>,
        connection: &Rc<Connection<P>>,
        first: Found<'_>,
    ) -> u32 {
        let lane = &connection.link.requests_in;
        let mut drained = 0;
        let mut found = first;
        loop {
            drained += 1;
            let token = found.token();
            if let Err(violation) = self.message::<TRACE>(turn, connection, lane, found, token) {
                connection.corrupt(violation);
                break;
            }
            if drained == LANE_QUANTUM {
                break;
            }
            found = match lane.peek() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(_) => {
                    connection.corrupt(Violation::Tail);
                    break;
                }
            };
        }
        connection.link.publish_request_head();
        let heads = &connection.ledger.heads;
        heads.set(heads.get() | connection.bit);
        drained
    }

    #[cold]
    #[inline(never)]
    fn drain_traced(
        &self,
        turn: Option<InTurn<'_>>,
        connection: &Rc<Connection<P>>,
        first: Found<'_>,
    ) -> u32 {
        self.drain_with::<true>(turn, connection, first)
    }

    #[inline(always)]
    fn message<const TRACE: bool>(
        &self,
        turn: Option<InTurn<'_>>,
        connection: &Rc<Connection<P>>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    ) -> Result<(), Violation> {
        if found.info().is_request() {
            self.request::<TRACE>(connection, lane, found, token)
                .map_err(|_| Violation::Credit)
        } else if P::Publication::ONE_LANE && found.info().kind() == Some(Kind::Answer) {
            connection.take_in_answer::<TRACE>(turn, lane, token);
            Ok(())
        } else {
            self.other(connection, lane, found, token)
        }
    }

    /// Step 5: starts the handler in the cell of the request's credit.
    #[inline(always)]
    fn request<const TRACE: bool>(
        &self,
        connection: &Rc<Connection<P>>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    ) -> Result<(), CellInUse> {
        let info = found.info();
        let index = token.index();
        if TRACE {
            let method = u32::from(info.method());
            connection.event(Step::Drain, self.pool.task(index), token, method);
            connection.event(Step::Serve, self.pool.task(index), token, method);
        }
        let make = || {
            let payload = found.copy();
            lane.advance();
            (self.start)(Request {
                connection: connection.clone(),
                message: Received {
                    info,
                    token,
                    payload,
                },
            })
        };
        let started = if P::Publication::DISPATCHED {
            Started::Waits(self.pool.place(index, make)?)
        } else {
            self.pool.start(index, make)?
        };
        if let Started::Waits(_) = started
            && let Some(serving) = connection.serving.get(usize::from(index))
        {
            serving.set(token);
        }
        Ok(())
    }

    /// One-way sends, CANCEL, and what no correct peer sends.
    #[cold]
    #[inline(never)]
    fn other(
        &self,
        connection: &Rc<Connection<P>>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    ) -> Result<(), Violation> {
        let info = found.info();
        match info.kind() {
            Some(Kind::OneWay) => {
                let payload = found.copy();
                lane.advance();
                if connection.tracing() {
                    let method = u32::from(info.method());
                    connection.event(Step::OneWay, u16::MAX, token, method);
                }
                (self.notify)(OneWay {
                    connection: connection.clone(),
                    message: Received {
                        info,
                        token,
                        payload,
                    },
                });
                Ok(())
            }
            Some(Kind::Cancel) => {
                lane.advance();
                self.cancel(connection, token);
                Ok(())
            }
            Some(Kind::Request | Kind::Answer) | None => Err(Violation::Kind),
        }
    }

    fn cancel(&self, connection: &Rc<Connection<P>>, token: Token) {
        let index = token.index();
        let serving = connection.serving.get(usize::from(index));
        let waits = self.pool.is_waiting(index) && serving.is_some_and(|s| s.get() == token);
        if !waits {
            let late = &connection.counters().late_cancels;
            late.set(late.get() + 1);
            return;
        }
        if connection.tracing() {
            connection.event(Step::Cancel, self.pool.task(index), token, 0);
        }
        // Dropping the handler drops its request, which answers.
        connection.dropped_status.set(Status::Cancelled);
        self.pool.cancel(index);
        connection.dropped_status.set(Status::NoReply);
    }
}
