//! Steps 1 and 2, and the end of 8: a call.
//!
//! A request is submitted eagerly, by [`Client::call`] itself, when a credit is free; the future that it returns then only waits.
//! Without a free credit the call waits its turn in the order of calls, and keeps its arguments until then.

use crate::connection::Connection;
use crate::error::{CallError, SendError, TryCallError};
use crate::tokens::{NO_ENTRY, State};
use crate::wire::{Wire, WireReader, WireWriter};
use alloc::rc::Rc;
use baton_executor::NO_TASK;
use baton_inbox::{Info, Kind, PayloadReader, PayloadWriter, Platform};
use baton_trace::Step;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

impl WireWriter for PayloadWriter<'_> {
    #[inline]
    fn word(&mut self, word: u64) {
        PayloadWriter::word(self, word);
    }
}

impl WireReader for PayloadReader<'_> {
    #[inline]
    fn word(&mut self) -> u64 {
        PayloadReader::word(self)
    }
}

/// The right to call a peer. Cheap to clone.
pub struct Client<P: Platform>(pub(crate) Rc<Connection<P>>);

impl<P: Platform> Clone for Client<P> {
    fn clone(&self) -> Self {
        Client(self.0.clone())
    }
}

/// A call that is under way or waits for a credit; dropping it cancels it.
#[must_use = "a call that is dropped is cancelled"]
pub struct Call<'c, P: Platform, A: Wire, T: Wire> {
    connection: &'c Rc<Connection<P>>,
    /// The entry, when the request has been submitted.
    entry: u16,
    method: u16,
    /// The place in the queue for credits, and the arguments, when it has not.
    queued: Option<(u64, A)>,
    result: PhantomData<fn() -> T>,
}

impl<P: Platform, A: Wire, T: Wire> Unpin for Call<'_, P, A, T> {}

impl<P: Platform> Client<P> {
    /// The connection that this client calls over.
    pub fn connection(&self) -> &Rc<Connection<P>> {
        &self.0
    }

    /// Calls `method`: writes the request at once if a credit is free, else waits its turn when polled.
    #[inline]
    pub fn call<A: Wire, T: Wire>(&self, method: u16, args: A) -> Call<'_, P, A, T> {
        let connection = &self.0;
        let (entry, queued) = match connection.tokens.take() {
            Some(entry) => {
                connection.submit(entry, method, &args);
                (entry, None)
            }
            None => (NO_ENTRY, Some((connection.wait_for_credit(), args))),
        };
        Call {
            connection,
            entry,
            method,
            queued,
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
    ) -> Result<Call<'_, P, A, T>, TryCallError<A>> {
        let connection = &self.0;
        if let Some(failure) = connection.failure() {
            return Err(TryCallError::Failed(args, failure));
        }
        match connection.take_settled() {
            Some(entry) => {
                connection.submit(entry, method, &args);
                Ok(Call {
                    connection,
                    entry,
                    method,
                    queued: None,
                    result: PhantomData,
                })
            }
            None => Err(TryCallError::Full(args)),
        }
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

impl<P: Platform> Connection<P> {
    /// Step 2: writes the request of entry `index`, which the caller has just taken.
    #[inline]
    fn submit<A: Wire>(&self, index: u16, method: u16, args: &A) {
        let info = Info::new(Kind::Request, method, A::WORDS);
        self.submit_with(index, info, |out| args.put(out));
    }

