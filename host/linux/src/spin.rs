//! How long to look before sleeping, as a pure function of how the last spins and sleeps went.
//!
//! A spin pays when work arrives within it and nobody else needed the core. So the budget is a few times the mean of what
//! successful spins took, at most [`MAX_SPIN_NS`]; when few succeed, only every so many sleeps one spin is tried; when a spin
//! ended much later than its budget allowed, the thread was preempted in it (more runnable threads than cores), and
//! spinning stops for a while. "A while" is counted in sleeps, not in time.

/// Longest spin.
pub const MAX_SPIN_NS: u64 = 50_000;
/// Shortest spin, so that one quick answer does not make the next spin too short for an ordinary one.
pub const MIN_SPIN_NS: u64 = 4_000;
/// A spin that ends this much later than its budget was preempted.
pub const PREEMPTED_NS: u64 = 20_000;
/// Sleeps without a spin after a preempted one.
pub const OFF_AFTER_PREEMPTION: u32 = 256;
/// Sleeps without a spin while spins hardly ever succeed.
pub const OFF_WHILE_USELESS: u32 = 32;

/// Rate of success in 1/1024, below which spinning counts as useless.
const USELESS_RATE: u32 = 1024 / 8;
const FULL_RATE: u32 = 1024;

/// The measure of how spins went; see the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spin {
    rate: u32,
    mean_ns: u64,
    off_sleeps: u32,
}

impl Default for Spin {
    fn default() -> Self {
        Spin::new()
    }
}

impl Spin {
    /// Begins hopefully: full rate, longest spin.
    pub const fn new() -> Spin {
        Spin {
            rate: FULL_RATE,
            mean_ns: MAX_SPIN_NS / 4,
            off_sleeps: 0,
        }
    }

    /// How long to spin now.
    #[inline]
    pub fn budget_ns(&self) -> u64 {
        if self.off_sleeps > 0 {
            0
        } else {
            (self.mean_ns * 4).clamp(MIN_SPIN_NS, MAX_SPIN_NS)
        }
    }

    /// A spin took `spun_ns` and found work or did not.
    pub fn ended(&mut self, spun_ns: u64, found_work: bool) {
        if spun_ns == 0 && !found_work {
            return;
        }
        if spun_ns > self.budget_ns() + PREEMPTED_NS {
            self.off_sleeps = OFF_AFTER_PREEMPTION;
            return;
        }
        let success = if found_work { FULL_RATE } else { 0 };
        self.rate = (self.rate * 7 + success) / 8;
        if found_work {
            self.mean_ns = (self.mean_ns * 7 + spun_ns) / 8;
        } else if self.rate < USELESS_RATE {
            self.off_sleeps = OFF_WHILE_USELESS;
            // The next try may look as long as any.
            self.mean_ns = MAX_SPIN_NS / 4;
        }
    }

    /// The consumer slept.
    #[inline]
    pub fn slept(&mut self) {
        self.off_sleeps = self.off_sleeps.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_with_the_longest_spin() {
        assert_eq!(Spin::new().budget_ns(), MAX_SPIN_NS);
    }

    #[test]
    fn quick_answers_shorten_the_spin_to_the_least() {
        let mut spin = Spin::new();
        for _ in 0..200 {
            assert!(spin.budget_ns() >= MIN_SPIN_NS);
            spin.ended(300, true);
        }
        assert_eq!(spin.budget_ns(), MIN_SPIN_NS);
    }

    #[test]
    fn the_budget_never_exceeds_the_longest() {
        let mut spin = Spin::new();
        for _ in 0..200 {
            spin.ended(MAX_SPIN_NS, true);
            assert_eq!(spin.budget_ns(), MAX_SPIN_NS);
        }
    }

    #[test]
    fn a_preempted_spin_turns_spinning_off_for_exactly_so_many_sleeps() {
        let mut spin = Spin::new();
        spin.ended(MAX_SPIN_NS + PREEMPTED_NS, false);
        assert_ne!(spin.budget_ns(), 0, "late, but not late enough");
        spin.ended(MAX_SPIN_NS + PREEMPTED_NS + 1, true);
        for _ in 0..OFF_AFTER_PREEMPTION {
            assert_eq!(spin.budget_ns(), 0);
            spin.slept();
        }
        assert_eq!(spin.budget_ns(), MAX_SPIN_NS);
    }

    #[test]
    fn useless_spins_are_tried_now_and_then_only() {
        let mut spin = Spin::new();
        let mut failures = 0;
        while spin.budget_ns() > 0 {
            spin.ended(spin.budget_ns(), false);
            failures += 1;
        }
        // 1024 * (7/8)^n falls below 128 at n = 16; integer division is a little faster.
        assert!((14..=16).contains(&failures), "{failures}");
        for _ in 0..OFF_WHILE_USELESS {
            assert_eq!(spin.budget_ns(), 0);
            spin.slept();
        }
        assert_eq!(spin.budget_ns(), MAX_SPIN_NS);
        spin.ended(MAX_SPIN_NS, false);
        assert_eq!(spin.budget_ns(), 0, "one failed try is enough");
    }

    #[test]
    fn one_success_among_the_tries_turns_spinning_on_again() {
        let mut spin = Spin::new();
        while spin.budget_ns() > 0 {
            spin.ended(spin.budget_ns(), false);
        }
        for _ in 0..OFF_WHILE_USELESS {
            spin.slept();
        }
        spin.ended(1_000, true);
        spin.ended(1_000, false);
        assert_ne!(spin.budget_ns(), 0);
    }

    #[test]
    fn not_having_spun_teaches_nothing() {
        let mut spin = Spin::new();
        let before = spin;
        spin.ended(0, false);
        assert_eq!(spin, before);
    }
}
