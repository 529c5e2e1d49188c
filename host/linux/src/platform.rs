//! The machine below an inbox, on Linux: bells are eventfds, the sleep is an epoll wait, the clock is `CLOCK_MONOTONIC`.

use crate::bell::EventBell;
use crate::sleep::{OwnBell, Sleeper};
use crate::spin::Spin;
use baton_inbox::Platform;
use core::cell::Cell;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;

/// A yield that takes longer than this was to somebody who is no party of a quick exchange.
const YIELDED_TOO_LONG_NS: u64 = 200_000;
/// Sleeps after such a yield until the next is tried: four times as many each time that this takes long again.
const NO_YIELD_LEAST: u32 = 64;
const NO_YIELD_MOST: u32 = 1 << 16;

/// Sleeps after which the number of cores this thread may use is asked for again.
const CORES_FRESH_FOR: u32 = 256;

thread_local! {
    static CURRENT: Cell<*const ()> = const { Cell::new(core::ptr::null()) };
}

/// Linux, below one executor.
///
/// Not `Sync`: the measure of spins belongs to the executor's thread. [`Bells`] is the part that others may use.
#[derive(Debug)]
pub struct Linux {
    sleeper: Arc<Sleeper>,
    spin: Cell<Spin>,
    /// Cores the thread may use; 0 while unknown.
    cores: Cell<u32>,
    sleeps_since_asked: Cell<u32>,
    /// Sleeps until the core may be yielded again.
    no_yield_sleeps: Cell<u32>,
    /// How many sleeps that will be after the next yield that takes long.
    next_no_yield: Cell<u32>,
}

/// Where bells for one executor are made, from any thread.
#[derive(Clone, Debug)]
pub struct Bells(Arc<Sleeper>);

impl Linux {
    /// A platform that nobody can wake yet but by [`Platform::own_bell`].
    ///
    /// # Errors
    ///
    /// What the kernel said: too many open files, or no memory.
    pub fn new() -> Result<Linux, Errno> {
        Ok(Linux {
            sleeper: Arc::new(Sleeper::new()?),
            spin: Cell::new(Spin::new()),
            cores: Cell::new(0),
            sleeps_since_asked: Cell::new(0),
            no_yield_sleeps: Cell::new(0),
            next_no_yield: Cell::new(NO_YIELD_LEAST),
        })
    }

    /// Where bells that wake this platform's executor are made.
    pub fn bells(&self) -> Bells {
        Bells(self.sleeper.clone())
    }

    fn cores(&self) -> u32 {
        if self.cores.get() == 0 {
            // On failure, behave as on one core: never spin.
            let cores = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
            self.cores.set(cores.max(1));
        }
        self.cores.get()
    }
}

impl Bells {
    /// A new bell; it wakes the executor as long as the value lives.
    ///
    /// # Errors
    ///
    /// What the kernel said: too many open files, too many epoll watches, or no memory.
    pub fn add_bell(&self) -> Result<OwnBell, Errno> {
        OwnBell::new(&self.0)
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The clock counts from boot: neither part is ever negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Platform for Linux {
    type Bell = EventBell;
    type Publication = baton_inbox::InSlot;

    fn wait(&self, deadline_ns: Option<u64>) {
        let timeout_ns = deadline_ns.map(|deadline| deadline.saturating_sub(self.now_ns()));
        self.sleeper.wait(timeout_ns);
        let mut spin = self.spin.get();
        spin.slept();
        self.spin.set(spin);
        self.no_yield_sleeps
            .set(self.no_yield_sleeps.get().saturating_sub(1));
        let sleeps = self.sleeps_since_asked.get() + 1;
        if sleeps >= CORES_FRESH_FOR {
            self.cores.set(0);
            self.sleeps_since_asked.set(0);
        } else {
            self.sleeps_since_asked.set(sleeps);
        }
    }

    fn own_bell(&self) -> EventBell {
        self.sleeper.own()
    }

    fn now_ns(&self) -> u64 {
        monotonic_ns()
    }

    fn spin_budget_ns(&self) -> u64 {
        if self.cores() == 1 {
            0
        } else {
            self.spin.get().budget_ns()
        }
    }

    fn spin_ended(&self, spun_ns: u64, found_work: bool) {
        let mut spin = self.spin.get();
        spin.ended(spun_ns, found_work);
        self.spin.set(spin);
    }

    fn yield_core(&self) -> bool {
        if self.no_yield_sleeps.get() != 0 {
            return false;
        }
        let since_ns = self.now_ns();
        rustix::thread::sched_yield();
        if self.now_ns() - since_ns > YIELDED_TOO_LONG_NS {
            // Somebody else wants the core for long, and a sleeper that is rung gets it back sooner than one that yielded.
            let sleeps = self.next_no_yield.get();
            self.no_yield_sleeps.set(sleeps);
            self.next_no_yield.set((sleeps * 4).min(NO_YIELD_MOST));
        } else {
            self.next_no_yield.set(NO_YIELD_LEAST);
        }
        true
    }

    #[inline]
    fn current() -> *const () {
        CURRENT.get()
    }

    #[inline]
    fn set_current(current: *const ()) {
        CURRENT.set(current);
    }
}
