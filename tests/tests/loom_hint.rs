//! The hint word: senders that set their bit, against a consumer that clears it and then looks only where bits are set.
//!
//! Real code: `Scan` (`was_idle` up to `cool`, `was_busy`, `candidates`), `OwnState::set_hinted`, `PeerState::look`, `PeerHint::raise`,
//! `sender_fence`, `InSlot` lanes. In a second model the consumer says that it wants hints while the senders are at work already. Property:
//! when everybody has finished, a message that was not seen has its bit set, so that a turn that looks at hinted lanes only finds
//! it. (The looks at all lanes, every so many turns and after a sleep, are not part of the model: the hint alone must do.)
//!
//! Bounds: three threads; one sender sends two messages, the other one, on two of 16 bound connections; the consumer does two
//! turns, in the first of which the first lane becomes cold unless something is there, and a last one when the senders have finished;
//! at most 5 preemptions.
//!
//! Each weakening changes one ordering or one step, in this file only, and must fail.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p baton-tests --test loom_hint`.
#![cfg(loom)]

mod loom_common;

use baton_inbox::scan::{HINT_FROM, IDLE_TURNS, PeerHint};
use baton_inbox::{Band, InSlot, LaneReader, OwnState, PeerState, Scan, sender_fence};
use baton_shm::{HeapWords, Word};
use baton_sync::{Ordering, fence};
use loom::thread;
use loom_common::{explore, lane, pop, push};

/// What a variant leaves out.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    /// Nothing, and the consumer begins to use the hint while the senders are at work.
    NothingMeanwhile,
    SenderFence,
    CoolFence,
    SecondLook,
    RaiseAtOnce,
    CoolAtOnce,
    HintedFirst,
}

/// WEAKENED copy of `PeerHint::raise`: load and store instead of one read-modify-write.
fn raise_in_two_steps(word: &Word, bit: u64) {
    let old = word.load(Ordering::Relaxed);
    if old & bit == 0 {
        word.store(old | bit, Ordering::Release);
    }
}

/// WEAKENED copy of `Scan::cool`: without its fence, or by load and store instead of one read-modify-write.
fn cool_weakly(word: &Word, bit: u64, without: Without) -> bool {
    if without == Without::CoolAtOnce {
        let old = word.load(Ordering::Relaxed);
        word.store(old & !bit, Ordering::Release);
        fence(Ordering::SeqCst); // pairs with `sender_fence`
    } else {
        word.fetch_and(!bit, Ordering::AcqRel); // pairs with `PeerHint::raise`
    }
    true
}

fn two_senders(without: Without) {
    explore(5, move || {
        let words = HeapWords::region(2);
        let word = words.word(0).unwrap();
        let own = OwnState::new(words.word(1).unwrap());
        let scan = Scan::new(word.clone());
        for index in 0..HINT_FROM {
            scan.bind(index, Band::NORMAL);
        }
        if matches!(without, Without::NothingMeanwhile | Without::HintedFirst) {
            // Both lanes are hot, as when the hint comes into use.
            word.store(3, Ordering::Relaxed);
        } else {
            own.set_hinted(true);
            // All lanes but the first are cold from the start.
            word.store(1, Ordering::Relaxed);
        }
        let mut readers = Vec::new();
        let mut senders = Vec::new();
        for (index, messages) in [2u64, 1].into_iter().enumerate() {
            let (writer, reader) = lane::<InSlot, InSlot>(1);
            readers.push(reader);
            let word = word.clone();
            let peer = PeerHint::new(word.clone(), index as u32);
            let state = PeerState::new(words.read_only().word(1).unwrap());
            senders.push(thread::spawn(move || {
                for number in 1..=messages {
                    push(&writer, number);
                    if without != Without::SenderFence {
                        sender_fence();
                    }
                    if !state.look().is_hinted() {
                        continue;
                    }
                    match without {
                        Without::RaiseAtOnce => raise_in_two_steps(&word, 1 << index),
                        _ => peer.raise(),
                    }
                }
            }));
        }
        let mut seen = [0; 2];
        if without != Without::HintedFirst {
            own.set_hinted(true);
        }
        // Looks until the lane has become cold are in vain and touch no hint: only their number counts.
        for _ in 1..IDLE_TURNS {
            assert!(!scan.was_idle(0, 0));
        }
        for _turn in 0..2 {
            turn(&scan, &word, &readers, &mut seen, without);
        }
        // WEAKENED: hints are asked for when bits have been cleared already.
        own.set_hinted(true);
        for sender in senders {
            sender.join().unwrap();
        }
        turn(&scan, &word, &readers, &mut seen, Without::Nothing);
        assert_eq!(seen, [2, 1], "a message stays unseen");
    });
}

/// One turn, as `rpc`'s node does it.
fn turn(
    scan: &Scan,
    word: &Word,
    readers: &[LaneReader<InSlot>],
    seen: &mut [u64; 2],
    without: Without,
) {
    let mut look = |index: usize| {
        let mut found = 0;
        while let Some(number) = pop(&readers[index]) {
            seen[index] += 1;
            assert_eq!(number, seen[index], "out of order");
            found += 1;
        }
        found
    };
    for index in scan.visit(scan.candidates(), Band::NORMAL) {
        let lane = index as usize;
        if look(lane) != 0 {
            scan.was_busy(index);
            continue;
        }
        let cold = match without {
            Without::CoolFence | Without::CoolAtOnce => cool_weakly(word, 1 << index, without),
            _ => scan.was_idle(index, readers[lane].head()),
        };
        if cold && without != Without::SecondLook && look(lane) != 0 {
            scan.was_busy(index);
        }
    }
}

#[test]
fn no_message_stays_unseen() {
    two_senders(Without::Nothing);
}

#[test]
fn no_message_stays_unseen_when_the_hint_comes_into_use() {
    two_senders(Without::NothingMeanwhile);
}

#[test]
#[should_panic(expected = "a message stays unseen")]
fn when_hints_are_asked_for_after_bits_were_cleared_one_does() {
    two_senders(Without::HintedFirst);
}

#[test]
#[should_panic(expected = "a message stays unseen")]
fn without_the_senders_fence_one_does() {
    two_senders(Without::SenderFence);
}

#[test]
#[should_panic(expected = "a message stays unseen")]
fn without_the_consumers_fence_one_does() {
    two_senders(Without::CoolFence);
}

#[test]
#[should_panic(expected = "a message stays unseen")]
fn without_the_second_look_one_does() {
    two_senders(Without::SecondLook);
}

#[test]
#[should_panic(expected = "a message stays unseen")]
fn when_bits_are_set_by_load_and_store_one_does() {
    two_senders(Without::RaiseAtOnce);
}

#[test]
#[should_panic(expected = "a message stays unseen")]
fn when_bits_are_cleared_by_load_and_store_one_does() {
    two_senders(Without::CoolAtOnce);
}
