//! What is printed for `cargo xtask bench latency`, in the form of the benchmark root task's rows: a line that begins, rows, and a line
//! that ends and says how many rows there were.
//!
//! `row,WORKLOAD,VARIANT,OUTSTANDING,METRIC,VALUE,UNIT,LEAST,MOST,KEPT,DROPPED,TICKS`

use crate::barrage::Seen;
use baton_runtime::println;

/// Rows follow.
pub fn begin() {
    println!("report begins");
}

/// No more rows follow.
pub fn end(rows: u64) {
    println!("report ends,{rows}");
}

/// A figure about an operation of that size, and what it was chosen from (all in instructions).
pub fn row(operation: &str, size: u64, metric: &str, value: u64, seen: &Seen) {
    println!(
        "row,{operation},{size},1,{metric},{value},instructions,{},{},{},0,0",
        seen.shortest, seen.longest, seen.count
    );
}
