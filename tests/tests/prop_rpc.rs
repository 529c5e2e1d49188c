//! Calls between nodes in random interleavings, against a naive model that knows which results are allowed.
//!
//! Whatever is done: every call that was neither dropped nor overtaken by a deadline or a death is answered exactly once with its
//! own value; one-way sends arrive once and in order; and at the end every credit is back.
#![cfg(not(loom))]

#[path = "../../host/inprocess/tests/common/mod.rs"]
mod common;

use baton_inbox::{InSlot, Publication, TailWord};
use baton_inprocess::InProcess;
use baton_rpc::{CallError, Config, DeadlineError, Failure, JoinHandle, SendError};
use baton_trace::Ring;
use common::{DeskClient, Held, Join, Side, Start, credits, free_credits};
use proptest::collection::vec;
use proptest::prelude::*;
use std::rc::Rc;
use std::sync::Arc;

fn config() -> ProptestConfig {
    let cases = std::env::var("BATON_CASES");
    let cases = cases.ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(64),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Nodes, and so links between them: each node may call each other one.
const NODES: usize = 3;
const LINKS: [(usize, usize); 6] = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)];

#[derive(Clone, Copy, Debug)]
enum Step {
    Turn(usize),
    Echo(usize),
    Hold(usize),
    /// A held call with a deadline so many nanoseconds from now.
    HoldUntil(usize, u64),
    /// A call with bulk payload of so many bytes.
    Bulk(usize, usize),
    /// A one-way send, if a credit is free.
    Note(usize),
    /// A one-way send that waits for one.
    NoteWaiting(usize),
    Drop(usize),
    /// Lets a waiting handler of this node answer: the oldest, or the youngest.
    Answer(usize, bool),
    Advance(u64),
    /// The two ends of this connection learn that the other is dead, at most once a test.
    Fail(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let link = || 0..LINKS.len();
    prop_oneof![
        30 => (0..NODES).prop_map(Step::Turn),
        6 => link().prop_map(Step::Echo),
        8 => link().prop_map(Step::Hold),
        3 => (link(), 0u64..300).prop_map(|(link, after_ns)| Step::HoldUntil(link, after_ns)),
        3 => (link(), 0usize..=64).prop_map(|(link, len)| Step::Bulk(link, len)),
        4 => link().prop_map(Step::Note),
        2 => link().prop_map(Step::NoteWaiting),
        6 => (0usize..200).prop_map(Step::Drop),
        8 => (0..NODES, any::<bool>()).prop_map(|(node, oldest)| Step::Answer(node, oldest)),
        3 => (0u64..100).prop_map(Step::Advance),
        1 => link().prop_map(Step::Fail),
    ]
}

/// How a call ended, whatever kind of call it was.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Answered(u64),
    Passed,
    Failed(Failure),
    /// Anything that no step here can lead to.
    Other(CallError),
}

impl From<Result<u64, CallError>> for Outcome {
    fn from(result: Result<u64, CallError>) -> Self {
        match result {
            Ok(value) => Outcome::Answered(value),
            Err(CallError::Failed(failure)) => Outcome::Failed(failure),
            Err(error) => Outcome::Other(error),
        }
    }
}

/// What the model knows of a call.
struct Model {
    link: usize,
    expected: u64,
    /// Answered only when the test says so, and then this is set.
    needs_answer: Option<u64>,
    deadline_ns: Option<u64>,
    dropped: bool,
}

type Sending<U> = JoinHandle<InProcess<U>, Result<(), SendError>>;

struct World<U: Publication> {
    sides: Vec<Side<U>>,
    helds: Vec<Rc<Held>>,
    clients: Vec<DeskClient<InProcess<U>>>,
    calls: Vec<(Model, JoinHandle<InProcess<U>, Outcome>)>,
    /// Waiting one-way sends: over which link, and what.
    sends: Vec<(usize, u64, Sending<U>)>,
    /// One-way sends that were made at once, in their order.
    notes: Vec<Vec<u64>>,
    answered: Vec<u64>,
    failed: Option<usize>,
    now_ns: u64,
    next: u64,
}

