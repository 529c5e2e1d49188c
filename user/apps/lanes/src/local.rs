//! The machine below the executor of a root task: one thread, one notification, and the kernel as a peer.

use baton_inbox::{Bell, Platform, TailWord};
use baton_runtime::sel4::{
    Notification, doorbell, park, set_thread_local_word, thread_local_word, yield_now,
};

/// The machine.
pub struct Local {
    /// What the thread waits at.
    pub notification: Notification,
    /// Ticks of the clock in a second.
    pub timebase_hz: u64,
}

/// Whom a bell wakes.
pub enum Rings {
    /// Who waits at a notification.
    Thread(Notification),
    /// The kernel.
    Kernel,
}

impl Bell for Rings {
    fn ring(&self) {
        match self {
            Rings::Thread(notification) => notification.signal(),
            Rings::Kernel => {
                // What became of it stands in the lane's flags.
                doorbell();
            }
        }
    }
}

impl Platform for Local {
    type Bell = Rings;
    type Publication = TailWord;

    fn wait(&self, deadline_ns: Option<u64>) {
        match deadline_ns {
            None => {
                park(self.notification);
            }
            // No timer wakes this thread.
            Some(deadline_ns) => {
                while self.now_ns() < deadline_ns && self.notification.poll() == 0 {
                    yield_now();
                }
            }
        }
    }

    fn own_bell(&self) -> Rings {
        Rings::Thread(self.notification)
    }

    fn now_ns(&self) -> u64 {
        let ticks = u128::from(baton_counting::time());
        (ticks * 1_000_000_000 / u128::from(self.timebase_hz.max(1))) as u64
    }

    fn event_time(&self) -> u64 {
        baton_counting::instret()
    }

    fn spin_budget_ns(&self) -> u64 {
        0
    }

    fn spin_ended(&self, _spun_ns: u64, _found_work: bool) {}

    fn current() -> *const () {
        thread_local_word() as *const ()
    }

    fn set_current(current: *const ()) {
        set_thread_local_word(current as usize);
    }
}
