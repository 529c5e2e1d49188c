//! A kernel lane as the thread that it is bound to sees it: regions mapped, messages written and answers read by hand.

use super::{DEPTH, ROOT, World};
use baton_kernel_core::mem::reg;
use baton_sel4_abi::baton::asynchronous::{kind, method};
use baton_sel4_abi::baton::{kernel_lane_in_page, kernel_lane_pages, region};
use baton_sel4_abi::{
    BatonCall, CapRights, Error, KernelLaneLabel, Label, ObjectType, PAGE_BITS, slots,
};
use std::cell::Cell;

/// Where regions are mapped, within the table that [`World::page`] makes.
const REGIONS: u64 = 0x1010_0000;
const STRIDE: u64 = region::SLOT_STRIDE as u64 * 8;

/// How a lane is to be bound.
#[derive(Clone, Copy)]
pub struct Shape {
    pub size_bits: u64,
    pub slot_bits: u64,
    pub request_bulk: u64,
    pub answer_bulk: u64,
    pub start: u32,
}

/// Eight slots with bulk buffers for the longest messages.
pub const SHAPE: Shape = Shape {
    size_bits: 15,
    slot_bits: 3,
    request_bulk: 512,
    answer_bulk: 1024,
    start: 0,
};

/// An answer: its token, the error's label, and the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub token: u64,
    pub error: Option<Error>,
    pub words: [u64; 5],
}

/// A kernel lane.
pub struct Lane<'w> {
    world: &'w World,
    pub cap: u64,
    /// The slot of the first page's capability; the others follow.
    pub frames: u64,
    pub shape: Shape,
    base: u64,
    pub tail: Cell<u32>,
    /// The next answer.
    head: Cell<u32>,
    next_token: Cell<u64>,
}

impl World {
    /// An invocation with a label of Baton's own.
    pub fn invoke_raw(
        &self,
        cap: u64,
        label: u64,
        words: &[u64],
        caps: &[u64],
    ) -> Result<Vec<u64>, Error> {
        use baton_kernel_fake::Message;
        let message = Message { label, words, caps };
        self.fake
            .syscall(baton_sel4_abi::Syscall::Call, cap, message);
        self.got().result()
    }

    pub fn lane_invoke(
        &self,
        cap: u64,
        label: KernelLaneLabel,
        words: &[u64],
        caps: &[u64],
    ) -> Result<(), Error> {
        self.invoke_raw(cap, label.number(), words, caps)?;
        Ok(())
    }

    /// A lane whose regions are mapped, and that is bound to the thread.
    pub fn lane(&self, thread: u64, shape: Shape) -> Lane<'_> {
        let lane = self.unbound_lane(self.memory, shape);
        lane.bind(thread).expect("binding");
        lane
    }

    /// A lane made of that untyped, whose regions are mapped.
    pub fn unbound_lane(&self, untyped: u64, shape: Shape) -> Lane<'_> {
        let cap = self.slot();
        self.retype(untyped, ObjectType::KernelLane, shape.size_bits, cap, 1)
            .expect("memory suffices");
        // The table for the addresses below.
        self.page();
        let pages = kernel_lane_pages(shape.size_bits);
        let base = REGIONS + (cap % 64) * 0x4000;
        let frames = self.slots(pages);
        for page in 1..pages {
            let slot = frames + page - 1;
            self.lane_invoke(
                cap,
                KernelLaneLabel::GetFrame,
                &[page, slot, DEPTH],
                &[ROOT],
            )
            .expect("a frame");
            let vaddr = base + (page << PAGE_BITS);
            self.map(
                slot,
                slots::INIT_THREAD_VSPACE,
                vaddr,
                CapRights::READ_WRITE,
            )
            .expect("mapping");
        }
        Lane {
            world: self,
            cap,
            frames,
            shape,
            base,
            tail: Cell::new(shape.start),
            head: Cell::new(shape.start),
            next_token: Cell::new(0),
        }
    }

    /// The running thread makes a call of Baton's own; `a0` and `a6` afterwards, if it still runs.
    pub fn baton_call(&self, call: BatonCall, a0: u64, a1: u64) -> Option<(u64, u64)> {
        let tcb = self.fake.current();
        let caller = self.fake.current_address();
        tcb.context
            .set::<{ reg::A7 }>(call.number().cast_unsigned());
        tcb.context.set::<{ reg::A0 }>(a0);
        tcb.context.set::<{ reg::A1 }>(a1);
        tcb.context.set::<{ reg::A0 + 6 }>(99);
        self.fake.enter();
        if self.fake.is_idle() || self.fake.current_address() != caller {
            return None;
        }
        Some((
            tcb.context.get::<{ reg::A0 }>(),
            tcb.context.get::<{ reg::A0 + 6 }>(),
        ))
    }
}

