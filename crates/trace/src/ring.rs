//! The ring: one writer, any number of readers at any time.
//!
//! Invariant: event number `n` stands in slot `n % capacity`. The slot's sequence is `2n + 1` from before its first word
//! is written until after its last, then `2n + 2`. A reader takes the words only when it finds `2n + 2` both before and
//! after reading them. Sequences are 64 bits wide and never wrap.

use crate::Event;
use alloc::boxed::Box;
use alloc::vec::Vec;
use baton_sync::{AtomicBool, AtomicU64, Ordering, fence};

struct Slot {
    sequence: AtomicU64,
    words: [AtomicU64; 4],
}

impl Slot {
    fn new() -> Self {
        Slot {
            sequence: AtomicU64::new(0),
            words: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    #[inline]
    fn write(&self, number: u64, event: Event) {
        self.sequence.store(2 * number + 1, Ordering::Relaxed);
        // Pairs with the Acquire fence in `read`: who sees one of the words below also sees that odd sequence.
        fence(Ordering::Release);
        for (place, word) in self.words.iter().zip(event.pack()) {
            place.store(word, Ordering::Relaxed);
        }
        // Pairs with the Acquire load in `read`: who sees this sequence sees all the words.
        self.sequence.store(2 * number + 2, Ordering::Release);
    }

    fn read(&self, number: u64) -> Option<Event> {
        // Pairs with the Release store at the end of `write`.
        if self.sequence.load(Ordering::Acquire) != 2 * number + 2 {
            return None;
        }
        let words = [0, 1, 2, 3].map(|i: usize| self.words[i].load(Ordering::Relaxed));
        // Pairs with the Release fence in `write`: had any of the words come from a later event, the load below
        // would see that event's odd sequence or one still later.
        fence(Ordering::Acquire);
        if self.sequence.load(Ordering::Relaxed) != 2 * number + 2 {
            return None;
        }
        Event::unpack(words)
    }
}

/// A fixed-size ring of events, written by one thread and readable from any.
///
/// The executor's thread alone calls [`Ring::record`]. A second writer at the same time would do no harm to memory,
/// but events could be lost or mixed.
///
/// ```
/// use baton_trace::{Event, Ring, Step};
///
/// let ring = Ring::new(1024);
/// ring.set_on(true);
/// if ring.is_on() {
///     ring.record(Event { time_ns: 7, step: Step::Wake, connection: 0, task: 3, token: 0, detail: 0 });
/// }
/// let events = ring.snapshot();
/// assert_eq!(events[0].0, 0);
/// assert_eq!(events[0].1.task, 3);
/// ```
pub struct Ring {
    on: AtomicBool,
    /// How many events were recorded since the ring was made.
    recorded: AtomicU64,
    slots: Box<[Slot]>,
    mask: u64,
}

impl core::fmt::Debug for Ring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ring")
            .field("on", &self.is_on())
            .field("capacity", &self.capacity())
            .field("recorded", &self.recorded())
            .finish()
    }
}

impl Ring {
    /// Makes a ring, switched off, that keeps the last `events` events, rounded up to a power of two.
    ///
    /// # Panics
    ///
    /// When there is no memory for so many events.
    pub fn new(events: usize) -> Self {
        let capacity = events.max(1).next_power_of_two();
        Ring {
            on: AtomicBool::new(false),
            recorded: AtomicU64::new(0),
            slots: (0..capacity).map(|_| Slot::new()).collect(),
            mask: capacity as u64 - 1,
        }
    }

    /// Whether events are wanted: the check to make before [`Ring::record`], once a batch.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Switches tracing on or off, from any thread; the recorder notices at its next [`Ring::is_on`].
    pub fn set_on(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// Records an event, whether tracing is on or not, over the oldest one if the ring is full.
    #[inline]
    pub fn record(&self, event: Event) {
        let number = self.recorded.load(Ordering::Relaxed);
        // The mask keeps the index below the length, whatever the number.
        if let Some(slot) = self.slots.get((number & self.mask) as usize) {
            slot.write(number, event);
        }
        // Pairs with the Acquire load in `snapshot`: the events counted are in their slots.
        self.recorded.store(number + 1, Ordering::Release);
    }

    /// How many events the ring keeps.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// How many events were recorded since the ring was made.
    pub fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    /// How many events have been overwritten since the ring was made.
    pub fn lost(&self) -> u64 {
        self.recorded().saturating_sub(self.slots.len() as u64)
    }

    /// The events in the ring with their sequence numbers, oldest first.
    ///
    /// An event that is overwritten meanwhile is left out: it shows as a gap in the numbers.
    pub fn snapshot(&self) -> Vec<(u64, Event)> {
        // Pairs with the Release store in `record`.
        let recorded = self.recorded.load(Ordering::Acquire);
        let first = recorded.saturating_sub(self.slots.len() as u64);
        let mut events = Vec::with_capacity(self.slots.len());
        for number in first..recorded {
            let slot = self.slots.get((number & self.mask) as usize);
            if let Some(event) = slot.and_then(|slot| slot.read(number)) {
                events.push((number, event));
            }
        }
        events
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Step;

    fn event(time_ns: u64) -> Event {
        Event {
            time_ns,
            step: Step::Drain,
            connection: 1,
            task: 2,
            token: 3,
            detail: 4,
        }
    }

    #[test]
    fn a_new_ring_is_off_and_empty() {
        let ring = Ring::new(5);
        assert!(!ring.is_on());
        assert_eq!(ring.capacity(), 8);
        assert_eq!(ring.snapshot(), []);
        assert_eq!(ring.lost(), 0);
        ring.set_on(true);
        assert!(ring.is_on());
    }

    #[test]
    fn a_ring_of_nothing_keeps_one_event() {
        let ring = Ring::new(0);
        ring.record(event(1));
        ring.record(event(2));
        assert_eq!(ring.snapshot(), [(1, event(2))]);
    }

    #[test]
    fn the_oldest_events_are_overwritten_and_counted() {
        let ring = Ring::new(4);
        for time_ns in 0..7 {
            ring.record(event(time_ns));
        }
        assert_eq!(ring.lost(), 3);
        assert_eq!(ring.recorded(), 7);
        let expected: Vec<_> = (3..7).map(|n| (n, event(n))).collect();
        assert_eq!(ring.snapshot(), expected);
    }

    #[test]
    fn a_slot_that_is_being_written_is_left_out() {
        let ring = Ring::new(2);
        ring.record(event(0));
        ring.record(event(1));
        // What a reader finds when the writer stands between its first and its last store.
        ring.slots[0].sequence.store(5, Ordering::Relaxed);
        ring.slots[0].words[0].store(99, Ordering::Relaxed);
        assert_eq!(ring.snapshot(), [(1, event(1))]);
    }
}
