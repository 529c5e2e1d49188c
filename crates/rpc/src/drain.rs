//! Steps 7 and 8: answers come in, and the tasks that wait for them run.
//!
//! An answer is accepted only if its token is the one that its entry waits for; the table belongs to the connection, so an answer
//! that came by another peer's lane finds another table. The answer stays in its slot while its task is polled in place, and is
//! copied away only if the task did not take it.

use crate::connection::Connection;
use crate::error::Violation;
use crate::tokens::{Entry, NO_ENTRY, State};
use baton_executor::NO_TASK;
use baton_inbox::{Platform, Token};
use baton_trace::Step;

impl<P: Platform> Connection<P> {
    /// Drains at most `quantum` answers and says how many there were.
    #[inline(always)]
    pub(crate) fn drain_answers(&self, quantum: u32) -> u32 {
        if self.tracing() {
            self.drain_answers_with::<true>(quantum)
        } else {
            self.drain_answers_with::<false>(quantum)
        }
    }

    #[inline]
    fn drain_answers_with<const TRACE: bool>(&self, quantum: u32) -> u32 {
        let lane = &self.link.answers_in;
        let handle = &self.ledger.handle;
        let mut drained = 0;
        while drained < quantum {
            let found = match lane.peek() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(_) => {
                    self.corrupt(Violation::Tail);
                    break;
                }
            };
            drained += 1;
            let token = found.token();
            let entry = match self.tokens.entry(token.index()) {
                Some(entry) if entry.expect.get() == token && token != Token::NONE => entry,
                _ => {
                    let stale = &self.counters().stale_answers;
                    stale.set(stale.get() + 1);
                    lane.advance();
                    continue;
                }
            };
            entry.expect.set(Token::NONE);
            if TRACE {
                self.event(Step::DrainAnswer, entry.waiter.get(), token, 0);
            }
            if entry.state.get() != State::Plain {
                self.answer_abandoned(entry);
                lane.advance();
                continue;
            }
            entry.state.set(State::InSlot);
            self.in_slot.set(token.index());
            self.in_slot_info.set(found.info());
            let task = entry.waiter.get();
            if task == NO_TASK {
                self.save_answer(entry);
                if let Some(waker) = entry.take_waker() {
                    waker.wake();
                }
            } else {
                if TRACE {
                    self.event(Step::Resume, task, token, 0);
                }
                handle.resume(task);
                if self.in_slot.get() != NO_ENTRY {
                    self.save_answer(entry);
                }
            }
            lane.advance();
        }
        if drained != 0 {
            self.link.publish_answer_head();
        }
        drained
    }

    /// The answer to a call that was dropped: its credit comes back, unless its CANCEL still occupies a slot.
    #[cold]
    fn answer_abandoned(&self, entry: &Entry) {
        match entry.state.get() {
            State::Abandoned => {
                // It stands in the queue for CANCELs, which frees it when its turn comes.
                entry.state.set(State::Ended);
                self.mark_unsettled();
            }
            State::Cancelling => entry.state.set(State::CancelOnly),
            _ => self.release(entry),
        }
    }

    #[cold]
    fn save_answer(&self, entry: &Entry) {
        self.in_slot.set(NO_ENTRY);
        let mut payload = self.link.answers_in.payload();
        let words = core::array::from_fn(|_| payload.word());
        self.tokens.save(entry, self.in_slot_info.get(), words);
    }
}
