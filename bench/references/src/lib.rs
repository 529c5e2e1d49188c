//! What Baton's figures are divided by: the least that a round trip can cost, without executor, tokens or protocol.
//!
//! Purpose: `cache_line` bounces one line, `spsc_spin` is a pair of rings between two trusting processes, `spsc_futex` the same
//! with a sleep. They need nothing but the harness, so every measurement has them in the same run.
//!
//! Neighbours: `baton-bench` and `baton-bench-peers` drive them; `baton-bench-harness` starts and pins their processes.

pub mod cache_line;
pub mod ring;
pub mod spsc_futex;
pub mod spsc_spin;

use baton_bench_harness::{Driver, RoleFn};

/// A driver of each reference.
#[must_use]
pub fn drivers() -> Vec<Box<dyn Driver>> {
    vec![
        Box::new(cache_line::CacheLine),
        Box::new(spsc_spin::SpscSpin),
        Box::new(spsc_futex::SpscFutex),
    ]
}

/// The roles of all references.
#[must_use]
pub fn roles() -> Vec<(&'static str, RoleFn)> {
    [cache_line::ROLES, spsc_spin::ROLES, spsc_futex::ROLES].concat()
}
