//! `baton_lanes`: typed calls between real processes, executor and async handler on both sides.
//!
//! One server process and one process a client, each a [`LinuxNode`] with its control thread. The service is
//! [`Echo`](crate::echo::Echo), 48 bytes each way in the slots, or [`EchoBulk`](crate::echo::EchoBulk) for longer payload. The
//! client makes each payload from a serial number and compares the whole answer with it.
//!
//! - `w1_*`: the future that the node runs until its end makes one call after the other. Awake, both executors are in
//!   [`Mode::Poll`], on two cores; asleep, in [`Mode::Park`], on one.
//! - `w2`: one task keeps a window of calls, takes the oldest's answer and calls again. As many tasks as the window is wide, each
//!   with one call after the other, were measured beside it: 21 instead of 27 million requests a second with one client (54 ns a
//!   cache line), the same or fewer with four. With one client both sides are in [`Mode::Poll`]. Five processes on two cores are in
//!   [`Mode::Adaptive`], which sleeps at once while spins get it preempted; [`Mode::Park`] came to 0.8 to 1.0 times that.
//! - `w1_awake_idle60`: the client process has a second node, which never runs and has 60 connections to the same server.
//! - `w1_awake_traced`: both nodes write their events.

mod client;
mod server;

use crate::echo::Plain;
use baton_bench_harness::{
    Calibrator, Driver, Group, HarnessError, Job, RoleContext, RoleFn, Sample, Shape, Workload,
};
use baton_linux::{LinuxNode, NodeConfig, ServiceName};
use baton_rpc::{Config, Mode};
use std::fmt::Display;

/// The name in the CSV file.
pub const PEER: &str = "baton_lanes";

/// The roles of this peer.
pub const ROLES: [(&str, RoleFn); 2] = [(SERVER, server::run), (CLIENT, client::run)];

const SERVER: &str = "baton_lanes/server";
const CLIENT: &str = "baton_lanes/client";

/// Further connections of `w1_awake_idle60`, and the credits of each.
pub(crate) const IDLE_CONNECTIONS: usize = 60;
pub(crate) const IDLE_CREDITS: usize = 4;
/// Task entries beside those of handlers: the control task, the client's own, and some to spare.
const SPARE_TASKS: usize = 64;
/// Events that a traced node keeps.
const TRACE_EVENTS: usize = 4096;

type EchoService = crate::echo::EchoServer<Plain>;
type EchoBulkService = crate::echo::EchoBulkServer<Plain>;

/// The driver of this peer.
pub struct Lanes;

impl Driver for Lanes {
    fn peer(&self) -> &'static str {
        PEER
    }

    fn shapes(&self) -> Vec<Shape> {
        let w1 = [
            Workload::W1Awake,
            Workload::W1AwakeIdle60,
            Workload::W1AwakeTraced,
            Workload::W1Awake256,
            Workload::W1Awake4096,
            Workload::W1Asleep,
        ];
        let w2 = [(1, 64), (1, 256), (4, 64), (4, 256)];
        let w1 = w1.map(|workload| Shape::new(workload, 1, 1));
        let w2 = w2.map(|(clients, outstanding)| Shape::new(Workload::W2, clients, outstanding));
        w1.into_iter().chain(w2).collect()
    }

    fn sample(&mut self, job: &Job, calibrator: &mut Calibrator) -> Result<Sample, HarnessError> {
        Group::new(*job, 0)?.run_server_and_clients(SERVER, CLIENT, calibrator)
    }
}

fn failed(error: impl Display) -> HarnessError {
    HarnessError::Role(format!("{PEER}: {error}"))
}

/// What both sides do when there is nothing to do.
#[must_use]
pub fn mode(shape: Shape) -> Mode {
    match shape.workload {
        Workload::W1Asleep => Mode::Park,
        _ if shape.clients > 1 => Mode::Adaptive,
        _ => Mode::Poll,
    }
}

/// Bytes of each bulk buffer; 0 where payload stays within the slots.
fn bulk_bytes(shape: Shape) -> u32 {
    match shape.workload {
        Workload::W1Awake256 => 256,
        Workload::W1Awake4096 => 4096,
        _ => 0,
    }
}

fn service_name(context: &RoleContext) -> Result<ServiceName, HarnessError> {
    ServiceName::new(&context.key).map_err(failed)
}

/// Starts a node with `tasks` entries beside the spare ones.
fn start_node(context: &RoleContext, tasks: usize) -> Result<LinuxNode, HarnessError> {
    let node = LinuxNode::start(NodeConfig {
        config: Config {
            tasks: tasks + SPARE_TASKS,
            ..Config::default()
        },
        trace_events: TRACE_EVENTS,
        ..NodeConfig::default()
    })
    .map_err(failed)?;
    let traced = context.job.shape.workload == Workload::W1AwakeTraced;
    node.handle().node().set_tracing(traced);
    Ok(node)
}
