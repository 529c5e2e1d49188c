//! The token table of a connection: who waits for which answer, and with which credit.
//!
//! A credit *is* a free entry of this table, and its number is the entry's index. Everything that a request needs comes with it:
//! a slot in the request lane, room for the answer, a handler entry and bulk buffers on both sides.
//!
//! ```text
//!            submit                      answer popped                taken
//!   FREE ───────────────▶ WAITING ───────────────────▶ IN_SLOT ─────────────▶ FREE
//!    │  ▲                    │  │                          │ not taken in place   ▲
//!    │  │                    │  │ connection ends          ▼                      │
//!    │  │                    │  └────────▶ FAILED ────▶ SAVED ───────────────────┘
//!    │  │                    │ call dropped
//!    │  │                    ▼        request drained, CANCEL sent
//!    │  │               ABANDONED ─────────────────────────────▶ CANCELLING
//!    │  │                    │ answer (ENDED)                        │
//!    │  └────────────────────┴───────────────────────────────────────┘
//!    │         answer (CANCEL_ONLY) *and* head beyond the CANCEL (CANCEL_SENT), in either order
//!    ├───────────▶ LEASED      a bulk buffer is being filled, or its answer read
//!    └───────────▶ ONE_WAY     back when the head has passed it
//! ```
//!
//! **Why no send ever checks for room.** Let R be the number of credits; the lane has at least R slots. A slot in use is one
//! whose message the peer has not drained. Each such message belongs to exactly one entry that is not FREE: a request's entry is
//! WAITING or ABANDONED until its answer has come, and a peer answers only what it has drained; a one-way send's entry, and a
//! CANCEL's, is kept until the peer's published head has passed it; and a CANCEL is only sent when its request's slot is drained,
//! so an entry never pays for two. So slots in use <= entries not free, and whoever holds a free entry has a free slot. A peer
//! that answers what it has not drained gets its own requests overwritten, and harms nobody else.

use baton_executor::NO_TASK;
use baton_inbox::{Info, PAYLOAD_WORDS, Token};
use core::cell::{Cell, RefCell};
use core::num::NonZeroU64;
use core::task::Waker;

use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// "No entry".
pub(crate) const NO_ENTRY: u16 = u16::MAX;

/// What an entry is for. A call that waits for its answer is `Plain` and expects a token; nothing on the way of an ordinary call
/// changes its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Free; or, with a token expected, a call waits for its answer.
    Plain,
    Saved,
    Failed,
    /// Nobody waits any more; CANCEL has not been sent.
    Abandoned,
    /// The answer came before CANCEL was sent.
    Ended,
    /// CANCEL is in the lane, the answer is still out.
    Cancelling,
    /// CANCEL was drained, the answer is still out.
    CancelSent,
    /// CANCEL is in the lane, the answer has come.
    CancelOnly,
    Leased,
    OneWay,
    /// Of no entry of the table; see [`Tokens::nobody`].
    Nobody,
}

/// One entry of the table: one cache line.
#[repr(align(64))]
pub(crate) struct Entry {
    /// The token that is awaited, or [`Token::NONE`]: validation of an answer is one compare.
    ///
    /// A call that was dropped expects nothing any more; its answer is recognised by the present token.
    pub(crate) expect: Cell<Token>,
    waker: Cell<Option<Waker>>,
    /// Where in the request lane the entry's latest message stands.
    pub(crate) position: Cell<u32>,
    /// The token of the present generation.
    token: Cell<Token>,
    /// The task that waits, if it does so with a waker of this executor. As wide as registers are used to.
    waiter: Cell<u32>,
    next: Cell<u16>,
    index: u16,
    pub(crate) state: Cell<State>,
}

/// A message without its token: an answer that was kept, or a request that waits for a credit.
pub(crate) type Queued = (Info, [u64; PAYLOAD_WORDS]);

/// Somebody in the queue for credits.
struct Waiter {
    ticket: NonZeroU64,
    waker: Option<Waker>,
    granted: u16,
    /// The request to submit as soon as a credit is granted; none for those who want the credit itself.
    request: Option<Queued>,
}

/// A queue of entries, linked through them.
struct Queue {
    first: Cell<u16>,
    last: Cell<u16>,
}

