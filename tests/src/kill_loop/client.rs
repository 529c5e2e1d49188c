//! A client: puts, checks, and connects again when its server has died.

use super::record::{Mark, Record};
use super::server::{BULK_BYTES, CREDITS};
use super::service::LedgerClient;
use super::{KEYS, KEYS_OF_WORKER, Told, WORKERS, told};
use crate::process::{Fault, end_with_parent};
use crate::random::Random;
use baton_linux::{ConnectError, Linux, LinuxHandle, LinuxNode, NodeConfig, Wants};
use baton_rpc::{CallError, DeadlineError, Failure, Mode, SendError};
use std::rc::Rc;

/// Why a task of a client stopped.
enum Stop {
    /// The server has died: connect again.
    Died,
    /// Something is wrong.
    Wrong(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Wrong(fault)
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        match error {
            // This side disconnects only when another of its tasks has found something wrong, and will tell.
            CallError::Failed(Failure::PeerDied | Failure::Disconnected) => Stop::Died,
            error => Stop::Wrong(format!("a call failed: {error}")),
        }
    }
}

/// One task's view.
struct Worker {
    ledger: LedgerClient<Linux>,
    handle: LinuxHandle,
    told: Rc<Told>,
    first_key: usize,
    session: u64,
    noted: u64,
    random: Random,
}

/// Runs until it is killed.
pub(super) fn run(args: &[String]) -> Result<(), Fault> {
    end_with_parent();
    let told = Rc::new(told(args)?);
    let node = LinuxNode::start(NodeConfig {
        name: Some(format!("client {}", told.client)),
        ..NodeConfig::default()
    })
    .map_err(|error| error.to_string())?;
    let handle = node.handle();
    // One of the clients always sleeps at once.
    let mode = match told.client {
        0 => Mode::Park,
        _ => Mode::Adaptive,
    };
    let work = live(handle, told);
    node.run_until(mode, work)
        .map_err(|error| error.to_string())?
}

/// Connects again and again.
async fn live(handle: LinuxHandle, told: Rc<Told>) -> Result<(), Fault> {
    let mut random = Random::new(told.seed);
    loop {
        let ledger = connect(&handle, &told).await?;
        told.record.count(told.client, Mark::Connections)?;
        let mut workers = Vec::new();
        for worker in 0..WORKERS {
            let worker = Worker {
                ledger: ledger.clone(),
                handle: handle.clone(),
                told: told.clone(),
                first_key: worker * KEYS_OF_WORKER,
                session: random.next_u64(),
                noted: 0,
                random: Random::new(random.next_u64()),
            };
            let spawned = handle.executor().spawn(worker.work());
            workers.push(spawned.map_err(|error| error.to_string())?);
        }
        for worker in workers {
            match worker.await {
                Ok(Stop::Died) => {}
                Ok(Stop::Wrong(fault)) => return Err(fault),
                Err(error) => return Err(error.to_string()),
            }
        }
        handle.disconnect(ledger.client());
    }
}

async fn connect(handle: &LinuxHandle, told: &Told) -> Result<LedgerClient<Linux>, Fault> {
    let wants = Wants {
        credits: CREDITS,
        request_bulk_bytes: BULK_BYTES,
        answer_bulk_bytes: BULK_BYTES,
        ..Wants::default()
    };
    let interface = LedgerClient::<Linux>::INTERFACE;
    loop {
        match handle.connect(&told.name, interface, &wants) {
            Ok(client) => return Ok(LedgerClient::new(client)),
            // It was killed and is not back yet.
            Err(ConnectError::NotListening { .. } | ConnectError::HungUp) => {}
            Err(error) => return Err(format!("cannot connect: {error}")),
        }
        let pause = handle.executor().sleep(200_000).await;
        pause.map_err(|error| error.to_string())?;
    }
}

impl Worker {
    async fn work(mut self) -> Stop {
        let stop = match self.check_all().await {
            Ok(()) => loop {
                if let Err(stop) = self.step().await {
                    break stop;
                }
                if let Err(fault) = self.record().count(self.told.client, Mark::Progress) {
                    break Stop::Wrong(fault);
                }
            },
            Err(stop) => stop,
        };
        if let Stop::Wrong(_) = stop {
            // The others wait for a server that is well: end them too.
            self.handle.disconnect(self.ledger.client());
        }
        stop
    }