impl Lane<'_> {
    pub fn bind(&self, thread: u64) -> Result<(), Error> {
        let Shape {
            slot_bits,
            request_bulk,
            answer_bulk,
            start,
            ..
        } = self.shape;
        let words = [slot_bits, request_bulk, answer_bulk, u64::from(start)];
        self.tail.set(start);
        self.head.set(start);
        self.world
            .lane_invoke(self.cap, KernelLaneLabel::Bind, &words, &[thread])
    }

    pub fn slots(&self) -> u64 {
        1 << self.shape.slot_bits
    }

    /// The address of a word of the region that the thread writes.
    pub fn out_word(&self, index: u64) -> u64 {
        self.base + (1 << PAGE_BITS) + index * 8
    }

    /// The address of a word of the region that the kernel writes.
    pub fn in_word(&self, index: u64) -> u64 {
        let page = kernel_lane_in_page(self.shape.size_bits);
        self.base + (page << PAGE_BITS) + index * 8
    }

    pub fn store(&self, index: u64, value: u64) {
        self.world
            .fake
            .store(self.out_word(index), value)
            .expect("the thread's region is mapped");
    }

    pub fn load(&self, index: u64) -> u64 {
        self.world
            .fake
            .load(self.in_word(index))
            .expect("the kernel's region is mapped")
    }

    /// The first word of the slot at a position.
    pub fn slot_word(&self, position: u32) -> u64 {
        let index = u64::from(position) % self.slots();
        region::SLOTS as u64 + index * STRIDE / 8
    }

    /// Writes a message and does not publish it.
    pub fn write(&self, kind: u64, method: u16, token: u64, payload: &[u64]) {
        let at = self.slot_word(self.tail.get());
        let head = payload.len() as u64 | kind << 8 | u64::from(method) << 16;
        self.store(at, head << 32);
        self.store(at + 1, token);
        for (index, &word) in (0..).zip(payload) {
            self.store(at + 2 + index, word);
        }
        self.tail.set(self.tail.get().wrapping_add(1));
    }

    pub fn publish(&self) {
        self.store(region::TAIL_REQUESTS as u64, u64::from(self.tail.get()));
    }

    pub fn push(&self, kind: u64, method: u16, token: u64, payload: &[u64]) {
        self.write(kind, method, token, payload);
        self.publish();
    }

    fn token(&self) -> u64 {
        let number = self.next_token.get();
        self.next_token.set(number + 1);
        (number % self.slots()) | (number << 16)
    }

    /// Publishes an invocation in the short form if it fits, else in the long form, and returns its token.
    pub fn request(&self, cap: u64, label: u64, words: &[u64], caps: &[u64]) -> u64 {
        if 1 + caps.len() + words.len() <= 6 {
            let token = self.token();
            let mut payload = vec![cap];
            payload.extend(caps);
            payload.extend(words);
            let method = method(label, caps.len() as u64, false);
            self.push(kind::REQUEST, method, token, &payload);
            return token;
        }
        self.request_long(cap, label, words, caps)
    }

    pub fn request_long(&self, cap: u64, label: u64, words: &[u64], caps: &[u64]) -> u64 {
        let token = self.token();
        let extra = |index| caps.get(index).copied().unwrap_or(0);
        let payload = [cap, extra(0), extra(1), extra(2), words.len() as u64 * 8];
        let bulk = self.request_bulk(token & 0xffff);
        for (index, &word) in (0..).zip(words) {
            self.store(bulk + index, word);
        }
        let method = method(label, caps.len() as u64, true);
        self.push(kind::REQUEST, method, token, &payload);
        token
    }

    /// First word of the bulk buffer of a request.
    pub fn request_bulk(&self, credit: u64) -> u64 {
        let slots = (self.slots() + 1) * STRIDE / 8;
        region::SLOTS as u64 + slots + credit * self.shape.request_bulk / 8
    }

    /// The words in the bulk buffer of an answer.
    pub fn long_words(&self, answer: Answer) -> Vec<u64> {
        let slots = (self.slots() + 1) * STRIDE / 8;
        let credit = answer.token & 0xffff;
        let at = region::SLOTS as u64 + slots + credit * self.shape.answer_bulk / 8;
        let [.., bytes] = answer.words;
        (0..bytes / 8).map(|index| self.load(at + index)).collect()
    }

    /// Takes the next answer.
    pub fn answer(&self) -> Option<Answer> {
        let position = self.head.get();
        if self.load(region::TAIL_ANSWERS as u64) == u64::from(position) {
            return None;
        }
        self.head.set(position.wrapping_add(1));
        // Behind the one slot of the other lane.
        let at = self.slot_word(position) + STRIDE / 8;
        assert_eq!(self.load(at), (6 | kind::ANSWER << 8) << 32);
        let label = self.load(at + 2);
        Some(Answer {
            token: self.load(at + 1),
            error: match label {
                0 => None,
                label => Some(Error::from_label(label).expect("an error")),
            },
            words: [3, 4, 5, 6, 7].map(|word| self.load(at + word)),
        })
    }

    pub fn answers(&self) -> Vec<Answer> {
        std::iter::from_fn(|| self.answer()).collect()
    }

    /// Has the kernel drain the lane of the running thread; what it says.
    pub fn doorbell(&self) -> u64 {
        let (a0, _) = self
            .world
            .baton_call(BatonCall::Doorbell, 0, 0)
            .expect("the caller goes on");
        a0
    }

    /// One invocation, drained at once.
    pub fn call(&self, cap: u64, label: Label, words: &[u64], caps: &[u64]) -> Answer {
        let token = self.request(cap, label.number(), words, caps);
        assert_eq!(self.doorbell(), 0);
        let answer = self.answer().expect("an answer");
        assert_eq!(answer.token, token);
        answer
    }
}
