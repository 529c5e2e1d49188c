//! Child roles: a measured process is the same binary started again with a hidden argument.
//!
//! A role goes through: set-up, `announce_ready`, `wait_go`, work, `report`, `finish`. The driver reads its
//! calibration while all roles stand at the barrier, and again after all of them have ended (see `group`).

use std::cell::Cell;
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::shared::{futex_half, futex_wait, futex_wake};
use crate::{HarnessError, Job, Metric, Shape, SharedArea, Values, cpu};

/// The hidden argument that starts a role.
const ROLE_ARGUMENT: &str = "--measured-role";

// Control words; each has a cache line of its own.
pub(crate) const READY: usize = 0;
pub(crate) const GO: usize = 8;
pub(crate) const FINISHED: usize = 16;
pub(crate) const WAITED_NS: usize = 24;
const RESULTS: usize = 64;
const RESULT_WORDS: usize = 8;
/// Clients of one group whose results fit into the control words.
pub(crate) const MAX_CLIENTS: usize = 64;
const RESULT_METRICS: [Metric; 4] = [Metric::P50, Metric::P99, Metric::Rate, Metric::Instructions];

/// The function of a role.
pub type RoleFn = fn(&RoleContext) -> Result<(), HarnessError>;

/// What a role knows about its task.
#[derive(Debug)]
pub struct RoleContext {
    /// The area shared with the driver and the other roles of the group.
    pub area: SharedArea,
    /// The job of the whole group.
    pub job: Job,
    /// Which of the group's clients this is; 0 for servers.
    pub index: usize,
    /// The core on which this process is pinned.
    pub core: usize,
    /// Unique for the group: sockets and services are named after it.
    pub key: String,
    delay_at_go_ns: Cell<u64>,
    /// How long it had waited for its core when its measured work was over; what its tear-down waits for spoils nothing.
    delay_at_end_ns: Cell<Option<u64>>,
}

impl RoleContext {
    /// Says that set-up is done.
    pub fn announce_ready(&self) {
        let word = futex_half(self.area.control_word(READY));
        // Pairs with the Acquire in Group::wait_ready: set-up happens before the barrier opens.
        word.fetch_add(1, Ordering::Release);
        futex_wake(word, 1);
    }

    /// Sleeps until the driver opens the barrier.
    pub fn wait_go(&self) {
        let word = futex_half(self.area.control_word(GO));
        // Pairs with the Release in Group::run.
        while word.load(Ordering::Acquire) == 0 {
            futex_wait(word, 0, None);
        }
        self.delay_at_go_ns.set(cpu::run_delay_ns().unwrap_or(0));
    }

    /// Leaves this client's values for the driver.
    ///
    /// # Panics
    /// When the client's index is beyond what a group holds: our own bug.
    pub fn report(&self, values: &Values) {
        assert!(
            self.index < MAX_CLIENTS,
            "client {} is beyond the result words",
            self.index
        );
        for (offset, metric) in RESULT_METRICS.into_iter().enumerate() {
            let bits = values.get(metric).unwrap_or(f64::NAN).to_bits();
            let word = self
                .area
                .control_word(RESULTS + RESULT_WORDS * self.index + offset);
            // Read only after this process has ended, so Relaxed is enough.
            word.store(bits, Ordering::Relaxed);
        }
    }

    /// Says that this client sends no more.
    pub fn finish(&self) {
        self.delay_at_end_ns.set(cpu::run_delay_ns());
        // Pairs with the Acquire in all_clients_finished.
        self.area
            .control_word(FINISHED)
            .fetch_add(1, Ordering::Release);
    }

    /// Whether all clients have finished; for servers that poll, to be asked when there is nothing else to do.
    #[must_use]
    pub fn all_clients_finished(&self) -> bool {
        // Pairs with the Release in finish.
        let finished = self.area.control_word(FINISHED).load(Ordering::Acquire);
        let all = finished >= self.job.shape.clients as u64;
        if all {
            self.delay_at_end_ns.set(cpu::run_delay_ns());
        }
        all
    }
}

