//! A group: the processes of one sample, from start to end.
//!
//! Servers are started first and must be ready before clients start. The calibrations stand as close to the work
//! as they can: while all roles sleep at the barrier, and when all have ended.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::role::{self, FINISHED, GO, MAX_CLIENTS, READY, WAITED_NS};
use crate::shared::{futex_half, futex_wait, futex_wake};
use crate::{
    Calibrator, CorePair, HarnessError, Job, Metric, Sample, SharedArea, Values, Workload,
};

/// How long roles may take for set-up, or beyond the job's time, before they are killed.
const PATIENCE: Duration = Duration::from_secs(20);

static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

/// The processes of one sample; dropping it kills those that still run.
#[derive(Debug)]
pub struct Group {
    area: SharedArea,
    job: Job,
    key: String,
    children: Vec<(String, Child)>,
}

impl Group {
    /// A group without processes, with `workload_words` of shared memory for its own use.
    ///
    /// # Errors
    /// `Os` when the memory cannot be had, `Unsupported` when the job has too many clients.
    pub fn new(job: Job, workload_words: usize) -> Result<Self, HarnessError> {
        if job.shape.clients > MAX_CLIENTS {
            return Err(HarnessError::Unsupported(format!(
                "more than {MAX_CLIENTS} clients"
            )));
        }
        // Only makes names differ; nothing is ordered by it.
        let serial = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        let key = format!("baton-bench-{}-{serial}", std::process::id());
        Ok(Self {
            area: SharedArea::create(workload_words)?,
            job,
            key,
            children: Vec::new(),
        })
    }

    /// The shared memory, to prepare it before any process starts.
    #[must_use]
    pub fn area(&self) -> &SharedArea {
        &self.area
    }

    /// Starts `role` on `core` and waits until it is ready.
    ///
    /// # Errors
    /// `Role` when it ends or is not ready in time.
    pub fn start(&mut self, role: &str, core: usize, index: usize) -> Result<(), HarnessError> {
        let child = role::spawn(role, &self.area, &self.job, core, index, &self.key)?;
        self.children.push((role.to_string(), child));
        self.wait_ready()
    }

    /// Takes the sample: one server and the job's clients, on the cores that the workload asks for.
    ///
    /// # Errors
    /// As [`start`](Self::start) and [`run`](Self::run).
    pub fn run_server_and_clients(
        mut self,
        server: &str,
        client: &str,
        calibrator: &mut Calibrator,
    ) -> Result<Sample, HarnessError> {
        let cores = calibrator.cores();
        self.start(server, cores.first, 0)?;
        for index in 0..self.job.shape.clients {
            self.start(client, client_core(&self.job, cores, index), index)?;
        }
        self.run(calibrator)
    }

    /// Opens the barrier, waits until all processes have ended, and gathers what the clients reported.
    ///
    /// # Errors
    /// `Role` when a process fails or does not end in time.
    pub fn run(mut self, calibrator: &mut Calibrator) -> Result<Sample, HarnessError> {
        let before_ns = calibrator.measure()?;
        let go = futex_half(self.area.control_word(GO));
        // Pairs with the Acquire in RoleContext::wait_go.
        go.store(1, Ordering::Release);
        futex_wake(go, i32::MAX);
        let deadline = Instant::now() + 2 * self.job.duration + PATIENCE;
        while let Some((role, mut child)) = self.children.pop() {
            if let Err(error) = wait_for_end(&role, &mut child, deadline) {
                // Back among the children, so that it is killed with the others.
                self.children.push((role, child));
                return Err(error);
            }
        }
        let after_ns = calibrator.measure()?;
        // All clients have ended; Relaxed is enough for what they wrote before.
        let finished = self.area.control_word(FINISHED).load(Ordering::Relaxed);
        if finished != self.job.shape.clients as u64 {
            return Err(HarnessError::Role(format!(
                "{finished} of {} clients finished",
                self.job.shape.clients
            )));
        }
        let values = self.gather();
        if values.iter().next().is_none() {
            let shape = self.job.shape;
            return Err(HarnessError::Role(format!(
                "{shape} measured nothing: the sample is too short"
            )));
        }
        Ok(Sample {
            before_ns,
            after_ns,
            waited: self.waited(),
            values,
        })
    }

    /// The part of the time that a process waited for a core that is its own; none where processes share cores.
    fn waited(&self) -> f64 {
        let shape = self.job.shape;
        if shape.clients > 1 || shape.workload == Workload::W1Asleep {
            return 0.0;
        }
        // All roles have ended and were waited for; Relaxed is enough for what they wrote before.
        let waited_ns = self.area.control_word(WAITED_NS).load(Ordering::Relaxed);
        waited_ns as f64 / self.job.duration.as_nanos().max(1) as f64
    }

    fn gather(&self) -> Values {
        let all: Vec<Values> = (0..self.job.shape.clients)
            .map(|index| role::reported(&self.area, index))
            .collect();
        if let [only] = all.as_slice() {
            return only.clone();
        }
        // Several clients: their rates add up; their quantiles do not, and are left out.
        Values::new().with(
            Metric::Rate,
            all.iter()
                .map(|one| one.get(Metric::Rate).unwrap_or(f64::NAN))
                .sum(),
        )
    }

    fn wait_ready(&mut self) -> Result<(), HarnessError> {
        let wanted = u32::try_from(self.children.len()).unwrap_or(u32::MAX);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let word = futex_half(self.area.control_word(READY));
            // Pairs with the Release in RoleContext::announce_ready.
            let ready = word.load(Ordering::Acquire);
            if ready >= wanted {
                return Ok(());
            }
            futex_wait(word, ready, Some(Duration::from_millis(50)));
            for (role, child) in &mut self.children {
                if let Ok(Some(status)) = child.try_wait() {
                    return Err(HarnessError::Role(format!(
                        "{role} ended during set-up: {status}"
                    )));
                }
            }
            if Instant::now() > deadline {
                return Err(HarnessError::Role("set-up did not end in time".into()));
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            // Errors mean that it has ended already, which is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The core of a client: beside its server when asleep, otherwise spread over both, the free one first.
#[must_use]
pub fn client_core(job: &Job, cores: CorePair, index: usize) -> usize {
    if job.shape.workload == Workload::W1Asleep {
        cores.first
    } else {
        cores.client(index)
    }
}

/// Waits without polling, because the driver must not disturb the cores while they are measured.
fn wait_for_end(role: &str, child: &mut Child, deadline: Instant) -> Result<(), HarnessError> {
    // SAFETY: plain call; the child has not been waited for, so its process id is its own.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    let raw = i32::try_from(raw).unwrap_or(-1);
    if raw < 0 {
        return Err(HarnessError::last_os("pidfd_open"));
    }
    // SAFETY: the descriptor was just created and nobody else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(raw) };
    let left = deadline.saturating_duration_since(Instant::now());
    let mut poll = libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid entry.
    let ended = unsafe {
        libc::poll(
            &raw mut poll,
            1,
            i32::try_from(left.as_millis()).unwrap_or(i32::MAX),
        )
    };
    if ended != 1 {
        return Err(HarnessError::Role(format!("{role} did not end in time")));
    }
    let status = child
        .wait()
        .map_err(|source| HarnessError::os("wait for a measured process", source))?;
    if status.success() {
        Ok(())
    } else {
        Err(HarnessError::Role(format!("{role}: {status}")))
    }
}
