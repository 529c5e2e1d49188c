//! The sleep of one consumer: an epoll instance with one edge-triggered eventfd a connection.
//!
//! Edge-triggered means sticky without a read: what was rung since the last wait is reported by the next one, and nobody can take
//! that back for another connection. Connections come and go while the consumer sleeps; all calls are safe from any thread.

use crate::bell::EventBell;
use rustix::event::epoll;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// Where one consumer sleeps.
#[derive(Debug)]
pub(crate) struct Sleeper {
    epoll: OwnedFd,
    own: EventBell,
}

/// A bell that wakes the sleeper, as long as this value lives.
#[derive(Debug)]
pub struct OwnBell {
    sleeper: Arc<Sleeper>,
    bell: EventBell,
}

impl Sleeper {
    pub(crate) fn new() -> Result<Sleeper, Errno> {
        let sleeper = Sleeper {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            own: EventBell::new()?,
        };
        sleeper.watch(&sleeper.own)?;
        Ok(sleeper)
    }

    fn watch(&self, bell: &EventBell) -> Result<(), Errno> {
        epoll::add(
            &self.epoll,
            bell,
            // Nobody asks which bell it was: the consumer looks at all lanes anyway.
            epoll::EventData::new_u64(0),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )
    }

    /// The bell for wakes from this process.
    pub(crate) fn own(&self) -> EventBell {
        self.own.clone()
    }

    /// Waits until a bell has rung since the last wait, for at most `timeout_ns`, or until a signal arrives.
    pub(crate) fn wait(&self, timeout_ns: Option<u64>) {
        // More bells than fit are reported by the next wait, which only makes that return at once.
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 16];
        let timeout = timeout_ns.map(timespec);
        let result = epoll::wait(&self.epoll, events.as_mut_slice(), timeout.as_ref());
        if let (Err(Errno::NOSYS), Some(ns)) = (result.map(|_| ()), timeout_ns) {
            // Before Linux 5.11 there are only milliseconds: sleep too long rather than spin through the last one.
            let timeout = timespec(ns.div_ceil(1_000_000).saturating_mul(1_000_000));
            let _ = epoll::wait(&self.epoll, events.as_mut_slice(), Some(&timeout));
        }
    }
}

fn timespec(ns: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: (ns % 1_000_000_000) as _,
    }
}

impl OwnBell {
    /// A new bell for `sleeper`.
    pub(crate) fn new(sleeper: &Arc<Sleeper>) -> Result<OwnBell, Errno> {
        let bell = EventBell::new()?;
        sleeper.watch(&bell)?;
        Ok(OwnBell {
            sleeper: sleeper.clone(),
            bell,
        })
    }

    /// The bell itself: pass its descriptor to whom may ring it.
    pub fn bell(&self) -> &EventBell {
        &self.bell
    }
}

impl Drop for OwnBell {
    fn drop(&mut self) {
        // The peer may keep its descriptor for ever; without this it could go on waking us.
        let _ = epoll::delete(&self.sleeper.epoll, self.bell.as_fd());
    }
}