    #[inline]
    pub(crate) fn submit_with(
        &self,
        index: u16,
        info: Info,
        payload: impl FnOnce(&mut PayloadWriter<'_>),
    ) {
        let Some(entry) = self.tokens.entry(index) else {
            return;
        };
        let token = self.tokens.token(index, entry);
        entry.expect.set(token);
        entry.state.set(State::Waiting);
        entry.waiter.set(NO_TASK);
        entry.method.set(info.method());
        entry.position.set(self.link.requests_out.tail());
        if self.tracing() {
            let task = self.ledger.handle.running();
            self.event(Step::Call, task, token, u32::from(info.method()));
            self.event(Step::Submit, task, token, u32::from(info.method()));
        }
        self.link.requests_out.push(info, token, payload);
        self.mark_dirty();
    }

    fn send<A: Wire>(&self, index: u16, method: u16, args: &A) {
        let Some(entry) = self.tokens.entry(index) else {
            return;
        };
        let token = self.tokens.token(index, entry);
        entry.state.set(State::OneWay);
        entry.method.set(method);
        entry.position.set(self.link.requests_out.tail());
        self.tokens.push_by_head(index);
        if self.tracing() {
            let task = self.ledger.handle.running();
            self.event(Step::OneWay, task, token, u32::from(method));
        }
        let info = Info::new(Kind::OneWay, method, A::WORDS);
        self.link
            .requests_out
            .push(info, token, |out| args.put(out));
        self.mark_dirty();
        if self.tokens.starving.get() != 0 {
            self.mark_unsettled();
        }
    }

    /// Takes a free credit, looking at the peer's head when there seems to be none.
    pub(crate) fn take_settled(&self) -> Option<u16> {
        if let Some(index) = self.tokens.take() {
            return Some(index);
        }
        if self.tokens.has_by_head() && self.failure().is_none() {
            self.settle();
        }
        self.tokens.take()
    }

    /// Joins the queue for credits.
    #[cold]
    fn wait_for_credit(&self) -> u64 {
        let ticket = self.tokens.queue();
        if self.tokens.has_by_head() && self.failure().is_none() {
            self.mark_unsettled();
        }
        if self.tracing() {
            let task = self.ledger.handle.running();
            self.event(Step::CreditWait, task, baton_inbox::Token::NONE, 0);
        }
        ticket
    }

    /// Waits for a credit.
    pub(crate) fn credit(self: &Rc<Self>) -> Credit<'_, P> {
        Credit {
            connection: self,
            ticket: None,
        }
    }
}

/// Waits for a credit, in the order of those who wait.
pub(crate) struct Credit<'c, P: Platform> {
    connection: &'c Rc<Connection<P>>,
    ticket: Option<u64>,
}

impl<P: Platform> Future for Credit<'_, P> {
    /// An entry in state `Leased`, or free and taken.
    type Output = Result<u16, CallError>;

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
                if let Some(index) = connection.take_settled() {
                    return Poll::Ready(Ok(index));
                }
                let ticket = connection.wait_for_credit();
                self.ticket = Some(ticket);
                ticket
            }
        };
        match connection.tokens.poll_ticket(ticket, context.waker()) {
            Some(index) => {
                self.ticket = None;
                Poll::Ready(Ok(index))
            }
            None => Poll::Pending,
        }
    }
}

impl<P: Platform> Drop for Credit<'_, P> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.connection.tokens.leave(ticket);
        }
    }
}

impl<P: Platform, A: Wire, T: Wire> Future for Call<'_, P, A, T> {
    type Output = Result<T, CallError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let connection = this.connection;
        if this.queued.is_some() && !this.poll_queue(context) {
            return match this.entry {
                NO_ENTRY if this.queued.is_none() => Poll::Ready(Err(connection.call_failure())),
                NO_ENTRY if connection.tokens.capacity() == 0 => {
                    Poll::Ready(Err(CallError::NoCredits))
                }
                _ => Poll::Pending,
            };
        }
        match connection.poll_answer(this.entry, context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                let result = result.and_then(|answer| answer.read::<P, T>(connection));
                connection.take_answer(this.entry);
                this.entry = NO_ENTRY;
                Poll::Ready(result)
            }
        }
    }
}

impl<P: Platform, A: Wire, T: Wire> Call<'_, P, A, T> {
    /// Waits for a credit and submits; true when the request is out.
    #[cold]
    fn poll_queue(&mut self, context: &mut Context<'_>) -> bool {
        let connection = self.connection;
        let Some((ticket, args)) = &self.queued else {
            return false;
        };
        if connection.failure().is_some() {
            connection.tokens.leave(*ticket);
            self.queued = None;
            return false;
        }
        let Some(entry) = connection.tokens.poll_ticket(*ticket, context.waker()) else {
            return false;
        };
        connection.submit(entry, self.method, args);
        self.entry = entry;
        self.queued = None;
        true
    }
}

