//! Foreign wakes against polls, and against sleep.
//!
//! Real code: `Foreign` (`wake`, `take`, `is_pending`, `set_sleeping`, `set_bell`) and `OwnState::announce_sleep`. Properties:
//! after a wake, some later poll of the task sees what the waking thread wrote before it, also when the wake was merged into
//! another's; no task is on the stack twice; and an executor that announced sleep does not sleep through a wake.
//!
//! Bounds: three threads; two threads wake one task, one of them a second task as well; the executor takes and polls twice
//! while they run and once when they have finished; at most 3 preemptions.
//!
//! Each weakening changes one ordering or one step, in this file only, and must fail. The orderings on the stack's head cannot
//! be weakened to any effect here: the links' read-modify-writes order the same, and loom's read-modify-writes always read the
//! newest value.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p baton-tests --test loom_wake`.
#![cfg(loom)]

mod loom_common;

use baton_executor::foreign::Foreign;
use baton_inbox::{Bell, OwnState};
use baton_shm::HeapWords;
use baton_sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use loom::thread;
use loom_common::{StickyBell, explore};
use std::sync::Arc;

/// What a variant leaves out.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    /// The link is claimed by load and store.
    ClaimAtOnce,
    /// A wake that finds the link claimed only reads it.
    MergeWrite,
    /// The link to the next task is a store, which cuts off what merged wakes released.
    LinkSwap,
    /// Links are freed after the polls.
    FreeFirst,
    /// No fence between the push and the look at `sleeping`.
    WakeFence,
    /// No fence between `sleeping` and the last look.
    SleepFence,
    /// No last look.
    LastLook,
    /// `sleeping` is set after the last look.
    SleepingFirst,
}

/// The part of an executor that is modelled.
trait Wakes: Send + Sync + 'static {
    fn wake(&self, index: u16);
    /// Takes everything off the stack and runs each task.
    fn run(&self, poll: &mut dyn FnMut(u16));
    fn is_pending(&self) -> bool;
    fn set_sleeping(&self, sleeping: bool);
}

impl Wakes for Foreign {
    fn wake(&self, index: u16) {
        Foreign::wake(self, index);
    }

    fn run(&self, poll: &mut dyn FnMut(u16)) {
        let mut queue = Vec::new();
        self.take(|index| {
            assert!(!queue.contains(&index), "on the stack twice");
            queue.push(index);
        });
        queue.into_iter().for_each(poll);
    }

    fn is_pending(&self) -> bool {
        Foreign::is_pending(self)
    }

    fn set_sleeping(&self, sleeping: bool) {
        Foreign::set_sleeping(self, sleeping);
    }
}

const END: u32 = u32::MAX;
const FREE: u32 = u32::MAX - 1;
const CLAIMED: u32 = u32::MAX - 2;

/// WEAKENED copy of `Foreign`.
struct Weakened {
    without: Without,
    head: AtomicU32,
    links: [AtomicU32; 2],
    sleeping: AtomicBool,
    bell: Option<StickyBell>,
}

impl Weakened {
    fn new(without: Without, bell: Option<StickyBell>) -> Self {
        Weakened {
            without,
            head: AtomicU32::new(END),
            links: [FREE, FREE].map(AtomicU32::new),
            sleeping: AtomicBool::new(false),
            bell,
        }
    }

    fn claim(&self, link: &AtomicU32) -> bool {
        let mut current = link.load(Ordering::Relaxed);
        if self.without == Without::ClaimAtOnce {
            if current == FREE {
                link.store(CLAIMED, Ordering::Release);
            }
            return current == FREE;
        }
        loop {
            if self.without == Without::MergeWrite && current != FREE {
                return false;
            }
            let next = if current == FREE { CLAIMED } else { current };
            match link.compare_exchange(current, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return current == FREE,
                Err(now) => current = now,
            }
        }
    }
}

