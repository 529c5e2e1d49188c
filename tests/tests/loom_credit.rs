//! Credit against head: one-way sends on a lane of one slot, whose credit comes back with the peer's head; and a sender that sleeps
//! until it does.
//!
//! Real code: two `Link`s over two regions (`requests_out`, `requests_in`, `publish_request_head`, `peer_head`,
//! `set_want_space`, `peer_wants_space`), `OwnState`, `PeerState`, `sender_fence`. The rule that a credit is back when the head has
//! passed it is `Tokens::pop_by_head`, which is private; it is one compare, done here the same way. Property: no slot is written
//! while the receiver may still read it, every message arrives in order, and neither side sleeps for ever.
//!
//! loom does not let a load see a store that comes after it, so "the head is published before the copy is done" cannot show in the
//! message itself. Each access to the slot therefore also touches a cell whose accesses loom checks for races.
//!
//! Bounds: two threads, three messages through one slot, both sides sleep; at most 3 preemptions.
//!
//! Each weakening changes one ordering or one step, in this file only, and must fail.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p baton-tests --test loom_credit`.
#![cfg(loom)]

mod loom_common;

use baton_inbox::layout::HEAD_REQUESTS;
use baton_inbox::link::write_header;
use baton_inbox::{
    Bell, InSlot, Link, LinkParts, OwnState, Publication, RegionLayout, TailWord, sender_fence,
};
use baton_shm::{HeapWords, Region};
use baton_sync::Ordering;
use loom::cell::UnsafeCell;
use loom::thread;
use loom_common::{StickyBell, explore, pop, push};
use std::sync::Arc;

const MESSAGES: u64 = 3;

/// What a variant leaves out.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    /// The head is stored Relaxed.
    HeadRelease,
    /// The head is loaded Relaxed.
    HeadAcquire,
    /// The head is published before the slot is copied.
    CopyFirst,
    /// The slot is used again without a look at the head.
    Head,
    /// No fence between the head and the look at `want_space`.
    HeadFence,
    /// No fence between `want_space` and the look at the head.
    WantFence,
    /// No look at the head after `want_space`.
    SecondLook,
}

/// Stands for the slot's memory: touched wherever the slot is, and checked for races by loom.
struct Shadow(UnsafeCell<()>);

// SAFETY: the pointers that `with` and `with_mut` hand out are never used; loom only records the accesses.
unsafe impl Sync for Shadow {}
// SAFETY: as for `Sync`.
unsafe impl Send for Shadow {}

/// One side: its link, its state word and its bell, and the region it writes.
struct Side<U: Publication> {
    link: Link<U>,
    own: OwnState,
    bell: StickyBell,
    peers_bell: StickyBell,
    outgoing: Region,
    incoming: Region,
}

/// The links of a sender and a receiver with one credit.
fn sides<U: Publication>(bells: [StickyBell; 2]) -> [Side<U>; 2] {
    let layouts =
        [(1, 0), (0, 1)].map(|(out, granted)| RegionLayout::new(out, granted, 0, 0).unwrap());
    let regions = layouts.map(|layout| HeapWords::region(layout.words()));
    let states = [(); 2].map(|()| HeapWords::region(1));
    let hints = [(); 2].map(|()| HeapWords::region(1));
    for (region, layout) in regions.iter().zip(&layouts) {
        write_header(region, layout).unwrap();
    }
    [(0, 1), (1, 0)].map(|(own, peer): (usize, usize)| {
        let own_state = OwnState::new(states[own].word(0).unwrap());
        let parts = LinkParts {
            outgoing: regions[own].clone(),
            out_layout: layouts[own],
            incoming: regions[peer].read_only(),
            in_layout: layouts[peer],
            peer_state: states[peer].read_only().word(0).unwrap(),
            peer_hint: hints[peer].word(0).unwrap(),
            peer_index: 0,
            bell: (),
            credits: 1 - own as u32,
            granted: own as u32,
        };
        Side {
            link: Link::new(&parts, 0).unwrap(),
            own: own_state,
            bell: bells[own].clone(),
            peers_bell: bells[peer].clone(),
            outgoing: regions[own].clone(),
            incoming: regions[peer].clone(),
        }
    })
}

