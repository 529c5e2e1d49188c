//! Steps 3, 4 and 7 seen from the executor: the node is the [`Source`] of its messages.
//!
//! A turn drains the lanes of the connections that may have something, band by band. Step 3, ringing, happens once at its end
//! for all that the turn wrote to each destination. Before it sleeps the executor asks for a last look.
//!
//! Invariant: all that a turn wrote is published before the one fence, and each peer's state is read after it; the sleeper's side
//! is the other way round. So either the peer's last look finds a message or it is rung for.
//!
//! Neighbours: `baton-executor` calls; `port` has the look at one connection; `arrival` does what is done only now and then.

use crate::connection::Connection;
use crate::node::Inner;
use crate::port::{Looks, Port, Ports, bits};
use baton_executor::{InTurn, NO_TASK, Source};
use baton_inbox::{Band, Bell, Platform, Publication, Seen, sender_fence};
use baton_trace::Step;

/// Every so many times that the executor attends to it, a node looks at all lanes, whatever the hint says: every 256 turns at least.
const LOOK_AT_ALL: u32 = 4;

impl<P: Platform> Source for Inner<P> {
    type Held = Looks<P>;

    fn hold(&self) -> Looks<P> {
        Looks::at(self.ports())
    }

    #[cold]
    fn attend(&self, held: &mut Looks<P>) {
        self.come_and_go(held);
        self.settle(&held.ports);
        self.set_tracing(self.ledger.handle.trace().is_on());
        let attended = self.attended.get().wrapping_add(1);
        self.attended.set(attended);
        if attended.is_multiple_of(LOOK_AT_ALL) {
            self.scan.look_at_all();
            held.hinted = None;
            for index in bits(held.ports.callers) {
                if let Some(port) = held.ports.get(index) {
                    port.connection.link.publish_answer_head();
                }
            }
        }
        if self.ledger.unsettled.get() != 0 {
            // Only the peer's head can change this, and it does so without a message.
            self.ledger.handle.attend();
        }
    }

    #[inline(always)]
    fn drain_single(&self, held: &mut Looks<P>, turn: InTurn<'_>) -> Option<u32> {
        match held.only.as_deref() {
            Some(port) => Some(port.look(Some(turn))),
            None => self.drain_hinted(held, turn),
        }
    }

    #[cold]
    fn single_band(&self, held: &Looks<P>) -> Band {
        let port = held.only.as_deref().or(held.hinted.as_deref());
        port.map_or(Band::NORMAL, |port| port.connection.band)
    }

    #[inline]
    fn candidates(&self) -> u64 {
        self.scan.candidates()
    }

    #[inline]
    fn bands(&self) -> u32 {
        self.scan.bands()
    }

    #[inline(always)]
    fn drain(&self, held: &mut Looks<P>, turn: InTurn<'_>, candidates: u64, band: Band) -> u32 {
        if P::Publication::DISPATCHED {
            self.wake_dispatcher(candidates);
            return 0;
        }
        if P::Publication::ONE_RING {
            return self.drain_ring(Some(turn));
        }
        // One after the other, another one first each turn.
        let mut done = 0;
        if self.scan.is_hinted() {
            return self.drain_many(held, turn, candidates, band);
        }
        for index in self.scan.visit(candidates, band) {
            let port = held.ports.get(index);
            done += port.map_or(0, |port| port.look(Some(turn)));
        }
        done
    }

    #[inline(always)]
    fn seems_busy(&self, held: &Looks<P>) -> bool {
        held.only.as_deref().is_none_or(Port::has_message)
    }

    fn has_piled_up(&self, held: &Looks<P>, messages: u32) -> bool {
        self.bound(&held.ports).any(|port| {
            let link = &port.connection.link;
            let requests = port.server().is_some() && link.requests_in.is_published(messages);
            requests || (port.connection.credits() != 0 && link.answers_in().is_published(messages))
        })
    }

    #[inline(always)]
    fn flush(&self, held: &Looks<P>) {
        let ledger = &*self.ledger;
        let dirty = ledger.dirty.get();
        // Mostly there is one connection, and it was written to: then its heads do not matter.
        if let Some(port) = held.only.as_deref()
            && dirty == port.connection.bit
        {
            ledger.dirty.set(0);
            ledger.heads.set(0);
            let connection = &*port.connection;
            if P::Publication::HOLDS_BACK {
                connection.link.flush();
            }
            sender_fence();
            return connection.ring_if_needed(true);
        }
        let heads = ledger.heads.get();
        let all = dirty | heads;
        // Where the hint told of one connection, it is mostly the one that was written to, and no other.
        if let Some(port) = held.hinted.as_deref()
            && all == port.connection.bit
        {
            ledger.dirty.set(0);
            ledger.heads.set(0);
            return port.connection.flush_written(dirty);
        }
        if all != 0 {
            ledger.dirty.set(0);
            ledger.heads.set(0);
            self.flush_written(&held.ports, dirty, heads);
        }
    }

    fn last_look(&self, held: &Looks<P>) -> bool {
        let ledger = &self.ledger;
        if let Some(ring) = &ledger.ring
            && !matches!(ring.peek(), Ok(None))
        {
            return true;
        }
        let unsettled = ledger.unsettled.get();
        if unsettled != 0 {
            self.wanting.set(unsettled);
            for index in bits(unsettled) {
                if let Some(port) = held.ports.get(index) {
                    port.connection.link.set_want_space(true);
                }
            }
            // Orders the want before the heads read below, as `announce_sleep` did for everything else.
            sender_fence();
            self.settle(&held.ports);
        }
        if ledger.leaving.get() | ledger.dirty.get() | ledger.heads.get() != 0
            || !self.arriving.borrow().is_empty()
        {
            return true;
        }
        self.bound(&held.ports).any(Port::has_message)
    }

