//! What is printed for `cargo xtask bench qemu`, in the form of the benchmark root task's rows: a line that begins, rows, and a line
//! that ends and says how many rows there were.
//!
//! `row,WORKLOAD,VARIANT,OUTSTANDING,METRIC,VALUE,UNIT,LEAST,MOST,KEPT,DROPPED,EXPLAINED`. No sample is dropped: a sample has many requests,
//! and the timer interrupts in it are part of what they cost.

use crate::shared::Taken;
use baton_runtime::println;

/// Rows follow.
pub fn begin() {
    println!("report begins");
}

/// No more rows follow.
pub fn end(rows: u64) {
    println!("report ends,{rows}");
}

/// What one request took, of what all processes that send have measured of a shape.
pub fn row(workload: &str, variant: &str, taken: &[Taken], counts_entries: bool) {
    let Some(first) = taken.first() else {
        return;
    };
    let together = first.requests * taken.len() as u64;
    let all = (together * first.samples).max(1);
    if counts_entries {
        let value = first.entries * 10_000 / all;
        let value = Fraction(value, 10_000);
        println!(
            "row,{workload},{variant},{},traps,{value},entries,{value},{value},{},0,0",
            first.outstanding, first.samples,
        );
        return;
    }
    // From when the first of them began to count to when the last was done, so that it does not help when one is served before another.
    let began = taken.iter().map(|one| one.first).min().unwrap_or(0);
    let ended = taken.iter().map(|one| one.last).max().unwrap_or(0);
    let mean = ended.saturating_sub(began) * 100 / all;
    let least = (first.least * 100 / together).min(mean);
    let most = (first.most * 100 / together).max(mean);
    println!(
        "row,{workload},{variant},{},instructions,{},instructions,{},{},{},0,0",
        first.outstanding,
        Fraction(mean, 100),
        Fraction(least, 100),
        Fraction(most, 100),
        first.samples,
    );
}

/// So many parts of a whole of a power of ten.
struct Fraction(u64, u64);

impl core::fmt::Display for Fraction {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let digits = self.1.ilog10() as usize;
        write!(f, "{}.{:0digits$}", self.0 / self.1, self.0 % self.1)
    }
}
