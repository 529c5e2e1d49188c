//! `tarpc`: tarpc over a Unix socket with bincode, as its own examples set it up.
//!
//! The service has one method that takes and returns 48 bytes (six `u64`). The server is a `BaseChannel` a connection with its
//! default configuration, each request spawned as a task; the client is the generated one, spawned on the same
//! runtime, with buffers as large as the window. W2 keeps the window full with a `FuturesUnordered` of calls.
//! Current-thread runtimes of tokio on both sides, for the reason given in `tokio_uds`; `w1_awake` sleeps in
//! `epoll_wait` as there. No tracing subscriber is installed.

use baton_bench_harness::{
    Calibrator, Driver, Group, HarnessError, Job, LatencyRecorder, RateMeter, RoleContext, RoleFn,
    Sample, Shape, Values, Workload,
};
use futures::stream::FuturesUnordered;
use futures::{Future, StreamExt};
use tarpc::serde_transport as transport;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::tokio_util::codec::LengthDelimitedCodec;
use tarpc::{client as tarpc_client, context};

use crate::tokio_uds::{block_on, connect, listen, socket_shapes};

/// The service that is measured.
#[tarpc::service]
trait Echo {
    /// Gives back what it gets.
    async fn echo(payload: [u64; 6]) -> [u64; 6];
}

#[derive(Clone)]
struct EchoServer;

impl Echo for EchoServer {
    async fn echo(self, _: context::Context, payload: [u64; 6]) -> [u64; 6] {
        payload
    }
}

/// The roles of this peer.
pub const ROLES: [(&str, RoleFn); 2] = [("tarpc/server", server), ("tarpc/client", client)];

/// The driver of this peer.
pub struct Tarpc;

impl Driver for Tarpc {
    fn peer(&self) -> &'static str {
        "tarpc"
    }

    fn shapes(&self) -> Vec<Shape> {
        socket_shapes()
    }

    fn sample(&mut self, job: &Job, calibrator: &mut Calibrator) -> Result<Sample, HarnessError> {
        Group::new(*job, 0)?.run_server_and_clients("tarpc/server", "tarpc/client", calibrator)
    }
}

async fn spawn(request: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(request);
}

fn server(context: &RoleContext) -> Result<(), HarnessError> {
    block_on(async {
        let listener = listen(context)?;
        context.announce_ready();
        let mut connections = Vec::new();
        for _ in 0..context.job.shape.clients {
            let (stream, _) = listener
                .accept()
                .await
                .map_err(|source| HarnessError::os("accept", source))?;
            let framed = LengthDelimitedCodec::builder().new_framed(stream);
            let channel = BaseChannel::with_defaults(transport::new(framed, Bincode::default()));
            connections.push(tokio::spawn(
                channel.execute(EchoServer.serve()).for_each(spawn),
            ));
        }
        for connection in connections {
            connection
                .await
                .map_err(|error| HarnessError::Role(error.to_string()))?;
        }
        Ok(())
    })
}

fn client(context: &RoleContext) -> Result<(), HarnessError> {
    block_on(async {
        let framed = LengthDelimitedCodec::builder().new_framed(connect(context)?);
        let mut config = tarpc_client::Config::default();
        config.pending_request_buffer = config
            .pending_request_buffer
            .max(context.job.shape.outstanding);
        let client = EchoClient::new(config, transport::new(framed, Bincode::default())).spawn();
        context.announce_ready();
        context.wait_go();
        let values = if context.job.shape.workload == Workload::W2 {
            window(&client, &context.job).await?
        } else {
            ping_pong(&client, &context.job).await?
        };
        context.report(&values);
        context.finish();
        Ok(())
    })
}

/// One call; its answer is checked.
async fn call(client: &EchoClient, serial: u64) -> Result<(), HarnessError> {
    let answer = client
        .echo(context::current(), [serial; 6])
        .await
        .map_err(|error| HarnessError::Role(format!("tarpc call: {error}")))?;
    if answer == [serial; 6] {
        Ok(())
    } else {
        Err(HarnessError::Role(format!("answer {serial} is wrong")))
    }
}

async fn ping_pong(client: &EchoClient, job: &Job) -> Result<Values, HarnessError> {
    let mut recorder = LatencyRecorder::start(job);
    let mut serial = 0;
    loop {
        for _ in 0..recorder.batch() {
            call(client, serial).await?;
            serial += 1;
        }
        if !recorder.lap() {
            return Ok(recorder.values());
        }
    }
}

async fn window(client: &EchoClient, job: &Job) -> Result<Values, HarnessError> {
    let mut meter = RateMeter::start(job);
    let mut serial = job.shape.outstanding as u64;
    let mut calls: FuturesUnordered<_> = (0..serial).map(|first| call(client, first)).collect();
    while let Some(result) = calls.next().await {
        result?;
        if !meter.note(1) {
            break;
        }
        calls.push(call(client, serial));
        serial += 1;
    }
    while let Some(result) = calls.next().await {
        result?;
    }
    Ok(meter.values())
}
