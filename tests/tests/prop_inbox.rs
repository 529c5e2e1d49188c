//! The inbox against naive models: lanes against queues, the sleep protocol against a flag, the scan against a set.
#![cfg(not(loom))]

use baton_inbox::link::{HEAD_LAG, write_header};
use baton_inbox::scan::{HINT_FROM, PeerHint};
use baton_inbox::{
    BANDS, Band, InSlot, Info, Kind, LaneReader, LaneWriter, Link, LinkParts, OwnState, PeerState,
    Publication, RegionLayout, Scan, TailWord, Token, sender_fence,
};
use baton_shm::{HeapWords, ReadSlots, SLOT_STRIDE_WORDS, WriteSlots};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;

fn config() -> ProptestConfig {
    let cases = std::env::var("BATON_CASES");
    let cases = cases.ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(64),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Positions from which lanes wrap soon, and ordinary ones.
fn start() -> impl Strategy<Value = u32> {
    // Not so near the end that a slot's first message has sequence 0, which is what empty memory says: lanes begin at 0.
    prop_oneof![Just(0), (u32::MAX - 40)..(u32::MAX - 32), 0..u32::MAX - 32]
}

#[derive(Clone, Debug)]
enum LaneStep {
    /// Pushes a message with so many words, if the lane has room.
    Push(usize, usize),
    Flush(usize),
    Drain(usize, u32),
}

fn lane_step() -> impl Strategy<Value = LaneStep> {
    let lane = 0usize..3;
    prop_oneof![
        4 => (lane.clone(), 0usize..=6).prop_map(|(lane, words)| LaneStep::Push(lane, words)),
        1 => lane.clone().prop_map(LaneStep::Flush),
        2 => (lane, 1u32..9).prop_map(|(lane, most)| LaneStep::Drain(lane, most)),
    ]
}

type Written = (Info, Token, [u64; 6]);

/// A lane and what should be in it.
struct Lane<U: Publication> {
    writer: LaneWriter<U>,
    reader: LaneReader<U>,
    /// Published, then held back.
    published: VecDeque<Written>,
    held_back: VecDeque<Written>,
}

impl<U: Publication> Lane<U> {
    fn new(bits: u32, start: u32) -> Self {
        let region = HeapWords::region(8 + (SLOT_STRIDE_WORDS << bits));
        let slots = WriteSlots::new(&region, 8, bits).unwrap();
        let writer = LaneWriter::new(slots, region.word(0).unwrap(), start);
        let region = region.read_only();
        let slots = ReadSlots::new(&region, 8, bits).unwrap();
        Lane {
            writer,
            reader: LaneReader::new(slots, region.word(0).unwrap(), start),
            published: VecDeque::new(),
            held_back: VecDeque::new(),
        }
    }

    fn publish(&mut self) {
        self.published.append(&mut self.held_back);
    }

    fn push(&mut self, words: usize, value: u64, batch: usize) {
        if self.published.len() + self.held_back.len() == self.writer.capacity() as usize {
            return;
        }
        let mut payload = [0; 6];
        for (word, place) in payload.iter_mut().enumerate().take(words) {
            *place = value * 7 + word as u64;
        }
        let info = Info::new(Kind::Request, value as u16, words);
        let token = Token::from_raw(value.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.writer.push(info, token, |out| {
            for word in payload.iter().take(words) {
                out.word(*word);
            }
        });
        self.held_back.push_back((info, token, payload));
        if self.held_back.len() >= batch {
            self.publish();
        }
    }

    fn drain(&mut self, most: u32) -> Result<(), TestCaseError> {
        for _ in 0..most {
            let found = self.reader.peek().expect("the tail is a possible one");
            let Some((info, token, payload)) = self.published.pop_front() else {
                prop_assert!(found.is_none(), "a message that was never published");
                return Ok(());
            };
            let Some(found) = found else {
                prop_assert!(false, "a message was lost");
                return Ok(());
            };
            prop_assert_eq!((found.info(), found.token()), (info, token));
            let words = info.words();
            prop_assert_eq!(&found.copy()[..words], &payload[..words]);
            let mut again = found.payload();
            for word in &payload[..words] {
                prop_assert_eq!(again.word(), *word);
            }
            self.reader.advance();
        }
        Ok(())
    }
}

/// `batch` messages are published at once; none of a batch can be seen before.
fn lanes_are_queues<U: Publication>(
    batch: usize,
    bits: [u32; 3],
    start: u32,
    steps: Vec<LaneStep>,
) -> Result<(), TestCaseError> {
    let mut lanes = bits.map(|bits| Lane::<U>::new(bits, start));
    for (value, step) in (1u64..).zip(steps) {
        match step {
            LaneStep::Push(lane, words) => lanes[lane].push(words, value, batch),
            LaneStep::Flush(lane) => {
                lanes[lane].writer.flush();
                lanes[lane].publish();
            }
            LaneStep::Drain(lane, most) => lanes[lane].drain(most)?,
        }
    }
    for lane in &mut lanes {
        lane.writer.flush();
        lane.publish();
        lane.drain(u32::MAX)?;
        prop_assert_eq!(lane.reader.head(), lane.writer.tail());
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum HeadStep {
    Push,
    Drain,
    PublishHead,
    ReadHead,
}

fn ends(credits: u32, start: u32) -> (Link<InSlot>, Link<InSlot>) {
    let layout = |credits, granted| RegionLayout::new(credits, granted, 0, 0).unwrap();
    let (ours, theirs) = (layout(credits, 0), layout(0, credits));
    let (out, back) = (
        HeapWords::region(ours.words()),
        HeapWords::region(theirs.words()),
    );
    write_header(&out, &ours).unwrap();
    write_header(&back, &theirs).unwrap();
    let page = HeapWords::region(8);
    let parts =
        |own: &baton_shm::Region, own_layout, peers: &baton_shm::Region, peers_layout| LinkParts {
            outgoing: own.clone(),
            out_layout: own_layout,
            incoming: peers.read_only(),
            in_layout: peers_layout,
            peer_state: page.read_only().word(0).unwrap(),
            peer_hint: page.word(1).unwrap(),
            peer_index: 0,
            bell: (),
            credits: 0,
            granted: 0,
        };
    let a = Link::new(&parts(&out, ours, &back, theirs), start).unwrap();
    let b = Link::new(&parts(&back, theirs, &out, ours), start).unwrap();
    (a, b)
}

#[derive(Clone, Copy, Debug)]
enum StateStep {
    Sleep,
    Wake,
    /// A sender publishes, fences, and asks whether to ring.
    Send(usize),
}

#[derive(Clone, Debug)]
enum ScanStep {
    Bind(u32, u8),
    Unbind(u32),
    Message(u32),
    /// A hostile sender clears these bits.
    Clear(u64),
    Turn,
    LookAtAll,
}

fn scan_step() -> impl Strategy<Value = ScanStep> {
    let index = 0u32..64;
    prop_oneof![
        4 => (index.clone(), 0u8..8).prop_map(|(index, band)| ScanStep::Bind(index, band)),
        1 => index.clone().prop_map(ScanStep::Unbind),
        4 => index.prop_map(ScanStep::Message),
        1 => any::<u64>().prop_map(ScanStep::Clear),
        8 => Just(ScanStep::Turn),
        1 => Just(ScanStep::LookAtAll),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn lanes_with_sequences_are_queues(
        bits in proptest::array::uniform3(0u32..5),
        start in start(),
        steps in vec(lane_step(), 0..300),
    ) {
        lanes_are_queues::<InSlot>(1, bits, start, steps)?;
    }

    #[test]
    fn lanes_with_tails_are_queues(
        bits in proptest::array::uniform3(0u32..5),
        start in start(),
        steps in vec(lane_step(), 0..300),
    ) {
        lanes_are_queues::<TailWord>(TailWord::BATCH as usize, bits, start, steps)?;
    }

    /// The head that the other side reads is the last one published, however positions wrap.
    #[test]
    fn heads_are_counters(
        credits in 1u32..9,
        start in start(),
        steps in vec(prop_oneof![
            Just(HeadStep::Push),
            Just(HeadStep::Drain),
            Just(HeadStep::PublishHead),
            Just(HeadStep::ReadHead),
        ], 0..200),
    ) {
        let (a, b) = ends(credits, start);
        let (mut sent, mut drained, mut published) = (0u32, 0u32, 0u32);
        for step in steps {
            match step {
                HeadStep::Push if sent - published < credits => {
                    a.requests_out.push(Info::new(Kind::OneWay, 0, 0), Token::new(0, 0), |_| {});
                    sent += 1;
                }
                HeadStep::Push => {}
                HeadStep::Drain => {
                    let found = b.requests_in.peek().unwrap().is_some();
                    prop_assert_eq!(found, drained < sent);
                    if found {
                        b.requests_in.advance();
                        drained += 1;
                    }
                }
                HeadStep::PublishHead => {
                    b.publish_request_head();
                    published = drained;
                }
                HeadStep::ReadHead => {
                    prop_assert_eq!(a.peer_head(), Ok(start.wrapping_add(published)));
                }
            }
        }
    }

    /// Whatever the head says: it is believed if a correct peer could have published it, and refused otherwise.
    #[test]
    fn impossible_heads_are_refused(
        bits in 0u32..6,
        start in start(),
        sent in 0u32..64,
        head in prop_oneof![any::<u64>(), (0u64..200).prop_map(|n| n.wrapping_sub(100))],
        relative in any::<bool>(),
    ) {
        let capacity = 1u32 << bits;
        let layout = RegionLayout::new(capacity, 0, 0, 0).unwrap();
        let theirs = RegionLayout::new(0, capacity, 0, 0).unwrap();
        let (out, back) = (HeapWords::region(layout.words()), HeapWords::region(theirs.words()));
        write_header(&out, &layout).unwrap();
        write_header(&back, &theirs).unwrap();
        let page = HeapWords::region(8);
        let link = Link::<InSlot>::new(&LinkParts {
            outgoing: out,
            out_layout: layout,
            incoming: back.read_only(),
            in_layout: theirs,
            peer_state: page.read_only().word(0).unwrap(),
            peer_hint: page.word(1).unwrap(),
            peer_index: 0,
            bell: (),
            credits: capacity,
            granted: 0,
        }, start).unwrap();
        for _ in 0..sent {
            link.requests_out.push(Info::new(Kind::OneWay, 0, 0), Token::new(0, 0), |_| {});
        }
        let tail = start.wrapping_add(sent);
        let head = if relative { u64::from(tail.wrapping_add(head as u32)) } else { head };
        back.word(baton_inbox::layout::HEAD_REQUESTS).unwrap().store(head, Ordering::Relaxed);
        let possible = head <= u64::from(u32::MAX) && tail.wrapping_sub(head as u32) <= capacity + HEAD_LAG;
        prop_assert_eq!(link.peer_head().ok(), possible.then_some(head as u32));
    }

    /// A sender rings when the consumer sleeps, once for each sleep; others ring for themselves.
    #[test]
    fn each_sleep_is_rung_once_by_each_sender(
        steps in vec(prop_oneof![
            Just(StateStep::Sleep),
            Just(StateStep::Wake),
            (0usize..3).prop_map(StateStep::Send),
        ], 0..200),
    ) {
        let page = HeapWords::region(8);
        let own = OwnState::new(page.word(0).unwrap());
        let senders = [(); 3].map(|()| PeerState::new(page.read_only().word(0).unwrap()));
        let mut asleep = false;
        let mut rung = [false; 3];
        for step in steps {
            match step {
                StateStep::Sleep => {
                    own.announce_sleep();
                    (asleep, rung) = (true, [false; 3]);
                }
                StateStep::Wake => {
                    own.awake();
                    asleep = false;
                }
                StateStep::Send(sender) => {
                    sender_fence();
                    let must = asleep && !rung[sender];
                    rung[sender] |= asleep;
                    prop_assert_eq!(senders[sender].must_ring(), must);
                }
            }
        }
    }

    /// Turns as a node makes them. Every bound connection is looked at in its band only, at most once a turn; without a hint
    /// always, with one whenever its sender raised it; and after `look_at_all` nothing waits, whoever cleared what.
    #[test]
    fn the_scan_is_a_set(steps in vec(scan_step(), 0..400)) {
        let page = HeapWords::region(8);
        let scan = Scan::new(page.word(0).unwrap());
        let hints: Vec<_> = (0..64).map(|index| PeerHint::new(page.word(0).unwrap(), index)).collect();
        let mut bound: [Option<u8>; 64] = [None; 64];
        let mut waiting = BTreeSet::new();
        let mut hidden = BTreeSet::new();
        let mut drained = [0u32; 64];
        let mut look_at_all = BTreeSet::new();
        for step in steps {
            match step {
                ScanStep::Bind(index, band) => {
                    if bound[index as usize].is_none() {
                        bound[index as usize] = Some(band);
                        scan.bind(index, Band::new(band).unwrap());
                        waiting.remove(&index);
                        hidden.remove(&index);
                    }
                }
                ScanStep::Unbind(index) => {
                    bound[index as usize] = None;
                    scan.unbind(index);
                    waiting.remove(&index);
                    hidden.remove(&index);
                }
                ScanStep::Message(index) => {
                    if bound[index as usize].is_some() {
                        waiting.insert(index);
                        hidden.remove(&index);
                        sender_fence();
                        hints[index as usize].raise();
                    }
                }
                ScanStep::Clear(bits) => {
                    page.word(0).unwrap().fetch_and(!bits, Ordering::Relaxed);
                    hidden.extend((0..64).filter(|index| bits >> index & 1 == 1));
                }
                ScanStep::LookAtAll => {
                    scan.look_at_all();
                    look_at_all = (0..64).filter(|index| bound[*index as usize].is_some()).collect();
                }
                ScanStep::Turn => {
                    let used: BTreeSet<u8> = bound.iter().flatten().copied().collect();
                    let bands = (0..BANDS as u8).filter(|band| scan.bands() >> band & 1 == 1);
                    prop_assert_eq!(bands.collect::<BTreeSet<_>>(), used);
                    let hinted = bound.iter().flatten().count() >= HINT_FROM as usize;
                    prop_assert_eq!(scan.is_hinted(), hinted);
                    let candidates = scan.candidates();
                    let mut visited = BTreeSet::new();
                    for band in 0..BANDS as u8 {
                        for index in scan.visit(candidates, Band::new(band).unwrap()) {
                            prop_assert_eq!(bound[index as usize], Some(band));
                            prop_assert!(visited.insert(index), "{} twice", index);
                            if waiting.remove(&index) {
                                hidden.remove(&index);
                                drained[index as usize] = drained[index as usize].wrapping_add(1);
                                scan.was_busy(index);
                            } else if scan.was_idle(index, drained[index as usize]) {
                                prop_assert!(hinted);
                            }
                        }
                    }
                    let all: BTreeSet<u32> =
                        (0..64).filter(|index| bound[*index as usize].is_some()).collect();
                    prop_assert!(visited.is_subset(&all));
                    if !hinted {
                        prop_assert_eq!(&visited, &all);
                    }
                    look_at_all.retain(|index| all.contains(index));
                    prop_assert!(visited.is_superset(&look_at_all));
                    look_at_all.clear();
                    prop_assert!(waiting.is_subset(&hidden), "{:?} were raised in vain", waiting);
                }
            }
        }
    }

    /// In as many turns as there are numbers, each connection of a band comes first at least once.
    #[test]
    fn everybody_comes_first(members in proptest::collection::btree_set(0u32..64, 2..16)) {
        let page = HeapWords::region(8);
        let scan = Scan::new(page.word(0).unwrap());
        for index in &members {
            scan.bind(*index, Band::NORMAL);
        }
        let first: BTreeSet<u32> = (0..64)
            .filter_map(|_| scan.visit(scan.candidates(), Band::NORMAL).next())
            .collect();
        prop_assert_eq!(first, members);
    }
}
