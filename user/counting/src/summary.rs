//! What is left of samples when those that a timer interrupt has hit are taken out.

/// Ticks of the machine's timebase between two of the kernel's timer interrupts: 2 ms at the 10 MHz of QEMU's machine.
const TIMEBASE_A_TICK: u64 = 20_000;

/// The least that a timer interrupt costs, in instructions: saving and restoring the registers of a thread alone is more.
const LEAST_OF_A_TICK: u64 = 60;

/// What is left of the samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Instructions of the median sample that no tick has hit.
    pub median: u64,
    /// Instructions of the shortest that no tick has hit.
    pub least: u64,
    /// Instructions of the longest that no tick has hit.
    pub most: u64,
    /// Samples that no tick has hit.
    pub kept: usize,
    /// Samples that were dropped.
    pub dropped: usize,
    /// Samples that timer interrupts can have changed in that time.
    pub explained: u64,
}

/// Sorts the samples, which were taken in `elapsed` ticks of the timebase, and sums them up; a timer interrupt changes at most `hit` of them. One that a timer interrupt has hit differs from
/// the middle one by at least the least of an interrupt: it is longer by that, or shorter where the interrupt has changed the order of several threads. If
/// more were dropped than interrupts explain, the samples do not repeat, and whoever reads the summary must refuse it.
pub fn summarize(samples: &mut [u64], elapsed: u64, hit: u64) -> Summary {
    samples.sort_unstable();
    let all = samples.len();
    let middle = samples.get(all / 2).copied().unwrap_or(0);
    let from = samples.partition_point(|&sample| sample.saturating_add(LEAST_OF_A_TICK) <= middle);
    let to = samples.partition_point(|&sample| sample < middle.saturating_add(LEAST_OF_A_TICK));
    let kept = samples.get(from..to).unwrap_or_default();
    let sample = |index: usize| kept.get(index).copied().unwrap_or(0);
    Summary {
        median: sample(kept.len() / 2),
        least: sample(0),
        most: sample(kept.len().saturating_sub(1)),
        kept: kept.len(),
        dropped: all - kept.len(),
        // One more may have been due when the first sample began.
        explained: (elapsed / TIMEBASE_A_TICK + 1) * hit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_a_tick_has_hit_are_dropped() {
        let summary = summarize(&mut [250, 251, 700, 250, 251, 251, u64::MAX], 39_999, 1);
        let expected = Summary {
            median: 251,
            least: 250,
            most: 251,
            kept: 5,
            dropped: 2,
            explained: 2,
        };
        assert_eq!(summary, expected);
    }

    #[test]
    fn small_differences_are_kept() {
        let summary = summarize(&mut [100, 159, 130], 0, 1);
        assert_eq!((summary.median, summary.kept, summary.most), (130, 3, 159));
        let summary = summarize(&mut [100, 190, 130], 0, 1);
        assert_eq!((summary.median, summary.kept, summary.dropped), (130, 2, 1));
    }

    #[test]
    fn sample_that_a_tick_has_made_shorter_is_dropped() {
        let summary = summarize(&mut [1411, 1411, 1351, 1411, 1352], 0, 2);
        assert_eq!((summary.least, summary.most), (1352, 1411));
        assert_eq!(
            (summary.kept, summary.dropped, summary.explained),
            (4, 1, 2)
        );
    }

    #[test]
    fn no_samples_are_no_figure() {
        let summary = summarize(&mut [], 0, 1);
        assert_eq!((summary.kept, summary.dropped, summary.median), (0, 0, 0));
    }
}
