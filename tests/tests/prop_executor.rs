//! The executor against a naive model of its ready queues: the exact order of polls, whatever wakes, ends and cancels.
#![cfg(not(loom))]

use baton_inbox::{BANDS, Band, InSlot};
use baton_inprocess::{Clock, InProcess, node};
use baton_rpc::{Config, JoinHandle, Node};
use baton_trace::Ring;
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

fn config() -> ProptestConfig {
    let cases = std::env::var("BATON_CASES");
    let cases = cases.ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(64),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// What a task does in one of its polls. Tasks are named by the order in which they were spawned, modulo how many there are.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Wait,
    WakeSelf,
    Wake(usize),
    Cancel(usize),
    Finish,
    WakeSelfAndFinish,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => Just(Deed::Wait),
        3 => Just(Deed::WakeSelf),
        3 => (0usize..40).prop_map(Deed::Wake),
        1 => (0usize..40).prop_map(Deed::Cancel),
        1 => Just(Deed::Finish),
        1 => Just(Deed::WakeSelfAndFinish),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Spawn(u8, Vec<Deed>),
    /// From outside the executor: through the stack of foreign wakes.
    Wake(usize),
    Cancel(usize),
    Turn,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u8..8, vec(deed(), 0..6)).prop_map(|(band, deeds)| Step::Spawn(band, deeds)),
        3 => (0usize..40).prop_map(Step::Wake),
        1 => (0usize..40).prop_map(Step::Cancel),
        3 => Just(Step::Turn),
    ]
}

/// What became of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Lives,
    Finished,
    Cancelled,
}

struct ModelTask {
    entry: usize,
    deeds: VecDeque<Deed>,
    cancelled: bool,
    fate: Fate,
    /// It has been polled, so its waker is about.
    known: bool,
}

/// Ready queues of entries, as plain as can be.
struct Model {
    /// Who lives in each entry, if anybody does.
    entries: Vec<Option<usize>>,
    bands: Vec<usize>,
    next_free: usize,
    queues: Vec<VecDeque<usize>>,
    foreign: Vec<usize>,
    tasks: Vec<ModelTask>,
    polls: Vec<usize>,
}

impl Model {
    fn new(entries: usize) -> Self {
        Model {
            entries: vec![None; entries],
            bands: vec![4; entries],
            next_free: 0,
            queues: vec![VecDeque::new(); BANDS],
            foreign: Vec::new(),
            tasks: Vec::new(),
            polls: Vec::new(),
        }
    }

    fn wake_entry(&mut self, entry: usize) {
        if !self.queues.iter().any(|queue| queue.contains(&entry)) {
            self.queues[self.bands[entry]].push_back(entry);
        }
    }

    fn spawn(&mut self, band: u8, deeds: &[Deed]) -> bool {
        let count = self.entries.len();
        let mut order = (self.next_free..count).chain(0..self.next_free.min(count));
        let Some(entry) = order.find(|entry| self.entries[*entry].is_none()) else {
            return false;
        };
        self.next_free = entry + 1;
        // A stale wake of the entry's last task is forgotten.
        for queue in &mut self.queues {
            queue.retain(|queued| *queued != entry);
        }
        self.entries[entry] = Some(self.tasks.len());
        self.bands[entry] = band.into();
        self.tasks.push(ModelTask {
            entry,
            deeds: deeds.iter().copied().collect(),
            cancelled: false,
            fate: Fate::Lives,
            known: false,
        });
        self.wake_entry(entry);
        true
    }

    /// The entry that the waker of this task stands for, whoever lives there by now.
    fn entry_of(&self, task: usize) -> Option<usize> {
        let task = self.tasks.get(task.checked_rem(self.tasks.len())?)?;
        task.known.then_some(task.entry)
    }

    fn cancel(&mut self, task: usize) {
        let Some(number) = task.checked_rem(self.tasks.len()) else {
            return;
        };
        let task = &mut self.tasks[number];
        if task.fate == Fate::Lives {
            task.cancelled = true;
            let entry = task.entry;
            self.wake_entry(entry);
        }
    }

