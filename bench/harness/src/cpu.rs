//! Pinning: every measured process stands on one core, which its role names.

use crate::HarnessError;

/// The cores this process may use, in ascending order.
///
/// # Errors
/// `Os` when the affinity mask cannot be read.
pub fn allowed_cores() -> Result<Vec<usize>, HarnessError> {
    // SAFETY: cpu_set_t is plain bits, for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid for writes of the size that is passed.
    let status = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if status != 0 {
        return Err(HarnessError::last_os("sched_getaffinity"));
    }
    let limit = 8 * size_of::<libc::cpu_set_t>();
    // SAFETY: `core` is below the number of bits in the set.
    Ok((0..limit)
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect())
}

/// Pins the calling thread to `core`.
///
/// # Errors
/// `Os` when the core does not exist or is not allowed.
pub fn pin(core: usize) -> Result<(), HarnessError> {
    set_affinity(&[core])
}

/// Lets the calling thread run on all of `cores`.
///
/// # Errors
/// `Os` when none of the cores exists or is allowed.
pub fn set_affinity(cores: &[usize]) -> Result<(), HarnessError> {
    // SAFETY: cpu_set_t is plain bits, for which all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores {
        if core >= 8 * size_of::<libc::cpu_set_t>() {
            return Err(HarnessError::Unsupported(format!(
                "core {core} is beyond the affinity mask"
            )));
        }
        // SAFETY: `core` is below the number of bits in the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: `set` is valid for reads of the size that is passed.
    let status =
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
    if status == 0 {
        Ok(())
    } else {
        Err(HarnessError::last_os("sched_setaffinity"))
    }
}

/// Raises this process, and those it will start, to the highest ordinary priority where the system allows it.
///
/// Other work on the machine then takes about a hundredth of a core at most. All measured processes are raised alike, so
/// that nothing changes among them; where it is not allowed, figures are only noisier. Says whether it was.
pub fn raise_priority() -> bool {
    // SAFETY: plain call on this process.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) == 0 }
}

/// Puts this process into a session of its own and raises that against other sessions, where the system allows it.
///
/// Linux shares the cores between sessions first (autogroups) and looks at priorities only within one. Without a session of
/// its own the raise would stay with the user's shell, so then nothing is done. Says whether it was.
pub fn raise_session() -> bool {
    // SAFETY: plain call on this process.
    let own_session = unsafe { libc::setsid() } != -1;
    own_session && std::fs::write("/proc/self/autogroup", "-20").is_ok()
}

/// How long this thread has been ready without running, in ns, if the system counts that.
#[must_use]
pub fn run_delay_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// Which cores a workload uses: `server` and, for each client in turn, one of `clients`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorePair {
    /// Where servers stand, and both sides of a workload on one core.
    pub first: usize,
    /// Where a single client of a workload on two cores stands.
    pub second: usize,
}

impl CorePair {
    /// The first two cores that this process may use.
    ///
    /// # Errors
    /// `Unsupported` when there is only one, `Os` when the mask cannot be read.
    pub fn detect() -> Result<Self, HarnessError> {
        match allowed_cores()?.as_slice() {
            [first, second, ..] => Ok(Self {
                first: *first,
                second: *second,
            }),
            _ => Err(HarnessError::Unsupported(
                "two cores are needed, only one is allowed".into(),
            )),
        }
    }

    /// The core of client number `index`: the second core first, then the server's, alternating.
    #[must_use]
    pub fn client(self, index: usize) -> usize {
        if index.is_multiple_of(2) {
            self.second
        } else {
            self.first
        }
    }
}