    fn woken(&self, held: &mut Looks<P>) -> bool {
        for index in bits(self.wanting.replace(0)) {
            if let Some(port) = held.ports.get(index) {
                port.connection.link.set_want_space(false);
            }
        }
        self.scan.look_at_all();
        held.hinted = None;
        let ledger = &*self.ledger;
        let changed = ledger.unsettled.get() | ledger.leaving.get() != 0;
        changed || ledger.tracing.get() != ledger.handle.trace().is_on()
    }
}

impl<P: Platform> Inner<P> {
    /// The ports that are in the scan. Cheaper than all places of `held` where few are taken, and these are looked at around each sleep.
    #[inline]
    fn bound<'h>(&self, held: &'h Ports<P>) -> impl Iterator<Item = &'h Port<P>> {
        bits(self.scan.bound()).filter_map(|index| held.get(index))
    }

    /// Drains the only connection that the hint tells of, if it is in use and tells of one.
    #[inline(always)]
    fn drain_hinted(&self, held: &mut Looks<P>, turn: InTurn<'_>) -> Option<u32> {
        if P::Publication::DISPATCHED || P::Publication::ONE_RING {
            return None;
        }
        if held.hinted.is_none() || held.hint != self.scan.hint() {
            self.find_hinted(held);
        }
        let port = held.hinted.as_deref()?;
        let found = port.look(Some(turn));
        if found == 0 && self.note_idle(port) {
            held.hinted = None;
        }
        Some(found)
    }

    /// Finds the connection that the hint tells of, if it is the only one to be looked at.
    #[inline(never)]
    fn find_hinted(&self, held: &mut Looks<P>) {
        let hint = self.scan.hint();
        let only = self.scan.only(hint);
        let port = only.and_then(|index| held.ports.shared(index));
        (held.hint, held.hinted) = (hint, port.cloned());
    }

    /// As `drain`, where the hint is in use. Of cold connections only those are looked at that have a message: mostly none has.
    #[inline(never)]
    fn drain_many(
        &self,
        held: &mut Looks<P>,
        turn: InTurn<'_>,
        candidates: u64,
        band: Band,
    ) -> u32 {
        let (ports, hinted) = (&*held.ports, &mut held.hinted);
        let hot = self.scan.hint();
        let mut done = 0;
        for index in self.scan.visit(candidates, band) {
            let Some(port) = ports.get(index) else {
                continue;
            };
            if hot & 1 << index == 0 && !port.has_message() {
                continue;
            }
            let found = port.look(Some(turn));
            if found != 0 {
                self.scan.was_busy(index);
            } else if self.note_idle(port) {
                *hinted = None;
            }
            done += found;
        }
        done
    }

    /// A look at `port` was in vain. If that has cleared its bit, says so, and the next turn looks again: at more than the hint tells of.
    #[cold]
    #[inline(never)]
    fn note_idle(&self, port: &Port<P>) -> bool {
        let index = port.connection.index().into();
        let cooled = self.scan.was_idle(index, port.connection.link.drained());
        if cooled {
            self.scan.look_again(index);
        }
        cooled
    }

    #[inline(always)]
    fn flush_written(&self, ports: &Ports<P>, dirty: u64, heads: u64) {
        if P::Publication::HOLDS_BACK {
            // Before the fence: who reads a peer's state must have published all that the peer is to find in its last look.
            for index in bits(dirty) {
                if let Some(port) = ports.get(index) {
                    port.connection.link.flush();
                }
            }
        }
        sender_fence();
        let all = dirty | heads;
        match ports.get(all.trailing_zeros()) {
            Some(port) if port.connection.bit == all => port.connection.ring_if_needed(dirty != 0),
            _ => self.ring_all(ports, dirty, heads),
        }
    }

    #[inline(never)]
    fn ring_all(&self, ports: &Ports<P>, dirty: u64, heads: u64) {
        for index in bits(dirty | heads) {
            match ports.get(index) {
                Some(port) => {
                    let written = dirty & port.connection.bit != 0;
                    port.connection.ring_if_needed(written);
                }
                None => self.keep_for_arrival(dirty & 1 << index),
            }
        }
    }
}

impl<P: Platform> Connection<P> {
    /// Ends a turn that wrote to this connection alone: messages if `dirty` is not zero, and heads.
    #[inline(always)]
    fn flush_written(&self, dirty: u64) {
        if P::Publication::HOLDS_BACK && dirty != 0 {
            self.link.flush();
        }
        sender_fence();
        self.ring_if_needed(dirty != 0);
    }

    /// Tells the peer, after the fence, of messages if some were written, or of heads if it wants to hear of them.
    #[inline(always)]
    fn ring_if_needed(&self, written: bool) {
        let seen = self.link.peer_state.look();
        if !seen.wants_notice() {
            return;
        }
        if seen.is_hinted() && written {
            self.link.peer_hint.raise();
        }
        if seen.is_sleeping() {
            self.ring_for(seen, written);
        }
    }

    /// Rings a peer that sleeps, unless it was rung already or is not to hear of heads.
    #[cold]
    #[inline(never)]
    fn ring_for(&self, seen: Seen, written: bool) {
        let wanted = written || self.link.peer_wants_space();
        if wanted && self.link.peer_state.must_ring_for(seen) {
            self.ring();
        }
    }

    /// Step 3: the peer sleeps and was not rung for it yet.
    #[cold]
    fn ring(&self) {
        if self.tracing() {
            self.event(Step::Ring, NO_TASK, baton_inbox::Token::NONE, 0);
        }
        self.bell.ring();
    }
}
