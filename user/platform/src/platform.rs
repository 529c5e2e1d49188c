//! The machine below an inbox, in a process of Baton or seL4: the doorbell is the inbox's notification, and sleeping is waiting for it.
//!
//! A notification is sticky: a signal before the wait makes the wait return, and no sender can take another's back, for senders
//! hold capabilities that may only signal.

use crate::clock::{Clock, now_instructions};
use crate::notices::Notices;
use crate::protocol::{ALARM, slots, state};
use alloc::rc::Rc;
use alloc::sync::Arc;
use baton_inbox::{Bell, Platform, Publication, TailWord};
use baton_sel4::{
    CPtr, Capability, Endpoint, Message, Notification, doorbell, nb_send, park,
    set_thread_local_word, signal_park, thread_local_word, yield_now,
};
use baton_shm::ReadWord;
use baton_sync::{AtomicU64, Ordering};
use core::cell::Cell;
use core::marker::PhantomData;

/// A process of Baton or seL4, below one executor, with publication `U`: as the kernel's lanes, by a word beside the lane, where nothing else
/// is said (ADR 0020).
pub struct User<U: Publication = TailWord> {
    notification: Notification,
    broker: Endpoint,
    clock: Clock,
    notices: Rc<Notices>,
    /// What the broker was last asked to signal at, in ticks; 0 for nothing.
    alarm_ticks: Cell<u64>,
    /// Whether the broker has a clock that can raise alarms, as far as is known.
    has_alarms: Cell<bool>,
    /// Whether the thread has a kernel lane, which is drained before it sleeps.
    has_lane: Cell<bool>,
    publication: PhantomData<U>,
    /// Whom the bells of connections have put off to ring.
    deferred: Deferred,
    /// Whether the kernel can signal and wait in one call.
    parks: bool,
}

/// The notification of a peer that is still to be signalled, 0 for none: by the call that waits, where that can be.
pub(crate) type Deferred = Arc<AtomicU64>;

/// The right to signal a process's notification.
#[derive(Clone, Debug)]
pub struct SignalBell {
    notification: Notification,
    /// The state word of the connection that the bell belongs to, and its value while that stands.
    stands: Option<(ReadWord, u64)>,
    /// Where the ring is put off to.
    deferred: Option<Deferred>,
}

impl SignalBell {
    /// The bell of a connection whose state word reads `generation` and "stands" as long as that is so.
    pub(crate) fn of_connection(
        notification: Notification,
        word: ReadWord,
        generation: u64,
        deferred: &Deferred,
    ) -> Self {
        SignalBell {
            notification,
            stands: Some((word, state::word(generation, state::STANDS))),
            deferred: Some(deferred.clone()),
        }
    }
}

/// Whom a connection's bell wakes.
#[derive(Clone, Debug)]
pub enum UserBell {
    /// Another process.
    Process(SignalBell),
    /// The kernel: it performs what is in the calling thread's lane.
    Kernel,
}

impl Bell for UserBell {
    fn ring(&self) {
        let SignalBell {
            notification,
            deferred,
            ..
        } = match self {
            UserBell::Process(bell) => bell,
            UserBell::Kernel => {
                // A lane that is quarantined says so in its flags.
                doorbell();
                return;
            }
        };
        let now = notification.cptr();
        let Some(deferred) = deferred else {
            return signal(now);
        };
        // Relaxed, here and below: only the thread of the executor has the bells of its connections, and reads this.
        let before = deferred.load(Ordering::Relaxed);
        deferred.store(now, Ordering::Relaxed);
        if before != 0 && before != now {
            signal(before);
        }
    }

    fn is_cut(&self) -> bool {
        let UserBell::Process(SignalBell { stands, .. }) = self else {
            return false;
        };
        // Acquire: pairs with the broker's system calls between its store here and its changes of the connection's memory.
        let stands = stands.as_ref();
        stands.is_some_and(|(word, stands)| word.load(Ordering::Acquire) != *stands)
    }
}