impl<P: Platform, A: Wire, T: Wire> Drop for Call<'_, P, A, T> {
    #[inline]
    fn drop(&mut self) {
        if self.entry != NO_ENTRY {
            self.connection.abandon(self.entry);
        }
        if let Some((ticket, _)) = &self.queued {
            self.connection.tokens.leave(*ticket);
        }
    }
}

/// Where an answer that has come lies.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// Still at the head of its lane.
    InSlot(Info),
    /// Copied away.
    Saved(Info, [u64; baton_inbox::PAYLOAD_WORDS]),
}

impl Answer {
    /// Reads the value of an answer that was `Done`.
    #[inline]
    pub(crate) fn read<P: Platform, T: Wire>(
        self,
        connection: &Connection<P>,
    ) -> Result<T, CallError> {
        let info = match self {
            Answer::InSlot(info) | Answer::Saved(info, _) => info,
        };
        // Done is 0, so this is one compare for the ordinary answer.
        if let Some(error) = CallError::of_status(info.method()) {
            return Err(error);
        }
        if info.words() < T::WORDS {
            return Err(CallError::BadAnswer);
        }
        let value = match self {
            Answer::InSlot(_) => T::get(&mut connection.link.answers_in.payload()),
            Answer::Saved(_, payload) => T::get(&mut crate::wire::SliceReader::new(&payload)),
        };
        value.ok_or(CallError::BadAnswer)
    }

    /// The length of the payload that came with a value of `words` words: the word behind it, zero when there is none.
    pub(crate) fn bulk_len<P: Platform>(self, connection: &Connection<P>, words: usize) -> u64 {
        match self {
            Answer::InSlot(info) if info.words() > words => {
                let mut payload = connection.link.answers_in.payload();
                for _ in 0..words {
                    payload.word();
                }
                payload.word()
            }
            Answer::Saved(info, payload) if info.words() > words => {
                payload.get(words).copied().unwrap_or(0)
            }
            Answer::InSlot(_) | Answer::Saved(..) => 0,
        }
    }
}

impl<P: Platform> Connection<P> {
    /// The answer of entry `index` if it has come, else registers the caller's waker.
    #[inline]
    pub(crate) fn poll_answer(
        &self,
        index: u16,
        context: &mut Context<'_>,
    ) -> Poll<Result<Answer, CallError>> {
        let Some(entry) = self.tokens.entry(index) else {
            return Poll::Ready(Err(CallError::NoCredits));
        };
        match entry.state.get() {
            State::InSlot => Poll::Ready(Ok(Answer::InSlot(self.in_slot_info.get()))),
            State::Waiting => {
                if self.failure.get().is_some() {
                    // Submitted after the end.
                    return Poll::Ready(Err(self.call_failure()));
                }
                match self.ledger.handle.task_of(context.waker()) {
                    Some(task) => entry.waiter.set(task),
                    None => entry.set_waker(context.waker()),
                }
                Poll::Pending
            }
            State::Saved => {
                let (info, payload) = entry.saved();
                Poll::Ready(Ok(Answer::Saved(info, payload)))
            }
            _ => Poll::Ready(Err(self.call_failure())),
        }
    }

    /// The answer of entry `index` has been read: its credit is free again.
    #[inline]
    pub(crate) fn take_answer(&self, index: u16) {
        if self.in_slot.get() == index {
            self.in_slot.set(NO_ENTRY);
        }
        self.tokens.release(index);
    }

    /// The answer of entry `index` has been read, and the caller keeps the credit.
    pub(crate) fn lease_again(&self, index: u16) {
        if self.in_slot.get() == index {
            self.in_slot.set(NO_ENTRY);
        }
        self.tokens.renew(index);
    }
}