    fn record(&self) -> &Record {
        &self.told.record
    }

    async fn check_all(&mut self) -> Result<(), Stop> {
        for key in self.first_key..self.first_key + KEYS_OF_WORKER {
            self.check(key).await?;
        }
        Ok(())
    }

    /// Whatever was acknowledged is there, and nothing that was never put.
    async fn check(&self, key: usize) -> Result<(), Stop> {
        let client = self.told.client;
        let acked = self.record().acked(client, key)?;
        let found = self.ledger.get((client * KEYS + key) as u64).await?;
        let attempted = self.record().attempted(client, key)?;
        if !(acked..=attempted).contains(&found) {
            return Err(Stop::Wrong(format!(
                "client {client}, key {key}: {acked} was acknowledged and {attempted} attempted, {found} was found"
            )));
        }
        self.record().count(client, Mark::Checked)?;
        Ok(())
    }

    async fn step(&mut self) -> Result<(), Stop> {
        let key = self.first_key + self.random.below(KEYS_OF_WORKER as u64) as usize;
        match self.random.below(16) {
            0..=6 => self.put(key).await,
            7..=10 => self.check(key).await,
            11..=12 => self.turn().await,
            13..=14 => self.note().await,
            _ => self.give_up().await,
        }
    }

    async fn put(&self, key: usize) -> Result<(), Stop> {
        let client = self.told.client;
        let value = self.record().attempted(client, key)? + 1;
        self.record().set_attempted(client, key, value)?;
        let found = self.ledger.put((client * KEYS + key) as u64, value).await?;
        if found != value {
            return Err(Stop::Wrong(format!(
                "client {client}, key {key}: put {value}, {found} was kept"
            )));
        }
        self.record().set_acked(client, key, value)?;
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), Stop> {
        let len = self.random.below(u64::from(BULK_BYTES) + 1) as usize;
        let first = self.random.next_u64() as u8;
        let data: Vec<u8> = (0..len).map(|i| first.wrapping_add(i as u8)).collect();
        let mut buffer = self.ledger.client().buffer().await?;
        buffer
            .write(&data)
            .map_err(|error| Stop::Wrong(error.to_string()))?;
        let answer = self.ledger.turn(buffer).await?;
        let turned = answer.to_vec();
        let right = turned
            .iter()
            .zip(&data)
            .all(|(out, data)| *out == data.wrapping_add(1));
        if answer.value != len as u64 || turned.len() != len || !right {
            return Err(Stop::Wrong(format!("{len} bytes came back changed")));
        }
        Ok(())
    }

    async fn note(&mut self) -> Result<(), Stop> {
        for _ in 0..=self.random.below(4) {
            match self.ledger.send_note(self.session).await {
                Ok(()) => self.noted += 1,
                Err(SendError::Failed(Failure::PeerDied | Failure::Disconnected)) => {
                    return Err(Stop::Died);
                }
                Err(error) => return Err(Stop::Wrong(format!("a send failed: {error}"))),
            }
        }
        let found = self.ledger.noted(self.session).await?;
        if found != self.noted {
            return Err(Stop::Wrong(format!(
                "{} one-way sends were made, {found} came",
                self.noted
            )));
        }
        Ok(())
    }

    /// A call that passes its deadline, most of the time.
    async fn give_up(&mut self) -> Result<(), Stop> {
        let executor = self.handle.executor();
        let time_ns = self.random.below(400_000);
        let deadline_ns = baton_linux::platform::monotonic_ns() + self.random.below(200_000);
        match executor
            .before(deadline_ns, self.ledger.linger(time_ns))
            .await
        {
            Ok(answer) => match answer? {
                found if found == time_ns => Ok(()),
                found => Err(Stop::Wrong(format!("lingered {found} for {time_ns}"))),
            },
            Err(DeadlineError::Passed) => Ok(()),
            Err(error) => Err(Stop::Wrong(error.to_string())),
        }
    }
}