    fn end(&mut self, task: usize, fate: Fate) {
        self.tasks[task].fate = fate;
        self.entries[self.tasks[task].entry] = None;
    }

    fn poll(&mut self, entry: usize) {
        let Some(number) = self.entries[entry] else {
            return;
        };
        if self.tasks[number].cancelled {
            return self.end(number, Fate::Cancelled);
        }
        self.polls.push(number);
        self.tasks[number].known = true;
        match self.tasks[number].deeds.pop_front() {
            None | Some(Deed::Wait) => {}
            Some(Deed::WakeSelf) => self.wake_entry(entry),
            Some(Deed::Wake(other)) => {
                if let Some(other) = self.entry_of(other) {
                    self.wake_entry(other);
                }
            }
            Some(Deed::Cancel(other)) => self.cancel(other),
            Some(Deed::Finish) => self.end(number, Fate::Finished),
            Some(Deed::WakeSelfAndFinish) => {
                self.wake_entry(entry);
                self.end(number, Fate::Finished);
            }
        }
    }

    fn turn(&mut self, quantum: u32) {
        // The last foreign wake is taken first; each entry is in the stack once.
        let mut taken = std::mem::take(&mut self.foreign);
        while let Some(entry) = taken.pop() {
            self.wake_entry(entry);
        }
        let Some(band) = self.queues.iter().position(|queue| !queue.is_empty()) else {
            return;
        };
        for _ in 0..quantum {
            let Some(entry) = self.queues[band].pop_front() else {
                return;
            };
            self.poll(entry);
        }
    }

    fn wake_from_outside(&mut self, task: usize) {
        if let Some(entry) = self.entry_of(task)
            && !self.foreign.contains(&entry)
        {
            self.foreign.push(entry);
        }
    }
}

#[derive(Default)]
struct Shared {
    polls: Vec<usize>,
    wakers: Vec<Option<Waker>>,
    handles: Vec<Rc<JoinHandle<InProcess, ()>>>,
}

fn pick<T: Clone>(all: &[T], number: usize) -> Option<T> {
    all.get(number.checked_rem(all.len())?).cloned()
}

