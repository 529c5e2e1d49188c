//! The end of step 8: a caller reads its answer, and its credit is free again.
//!
//! An answer is read where it lies: in its slot while its task is polled in place, else in the copy that `drain` made of it.
//!
//! Invariant: at most one entry at a time is answered and still `Plain`, and the answer is the first message of the lane: `drain` saves
//! an answer that was not taken before it goes on. Reading does not take, so a caller reads first and gives the credit back afterwards.
//!
//! Neighbours: `drain` brings answers in and resumes their tasks; `call` and `bulk` poll for them; `credit` gets credits back.

use crate::connection::Connection;
use crate::error::CallError;
use crate::tokens::{Entry, State};
use crate::wire::{Wire, WireReader};
use baton_executor::Handle;
use baton_inbox::{Info, Kind, PayloadReader, Platform, Status, Token};
use core::task::{Poll, Waker};

impl WireReader for PayloadReader<'_> {
    #[inline]
    fn word(&mut self) -> u64 {
        PayloadReader::word(self)
    }

    #[inline]
    fn skip(&mut self, count: usize) {
        PayloadReader::skip(self, count);
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
    pub(crate) fn read<P: Platform, T: Wire>(
        self,
        connection: &Connection<P>,
    ) -> Result<T, CallError> {
        self.check::<T>()?;
        let value = match self {
            Answer::InSlot(_) => T::get(&mut connection.answer_lane().first().payload()),
            Answer::Saved(_, payload) => T::get(&mut crate::wire::SliceReader::new(&payload)),
        };
        value.ok_or(CallError::BadAnswer)
    }

    /// Has an answer that was `Done` and is long enough for a `T` among the saved ones.
    pub(crate) fn save<P: Platform, T: Wire>(
        self,
        connection: &Connection<P>,
        entry: &Entry,
    ) -> Result<(), CallError> {
        self.check::<T>()?;
        if let Answer::InSlot(info) = self {
            let payload = connection.answer_lane().first().copy();
            connection.tokens.save(entry, info, payload);
        }
        Ok(())
    }

    /// Whether the answer was `Done` and is long enough for a `T`.
    fn check<T: Wire>(&self) -> Result<(), CallError> {
        let (Answer::InSlot(info) | Answer::Saved(info, _)) = *self;
        match CallError::of_status(info.method()) {
            Some(error) => Err(error),
            None if info.words() < T::WORDS || info.kind() != Some(Kind::Answer) => {
                Err(CallError::BadAnswer)
            }
            None => Ok(()),
        }
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

impl<P: Platform> Connection<P> {
    /// The payload of the answer of `entry`, which has come, if it is `Done`, has the length of a `T`, and still lies in its slot: the
    /// ordinary case.
    #[inline(always)]
    pub(crate) fn ordinary_answer<T: Wire>(&self, entry: &Entry) -> Option<PayloadReader<'_>> {
        if entry.state.get() != State::Plain {
            return None;
        }
        let answer = self.answer_lane().first();
        let ordinary = Info::new(Kind::Answer, Status::Done as u16, T::WORDS);
        (answer.info() == ordinary).then(|| answer.payload())
    }

    /// The answer of `entry` if it has come, else registers the caller's waker.
    pub(crate) fn poll_answer(
        &self,
        entry: &Entry,
        waker: &Waker,
    ) -> Poll<Result<Answer, CallError>> {
        if entry.expect.get() != Token::NONE {
            self.wait_for_answer(entry, waker);
            return Poll::Pending;
        }
        Poll::Ready(match entry.state.get() {
            State::Plain => Ok(Answer::InSlot(self.answer_lane().first().info())),
            State::Saved => {
                let (info, payload) = self.tokens.saved(entry);
                Ok(Answer::Saved(info, payload))
            }
            _ => Err(self.call_failure()),
        })
    }

    /// Has the caller resumed when the answer of `entry` comes.
    #[inline(always)]
    pub(crate) fn wait_for_answer(&self, entry: &Entry, waker: &Waker) {
        match Handle::<P>::task_of_key(waker, self.waker_key) {
            Some(task) => entry.set_waiter(task),
            None => entry.set_waker(waker),
        }
    }
}
