//! Samples of one row, and what is left of them when ticks are taken out.

use baton_counting::time;

/// Samples that a row can have.
pub const MAX_ROUNDS: usize = 1000;

/// Ticks of the machine's timebase between two of the kernel's timer interrupts: 2 ms at 10 MHz.
const TIMEBASE_A_TICK: u64 = 20_000;

/// The least that a timer interrupt costs, in instructions: saving and restoring the registers of a thread alone is more.
const LEAST_OF_A_TICK: u64 = 60;

/// What was measured of one row.
#[derive(Debug)]
pub struct Samples {
    /// Instructions of a sample.
    values: [u64; MAX_ROUNDS],
    count: usize,
    /// Rounds in each sample.
    rounds: u64,
    started: u64,
    ended: u64,
}

/// What is left of the samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Instructions of the median sample that no tick has hit.
    pub median: u64,
    /// Instructions of the shortest.
    pub least: u64,
    /// Instructions of the longest that no tick has hit.
    pub most: u64,
    /// Rounds in each sample.
    pub rounds: u64,
    /// Samples that no tick has hit.
    pub kept: usize,
    /// Samples that were dropped.
    pub dropped: usize,
    /// Timer interrupts that there can have been while samples were taken.
    pub ticks: u64,
}

impl Samples {
    /// Begins, with that many rounds in each sample.
    pub fn begin(rounds: u64) -> Self {
        let now = time();
        Self {
            values: [0; MAX_ROUNDS],
            count: 0,
            rounds,
            started: now,
            ended: now,
        }
    }

    /// From now on samples count.
    pub fn restart(&mut self) {
        self.count = 0;
        self.started = time();
        self.ended = self.started;
    }

    /// Adds a sample; more than there is room for are left out.
    pub fn push(&mut self, instructions: u64) {
        if let Some(place) = self.values.get_mut(self.count) {
            *place = instructions;
            self.count += 1;
        }
        self.ended = time();
    }

    /// Sorts the samples. One that a timer interrupt has hit is longer than the shortest by the whole interrupt; if more were dropped than
    /// there were ticks, the row does not repeat, and whoever reads it must refuse it.
    pub fn summary(mut self) -> Summary {
        let values = self.values.get_mut(..self.count).unwrap_or_default();
        values.sort_unstable();
        let least = values.first().copied().unwrap_or(0);
        let kept = values.partition_point(|&value| value < least + LEAST_OF_A_TICK);
        let value = |index: usize| values.get(index).copied().unwrap_or(0);
        Summary {
            median: value(kept / 2),
            least,
            most: value(kept.saturating_sub(1)),
            rounds: self.rounds,
            kept,
            dropped: values.len() - kept,
            ticks: (self.ended - self.started) / TIMEBASE_A_TICK + 1,
        }
    }
}
