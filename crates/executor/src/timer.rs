//! Timers: deadlines on the platform's clock, paid for by their entry.
//!
//! A fixed number of entries and a binary heap over them, made at set-up; arming and disarming never allocate.

use crate::run::Local;
use crate::table::ATTEND_TIMERS;
use alloc::rc::Rc;
use alloc::vec::Vec;
use baton_inbox::Platform;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// Every timer entry is armed: await fewer deadlines at a time, or configure more entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTimers {
    /// Entries in all.
    pub capacity: usize,
}

impl fmt::Display for TooManyTimers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "all {} timer entries are armed", self.capacity)
    }
}

impl core::error::Error for TooManyTimers {}

struct Entry {
    waker: Option<Waker>,
    /// Where the entry stands in the heap.
    place: usize,
}

/// Armed timers, the earliest first.
pub(crate) struct Timers {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// `(deadline, entry)`; a binary heap.
    heap: Vec<(u64, u32)>,
}

impl Timers {
    pub(crate) fn new(capacity: usize) -> Self {
        Timers {
            entries: (0..capacity)
                .map(|_| Entry {
                    waker: None,
                    place: 0,
                })
                .collect(),
            free: (0..capacity as u32).rev().collect(),
            heap: Vec::with_capacity(capacity),
        }
    }

    pub(crate) fn arm(&mut self, deadline_ns: u64, waker: Waker) -> Result<u32, TooManyTimers> {
        let Some(entry) = self.free.pop() else {
            return Err(TooManyTimers {
                capacity: self.entries.len(),
            });
        };
        self.entries[entry as usize].waker = Some(waker);
        let place = self.heap.len();
        self.heap.push((deadline_ns, entry));
        self.entries[entry as usize].place = place;
        self.rise(place);
        Ok(entry)
    }

    pub(crate) fn set_waker(&mut self, entry: u32, waker: &Waker) {
        match &mut self.entries[entry as usize].waker {
            Some(old) => old.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    pub(crate) fn disarm(&mut self, entry: u32) {
        let place = self.entries[entry as usize].place;
        self.remove(place);
        self.free.push(entry);
    }

    fn remove(&mut self, place: usize) {
        let entry = self.heap[place].1;
        self.entries[entry as usize].waker = None;
        let last = self.heap.len() - 1;
        self.swap(place, last);
        self.heap.pop();
        if place < last {
            self.rise(place);
            self.sink(place);
        }
    }

    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.heap.first().map(|(deadline_ns, _)| *deadline_ns)
    }

    /// The waker of the earliest timer if it has passed. Its entry stays taken, disarmed, until its owner frees it.
    pub(crate) fn pop_passed(&mut self, now_ns: u64) -> Option<Waker> {
        let (deadline_ns, entry) = *self.heap.first()?;
        if deadline_ns > now_ns {
            return None;
        }
        let waker = self.entries[entry as usize].waker.take();
        // Goes to the far end instead of away, so that the entry's owner can still disarm it.
        self.remove(0);
        self.heap.push((u64::MAX, entry));
        let place = self.heap.len() - 1;
        self.entries[entry as usize].place = place;
        waker
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.entries[self.heap[a].1 as usize].place = a;
        self.entries[self.heap[b].1 as usize].place = b;
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            let Some(first) = self.heap.get(left) else {
                break;
            };
            let least = match self.heap.get(left + 1) {
                Some(right) if right.0 < first.0 => left + 1,
                _ => left,
            };
            if self.heap[place].0 <= self.heap[least].0 {
                break;
            }
            self.swap(place, least);
            place = least;
        }
    }
}

/// Waits until a point in time of the platform's clock.
#[must_use = "futures do nothing unless polled"]
pub struct Sleep<P: Platform> {
    local: Rc<Local<P>>,
    deadline_ns: u64,
    entry: Option<u32>,
}

impl<P: Platform> Sleep<P> {
    pub(crate) fn new(local: Rc<Local<P>>, deadline_ns: u64) -> Self {
        Sleep {
            local,
            deadline_ns,
            entry: None,
        }
    }
}

impl<P: Platform> Future for Sleep<P> {
    type Output = Result<(), TooManyTimers>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.local.platform.now_ns() >= self.deadline_ns {
            return Poll::Ready(Ok(()));
        }
        let mut timers = self.local.timers.borrow_mut();
        match self.entry {
            Some(entry) => timers.set_waker(entry, context.waker()),
            None => match timers.arm(self.deadline_ns, context.waker().clone()) {
                Ok(entry) => {
                    self.local.core.attend(ATTEND_TIMERS);
                    drop(timers);
                    self.entry = Some(entry);
                }
                Err(error) => return Poll::Ready(Err(error)),
            },
        }
        Poll::Pending
    }
}

impl<P: Platform> Drop for Sleep<P> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry {
            self.local.timers.borrow_mut().disarm(entry);
        }
    }
}

/// Why a future under a deadline brought no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineError {
    /// The deadline passed first; the future was dropped (which cancels a call).
    Passed,
    /// The deadline could not be armed.
    TooManyTimers(TooManyTimers),
}

impl fmt::Display for DeadlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeadlineError::Passed => f.write_str("the deadline has passed"),
            DeadlineError::TooManyTimers(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DeadlineError {}
