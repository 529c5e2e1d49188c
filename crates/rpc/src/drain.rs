//! Steps 7 and 8: answers come in, and the tasks that wait for them run.
//!
//! An answer is accepted only if its token is the one that its entry waits for; the table belongs to the connection, so an answer
//! that came by another peer's lane finds another table. The answer stays in its slot while its task is polled in place, and is
//! copied away only if the task did not take it.

use crate::connection::Connection;
use crate::error::Violation;
use crate::port::LANE_QUANTUM;
use crate::tokens::{Entry, State};
use baton_executor::{InTurn, NO_TASK};
use baton_inbox::{Found, LaneReader, Platform, Publication, Token};
use baton_trace::Step;

impl<P: Platform> Connection<P> {
    /// Drains at most [`LANE_QUANTUM`] answers and says how many there were.
    #[inline(always)]
    pub(crate) fn drain_answers(&self, turn: Option<InTurn<'_>>) -> u32 {
        let Some(first) = self.peek_answer() else {
            return 0;
        };
        let drained = if self.tracing() {
            self.drain_more_answers::<true>(turn, first)
        } else {
            // The first stands apart: often it is the only one, and the loop over more needs a frame of its own.
            let lane = self.link.answers_in();
            self.take_in_answer::<false>(turn, first.token());
            lane.advance();
            let more = match self.peek_answer() {
                Some(next) => self.drain_more_answers::<false>(turn, next),
                None => 0,
            };
            1 + more
        };
        if let Some(turn) = turn {
            turn.end();
        }
        drained
    }

    /// The next answer; a corrupt peer is noticed.
    #[inline(always)]
    fn peek_answer(&self) -> Option<Found<'_>> {
        match self.link.answers_in().peek() {
            Ok(found) => found,
            Err(_) => {
                self.corrupt(Violation::Tail);
                None
            }
        }
    }

    /// Drains the rest of a quantum, one answer of which has been counted, and says how many there were.
    #[inline(never)]
    fn drain_more_answers<const TRACE: bool>(
        &self,
        turn: Option<InTurn<'_>>,
        first: Found<'_>,
    ) -> u32 {
        let lane = self.link.answers_in();
        let mut walk = lane.walk();
        let mut found = first;
        let begin = lane.head();
        let end = begin.wrapping_add(LANE_QUANTUM - 1);
        loop {
            found.announce_next();
            self.take_in_answer::<TRACE>(turn, found.token());
            walk.advance();
            if lane.head() == end {
                break;
            }
            match walk.peek() {
                Ok(Some(next)) => found = next,
                Ok(None) => break,
                Err(_) => {
                    self.corrupt(Violation::Tail);
                    break;
                }
            }
        }
        lane.head().wrapping_sub(begin)
    }

    /// Takes one answer in; the caller goes on to the next message of its lane afterwards.
    #[inline(always)]
    pub(crate) fn take_in_answer<const TRACE: bool>(&self, turn: Option<InTurn<'_>>, token: Token) {
        // `Token::NONE` is no entry's: no table reaches up to its index.
        let entry = match self.tokens.entry(token.index()) {
            Some(entry) if entry.expect.get() == token => entry,
            _ => {
                return self.answer_unexpected(token);
            }
        };
        entry.expect.set(Token::NONE);
        let task = entry.waiter() as u16;
        if TRACE {
            self.event(Step::DrainAnswer, task, token, 0);
            if task != NO_TASK {
                self.event(Step::Resume, task, token, 0);
            }
        }
        match turn {
            Some(turn) if !P::Publication::DISPATCHED && turn.resume(task) => {
                // Taking an answer ends its generation.
                if entry.token() == token {
                    self.keep_answer(entry);
                }
            }
            _ => self.wake_for_answer(entry),
        }
    }

    /// An answer that was not taken in place.
    #[cold]
    #[inline(never)]
    fn keep_answer(&self, entry: &Entry) {
        let answer = self.answer_lane().first();
        self.tokens.save(entry, answer.info(), answer.copy());
    }

    /// An answer whose task could not be resumed in place.
    #[cold]
    #[inline(never)]
    fn wake_for_answer(&self, entry: &Entry) {
        self.keep_answer(entry);
        match entry.waiter() as u16 {
            NO_TASK => self.wake_waiter(entry),
            task => self.ledger.handle.wake(task),
        }
    }

    /// The lane whose first message is the answer that has come and has not been saved.
    #[inline]
    pub(crate) fn answer_lane(&self) -> &LaneReader<P::Publication> {
        match &self.ledger.ring {
            Some(ring) if P::Publication::ONE_RING => ring,
            _ => self.link.answers_in(),
        }
    }

    /// An answer that no call waits for: to one that was dropped, whose credit comes back unless its CANCEL still occupies a
    /// slot; or forged, stale, or meant for another connection.
    #[cold]
    fn answer_unexpected(&self, token: Token) {
        let entry = self.tokens.entry(token.index());
        let Some(entry) = entry.filter(|entry| entry.token() == token) else {
            return self.count_stale();
        };
        if self.tracing() {
            self.event(Step::DrainAnswer, NO_TASK, token, 0);
        }
        match entry.state.get() {
            State::Abandoned => {
                // It stands in the queue for CANCELs, which frees it when its turn comes.
                entry.state.set(State::Ended);
                self.mark_unsettled();
            }
            State::Cancelling => entry.state.set(State::CancelOnly),
            State::CancelSent => self.release_special(entry),
            _ => self.count_stale(),
        }
    }

    fn count_stale(&self) {
        let stale = &self.counters().stale_answers;
        stale.set(stale.get() + 1);
    }

    /// Wakes whoever waits by another waker than a task of this executor.
    #[cold]
    fn wake_waiter(&self, entry: &Entry) {
        if let Some(waker) = entry.take_waker() {
            waker.wake();
        }
    }
}
