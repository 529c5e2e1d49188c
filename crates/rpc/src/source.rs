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
use baton_executor::{InTurn, NO_TASK, Source};
use baton_inbox::{Band, Bell, MAX_CONNECTIONS, Platform, Publication, sender_fence};
use baton_trace::Step;

impl<P: Platform> Source for Inner<P> {
    #[cold]
    fn attend(&self) {
        self.come_and_go();
        self.settle();
        self.ledger.tracing.set(self.ledger.handle.trace().is_on());
        self.scan.look_at_all();
        if self.ledger.unsettled.get() != 0 {
            // Only the peer's head can change this, and it does so without a message.
            self.ledger.handle.attend();
        }
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
    fn drain(&self, turn: InTurn<'_>, candidates: u64, band: Band) -> u32 {
        if P::Publication::DISPATCHED {
            self.wake_dispatcher(candidates);
            return 0;
        }
        if P::Publication::ONE_RING {
            return self.drain_ring(Some(turn));
        }
        let members = self.scan.members(candidates, band);
        if members == 0 {
            return 0;
        }
        let Some(borrowed) = self.borrow_ports() else {
            return 0;
        };
        let Some(ports) = borrowed.ports.as_deref() else {
            return 0;
        };
        if members & (members - 1) != 0 {
            return self.drain_many(turn, ports, candidates, band);
        }
        self.drain_one(turn, ports, members.trailing_zeros())
    }

    #[inline(always)]
    fn flush(&self) {
        let ledger = &*self.ledger;
        let dirty = ledger.dirty.get();
        let heads = ledger.heads.get();
        if dirty | heads != 0 {
            ledger.dirty.set(0);
            ledger.heads.set(0);
            self.with_ports(|ports| self.flush_written(ports, dirty, heads));
        }
    }

    fn last_look(&self) -> bool {
        let ledger = &self.ledger;
        if let Some(ring) = &ledger.ring
            && !matches!(ring.peek(), Ok(None))
        {
            return true;
        }
        let unsettled = ledger.unsettled.get();
        if unsettled != 0 {
            self.with_ports(|ports| {
                for index in bits(unsettled) {
                    if let Some(port) = &ports[index as usize] {
                        port.connection.link.set_want_space(true);
                    }
                }
            });
            // Orders the want before the heads read below, as `announce_sleep` did for everything else.
            sender_fence();
            self.settle();
        }
        if ledger.leaving.get() | ledger.dirty.get() | ledger.heads.get() != 0
            || !self.arriving.borrow().is_empty()
        {
            return true;
        }
        let found = self.with_ports(|ports| {
            ports.iter().flatten().any(|port| {
                port.connection.has_answer()
                    || (port.server.is_some() && port.connection.has_request())
            })
        });
        found.unwrap_or(true)
    }

    fn woken(&self) {
        self.with_ports(|ports| {
            for port in ports.iter().flatten() {
                port.connection.link.set_want_space(false);
            }
        });
    }
}

impl<P: Platform> Inner<P> {
    #[inline(always)]
    fn drain_one(&self, turn: InTurn<'_>, ports: &Ports<P>, index: u32) -> u32 {
        let Some(port) = &ports[index as usize % MAX_CONNECTIONS] else {
            return 0;
        };
        let found = port.look(Some(turn));
        if self.scan.is_hinted() {
            return found + self.note_look(turn, port, index, found);
        }
        found
    }

    /// Drains several connections of a band, another one first each turn.
    #[inline(never)]
    fn drain_many(&self, turn: InTurn<'_>, ports: &Ports<P>, candidates: u64, band: Band) -> u32 {
        let mut done = 0;
        for index in self.scan.visit(candidates, band) {
            done += self.drain_one(turn, ports, index);
        }
        done
    }

    /// What a look found at connection `index`, for the hint; looks again if the hint was just cleared.
    #[cold]
    #[inline(never)]
    fn note_look(&self, turn: InTurn<'_>, port: &Port<P>, index: u32, found: u32) -> u32 {
        if found != 0 {
            self.scan.was_busy(index);
            return 0;
        }
        if !self.scan.was_idle(index) {
            return 0;
        }
        let found = port.look_again(turn);
        if found != 0 {
            self.scan.was_busy(index);
        }
        found
    }

    #[inline(always)]
    fn flush_written(&self, ports: &Ports<P>, dirty: u64, heads: u64) {
        if P::Publication::HOLDS_BACK {
            // Before the fence: who reads a peer's state must have published all that the peer is to find in its last look.
            for index in bits(dirty) {
                if let Some(port) = &ports[index as usize] {
                    port.connection.link.flush();
                }
            }
        }
        sender_fence();
        let mut left = dirty | heads;
        while left != 0 {
            let index = left.trailing_zeros() as usize % MAX_CONNECTIONS;
            left &= left - 1;
            let Some(port) = &ports[index] else {
                self.keep_for_arrival(dirty & 1 << index);
                continue;
            };
            let link = &port.connection.link;
            if dirty & port.connection.bit != 0 {
                link.peer_hint.raise();
            } else if !link.peer_wants_space() {
                continue;
            }
            if link.peer_state.must_ring() {
                port.connection.ring();
            }
        }
    }
}

impl<P: Platform> Connection<P> {
    /// Step 3: the peer sleeps and was not rung for it yet.
    #[cold]
    fn ring(&self) {
        if self.tracing() {
            self.event(Step::Ring, NO_TASK, baton_inbox::Token::NONE, 0);
        }
        self.bell.ring();
    }
}
