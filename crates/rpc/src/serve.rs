//! Steps 4, 5 and 6: requests come in, handlers run, answers go out.
//!
//! The service is monomorphised into the drain loop: a request is copied once out of its slot, its arguments go straight into the
//! future that serves it, and that future's first poll happens on the spot. One virtual call a lane and turn stands before all this.
//!
//! Neighbours: `port` calls [`Serve::drain`]; `request` has what handlers are given, and step 6; the cells are `baton-executor`'s
//! [`Pool`].

use crate::connection::Connection;
use crate::error::Violation;
use crate::port::LANE_QUANTUM;
use crate::request::{OneWay, Received, Request};
use alloc::boxed::Box;
use alloc::rc::Rc;
use baton_executor::{
    CellInUse, CellSize, FreeCell, Handle, InTurn, Pool, Started, Starts, TableFull,
};
use baton_inbox::{Band, Found, Info, Kind, LaneReader, Platform, Publication, Status, Token};
use baton_trace::Step;

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

    /// Serves one request: starts the future that answers it, the handler's, with [`Reply::send`](crate::request::Reply::send) for its output. One credit is one request, so that future must not wait for anything after its reply.
    ///
    /// A `cell` that is not used is free again.
    fn serve<'a>(&'a self, request: Request<'a, P>, cell: FreeCell<'a, P>) -> Started;

    /// Room for each future that [`Service::serve`] may start.
    const CELLS: CellSize;

    /// Whether `head`, the upper half of a message's first word, is [`request_head`] of one of the methods. Then one test has told kind,
    /// method and length, and the compiler leaves out what [`Service::serve`] asks again; any other head is seen to apart.
    #[inline(always)]
    fn is_ordinary(_head: u32) -> bool {
        false
    }

    /// Takes one one-way send.
    fn notify(&self, message: OneWay<'_, P>);
}

/// The upper half of the first word of a request for `method` with `words` words of payload.
pub const fn request_head(method: u16, words: usize) -> u32 {
    Info::new(Kind::Request, method, words).raw()
}

/// What serves a connection that was bound to no service.
pub(crate) struct NoService;

impl<P: Platform> Service<P> for NoService {
    const INTERFACE: Interface = Interface {
        name: "",
        hash: 0,
        methods: &[],
    };

    fn serve<'a>(&'a self, request: Request<'a, P>, _cell: FreeCell<'a, P>) -> Started {
        request.into_reply().refuse(Status::NoService);
        Started::Finished
    }

    const CELLS: CellSize = CellSize::NONE;

    fn notify(&self, message: OneWay<'_, P>) {
        message.bad_message();
    }
}

/// The serving side of a connection, whatever its service.
pub(crate) trait Serve<P: Platform> {
    /// The task entry of the first credit's handler; those of the others follow.
    fn first_task(&self) -> u16;
    /// Drains at most [`LANE_QUANTUM`] messages of the request lane and says how many there were. `first` is the first of them.
    fn drain(&self, turn: InTurn<'_>, first: Found<'_>) -> u32;
    /// The same for a dispatcher.
    fn drain_for_dispatcher(&self, first: Found<'_>) -> u32;

    /// Takes one message out of a ring that all senders share.
    fn take(
        &self,
        turn: Option<InTurn<'_>>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    );
}

/// What the handlers of one connection share.
struct Shared<P: Platform, S> {
    connection: Rc<Connection<P>>,
    service: Rc<S>,
}

/// What a handler borrows of that.
struct Lent<'a, P: Platform, S> {
    connection: &'a Connection<P>,
    service: &'a S,
}

impl<P: Platform, S> Clone for Lent<'_, P, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Platform, S> Copy for Lent<'_, P, S> {}

impl<P: Platform, S: Service<P>> baton_executor::Shared for Shared<P, S> {
    const CELLS: CellSize = S::CELLS;

    type Lent<'a> = Lent<'a, P, S>;

