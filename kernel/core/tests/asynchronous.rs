//! Whatever a hostile thread puts into its kernel lane, and however that is mixed with system calls, revocations and
//! interrupts: the capabilities are afterwards as some sequence of system calls leaves them, and the answers are theirs.
//!
//! Two machines do the same. On one, invocations go through the lane, whose every word the thread may scribble over; on the other, the
//! same invocations are system calls, in the order in which the lane's messages were performed. After that all of memory must be
//! alike, but for what is the lane's and the caller's own. Start elsewhere with `BATON_SEED=N`, go on longer with `BATON_WORLDS=N`.

mod common;

use baton_kernel_core::cap::Cap;
use baton_kernel_core::mem::{KernelLane, Paddr, UserWord, reg, tcb_slot};
use baton_kernel_fake::{Fake, Message, RAM_BYTES, RAM_START};
use baton_sel4_abi::baton::asynchronous::{self, kind};
use baton_sel4_abi::baton::region;
use baton_sel4_abi::{
    BatonCall, CapRights, Error, KernelLaneLabel, Label, ObjectType, Syscall, slots,
};
use common::lane::{SHAPE, Shape};
use common::random::{Random, number};
use common::{DEPTH, ROOT, World};

const TCB: u64 = slots::INIT_THREAD_TCB;
const STRIDE: u64 = region::SLOT_STRIDE as u64;
/// Slots that things are moved between.
const SLOTS: u64 = 48;
/// Those of them that are full at first.
const FULL: u64 = 16;

/// An invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    cap: u64,
    label: u64,
    words: Vec<u64>,
    caps: Vec<u64>,
}

/// What a slot says, by `docs/abi.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    /// Passed over.
    Nothing,
    /// Answered with that error if it wants an answer.
    Refused(Error),
    Call(Call),
}

#[derive(Clone, Debug)]
struct Submitted {
    meaning: Meaning,
    answered: bool,
    long: bool,
    token: u64,
}

/// One machine, and what a thread on it has in its hands.
struct Side {
    world: World,
    first: u64,
    /// The lane's pages (physical).
    at: u64,
    shape: Shape,
}

impl Side {
    fn new(shape: Shape) -> Self {
        let world = World::new();
        let first = world.slots(SLOTS);
        for (index, object, bits) in [
            (0, ObjectType::Endpoint, 0),
            (1, ObjectType::Notification, 0),
            (2, ObjectType::Tcb, 0),
            (3, ObjectType::Page, 0),
            (4, ObjectType::PageTable, 0),
            (5, ObjectType::CapTable, 4),
            (6, ObjectType::Untyped, 15),
            (7, ObjectType::Untyped, 12),
        ] {
            world
                .retype(world.memory, object, bits, first + index, 1)
                .expect("memory suffices");
        }
        for (index, source, data) in [
            (8, first, 5),
            (9, first + 1, 4),
            (10, ROOT, 0),
            (11, slots::INIT_THREAD_VSPACE, 0),
        ] {
            let words = [
                first + index,
                DEPTH,
                source,
                DEPTH,
                CapRights::ALL.word(),
                data,
            ];
            let label = match data {
                0 => Label::CNodeCopy,
                _ => Label::CNodeMint,
            };
            world
                .invoke(ROOT, label, &words, &[ROOT])
                .expect("a free slot");
        }
        let thread = world.thread(200);
        world.move_to(thread.cap, first + 12).expect("a free slot");
        // The lane, and one page each way, are among what is moved, mapped and revoked.
        let lane = world.lane(TCB, shape);
        let Cap::KernelLane { address, .. } = world.cap_in(lane.cap) else {
            panic!("a lane");
        };
        let at = address.value();
        world.move_to(lane.cap, first + 13).expect("a free slot");
        world.move_to(lane.frames, first + 14).expect("a free slot");
        let last = lane.frames + 4;
        world.move_to(last, first + 15).expect("a free slot");
        Side {
            world,
            first,
            at,
            shape,
        }
    }

    fn record(&self) -> &KernelLane {
        self.world.fake.kernel().mem.get(Paddr::new(self.at))
    }

