//! An honest client: checks every answer, and that none fails.

use super::service::{GuardedClient, mixed, session};
use super::{BULK_BYTES, CREDITS, Told};
use crate::process::Fault;
use crate::random::Random;
use baton_linux::{ConnectError, Linux, LinuxHandle, LinuxNode, NodeConfig, Wants};
use baton_rpc::Mode;

/// Tasks that call.
const WORKERS: u64 = 4;
/// Calls before a task rests, so that the hostile process gets its share of the processor.
const BATCH: u64 = 32;
const REST_NS: u64 = 500_000;

/// Runs until it is killed, or finds something wrong.
pub(super) fn run(told: &Told) -> Result<(), Fault> {
    let node = LinuxNode::start(NodeConfig {
        name: Some(format!("honest {}", told.client)),
        ..NodeConfig::default()
    })
    .map_err(|error| error.to_string())?;
    let handle = node.handle();
    let work = async {
        let guarded = connect(&handle, told).await?;
        let mut random = Random::new(told.seed);
        let workers = (0..WORKERS).map(|_| Worker {
            guarded: guarded.clone(),
            random: Random::new(random.next_u64()),
        });
        let workers: Vec<Worker> = workers.collect();
        // One after the other within a batch, all at once between them.
        let mut running = Vec::new();
        for worker in workers {
            let spawned = handle.executor().spawn(batch(worker));
            running.push(spawned.map_err(|error| error.to_string())?);
        }
        loop {
            for place in &mut running {
                let worker = (&mut *place).await.map_err(|error| error.to_string())??;
                told.tally.add_checked(told.client, BATCH)?;
                let spawned = handle.executor().spawn(batch(worker));
                *place = spawned.map_err(|error| error.to_string())?;
            }
            let rest = handle.executor().sleep(REST_NS).await;
            rest.map_err(|error| error.to_string())?;
        }
    };
    node.run_until(Mode::Park, work)
        .map_err(|error| error.to_string())?
}

async fn connect(handle: &LinuxHandle, told: &Told) -> Result<GuardedClient<Linux>, Fault> {
    let wants = Wants {
        credits: CREDITS,
        request_bulk_bytes: BULK_BYTES,
        answer_bulk_bytes: BULK_BYTES,
        ..Wants::default()
    };
    loop {
        match handle.connect(&told.name, GuardedClient::<Linux>::INTERFACE, &wants) {
            Ok(client) => return Ok(GuardedClient::new(client)),
            // It has not begun.
            Err(ConnectError::NotListening { .. }) => {}
            Err(error) => return Err(format!("an honest client is not let in: {error}")),
        }
        let pause = handle.executor().sleep(1_000_000).await;
        pause.map_err(|error| error.to_string())?;
    }
}

struct Worker {
    guarded: GuardedClient<Linux>,
    random: Random,
}

async fn batch(mut worker: Worker) -> Result<Worker, Fault> {
    for _ in 0..BATCH {
        worker.step().await?;
    }
    Ok(worker)
}

impl Worker {
    async fn step(&mut self) -> Result<(), Fault> {
        match self.random.below(8) {
            0..=4 => self.mix().await,
            5..=6 => self.turn().await,
            _ => self.note().await,
        }
        .map_err(|fault| format!("an honest client: {fault}"))
    }

    async fn mix(&mut self) -> Result<(), Fault> {
        let words = [0; 4].map(|_: u64| self.random.next_u64());
        let answer = self.guarded.mix(words).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer != mixed(words) {
            return Err(format!("{words:?} was answered by {answer:?}"));
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), Fault> {
        let len = self.random.below(u64::from(BULK_BYTES) + 1) as usize;
        let first = self.random.next_u64() as u8;
        let data: Vec<u8> = (0..len).map(|i| first.wrapping_add(i as u8)).collect();
        let buffer = self.guarded.client().buffer().await;
        let mut buffer = buffer.map_err(|error| error.to_string())?;
        buffer.write(&data).map_err(|error| error.to_string())?;
        let answer = self.guarded.turn(buffer).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let turned = answer.to_vec();
        let expected: Vec<u8> = data.iter().map(|byte| byte.wrapping_add(1)).collect();
        if answer.value != len as u64 || turned != expected {
            return Err(format!("{data:?} was answered by {turned:?}"));
        }
        Ok(())
    }

    async fn note(&mut self) -> Result<(), Fault> {
        let session = session(self.random.next_u64() as u32);
        let times = 1 + self.random.below(4);
        for _ in 0..times {
            let sent = self.guarded.send_note(session).await;
            sent.map_err(|error| error.to_string())?;
        }
        let noted = self.guarded.noted(session).await;
        match noted.map_err(|error| error.to_string())? {
            found if found == times => Ok(()),
            found => Err(format!("{times} one-way sends were made, {found} came")),
        }
    }
}
