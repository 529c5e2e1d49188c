//! Steps 1 and 2, and the end of 8: a call.
//!
//! A request is submitted eagerly, by [`Client::call`] itself, when a credit is free; the future that it returns then only waits.
//! Without a free credit the call waits its turn in the order of calls, and keeps its arguments until then.

use crate::connection::Connection;
use crate::error::{CallError, SendError, TryCallError};
use crate::tokens::{Entry, NO_ENTRY, Queued, State};
use crate::wire::{Wire, WireReader, WireWriter};
use alloc::rc::Rc;
use baton_executor::{Handle, NO_TASK};
use baton_inbox::{
    Info, Kind, PAYLOAD_WORDS, PayloadReader, PayloadWriter, Platform, Status, Token,
};
use baton_trace::Step;
use core::future::Future;
use core::marker::PhantomData;
use core::num::NonZeroU64;
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
pub struct Call<'c, P: Platform, T: Wire> {
    connection: &'c Connection<P>,
    place: Place<'c>,
    result: PhantomData<fn() -> T>,
}

/// How far a call has come.
#[derive(Clone, Copy)]
enum Place<'c> {
    /// Its answer has been taken.
    Ended,
    /// The request is out with this credit.
    Out(&'c Entry),
    /// It waits for a credit.
    Queued(NonZeroU64),
}

impl<P: Platform, T: Wire> Unpin for Call<'_, P, T> {}

impl<P: Platform> Client<P> {
    /// The connection that this client calls over.
    pub fn connection(&self) -> &Rc<Connection<P>> {
        &self.0
    }