impl Wakes for Weakened {
    fn wake(&self, index: u16) {
        let link = &self.links[usize::from(index)];
        if !self.claim(link) {
            return;
        }
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if self.without == Without::LinkSwap {
                link.store(head, Ordering::Relaxed);
            } else {
                link.swap(head, Ordering::AcqRel);
            }
            match self.head.compare_exchange(
                head,
                u32::from(index),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        if self.without != Without::WakeFence {
            fence(Ordering::SeqCst); // pairs with the fence in `announce_sleep`
        }
        if self.sleeping.load(Ordering::Relaxed)
            && let Some(bell) = &self.bell
        {
            bell.ring();
        }
    }

    fn run(&self, poll: &mut dyn FnMut(u16)) {
        let mut queue = Vec::new();
        let mut at = self.head.swap(END, Ordering::Acquire); // pairs with the exchange in `wake`
        while at != END {
            let index = at as u16;
            assert!(!queue.contains(&index), "on the stack twice");
            queue.push(index);
            let link = &self.links[at as usize];
            at = match self.without {
                Without::FreeFirst => link.load(Ordering::Acquire),
                _ => link.swap(FREE, Ordering::AcqRel), // pairs with `claim`
            };
        }
        for index in queue {
            poll(index);
            if self.without == Without::FreeFirst {
                self.links[usize::from(index)].swap(FREE, Ordering::AcqRel);
            }
        }
    }

    fn is_pending(&self) -> bool {
        self.head.load(Ordering::Relaxed) != END
    }

    fn set_sleeping(&self, sleeping: bool) {
        self.sleeping.store(sleeping, Ordering::Relaxed);
    }
}

fn wakes_against_polls<W: Wakes>(make: impl Fn() -> W + Send + Sync + 'static) {
    explore(3, move || {
        let executor = Arc::new(make());
        let written: Arc<[AtomicU64; 3]> = Arc::new([0; 3].map(AtomicU64::new));
        // Each thread writes a word and wakes a task.
        let plan: [&[(usize, u16)]; 2] = [&[(0, 0)], &[(1, 0), (2, 1)]];
        let threads = plan.map(|steps| {
            let (executor, written) = (executor.clone(), written.clone());
            thread::spawn(move || {
                for &(word, task) in steps {
                    written[word].store(1, Ordering::Relaxed);
                    executor.wake(task);
                }
            })
        });
        let mut seen = [[false; 3]; 2];
        let mut poll = |task: u16| {
            for (seen, word) in seen[usize::from(task)].iter_mut().zip(written.iter()) {
                *seen |= word.load(Ordering::Relaxed) != 0;
            }
        };
        executor.run(&mut poll);
        executor.run(&mut poll);
        for thread in threads {
            thread.join().unwrap();
        }
        executor.run(&mut poll);
        assert!(
            seen[0][0] && seen[0][1] && seen[1][2],
            "a poll missed what was written before a wake"
        );
    });
}

#[test]
fn every_wake_leads_to_a_poll_that_sees_what_came_before() {
    wakes_against_polls(|| Foreign::new(2));
}

#[test]
fn the_copy_with_nothing_left_out_passes() {
    wakes_against_polls(|| Weakened::new(Without::Nothing, None));
}

#[test]
#[should_panic(expected = "on the stack twice")]
fn claimed_by_load_and_store_a_task_is_on_the_stack_twice() {
    wakes_against_polls(|| Weakened::new(Without::ClaimAtOnce, None));
}

#[test]
#[should_panic(expected = "a poll missed")]
fn a_merged_wake_that_does_not_write_is_not_seen() {
    wakes_against_polls(|| Weakened::new(Without::MergeWrite, None));
}

#[test]
#[should_panic(expected = "a poll missed")]
fn a_merged_wake_is_not_seen_when_the_link_is_stored() {
    wakes_against_polls(|| Weakened::new(Without::LinkSwap, None));
}

#[test]
#[should_panic(expected = "a poll missed")]
fn a_link_freed_after_the_poll_loses_wakes() {
    wakes_against_polls(|| Weakened::new(Without::FreeFirst, None));
}

/// Two threads wake the one task of an executor that sleeps until it has seen both.
fn wakes_against_sleep<W: Wakes>(
    without: Without,
    make: impl Fn(StickyBell) -> W + Send + Sync + 'static,
) {
    explore(3, move || {
        let bell = StickyBell::new(2);
        let executor = Arc::new(make(bell.clone()));
        let state = HeapWords::region(1);
        let own = OwnState::new(state.word(0).unwrap());
        let written: Arc<[AtomicU64; 2]> = Arc::new([0; 2].map(AtomicU64::new));
        for number in 0..2 {
            let (executor, written, bell) = (executor.clone(), written.clone(), bell.clone());
            thread::spawn(move || {
                written[number].store(1, Ordering::Relaxed);
                executor.wake(0);
                bell.finish();
            });
        }
        loop {
            let mut left = 2;
            executor.run(&mut |_| {
                left = 2 - written
                    .iter()
                    .map(|w| w.load(Ordering::Relaxed))
                    .sum::<u64>();
            });
            if left == 0 {
                break;
            }
            // As the executor's `sleep` does it.
            if without != Without::SleepingFirst {
                executor.set_sleeping(true);
            }
            if without != Without::SleepFence {
                own.announce_sleep();
            }
            if without == Without::LastLook || !executor.is_pending() {
                if without == Without::SleepingFirst {
                    executor.set_sleeping(true);
                }
                bell.wait();
            }
            executor.set_sleeping(false);
            own.awake();
        }
    });
}

fn real(bell: StickyBell) -> Foreign {
    let foreign = Foreign::new(1);
    foreign.set_bell(Some(Box::new(bell)));
    foreign
}

#[test]
fn no_wake_is_slept_through() {
    wakes_against_sleep(Without::Nothing, real);
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn without_the_wakers_fence_one_is() {
    wakes_against_sleep(Without::WakeFence, |bell| {
        Weakened::new(Without::WakeFence, Some(bell))
    });
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn without_the_sleepers_fence_one_is() {
    wakes_against_sleep(Without::SleepFence, real);
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn without_the_last_look_one_is() {
    wakes_against_sleep(Without::LastLook, real);
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn when_sleeping_is_announced_after_the_last_look_one_is() {
    wakes_against_sleep(Without::SleepingFirst, real);
}
