//! Step 1: a call, and the future that waits for its answer.
//!
//! A request is submitted eagerly, by [`Client::call`] itself, when a credit is free; the future that it returns then only waits.
//! Without a free credit the call waits its turn in the order of calls, and keeps its arguments until then.
//!
//! Invariant: a [`Call`] has exactly one of a ticket in the queue, a token entry, or nothing any more, and gives it back when it is
//! dropped.
//!
//! Neighbours: `submit` writes the request; `credit` has the queue; `answer` reads what is not the ordinary answer; `bulk` has
//! calls with more payload than a slot holds.

use crate::connection::Connection;
use crate::error::{CallError, SendError, TryCallError};
use crate::tokens::Entry;
use crate::wire::{SliceReader, Wire};
use alloc::rc::Rc;
use baton_inbox::{Info, Kind, PAYLOAD_WORDS, Platform};
use core::future::Future;
use core::marker::PhantomData;
use core::num::NonZeroU64;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// The right to call a peer. Cheap to clone.
pub struct Client<P: Platform>(pub(crate) Rc<Connection<P>>);

impl<P: Platform> Clone for Client<P> {
    fn clone(&self) -> Self {
        Client(self.0.clone())
    }
}

/// A call that is under way or waits for a credit; dropping it cancels it.
#[must_use = "a call that is dropped is cancelled"]
pub struct Call<'c, P: Platform, T: Wire> {
    connection: &'c Connection<P>,
    /// The credit with which the request is out, or [`Tokens::nobody`](crate::tokens::Tokens::nobody): so a poll that finds the ordinary
    /// case has asked the entry only.
    out: &'c Entry,
    /// Not one enum with `out`: such a value stays in registers until it is stored.
    holds: Holds,
    result: PhantomData<fn() -> T>,
}

/// What a call must give back when it is dropped: its entry, a place in the queue for credits, or nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Holds(u64);

impl Holds {
    const ENTRY: Holds = Holds(0);
    const NOTHING: Holds = Holds(u64::MAX);

    fn ticket(ticket: NonZeroU64) -> Holds {
        Holds(ticket.get())
    }

    /// The ticket, where it is one.
    fn as_ticket(self) -> Option<NonZeroU64> {
        match self {
            Holds::NOTHING => None,
            Holds(number) => NonZeroU64::new(number),
        }
    }
}

impl<P: Platform, T: Wire> Unpin for Call<'_, P, T> {}

impl<P: Platform> Client<P> {
    /// The connection that this client calls over.
    pub fn connection(&self) -> &Rc<Connection<P>> {
        &self.0
    }

    /// Calls `method`: writes the request at once if a credit is free, else when one is.
    #[inline(always)]
    pub fn call<A: Wire, T: Wire>(&self, method: u16, args: A) -> Call<'_, P, T> {
        let connection = &*self.0;
        let (out, holds) = match connection.tokens.take() {
            Some(entry) => {
                connection.submit(entry, method, &args);
                (entry, Holds::ENTRY)
            }
            None => {
                // Word by word: the arguments of a call that is not queued need no place in memory then.
                let mut words = [0; PAYLOAD_WORDS];
                args.put(&mut crate::wire::SliceWriter::new(&mut words));
                let [a, b, c, d, e, f] = words;
                let info = Info::new(Kind::Request, method, A::WORDS);
                let ticket = connection.queue_call(info, a, b, c, d, e, f);
                (connection.tokens.nobody(), Holds::ticket(ticket))
            }
        };
        Call {
            connection,
            out,
            holds,
            result: PhantomData,
        }
    }

    /// Calls `method` if a credit is free now.
    ///
    /// # Errors
    ///
    /// [`TryCallError`] brings the arguments back.
    #[inline]
    pub fn try_call<A: Wire, T: Wire>(
        &self,
        method: u16,
        args: A,
    ) -> Result<Call<'_, P, T>, TryCallError<A>> {
        let connection = &*self.0;
        if let Some(failure) = connection.failure() {
            return Err(TryCallError::Failed(args, failure));
        }
        let Some(entry) = connection.take_settled() else {
            return Err(TryCallError::Full(args));
        };
        connection.submit(entry, method, &args);
        Ok(Call {
            connection,
            out: entry,
            holds: Holds::ENTRY,
            result: PhantomData,
        })
    }

    /// Sends `method` one way if a credit is free now: nothing comes back, not even an error from the other side.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was sent then.
    pub fn try_send<A: Wire>(&self, method: u16, args: A) -> Result<(), SendError> {
        let connection = &self.0;
        if let Some(failure) = connection.failure() {
            return Err(SendError::Failed(failure));
        }
        if connection.tokens.capacity() == 0 {
            return Err(SendError::NoCredits);
        }
        let entry = connection.take_settled().ok_or(SendError::Full)?;
        connection.send(entry, method, &args);
        Ok(())
    }

    /// Sends `method` one way, when its turn for a credit has come.
    ///
    /// # Errors
    ///
    /// [`SendError::Failed`] when the connection has ended, [`SendError::NoCredits`] when the peer granted none.
    pub async fn send<A: Wire>(&self, method: u16, args: A) -> Result<(), SendError> {
        let entry = self.0.credit().await.map_err(|error| match error {
            CallError::Failed(failure) => SendError::Failed(failure),
            _ => SendError::NoCredits,
        })?;
        self.0.send(entry, method, &args);
        Ok(())
    }
}

