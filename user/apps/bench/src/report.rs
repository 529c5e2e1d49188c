//! What is printed for `cargo xtask bench qemu`: a line that begins, rows, and a line that ends and says how many rows there were, so
//! that a report that was cut off is not taken for a whole one.
//!
//! `row,WORKLOAD,VARIANT,OUTSTANDING,METRIC,VALUE,UNIT,LEAST,MOST,KEPT,DROPPED,EXPLAINED`

use baton_counting::Summary;
use baton_runtime::println;

/// Rows follow.
pub fn begin() {
    println!("report begins");
}

/// No more rows follow.
pub fn end(rows: usize) {
    println!("report ends,{rows}");
}

/// What a workload's samples of that many rounds come to.
pub fn row(workload: &str, variant: &str, rounds: u64, summary: &Summary) {
    println!(
        "row,{workload},{variant},1,instructions,{},instructions,{},{},{},{},{}",
        Hundredths(summary.median * 100 / rounds),
        Hundredths(summary.least * 100 / rounds),
        Hundredths(summary.most * 100 / rounds),
        summary.kept,
        summary.dropped,
        summary.explained,
    );
}

/// Instructions from the kernel's first to this program's `main`.
pub fn boot(instructions: u64) {
    println!(
        "row,boot,release,1,instructions,{instructions},instructions,{instructions},{instructions},1,0,0"
    );
}

struct Hundredths(u64);

impl core::fmt::Display for Hundredths {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, part) => write!(f, "{whole}.{part:02}"),
        }
    }
}
