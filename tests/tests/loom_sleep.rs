//! Push, drain, sleep, ring: two senders with a lane each, and a consumer that sleeps on a sticky bell.
//!
//! Real code: `LaneWriter`, `LaneReader`, both publications, `OwnState`, `PeerState`, `sender_fence`. Property: every message
//! arrives once, whole, in the order of its lane, and the consumer does not sleep for ever (the bell knows when nobody is left to ring it).
//!
//! Bounds: three threads; one sender sends two messages in two batches, the other one; at most 3 preemptions.
//!
//! Each weakening changes one ordering or one step, in this file only, and must fail.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p baton-tests --test loom_sleep`.
#![cfg(loom)]

mod loom_common;

use baton_inbox::{
    Bell, InSlot, Info, OwnState, PeerState, Publication, SLEEPING, TailOutOfRange, TailWord,
    sender_fence,
};
use baton_shm::{HeapWords, ReadSlot, ReadSlots, ReadWord, Word, WriteSlot};
use baton_sync::{Ordering, fence};
use loom::thread;
use loom_common::{RelaxedInSlot, StickyBell, explore, lane, pop, push};
use std::cell::Cell;

/// What a variant leaves out.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    SenderFence,
    AnnounceFence,
    SecondLook,
    StickyBell,
    Epoch,
}

/// The consumer's state word: the real one, or a weakened copy of `OwnState`.
enum State {
    Real(OwnState),
    /// WEAKENED: no fence, or an epoch that stands still.
    Weakened(Word, Cell<u64>, Without),
}

impl State {
    fn new(word: Word, without: Without) -> Self {
        match without {
            Without::AnnounceFence | Without::Epoch => State::Weakened(word, Cell::new(0), without),
            _ => State::Real(OwnState::new(word)),
        }
    }

    fn announce_sleep(&self) {
        match self {
            State::Real(own) => own.announce_sleep(),
            State::Weakened(word, epoch, without) => {
                if *without != Without::Epoch {
                    epoch.set(epoch.get() + 1);
                }
                word.store(epoch.get() << 2 | SLEEPING, Ordering::Relaxed);
                if *without != Without::AnnounceFence {
                    fence(Ordering::SeqCst); // pairs with `sender_fence`
                }
            }
        }
    }

    fn awake(&self) {
        match self {
            State::Real(own) => own.awake(),
            State::Weakened(word, epoch, _) => word.store(epoch.get() << 2, Ordering::Relaxed),
        }
    }
}

fn two_senders<W, R>(without: Without)
where
    W: Publication<Writer: Send>,
    R: Publication,
{
    explore(3, move || {
        let bell = StickyBell::new(2);
        let word = HeapWords::region(1);
        let own = State::new(word.word(0).unwrap(), without);
        let mut readers = Vec::new();
        let mut expected = [1, 1];
        for (sender, messages) in [2u64, 1].into_iter().enumerate() {
            let (writer, reader) = lane::<W, R>(1);
            readers.push(reader);
            let bell = bell.clone();
            let peer = PeerState::new(word.read_only().word(0).unwrap());
            thread::spawn(move || {
                for number in 1..=messages {
                    push(&writer, number + 10 * sender as u64);
                    if without != Without::SenderFence {
                        sender_fence();
                    }
                    if peer.must_ring() {
                        bell.ring();
                    }
                }
                bell.finish();
            });
        }
        let mut left = 3;
        let mut look = || {
            let mut found = 0;
            for (sender, reader) in readers.iter().enumerate() {
                while let Some(number) = pop(reader) {
                    assert_eq!(
                        number,
                        expected[sender] + 10 * sender as u64,
                        "out of order"
                    );
                    expected[sender] += 1;
                    found += 1;
                }
            }
            found
        };
        while left > 0 {
            let found = look();
            left -= found;
            if found != 0 {
                continue;
            }
            own.announce_sleep();
            let found = if without == Without::SecondLook {
                0
            } else {
                look()
            };
            left -= found;
            if found == 0 {
                match without {
                    Without::StickyBell => bell.wait_unsticky(),
                    _ => bell.wait(),
                }
            }
            own.awake();
        }
    });
}

#[test]
fn in_slot_publication_loses_nothing() {
    two_senders::<InSlot, InSlot>(Without::Nothing);
}

#[test]
fn tail_word_publication_loses_nothing() {
    two_senders::<TailWord, TailWord>(Without::Nothing);
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn without_the_senders_fence_the_consumer_sleeps_for_ever() {
    two_senders::<InSlot, InSlot>(Without::SenderFence);
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn without_the_consumers_fence_it_sleeps_for_ever() {
    two_senders::<InSlot, InSlot>(Without::AnnounceFence);
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn without_the_second_look_it_sleeps_for_ever() {
    two_senders::<InSlot, InSlot>(Without::SecondLook);
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn without_a_sticky_bell_a_ring_before_the_wait_is_lost() {
    two_senders::<InSlot, InSlot>(Without::StickyBell);
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn without_an_epoch_a_sender_rings_once_only() {
    two_senders::<InSlot, InSlot>(Without::Epoch);
}

/// WEAKENED copy of `TailWord`: the tail is stored, or loaded, Relaxed.
struct RelaxedTailWord;

impl Publication for RelaxedTailWord {
    type Writer = Word;
    type Reader = ReadWord;
    fn writer(tail: Word, _start: u32) -> Word {
        tail
    }
    fn reader(tail: ReadWord, _start: u32) -> ReadWord {
        tail
    }

    fn publish(_: &Word, slot: WriteSlot<'_>, _position: u32, info: Info) {
        let head = u64::from(info.raw()) << 32;
        slot.store(0, head, Ordering::Relaxed);
    }

    fn flush(word: &Word, tail: u32) {
        word.store(u64::from(tail), Ordering::Relaxed);
    }

    fn peek(
        word: &ReadWord,
        _slots: &ReadSlots,
        slot: ReadSlot<'_>,
        position: u32,
    ) -> Result<Option<Info>, TailOutOfRange> {
        if word.load(Ordering::Relaxed) as u32 == position {
            return Ok(None);
        }
        let head = slot.load(0, Ordering::Relaxed);
        Ok(Some(Info::from_raw((head >> 32) as u32)))
    }
}

#[test]
#[should_panic(expected = "torn message")]
fn a_relaxed_sequence_store_tears_messages() {
    two_senders::<RelaxedInSlot, InSlot>(Without::Nothing);
}

#[test]
#[should_panic(expected = "torn message")]
fn a_relaxed_sequence_load_tears_messages() {
    two_senders::<InSlot, RelaxedInSlot>(Without::Nothing);
}

#[test]
#[should_panic(expected = "out of order")]
fn a_relaxed_tail_store_shows_old_slots() {
    two_senders::<RelaxedTailWord, TailWord>(Without::Nothing);
}

#[test]
#[should_panic(expected = "out of order")]
fn a_relaxed_tail_load_shows_old_slots() {
    two_senders::<TailWord, RelaxedTailWord>(Without::Nothing);
}
