//! `embassy`: instructions per wake + requeue + poll of a task in embassy-executor's raw executor, by callgrind.
//!
//! The program, for another executor to be measured the same way:
//!
//! 1. The executor is `raw::Executor` without any feature (no platform, no timers, no tracing, no priorities). Its `__pender` is
//!    ours, as its documentation asks: it stores 1 into a static `AtomicBool`, Relaxed.
//! 2. `tasks` tasks (1 or 64) are spawned. Each is a hand-written future without state: its `poll` calls
//!    `cx.waker().wake_by_ref()` and returns `Pending`. So each poll wakes and queues the task itself, once.
//! 3. The main loop runs until the executor was polled `turns` times: if the pender's flag is set, clear it (load and
//!    store, Relaxed) and call `poll()`, which polls each queued task once. `turns` comes from the command line, so that nothing
//!    is known at compile time.
//! 4. Counted are all instructions of the process for n turns and for 2n; their difference divided by n and by the
//!    number of tasks is the figure: the wake, the requeue, the dequeue, the poll through the task's function pointer, and
//!    this task's share of the turn (all of it with one task, a 64th with 64).
//!
//! Built in release mode with the same profile as the rest. The row is `task_wake`, `outstanding` = tasks.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use baton_bench_harness::{
    Calibrator, Counting, Driver, HarnessError, Job, Metric, Sample, Shape, Values, Workload,
    instructions_per_round,
};
use embassy_executor::raw::{Executor, TaskStorage};

/// The hidden command that runs the counted program: tasks, then turns.
pub const COMMAND: &str = "embassy-turns";

/// Turns of the shorter run.
const TURNS: u64 = 20_000;

static PENDED: AtomicBool = AtomicBool::new(false);

#[unsafe(export_name = "__pender")]
fn pender(_context: *mut ()) {
    // Set and read on one thread only.
    PENDED.store(true, Ordering::Relaxed);
}

/// Wakes itself at each poll and never ends.
struct WakesItself;

impl Future for WakesItself {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The counted program.
pub fn run_turns(tasks: usize, turns: u64) -> Result<(), HarnessError> {
    let failed = |what: &str| HarnessError::Role(format!("embassy: {what}"));
    let executor: &'static Executor = Box::leak(Box::new(Executor::new(std::ptr::null_mut())));
    for _ in 0..tasks {
        let storage: &'static TaskStorage<WakesItself> = Box::leak(Box::new(TaskStorage::new()));
        let token = storage.spawn(|| WakesItself).map_err(|_| failed("spawn"))?;
        executor.spawner().spawn(token);
    }
    let mut done = 0;
    while done < turns {
        if !PENDED.load(Ordering::Relaxed) {
            return Err(failed("no task is queued"));
        }
        PENDED.store(false, Ordering::Relaxed);
        // SAFETY: this thread made the executor, and neither the pender nor the tasks call poll.
        unsafe { executor.poll() };
        done += 1;
    }
    Ok(())
}

/// The driver of this peer.
pub struct Embassy;

impl Driver for Embassy {
    fn peer(&self) -> &'static str {
        "embassy"
    }

    fn shapes(&self) -> Vec<Shape> {
        vec![
            Shape::new(Workload::TaskWake, 1, 1),
            Shape::new(Workload::TaskWake, 1, 64),
        ]
    }

    fn sample(&mut self, job: &Job, _: &mut Calibrator) -> Result<Sample, HarnessError> {
        let tasks = job.shape.outstanding;
        let binary: PathBuf = std::env::current_exe()
            .map_err(|source| HarnessError::os("path of this binary", source))?;
        let per_turn = instructions_per_round(&binary, TURNS, &Counting::default(), |turns| {
            vec![COMMAND.to_string(), tasks.to_string(), turns.to_string()]
        })?;
        Ok(Sample::uncalibrated(
            Values::new().with(Metric::Instructions, per_turn / tasks as f64),
        ))
    }
}
