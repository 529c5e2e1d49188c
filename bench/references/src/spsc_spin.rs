//! `spsc_spin`: a pair of single-producer single-consumer rings (see `ring`), both sides spinning.
//!
//! W1: one message there and one back, each side on its own core. W2: the client keeps the window full; each side takes
//! a message and publishes its answer, or the next request, at once. Taking and publishing up to 8 together, last slot
//! first, was measured beside it at 53 ns a cache line: the same with 64 outstanding (63 to 67 million a second), 88
//! instead of 97 million with 256; batches of 16 and 32 were slower still. The server copies each message out of its slot
//! and into the answer's; the client checks token and payload of each answer. Four clients are left out: five processes that only
//! spin say nothing about two cores.

use baton_bench_harness::{
    Calibrator, Driver, Group, HarnessError, Job, LatencyRecorder, RateMeter, RoleContext, RoleFn,
    Sample, Shape, Workload,
};

use crate::ring::{Consumer, Message, Producer, ring_words};

/// The roles of this peer.
pub const ROLES: [(&str, RoleFn); 2] = [("spsc_spin/server", server), ("spsc_spin/client", client)];

/// The driver of this peer.
pub struct SpscSpin;

impl Driver for SpscSpin {
    fn peer(&self) -> &'static str {
        "spsc_spin"
    }

    fn shapes(&self) -> Vec<Shape> {
        vec![
            Shape::new(Workload::W1Awake, 1, 1),
            Shape::new(Workload::W2, 1, 64),
            Shape::new(Workload::W2, 1, 256),
        ]
    }

    fn sample(&mut self, job: &Job, calibrator: &mut Calibrator) -> Result<Sample, HarnessError> {
        let group = Group::new(*job, 2 * ring_words(capacity(job)))?;
        group.run_server_and_clients("spsc_spin/server", "spsc_spin/client", calibrator)
    }
}

fn capacity(job: &Job) -> usize {
    job.shape.outstanding.next_power_of_two().max(64)
}

fn server(context: &RoleContext) -> Result<(), HarnessError> {
    let capacity = capacity(&context.job);
    let mut requests = Consumer::new(&context.area, 0, capacity);
    let mut answers = Producer::new(&context.area, ring_words(capacity), capacity);
    context.announce_ready();
    context.wait_go();
    loop {
        match requests.pop() {
            Some(message) if message.token == Message::STOP => return Ok(()),
            Some(message) => answers.push(&message),
            None => std::hint::spin_loop(),
        }
    }
}

fn client(context: &RoleContext) -> Result<(), HarnessError> {
    let capacity = capacity(&context.job);
    let mut requests = Producer::new(&context.area, 0, capacity);
    let mut answers = Consumer::new(&context.area, ring_words(capacity), capacity);
    context.announce_ready();
    context.wait_go();
    if context.job.shape.workload == Workload::W1Awake {
        ping_pong(context, &mut requests, &mut answers)?;
    } else {
        window(context, &mut requests, &mut answers)?;
    }
    context.finish();
    requests.push(&Message::with_token(Message::STOP));
    Ok(())
}

fn ping_pong(
    context: &RoleContext,
    requests: &mut Producer,
    answers: &mut Consumer,
) -> Result<(), HarnessError> {
    let mut recorder = LatencyRecorder::start(&context.job);
    let mut token = 0;
    loop {
        for _ in 0..recorder.batch() {
            requests.push(&Message::with_token(token));
            let answer = loop {
                match answers.pop() {
                    Some(answer) => break answer,
                    None => std::hint::spin_loop(),
                }
            };
            check(&answer, token)?;
            token += 1;
        }
        if !recorder.lap() {
            break;
        }
    }
    context.report(&recorder.values());
    Ok(())
}

fn window(
    context: &RoleContext,
    requests: &mut Producer,
    answers: &mut Consumer,
) -> Result<(), HarnessError> {
    let mut meter = RateMeter::start(&context.job);
    let mut next_token = 0;
    let mut expected = 0;
    for _ in 0..context.job.shape.outstanding {
        requests.push(&Message::with_token(next_token));
        next_token += 1;
    }
    loop {
        let Some(answer) = answers.pop() else {
            std::hint::spin_loop();
            continue;
        };
        check(&answer, expected)?;
        expected += 1;
        if !meter.note(1) {
            break;
        }
        requests.push(&Message::with_token(next_token));
        next_token += 1;
    }
    context.report(&meter.values());
    while expected < next_token {
        if let Some(answer) = answers.pop() {
            check(&answer, expected)?;
            expected += 1;
        }
    }
    Ok(())
}

/// Compares an answer with what was asked.
#[inline(always)]
pub(crate) fn check(answer: &Message, expected: u64) -> Result<(), HarnessError> {
    if *answer == Message::with_token(expected) {
        return Ok(());
    }
    Err(HarnessError::Role(format!(
        "answer {} instead of {expected}",
        answer.token
    )))
}