    /// Calls `method`: writes the request at once if a credit is free, else when one is.
    #[inline]
    pub fn call<A: Wire, T: Wire>(&self, method: u16, args: A) -> Call<'_, P, T> {
        let connection = &*self.0;
        let place = match connection.tokens.take() {
            Some(entry) => {
                connection.submit(entry, method, &args);
                Place::Out(entry)
            }
            None => {
                // Word by word: the arguments of a call that is not queued need no place in memory then.
                let mut words = [0; PAYLOAD_WORDS];
                args.put(&mut crate::wire::SliceWriter::new(&mut words));
                let [a, b, c, d, e, f] = words;
                let info = Info::new(Kind::Request, method, A::WORDS);
                Place::Queued(connection.queue_call(info, a, b, c, d, e, f))
            }
        };
        Call {
            connection,
            place,
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
            place: Place::Out(entry),
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

impl<P: Platform> Connection<P> {
    /// Step 2: writes the request of `entry`, which the caller has just taken.
    #[inline]
    fn submit<A: Wire>(&self, entry: &Entry, method: u16, args: &A) {
        let info = Info::new(Kind::Request, method, A::WORDS);
        self.submit_with(entry, info, |out| args.put(out));
    }

    #[inline]
    pub(crate) fn submit_with(
        &self,
        entry: &Entry,
        info: Info,
        payload: impl FnOnce(&mut PayloadWriter<'_>),
    ) {
        self.submit_for(|| self.ledger.handle.running(), entry, info, payload);
    }

    /// Writes the request on behalf of the task that `task` tells, which is only asked for the trace.
    #[inline]
    fn submit_for(
        &self,
        task: impl FnOnce() -> u16,
        entry: &Entry,
        info: Info,
        payload: impl FnOnce(&mut PayloadWriter<'_>),
    ) {
        let token = entry.token();
        entry.expect.set(token);
        entry.waiter.set(NO_TASK);
        if self.tracing() {
            let task = task();
            self.event(Step::Call, task, token, u32::from(info.method()));
            self.event(Step::Submit, task, token, u32::from(info.method()));
        }
        let position = self.link.requests_out.push(info, token, payload);
        entry.position.set(position);
        self.mark_dirty();
    }

    fn send<A: Wire>(&self, entry: &Entry, method: u16, args: &A) {
        entry.state.set(State::OneWay);
        entry.position.set(self.link.requests_out.tail());
        self.tokens.push_by_head(entry);
        if self.tracing() {
            let task = self.ledger.handle.running();
            self.event(Step::OneWay, task, entry.token(), u32::from(method));
        }
        let info = Info::new(Kind::OneWay, method, A::WORDS);
        self.link
            .requests_out
            .push(info, entry.token(), |out| args.put(out));
        self.mark_dirty();
        if self.tokens.starving.get() != 0 {
            self.mark_unsettled();
        }
    }

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

    /// Queues a call for a credit; it is submitted by whoever gives one back.
    #[cold]
    #[inline(never)]
    #[allow(clippy::too_many_arguments)] // Six of them are the payload, in registers.
    fn queue_call(&self, info: Info, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> NonZeroU64 {
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

    /// A credit is free again: the first who waits for one gets it, and its request goes out.
    #[inline]
    pub(crate) fn release(&self, entry: &Entry) {
        self.tokens.begin_generation(entry);
        if self.tokens.starving.get() != 0 {
            self.grant(entry);
        } else {
            self.tokens.put_back(entry, entry.index());
        }
    }

    #[cold]
    #[inline(never)]
    fn grant(&self, entry: &Entry) {
        if let Some((info, payload)) = self.tokens.grant(entry) {
            self.submit_queued(entry, info, payload);
        }
    }

    /// As [`Connection::release`], for a credit that was used otherwise than for an ordinary call.
    #[cold]
    pub(crate) fn release_special(&self, entry: &Entry) {
        entry.state.set(State::Plain);
        self.release(entry);
    }

    #[cold]
    fn submit_queued(&self, entry: &Entry, info: Info, payload: [u64; PAYLOAD_WORDS]) {
        if self.failure().is_some() {
            return;
        }
        // The task that made the call, if it has been polled since.
        let waker = entry.take_waker();
        let own = waker
            .as_ref()
            .and_then(|waker| Handle::<P>::task_of_key(waker, self.waker_key));
        entry.state.set(State::Plain);
        self.submit_for(
            || own.unwrap_or(NO_TASK),
            entry,
            info,
            |out| {
                for word in payload.iter().take(info.words()) {
                    out.word(*word);
                }
            },
        );
        match (own, waker) {
            (Some(task), _) => entry.waiter.set(task),
            (None, Some(waker)) => entry.set_waker(&waker),
            (None, None) => {}
        }
    }

    /// Leaves the queue for credits; what was granted or submitted meanwhile is given back or cancelled.
    #[cold]
    fn leave_queue(&self, ticket: NonZeroU64) {
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

impl<P: Platform, T: Wire> Future for Call<'_, P, T> {
    type Output = Result<T, CallError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let connection = this.connection;
        let Place::Out(entry) = this.place else {
            return this.poll_otherwise(context);
        };
        // Most calls are first polled right after they were submitted, and once more when their answer is in its slot.
        if entry.expect.get() != Token::NONE {
            connection.wait_for_answer(entry, context);
            return Poll::Pending;
        }
        let index = entry.index();
        if connection.in_slot.get() != index {
            return this.poll_otherwise(context);
        }
        let answer = connection.answer_lane().first();
        // The ordinary answer is recognised by one compare.
        if answer.info() != Info::new(Kind::Answer, Status::Done as u16, T::WORDS) {
            return this.poll_otherwise(context);
        }
        let value = T::get(&mut answer.payload());
        connection.in_slot.set(NO_ENTRY);
        connection.tokens.begin_generation(entry);
        if connection.tokens.starving.get() != 0 {
            // Before wakers are called, which may panic.
            this.place = Place::Ended;
            connection.grant(entry);
        } else {
            connection.tokens.put_back(entry, index);
        }
        // Last, so that the compiler sees in the destructor that nothing is left to do.
        this.place = Place::Ended;
        Poll::Ready(value.ok_or(CallError::BadAnswer))
    }
}

impl<'c, P: Platform, T: Wire> Call<'c, P, T> {
    /// All but the ordinary case.
    #[cold]
    #[inline(never)]
    fn poll_otherwise(&mut self, context: &mut Context<'_>) -> Poll<Result<T, CallError>> {
        let connection = self.connection;
        let entry = match self.place {
            Place::Out(entry) => entry,
            _ => match self.poll_queue(context) {
                Poll::Ready(Ok(entry)) => entry,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            },
        };
        let Poll::Ready(answer) = connection.poll_answer(entry, context) else {
            return Poll::Pending;
        };
        let result = match answer {
            Ok(answer) => answer.read::<P, T>(connection),
            Err(error) => Err(error),
        };
        self.place = Place::Ended;
        connection.take_answer(entry);
        Poll::Ready(result)
    }

    /// Waits for the credit with which the request is submitted.
    #[cold]
    fn poll_queue(&mut self, context: &mut Context<'_>) -> Poll<Result<&'c Entry, CallError>> {
        let connection = self.connection;
        let Place::Queued(ticket) = self.place else {
            // Polled again after its end.
            return Poll::Ready(Err(CallError::BadAnswer));
        };
        if let Some(entry) = connection.tokens.poll_ticket(ticket, context.waker()) {
            self.place = Place::Out(entry);
            return Poll::Ready(Ok(entry));
        }
        let error = match connection.failure() {
            Some(failure) => CallError::Failed(failure),
            None if connection.tokens.capacity() == 0 => CallError::NoCredits,
            None => return Poll::Pending,
        };
        self.place = Place::Ended;
        connection.leave_queue(ticket);
        Poll::Ready(Err(error))
    }
}

impl<P: Platform, T: Wire> Drop for Call<'_, P, T> {
    #[inline]
    fn drop(&mut self) {
        match self.place {
            Place::Ended => {}
            Place::Out(entry) => self.connection.abandon(entry.index()),
            Place::Queued(ticket) => self.connection.leave_queue(ticket),
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
        // The ordinary answer is recognised by one compare; a longer one, of a bulk method, by a second look.
        if info != Info::new(Kind::Answer, Status::Done as u16, T::WORDS) {
            check_answer(info, T::WORDS)?;
        }
        let value = match self {
            Answer::InSlot(_) => T::get(&mut connection.answer_lane().first().payload()),
            Answer::Saved(_, payload) => T::get(&mut crate::wire::SliceReader::new(&payload)),
        };
        value.ok_or(CallError::BadAnswer)
    }

    /// The length of the payload that came with a value of `words` words: the word behind it, zero when there is none.
    pub(crate) fn bulk_len<P: Platform>(self, connection: &Connection<P>, words: usize) -> u64 {
        match self {
            Answer::InSlot(info) if info.words() > words => {
                let mut payload = connection.answer_lane().first().payload();
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

#[cold]
fn check_answer(info: Info, words: usize) -> Result<(), CallError> {
    match CallError::of_status(info.method()) {
        Some(error) => Err(error),
        None if info.words() < words || info.kind() != Some(Kind::Answer) => {
            Err(CallError::BadAnswer)
        }
        None => Ok(()),
    }
}

impl<P: Platform> Connection<P> {
    /// The answer of `entry` if it has come, else registers the caller's waker.
    #[inline]
    pub(crate) fn poll_answer(
        &self,
        entry: &Entry,
        context: &mut Context<'_>,
    ) -> Poll<Result<Answer, CallError>> {
        if entry.expect.get() != Token::NONE {
            self.wait_for_answer(entry, context);
            return Poll::Pending;
        }
        if self.in_slot.get() == entry.index() {
            return Poll::Ready(Ok(Answer::InSlot(self.answer_lane().first().info())));
        }
        Poll::Ready(self.saved_answer(entry))
    }

    /// Has the caller resumed when the answer of `entry` comes.
    #[inline(always)]
    fn wait_for_answer(&self, entry: &Entry, context: &mut Context<'_>) {
        match Handle::<P>::task_of_key(context.waker(), self.waker_key) {
            Some(task) => entry.waiter.set(task),
            None => entry.set_waker(context.waker()),
        }
    }

    #[cold]
    fn saved_answer(&self, entry: &Entry) -> Result<Answer, CallError> {
        match entry.state.get() {
            State::Saved => {
                let (info, payload) = self.tokens.saved(entry);
                Ok(Answer::Saved(info, payload))
            }
            _ => Err(self.call_failure()),
        }
    }

    /// The answer of `entry` has been read: its credit is free again.
    #[inline]
    pub(crate) fn take_answer(&self, entry: &Entry) {
        if self.in_slot.get() == entry.index() {
            self.in_slot.set(NO_ENTRY);
            self.release(entry);
        } else {
            self.release_special(entry);
        }
    }

    /// The answer of `entry` has been read, and the caller keeps the credit.
    pub(crate) fn lease_again(&self, entry: &Entry) {
        if self.in_slot.get() == entry.index() {
            self.in_slot.set(NO_ENTRY);
        }
        self.tokens.renew(entry);
    }
}
