//! Dump: lanes, tokens, tasks, and who waits for whom.

use crate::connection::Connection;
use crate::node::NodeHandle;
use crate::tokens::State;
use baton_executor::NO_TASK;
use baton_inbox::{Platform, SLEEPING};
use core::fmt::{self, Write};

impl<P: Platform> NodeHandle<P> {
    /// Writes what the node is doing: its tasks, its connections, and what each waits for.
    ///
    /// # Errors
    ///
    /// Only those of `out`.
    pub fn dump(&self, out: &mut impl Write) -> fmt::Result {
        let executor = self.executor();
        let state = executor.state_raw();
        writeln!(out, "inbox: epoch {}, {}", state >> 1, sleep_word(state))?;
        writeln!(out, "tasks:")?;
        let mut result = Ok(());
        executor.each_task(|task| {
            let doing = match (task.running, task.queued) {
                (true, _) => "running",
                (false, true) => "ready",
                (false, false) => "waiting",
            };
            if result.is_ok() {
                result = writeln!(
                    out,
                    "  task {} {:?} band {}: {doing}",
                    task.index,
                    task.name,
                    task.band.index()
                );
            }
        });
        result?;
        for connection in self.connections() {
            connection.dump(out)?;
        }
        Ok(())
    }
}

impl<P: Platform> Connection<P> {
    fn dump(&self, out: &mut impl Write) -> fmt::Result {
        writeln!(
            out,
            "connection {} to {:?}: band {}, peer {}{}",
            self.index(),
            self.name(),
            self.band().index(),
            sleep_word(self.link.peer_state.raw()),
            match self.failure() {
                Some(_) => ", ended",
                None => "",
            }
        )?;
        if let Some(failure) = self.failure() {
            writeln!(out, "  ended: {failure}")?;
        }
        let drained = match self.link.peer_head() {
            Ok(head) => head,
            Err(_) => return writeln!(out, "  the peer's head is out of range"),
        };
        writeln!(
            out,
            "  requests out: {} sent, {} not drained; answers in: {} drained",
            self.link.requests_out.tail(),
            self.link.requests_out.tail().wrapping_sub(drained),
            self.link.answers_in().head(),
        )?;
        writeln!(
            out,
            "  requests in: {} drained; answers out: {} sent",
            self.link.requests_in.head(),
            self.link.answers_out().tail(),
        )?;
        let counters = self.counters();
        writeln!(
            out,
            "  dropped: {} stale answers, {} bad one-way sends, {} late cancels",
            counters.stale_answers.get(),
            counters.bad_one_ways.get(),
            counters.late_cancels.get()
        )?;
        for entry in self.tokens.each() {
            let what = match entry.state.get() {
                State::Plain if entry.is_waiting() => "waits for the answer to",
                State::Plain | State::Nobody => continue,
                State::Saved => "has not yet taken the answer to",
                State::Failed => "has not yet seen the end of",
                State::Abandoned | State::Ended => "gave up, and will cancel,",
                State::Cancelling | State::CancelSent | State::CancelOnly => "has cancelled",
                State::Leased => "fills or reads the buffer of",
                State::OneWay => "has sent, one way,",
            };
            let task = match entry.waiter() as u16 {
                // The entry's last call left its task behind.
                _ if !entry.is_waiting() => None,
                NO_TASK => None,
                task => Some(task),
            };
            writeln!(
                out,
                "  credit {}: {} {what} the message at position {} (token {:?})",
                entry.index(),
                Who(task),
                entry.position.get(),
                entry.token()
            )?;
        }
        let handle = &self.ledger.handle;
        let mut result = Ok(());
        self.tokens.each_waiting(|waker| {
            let task = waker.and_then(|waker| handle.task_of(waker));
            result = result.and_then(|()| writeln!(out, "  {} waits for a credit", Who(task)));
        });
        handle.each_task(|task| {
            let credit = task.index.wrapping_sub(self.first_handler.get());
            if let Some(token) = self.serving.get(usize::from(credit)) {
                let (who, token) = (Who(Some(task.index)), token.get());
                result = result.and_then(|()| {
                    writeln!(
                        out,
                        "  {who} serves the peer's credit {credit} (token {token:?})"
                    )
                });
            }
        });
        result
    }
}

/// A task, or somebody who is none.
struct Who(Option<u16>);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(task) => write!(f, "task {task}"),
            None => f.write_str("somebody"),
        }
    }
}

fn sleep_word(state: u64) -> &'static str {
    if state & SLEEPING != 0 {
        "asleep"
    } else {
        "awake"
    }
}