    #[inline(always)]
    fn lend(&self) -> Lent<'_, P, S> {
        Lent {
            connection: &self.connection,
            service: &self.service,
        }
    }
}

impl<'a, P: Platform, S: Service<P>> Lent<'a, P, S> {
    /// Copies a request out of its slot, goes on to the next, and has the service start its handler.
    #[inline(always)]
    fn begin(
        self,
        cell: FreeCell<'a, P>,
        advance: impl FnOnce(),
        found: Found<'_>,
        token: Token,
    ) -> Started {
        let info = found.info();
        let payload = found.copy();
        advance();
        let message = Received { info, payload };
        self.service
            .serve(Request::new(self.connection, token, message), cell)
    }
}

/// A service and the cells for its handlers, one a credit of the peer.
struct Serving<P: Platform, S: Service<P>>(Pool<P, Shared<P, S>>);

/// The right to poll a service's handlers when they start; without one, for a dispatcher, they are only made ready.
type InPool<'t, P, S> = Starts<'t, P, Shared<P, S>>;

/// Makes the serving side of `connection`, whose peer holds `credits` credits.
pub(crate) fn serving<P: Platform, S: Service<P>>(
    handle: &Handle<P>,
    connection: &Rc<Connection<P>>,
    service: Rc<S>,
    band: Band,
) -> Result<Box<dyn Serve<P>>, TableFull> {
    let shared = Shared {
        connection: connection.clone(),
        service,
    };
    let cells = connection.granted();
    Ok(Box::new(Serving(Pool::new(
        handle, cells, band, "handler", shared,
    )?)))
}

impl<P: Platform, S: Service<P>> Serve<P> for Serving<P, S> {
    fn first_task(&self) -> u16 {
        self.0.task(0)
    }

    fn drain(&self, turn: InTurn<'_>, first: Found<'_>) -> u32 {
        let connection = &*self.0.shared().connection;
        let _owed = Owed::new(connection);
        let drained = match self.0.starts(turn) {
            Some(starts) if !connection.tracing() => self.drain_on_the_spot(starts, first),
            _ => self.drain_otherwise(Some(turn), first),
        };
        connection.link.publish_request_head();
        drained
    }

    fn drain_for_dispatcher(&self, first: Found<'_>) -> u32 {
        let connection = &*self.0.shared().connection;
        let _owed = Owed::new(connection);
        let drained = self.drain_otherwise(None, first);
        connection.link.publish_request_head();
        drained
    }

    fn take(
        &self,
        turn: Option<InTurn<'_>>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    ) {
        // Elsewhere nobody calls this; then the handler is not made part of it either.
        if !P::Publication::ONE_RING {
            return;
        }
        let _owed = Owed::new(&self.0.shared().connection);
        let starts = turn.and_then(|turn| self.0.starts(turn));
        if let Some(starts) = starts
            && !starts.lent().connection.tracing()
            && self.take_in(starts, || lane.advance(), found, token)
        {
            return;
        }
        if self.message::<false>(starts, lane, found, token).is_err() {
            lane.advance();
        }
        if let Some(turn) = turn {
            turn.end();
        }
    }
}

/// What is owed to the peer for what is drained now, noted when it is dropped, also when a handler panics.
struct Owed<'a, P: Platform> {
    connection: &'a Connection<P>,
    /// Position of the next answer before.
    answers: u32,
}

impl<'a, P: Platform> Owed<'a, P> {
    #[inline(always)]
    fn new(connection: &'a Connection<P>) -> Self {
        Owed {
            connection,
            answers: connection.link.answers_out().tail(),
        }
    }
}

impl<P: Platform> Drop for Owed<'_, P> {
    #[inline(always)]
    fn drop(&mut self) {
        let ledger = &self.connection.ledger;
        // Who hears of messages hears of heads, too.
        if self.connection.link.answers_out().tail() == self.answers {
            ledger.owe_head(self.connection.bit);
        } else {
            ledger.dirty.set(ledger.dirty.get() | self.connection.bit);
        }
    }
}

