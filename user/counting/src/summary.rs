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
    /// Instructions of the shortest.
    pub least: u64,
    /// Instructions of the longest that no tick has hit.
    pub most: u64,
    /// Samples that no tick has hit.
    pub kept: usize,
    /// Samples that were dropped.
    pub dropped: usize,
    /// Timer interrupts that there can have been while samples were taken.
    pub ticks: u64,
}

/// Sorts the samples, which were taken in `elapsed` ticks of the timebase, and sums them up. One that a timer interrupt has hit is longer
/// than the shortest by the whole interrupt. If more were dropped than there were interrupts, the samples do not repeat, and whoever reads
/// the summary must refuse it.
pub fn summarize(samples: &mut [u64], elapsed: u64) -> Summary {
    samples.sort_unstable();
    let sample = |index: usize| samples.get(index).copied().unwrap_or(0);
    let least = sample(0);
    let kept = samples.partition_point(|&sample| sample - least < LEAST_OF_A_TICK);
    Summary {
        median: sample(kept / 2),
        least,
        most: sample(kept.saturating_sub(1)),
        kept,
        dropped: samples.len() - kept,
        // One more may have been due when the first sample began.
        ticks: elapsed / TIMEBASE_A_TICK + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_a_tick_has_hit_are_dropped() {
        let summary = summarize(&mut [250, 251, 700, 250, 251, 251, u64::MAX], 39_999);
        let expected = Summary {
            median: 251,
            least: 250,
            most: 251,
            kept: 5,
            dropped: 2,
            ticks: 2,
        };
        assert_eq!(summary, expected);
    }

    #[test]
    fn small_differences_are_kept() {
        let summary = summarize(&mut [100, 159, 130], 0);
        assert_eq!((summary.median, summary.kept, summary.most), (130, 3, 159));
        let summary = summarize(&mut [100, 160, 130], 0);
        assert_eq!((summary.median, summary.kept, summary.dropped), (130, 2, 1));
    }

    #[test]
    fn no_samples_are_no_figure() {
        let summary = summarize(&mut [], 0);
        assert_eq!((summary.kept, summary.dropped, summary.median), (0, 0, 0));
    }
}