    fn is_bound(&self) -> bool {
        self.record().tcb.get() != 0
    }

    fn is_busy(&self) -> bool {
        self.record().flags.get() & 2 != 0
    }

    fn slots(&self) -> u64 {
        1 << self.shape.slot_bits
    }

    fn out(&self, word: u64) -> u64 {
        self.world.fake.physical(self.at + 0x1000 + word * 8)
    }

    fn set_out(&self, word: u64, value: u64) {
        self.world
            .fake
            .set_physical(self.at + 0x1000 + word * 8, value);
    }

    fn inn(&self, word: u64) -> u64 {
        let middle = 1 << (self.shape.size_bits - 1);
        self.world.fake.physical(self.at + middle + word * 8)
    }

    fn slot_at(&self, position: u32) -> u64 {
        region::SLOTS as u64 + u64::from(position) % self.slots() * STRIDE
    }

    fn request_bulk(&self, credit: u64) -> u64 {
        region::SLOTS as u64 + (self.slots() + 1) * STRIDE + credit * self.shape.request_bulk / 8
    }

    fn head(&self) -> u32 {
        self.record().head.get() as u32
    }

    fn tail(&self) -> u32 {
        self.out(region::TAIL_REQUESTS as u64) as u32
    }

    /// What stands in the slot at a position.
    fn submitted(&self, position: u32) -> Submitted {
        let at = self.slot_at(position);
        let head = self.out(at) >> 32;
        let (words, what, method) = (head & 0xff, head >> 8 & 0xff, head >> 16);
        let token = self.out(at + 1);
        let payload: Vec<u64> = (0..6).map(|word| self.out(at + 2 + word)).collect();
        let long = method & asynchronous::LONG != 0;
        Submitted {
            meaning: match what {
                kind::REQUEST | kind::ONE_WAY => self.meaning(method, words, token, &payload),
                _ => Meaning::Nothing,
            },
            answered: what == kind::REQUEST,
            long,
            token,
        }
    }

    fn meaning(&self, method: u64, words: u64, token: u64, payload: &[u64]) -> Meaning {
        if method & asynchronous::RESERVED != 0 {
            return Meaning::Refused(Error::IllegalOperation);
        }
        let count = method >> asynchronous::EXTRA_CAPS_SHIFT & 3;
        let caps = payload[1..][..count as usize].to_vec();
        let arguments = if method & asynchronous::LONG != 0 {
            let (credit, bytes) = (token & 0xffff, payload[4]);
            if words < 5 {
                return Meaning::Refused(Error::TruncatedMessage);
            }
            if credit >= self.slots() || bytes > self.shape.request_bulk.min(960) {
                return Meaning::Refused(Error::RangeError);
            }
            if bytes % 8 != 0 {
                return Meaning::Refused(Error::AlignmentError);
            }
            let at = self.request_bulk(credit);
            (0..bytes / 8).map(|word| self.out(at + word)).collect()
        } else {
            if words > 6 {
                return Meaning::Refused(Error::RangeError);
            }
            if words < 1 + count {
                return Meaning::Refused(Error::TruncatedMessage);
            }
            payload[1 + count as usize..words as usize].to_vec()
        };
        let call = Call {
            cap: payload[0],
            label: method & 0xfff,
            words: arguments,
            caps,
        };
        // Every number of a slot resolves, others do not.
        if call.cap >= 1 << 13 || call.caps.iter().any(|&cap| cap >= 1 << 13) {
            return Meaning::Refused(Error::FailedLookup);
        }
        Meaning::Call(call)
    }

    /// Whether it is one of those that are refused out of a lane.
    fn is_refused(&self, call: &Call) -> bool {
        let own = self.world.cap_in(TCB);
        let named = |index: usize| {
            let cap = call.caps.get(index);
            cap.is_some_and(|&cap| self.world.cap_in(cap) == own)
        };
        match self.world.cap_in(call.cap) {
            Cap::Endpoint { .. } | Cap::Reply { .. } | Cap::KernelLane { .. } => true,
            cap @ Cap::Thread { .. } => {
                cap == own || (call.label == Label::TcbCopyRegisters.number() && named(0))
            }
            Cap::CNode { .. } => call.label == Label::CNodeSaveCaller.number(),
            Cap::Domain => call.label == Label::DomainSet.number() && named(0),
            _ => false,
        }
    }

