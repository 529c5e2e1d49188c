//! Connections: one peer, its lanes, the tokens that are out, and what it is owed.
//!
//! The client's half of the eight steps is in `call` (1 call), `submit` (2 submit) and `drain` (7 drain, 8 resume); the
//! server's in `serve` (4 drain, 5 serve, 6 reply); ringing (3) is the end of the executor's turn, in `source`.

use crate::error::{CallError, Failure, Violation};
use crate::tokens::{NO_ENTRY, State, Tokens};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use baton_executor::{Handle, NO_TASK};
use baton_inbox::{
    Band, Bell, Info, Kind, LaneReader, Link, LinkError, LinkParts, Platform, RegionLayout,
    SharedRing, Status, Token,
};
use baton_shm::{ReadRegion, Region};
use baton_trace::Step;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::task::{Poll, Waker};

/// The connection has ended.
const FAILED: u8 = 1;
/// Events are recorded.
const TRACED: u8 = 2;

/// What all connections of a node share: the executor, and who is owed what at the end of the turn.
pub(crate) struct Ledger<P: Platform> {
    pub(crate) handle: Handle<P>,
    /// Connections that were written messages this turn, one bit each.
    pub(crate) dirty: Cell<u64>,
    /// Connections whose head moved this turn.
    pub(crate) heads: Cell<u64>,
    /// Connections with something that waits for the peer's head.
    pub(crate) unsettled: Cell<u64>,
    /// Connections that leave the scan when the next turn begins.
    pub(crate) leaving: Cell<u64>,
    /// Whether this turn is traced: the ring's switch, looked at whenever the executor attends to its source.
    pub(crate) tracing: Cell<bool>,
    /// The ring that all senders share, where they do.
    pub(crate) ring: Option<LaneReader<P::Publication>>,
}

impl<P: Platform> Ledger<P> {
    /// The connection with this bit was drained, and not written to.
    #[cold]
    #[inline(never)]
    pub(crate) fn owe_head(&self, bit: u64) {
        self.heads.set(self.heads.get() | bit);
    }
}

/// Things that were wrong and dropped, for dumps and tests.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answers whose token nobody waited for: forged, stale, or from the wrong peer.
    pub stale_answers: Cell<u64>,
    /// One-way sends that could not be read.
    pub bad_one_ways: Cell<u64>,
    /// CANCELs that came after their answer.
    pub late_cancels: Cell<u64>,
}

/// One end of a connection.
pub struct Connection<P: Platform> {
    pub(crate) ledger: Rc<Ledger<P>>,
    pub(crate) bit: u64,
    pub(crate) link: Link<P::Publication>,
    pub(crate) tokens: Tokens,
    /// The token that each credit of the peer was last waited for; meaningful while its handler waits.
    pub(crate) serving: Box<[Cell<Token>]>,
    /// The task entry of the first credit's handler, for dumps.
    pub(crate) first_handler: Cell<u16>,
    /// What a request that is dropped unanswered is answered with.
    pub(crate) dropped_status: Cell<Status>,
    failure: Cell<Option<Failure>>,
    /// Whether there is more to do than the ordinary: [`FAILED`], [`TRACED`]. One test for both on the way of a message.
    special: Cell<u8>,
    /// What the wakers of this executor have in common.
    pub(crate) waker_key: usize,
    pub(crate) bell: P::Bell,
    pub(crate) outgoing: Region,
    pub(crate) incoming: ReadRegion,
    pub(crate) out_layout: RegionLayout,
    pub(crate) in_layout: RegionLayout,
    pub(crate) band: Band,
    index: u16,
    name: String,
    counters: Counters,
    watchers: RefCell<Vec<Waker>>,
}

impl<P: Platform> Connection<P> {
    pub(crate) fn new(
        ledger: Rc<Ledger<P>>,
        index: u32,
        name: String,
        band: Band,
        parts: LinkParts<P::Bell>,
        start: Start,
        peer_ring: Option<&SharedRing>,
    ) -> Result<Self, LinkError> {
        let link = Link::with_ring(&parts, start.position, peer_ring)?;
        Ok(Connection {
            waker_key: ledger.handle.waker_key(),
            special: Cell::new(if ledger.tracing.get() { TRACED } else { 0 }),
            ledger,
            bit: 1 << index,
            link,
            tokens: Tokens::new(parts.credits, start.generation),
            serving: (0..parts.granted).map(|_| Cell::new(Token::NONE)).collect(),
            first_handler: Cell::new(NO_TASK),
            dropped_status: Cell::new(Status::NoReply),
            failure: Cell::new(None),
            bell: parts.bell,
            outgoing: parts.outgoing,
            incoming: parts.incoming,
            out_layout: parts.out_layout,
            in_layout: parts.in_layout,
            band,
            index: index as u16,
            name,
            counters: Counters::default(),
            watchers: RefCell::new(Vec::new()),
        })
    }

    /// The connection's number in this inbox.
    #[inline]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// What the peer is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The priority band that the connection was bound in.
    pub fn band(&self) -> Band {
        self.band
    }

    /// Credits that this side holds at the peer, used ones included.
    pub fn credits(&self) -> usize {
        self.tokens.capacity()
    }

    /// Credits that the peer holds here.
    pub fn granted(&self) -> usize {
        self.serving.len()
    }

    /// What was wrong and dropped.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How the connection ended, if it has.
    #[inline]
    pub fn failure(&self) -> Option<Failure> {
        self.failure.get()
    }

    /// Waits until the connection has ended, and says how.
    pub fn ended(self: &Rc<Self>) -> impl Future<Output = Failure> + use<P> {
        let this = self.clone();
        core::future::poll_fn(move |context| match this.failure.get() {
            Some(failure) => Poll::Ready(failure),
            None => {
                let mut watchers = this.watchers.borrow_mut();
                if !watchers.iter().any(|w| w.will_wake(context.waker())) {
                    watchers.push(context.waker().clone());
                }
                Poll::Pending
            }
        })
    }

