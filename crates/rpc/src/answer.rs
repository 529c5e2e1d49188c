//! The end of step 8: a caller reads its answer, and its credit is free again.
//!
//! An answer is read where it lies: in its slot while its task is polled in place, else in the copy that `drain` made of it.
//!
//! Invariant: an answer in its slot belongs to the entry that `in_slot` names and to no other; reading it does not take it, so
//! a caller reads first and gives the credit back afterwards.
//!
//! Neighbours: `drain` brings answers in and resumes their tasks; `call` and `bulk` poll for them; `credit` gets credits back.

use crate::connection::Connection;
use crate::error::CallError;
use crate::tokens::{Entry, NO_ENTRY, State};
use crate::wire::{Wire, WireReader};
use baton_executor::Handle;
use baton_inbox::{Info, Kind, PayloadReader, Platform, Status, Token};
use core::task::{Context, Poll};

impl WireReader for PayloadReader<'_> {
    #[inline]
    fn word(&mut self) -> u64 {
        PayloadReader::word(self)
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
    pub(crate) fn wait_for_answer(&self, entry: &Entry, context: &mut Context<'_>) {
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
