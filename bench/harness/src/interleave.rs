//! Interleaving: the samples of all peers take turns, so that what changes with time changes all of them alike.
//!
//! In each round every peer that runs the shape gives one sample, in rotating order. A sample whose calibrations
//! before and after differ is thrown away, and so is one during which a process had to wait for its core; a pair of peers is compared round by round, and a round counts only
//! where both samples were kept and their calibrations agree with each other as well.

use std::time::Duration;

use crate::stats::median;
use crate::{HarnessError, Job, Metric, Sample, Sampler, Shape, TOLERANCE};

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Samples to keep of each peer.
    pub samples: usize,
    /// Rounds after which it gives up on samples that are still missing.
    pub max_rounds: usize,
    /// Time of one sample.
    pub duration: Duration,
}

impl Plan {
    /// A plan that allows three times as many rounds as samples.
    #[must_use]
    pub fn new(samples: usize, duration: Duration) -> Self {
        Self {
            samples,
            max_rounds: 3 * samples,
            duration,
        }
    }
}

/// All that was measured of one peer at one shape.
#[derive(Clone, Debug)]
pub struct Series {
    /// The peer.
    pub peer: String,
    /// What it did.
    pub shape: Shape,
    /// The samples kept, each with the round in which it was taken.
    pub kept: Vec<(usize, Sample)>,
    /// How many were thrown away because the calibration changed or something else ran.
    pub discarded: usize,
}

impl Series {
    /// The median of `metric` over the samples kept.
    #[must_use]
    pub fn median(&self, metric: Metric) -> Option<f64> {
        median(&self.each(|sample| sample.values.get(metric)))
    }

    /// The median of `metric` divided by each sample's own calibration: a time in cache-line round trips.
    #[must_use]
    pub fn in_round_trips(&self, metric: Metric) -> Option<f64> {
        median(&self.each(|sample| {
            sample
                .values
                .get(metric)
                .map(|value| value / sample.calibration_ns())
        }))
    }

    /// The median, round by round, of this peer's `metric` divided by the other's.
    #[must_use]
    pub fn paired_ratio(&self, other: &Self, metric: Metric) -> Option<f64> {
        let ratios: Vec<f64> = self
            .kept
            .iter()
            .filter_map(|(round, mine)| {
                let (_, theirs) = other
                    .kept
                    .iter()
                    .find(|(their_round, _)| their_round == round)?;
                let pair = Sample {
                    before_ns: mine.calibration_ns(),
                    after_ns: theirs.calibration_ns(),
                    ..Sample::default()
                };
                pair.is_steady(TOLERANCE)
                    .then(|| Some(mine.values.get(metric)? / theirs.values.get(metric)?))
                    .flatten()
            })
            .collect();
        median(&ratios)
    }

    /// One row per metric, each the median over the samples kept.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        [Metric::P50, Metric::P99, Metric::Rate, Metric::Instructions]
            .into_iter()
            .filter_map(|metric| {
                let value = self.median(metric)?;
                Some(Row {
                    peer: self.peer.clone(),
                    shape: self.shape,
                    metric,
                    value,
                })
            })
            .collect()
    }

    fn each(&self, pick: impl Fn(&Sample) -> Option<f64>) -> Vec<f64> {
        self.kept
            .iter()
            .filter_map(|(_, sample)| pick(sample))
            .collect()
    }
}

/// A row of the CSV file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The peer.
    pub peer: String,
    /// What it did.
    pub shape: Shape,
    /// What the value says.
    pub metric: Metric,
    /// The value, in the metric's unit.
    pub value: f64,
}

impl Row {
    /// The first line of the CSV file.
    pub const HEADER: &'static str = "workload,peer,clients,outstanding,metric,value,unit";

    /// The row as a line without its end.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let Shape {
            workload,
            clients,
            outstanding,
        } = self.shape;
        let (metric, unit) = (self.metric, self.metric.unit());
        format!(
            "{workload},{},{clients},{outstanding},{metric},{:.1},{unit}",
            self.peer, self.value
        )
    }
}

