//! The victim: serves all alike, and calls the hostile process back.

use super::service::{Guarded, GuardedServer, Liar, LiesClient, LiesServer, mixed};
use super::tally::{Seen, Tally};
use super::{BULK_BYTES, CREDITS, HOSTILE_NAME, Told};
use crate::process::Fault;
use crate::random::Random;
use baton_linux::platform::monotonic_ns;
use baton_linux::{Grants, Linux, LinuxHandle, LinuxNode, NodeConfig};
use baton_rpc::{Band, BulkIn, BulkOut, CallError, Client, DeadlineError, Mode, SendError};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// Tasks that call each hostile connection back.
const CALLERS: u64 = 3;
/// How long an answer of a liar is awaited.
const DEADLINE_NS: u64 = 500_000;
/// How often the counts are passed on.
const TALLY_EVERY_NS: u64 = 20_000_000;
/// Longest time that a call may linger.
const MAX_LINGER_NS: u64 = 1_000_000;

#[derive(Default)]
struct Counts([Cell<u64>; Seen::ALL.len()]);

impl Counts {
    fn add(&self, what: Seen, n: u64) {
        if let Some(count) = self.0.get(what as usize) {
            count.set(count.get() + n);
        }
    }

    fn pass_on(&self, tally: &Tally) -> Result<(), Fault> {
        for ((what, _), count) in Seen::ALL.iter().zip(&self.0) {
            let n = count.replace(0);
            if n != 0 {
                tally.see(*what, n)?;
            }
        }
        Ok(())
    }
}

struct Plain {
    handle: LinuxHandle,
    /// By session, those of honest clients only: liars make up any number of others.
    notes: RefCell<HashMap<u64, u64>>,
}

impl Guarded for Plain {
    async fn mix(&self, words: [u64; 4]) -> [u64; 4] {
        mixed(words)
    }

    async fn turn(&self, data: BulkIn, mut out: BulkOut) -> (u64, BulkOut) {
        let turned: Vec<u8> = data.to_vec().iter().map(|b| b.wrapping_add(1)).collect();
        let len = out.write(&turned).map_or(0, |()| turned.len());
        (len as u64, out)
    }

    async fn linger(&self, time_ns: u64) -> u64 {
        let sleep = self.handle.executor().sleep(time_ns.min(MAX_LINGER_NS));
        // Too many timers: then it does not take long.
        let _ = sleep.await;
        time_ns
    }

    fn note(&self, session: u64) {
        if session == super::service::session(session as u32) {
            *self.notes.borrow_mut().entry(session).or_insert(0) += 1;
        }
    }

    async fn noted(&self, session: u64) -> u64 {
        // Counted once, forgotten then.
        self.notes.borrow_mut().remove(&session).unwrap_or(0)
    }
}

/// Runs until it is killed.
pub(super) fn run(told: &Told) -> Result<(), Fault> {
    let node = LinuxNode::start(NodeConfig {
        name: Some("victim".into()),
        ..NodeConfig::default()
    })
    .map_err(|error| error.to_string())?;
    let handle = node.handle();
    let counts = Rc::new(Counts::default());
    let service = Rc::new(GuardedServer(Plain {
        handle: handle.clone(),
        notes: RefCell::default(),
    }));
    let grants = Grants {
        max_credits: CREDITS,
        want_back_credits: CREDITS,
        max_request_bulk_bytes: BULK_BYTES,
        max_answer_bulk_bytes: BULK_BYTES,
        back_interface: LiesServer::<Liar>::INTERFACE.hash,
        ..Grants::default()
    };
    let seed = Cell::new(told.seed);
    let at_connect = (handle.clone(), counts.clone());
    let connected = move |client: Client<Linux>, peer: &baton_linux::PeerInfo| {
        if peer.name == HOSTILE_NAME {
            seed.set(seed.get() + CALLERS);
            call_back(&at_connect.0, &at_connect.1, &client, seed.get());
        }
    };
    handle
        .serve_and_call(&told.name, service, grants, Band::NORMAL, connected)
        .map_err(|error| error.to_string())?;
    let count = async {
        loop {
            counts.pass_on(&told.tally)?;
            let pause = handle.executor().sleep(TALLY_EVERY_NS).await;
            pause.map_err(|error| error.to_string())?;
        }
    };
    node.run_until(Mode::Adaptive, count)
        .map_err(|error| error.to_string())?
}