    /// The same as a system call of the root task; label and words of the answer, if it still runs.
    fn call(&self, call: &Call) -> Option<(u64, Vec<u64>)> {
        let fake = &self.world.fake;
        let caller = fake.current_address();
        // A message may have taken the caller's IPC buffer away: the test cannot go on then.
        let buffer = fake.current().slots[tcb_slot::BUFFER].cap();
        if !matches!(Cap::decode(buffer), Cap::Frame { .. }) {
            return None;
        }
        let start = fake.current().context.get::<{ reg::NEXT_PC }>();
        let message = Message {
            label: call.label,
            words: &call.words,
            caps: &call.caps,
        };
        fake.syscall(Syscall::Call, call.cap, message);
        while !fake.is_idle()
            && fake.current_address() == caller
            && fake.current().context.get::<{ reg::NEXT_PC }>() == start
        {
            fake.take_interrupts();
            fake.enter();
        }
        if fake.is_idle() || fake.current_address() != caller {
            return None;
        }
        let reply = fake.reply();
        Some((reply.info.label(), reply.words))
    }
}

/// The two machines.
struct Pair {
    lane: Side,
    calls: Side,
    /// The next answer.
    answers: u32,
    /// How many invocations have succeeded, of all that were performed.
    succeeded: u64,
    performed: u64,
    /// The second machine could not follow: the message took away what the test itself needs to make system calls.
    lost: bool,
}

impl Pair {
    fn slot(&self, random: &mut Random) -> u64 {
        match random.below(3) {
            0 => self.lane.first + random.below(SLOTS),
            _ => self.lane.first + random.below(FULL),
        }
    }

    fn cap(&self, random: &mut Random) -> u64 {
        match random.below(16) {
            0 => random.pick(&[4, 5, 6, slots::DOMAIN, TCB]),
            1 => random.next(),
            2 => slots::INIT_THREAD_VSPACE,
            3..7 => ROOT,
            _ => self.slot(random),
        }
    }

    fn word(&self, random: &mut Random) -> u64 {
        match random.below(10) {
            0 => random.next(),
            1 => 1 << random.below(64),
            2 => u64::MAX,
            3 | 4 => 64,
            5 => random.below(9),
            6 => random.below(256),
            7 => 0x1000_0000 + (random.below(64) << 12),
            _ => self.slot(random),
        }
    }

    /// An invocation that may well succeed, or any.
    fn random_call(&self, random: &mut Random) -> Call {
        let rights = CapRights::ALL.word();
        let (from, to) = (self.slot(random), self.slot(random));
        let make = |cap, label: Label, words: &[u64], caps: &[u64]| Call {
            cap,
            label: label.number(),
            words: words.to_vec(),
            caps: caps.to_vec(),
        };
        match random.below(14) {
            0 => make(ROOT, Label::CNodeDelete, &[from, DEPTH], &[]),
            1 => make(ROOT, Label::CNodeRevoke, &[from, DEPTH], &[]),
            2 | 3 => {
                let words = [to, DEPTH, from, DEPTH, rights, random.below(4)];
                let label = random.pick(&[Label::CNodeCopy, Label::CNodeMint]);
                make(ROOT, label, &words, &[ROOT])
            }
            4 => {
                let words = [to, DEPTH, from, DEPTH];
                make(ROOT, Label::CNodeMove, &words, &[ROOT])
            }
            5..8 => {
                let untyped = self.lane.first + random.pick(&[6, 6, 7]);
                let (kind, bits) = (random.below(9), random.below(13));
                let words = [kind, bits, 0, 0, to, 1 + random.below(3)];
                make(untyped, Label::UntypedRetype, &words, &[ROOT])
            }
            8 => {
                let vaddr = 0x1000_0000 + (random.below(256) << 12);
                make(
                    from,
                    Label::PageMap,
                    &[vaddr, 3, 0],
                    &[slots::INIT_THREAD_VSPACE],
                )
            }
            9 => make(from, Label::PageUnmap, &[], &[]),
            10 => {
                let label = random.pick(&[Label::TcbSetTlsBase, Label::TcbReadRegisters]);
                make(from, label, &[0, 1 + random.below(33)], &[])
            }
            _ => {
                let (words, caps) = (random.below(9), random.below(4));
                Call {
                    cap: self.cap(random),
                    label: random.below(42),
                    words: (0..words).map(|_| self.word(random)).collect(),
                    caps: (0..caps).map(|_| self.cap(random)).collect(),
                }
            }
        }
    }