impl<P: Platform, T: Wire> Future for Call<'_, P, T> {
    type Output = Result<T, CallError>;

    // Part of its caller: a result that is returned through memory would be read back in wider pieces than it was written in, and
    // that waits until all earlier stores, those into shared slots among them, have left the core.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let connection = this.connection;
        // Most calls are first polled right after they were submitted, and once more when their answer is in its slot.
        let entry = this.out;
        if entry.is_waiting() {
            connection.wait_for_answer(entry, context.waker());
            return Poll::Pending;
        }
        if let Some(mut payload) = connection.ordinary_answer::<T>(entry) {
            // Read in both branches: in that which calls nothing, the value stays in registers.
            let value = if connection.tokens.starving.get() != 0 {
                let value = T::get(&mut payload);
                // Before wakers are called, which may panic.
                this.end(connection);
                connection.release(entry);
                value
            } else {
                let value = T::get(&mut payload);
                connection.tokens.put_back(entry);
                value
            };
            // Last, so that the compiler sees in the destructor that nothing is left to do.
            this.end(connection);
            return Poll::Ready(value.ok_or(CallError::BadAnswer));
        }
        match this.poll_otherwise(context.waker()) {
            Poll::Ready(Ok(entry)) => {
                let (_, payload) = connection.tokens.saved(entry);
                let value = T::get(&mut SliceReader::new(&payload));
                this.end(connection);
                connection.release_special(entry);
                Poll::Ready(value.ok_or(CallError::BadAnswer))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<'c, P: Platform, T: Wire> Call<'c, P, T> {
    /// The call has nothing to give back any more.
    #[inline(always)]
    fn end(&mut self, connection: &'c Connection<P>) {
        self.out = connection.tokens.nobody();
        self.holds = Holds::NOTHING;
    }

    #[cold]
    fn leave_queue(&self, holds: Holds) {
        if let Some(ticket) = holds.as_ticket() {
            self.connection.leave_queue(ticket);
        }
    }

    /// All but the ordinary case. An answer that can be read is among the saved ones when this returns.
    #[cold]
    #[inline(never)]
    fn poll_otherwise(&mut self, waker: &Waker) -> Poll<Result<&'c Entry, CallError>> {
        let connection = self.connection;
        let entry = if self.holds == Holds::ENTRY {
            self.out
        } else {
            match self.poll_queue(waker) {
                Poll::Ready(Ok(entry)) => entry,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        };
        let Poll::Ready(answer) = connection.poll_answer(entry, waker) else {
            return Poll::Pending;
        };
        let read = answer.and_then(|answer| answer.save::<P, T>(connection, entry));
        if let Err(error) = read {
            self.end(connection);
            connection.release_special(entry);
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(entry))
    }

    /// Waits for the credit with which the request is submitted.
    #[cold]
    fn poll_queue(&mut self, waker: &Waker) -> Poll<Result<&'c Entry, CallError>> {
        let connection = self.connection;
        let Some(ticket) = self.holds.as_ticket() else {
            // Polled again after its end.
            return Poll::Ready(Err(CallError::BadAnswer));
        };
        if let Some(entry) = connection.tokens.poll_ticket(ticket, waker) {
            self.out = entry;
            self.holds = Holds::ENTRY;
            return Poll::Ready(Ok(entry));
        }
        let error = match connection.failure() {
            Some(failure) => CallError::Failed(failure),
            None if connection.tokens.capacity() == 0 => CallError::NoCredits,
            None => return Poll::Pending,
        };
        self.end(connection);
        connection.leave_queue(ticket);
        Poll::Ready(Err(error))
    }
}

impl<P: Platform, T: Wire> Drop for Call<'_, P, T> {
    // Part of its caller, so that a call need not stand in memory on the chance that it is dropped.
    #[inline(always)]
    fn drop(&mut self) {
        match self.holds {
            Holds::NOTHING => {}
            Holds::ENTRY => self.connection.abandon(self.out.index()),
            holds => self.leave_queue(holds),
        }
    }
}