/// Calls a hostile connection until it has ended, and counts how it did.
fn call_back(handle: &LinuxHandle, counts: &Rc<Counts>, client: &Client<Linux>, seed: u64) {
    for caller in 0..CALLERS {
        let mut caller = Caller {
            lies: LiesClient::new(client.clone()),
            handle: handle.clone(),
            counts: counts.clone(),
            random: Random::new(seed + caller),
        };
        let spawned = handle.executor().spawn(async move {
            while caller.lies.client().connection().failure().is_none() {
                caller.call().await;
            }
        });
        // Without a task entry this connection is called less; how many are free is the test's own choice.
        drop(spawned);
    }
    let connection = client.connection().clone();
    let counts = counts.clone();
    let watch = async move {
        let failure = connection.ended().await;
        counts.add(Seen::of_failure(failure), 1);
        let dropped = connection.counters();
        counts.add(Seen::StaleAnswers, dropped.stale_answers.get());
        counts.add(Seen::BadOneWays, dropped.bad_one_ways.get());
        counts.add(Seen::LateCancels, dropped.late_cancels.get());
    };
    drop(handle.executor().spawn(watch));
}

struct Caller {
    lies: LiesClient<Linux>,
    handle: LinuxHandle,
    counts: Rc<Counts>,
    random: Random,
}

impl Caller {
    async fn call(&mut self) {
        self.counts.add(Seen::CallsBegun, 1);
        let seen = match self.random.below(4) {
            0..=1 => self.tell().await,
            2 => self.show().await,
            _ => self.mutter(),
        };
        self.counts.add(seen, 1);
        self.counts.add(Seen::CallsEnded, 1);
        // Sends that do not wait would otherwise keep the task from ever giving way.
        let pause = self
            .handle
            .executor()
            .sleep(self.random.below(50_000))
            .await;
        debug_assert!(pause.is_ok(), "there are timers enough");
    }

    fn deadline_ns(&self) -> u64 {
        monotonic_ns() + DEADLINE_NS
    }

    async fn tell(&mut self) -> Seen {
        let words = [self.random.next_u64(), self.random.next_u64()];
        let call = self.lies.tell(words);
        ended(
            self.handle
                .executor()
                .before(self.deadline_ns(), call)
                .await,
        )
    }

    async fn show(&mut self) -> Seen {
        let lies = &self.lies;
        let call = async {
            let mut buffer = lies.client().buffer().await?;
            let written = buffer.write(&[7; BULK_BYTES as usize]);
            debug_assert!(written.is_ok(), "the buffer is that long");
            let answer = lies.show(buffer).await?;
            // Whatever it says, it is within the buffer that was agreed on.
            match answer.to_vec().len() <= BULK_BYTES as usize {
                true => Ok(()),
                false => Err(CallError::NoReply),
            }
        };
        ended(
            self.handle
                .executor()
                .before(self.deadline_ns(), call)
                .await,
        )
    }

    fn mutter(&mut self) -> Seen {
        match self.lies.mutter(self.random.next_u64()) {
            Ok(()) => Seen::Believed,
            Err(SendError::Failed(_)) => Seen::Failed,
            Err(SendError::Full | SendError::NoCredits) => Seen::NoCredit,
        }
    }
}

fn ended<T>(result: Result<Result<T, CallError>, DeadlineError>) -> Seen {
    match result {
        Ok(Ok(_)) => Seen::Believed,
        Ok(Err(error)) => Seen::of_error(error),
        Err(_) => Seen::TimedOut,
    }
}