    /// Writes a message, mostly a sensible one, and publishes it.
    fn submit(&self, random: &mut Random) {
        let side = &self.lane;
        let position = side.tail();
        let at = side.slot_at(position);
        let token = (u64::from(position) % side.slots()) | (random.next() << 16);
        let call = self.random_call(random);
        let mut payload = vec![call.cap];
        payload.extend(&call.caps);
        let long = 1 + call.caps.len() + call.words.len() > 6 || random.below(8) == 0;
        if long {
            payload.resize(4, 0);
            payload.push(call.words.len() as u64 * 8);
            for (index, &word) in (0..).zip(&call.words) {
                side.set_out(side.request_bulk(token & 0xffff) + index, word);
            }
        } else {
            payload.extend(&call.words);
        }
        let mut method = asynchronous::method(call.label, call.caps.len() as u64, long);
        let mut what = random.pick(&[kind::REQUEST, kind::REQUEST, kind::ONE_WAY]);
        match random.below(40) {
            0 => what = random.below(256),
            1 => method = random.next() as u16,
            2 => payload.truncate(random.below(6) as usize),
            3 => payload[0] = random.next(),
            _ => {}
        }
        let head = payload.len() as u64 | what << 8 | u64::from(method) << 16;
        side.set_out(at, head << 32 | random.next() >> 32);
        side.set_out(at + 1, token);
        for (index, &word) in (0..).zip(&payload) {
            side.set_out(at + 2 + index, word);
        }
        side.set_out(
            region::TAIL_REQUESTS as u64,
            u64::from(position.wrapping_add(1)),
        );
    }

    /// Scribbles over what the thread can write.
    fn scribble(&self, random: &mut Random) {
        let words = (1 << self.lane.shape.size_bits) / 16 - 512;
        for _ in 0..random.below(20) {
            self.lane.set_out(random.below(words), self.word(random));
        }
        if random.below(10) != 0 {
            // A possible tail, so that it goes on.
            let tail = self.lane.head().wrapping_add(random.below(9) as u32);
            self.lane
                .set_out(region::TAIL_REQUESTS as u64, u64::from(tail));
        }
    }

    /// Enters the kernel on the first machine by `enter`, then makes the messages that were performed into system calls on the
    /// second. False if the root task does not run any more.
    fn entry(&mut self, enter: impl FnOnce(&Side) -> bool) -> bool {
        let head = self.lane.head();
        // With a message under way, the slot it came from says nothing any more.
        assert!(!self.lane.is_busy());
        // As many as the kernel may perform: those that it knows to be published, then those that the tail promises.
        let submitted: Vec<Submitted> = (0..2 * self.lane.slots() as u32)
            .map(|index| self.lane.submitted(head.wrapping_add(index)))
            .collect();
        let was_bound = self.lane.is_bound();
        let mut runs = enter(&self.lane);
        // One that was preempted goes on, whatever is written over it.
        while runs && self.lane.is_busy() {
            let at = self.lane.slot_at(self.lane.head());
            self.lane.set_out(at, u64::MAX);
            self.lane.world.fake.tick();
            runs = self.lane.world.fake.current_address() == self.root();
        }
        let bound = self.lane.is_bound();
        let mut performed = self.lane.head().wrapping_sub(head);
        if was_bound && !bound && self.calls.is_bound() {
            // Deleted by a message, which has no answer, and not by the system call before.
            performed += 1;
        }
        assert!(performed as usize <= submitted.len());
        for submitted in submitted.into_iter().take(performed as usize) {
            if !runs || !self.perform(submitted) {
                return false;
            }
        }
        runs
    }