impl<P: Platform, S: Service<P>> Serving<P, S> {
    /// Drains at most a quantum and polls the handlers as they start.
    #[inline(always)]
    fn drain_on_the_spot(&self, starts: InPool<'_, P, S>, first: Found<'_>) -> u32 {
        let turn = starts.turn();
        starts.announce();
        // The first stands apart: often it is the only one, and the loop over more needs a frame of its own.
        let connection = starts.lent().connection;
        let lane = &connection.link.requests_in;
        if !self.take_in(starts, || lane.advance(), first, first.token())
            && !self.take_in_other::<false>(Some(turn), first)
        {
            return 1;
        }
        match connection.peek_request() {
            Some(next) => 1 + self.drain_more(turn, next),
            None => 1,
        }
    }

    /// Drains the rest of a quantum, one message of which has been counted, and says how many there were.
    #[inline(never)]
    fn drain_more(&self, turn: InTurn<'_>, first: Found<'_>) -> u32 {
        // Looked up once more, rather than passed through memory.
        let Some(starts) = self.0.starts(turn) else {
            return 0;
        };
        let connection = starts.lent().connection;
        let lane = &connection.link.requests_in;
        let mut walk = lane.walk();
        let mut found = first;
        let begin = lane.head();
        let end = begin.wrapping_add(LANE_QUANTUM - 1);
        loop {
            found.announce_next();
            if !self.take_in(starts, || walk.advance(), found, found.token()) {
                if !self.take_in_other::<false>(Some(turn), found) {
                    break;
                }
                walk = lane.walk();
            }
            if lane.head() == end {
                break;
            }
            match walk.peek() {
                Ok(Some(next)) => found = next,
                Ok(None) => break,
                Err(_) => {
                    connection.corrupt(Violation::Tail);
                    break;
                }
            }
        }
        lane.head().wrapping_sub(begin)
    }

    /// Drains a quantum with a trace, or for a dispatcher, and says how many messages there were.
    #[inline(never)]
    fn drain_otherwise(&self, turn: Option<InTurn<'_>>, first: Found<'_>) -> u32 {
        let connection = &*self.0.shared().connection;
        let mut drained = 0;
        let mut found = first;
        loop {
            drained += 1;
            let taken_in = if connection.tracing() {
                self.take_in_other::<true>(turn, found)
            } else {
                self.take_in_other::<false>(turn, found)
            };
            if !taken_in || drained == LANE_QUANTUM {
                break;
            }
            match connection.peek_request() {
                Some(next) => found = next,
                None => break,
            }
        }
        drained
    }

    /// Step 4: pops, copies once, validates. Says no, and leaves the message, when it is no ordinary request.
    #[inline(always)]
    fn take_in(
        &self,
        starts: InPool<'_, P, S>,
        advance: impl FnOnce(),
        found: Found<'_>,
        token: Token,
    ) -> bool {
        if S::is_ordinary(found.info().raw())
            && let Ok(started) = self.start(starts, advance, found, token)
        {
            self.note_waiting(started, token);
            return true;
        }
        false
    }

    /// Step 4 for any message. Says no when the peer is corrupt.
    #[inline(never)]
    fn take_in_other<const TRACE: bool>(&self, turn: Option<InTurn<'_>>, found: Found<'_>) -> bool {
        // Looked up once more, as there.
        let starts = turn.and_then(|turn| self.0.starts(turn));
        let connection = &*self.0.shared().connection;
        let lane = &connection.link.requests_in;
        let taken = self.message::<TRACE>(starts, lane, found, found.token());
        if let Some(turn) = turn {
            turn.end();
        }
        match taken {
            Ok(()) => true,
            Err(violation) => {
                connection.corrupt(violation);
                false
            }
        }
    }