/// Reads what client `index` reported.
pub(crate) fn reported(area: &SharedArea, index: usize) -> Values {
    RESULT_METRICS
        .into_iter()
        .enumerate()
        .fold(Values::new(), |values, (offset, metric)| {
            // The writer has ended and was waited for, which orders its stores before this load.
            let bits = area
                .control_word(RESULTS + RESULT_WORDS * index + offset)
                .load(Ordering::Relaxed);
            values.with(metric, f64::from_bits(bits))
        })
}

/// Starts a role of this binary as a child that dies with the calling thread.
pub(crate) fn spawn(
    role: &str,
    area: &SharedArea,
    job: &Job,
    core: usize,
    index: usize,
    key: &str,
) -> Result<Child, HarnessError> {
    let binary = std::env::current_exe()
        .map_err(|source| HarnessError::os("path of this binary", source))?;
    let fd = area.raw_fd();
    let mut command = Command::new(binary);
    command
        .arg(ROLE_ARGUMENT)
        .arg(role)
        .args([
            fd.to_string(),
            core.to_string(),
            index.to_string(),
            key.to_string(),
        ])
        .args(job.shape.to_string().split(' '))
        .arg(job.duration.as_micros().to_string())
        .stdin(Stdio::null())
        // The driver's own stdout carries the line protocol.
        .stdout(Stdio::null());
    // SAFETY: between fork and exec only prctl and fcntl are called, which are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0
                || libc::fcntl(fd, libc::F_SETFD, 0) != 0
            {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command
        .spawn()
        .map_err(|source| HarnessError::os("start of a measured process", source))
}

/// Runs the role which the hidden argument names, if it is there: call this first in `main`, and end with what it returns.
///
/// `roles` are the binary's own; the harness adds its calibrator.
#[must_use]
pub fn dispatch_role(roles: &[(&str, RoleFn)]) -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [first, role, rest @ ..] = arguments.as_slice() else {
        return None;
    };
    if first != ROLE_ARGUMENT {
        return None;
    }
    let result = run_role(roles, role, rest);
    if let Err(error) = &result {
        eprintln!("role {role}: {error}");
    }
    Some(if result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_role(
    roles: &[(&str, RoleFn)],
    role: &str,
    arguments: &[String],
) -> Result<(), HarnessError> {
    let malformed = || HarnessError::Protocol("malformed role arguments".into());
    let [
        fd,
        core,
        index,
        key,
        workload,
        clients,
        outstanding,
        duration_us,
    ] = arguments
    else {
        return Err(malformed());
    };
    let number = |text: &String| text.parse::<usize>().map_err(|_| malformed());
    let shape = Shape::new(workload.parse()?, number(clients)?, number(outstanding)?);
    let duration = Duration::from_micros(duration_us.parse().map_err(|_| malformed())?);
    let raw_fd: RawFd = fd.parse().map_err(|_| malformed())?;
    let core = number(core)?;
    cpu::pin(core)?;
    let context = RoleContext {
        area: SharedArea::attach(raw_fd)?,
        job: Job { shape, duration },
        index: number(index)?,
        core,
        key: key.clone(),
        delay_at_go_ns: Cell::new(cpu::run_delay_ns().unwrap_or(0)),
        delay_at_end_ns: Cell::new(None),
    };
    if role == crate::calibrate::ROLE {
        return crate::calibrate::run_role(&context);
    }
    let run = roles
        .iter()
        .find(|(name, _)| *name == role)
        .map(|(_, run)| run)
        .ok_or_else(|| HarnessError::Protocol(format!("unknown role {role:?}")))?;
    let result = run(&context);
    let waited_ns = context
        .delay_at_end_ns
        .get()
        .or_else(cpu::run_delay_ns)
        .unwrap_or(0)
        .saturating_sub(context.delay_at_go_ns.get());
    // Read only after this process has ended, so Relaxed is enough.
    context
        .area
        .control_word(WAITED_NS)
        .fetch_max(waited_ns, Ordering::Relaxed);
    result
}
