//! What an executor does when a turn has found nothing.
//!
//! ```text
//! Poll      look again, for ever
//! Adaptive  look again, for a measured while ─▶ yield the core, a few times ─▶ sleep
//!           (not at all on a shared core)
//! Park      sleep
//! ```
//!
//! Invariant: before it waits, an executor announces that it sleeps and looks at everything once more (`sleep`); so no wake and no
//! message is lost, whatever it did before.
//!
//! Neighbours: `run` has the turns in between; the platform measures spins and knows whether a core is shared.

use super::Local;
use crate::config::Mode;
use crate::source::Source;
use crate::table::ATTEND_SOURCE;
use baton_inbox::Platform;
use baton_sync::spin_loop;
use baton_trace::Step;

/// Messages without a turn in vain between them, above which the next are let pile up.
const PILE_FROM: u32 = 4;
/// As many messages at most are waited for.
const PILE: u32 = 16;
/// Spins at most while they are waited for.
const PILE_SPINS: u32 = 32;

/// Looks in an idle turn of `Poll` and `Adaptive`.
const GLANCES: u32 = 8;

/// Times that `Adaptive` yields its core in vain before it sleeps.
pub(super) const YIELDS: u32 = 32;

/// Idle turns before `Adaptive` looks at the clock for the first time.
const CLOCK_FROM: u32 = 8;

impl<P: Platform> Local<P> {
    /// A turn found something.
    #[inline(always)]
    pub(super) fn busy(&self) {
        self.yields_left.set(YIELDS);
        if self.idle_turns.replace(0) >= CLOCK_FROM {
            let spun_ns = self.platform.now_ns() - self.spin_since_ns.get();
            self.platform.spin_ended(spun_ns, true);
        }
    }

    /// A turn found nothing, after a streak of so many messages.
    pub(super) fn idle<S: Source>(&self, source: &S, held: &mut S::Held, mode: Mode, streak: u32) {
        match mode {
            Mode::Park => self.sleep(source, held),
            Mode::Poll => {
                self.platform.ring_deferred();
                self.spin(source, held, streak);
            }
            Mode::Adaptive => {
                self.platform.ring_deferred();
                let turns = self.idle_turns.get() + 1;
                self.idle_turns.set(turns);
                if turns == 1 {
                    self.budget_ns.set(self.platform.spin_budget_ns());
                }
                let budget_ns = self.budget_ns.get();
                if budget_ns == 0 {
                    return self.yield_or_sleep(source, held);
                }
                if turns == CLOCK_FROM {
                    self.spin_since_ns.set(self.platform.now_ns());
                } else if turns.is_multiple_of(CLOCK_FROM) {
                    let spun_ns = self.platform.now_ns() - self.spin_since_ns.get();
                    if spun_ns >= budget_ns {
                        self.platform.spin_ended(spun_ns, false);
                        return self.yield_or_sleep(source, held);
                    }
                }
                self.spin(source, held, streak);
            }
        }
    }

    /// Lets others have the core a few times, and sleeps when that was in vain.
    fn yield_or_sleep<S: Source>(&self, source: &S, held: &mut S::Held) {
        self.idle_turns.set(0);
        let yields = self.yields_left.get();
        if yields != 0 && self.platform.yield_core() {
            return self.yields_left.set(yields - 1);
        }
        self.yields_left.set(YIELDS);
        self.sleep(source, held);
    }

    #[inline]
    fn spin<S: Source>(&self, source: &S, held: &S::Held, streak: u32) {
        if streak > PILE_FROM {
            self.let_pile_up(source, held, streak);
        } else {
            self.glance(source, held);
        }
    }

    /// After a streak of messages: waits, briefly, until some have come together again.
    ///
    /// A consumer right on the heels of its producer looks at each slot before it is written, and so takes its cache line away from the
    /// producer, which must fetch it back for the write: both are slower for it. Whoever only ever has a few requests under way is
    /// not made to wait.
    fn let_pile_up<S: Source>(&self, source: &S, held: &S::Held, streak: u32) {
        let pile = (streak / 2).min(PILE);
        for _ in 0..streak.min(PILE_SPINS) {
            spin_loop();
            if source.has_piled_up(held, pile) || self.core.foreign.is_pending() {
                break;
            }
        }
    }

    /// Spins until something seems to be there, a few looks at most: a look costs less than a turn, so a message is noticed sooner.
    #[inline]
    fn glance<S: Source>(&self, source: &S, held: &S::Held) {
        for _ in 0..GLANCES {
            if source.seems_busy(held)
                || self.core.foreign.is_pending()
                || self.core.is_attention_due()
            {
                break;
            }
            spin_loop();
        }
    }

    fn sleep<S: Source>(&self, source: &S, held: &mut S::Held) {
        let core = &self.core;
        // Announced to foreign wakes and to senders alike; the fence in `announce_sleep` orders both against the last look.
        core.foreign.set_sleeping(true);
        self.state.announce_sleep();
        let deadline_ns = self.timers.borrow().next_ns();
        if !(source.last_look(held) || core.foreign.is_pending() || core.ready_bands() != 0) {
            self.event(Step::Sleep);
            self.platform.wait(deadline_ns);
            self.event(Step::Woken);
        } else {
            self.platform.ring_deferred();
        }
        core.foreign.set_sleeping(false);
        self.state.awake();
        self.platform.attend();
        if source.woken(held) {
            core.attend(ATTEND_SOURCE);
        }
    }
}