    /// Step 5: starts the handler in the cell of the request's credit, and polls it.
    #[inline(always)]
    fn start(
        &self,
        starts: InPool<'_, P, S>,
        advance: impl FnOnce(),
        found: Found<'_>,
        token: Token,
    ) -> Result<Started, CellInUse> {
        starts.start(
            token.index(),
            #[inline(always)]
            move |lent, cell| lent.begin(cell, advance, found, token),
        )
    }

    /// A handler that waits can be cancelled by its token.
    #[inline(always)]
    fn note_waiting(&self, started: Started, token: Token) {
        if let Started::Waits(_) = started
            && let Some(serving) = self
                .0
                .shared()
                .connection
                .serving
                .get(usize::from(token.index()))
        {
            serving.set(token);
        }
    }

    /// A message that is not known to be an ordinary request.
    #[inline(always)]
    fn message<const TRACE: bool>(
        &self,
        starts: Option<InPool<'_, P, S>>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    ) -> Result<(), Violation> {
        if found.info().is_request() {
            self.request::<TRACE>(starts, lane, found, token)
                .map_err(|_| Violation::Credit)
        } else if P::Publication::ONE_LANE && found.info().kind() == Some(Kind::Answer) {
            let connection = &self.0.shared().connection;
            connection.take_in_answer::<TRACE>(starts.map(Starts::turn), token);
            lane.advance();
            Ok(())
        } else {
            self.other(starts, lane, found, token)
        }
    }

    #[inline(always)]
    fn request<const TRACE: bool>(
        &self,
        starts: Option<InPool<'_, P, S>>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    ) -> Result<(), CellInUse> {
        let info = found.info();
        let index = token.index();
        if TRACE {
            let method = u32::from(info.method());
            let connection = &self.0.shared().connection;
            connection.event(Step::Drain, self.0.task(index), token, method);
            connection.event(Step::Serve, self.0.task(index), token, method);
        }
        let started = match starts {
            Some(starts) => {
                starts.note(index);
                self.start(starts, || lane.advance(), found, token)?
            }
            None => self.0.place(index, move |lent, cell| {
                lent.begin(cell, || lane.advance(), found, token)
            })?,
        };
        self.note_waiting(started, token);
        Ok(())
    }

    /// One-way sends, CANCEL, and what no correct peer sends.
    #[cold]
    #[inline(never)]
    fn other(
        &self,
        starts: Option<InPool<'_, P, S>>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    ) -> Result<(), Violation> {
        let shared = self.0.shared();
        let connection = &*shared.connection;
        let info = found.info();
        match info.kind() {
            Some(Kind::OneWay) => {
                let payload = found.copy();
                lane.advance();
                if connection.tracing() {
                    let method = u32::from(info.method());
                    connection.event(Step::OneWay, u16::MAX, token, method);
                }
                shared.service.notify(OneWay {
                    connection,
                    message: Received { info, payload },
                });
                Ok(())
            }
            Some(Kind::Cancel) => {
                lane.advance();
                if let Some(starts) = starts {
                    // What is cancelled may have been polled last.
                    starts.turn().end();
                }
                self.cancel(connection, token);
                Ok(())
            }
            Some(Kind::Request | Kind::Answer) | None => Err(Violation::Kind),
        }
    }

    fn cancel(&self, connection: &Connection<P>, token: Token) {
        let index = token.index();
        let serving = connection.serving.get(usize::from(index));
        let waits = self.0.is_waiting(index) && serving.is_some_and(|s| s.get() == token);
        if !waits {
            let late = &connection.counters().late_cancels;
            late.set(late.get() + 1);
            return;
        }
        if connection.tracing() {
            connection.event(Step::Cancel, self.0.task(index), token, 0);
        }
        // Dropping the handler drops its reply, which answers.
        connection.dropped_status.set(Status::Cancelled);
        self.0.cancel(index);
        connection.dropped_status.set(Status::NoReply);
    }
}
