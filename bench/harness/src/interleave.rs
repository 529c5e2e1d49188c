//! Interleaving: the samples of all peers take turns, so that what changes with time changes all of them alike.
//!
//! In each round every peer that runs the shape gives one sample, in rotating order. A sample whose calibrations
//! before and after differ is thrown away, and so are one during which a process had to wait for its core and one that was
//! taken at another distance between the cores than most. A pair of peers is compared round by round, and a round counts
//! only where both samples were kept and their calibrations agree with each other as well.

use std::time::Duration;

use crate::stats::median;
use crate::{HarnessError, Job, Metric, Sample, Sampler, Shape, TOLERANCE, agree};

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
#[derive(Debug)]
pub struct Series {
    /// The peer.
    pub peer: String,
    /// What it did.
    pub shape: Shape,
    /// The samples kept, each with the round in which it was taken.
    pub kept: Vec<(usize, Sample)>,
    /// How many were thrown away because the calibration changed or something else ran.
    pub discarded: usize,
    /// Why it was not measured further.
    pub fault: Option<HarnessError>,
}

impl Series {
    fn new(peer: String, shape: Shape) -> Self {
        Self {
            peer,
            shape,
            kept: Vec::new(),
            discarded: 0,
            fault: None,
        }
    }

    fn is_done(&self, plan: &Plan) -> bool {
        self.fault.is_some() || self.kept.len() >= plan.samples
    }

    fn take(&mut self, round: usize, sample: Sample) {
        if sample.is_steady(TOLERANCE) {
            self.kept.push((round, sample));
        } else {
            self.discarded += 1;
        }
    }

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

/// Takes samples of all `samplers` at all of `shapes` that they run, in turns, until each has enough.
///
/// A series without any sample kept is returned as well, for the caller to say so. A sampler that fails is not asked for that
/// shape again, and its series says why. `progress` is called after each sample.
///
/// # Errors
/// What a sampler reports when it is asked for its shapes.
pub fn interleave(
    samplers: &mut [&mut dyn Sampler],
    shapes: &[Shape],
    plan: &Plan,
    mut progress: impl FnMut(&Series, &Sample),
) -> Result<Vec<Series>, HarnessError> {
    let mut active: Vec<(usize, Series)> = Vec::new();
    for (place, sampler) in samplers.iter_mut().enumerate() {
        let runs = sampler.shapes()?;
        for shape in shapes.iter().filter(|shape| runs.contains(shape)) {
            active.push((place, Series::new(sampler.peer(), *shape)));
        }
    }
    for round in 0..plan.max_rounds {
        if active.iter().all(|(_, series)| series.is_done(plan)) {
            break;
        }
        // Everyone takes part in each round, so that pairs stay pairs; the order rotates.
        let count = active.len();
        for turn in 0..count {
            let Some((place, series)) = active.get_mut((turn + round) % count) else {
                continue;
            };
            let Some(sampler) = samplers.get_mut(*place).filter(|_| series.fault.is_none()) else {
                continue;
            };
            let job = Job {
                shape: series.shape,
                duration: plan.duration,
            };
            match sampler.sample(&job) {
                Ok(sample) => {
                    progress(series, &sample);
                    series.take(round, sample);
                }
                Err(error) => series.fault = Some(error),
            }
        }
    }
    let mut all: Vec<Series> = active.into_iter().map(|(_, series)| series).collect();
    keep_usual_distance(&mut all);
    Ok(all)
}

/// Throws those samples away that were taken at another distance between the cores than most, so that all medians are of the
/// same distance and may be divided by each other.
fn keep_usual_distance(all: &mut [Series]) {
    let distances: Vec<f64> = all
        .iter()
        .flat_map(|series| series.each(|sample| Some(sample.calibration_ns())))
        .collect();
    // None where only instructions are counted.
    let Some(usual_ns) = median(&distances) else {
        return;
    };
    for series in all {
        let before = series.kept.len();
        series
            .kept
            .retain(|(_, sample)| agree(sample.calibration_ns(), usual_ns, TOLERANCE));
        series.discarded += before - series.kept.len();
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
        let series = interleave(&mut [&mut fast, &mut slow], &[SHAPE], &plan, |_, _| {})
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
    fn nothing_is_kept_when_nothing_is_steady() {
        let mut shaky = Fixed {
            name: "shaky",
            afters: vec![200.0],
            next: 0,
            rate: 1.0,
        };
        let plan = Plan::new(2, Duration::from_millis(1));
        let result = interleave(&mut [&mut shaky], &[SHAPE], &plan, |_, _| {});
        let series = result.expect("it answers");
        let kept: Vec<_> = series
            .iter()
            .map(|one| (one.kept.len(), one.discarded))
            .collect();
        assert_eq!(kept, [(0, plan.max_rounds)]);
        assert!(series.iter().all(|one| one.rows().is_empty()));
    }

    #[test]
    fn sample_at_an_unusual_distance_is_thrown_away() {
        let sample = |distance_ns| Sample {
            before_ns: distance_ns,
            after_ns: distance_ns,
            waited: 0.0,
            values: Values::new().with(Metric::Rate, 1.0),
        };
        let mut series = Series::new("far".into(), SHAPE);
        for (round, distance_ns) in [100.0, 105.0, 180.0, 95.0].into_iter().enumerate() {
            series.take(round, sample(distance_ns));
        }
        let mut all = [series];
        keep_usual_distance(&mut all);
        let [series] = &all;
        let rounds: Vec<usize> = series.kept.iter().map(|(round, _)| *round).collect();
        assert_eq!((rounds, series.discarded), (vec![0, 1, 3], 1));
    }

    #[test]
    fn who_fails_is_not_asked_again() {
        struct Failing(usize);
        impl Sampler for Failing {
            fn peer(&self) -> String {
                "failing".into()
            }
            fn shapes(&mut self) -> Result<Vec<Shape>, HarnessError> {
                Ok(vec![SHAPE])
            }
            fn sample(&mut self, _: &Job) -> Result<Sample, HarnessError> {
                self.0 += 1;
                Err(HarnessError::Role("it fell".into()))
            }
        }
        let mut failing = Failing(0);
        let plan = Plan::new(2, Duration::from_millis(1));
        let series = interleave(&mut [&mut failing], &[SHAPE], &plan, |_, _| {}).expect("shapes");
        assert!(series.iter().all(|one| one.fault.is_some()));
        assert_eq!(failing.0, 1);
    }
}
