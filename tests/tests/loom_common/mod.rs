//! What the loom models share: a bounded search, a sticky bell, and lanes on the heap.
#![allow(dead_code)] // Each model uses its own part.

use baton_inbox::link::write_header;
use baton_inbox::{
    Bell, Info, Kind, LaneReader, LaneWriter, LinkParts, Publication, RegionLayout, TailOutOfRange,
    Token,
};
use baton_shm::{
    HeapWords, ReadSlot, ReadSlots, ReadWord, SLOT_STRIDE_WORDS, Word, WriteSlot, WriteSlots,
};
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

    /// Waits until nobody will ring any more: until those threads have ended, for all that matters.
    pub fn wait_for_the_end(&self) {
        self.0.sleeper.get_or_init(thread::current);
        while self.take() >> 1 < self.0.ringers {
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
    let tail = SLOT_STRIDE_WORDS << size_bits;
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

/// The link parts of a client with `credits` credits and of its server: its own ends first.
pub struct Ends {
    pub parts: [LinkParts<StickyBell>; 2],
    pub states: [Word; 2],
    pub hints: [Word; 2],
}

/// Connects two sides, client first, whose bells are `bells`.
pub fn ends(credits: u32, bells: &[StickyBell; 2]) -> Ends {
    let layouts = [(credits, 0), (0, credits)]
        .map(|(out, granted)| RegionLayout::new(out, granted, 0, 0).unwrap());
    let regions = layouts.map(|layout| HeapWords::region(layout.words()));
    let states = [(); 2].map(|()| HeapWords::region(1));
    let hints = [(); 2].map(|()| HeapWords::region(1));
    for (region, layout) in regions.iter().zip(&layouts) {
        write_header(region, layout).unwrap();
    }
    let parts = [(0, 1), (1, 0)].map(|(own, peer): (usize, usize)| LinkParts {
        outgoing: regions[own].clone(),
        out_layout: layouts[own],
        incoming: regions[peer].read_only(),
        in_layout: layouts[peer],
        peer_state: states[peer].read_only().word(0).unwrap(),
        peer_hint: hints[peer].word(0).unwrap(),
        peer_index: 0,
        bell: bells[peer].clone(),
        credits: if own == 0 { credits } else { 0 },
        granted: if own == 0 { 0 } else { credits },
    });
    Ends {
        parts,
        states: states.map(|region| region.word(0).unwrap()),
        hints: hints.map(|region| region.word(0).unwrap()),
    }
}

/// WEAKENED copy of `InSlot`: the sequence is stored, or loaded, Relaxed.
pub struct RelaxedInSlot;

impl Publication for RelaxedInSlot {
    type Writer = ();
    type Reader = ();
    fn writer(_tail: Word, _start: u32) {}
    fn reader(_tail: ReadWord, _start: u32) {}

    fn publish(_: &(), slot: WriteSlot<'_>, position: u32, info: Info) {
        let head = u64::from(position.wrapping_add(1)) | u64::from(info.raw()) << 32;
        slot.store(0, head, Ordering::Relaxed);
    }

    fn flush(_: &(), _tail: u32) {}

    fn peek(
        _: &(),
        _slots: &ReadSlots,
        slot: ReadSlot<'_>,
        position: u32,
    ) -> Result<Option<Info>, TailOutOfRange> {
        let head = slot.load(0, Ordering::Relaxed);
        let published = head as u32 == position.wrapping_add(1);
        Ok(published.then(|| Info::from_raw((head >> 32) as u32)))
    }
}
