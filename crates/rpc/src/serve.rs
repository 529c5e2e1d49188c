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
use baton_inbox::{Band, Found, Kind, LaneReader, Platform, Publication, Status, Token};
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

    /// Makes room in `size` for each future that [`Service::serve`] may start.
    fn fit(size: &mut CellSize);

    /// Takes one one-way send.
    fn notify(&self, message: OneWay<'_, P>);
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

    fn fit(_size: &mut CellSize) {}

    fn notify(&self, message: OneWay<'_, P>) {
        message.bad_message();
    }
}

/// The serving side of a connection, whatever its service.
pub(crate) trait Serve<P: Platform> {
    /// The task entry of the first credit's handler; those of the others follow.
    fn first_task(&self) -> u16;
    /// Drains at most [`LANE_QUANTUM`] messages of the request lane and says how many there were. With no turn, a dispatcher drains.
    /// `first` is the first of them.
    fn drain(&self, turn: Option<InTurn<'_>>, first: Found<'_>) -> u32;

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

impl<P: Platform, S: Service<P>> Shared<P, S> {
    /// Copies a request out of its slot and has the service start its handler.
    #[inline(always)]
    fn begin<'a>(
        &'a self,
        cell: FreeCell<'a, P>,
        lane: &LaneReader<P::Publication>,
        found: Found<'_>,
        token: Token,
    ) -> Started {
        let info = found.info();
        let payload = found.copy();
        lane.advance();
        let message = Received { info, payload };
        self.service
            .serve(Request::new(&self.connection, token, message), cell)
    }
}

/// A service and the cells for its handlers, one a credit of the peer.
struct Serving<P: Platform, S: 'static>(Pool<P, Shared<P, S>>);

/// The right to poll a service's handlers when they start; without one, for a dispatcher, they are only made ready.
type InPool<'t, P, S> = Starts<'t, P, Shared<P, S>>;

/// Makes the serving side of `connection`, whose peer holds `credits` credits.
pub(crate) fn serving<P: Platform, S: Service<P>>(
    handle: &Handle<P>,
    connection: &Rc<Connection<P>>,
    service: Rc<S>,
    band: Band,
) -> Result<Box<dyn Serve<P>>, TableFull> {
    let mut size = CellSize::default();
    S::fit(&mut size);
    let shared = Shared {
        connection: connection.clone(),
        service,
    };
    let cells = connection.granted();
    Ok(Box::new(Serving(Pool::new(
        handle, cells, band, "handler", size, shared,
    )?)))
}

impl<P: Platform, S: Service<P>> Serve<P> for Serving<P, S> {
    fn first_task(&self) -> u16 {
        self.0.task(0)
    }

    fn drain(&self, turn: Option<InTurn<'_>>, first: Found<'_>) -> u32 {
        let connection = &*self.0.shared().connection;
        let starts = turn.and_then(|turn| self.0.starts(turn));
        let drained = match starts {
            Some(starts) if !connection.tracing() => {
                let mut drained = 1;
                // The first stands apart: often it is the only one, and the loop over more needs a frame of its own.
                if self.take_in::<false>(Some(starts), first)
                    && let Some(next) = connection.peek_request()
                {
                    drained += self.drain_more(starts, next);
                }
                drained
            }
            _ => self.drain_otherwise(starts, first),
        };
        if let Some(turn) = turn {
            turn.end();
        }
        connection.link.publish_request_head();
        let heads = &connection.ledger.heads;
        heads.set(heads.get() | connection.bit);
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
        let starts = turn.and_then(|turn| self.0.starts(turn));
        if P::Publication::ONE_RING && self.message::<false>(starts, lane, found, token).is_err() {
            lane.advance();
        }
    }
}

impl<P: Platform, S: Service<P>> Serving<P, S> {
    /// Drains the rest of a quantum, one message of which has been counted, and says how many there were.
    #[inline(never)]
    fn drain_more(&self, starts: InPool<'_, P, S>, first: Found<'_>) -> u32 {
        self.drain_rest::<false>(Some(starts), first)
    }

    /// As [`Serving::drain_more`], with a trace, or for a dispatcher.
    #[inline(never)]
    fn drain_otherwise(&self, starts: Option<InPool<'_, P, S>>, first: Found<'_>) -> u32 {
        if self.0.shared().connection.tracing() {
            self.drain_rest::<true>(starts, first)
        } else {
            self.drain_rest::<false>(starts, first)
        }
    }

    #[inline(always)]
    fn drain_rest<const TRACE: bool>(
        &self,
        starts: Option<InPool<'_, P, S>>,
        first: Found<'_>,
    ) -> u32 {
        let mut drained = 0;
        let mut found = first;
        loop {
            drained += 1;
            found.announce_next();
            if !self.take_in::<TRACE>(starts, found) || drained == LANE_QUANTUM - 1 {
                return drained;
            }
            match self.0.shared().connection.peek_request() {
                Some(next) => found = next,
                None => return drained,
            }
        }
    }

    /// Step 4: pops, copies once, validates. Says no when the peer is corrupt.
    #[inline(always)]
    fn take_in<const TRACE: bool>(
        &self,
        starts: Option<InPool<'_, P, S>>,
        found: Found<'_>,
    ) -> bool {
        let connection = &*self.0.shared().connection;
        let lane = &connection.link.requests_in;
        match self.message::<TRACE>(starts, lane, found, found.token()) {
            Ok(()) => true,
            Err(violation) => {
                connection.corrupt(violation);
                false
            }
        }
    }

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
            connection.take_in_answer::<TRACE>(starts.map(Starts::turn), lane, token);
            Ok(())
        } else {
            self.other(starts, lane, found, token)
        }
    }

    /// Step 5: starts the handler in the cell of the request's credit.
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
            Some(starts) => starts.start(
                index,
                #[inline(always)]
                move |shared, cell| shared.begin(cell, lane, found, token),
            )?,
            None => self.0.place(index, move |shared, cell| {
                shared.begin(cell, lane, found, token)
            })?,
        };
        if let Started::Waits(_) = started
            && let Some(serving) = self.0.shared().connection.serving.get(usize::from(index))
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