impl<U: Publication> World<U> {
    fn new(counts: [u32; 6], start: Start) -> Self {
        let config = Config {
            tasks: 512,
            timers: 512,
            quantum: 4,
        };
        let sides: Vec<Side<U>> = (0..NODES)
            .map(|_| Side::new(config, Arc::new(Ring::new(1))))
            .collect();
        let helds: Vec<_> = (0..NODES).map(|_| Held::new()).collect();
        let mut clients = Vec::new();
        for pair in 0..LINKS.len() / 2 {
            // One connection serves both directions.
            let (a, b) = LINKS[2 * pair];
            let join = Join {
                start,
                ..Join::of(credits(counts[2 * pair], counts[2 * pair + 1]))
            };
            let (there, back) =
                join.connect_both(&sides[a], &sides[b], helds[a].server(), helds[b].server());
            clients.push(DeskClient::new(there));
            clients.push(DeskClient::new(back));
        }
        World {
            sides,
            helds,
            clients,
            calls: Vec::new(),
            sends: Vec::new(),
            notes: vec![Vec::new(); LINKS.len()],
            answered: Vec::new(),
            failed: None,
            now_ns: 0,
            next: 1,
        }
    }

    fn has_failed(&self, link: usize) -> bool {
        self.failed.is_some_and(|pair| pair == link / 2)
    }

    fn spawn(
        &mut self,
        link: usize,
        expected: u64,
        held: bool,
        deadline_ns: Option<u64>,
        call: impl Future<Output = Outcome> + 'static,
    ) {
        let task = self.sides[LINKS[link].0].node.executor().spawn(call);
        let model = Model {
            link,
            expected,
            needs_answer: held.then_some(expected),
            deadline_ns,
            dropped: false,
        };
        self.calls.push((model, task.expect("the table is large")));
    }

    fn step(&mut self, step: Step) {
        let value = self.next;
        self.next += 1;
        match step {
            Step::Turn(node) => drop(self.sides[node].turn()),
            Step::Echo(link) => {
                let client = self.clients[link].clone();
                let call = async move { client.echo(value).await.into() };
                self.spawn(link, value, false, None, call);
            }
            Step::Hold(link) => {
                let client = self.clients[link].clone();
                let call = async move { client.held(value).await.into() };
                self.spawn(link, value, true, None, call);
            }
            Step::HoldUntil(link, after_ns) => {
                let client = self.clients[link].clone();
                let executor = self.sides[LINKS[link].0].node.executor().clone();
                let deadline_ns = self.now_ns + after_ns;
                let call = async move {
                    match executor.before(deadline_ns, client.held(value)).await {
                        Ok(result) => result.into(),
                        Err(DeadlineError::Passed) => Outcome::Passed,
                        Err(DeadlineError::TooManyTimers(_)) => Outcome::Other(CallError::NoReply),
                    }
                };
                self.spawn(link, value, true, Some(deadline_ns), call);
            }
            Step::Bulk(link, len) => {
                let client = self.clients[link].clone();
                let bytes: Vec<u8> = (0..len).map(|at| (value as usize + at * 3) as u8).collect();
                let mut expected = bytes.clone();
                expected.reverse();
                let call = async move {
                    let answer = async {
                        let mut buffer = client.client().buffer().await?;
                        buffer.write(&bytes).expect("it fits");
                        client.turned(buffer).await
                    };
                    match answer.await {
                        Ok(answer) => {
                            assert_eq!(answer.to_vec(), expected);
                            Outcome::Answered(answer.value)
                        }
                        Err(error) => Err(error).into(),
                    }
                };
                self.spawn(link, len as u64, false, None, call);
            }
            Step::Note(link) => match self.clients[link].note(value) {
                Ok(()) => self.notes[link].push(value),
                Err(SendError::Full) => {}
                Err(error) => assert!(self.has_failed(link), "{error}"),
            },
            Step::NoteWaiting(link) => {
                let client = self.clients[link].clone();
                let send = async move { client.send_note(value).await };
                let task = self.sides[LINKS[link].0].node.executor().spawn(send);
                let task = task.expect("the table is large");
                self.sends.push((link, value, task));
            }
            Step::Drop(number) => {
                if let Some(number) = number.checked_rem(self.calls.len()) {
                    let (model, task) = &mut self.calls[number];
                    task.cancel();
                    model.dropped = true;
                }
            }
            Step::Answer(node, oldest) => self.answer(node, oldest),
            Step::Advance(by_ns) => {
                self.now_ns += by_ns;
                for side in &self.sides {
                    side.set_clock_ns(self.now_ns);
                }
            }
            Step::Fail(link) => {
                if self.failed.is_none() {
                    self.failed = Some(link / 2);
                    for client in &self.clients[link & !1..][..2] {
                        client.client().connection().fail(Failure::PeerDied);
                    }
                }
            }
        }
    }

    fn answer(&mut self, node: usize, oldest: bool) {
        let values = self.helds[node].values();
        let value = if oldest {
            values.first()
        } else {
            values.last()
        };
        if let Some(value) = value
            && self.helds[node].answer(*value)
        {
            self.answered.push(*value);
        }
    }

