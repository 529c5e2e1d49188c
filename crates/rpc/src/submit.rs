//! Step 2: a request is written into its lane.
//!
//! The caller brings a token entry that it has taken, which is the credit: so there is always a free slot. What is written is
//! published at once and rung for at the end of the turn.
//!
//! Invariant: an entry expects its token from before its request is published, so no answer can come too early. A one-way send
//! expects none, and its credit comes back when the peer's head has passed its slot.
//!
//! Neighbours: `call` and `bulk` submit; `credit` hands out entries and has queued calls submitted; `source` rings.

use crate::connection::Connection;
use crate::tokens::{Entry, State};
use crate::wire::{Wire, WireWriter};
use baton_executor::{Handle, NO_TASK};
use baton_inbox::{Info, Kind, PAYLOAD_WORDS, PayloadWriter, Platform};
use baton_trace::Step;

impl WireWriter for PayloadWriter<'_> {
    #[inline]
    fn word(&mut self, word: u64) {
        PayloadWriter::word(self, word);
    }
}

impl<P: Platform> Connection<P> {
    /// Step 2: writes the request of `entry`, which the caller has just taken.
    #[inline(always)]
    pub(crate) fn submit<A: Wire>(&self, entry: &Entry, method: u16, args: &A) {
        let info = Info::new(Kind::Request, method, A::WORDS);
        self.submit_with(
            entry,
            info,
            #[inline(always)]
            |out| args.put(out),
        );
    }

    #[inline(always)]
    pub(crate) fn submit_with(
        &self,
        entry: &Entry,
        info: Info,
        payload: impl FnOnce(&mut PayloadWriter<'_>),
    ) {
        self.submit_for(|| self.ledger.handle.running(), entry, info, payload);
    }

    /// Writes the request on behalf of the task that `task` tells, which is only asked for the trace.
    #[inline(always)]
    fn submit_for(
        &self,
        task: impl FnOnce() -> u16,
        entry: &Entry,
        info: Info,
        payload: impl FnOnce(&mut PayloadWriter<'_>),
    ) {
        let token = entry.token();
        entry.expect.set(token);
        entry.set_waiter(NO_TASK);
        if self.tracing() {
            let task = task();
            self.event(Step::Call, task, token, u32::from(info.method()));
            self.event(Step::Submit, task, token, u32::from(info.method()));
        }
        let position = self.link.requests_out.push(info, token, payload);
        entry.position.set(position);
        self.mark_dirty();
    }

    pub(crate) fn send<A: Wire>(&self, entry: &Entry, method: u16, args: &A) {
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

    #[cold]
    pub(crate) fn submit_queued(&self, entry: &Entry, info: Info, payload: [u64; PAYLOAD_WORDS]) {
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
            (Some(task), _) => entry.set_waiter(task),
            (None, Some(waker)) => entry.set_waker(&waker),
            (None, None) => {}
        }
    }
}