/// Not by `signal`: where the broker has taken the capability back already, that would be a fault, and this is nothing.
fn signal(notification: CPtr) {
    nb_send(notification, &Message::new(0, &[]));
}

impl<U: Publication> User<U> {
    pub(crate) fn new(broker: Endpoint, clock: Clock, notices: Rc<Notices>, parks: bool) -> Self {
        User {
            notification: Notification::new(slots::NOTIFICATION),
            broker,
            clock,
            notices,
            alarm_ticks: Cell::new(0),
            has_alarms: Cell::new(true),
            has_lane: Cell::new(false),
            publication: PhantomData,
            deferred: Deferred::default(),
            parks,
        }
    }

    /// Sleeps with `Park` from now on: the thread has got a kernel lane.
    pub(crate) fn use_lane(&self) {
        self.has_lane.set(true);
    }

    /// Waits for a signal, or for answers of the kernel.
    fn sleep(&self) {
        if self.has_lane.get() {
            park(self.notification);
        } else {
            self.notification.wait();
        }
    }

    /// Where the bells of connections put their rings off to.
    pub(crate) fn deferred(&self) -> &Deferred {
        &self.deferred
    }

    /// Whom the bells have put off to ring, and forgets it.
    #[inline(always)]
    fn take_deferred(&self) -> Option<CPtr> {
        let deferred = self.deferred.load(Ordering::Relaxed);
        if deferred == 0 {
            return None;
        }
        self.deferred.store(0, Ordering::Relaxed);
        Some(deferred)
    }

    /// Waits for a signal or the deadline.
    fn wait_until(&self, deadline_ns: u64) {
        if self.now_ns() >= deadline_ns {
            return;
        }
        let ticks = self.clock.ticks(deadline_ns);
        if self.has_alarms.get() && self.alarm_ticks.get() != ticks {
            let answer = self.broker.call(&Message::new(ALARM, &[ticks]));
            self.has_alarms.set(answer.label() == 0);
            self.alarm_ticks.set(ticks);
        }
        if self.has_alarms.get() {
            self.sleep();
            if self.now_ns() >= deadline_ns {
                // It has gone off, or will for nothing.
                self.alarm_ticks.set(0);
            }
            return;
        }
        // Nobody can wake us in time, so others have the core until it is.
        while self.notification.poll() == 0 && self.now_ns() < deadline_ns {
            yield_now();
        }
    }
}

impl<U: Publication> Platform for User<U> {
    type Bell = UserBell;
    type Publication = U;

    fn wait(&self, deadline_ns: Option<u64>) {
        match deadline_ns {
            Some(deadline_ns) => {
                self.ring_deferred();
                self.wait_until(deadline_ns);
            }
            None => match self.take_deferred() {
                Some(other) if self.parks => {
                    signal_park(self.notification, Notification::new(other));
                }
                other => {
                    if let Some(other) = other {
                        signal(other);
                    }
                    self.sleep();
                }
            },
        }
    }

    fn own_bell(&self) -> UserBell {
        UserBell::Process(SignalBell {
            notification: self.notification,
            stands: None,
            deferred: None,
        })
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn event_time(&self) -> u64 {
        // The clock ticks too seldom to tell the steps of a request apart.
        now_instructions()
    }

    fn spin_budget_ns(&self) -> u64 {
        // There is one core: while we spin, nobody can do what we wait for.
        0
    }

    fn spin_ended(&self, _spun_ns: u64, _found_work: bool) {}

    fn yield_core(&self) -> bool {
        yield_now();
        true
    }

    #[inline(always)]
    fn ring_deferred(&self) {
        if let Some(other) = self.take_deferred() {
            signal(other);
        }
    }

    #[inline]
    fn attend(&self) {
        self.notices.look();
    }

    #[inline]
    fn current() -> *const () {
        thread_local_word() as *const ()
    }

    #[inline]
    fn set_current(current: *const ()) {
        set_thread_local_word(current as usize);
    }
}

impl<U: Publication> Drop for User<U> {
    fn drop(&mut self) {
        self.ring_deferred();
    }
}
