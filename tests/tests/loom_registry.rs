//! Foreign wakes against the end of their executor, and against the next executor in the same slot of the registry.
//!
//! Real code: `Registry` (`register`, `find`, `unregister`), `Key` and `Foreign`. Properties: a wake after the end finds memory, never a freed bell; a bell that was taken away is not rung; the
//! next executor sees at worst a spurious wake, and none of its own wakes is lost.
//!
//! Use of a freed bell shows because the bell holds an atomic whose end loom orders against every access (`with_mut`).
//! `Foreign` values are never freed at all, so there is nothing of theirs to be used too late.
//!
//! Bounds: three threads, two executors after each other with one task each, one stale wake and one of the new executor's own; at
//! most 3 preemptions.
//!
//! Each weakening changes one ordering or one step, in this file only, and must fail.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p baton-tests --test loom_registry`.
#![cfg(loom)]

mod loom_common;

use baton_executor::foreign::Foreign;
use baton_executor::registry::{Key, Registry};
use baton_inbox::Bell;
use baton_sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence, spin_loop};
use loom::thread;
use loom_common::explore;
use std::sync::{Arc, OnceLock};

/// A bell whose end loom orders against its use, and which must not be rung once it was taken away.
struct MortalBell {
    rings: AtomicU64,
    taken_away: Arc<AtomicBool>,
}

impl MortalBell {
    fn new() -> (Box<Self>, Arc<AtomicBool>) {
        let taken_away = Arc::new(AtomicBool::new(false));
        let bell = MortalBell {
            rings: AtomicU64::new(0),
            taken_away: taken_away.clone(),
        };
        (Box::new(bell), taken_away)
    }
}

impl Bell for MortalBell {
    fn ring(&self) {
        self.rings.fetch_add(1, Ordering::Relaxed);
        let taken_away = self.taken_away.load(Ordering::Relaxed);
        assert!(!taken_away, "a bell was rung that had been taken away");
    }
}

impl Drop for MortalBell {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // loom fails here when a ring is not ordered before the end.
            self.rings.with_mut(|_| ());
        }
    }
}

/// What a variant leaves out.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    /// The bell stays where it is at the end.
    TakingTheBell,
    /// The bell's lock is given back Relaxed.
    UnlockRelease,
    /// The next executor frees the link and empties the stack by stores, under a wake that has claimed the link.
    TakeAtReset,
    /// Keys carry no generation: a stale waker always finds the slot.
    Generation,
}

/// One slot of a registry and the executor in it.
trait Slot: Send + Sync + 'static {
    /// Begins an executor with this bell; it sleeps from the start, so that each wake rings.
    fn begin(&self, bell: Box<dyn Bell>) -> u64;
    fn end(&self, key: u64);
    /// What a waker of task 0 does on a foreign thread.
    fn wake(&self, key: u64);
    /// Takes the stack and says how often task 0 was on it.
    fn take(&self) -> u32;
}

/// The real registry and the keys it gave out.
struct Real {
    registry: Registry,
    keys: [OnceLock<(Key, &'static Foreign)>; 2],
}

impl Real {
    fn new() -> Self {
        Real {
            registry: Registry::new(),
            keys: [const { OnceLock::new() }; 2],
        }
    }

    fn newest(&self) -> &'static Foreign {
        self.keys.iter().rev().find_map(OnceLock::get).unwrap().1
    }
}

impl Slot for Real {
    fn begin(&self, bell: Box<dyn Bell>) -> u64 {
        let made = self.registry.register(1).unwrap();
        let number = usize::from(self.keys[0].get().is_some());
        if let Some((key, foreign)) = self.keys[0].get() {
            assert!(made.0 != *key, "a key is used twice");
            assert!(std::ptr::eq(made.1, *foreign), "the slot is used again");
        }
        self.keys[number].set(made).ok().unwrap();
        made.1.set_bell(Some(bell));
        made.1.set_sleeping(true);
        number as u64
    }

    fn end(&self, key: u64) {
        self.registry
            .unregister(self.keys[key as usize].get().unwrap().0);
    }

    fn wake(&self, key: u64) {
        let (key, _) = self.keys[key as usize].get().unwrap();
        if let Some(foreign) = self.registry.find(*key) {
            foreign.wake(0);
        }
    }

    fn take(&self) -> u32 {
        let mut queued = 0;
        self.newest().take(|_| queued += 1);
        queued
    }
}

const END: u32 = u32::MAX;
const FREE: u32 = u32::MAX - 1;
const CLAIMED: u32 = u32::MAX - 2;

/// WEAKENED copy of a registry's slot and its `Foreign`.
struct Weakened {
    without: Without,
    generation: AtomicU64,
    head: AtomicU32,
    link: AtomicU32,
    bell_lock: AtomicBool,
    /// Never contended: `bell_lock` is held by whoever locks it.
    bell: std::sync::Mutex<Option<Box<dyn Bell>>>,
}

impl Weakened {
    fn new(without: Without) -> Self {
        Weakened {
            without,
            generation: AtomicU64::new(0),
            head: AtomicU32::new(END),
            link: AtomicU32::new(FREE),
            bell_lock: AtomicBool::new(false),
            bell: std::sync::Mutex::new(None),
        }
    }

