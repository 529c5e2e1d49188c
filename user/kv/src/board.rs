//! The board: where everybody reports to, and where the clients wait for each other.
//!
//! Some of its handlers take long: they wait until other requests have come. Such a handler is a task like any other; it
//! costs its table entry and nothing else while it waits.

use crate::services::{Board, Figures, Phase, ServerKind};
use crate::tally::Gather;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use baton_rpc::BulkIn;
use core::cell::{Cell, Ref, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// What the board knows of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The phase it has arrived at; none before its first.
    pub phase: Option<Phase>,
    /// Requests it has done in that phase, as far as it has said.
    pub done: u64,
    /// Whether the others wait for it.
    pub living: bool,
}

/// Gathers reports, and lets clients go on together.
pub struct Scoreboard<S> {
    members: RefCell<Vec<Member>>,
    held_at: Cell<Option<Phase>>,
    summary: RefCell<S>,
    ready: RefCell<BTreeSet<ServerKind>>,
    lines: RefCell<Vec<String>>,
    waiting: RefCell<Vec<Waker>>,
}

impl<S: Gather> Scoreboard<S> {
    /// A board for so many clients.
    pub fn new(clients: u32) -> Self {
        let member = Member {
            phase: None,
            done: 0,
            living: true,
        };
        Scoreboard {
            members: RefCell::new(vec![member; clients as usize]),
            held_at: Cell::new(None),
            summary: RefCell::default(),
            ready: RefCell::default(),
            lines: RefCell::default(),
            waiting: RefCell::default(),
        }
    }

    /// What is known of each client.
    pub fn members(&self) -> Ref<'_, Vec<Member>> {
        self.members.borrow()
    }

    /// What was reported so far.
    pub fn summary(&self) -> Ref<'_, S> {
        self.summary.borrow()
    }

    /// Whether a server is there for its clients.
    pub fn is_ready(&self, server: ServerKind) -> bool {
        self.ready.borrow().contains(&server)
    }

    /// Takes the lines that were said since the last time.
    pub fn take_lines(&self) -> Vec<String> {
        self.lines.take()
    }

    /// Nobody goes on beyond `phase` until it is said that they may, by `None`.
    pub fn hold_at(&self, phase: Option<Phase>) {
        self.held_at.set(phase);
        self.wake();
    }

    /// Nobody waits for this client any more: it is dead.
    pub fn bury(&self, client: u32) {
        self.change(client, |member| member.living = false);
        self.wake();
    }

    /// Whether every living client has arrived at `phase`, and may begin it.
    pub fn all_at(&self, phase: Phase) -> bool {
        if self.held_at.get().is_some_and(|held_at| phase > held_at) {
            return false;
        }
        let members = self.members.borrow();
        let mut living = members.iter().filter(|member| member.living);
        living.all(|member| member.phase >= Some(phase))
    }

    async fn wait_for_all(&self, phase: Phase) {
        poll_fn(|context| {
            if self.all_at(phase) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn change(&self, client: u32, change: impl FnOnce(&mut Member)) {
        // A number that is none of ours does nothing.
        if let Some(member) = self.members.borrow_mut().get_mut(client as usize) {
            change(member);
        }
    }

    fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl<S: Gather> Board for Scoreboard<S> {
    fn note(&self, client: u32, phase: Phase, done: u64) {
        self.change(client, |member| {
            if member.phase == Some(phase) {
                member.done = done;
            }
        });
    }

    async fn arrive(&self, client: u32, phase: Phase) {
        self.change(client, |member| {
            member.phase = Some(phase);
            member.done = 0;
        });
        self.wake();
        self.wait_for_all(phase).await;
    }

    async fn report(&self, _client: u32, phase: Phase, results: BulkIn) -> bool {
        let text = String::from_utf8(results.to_vec());
        text.is_ok_and(|text| self.summary.borrow_mut().report(phase, &text))
    }

    async fn reached(&self, phase: Phase) {
        self.wait_for_all(phase).await;
    }

    async fn ready(&self, server: ServerKind) {
        self.ready.borrow_mut().insert(server);
    }

    async fn figures(&self, server: ServerKind, figures: Figures) {
        self.summary.borrow_mut().figures(server, figures);
    }

    async fn say(&self, line: BulkIn) -> bool {
        let line = String::from_utf8(line.to_vec());
        line.map(|line| self.lines.borrow_mut().push(line)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Totals;
    use core::pin::pin;
    use core::task::Context;
    use std::prelude::v1::*;

    #[test]
    fn clients_go_on_together() {
        let board = Scoreboard::<Totals>::new(2);
        let mut context = Context::from_waker(Waker::noop());
        let mut first = pin!(board.arrive(0, Phase::Load));
        assert!(first.as_mut().poll(&mut context).is_pending());
        let mut second = pin!(board.arrive(1, Phase::Load));
        assert!(second.as_mut().poll(&mut context).is_ready());
        assert!(first.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn the_dead_are_not_waited_for() {
        let board = Scoreboard::<Totals>::new(2);
        let mut context = Context::from_waker(Waker::noop());
        let mut first = pin!(board.arrive(0, Phase::Done));
        assert!(first.as_mut().poll(&mut context).is_pending());
        board.bury(1);
        assert!(first.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn nobody_passes_where_all_are_held() {
        let board = Scoreboard::<Totals>::new(1);
        let mut context = Context::from_waker(Waker::noop());
        board.hold_at(Some(Phase::Find));
        let mut arrive = |phase| pin!(board.arrive(0, phase)).poll(&mut context).is_ready();
        assert!(arrive(Phase::Find));
        assert!(!arrive(Phase::FindAll));
        board.hold_at(None);
        assert!(arrive(Phase::FindAll));
    }

    #[test]
    fn notes_of_strangers_and_of_earlier_phases_do_nothing() {
        let board = Scoreboard::<Totals>::new(1);
        let mut context = Context::from_waker(Waker::noop());
        board.note(9, Phase::Load, 1);
        assert!(
            pin!(board.arrive(0, Phase::Index))
                .poll(&mut context)
                .is_ready()
        );
        board.note(0, Phase::Load, 5);
        assert_eq!(board.members()[0].done, 0);
        board.note(0, Phase::Index, 6);
        assert_eq!(board.members()[0].done, 6);
    }
}
