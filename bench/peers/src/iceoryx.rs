//! `iceoryx2`: its request-response service between processes (`ipc::Service`), zero-copy loans on both sides.
//!
//! Client and server loan a sample, write 48 bytes (six `u64`) into it and send it, as its documentation shows. The
//! service is made as large as the window: active requests, loans and response buffers. Its documentation waits a fixed
//! cycle time between looks; measured is the fastest way, looking all the time. Answers come in order, so the client looks at
//! its oldest request only.
//!
//! Four clients are left out: request-response has no wait of its own, so five processes would only spin on two cores.
//! Yielding the core when nothing is there was tried and measured the scheduler's time slices (some clients got no
//! answer in half a second). For the same reason there is no row for `w1_asleep`.

use std::collections::VecDeque;
use std::fmt::Debug;

use baton_bench_harness::{
    Calibrator, Driver, Group, HarnessError, Job, LatencyRecorder, RateMeter, RoleContext, RoleFn,
    Sample, Shape, Workload,
};
use iceoryx2::node::{Node, NodeBuilder};
use iceoryx2::pending_response::PendingResponse;
use iceoryx2::port::client::Client;
use iceoryx2::prelude::{LogLevel, SignalHandlingMode, ipc, set_log_level};
use iceoryx2::service::port_factory::request_response::PortFactory;

type Payload = [u64; 6];
type Service = PortFactory<ipc::Service, Payload, (), Payload, ()>;
type Pending = PendingResponse<ipc::Service, Payload, (), Payload, ()>;

/// The roles of this peer.
pub const ROLES: [(&str, RoleFn); 2] = [("iceoryx2/server", server), ("iceoryx2/client", client)];

/// The driver of this peer.
pub struct Iceoryx2;

impl Driver for Iceoryx2 {
    fn peer(&self) -> &'static str {
        "iceoryx2"
    }

    fn shapes(&self) -> Vec<Shape> {
        vec![
            Shape::new(Workload::W1Awake, 1, 1),
            Shape::new(Workload::W2, 1, 64),
            Shape::new(Workload::W2, 1, 256),
        ]
    }

    fn sample(&mut self, job: &Job, calibrator: &mut Calibrator) -> Result<Sample, HarnessError> {
        Group::new(*job, 0)?.run_server_and_clients(
            "iceoryx2/server",
            "iceoryx2/client",
            calibrator,
        )
    }
}

fn failed(error: impl Debug) -> HarnessError {
    HarnessError::Role(format!("iceoryx2: {error:?}"))
}

/// Opens or creates the service of this group, as large as its window.
fn open(context: &RoleContext) -> Result<(Node<ipc::Service>, Service), HarnessError> {
    // Said once per process; what it reports besides errors would go where results go.
    set_log_level(LogLevel::Error);
    let outstanding = context.job.shape.outstanding;
    let node = NodeBuilder::new()
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()
        .map_err(failed)?;
    let name = context.key.as_str().try_into().map_err(failed)?;
    let service = node
        .service_builder(&name)
        .request_response::<Payload, Payload>()
        .max_active_requests_per_client(outstanding)
        .max_loaned_requests(outstanding)
        .max_response_buffer_size(1)
        .max_borrowed_responses_per_pending_response(1)
        .max_clients(context.job.shape.clients)
        .max_servers(1)
        .max_nodes(context.job.shape.clients + 1)
        .open_or_create()
        .map_err(failed)?;
    Ok((node, service))
}

fn server(context: &RoleContext) -> Result<(), HarnessError> {
    let (_node, service) = open(context)?;
    let server = service.server_builder().create().map_err(failed)?;
    context.announce_ready();
    context.wait_go();
    loop {
        match server.receive().map_err(failed)? {
            Some(request) => {
                let payload = *request.payload();
                let response = request.loan_uninit().map_err(failed)?;
                response.write_payload(payload).send().map_err(failed)?;
            }
            None if context.all_clients_finished() => return Ok(()),
            None => std::hint::spin_loop(),
        }
    }
}

fn client(context: &RoleContext) -> Result<(), HarnessError> {
    let (_node, service) = open(context)?;
    let client = service.client_builder().create().map_err(failed)?;
    context.announce_ready();
    context.wait_go();
    if context.job.shape.workload == Workload::W1Awake {
        ping_pong(context, &client)?;
    } else {
        window(context, &client)?;
    }
    context.finish();
    Ok(())
}

type Port = Client<ipc::Service, Payload, (), Payload, ()>;

fn send(client: &Port, serial: u64) -> Result<Pending, HarnessError> {
    client
        .loan_uninit()
        .map_err(failed)?
        .write_payload([serial; 6])
        .send()
        .map_err(failed)
}

/// Whether the answer is there; it is checked if so.
fn is_answered(pending: &Pending, serial: u64) -> Result<bool, HarnessError> {
    match pending.receive().map_err(failed)? {
        Some(answer) if *answer.payload() == [serial; 6] => Ok(true),
        Some(_) => Err(HarnessError::Role(format!("answer {serial} is wrong"))),
        None => Ok(false),
    }
}

fn ping_pong(context: &RoleContext, client: &Port) -> Result<(), HarnessError> {
    let mut recorder = LatencyRecorder::start(&context.job);
    let mut serial = 0;
    loop {
        for _ in 0..recorder.batch() {
            let pending = send(client, serial)?;
            while !is_answered(&pending, serial)? {
                std::hint::spin_loop();
            }
            serial += 1;
        }
        if !recorder.lap() {
            break;
        }
    }
    context.report(&recorder.values());
    Ok(())
}

fn window(context: &RoleContext, client: &Port) -> Result<(), HarnessError> {
    let mut meter = RateMeter::start(&context.job);
    let mut serial = 0;
    // The server answers in order, so only the oldest has to be looked at.
    let mut outstanding = VecDeque::with_capacity(context.job.shape.outstanding);
    let mut goes_on = true;
    while goes_on || !outstanding.is_empty() {
        while goes_on && outstanding.len() < context.job.shape.outstanding {
            outstanding.push_back((send(client, serial)?, serial));
            serial += 1;
        }
        let mut answers = 0;
        while let Some((pending, expected)) = outstanding.front() {
            if !is_answered(pending, *expected)? {
                break;
            }
            outstanding.pop_front();
            answers += 1;
        }
        if answers == 0 {
            std::hint::spin_loop();
        } else if goes_on {
            goes_on = meter.note(answers);
        }
    }
    context.report(&meter.values());
    Ok(())
}