impl Queue {
    const fn new() -> Self {
        Queue {
            first: Cell::new(NO_ENTRY),
            last: Cell::new(NO_ENTRY),
        }
    }
}

pub(crate) struct Tokens {
    entries: Box<[Entry]>,
    nobody: Entry,
    /// Answers that their tasks did not take in place.
    saved: Box<[Cell<Queued>]>,
    free: Cell<u16>,
    /// Entries whose slot comes back with the head, in the order of their positions.
    by_head: Queue,
    /// Abandoned entries whose CANCEL has not been sent.
    to_cancel: Queue,
    closed: Cell<bool>,
    /// Number of waiters without a credit; above zero when closed.
    pub(crate) starving: Cell<u32>,
    waiters: RefCell<VecDeque<Waiter>>,
    next_ticket: Cell<NonZeroU64>,
}

impl Tokens {
    /// A table of `credits` free entries whose generations begin at `generation` (0, but in tests of wrapping).
    pub(crate) fn new(credits: u32, generation: u64) -> Self {
        let credits = credits.min(u32::from(NO_ENTRY)) as u16;
        let entry = |index, token, next, state| Entry {
            expect: Cell::new(Token::NONE),
            state: Cell::new(state),
            index,
            waiter: Cell::new(NO_TASK.into()),
            next: Cell::new(next),
            token: Cell::new(token),
            position: Cell::new(0),
            waker: Cell::new(None),
        };
        let entries = (0..credits)
            .map(|index| {
                let next = if index + 1 < credits {
                    index + 1
                } else {
                    NO_ENTRY
                };
                entry(index, Token::new(index, generation), next, State::Plain)
            })
            .collect();
        Tokens {
            entries,
            nobody: entry(NO_ENTRY, Token::NONE, NO_ENTRY, State::Nobody),
            saved: (0..credits)
                .map(|_| Cell::new((Info::from_raw(0), [0; PAYLOAD_WORDS])))
                .collect(),
            free: Cell::new(if credits == 0 { NO_ENTRY } else { 0 }),
            by_head: Queue::new(),
            to_cancel: Queue::new(),
            closed: Cell::new(false),
            starving: Cell::new(0),
            waiters: RefCell::new(VecDeque::new()),
            next_ticket: Cell::new(NonZeroU64::MIN),
        }
    }

