//! The cache-line calibrator: what a round trip of one cache line between the two cores costs right now.
//!
//! The distance between virtual cores changes while one measures. So each sample stands between two calibrations, is
//! kept only if they agree, and is judged by its ratio to them. Two pinned processes bounce one word of a shared
//! area: each stores with Release what the other spins for with Acquire.

use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::role::{self, RoleContext};
use crate::shared::{futex_half, futex_wait, futex_wake};
use crate::stats::{LatencyRecorder, median};
use crate::{CorePair, HarnessError, Job, Shape, SharedArea, Workload, cpu};

pub(crate) const ROLE: &str = "calibrator";

/// Calibrations on both sides of a sample that differ by more than this part of their mean spoil it.
pub const TOLERANCE: f64 = 0.20;

const BATCHES: usize = 48;
const ROUNDS_PER_BATCH: u64 = 256;
/// A calibration takes a millisecond; when it takes this long, the partner is gone.
const LIMIT: Duration = Duration::from_secs(20);

// Workload words of the calibrator's area, a cache line each.
const LINE: usize = 0;
const COMMAND: usize = 16;
const PARTNER_DONE: usize = 32;
/// Value of the line's word that ends a series.
const END: u64 = u64::MAX;

/// Spins until `line` holds `wanted`, then returns; the waiting half of a bounce.
#[inline(always)]
pub fn await_value(line: &AtomicU64, wanted: u64) {
    // Pairs with the Release store of the other side.
    while line.load(Ordering::Acquire) != wanted {
        std::hint::spin_loop();
    }
}

/// Measures the round trip of a cache line between two cores, with a partner process that sleeps in between.
#[derive(Debug)]
pub struct Calibrator {
    area: SharedArea,
    partner: Child,
    cores: CorePair,
    home: Vec<usize>,
}

impl Calibrator {
    /// Starts the partner on the second core, and raises the priority of this process and all it will start.
    ///
    /// # Errors
    /// `Os` when it cannot be started, `Unsupported` when there are not two cores.
    pub fn start() -> Result<Self, HarnessError> {
        let cores = CorePair::detect()?;
        // Where it is not allowed, samples are noisier and nothing else changes.
        let _ = cpu::raise_priority();
        let area = SharedArea::create(64)?;
        let job = Job {
            shape: Shape::new(Workload::W1Awake, 1, 1),
            duration: Duration::ZERO,
        };
        let partner = role::spawn(ROLE, &area, &job, cores.second, 0, "calibrator")?;
        Ok(Self {
            area,
            partner,
            cores,
            home: cpu::allowed_cores()?,
        })
    }

    /// The cores between which it measures.
    #[must_use]
    pub fn cores(&self) -> CorePair {
        self.cores
    }

    /// The median time of a round trip in ns, over batches, measured now.
    ///
    /// # Errors
    /// `Role` when the partner has died, `Os` when this thread cannot be pinned.
    pub fn measure(&mut self) -> Result<f64, HarnessError> {
        cpu::pin(self.cores.first)?;
        let result = self.bounce();
        cpu::set_affinity(&self.home)?;
        result
    }

    fn bounce(&mut self) -> Result<f64, HarnessError> {
        let line = self.area.workload_word(LINE);
        let started = Instant::now();
        line.store(0, Ordering::Relaxed);
        self.area
            .workload_word(PARTNER_DONE)
            .store(0, Ordering::Relaxed);
        let command = futex_half(self.area.workload_word(COMMAND));
        // Release: the partner sees the line reset when it sees the command.
        command.fetch_add(1, Ordering::Release);
        futex_wake(command, 1);
        let mut batches = [0.0; BATCHES];
        let mut turn = 0;
        // One round trip to know that the partner is there, with a look at its life.
        line.store(1, Ordering::Release); // pairs with the partner's Acquire
        // Pairs with the partner's Release.
        while line.load(Ordering::Acquire) != 2 {
            std::hint::spin_loop();
            if started.elapsed() > LIMIT || !matches!(self.partner.try_wait(), Ok(None)) {
                return Err(HarnessError::Role(
                    "the calibrator's partner has died".into(),
                ));
            }
        }
        turn += 2;
        for batch in &mut batches {
            let since = Instant::now();
            for _ in 0..ROUNDS_PER_BATCH {
                line.store(turn + 1, Ordering::Release); // pairs with the partner's Acquire
                await_value(line, turn + 2);
                turn += 2;
            }
            *batch = since.elapsed().as_nanos() as f64 / ROUNDS_PER_BATCH as f64;
        }
        line.store(END, Ordering::Release); // pairs with the partner's Acquire
        await_value(self.area.workload_word(PARTNER_DONE), 1);
        median(&batches).ok_or_else(|| HarnessError::Role("no calibration".into()))
    }
}

impl Drop for Calibrator {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.partner.kill();
        let _ = self.partner.wait();
    }
}

/// The partner: sleeps until commanded, then answers each odd value with the next even one.
pub(crate) fn run_role(context: &RoleContext) -> Result<(), HarnessError> {
    let line = context.area.workload_word(LINE);
    let command = futex_half(context.area.workload_word(COMMAND));
    let mut seen = 0;
    loop {
        // Pairs with the Release in bounce.
        while command.load(Ordering::Acquire) == seen {
            futex_wait(command, seen, None);
        }
        seen = seen.wrapping_add(1);
        answer(line);
        // Pairs with the Acquire in bounce: the line is not touched after this.
        context
            .area
            .workload_word(PARTNER_DONE)
            .store(1, Ordering::Release);
    }
}

fn answer(line: &AtomicU64) {
    let mut expected = 1;
    loop {
        // Pairs with the Release of the asking side.
        let value = line.load(Ordering::Acquire);
        if value == expected {
            line.store(expected + 1, Ordering::Release); // pairs with await_value
            expected += 2;
        } else if value == END {
            return;
        } else {
            std::hint::spin_loop();
        }
    }
}

/// The asking half of the round trip as a workload of its own, for the reference row `cache_line`.
pub fn bounce_client(line: &AtomicU64, recorder: &mut LatencyRecorder) {
    let mut turn = 0;
    loop {
        for _ in 0..recorder.batch() {
            line.store(turn + 1, Ordering::Release); // pairs with the Acquire in answer
            await_value(line, turn + 2);
            turn += 2;
        }
        if !recorder.lap() {
            break;
        }
    }
    line.store(END, Ordering::Release); // pairs with the Acquire in answer
}

/// The answering half of [`bounce_client`]; returns when the client has ended.
pub fn bounce_server(line: &AtomicU64) {
    answer(line);
}