    fn root(&self) -> Paddr {
        match self.lane.world.cap_in(TCB) {
            Cap::Thread { tcb } => tcb,
            other => panic!("the root task's thread: {other:?}"),
        }
    }

    /// One message as a system call; its answer must be the same.
    fn perform(&mut self, submitted: Submitted) -> bool {
        let side = &self.calls;
        let expected = match &submitted.meaning {
            Meaning::Nothing => None,
            Meaning::Refused(error) => Some((error.label(), None)),
            Meaning::Call(call) if side.is_refused(call) => {
                Some((Error::IllegalOperation.label(), None))
            }
            // The IPC buffer, its page tables, the image.
            Meaning::Call(call)
                if [9, 10].contains(&call.cap) || (16..side.first).contains(&call.cap) =>
            {
                self.lost = true;
                return false;
            }
            Meaning::Call(call) => match side.call(call) {
                Some((label, words)) => Some((label, Some(words))),
                // Another thread runs there now; here the answer is still written.
                None => return false,
            },
        };
        self.performed += 1;
        let Some((label, words)) = expected else {
            return true;
        };
        self.succeeded += u64::from(label == 0);
        if !submitted.answered || !self.lane.is_bound() {
            return true;
        }
        let at = self.lane.slot_at(self.answers) + STRIDE;
        self.answers = self.answers.wrapping_add(1);
        let found: Vec<u64> = (0..8).map(|word| self.lane.inn(at + word)).collect();
        let what = &submitted.meaning;
        assert_eq!(found[0], (6 | kind::ANSWER << 8) << 32, "{what:?}");
        assert_eq!((found[1], found[2]), (submitted.token, label), "{what:?}");
        if let Some(words) = words {
            let count = words.len().min(if submitted.long { 4 } else { 5 });
            assert_eq!(found[3..3 + count], words[..count], "{what:?}");
            if submitted.long && submitted.token & 0xffff < self.lane.slots() {
                assert_eq!(found[7], words.len() as u64 * 8, "{what:?}");
            }
        }
        true
    }

    /// One step. False if the root task does not run any more, or has lost its lane.
    fn step(&mut self, random: &mut Random) -> bool {
        let root = self.root();
        let runs = move |side: &Side| {
            !side.world.fake.is_idle() && side.world.fake.current_address() == root
        };
        match random.below(12) {
            0..6 => {
                let out = self.lane.tail().wrapping_sub(self.lane.head());
                if u64::from(out) < self.lane.slots() {
                    self.submit(random);
                }
                true
            }
            6 => {
                self.scribble(random);
                true
            }
            7 | 8 => {
                let call = self.random_call(random);
                let plain = |cap: u64| cap < 1 << 13 && cap != TCB;
                let own = call.label >= 1024;
                // A blocking send would stop the root task, and a fault end it.
                let sends = matches!(
                    self.lane.world.cap_in(call.cap % (1 << 13)),
                    Cap::Endpoint { .. } | Cap::Reply { .. } | Cap::KernelLane { .. }
                );
                if !plain(call.cap) || !call.caps.iter().all(|&cap| plain(cap)) || own || sends {
                    return true;
                }
                // First the call, then what the kernel drains in passing.
                let expected = self.calls.call(&call);
                let found = std::cell::Cell::new(None);
                let went_on = self.entry(|side| {
                    let answer = side.call(&call);
                    let runs = answer.is_some();
                    found.set(answer);
                    runs
                });
                if went_on {
                    assert_eq!(found.take(), expected, "{call:?}");
                }
                went_on && expected.is_some()
            }
            9 => {
                self.lane
                    .world
                    .fake
                    .hardware
                    .raise_timer_after_looks(random.below(4));
                self.entry(move |side| {
                    side.world.baton_call(BatonCall::Doorbell, 0, 0);
                    runs(side)
                })
            }
            10 => self.entry(move |side| {
                side.world.fake.tick();
                runs(side)
            }),
            _ => self.entry(move |side| {
                side.world.baton_call(BatonCall::Doorbell, 0, 0);
                runs(side)
            }),
        }
    }