    /// Turns everything until nothing happens any more; the number of turns is bounded by the work.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        let mut idle = 0;
        for _ in 0..2_000 {
            let done: u32 = self.sides.iter().map(|side| side.turn()).sum();
            let mut answered = false;
            for node in 0..NODES {
                while !self.helds[node].values().is_empty() {
                    self.answer(node, true);
                    answered = true;
                }
            }
            idle = if done == 0 && !answered { idle + 1 } else { 0 };
            if idle == 4 {
                return Ok(());
            }
        }
        prop_assert!(false, "the nodes never come to rest");
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (model, task) in &self.calls {
            let Some(result) = task.try_take() else {
                prop_assert!(false, "call {} never ended", model.expected);
                return Ok(());
            };
            let Ok(outcome) = result else {
                prop_assert!(model.dropped, "call {} was cancelled", model.expected);
                continue;
            };
            match outcome {
                Outcome::Answered(value) => {
                    prop_assert_eq!(value, model.expected);
                    if let Some(value) = model.needs_answer {
                        prop_assert!(self.answered.contains(&value), "{} by itself", value);
                    }
                }
                Outcome::Passed => {
                    let deadline_ns = model.deadline_ns.expect("it had none");
                    prop_assert!(deadline_ns <= self.now_ns);
                }
                Outcome::Failed(failure) => {
                    prop_assert!(self.has_failed(model.link));
                    prop_assert_eq!(failure, Failure::PeerDied);
                }
                Outcome::Other(error) => prop_assert!(false, "{}", error),
            }
        }
        for (link, value, task) in &self.sends {
            let sent = task
                .try_take()
                .expect("a send never ended")
                .expect("nobody cancels it");
            let arrived = self.helds[LINKS[*link].1]
                .notes
                .borrow()
                .iter()
                .filter(|n| *n == value)
                .count();
            match sent {
                Ok(()) if self.has_failed(*link) => prop_assert!(arrived <= 1),
                Ok(()) => prop_assert_eq!(arrived, 1),
                Err(_) => {
                    prop_assert!(self.has_failed(*link));
                    prop_assert_eq!(arrived, 0);
                }
            }
        }
        for (link, sent) in self.notes.iter().enumerate() {
            let notes = self.helds[LINKS[link].1].notes.borrow();
            let arrived: Vec<u64> = notes.iter().copied().filter(|n| sent.contains(n)).collect();
            if self.has_failed(link) {
                prop_assert!(sent.starts_with(&arrived));
            } else {
                prop_assert_eq!(&arrived, sent);
            }
        }
        for held in &self.helds {
            let mut echoed = held.echoed.borrow().clone();
            echoed.sort_unstable();
            prop_assert!(
                echoed.windows(2).all(|two| two[0] != two[1]),
                "served twice"
            );
        }
        for (link, client) in self.clients.iter().enumerate() {
            let connection = client.client().connection();
            if self.has_failed(link) {
                prop_assert_eq!(connection.failure(), Some(Failure::PeerDied));
                continue;
            }
            prop_assert_eq!(connection.failure(), None);
            prop_assert_eq!(free_credits(client.client()), connection.credits());
            let counters = connection.counters();
            prop_assert_eq!(counters.stale_answers.get(), 0);
            prop_assert_eq!(counters.bad_one_ways.get(), 0);
        }
        Ok(())
    }
}

fn calls_are_answered<U: Publication>(
    counts: [u32; 6],
    start: Start,
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let mut world = World::<U>::new(counts, start);
    for step in steps {
        world.step(step);
    }
    world.finish()?;
    world.check()
}

fn start() -> impl Strategy<Value = Start> {
    // Lanes and generations that wrap soon, or not.
    let position = prop_oneof![Just(0), (u32::MAX - 20)..(u32::MAX - 8)];
    let last = u64::MAX >> 16;
    let generation = prop_oneof![Just(0), (last - 3)..=last];
    (position, generation).prop_map(|(position, generation)| Start {
        position,
        generation,
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_call_is_answered_once_and_every_credit_comes_back(
        counts in proptest::array::uniform6(1u32..4),
        start in start(),
        steps in vec(step(), 0..200),
    ) {
        calls_are_answered::<InSlot>(counts, start, steps)?;
    }

    #[test]
    fn the_same_with_tail_words(
        counts in proptest::array::uniform6(1u32..4),
        start in start(),
        steps in vec(step(), 0..200),
    ) {
        calls_are_answered::<TailWord>(counts, start, steps)?;
    }
}
