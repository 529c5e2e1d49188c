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
use crate::port::{Port, Ports, bits};
use alloc::rc::Rc;
use baton_executor::{InTurn, NO_TASK, Source};
use baton_inbox::{Band, Bell, Platform, Publication, Seen, sender_fence};
use baton_trace::Step;

/// Every so many times that the executor attends to it, a node looks at all lanes, whatever the hint says: every 256 turns at least.
const LOOK_AT_ALL: u32 = 4;

impl<P: Platform> Source for Inner<P> {
    type Held = Rc<Ports<P>>;

    fn hold(&self) -> Rc<Ports<P>> {
        self.ports()
    }

    #[cold]
    fn attend(&self, held: &mut Rc<Ports<P>>) {
        self.come_and_go(held);
        self.settle(held);
        self.set_tracing(self.ledger.handle.trace().is_on());
        let attended = self.attended.get().wrapping_add(1);
        self.attended.set(attended);
        if attended.is_multiple_of(LOOK_AT_ALL) {
            self.scan.look_at_all();
            for index in bits(self.scan.bound()) {
                if let Some(port) = held.get(index) {
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
    fn drain_single(&self, held: &Rc<Ports<P>>, turn: InTurn<'_>) -> Option<u32> {
        match held.only.as_deref() {
            Some(port) => Some(port.look(Some(turn))),
            None => self.drain_hinted(held, turn),
        }
    }

    #[cold]
    fn single_band(&self, held: &Rc<Ports<P>>) -> Band {
        let port = held.only.as_deref();
        let port = port.or_else(|| held.get(self.scan.last_only()));
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
    fn drain(&self, held: &Rc<Ports<P>>, turn: InTurn<'_>, candidates: u64, band: Band) -> u32 {
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
            done += held.get(index).map_or(0, |port| port.look(Some(turn)));
        }
        done
    }

    #[inline(always)]
    fn seems_busy(&self, held: &Rc<Ports<P>>) -> bool {
        held.only.as_deref().is_none_or(Port::has_message)
    }

    fn has_piled_up(&self, held: &Rc<Ports<P>>, messages: u32) -> bool {
        self.bound(held).any(|port| {
            let link = &port.connection.link;
            let requests = port.server().is_some() && link.requests_in.is_published(messages);
            requests || (port.connection.credits() != 0 && link.answers_in().is_published(messages))
        })
    }

    #[inline(always)]
    fn flush(&self, held: &Rc<Ports<P>>) {
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
            return connection.ring_if_needed(dirty);
        }
        let heads = ledger.heads.get();
        if dirty | heads != 0 {
            ledger.dirty.set(0);
            ledger.heads.set(0);
            self.flush_written(held, dirty, heads);
        }
    }

    fn last_look(&self, held: &Rc<Ports<P>>) -> bool {
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
                if let Some(port) = held.get(index) {
                    port.connection.link.set_want_space(true);
                }
            }
            // Orders the want before the heads read below, as `announce_sleep` did for everything else.
            sender_fence();
            self.settle(held);
        }
        if ledger.leaving.get() | ledger.dirty.get() | ledger.heads.get() != 0
            || !self.arriving.borrow().is_empty()
        {
            return true;
        }
        self.bound(held).any(Port::has_message)
    }

    fn woken(&self, held: &Rc<Ports<P>>) -> bool {
        for index in bits(self.wanting.replace(0)) {
            if let Some(port) = held.get(index) {
                port.connection.link.set_want_space(false);
            }
        }
        self.scan.look_at_all();
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
    fn drain_hinted(&self, held: &Ports<P>, turn: InTurn<'_>) -> Option<u32> {
        if P::Publication::DISPATCHED || P::Publication::ONE_RING {
            return None;
        }
        let port = held.find(self.scan.hinted_only())?;
        let found = port.look(Some(turn));
        if found == 0 {
            self.note_idle(self.scan.last_only(), port);
        }
        Some(found)
    }

    /// As `drain`, where the hint is in use. Of cold connections only those are looked at that have a message: mostly none has.
    #[inline(never)]
    fn drain_many(&self, held: &Ports<P>, turn: InTurn<'_>, candidates: u64, band: Band) -> u32 {
        let hot = self.scan.hot();
        let mut done = 0;
        for index in self.scan.visit(candidates, band) {
            let Some(port) = held.get(index) else {
                continue;
            };
            if hot & 1 << index == 0 && !port.has_message() {
                continue;
            }
            let found = port.look(Some(turn));
            if found != 0 {
                self.scan.was_busy(index);
            } else {
                self.note_idle(index, port);
            }
            done += found;
        }
        done
    }

    /// A look at connection `index` was in vain. If that has cleared its bit, the next turn looks again.
    #[cold]
    #[inline(never)]
    fn note_idle(&self, index: u32, port: &Port<P>) {
        if self.scan.was_idle(index, port.connection.link.drained()) {
            self.scan.look_again(index);
        }
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
            Some(port) if port.connection.bit == all => port.connection.ring_if_needed(dirty),
            _ => self.ring_all(ports, dirty, heads),
        }
    }

    #[inline(never)]
    fn ring_all(&self, ports: &Ports<P>, dirty: u64, heads: u64) {
        for index in bits(dirty | heads) {
            match ports.get(index) {
                Some(port) => port.connection.ring_if_needed(dirty),
                None => self.keep_for_arrival(dirty & 1 << index),
            }
        }
    }
}

impl<P: Platform> Connection<P> {
    /// Tells the peer, after the fence, of messages that were written, or of heads if it wants to hear of them.
    #[inline(always)]
    fn ring_if_needed(&self, dirty: u64) {
        let seen = self.link.peer_state.look();
        if !seen.wants_notice() {
            return;
        }
        let written = dirty & self.bit != 0;
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
