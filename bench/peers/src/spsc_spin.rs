//! `spsc_spin`: a pair of single-producer single-consumer rings (see `ring`), both sides spinning.
//!
//! W1: one message there and one back, each side on its own core. W2: the client keeps the window full; client and
//! server take up to [`BATCH`] messages that are there and publish as many, last slot first. The server copies each
//! message out of its slot and into the answer's; the client checks token and payload of each answer. Four clients
//! are left out: five processes that only spin say nothing about two cores.

use baton_bench_harness::{
    Calibrator, Driver, Group, HarnessError, Job, LatencyRecorder, RateMeter, RoleContext, RoleFn,
    Sample, Shape, Workload,
};

use crate::ring::{Consumer, Message, Producer, ring_words};

/// Messages taken and published at once, at most: the best of 1, 4, 8, 16 and 32 in W2.
const BATCH: usize = 8;

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
    if context.job.shape.workload == Workload::W1Awake {
        loop {
            match requests.pop() {
                Some(message) if message.token == Message::STOP => return Ok(()),
                Some(message) => answers.push(&message),
                None => std::hint::spin_loop(),
            }
        }
    }
    let mut batch = [Message::default(); BATCH];
    loop {
        let count = requests.pop_batch(&mut batch);
        let Some(taken) = batch.get(..count) else {
            continue;
        };
        match taken.last() {
            Some(last) if last.token == Message::STOP => return Ok(()),
            Some(_) => answers.push_batch(taken),
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
    let mut batch = [Message::default(); BATCH];
    loop {
        let count = answers.pop_batch(&mut batch);
        let Some(taken) = batch.get_mut(..count) else {
            continue;
        };
        if taken.is_empty() {
            std::hint::spin_loop();
            continue;
        }
        for message in taken.iter_mut() {
            check(message, expected)?;
            expected += 1;
            *message = Message::with_token(next_token);
            next_token += 1;
        }
        if !meter.note(count as u64) {
            next_token -= count as u64;
            break;
        }
        requests.push_batch(taken);
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
pub fn check(answer: &Message, expected: u64) -> Result<(), HarnessError> {
    if *answer == Message::with_token(expected) {
        return Ok(());
    }
    Err(HarnessError::Role(format!(
        "answer {} instead of {expected}",
        answer.token
    )))
}
