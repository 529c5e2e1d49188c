//! What the loom models share: a bounded search, a sticky bell, and lanes on the heap.
#![allow(dead_code)] // Each model uses its own part.

use baton_inbox::{Bell, Info, Kind, LaneReader, LaneWriter, Publication, Token};
use baton_shm::{HeapWords, ReadSlots, SLOT_WORDS, WriteSlots};
use baton_sync::{AtomicU32, Ordering};
use loom::thread::{self, Thread};
use std::sync::{Arc, OnceLock};

/// Explores every interleaving of `model` in which a thread is preempted at most `preemptions` times in all.
pub fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

/// A doorbell that sticks: a ring before the wait makes the wait return.
///
/// It also knows how many threads may still ring it, so that a wait which nothing can end is an assertion that fails. It is made
/// of an atomic and parking, for when a model fails, loom cannot unwind through its own mutexes and would abort the tests that
/// expect the failure. Nobody may join a thread while the bell of the joining thread can be rung: loom would take the ring for the
/// end of that thread.
#[derive(Clone)]
pub struct StickyBell(Arc<Inner>);

struct Inner {
    /// `ringers that have finished << 1 | rung`.
    word: AtomicU32,
    ringers: u32,
    /// Known from its first wait on; a ring before that sticks anyway.
    sleeper: OnceLock<Thread>,
}

impl Inner {
    fn unpark(&self) {
        if let Some(sleeper) = self.sleeper.get() {
            sleeper.unpark();
        }
    }
}

impl StickyBell {
    /// A bell that `ringers` threads may ring, for the thread that will wait.
    pub fn new(ringers: u32) -> Self {
        StickyBell(Arc::new(Inner {
            word: AtomicU32::new(0),
            ringers,
            sleeper: OnceLock::new(),
        }))
    }

    /// Says that the calling thread will ring no more.
    pub fn finish(&self) {
        self.0.word.fetch_add(2, Ordering::AcqRel); // pairs with `take`
        self.0.unpark();
    }

    /// Waits for a ring and forgets it.
    pub fn wait(&self) {
        self.0.sleeper.get_or_init(thread::current);
        loop {
            let before = self.take();
            if before & 1 != 0 {
                return;
            }
            assert!(before >> 1 < self.0.ringers, "sleeps for ever");
            thread::park();
        }
    }

    /// WEAKENED: forgets a ring that came before the wait, as a bare futex or condition variable does.
    pub fn wait_unsticky(&self) {
        self.take();
        self.wait();
    }

    /// Whether it has been rung since the last wait; forgets the ring.
    pub fn was_rung(&self) -> bool {
        self.take() & 1 != 0
    }

    fn take(&self) -> u32 {
        self.0.word.fetch_and(!1, Ordering::AcqRel) // pairs with `ring` and `finish`
    }
}

impl Bell for StickyBell {
    fn ring(&self) {
        self.0.word.fetch_or(1, Ordering::AcqRel); // pairs with `take`
        self.0.unpark();
    }
}

/// Both ends of a lane of `2^size_bits` slots.
pub fn lane<W: Publication, R: Publication>(size_bits: u32) -> (LaneWriter<W>, LaneReader<R>) {
    let tail = SLOT_WORDS << size_bits;
    let region = HeapWords::region(tail + 1);
    let shared = region.read_only();
    (
        LaneWriter::new(
            WriteSlots::new(&region, 0, size_bits).unwrap(),
            region.word(tail).unwrap(),
            0,
        ),
        LaneReader::new(
            ReadSlots::new(&shared, 0, size_bits).unwrap(),
            shared.word(tail).unwrap(),
            0,
        ),
    )
}

/// Pushes message `number`, its payload made so that a torn read shows, and publishes it.
pub fn push<U: Publication>(lane: &LaneWriter<U>, number: u64) {
    let info = Info::new(Kind::OneWay, number as u16, 1);
    lane.push(info, Token::from_raw(number), |out| out.word(number));
    lane.flush();
}

/// Takes the next message, checks it against itself, and returns its number.
pub fn pop<U: Publication>(lane: &LaneReader<U>) -> Option<u64> {
    let found = lane.peek().expect("the tail is in range")?;
    let number = u64::from(found.info().method());
    assert_eq!(found.token().raw(), number, "torn message");
    assert_eq!(found.payload().word(), number, "torn message");
    lane.advance();
    Some(number)
}