    /// Credits in all.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(crate) fn entry(&self, index: u16) -> Option<&Entry> {
        self.entries.get(usize::from(index))
    }

    /// What stands for no entry: it expects nothing, and is not [`State::Plain`], so whoever asks it for an answer takes the slow way.
    #[inline(always)]
    pub(crate) fn nobody(&self) -> &Entry {
        &self.nobody
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The connection has ended: no credit is given out any more. Whoever asks for one takes the slow way, and learns it there;
    /// so the ordinary way need not ask.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.free.set(NO_ENTRY);
        // Sends every `release` to `grant`, which then drops the credit.
        self.starving.set(self.starving.get().saturating_add(1));
    }

    /// Takes a free credit, unless others wait for one.
    #[inline]
    pub(crate) fn take(&self) -> Option<&Entry> {
        // Waiters exist only when nothing is free: a freed credit goes to the first of them at once.
        let entry = self.entry(self.free.get())?;
        self.free.set(entry.next.get());
        Some(entry)
    }

    /// A credit was used: its next use must have another token.
    #[inline]
    pub(crate) fn begin_generation(&self, entry: &Entry) {
        entry.token.set(entry.token.get().next());
    }

    /// Ends the use of a credit and puts it to the free ones. Nobody may be waiting for one.
    #[inline]
    pub(crate) fn put_back(&self, entry: &Entry) {
        self.begin_generation(entry);
        entry.next.set(self.free.get());
        self.free.set(entry.index);
    }

    /// Ends the use of a credit and begins another at once, so that no late answer can be taken for the next one's.
    pub(crate) fn renew(&self, entry: &Entry) {
        self.begin_generation(entry);
        entry.state.set(State::Leased);
    }

    /// Gives a credit back, whose answer has come, to the first who waits for one. Says, when a queued request can now be submitted
    /// with it, which.
    #[cold]
    pub(crate) fn grant(&self, entry: &Entry) -> Option<Queued> {
        if self.closed.get() {
            return None;
        }
        let mut waiters = self.waiters.borrow_mut();
        let waiting = waiters.iter_mut().find(|w| w.granted == NO_ENTRY);
        let Some(waiter) = waiting else {
            debug_assert!(false, "starving counts waiters without a credit");
            return None;
        };
        self.starving.set(self.starving.get() - 1);
        entry.state.set(State::Leased);
        waiter.granted = entry.index;
        let request = waiter.request.take();
        // Who submits by the grant itself need not be woken before the answer; the entry takes the waker over.
        let waker = waiter.waker.take();
        drop(waiters);
        match (&request, waker) {
            (Some(_), Some(waker)) => entry.set_waker(&waker),
            (None, Some(waker)) => waker.wake(),
            // What an earlier use left behind is nobody's.
            (_, None) => drop(entry.take_waker()),
        }
        request
    }

    /// Joins the queue for credits, with a request to be submitted when one is granted, or for the credit itself.
    pub(crate) fn queue(&self, request: Option<Queued>) -> NonZeroU64 {
        let ticket = self.next_ticket.get();
        self.next_ticket.set(ticket.saturating_add(1));
        self.starving.set(self.starving.get() + 1);
        self.waiters.borrow_mut().push_back(Waiter {
            ticket,
            waker: None,
            granted: NO_ENTRY,
            request,
        });
        ticket
    }

    /// Takes the credit granted to `ticket`, or has `waker` woken when it is granted.
    pub(crate) fn poll_ticket(&self, ticket: NonZeroU64, waker: &Waker) -> Option<&Entry> {
        let mut waiters = self.waiters.borrow_mut();
        let at = waiters.iter().position(|w| w.ticket == ticket)?;
        let waiter = &mut waiters[at];
        if waiter.granted == NO_ENTRY {
            match &mut waiter.waker {
                Some(old) => old.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
            return None;
        }
        let index = waiter.granted;
        waiters.remove(at);
        self.entry(index)
    }

    /// Leaves the queue. Returns the entry if a credit was granted meanwhile.
    pub(crate) fn leave(&self, ticket: NonZeroU64) -> Option<&Entry> {
        let mut waiters = self.waiters.borrow_mut();
        let at = waiters.iter().position(|w| w.ticket == ticket)?;
        let left = waiters.remove(at)?;
        if left.granted == NO_ENTRY {
            self.starving.set(self.starving.get() - 1);
        }
        self.entry(left.granted)
    }

    /// Wakes all who wait for credits: there will be none.
    pub(crate) fn wake_waiters(&self) {
        let mut at = 0;
        loop {
            let mut waiters = self.waiters.borrow_mut();
            let Some(waiter) = waiters.get_mut(at) else {
                break;
            };
            let waker = waiter.waker.take();
            drop(waiters);
            if let Some(waker) = waker {
                waker.wake();
            }
            at += 1;
        }
    }

    /// Calls `visit` for each who waits for a credit, with the waker if there is one.
    pub(crate) fn each_waiting(&self, mut visit: impl FnMut(Option<&Waker>)) {
        for waiter in self.waiters.borrow().iter() {
            if waiter.granted == NO_ENTRY {
                visit(waiter.waker.as_ref());
            }
        }
    }

    /// Queues an entry whose slot comes back with the head. Positions only grow, so the queue is in their order.
    pub(crate) fn push_by_head(&self, entry: &Entry) {
        self.push(&self.by_head, entry);
    }

    /// Takes the first entry whose message has been drained, when the lane holds `head..tail`.
    pub(crate) fn pop_by_head(&self, head: u32, tail: u32) -> Option<&Entry> {
        let entry = self.entry(self.by_head.first.get())?;
        if !entry.is_drained(head, tail) {
            return None;
        }
        self.pop(&self.by_head)
    }

    /// Queues an abandoned entry for its CANCEL.
    pub(crate) fn push_to_cancel(&self, entry: &Entry) {
        self.push(&self.to_cancel, entry);
    }

    /// Takes the first abandoned entry.
    pub(crate) fn pop_to_cancel(&self) -> Option<&Entry> {
        self.pop(&self.to_cancel)
    }

    /// Whether abandoned entries wait for their CANCEL.
    pub(crate) fn has_to_cancel(&self) -> bool {
        self.to_cancel.first.get() != NO_ENTRY
    }

    /// Whether entries wait for the head.
    pub(crate) fn has_by_head(&self) -> bool {
        self.by_head.first.get() != NO_ENTRY
    }

    fn push(&self, queue: &Queue, entry: &Entry) {
        entry.next.set(NO_ENTRY);
        match self.entry(queue.last.get()) {
            Some(last) => last.next.set(entry.index),
            None => queue.first.set(entry.index),
        }
        queue.last.set(entry.index);
    }

    fn pop(&self, queue: &Queue) -> Option<&Entry> {
        let entry = self.entry(queue.first.get())?;
        queue.first.set(entry.next.get());
        if entry.next.get() == NO_ENTRY {
            queue.last.set(NO_ENTRY);
        }
        Some(entry)
    }

    /// Keeps an answer that its task did not take in place.
    pub(crate) fn save(&self, entry: &Entry, info: Info, payload: [u64; PAYLOAD_WORDS]) {
        if let Some(saved) = self.saved.get(usize::from(entry.index)) {
            saved.set((info, payload));
            entry.state.set(State::Saved);
        }
    }

    /// The answer that was kept for `entry`.
    pub(crate) fn saved(&self, entry: &Entry) -> Queued {
        match self.saved.get(usize::from(entry.index)) {
            Some(saved) => saved.get(),
            None => (Info::from_raw(0), [0; PAYLOAD_WORDS]),
        }
    }
}