/// Takes samples of all `samplers` that run `shape`, in turns, until each has enough.
///
/// `progress` is called after each sample with the peer's name and the sample.
///
/// # Errors
/// What a sampler reports, or `Unsteady` when one got no sample whose calibrations agree.
pub fn interleave(
    samplers: &mut [&mut dyn Sampler],
    shape: Shape,
    plan: &Plan,
    mut progress: impl FnMut(&str, &Sample),
) -> Result<Vec<Series>, HarnessError> {
    let mut active: Vec<(&mut dyn Sampler, Series)> = Vec::new();
    for sampler in samplers.iter_mut() {
        if sampler.shapes()?.contains(&shape) {
            let series = Series {
                peer: sampler.peer(),
                shape,
                kept: Vec::new(),
                discarded: 0,
            };
            active.push((&mut **sampler, series));
        }
    }
    let job = Job {
        shape,
        duration: plan.duration,
    };
    for round in 0..plan.max_rounds {
        if active
            .iter()
            .all(|(_, series)| series.kept.len() >= plan.samples)
        {
            break;
        }
        // Everyone takes part in each round, so that pairs stay pairs; the order rotates.
        let count = active.len();
        for turn in 0..count {
            if let Some((sampler, series)) = active.get_mut((turn + round) % count) {
                let sample = sampler.sample(&job)?;
                progress(&series.peer, &sample);
                if sample.is_steady(TOLERANCE) {
                    series.kept.push((round, sample));
                } else {
                    series.discarded += 1;
                }
            }
        }
    }
    match active.iter().find(|(_, series)| series.kept.is_empty()) {
        Some((_, series)) => Err(HarnessError::Unsteady(format!(
            "no sample of {} at {shape} was kept",
            series.peer
        ))),
        None => Ok(active.into_iter().map(|(_, series)| series).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Values, Workload};

    struct Fixed {
        name: &'static str,
        afters: Vec<f64>,
        next: usize,
        rate: f64,
    }

    impl Sampler for Fixed {
        fn peer(&self) -> String {
            self.name.into()
        }

        fn shapes(&mut self) -> Result<Vec<Shape>, HarnessError> {
            Ok(vec![SHAPE])
        }

        fn sample(&mut self, _: &Job) -> Result<Sample, HarnessError> {
            let after_ns = self
                .afters
                .get(self.next % self.afters.len())
                .copied()
                .unwrap_or(100.0);
            self.next += 1;
            Ok(Sample {
                before_ns: 100.0,
                after_ns,
                waited: 0.0,
                values: Values::new().with(Metric::Rate, self.rate),
            })
        }
    }

    const SHAPE: Shape = Shape::new(Workload::W2, 1, 64);

    #[test]
    fn keeps_steady_samples_and_compares_by_round() {
        let mut fast = Fixed {
            name: "fast",
            afters: vec![100.0, 200.0],
            next: 0,
            rate: 8.0,
        };
        let mut slow = Fixed {
            name: "slow",
            afters: vec![100.0],
            next: 0,
            rate: 2.0,
        };
        let plan = Plan::new(3, Duration::from_millis(1));
        let series = interleave(&mut [&mut fast, &mut slow], SHAPE, &plan, |_, _| {})
            .expect("both give samples");
        let [fast, slow] = series.as_slice() else {
            panic!("two series")
        };
        assert_eq!((fast.kept.len(), fast.discarded), (3, 2));
        assert_eq!(fast.paired_ratio(slow, Metric::Rate), Some(4.0));
        assert_eq!(
            slow.rows().first().map(Row::to_csv).as_deref(),
            Some("w2,slow,1,64,rate,2.0,requests/s")
        );
    }

    #[test]
    fn fails_when_nothing_is_steady() {
        let mut shaky = Fixed {
            name: "shaky",
            afters: vec![200.0],
            next: 0,
            rate: 1.0,
        };
        let plan = Plan::new(2, Duration::from_millis(1));
        let result = interleave(&mut [&mut shaky], SHAPE, &plan, |_, _| {});
        assert!(matches!(result, Err(HarnessError::Unsteady(_))));
    }
}
