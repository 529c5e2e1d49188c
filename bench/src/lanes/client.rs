//! A client's process: it connects, waits for the start, calls and times.

use super::{
    EchoBulkService, EchoService, IDLE_CONNECTIONS, IDLE_CREDITS, bulk_bytes, failed, mode,
    service_name, start_node,
};
use crate::echo::{EchoBulkClient, EchoClient};
use baton_bench_harness::{
    HarnessError, Job, LatencyRecorder, RateMeter, RoleContext, Values, Workload,
};
use baton_linux::{Linux, LinuxNode, Wants};

pub(super) fn run(context: &RoleContext) -> Result<(), HarnessError> {
    let shape = context.job.shape;
    let node = start_node(context, 0)?;
    let handle = node.handle();
    let name = service_name(context)?;
    let size_bytes = bulk_bytes(shape);
    let wants = Wants {
        credits: u32::try_from(shape.outstanding).map_err(failed)?,
        request_bulk_bytes: size_bytes,
        answer_bulk_bytes: size_bytes,
        ..Wants::default()
    };
    let interface = if size_bytes == 0 {
        EchoService::INTERFACE
    } else {
        EchoBulkService::INTERFACE
    };
    let client = handle.connect(&name, interface, &wants).map_err(failed)?;
    let idle_node = match shape.workload {
        Workload::W1AwakeIdle60 => Some(connect_idle(context)?),
        _ => None,
    };
    context.announce_ready();
    context.wait_go();
    let work = async {
        match shape.workload {
            Workload::W2 => window(&EchoClient::new(client), &context.job).await,
            _ if size_bytes == 0 => ping_pong(&EchoClient::new(client), &context.job).await,
            _ => ping_pong_bulk(&EchoBulkClient::new(client), &context.job).await,
        }
    };
    let values = node.run_until(mode(shape), work).map_err(failed)??;
    context.report(&values);
    context.finish();
    drop(idle_node);
    Ok(())
}

/// A node that never runs, with connections over which nothing is sent.
fn connect_idle(context: &RoleContext) -> Result<LinuxNode, HarnessError> {
    let node = start_node(context, 0)?;
    let name = service_name(context)?;
    let wants = Wants {
        credits: u32::try_from(IDLE_CREDITS).map_err(failed)?,
        ..Wants::default()
    };
    for _ in 0..IDLE_CONNECTIONS {
        node.handle()
            .connect(&name, EchoService::INTERFACE, &wants)
            .map_err(failed)?;
    }
    Ok(node)
}

#[inline(always)]
fn check(answer: [u64; 6], serial: u64) -> Result<(), HarnessError> {
    // Word by word, so that the answer stays in registers; an array's `==` would put it into memory for `memcmp`.
    let difference = answer.iter().fold(0, |all, word| all | (word ^ serial));
    if difference == 0 {
        Ok(())
    } else {
        Err(failed(format!("answer {serial} is {answer:?}")))
    }
}

async fn ping_pong(client: &EchoClient<Linux>, job: &Job) -> Result<Values, HarnessError> {
    let mut recorder = LatencyRecorder::start(job);
    let mut serial = 0;
    loop {
        for _ in 0..recorder.batch() {
            check(client.echo([serial; 6]).await.map_err(failed)?, serial)?;
            serial += 1;
        }
        if !recorder.lap() {
            return Ok(recorder.values());
        }
    }
}

/// Writes each request's payload into the buffer of the answer before, and compares each answer's.
async fn ping_pong_bulk(client: &EchoBulkClient<Linux>, job: &Job) -> Result<Values, HarnessError> {
    let mut recorder = LatencyRecorder::start(job);
    let mut buffer = client.client().buffer().await.map_err(failed)?;
    let mut asked = vec![0u8; buffer.capacity_bytes()];
    let mut answered = vec![0u8; buffer.capacity_bytes()];
    let mut serial = 0u8;
    loop {
        for _ in 0..recorder.batch() {
            asked.fill(serial);
            buffer.write(&asked).map_err(failed)?;
            let answer = client.echo(buffer).await.map_err(failed)?;
            let echoed_bytes = answer.bytes().copy_to(&mut answered);
            if echoed_bytes != asked.len() || answered != asked {
                return Err(failed(format!("answer {serial} is wrong")));
            }
            buffer = answer.into_buffer();
            serial = serial.wrapping_add(1);
        }
        if !recorder.lap() {
            return Ok(recorder.values());
        }
    }
}

/// Keeps the window full: takes the oldest call's answer and calls again in its place.
async fn window(client: &EchoClient<Linux>, job: &Job) -> Result<Values, HarnessError> {
    let mut meter = RateMeter::start(job);
    let outstanding = job.shape.outstanding as u64;
    let mut calls: Vec<_> = (0..outstanding)
        .map(|serial| client.echo([serial; 6]))
        .collect();
    let mut serial = 0;
    loop {
        for call in &mut calls {
            check((&mut *call).await.map_err(failed)?, serial)?;
            if !meter.note(1) {
                // The others' answers are not waited for: they are cancelled with their calls.
                return Ok(meter.values());
            }
            *call = client.echo([serial + outstanding; 6]);
            serial += 1;
        }
    }
}