/// A task that does its deeds, and then waits for ever.
fn task(
    number: usize,
    deeds: &[Deed],
    shared: Rc<RefCell<Shared>>,
) -> impl Future<Output = ()> + use<> {
    let mut deeds: VecDeque<Deed> = deeds.iter().copied().collect();
    std::future::poll_fn(move |context| {
        let mut all = shared.borrow_mut();
        all.polls.push(number);
        all.wakers[number] = Some(context.waker().clone());
        let deed = deeds.pop_front().unwrap_or(Deed::Wait);
        let waker = match deed {
            Deed::WakeSelf | Deed::WakeSelfAndFinish => Some(context.waker().clone()),
            Deed::Wake(other) => pick(&all.wakers, other).flatten(),
            _ => None,
        };
        let cancelled = match deed {
            Deed::Cancel(other) => pick(&all.handles, other),
            _ => None,
        };
        drop(all);
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(handle) = cancelled {
            handle.cancel();
        }
        match deed {
            Deed::Finish | Deed::WakeSelfAndFinish => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
}

fn new_node(
    tasks: usize,
    timers: usize,
    quantum: u32,
) -> (Node<InProcess<InSlot>>, Arc<Mutex<u64>>) {
    let clock = Arc::new(Mutex::new(0));
    let config = Config {
        tasks,
        timers,
        quantum,
    };
    let (node, _) = node(config, Clock::Manual(clock.clone()), Arc::new(Ring::new(1)));
    (node, clock)
}

#[derive(Clone, Debug)]
enum TimerStep {
    Sleep(u64),
    Drop(usize),
    Advance(u64),
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn tasks_are_polled_in_the_models_order(
        entries in 1usize..8,
        quantum in 1u32..6,
        steps in vec(step(), 0..120),
    ) {
        let (node, _) = new_node(entries, 1, quantum);
        let mut model = Model::new(entries);
        let shared: Rc<RefCell<Shared>> = Rc::default();
        for step in steps {
            match step {
                Step::Spawn(band, deeds) => {
                    let number = model.tasks.len();
                    let band_of = Band::new(band).unwrap();
                    let future = task(number, &deeds, shared.clone());
                    let spawned = node.executor().spawn_in(band_of, "task", future);
                    prop_assert_eq!(spawned.is_ok(), model.spawn(band, &deeds));
                    if let Ok(handle) = spawned {
                        let mut all = shared.borrow_mut();
                        all.handles.push(Rc::new(handle));
                        all.wakers.push(None);
                    }
                }
                Step::Wake(number) => {
                    let waker = pick(&shared.borrow().wakers, number).flatten();
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    model.wake_from_outside(number);
                }
                Step::Cancel(number) => {
                    let handle = pick(&shared.borrow().handles, number);
                    if let Some(handle) = handle {
                        handle.cancel();
                    }
                    model.cancel(number);
                }
                Step::Turn => {
                    node.turn().unwrap();
                    model.turn(quantum);
                }
            }
            let all = shared.borrow();
            prop_assert_eq!(&all.polls, &model.polls);
            for (handle, task) in all.handles.iter().zip(&model.tasks) {
                prop_assert_eq!(handle.is_finished(), task.fate != Fate::Lives);
            }
        }
        let handles = std::mem::take(&mut shared.borrow_mut().handles);
        drop(node);
        for (handle, task) in handles.iter().zip(&model.tasks) {
            // Who still lived when the executor ended was cancelled by that.
            let finished = handle.try_take().expect("the executor has ended").is_ok();
            prop_assert_eq!(finished, task.fate == Fate::Finished);
        }
    }

    #[test]
    fn timers_fire_when_they_should_and_in_order(
        capacity in 0usize..12,
        steps in vec(prop_oneof![
            4 => (0u64..1000).prop_map(TimerStep::Sleep),
            1 => (0usize..40).prop_map(TimerStep::Drop),
            3 => (0u64..200).prop_map(TimerStep::Advance),
        ], 0..80),
    ) {
        let (node, clock) = new_node(128, capacity, 128);
        let mut now_ns = 0;
        // Deadline and number, while it sleeps.
        let mut asleep: Vec<(u64, usize)> = Vec::new();
        let mut expected = Vec::new();
        let order: Rc<RefCell<Vec<usize>>> = Rc::default();
        let mut handles = Vec::new();
        for step in steps {
            match step {
                TimerStep::Sleep(duration_ns) => {
                    let number = handles.len();
                    // Two never have the same deadline, so that the order is known.
                    let deadline_ns = (now_ns + duration_ns) * 128 + number as u64;
                    let (order, sleep) = (order.clone(), node.executor().sleep_until(deadline_ns));
                    let future = async move {
                        let slept = sleep.await;
                        if slept.is_ok() {
                            order.borrow_mut().push(number);
                        }
                        slept.is_ok()
                    };
                    handles.push(node.executor().spawn(future).unwrap());
                    node.turn().unwrap();
                    if deadline_ns <= now_ns * 128 {
                        expected.push(number);
                    } else if asleep.len() < capacity {
                        asleep.push((deadline_ns, number));
                    } else {
                        prop_assert_eq!(handles[number].try_take(), Some(Ok(false)));
                    }
                }
                TimerStep::Drop(number) => {
                    if let Some(number) = number.checked_rem(handles.len()) {
                        handles[number].cancel();
                        node.turn().unwrap();
                        asleep.retain(|(_, other)| *other != number);
                    }
                }
                TimerStep::Advance(duration_ns) => {
                    now_ns += duration_ns;
                    *clock.lock().unwrap() = now_ns * 128;
                    node.turn().unwrap();
                    asleep.sort_unstable();
                    let passed = asleep.partition_point(|(deadline_ns, _)| *deadline_ns <= now_ns * 128);
                    expected.extend(asleep.drain(..passed).map(|(_, number)| number));
                }
            }
            prop_assert_eq!(&*order.borrow(), &expected);
        }
    }
}
