//! What every measured pair of processes shares.
//!
//! Purpose: all peers and Baton itself are started, pinned, bracketed by calibrations, interleaved and counted in one
//! place, so that their figures may be compared. A peer implements [`Driver`]; most of them only start a [`Group`] of
//! roles of their own binary. `baton-bench` holds its drivers as [`LocalDriver`]s and those of `baton-bench-peers` as
//! [`RemoteDriver`]s, and [`interleave`]s them.
//!
//! Invariants: between samples no measured process runs. A sample stands between two calibrations and is thrown
//! away when they differ by more than [`TOLERANCE`], or when a process had to wait for its core for more than [`MAX_WAITED`] of
//! the time although the core was its own. The clock, the batches and the warm-up are the same for all.
//!
//! Neighbours: `baton-bench` and `baton-bench-peers`. This crate depends on nothing of Baton.

mod calibrate;
mod callgrind;
mod cpu;
mod driver;
mod error;
mod group;
mod interleave;
mod job;
mod role;
mod shared;
mod stats;

pub use calibrate::{Calibrator, TOLERANCE, await_value, bounce_client, bounce_server};
pub use callgrind::{Counting, instructions_per_round, total_instructions};
pub use cpu::{
    CorePair, allowed_cores, pin, raise_priority, raise_session, run_delay_ns, set_affinity,
};
pub use driver::{
    Driver, LocalDriver, MAX_WAITED, RemoteDriver, Sample, Sampler, agree, is_kept, serve_driver,
};
pub use error::HarnessError;
pub use group::{Group, client_core};
pub use interleave::{Plan, Row, Series, interleave};
pub use job::{Job, Metric, Shape, Values, Workload};
pub use role::{RoleContext, RoleFn, dispatch_role};
pub use shared::{CONTROL_WORDS, SharedArea, futex_half, futex_wait, futex_wake};
pub use stats::{AWAKE_BATCH, LatencyRecorder, RateMeter, median};