    /// All memory is alike, but for what is the lane's and the caller's own.
    fn compare(&self) {
        let root = self.root().value();
        let buffer = match self.lane.world.cap_in(slots::INIT_THREAD_IPC_BUFFER) {
            Cap::Frame { address, .. } => address.value(),
            other => panic!("the IPC buffer: {other:?}"),
        };
        let lane = self.lane.at;
        let slots = root + core::mem::offset_of!(baton_kernel_core::mem::Tcb, slots) as u64;
        let (one, two) = (&self.lane.world.fake, &self.calls.world.fake);
        let own = |at: u64| {
            (root..slots).contains(&at)
                || (buffer..buffer + 0x1000).contains(&at)
                || (lane..lane + (1 << self.lane.shape.size_bits)).contains(&at)
        };
        for page in (RAM_START..RAM_START + RAM_BYTES).step_by(4096) {
            let words = |fake: &'_ Fake| {
                let words = fake.kernel().mem.user_words::<512>(Paddr::new(page));
                words.expect("a page of RAM").each_ref().map(UserWord::get)
            };
            let (found, expected) = (words(one), words(two));
            if found != expected {
                for (at, (found, expected)) in (page..).step_by(8).zip(found.iter().zip(expected)) {
                    assert!(own(at) || *found == expected, "the word at {at:#x}");
                }
            }
        }
    }
}

#[test]
fn a_hostile_lane_is_some_sequence_of_system_calls() {
    let seed = number("BATON_SEED").unwrap_or(1);
    let worlds = number("BATON_WORLDS").unwrap_or(12);
    let (mut performed, mut succeeded) = (0, 0);
    for seed in seed..seed + worlds {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let shape = Shape {
            start: random.pick(&[0, u32::MAX, u32::MAX - 20]),
            ..SHAPE
        };
        let mut pair = Pair {
            lane: Side::new(shape),
            calls: Side::new(shape),
            answers: shape.start,
            succeeded: 0,
            performed: 0,
            lost: false,
        };
        for _ in 0..400 {
            if !pair.step(&mut random) {
                break;
            }
            if !pair.lane.is_bound() {
                break;
            }
            if pair.lane.record().flags.get() & 1 != 0 {
                // Quarantined: bound anew, if its capability is still at hand.
                let mut slots = pair.lane.first..pair.lane.first + SLOTS;
                let is_lane = |slot: &u64| {
                    let cap = pair.lane.world.cap_in(*slot);
                    matches!(cap, Cap::KernelLane { address, .. } if address.value() == pair.lane.at)
                };
                let Some(lane) = slots.find(is_lane) else {
                    break;
                };
                for side in [&pair.lane, &pair.calls] {
                    let bind = [shape.slot_bits, 512, 1024, u64::from(shape.start)];
                    let (unbind, label) = (KernelLaneLabel::Unbind, KernelLaneLabel::Bind);
                    side.world
                        .lane_invoke(lane, unbind, &[], &[])
                        .expect("unbinding");
                    side.world
                        .lane_invoke(lane, label, &bind, &[TCB])
                        .expect("binding");
                }
                pair.answers = shape.start;
            }
        }
        if !pair.lost && !pair.lane.world.fake.is_idle() && !pair.lane.is_busy() {
            let (one, two) = (&pair.lane.world.fake, &pair.calls.world.fake);
            if one.current_address() == two.current_address() {
                pair.compare();
            }
        }
        performed += pair.performed;
        succeeded += pair.succeeded;
    }
    println!("{performed} messages, {succeeded} succeeded");
    assert!(
        worlds < 12 || succeeded > performed / 10,
        "it tests nothing: {succeeded} of {performed}"
    );
}
