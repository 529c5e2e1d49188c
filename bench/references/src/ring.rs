//! The ring of `spsc_spin` and `spsc_futex`: one producer, one consumer, 64-byte slots in shared memory.
//!
//! A slot is a sequence word, a token and 48 bytes of payload. The producer writes token and payload and then stores
//! the position plus one into the sequence word with Release; the consumer polls that same line with Acquire, so a
//! message crosses in one cache-line transfer. (A tail word with cached indices instead was measured beside it: 120 against
//! 90 ns a round trip at 54 ns a cache line, the same throughput; so it was left.) Head (for the producer's room check) is cached by the producer and
//! published by the consumer only every quarter of the ring. Both sides trust each other, as in any such ring.
//!
//! Invariants: `tail - head <= capacity`; a slot belongs to the producer until its sequence word says otherwise, and
//! to the consumer from then until `head` has passed it.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use baton_bench_harness::SharedArea;

/// What crosses: a token and 48 bytes of payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Message {
    /// Tells the answers apart.
    pub token: u64,
    /// The 48 bytes.
    pub payload: [u64; 6],
}

impl Message {
    /// The token that ends the server.
    pub const STOP: u64 = u64::MAX;

    /// A message whose payload follows from its token, so that its echo can be checked.
    #[inline]
    #[must_use]
    pub fn with_token(token: u64) -> Self {
        Self {
            token,
            payload: [token; 6],
        }
    }
}

#[repr(C, align(64))]
struct Slot {
    sequence: AtomicU64,
    message: Message,
}

/// Words in front of the slots: the head, on a pair of cache lines of its own.
const HEADER_WORDS: usize = 16;

/// Words that a ring of `capacity` slots takes.
#[must_use]
pub fn ring_words(capacity: usize) -> usize {
    HEADER_WORDS + capacity * (size_of::<Slot>() / 8)
}

/// Where a ring lies: its head word and its slots.
#[derive(Clone, Copy)]
struct Place {
    head: NonNull<AtomicU64>,
    slots: NonNull<Slot>,
    capacity: u64,
}

impl Place {
    /// # Panics
    /// When the ring does not lie within the area's words or its capacity is no power of two from 4 on: our own bug.
    fn new(area: &SharedArea, offset_words: usize, capacity: usize) -> Self {
        assert!(
            capacity.is_power_of_two() && capacity >= 4 && offset_words.is_multiple_of(8),
            "ring is misplaced"
        );
        assert!(
            offset_words + ring_words(capacity) <= area.workload_words(),
            "ring is outside the area"
        );
        // SAFETY: both offsets were just checked to lie within the area.
        let (head, slots) = unsafe {
            (
                area.workload_ptr().add(offset_words),
                area.workload_ptr().add(offset_words + HEADER_WORDS).cast(),
            )
        };
        Self {
            head,
            slots,
            capacity: capacity as u64,
        }
    }

    #[inline(always)]
    fn slot(&self, position: u64) -> *mut Slot {
        // SAFETY: the index is below the capacity, and that many slots lie within the area.
        unsafe {
            self.slots
                .as_ptr()
                .add((position & (self.capacity - 1)) as usize)
        }
    }
}

/// The writing end of a ring.
pub struct Producer<'a> {
    place: Place,
    cached_head: u64,
    tail: u64,
    _area: &'a SharedArea,
}

impl<'a> Producer<'a> {
    /// The writing end of the ring at `offset_words`; there must be one only.
    #[must_use]
    pub fn new(area: &'a SharedArea, offset_words: usize, capacity: usize) -> Self {
        Self {
            place: Place::new(area, offset_words, capacity),
            cached_head: 0,
            tail: 0,
            _area: area,
        }
    }

    /// Spins until a message has room.
    #[inline(always)]
    fn await_room(&mut self) {
        while self.tail - self.cached_head >= self.place.capacity {
            // SAFETY: the head word lies within the area, which outlives this producer.
            // Acquire pairs with the Release in pop: the consumer has read what is overwritten next.
            self.cached_head = unsafe { self.place.head.as_ref() }.load(Ordering::Acquire);
            if self.tail - self.cached_head >= self.place.capacity {
                std::hint::spin_loop();
            }
        }
    }

    /// Publishes one message; waits for room.
    #[inline(always)]
    pub fn push(&mut self, message: &Message) {
        self.await_room();
        self.write(self.tail, message);
        self.tail += 1;
    }

    #[inline(always)]
    fn write(&mut self, position: u64, message: &Message) {
        let slot = self.place.slot(position);
        // SAFETY: there is room, so the slot is the producer's until its sequence word is stored.
        unsafe {
            (&raw mut (*slot).message).write(*message);
            // Release pairs with the Acquire in pop.
            (*slot).sequence.store(position + 1, Ordering::Release);
        }
    }
}

/// The reading end of a ring.
pub struct Consumer<'a> {
    place: Place,
    position: u64,
    _area: &'a SharedArea,
}

impl<'a> Consumer<'a> {
    /// The reading end of the ring at `offset_words`; there must be one only.
    #[must_use]
    pub fn new(area: &'a SharedArea, offset_words: usize, capacity: usize) -> Self {
        Self {
            place: Place::new(area, offset_words, capacity),
            position: 0,
            _area: area,
        }
    }

    /// The next message, if it is there.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Message> {
        let slot = self.place.slot(self.position);
        // SAFETY: the slot lies within the area; its sequence word is only reached as an atomic.
        // Acquire pairs with the Release in write.
        if unsafe { (*slot).sequence.load(Ordering::Acquire) } != self.position + 1 {
            return None;
        }
        // SAFETY: the sequence word says that the message is written; it stays until the head has passed it.
        let message = unsafe { (&raw const (*slot).message).read() };
        self.position += 1;
        if self.position & (self.place.capacity / 4 - 1) == 0 {
            // SAFETY: as above. Release pairs with the Acquire in await_room.
            unsafe { self.place.head.as_ref() }.store(self.position, Ordering::Release);
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_across_many_laps() {
        let area = SharedArea::create(ring_words(8)).expect("memory");
        let mut producer = Producer::new(&area, 0, 8);
        let mut consumer = Consumer::new(&area, 0, 8);
        assert_eq!(consumer.pop(), None);
        let (mut sent, mut received) = (0, 0);
        for size in (1..=6).cycle().take(1000) {
            for _ in 0..size {
                producer.push(&Message::with_token(sent));
                sent += 1;
            }
            for _ in 0..size {
                assert_eq!(consumer.pop(), Some(Message::with_token(received)));
                received += 1;
            }
        }
        assert_eq!((sent, consumer.pop()), (received, None));
    }
}