    /// Ends the connection: all calls under way complete with `failure`, handlers for the peer are dropped, and the executor
    /// leaves its lanes out of the scan from the next turn on. The first failure stands.
    pub fn fail(&self, failure: Failure) {
        if self.failure.get().is_some() {
            return;
        }
        self.failure.set(Some(failure));
        self.special.set(self.special.get() | FAILED);
        self.leave();
        let ledger = &self.ledger;
        let step = match failure {
            Failure::PeerCorrupt(_) => Step::PeerCorrupt,
            Failure::PeerDied | Failure::Disconnected => Step::PeerDied,
        };
        ledger.handle.event(step, self.index, NO_TASK, 0, 0);
        self.tokens.close();
        for entry in self.tokens.each() {
            if entry.is_waiting() {
                entry.expect.set(Token::NONE);
                entry.state.set(State::Failed);
                match entry.waiter() as u16 {
                    NO_TASK => {
                        if let Some(waker) = entry.take_waker() {
                            waker.wake();
                        }
                    }
                    task => ledger.handle.wake(task),
                }
            }
        }
        self.tokens.wake_waiters();
        let watchers = core::mem::take(&mut *self.watchers.borrow_mut());
        for watcher in watchers {
            watcher.wake();
        }
    }

    #[inline]
    pub(crate) fn mark_dirty(&self) {
        self.ledger.dirty.set(self.ledger.dirty.get() | self.bit);
    }

    #[inline]
    pub(crate) fn mark_unsettled(&self) {
        self.ledger
            .unsettled
            .set(self.ledger.unsettled.get() | self.bit);
        self.ledger.handle.attend();
    }

    #[inline]
    pub(crate) fn tracing(&self) -> bool {
        self.special.get() & TRACED != 0
    }

    /// Switches this connection's events on or off.
    pub(crate) fn set_tracing(&self, on: bool) {
        let others = self.special.get() & !TRACED;
        self.special.set(if on { others | TRACED } else { others });
    }

    /// Whether the connection has ended or is traced.
    #[inline]
    pub(crate) fn is_special(&self) -> bool {
        self.special.get() != 0
    }

    #[cold]
    pub(crate) fn event(&self, step: Step, task: u16, token: Token, detail: u32) {
        self.ledger
            .handle
            .event(step, self.index, task, token.raw(), detail);
    }

    pub(crate) fn corrupt(&self, violation: Violation) {
        // Where the broker has put zeros in the place of the peer's memory, what they say is nobody's fault.
        self.fail(if self.bell.is_cut() {
            Failure::PeerDied
        } else {
            Failure::PeerCorrupt(violation)
        });
    }

    pub(crate) fn call_failure(&self) -> CallError {
        CallError::Failed(self.failure.get().unwrap_or(Failure::Disconnected))
    }

    /// Gets back what the peer's head has freed, and sends the CANCELs that can be sent. Says whether something is left to wait for.
    pub(crate) fn settle(&self) -> bool {
        let Ok(head) = self.link.peer_head() else {
            self.corrupt(Violation::Head);
            return false;
        };
        let tail = self.link.requests_out.tail();
        while let Some(entry) = self.tokens.pop_by_head(head, tail) {
            match entry.state.get() {
                State::Cancelling => entry.state.set(State::CancelSent),
                State::OneWay | State::CancelOnly => self.release_special(entry),
                state => debug_assert!(false, "{state:?} in the queue for the head"),
            }
        }
        self.send_cancels(head);
        self.tokens.has_to_cancel()
            || (self.tokens.has_by_head() && self.tokens.starving.get() != 0)
    }

    fn send_cancels(&self, head: u32) {
        // Each is looked at once: what cannot be sent yet goes to the end of the queue again, before a second round begins.
        let mut first_kept = NO_ENTRY;
        while let Some(entry) = self.tokens.pop_to_cancel() {
            if entry.state.get() != State::Abandoned {
                // Its answer has come meanwhile.
                self.release_special(entry);
                continue;
            }
            if !entry.is_drained(head, self.link.requests_out.tail()) {
                self.tokens.push_to_cancel(entry);
                if first_kept == entry.index() {
                    break;
                }
                if first_kept == NO_ENTRY {
                    first_kept = entry.index();
                }
                continue;
            }
            let token = entry.token();
            entry.position.set(self.link.requests_out.tail());
            self.link
                .requests_out
                .push(Info::new(Kind::Cancel, 0, 0), token, |_| {});
            entry.state.set(State::Cancelling);
            self.tokens.push_by_head(entry);
            self.mark_dirty();
            if self.tracing() {
                self.event(Step::Cancel, NO_TASK, token, 0);
            }
        }
    }

    /// A call that nobody waits for any more.
    pub(crate) fn abandon(&self, index: u16) {
        let Some(entry) = self.tokens.entry(index) else {
            return;
        };
        match entry.state.get() {
            State::Plain if entry.is_waiting() => {
                entry.expect.set(Token::NONE);
                entry.set_waiter(NO_TASK);
                drop(entry.take_waker());
                entry.state.set(State::Abandoned);
                self.tokens.push_to_cancel(entry);
                self.mark_unsettled();
            }
            // Its answer has come and lies in its slot.
            State::Plain => self.release(entry),
            State::Saved | State::Leased => self.release_special(entry),
            // The connection has ended: nobody will use the entry again.
            _ => {}
        }
    }
}

/// Where positions and generations begin: zero, but in tests of wrapping.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// First position of every lane; both sides must agree.
    pub position: u32,
    /// First generation of every token.
    pub generation: u64,
}
