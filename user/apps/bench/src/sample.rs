//! Samples of one row.

use baton_counting::{Summary, summarize, time};

/// Samples that a row can have.
pub const MAX_ROUNDS: usize = 1000;

/// What was measured of one row.
#[derive(Debug)]
pub struct Samples {
    /// Instructions of each sample.
    values: [u64; MAX_ROUNDS],
    count: usize,
    /// Rounds in each sample.
    pub rounds: u64,
    /// Samples that one timer interrupt can change.
    hit: u64,
    started: u64,
    ended: u64,
}

impl Samples {
    /// Begins, with that many rounds in each sample.
    pub fn begin(rounds: u64) -> Self {
        Self::begin_among_several(rounds, 1)
    }

    /// As [`Samples::begin`], where a timer interrupt can change so many samples: if it ends a time slice and so changes the order of
    /// several threads, that also shows in the sample behind it.
    pub fn begin_among_several(rounds: u64, hit: u64) -> Self {
        let now = time();
        Self {
            values: [0; MAX_ROUNDS],
            count: 0,
            rounds,
            hit,
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

    /// What is left of them when those that a timer interrupt has hit are taken out.
    pub fn summary(&mut self) -> Summary {
        let values = self.values.get_mut(..self.count).unwrap_or_default();
        summarize(values, self.ended - self.started, self.hit)
    }
}
