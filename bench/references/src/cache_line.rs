//! `cache_line`: two processes bounce one cache line of shared memory, the least that a round trip can cost.
//!
//! One 64-bit word on a line of its own: each side stores the next number with Release and spins with Acquire until
//! the other has stored the one after. No message, no ring. It is the calibrator's own loop, run as a workload.

use baton_bench_harness::{
    Calibrator, Driver, Group, HarnessError, Job, LatencyRecorder, RoleContext, RoleFn, Sample,
    Shape, Workload, bounce_client, bounce_server,
};

/// The roles of this peer.
pub const ROLES: [(&str, RoleFn); 2] =
    [("cache_line/server", server), ("cache_line/client", client)];

/// The driver of this peer.
pub struct CacheLine;

impl Driver for CacheLine {
    fn peer(&self) -> &'static str {
        "cache_line"
    }

    fn shapes(&self) -> Vec<Shape> {
        vec![Shape::new(Workload::W1Awake, 1, 1)]
    }

    fn sample(&mut self, job: &Job, calibrator: &mut Calibrator) -> Result<Sample, HarnessError> {
        Group::new(*job, 64)?.run_server_and_clients(
            "cache_line/server",
            "cache_line/client",
            calibrator,
        )
    }
}

fn server(context: &RoleContext) -> Result<(), HarnessError> {
    context.announce_ready();
    context.wait_go();
    bounce_server(context.area.workload_word(0));
    Ok(())
}

fn client(context: &RoleContext) -> Result<(), HarnessError> {
    context.announce_ready();
    context.wait_go();
    let mut recorder = LatencyRecorder::start(&context.job);
    bounce_client(context.area.workload_word(0), &mut recorder);
    context.report(&recorder.values());
    context.finish();
    Ok(())
}