fn send<U: Publication>(side: &Side<U>, shadow: &Shadow, without: Without) {
    let link = &side.link;
    // The credit is back when the head has passed the message at `position`, as in `Tokens::pop_by_head`.
    let is_back = |position: u32| {
        let head = match without {
            // WEAKENED copy of `Link::peer_head`.
            Without::HeadAcquire => side
                .incoming
                .word(HEAD_REQUESTS)
                .unwrap()
                .load(Ordering::Relaxed) as u32,
            Without::Head => return true,
            _ => link.peer_head().expect("the head is in range"),
        };
        head.wrapping_sub(position).wrapping_sub(1) <= u32::MAX / 2
    };
    for number in 1..=MESSAGES {
        let last = link.requests_out.tail().wrapping_sub(1);
        while number > 1 && !is_back(last) {
            // As `Node::last_look` does it: announce, want, fence, look at the head again.
            side.own.announce_sleep();
            link.set_want_space(true);
            if without != Without::WantFence {
                sender_fence();
            }
            if without == Without::SecondLook || !is_back(last) {
                side.bell.wait();
            }
            side.own.awake();
            link.set_want_space(false);
        }
        shadow.0.with_mut(|_| ());
        push(&link.requests_out, number);
        sender_fence();
        if link.peer_state.must_ring() {
            side.peers_bell.ring();
        }
    }
    side.peers_bell.finish();
}

fn receive<U: Publication>(side: &Side<U>, shadow: &Shadow, without: Without) {
    let link = &side.link;
    let mut expected = 1;
    let mut drain = || {
        let before = expected;
        while !matches!(link.requests_in.peek(), Ok(None)) {
            if without == Without::CopyFirst {
                // WEAKENED: one too far, and too early.
                let head = u64::from(link.requests_in.head()) + 1;
                side.outgoing
                    .word(HEAD_REQUESTS)
                    .unwrap()
                    .store(head, Ordering::Release);
            }
            shadow.0.with(|_| ());
            let number = pop(&link.requests_in).expect("there is one");
            assert_eq!(number, expected, "out of order");
            expected += 1;
        }
        if expected == before {
            return false;
        }
        match without {
            // WEAKENED copy of `Link::publish_request_head`.
            Without::HeadRelease => {
                let head = u64::from(link.requests_in.head());
                side.outgoing
                    .word(HEAD_REQUESTS)
                    .unwrap()
                    .store(head, Ordering::Relaxed);
            }
            Without::CopyFirst => {}
            _ => link.publish_request_head(),
        }
        if without != Without::HeadFence {
            sender_fence();
        }
        if link.peer_wants_space() && link.peer_state.must_ring() {
            side.peers_bell.ring();
        }
        true
    };
    loop {
        while drain() {}
        if link.requests_in.head() == MESSAGES as u32 {
            break;
        }
        side.own.announce_sleep();
        if !drain() {
            side.bell.wait();
        }
        side.own.awake();
    }
    side.peers_bell.finish();
}

fn one_slot<U>(without: Without)
where
    U: Publication<Writer: Send, Reader: Send>,
{
    explore(3, move || {
        let shadow = Arc::new(Shadow(UnsafeCell::new(())));
        let [sender, receiver] = sides::<U>([StickyBell::new(1), StickyBell::new(1)]);
        thread::spawn({
            let shadow = shadow.clone();
            move || receive(&receiver, &shadow, without)
        });
        send(&sender, &shadow, without);
    });
}

#[test]
fn in_slot_lanes_are_never_overwritten() {
    one_slot::<InSlot>(Without::Nothing);
}

#[test]
fn tail_word_lanes_are_never_overwritten() {
    one_slot::<TailWord>(Without::Nothing);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_relaxed_store_of_the_head_races() {
    one_slot::<InSlot>(Without::HeadRelease);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_relaxed_load_of_the_head_races() {
    one_slot::<InSlot>(Without::HeadAcquire);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_head_published_before_the_copy_races() {
    one_slot::<InSlot>(Without::CopyFirst);
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn a_slot_used_again_without_its_head_loses_messages() {
    one_slot::<InSlot>(Without::Head);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_fence_after_the_head_both_sleep_for_ever() {
    one_slot::<InSlot>(Without::HeadFence);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_fence_after_the_want_both_sleep_for_ever() {
    one_slot::<InSlot>(Without::WantFence);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_second_look_at_the_head_both_sleep_for_ever() {
    one_slot::<InSlot>(Without::SecondLook);
}