    fn with_bell<R>(&self, with: impl FnOnce(&mut Option<Box<dyn Bell>>) -> R) -> R {
        while self
            .bell_lock
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            spin_loop();
        }
        let result = with(&mut self.bell.try_lock().expect("the lock is held"));
        let order = match self.without {
            Without::UnlockRelease => Ordering::Relaxed,
            _ => Ordering::Release, // pairs with the exchange above
        };
        self.bell_lock.store(false, order);
        result
    }
}

impl Slot for Weakened {
    fn begin(&self, bell: Box<dyn Bell>) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel);
        if self.without == Without::TakeAtReset {
            self.link.store(FREE, Ordering::Release);
            self.head.store(END, Ordering::Release);
        } else {
            self.take();
        }
        let old = self.with_bell(|slot| slot.replace(bell));
        drop(old);
        self.generation.load(Ordering::Relaxed)
    }

    fn end(&self, _key: u64) {
        if self.without != Without::TakingTheBell {
            let old = self.with_bell(Option::take);
            drop(old);
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn wake(&self, key: u64) {
        let generation = self.generation.load(Ordering::Relaxed);
        if self.without != Without::Generation && generation != key {
            return;
        }
        let claimed = self
            .link
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |link| {
                Some(if link == FREE { CLAIMED } else { link })
            });
        if claimed != Ok(FREE) {
            return;
        }
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            self.link.swap(head, Ordering::AcqRel);
            match self
                .head
                .compare_exchange(head, 0, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        fence(Ordering::SeqCst);
        self.with_bell(|bell| {
            if let Some(bell) = bell {
                bell.ring();
            }
        });
    }

    fn take(&self) -> u32 {
        let mut queued = 0;
        let mut at = self.head.swap(END, Ordering::Acquire); // pairs with the exchange in `wake`
        while at == 0 {
            queued += 1;
            assert!(queued < 2, "on the stack twice");
            at = self.link.swap(FREE, Ordering::AcqRel); // pairs with the claim in `wake`
        }
        queued
    }
}

/// An executor ends and another takes its slot, while one thread holds a waker of the old one and one of the new.
fn end_and_reuse<S: Slot>(make: impl Fn() -> S + Send + Sync + 'static) {
    explore(3, move || {
        let slot = Arc::new(make());
        let (bell, taken_away) = MortalBell::new();
        let key = slot.begin(bell);
        let stale = {
            let slot = slot.clone();
            thread::spawn(move || slot.wake(key))
        };
        slot.end(key);
        taken_away.store(true, Ordering::Relaxed);
        let new_key = slot.begin(MortalBell::new().0);
        let written = Arc::new(AtomicU64::new(0));
        let own = {
            let (slot, written) = (slot.clone(), written.clone());
            thread::spawn(move || {
                written.store(1, Ordering::Relaxed);
                slot.wake(new_key);
            })
        };
        let mut seen = false;
        let mut poll = || {
            let queued = slot.take();
            assert!(queued < 2, "on the stack twice");
            seen |= queued != 0 && written.load(Ordering::Relaxed) != 0;
        };
        poll();
        own.join().unwrap();
        stale.join().unwrap();
        poll();
        assert!(seen, "the new executor lost a wake");
        slot.end(new_key);
        slot.wake(new_key);
        assert_eq!(slot.take(), 0, "a wake reached an executor that had ended");
    });
}

#[test]
fn a_stale_wake_is_at_worst_spurious() {
    end_and_reuse(Real::new);
}

#[test]
fn the_copy_with_nothing_left_out_passes() {
    end_and_reuse(|| Weakened::new(Without::Nothing));
}

#[test]
#[should_panic(expected = "a bell was rung that had been taken away")]
fn a_bell_that_is_not_taken_away_is_rung() {
    end_and_reuse(|| Weakened::new(Without::TakingTheBell));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_bell_behind_a_relaxed_lock_is_used_after_its_end() {
    end_and_reuse(|| Weakened::new(Without::UnlockRelease));
}

#[test]
#[should_panic(expected = "the new executor lost a wake")]
fn a_stack_that_is_reset_by_stores_loses_wakes() {
    end_and_reuse(|| Weakened::new(Without::TakeAtReset));
}

#[test]
#[should_panic(expected = "a wake reached an executor that had ended")]
fn without_a_generation_a_wake_reaches_an_ended_executor() {
    end_and_reuse(|| Weakened::new(Without::Generation));
}
