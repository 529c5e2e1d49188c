//! What the running thread does with its kernel lane: messages that make sense, or nearly, and arbitrary words anywhere in its region.

use super::Run;
use super::invocations::Message;
use baton_kernel_core::cap::Cap;
use baton_kernel_core::mem::{KernelLane, Paddr, UserWord};
use baton_sel4_abi::baton::asynchronous::{self, kind};
use baton_sel4_abi::baton::{BatonCall, region};
use baton_sel4_abi::{KernelLaneLabel, Syscall};

/// Words from the start of a region in which nearly everything of a small lane is.
const NEAR_WORDS: u64 = 256;
/// Slots of lanes at most (log2).
const SLOT_BITS: u64 = 3;

impl Run<'_> {
    /// Writes into the running thread's lane, and then mostly has it drained. Where the thread has none, it is given one.
    pub(super) fn use_lane(&mut self) {
        let fake = &self.toys.fake;
        let lane = Paddr::new(fake.current().lane.get());
        if fake.kernel().mem.get_or_null::<KernelLane>(lane).is_none() {
            return self.bind_lane();
        }
        for _ in 0..1 + self.input.below(6) {
            match self.input.below(8) {
                0 => self.scribble(lane),
                1 => self.send_out_of(lane, asynchronous_signal),
                _ => self.send_out_of(lane, Run::invocation),
            }
        }
        let (call, cap, signal) = match self.input.below(8) {
            0 => return,
            1 => (BatonCall::Park, self.source(), 0),
            2 => (BatonCall::SignalPark, self.source(), self.slot()),
            _ => (BatonCall::Doorbell, 0, 0),
        };
        let before = self.drained(lane);
        self.enter(call.number().cast_unsigned(), cap, signal);
        let performed = self.drained(lane).wrapping_sub(before) & u64::from(u32::MAX);
        // More than there are slots only where a lane was bound anew, or records are broken.
        if performed <= 1 << SLOT_BITS {
            self.reached.note_messages(performed);
        }
    }

    /// How far the lane has been drained.
    fn drained(&self, lane: Paddr) -> u64 {
        let record: &KernelLane = self.toys.fake.kernel().mem.get(lane);
        record.head.get()
    }

    fn bind_lane(&mut self) {
        let own = self.toys.fake.current_address();
        let lane = self.slot_with(|cap| matches!(cap, Cap::KernelLane { .. }));
        let thread = self.slot_with(|cap| *cap == Cap::Thread { tcb: own });
        let bulk = self.input.pick(&[0, 64, 128]);
        let start = self.input.pick(&[0, 0xff, 0xfe, 0xfc]);
        let message = Message {
            cap: lane,
            label: KernelLaneLabel::Bind.number(),
            // Near where positions wrap, more often than not.
            words: vec![
                self.input.below(SLOT_BITS + 1),
                bulk,
                bulk,
                start | u64::from(u32::MAX) & !0xff,
            ],
            caps: vec![thread],
        };
        self.send(Syscall::Call, &message);
    }

    /// A word of the region that the thread writes. None if there is no memory, which only broken records bring about.
    fn lane_word(&self, lane: Paddr, index: u64) -> Option<&UserWord> {
        let mem = self.toys.fake.kernel().mem;
        let record: &KernelLane = mem.get(lane);
        let region = Paddr::new(record.out_region.get());
        let [word] = mem.user_words::<1>(region.add(index.wrapping_mul(8)))?;
        Some(word)
    }

    fn set_lane_word(&self, lane: Paddr, index: u64, value: u64) {
        if let Some(word) = self.lane_word(lane, index) {
            word.set(value);
        }
    }

    /// Words of any content, often where the positions are, within the region.
    fn scribble(&mut self, lane: Paddr) {
        let record: &KernelLane = self.toys.fake.kernel().mem.get(lane);
        // The first half of the lane's pages, but for the record.
        let page_words = 512;
        let bits = record.size_bits.get().clamp(14, 21);
        let words = (1 << (bits - 4)) - page_words;
        for _ in 0..1 + self.input.below(8) {
            let index = match self.input.below(4) {
                0 => region::TAIL_REQUESTS as u64,
                1 => self.input.raw() % words,
                _ => self.input.raw() % NEAR_WORDS,
            };
            let value = self.input.word();
            self.set_lane_word(lane, index, value);
        }
    }

    /// Writes a message behind those that are published, and publishes it.
    fn send_out_of(&mut self, lane: Paddr, make: fn(&mut Self) -> Message) {
        let message = make(self);
        let record: &KernelLane = self.toys.fake.kernel().mem.get(lane);
        let (mask, bulk) = (record.mask.get(), record.request_bulk.get());
        let published = self.lane_word(lane, region::TAIL_REQUESTS as u64);
        let position = published.map_or(0, UserWord::get) & u64::from(u32::MAX);
        let stride = region::SLOT_STRIDE as u64;
        let at = region::SLOTS as u64 + (position & mask) * stride;
        let token = match self.input.below(8) {
            0 => self.input.word(),
            _ => position & mask | u64::from(self.input.byte()) << 16,
        };
        let mut payload = vec![message.cap];
        payload.extend(&message.caps);
        let long = 1 + message.caps.len() + message.words.len() > 6 || self.input.below(8) == 0;
        if long {
            payload.resize(4, 0);
            payload.push(message.words.len() as u64 * 8);
            // Behind the slots, and the one of the answer lane. Wrapping: the record may be a broken one.
            let slots = mask.wrapping_add(2).wrapping_mul(stride);
            let first = (region::SLOTS as u64).wrapping_add(slots);
            let first = first.wrapping_add((token & mask).wrapping_mul(bulk) / 8);
            for (index, &word) in (0..bulk / 8).zip(&message.words) {
                self.set_lane_word(lane, first.wrapping_add(index), word);
            }
        } else {
            payload.extend(&message.words);
        }
        let mut method = asynchronous::method(message.label, message.caps.len() as u64 & 3, long);
        let mut what = self
            .input
            .pick(&[kind::REQUEST, kind::REQUEST, kind::ONE_WAY]);
        let mut words = payload.len() as u64;
        match self.input.below(32) {
            0 => what = u64::from(self.input.byte()),
            1 => method = self.input.raw() as u16,
            2 => words = u64::from(self.input.byte()),
            _ => {}
        }
        let head = words | what << 8 | u64::from(method) << 16;
        self.set_lane_word(lane, at, head << 32);
        self.set_lane_word(lane, at + 1, token);
        for (index, &word) in (0..6).zip(&payload) {
            self.set_lane_word(lane, at + 2 + index, word);
        }
        self.set_lane_word(lane, region::TAIL_REQUESTS as u64, position + 1);
    }
}

/// A message that signals, by whatever capability.
fn asynchronous_signal(run: &mut Run<'_>) -> Message {
    let wanted = |cap: &Cap| matches!(cap, Cap::Notification { .. });
    Message {
        cap: run.slot_with(wanted),
        ..Message::default()
    }
}
