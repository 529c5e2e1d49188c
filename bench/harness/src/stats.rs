//! Clock and statistics: the median of samples, the recorder of round trips, the meter of throughput.
//!
//! A round trip between cores takes little more than reading the clock. So awake round trips are timed in batches of
//! [`AWAKE_BATCH`], one clock reading a batch, and p50 and p99 are those of the batches' means. Asleep, each is
//! timed by itself. The rule is the same for every peer.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::{Job, Metric, Values, Workload};

/// Round trips between two clock readings when both sides stay awake.
pub const AWAKE_BATCH: u32 = 16;
/// Answers between two clock readings when throughput is metered.
const METER_STRIDE: u64 = 64;
/// Longer batches count as this long.
const LONGEST_NS: u64 = 60_000_000_000;
/// The warm-up is this part of the measured time.
const WARM_UP_DIVISOR: u32 = 8;

/// The median, or `None` of nothing.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(
        sorted
            .get(sorted.len() / 2 - 1)
            .map_or(upper, |lower| (lower + upper) / 2.0),
    )
}

/// Times round trips: do [`batch`](Self::batch) of them, call [`lap`](Self::lap), until it says false.
#[derive(Debug)]
pub struct LatencyRecorder {
    batch: u32,
    histogram: Histogram<u64>,
    last: Instant,
    measure_from: Instant,
    until: Instant,
    rounds: u64,
    measured: Duration,
}

impl LatencyRecorder {
    /// Starts the clock, warm-up first.
    ///
    /// # Panics
    /// Never: the bounds are within what the histogram supports.
    #[must_use]
    pub fn start(job: &Job) -> Self {
        let now = Instant::now();
        let measure_from = now + job.duration / WARM_UP_DIVISOR;
        let asleep = job.shape.workload == Workload::W1Asleep;
        Self {
            batch: if asleep { 1 } else { AWAKE_BATCH },
            histogram: Histogram::new_with_bounds(1, LONGEST_NS, 3)
                .expect("the bounds are within what is supported"),
            last: now,
            measure_from,
            until: measure_from + job.duration,
            rounds: 0,
            measured: Duration::ZERO,
        }
    }

    /// Round trips to do before the next lap.
    #[must_use]
    pub fn batch(&self) -> u32 {
        self.batch
    }

    /// Takes the time of one batch; false when the job is done.
    pub fn lap(&mut self) -> bool {
        let now = Instant::now();
        let elapsed = now - self.last;
        if self.last >= self.measure_from {
            let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
            self.histogram.saturating_record(elapsed_ns);
            self.rounds += u64::from(self.batch);
            self.measured += elapsed;
        }
        self.last = now;
        now < self.until
    }

    /// Median, 99th percentile and rate of what was recorded.
    #[must_use]
    pub fn values(&self) -> Values {
        let batch = f64::from(self.batch);
        if self.rounds == 0 {
            return Values::new();
        }
        Values::new()
            .with(
                Metric::P50,
                self.histogram.value_at_quantile(0.50) as f64 / batch,
            )
            .with(
                Metric::P99,
                self.histogram.value_at_quantile(0.99) as f64 / batch,
            )
            .with(
                Metric::Rate,
                self.rounds as f64 / self.measured.as_secs_f64(),
            )
    }
}

/// Meters throughput: call [`note`](Self::note) with the answers that came, until it says false.
#[derive(Debug)]
pub struct RateMeter {
    since_check: u64,
    counted: u64,
    measure_from: Instant,
    measuring_since: Option<Instant>,
    measured: Duration,
    until: Instant,
}

impl RateMeter {
    /// Starts the clock, warm-up first.
    #[must_use]
    pub fn start(job: &Job) -> Self {
        let measure_from = Instant::now() + job.duration / WARM_UP_DIVISOR;
        Self {
            since_check: 0,
            counted: 0,
            measure_from,
            measuring_since: None,
            measured: Duration::ZERO,
            until: measure_from + job.duration,
        }
    }

    /// Counts `answers`; false when the job is done and no more requests should be sent.
    #[inline]
    pub fn note(&mut self, answers: u64) -> bool {
        self.since_check += answers;
        if self.since_check < METER_STRIDE {
            true
        } else {
            self.check()
        }
    }

    #[cold]
    fn check(&mut self) -> bool {
        let now = Instant::now();
        match self.measuring_since {
            Some(since) => {
                self.counted += self.since_check;
                self.measured = now - since;
            }
            None if now >= self.measure_from => self.measuring_since = Some(now),
            None => {}
        }
        self.since_check = 0;
        now < self.until
    }

    /// The rate of what was counted.
    #[must_use]
    pub fn values(&self) -> Values {
        Values::new().with(
            Metric::Rate,
            self.counted as f64 / self.measured.as_secs_f64(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[f64::NAN]), None);
    }

    #[test]
    fn recorder_keeps_long_times() {
        let job = Job {
            shape: Shape::new(Workload::W1Asleep, 1, 1),
            duration: Duration::from_millis(1),
        };
        let mut recorder = LatencyRecorder::start(&job);
        recorder.histogram.saturating_record(5_000_000);
        recorder.rounds = 1;
        let p50 = recorder.values().get(Metric::P50).unwrap_or(0.0);
        assert!((p50 - 5e6).abs() < 5e3, "{p50}");
    }

    #[test]
    fn recorder_and_meter_stop_and_have_values() {
        let job = Job {
            shape: Shape::new(Workload::W1Awake, 1, 1),
            duration: Duration::from_millis(2),
        };
        let mut recorder = LatencyRecorder::start(&job);
        while recorder.lap() {}
        assert!(
            recorder
                .values()
                .get(Metric::Rate)
                .is_some_and(|rate| rate > 0.0)
        );
        let mut meter = RateMeter::start(&job);
        while meter.note(METER_STRIDE) {}
        assert!(
            meter
                .values()
                .get(Metric::Rate)
                .is_some_and(|rate| rate > 0.0)
        );
    }
}