impl Entry {
    /// Its number, which is the credit's.
    #[inline]
    pub(crate) fn index(&self) -> u16 {
        self.index
    }

    /// The token of its present generation.
    #[inline]
    pub(crate) fn token(&self) -> Token {
        self.token.get()
    }

    /// The task that waits for the answer, or [`NO_TASK`].
    #[inline(always)]
    pub(crate) fn waiter(&self) -> u32 {
        self.waiter.get()
    }

    #[inline(always)]
    pub(crate) fn set_waiter(&self, task: u16) {
        self.waiter.set(task.into());
    }

    /// Whether a call waits for its answer.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.expect.get() != Token::NONE
    }

    /// Whether the entry's latest message has been drained, when the lane holds `head..tail`.
    ///
    /// It was written once, perhaps very long ago: what is not in the lane any more has been drained, however often positions
    /// have wrapped since.
    pub(crate) fn is_drained(&self, head: u32, tail: u32) -> bool {
        self.position.get().wrapping_sub(head) >= tail.wrapping_sub(head)
    }

    /// Has `waker` woken when the answer comes.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.set_waiter(NO_TASK);
        let old = self.waker.take();
        self.waker.set(Some(match old {
            Some(old) if old.will_wake(waker) => old,
            _ => waker.clone(),
        }));
    }

    pub(crate) fn take_waker(&self) -> Option<Waker> {
        self.waker.take()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Heads and tails of a lane of four slots, and whether a message at position 7 is still in it.
    const AROUND_SEVEN: [(u32, u32, bool); 8] = [
        (7, 8, true),
        (4, 8, true),
        (7, 11, true),
        (8, 8, false),
        (8, 12, false),
        // As many messages later as positions can tell apart at most, and at least.
        (
            7u32.wrapping_add(1 << 31),
            9u32.wrapping_add(1 << 31),
            false,
        ),
        (
            9u32.wrapping_add(1 << 31),
            9u32.wrapping_add(1 << 31),
            false,
        ),
        (u32::MAX, 2, false),
    ];

    #[test]
    fn a_message_is_drained_when_it_is_no_longer_in_the_lane() {
        let tokens = Tokens::new(1, 0);
        let entry = tokens.entry(0).unwrap();
        entry.position.set(7);
        for (head, tail, inside) in AROUND_SEVEN {
            assert_eq!(entry.is_drained(head, tail), !inside, "{head}..{tail}");
        }
    }

    #[test]
    fn a_credit_comes_back_by_the_head_however_late_it_is_looked_for() {
        for (head, tail, inside) in AROUND_SEVEN {
            let tokens = Tokens::new(1, 0);
            let entry = tokens.take().unwrap();
            entry.position.set(7);
            tokens.push_by_head(entry);
            let back = tokens.pop_by_head(head, tail);
            assert_eq!(back.is_none(), inside, "{head}..{tail}");
        }
    }
}
