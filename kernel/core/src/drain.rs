//! Asynchronous system calls: performing the messages of a kernel lane, and parking.
//!
//! A lane is work of the kernel for its thread, in that thread's time: only the running thread's lane is drained. That
//! happens when it asks for it ([`Kernel::doorbell`], [`Kernel::park`]), and a few messages at a time in passing, when it enters the
//! kernel anyway or is let run after an interrupt. After each message the kernel looks for an interrupt and for a thread of
//! higher priority.
//!
//! Invariants:
//! - a slot is copied once into the lane's record, which users do not reach, and only that copy is looked at. A message that is
//!   preempted goes on from there;
//! - what decodes and performs it is what does so for system calls (`syscall::decode`); capabilities are looked up when it is performed;
//! - a tail that is not a possible one quarantines the lane; nothing else that a user writes there can do more than be refused;
//! - an answer is written without looking for room: who has no more messages out than the lane has slots always has it.
//!
//! Neighbours: `lane` is the object; `syscall` calls in; `entry` drains in passing.

use crate::cap::{self, Cap, address_of};
use crate::error::{Answer, Decoded, Stop, SyscallError};
use crate::invocation::Invocation;
use crate::lane::{POSITION_MASK, SLOT_STRIDE_BYTES, flag};
use crate::machine::Machine;
use crate::message::MessageWords;
use crate::state::Kernel;
use crate::tcb::{ThreadState, is_runnable};
use baton_kernel_mem::{KernelLane, LaneSlot, Paddr, Slot, Tcb, UserWord, reg};
use baton_sel4_abi::baton::{
    BatonCall, Drained, Parked,
    asynchronous::{self, kind},
    lane_flag, region,
};
use baton_sel4_abi::message::ipc_buffer;
use baton_sel4_abi::{CapRights, Label, MSG_MAX_LENGTH};
use core::cell::Cell;

/// Messages performed in passing.
const IN_PASSING: u32 = 16;

/// What the upper half of an answer's first word says: six payload words, an answer, done.
const ANSWER_HEAD: u64 = (asynchronous::PAYLOAD_WORDS | (kind::ANSWER << 8)) << 32;

/// Register in which [`BatonCall::Park`] says what became of it.
pub(crate) const PARKED: usize = reg::A0 + 6;

/// Why draining has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing more is published.
    Empty,
    /// As many messages were performed as were to be.
    Enough,
    /// An interrupt waits.
    Interrupted,
    /// A thread of higher priority is to run, or the submitter has been stopped.
    Overruled,
    /// The lane is not the submitter's any more.
    Unbound,
    /// The tail was not a possible one.
    Quarantined,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// A system call of Baton's own.
    pub(crate) fn baton_syscall(self, current: &'m Tcb, call: BatonCall) {
        match call {
            BatonCall::Doorbell => self.doorbell(current),
            BatonCall::KernelEntries => self.tell_entries(current),
            BatonCall::Park => self.park(current, None),
            BatonCall::SignalPark => {
                let signal = current.context.get::<{ reg::A1 }>();
                self.park(current, Some(signal));
            }
        }
    }

    /// Performs all messages of the caller's lane.
    fn doorbell(self, current: &'m Tcb) {
        let answer = match self.lane_of(current) {
            None => Drained::NotBound,
            Some(lane) => match self.drain_all(current, lane) {
                None => return,
                Some(End::Unbound) => Drained::NotBound,
                Some(End::Quarantined) => Drained::Quarantined,
                Some(_) => {
                    lane.flags.set(lane.flags.get() & !flag::NEWS);
                    Drained::All
                }
            },
        };
        current.context.set::<{ reg::A0 }>(answer as u64);
    }

    /// Performs all messages of the caller's lane, signals, and receives by the capability in `a0`; does not wait if the lane has
    /// brought something that the caller may not have seen.
    fn park(self, current: &'m Tcb, signal: Option<u64>) {
        let mut parked = Parked::Received;
        if let Some(lane) = self.lane_of(current) {
            let Some(end) = self.drain_all(current, lane) else {
                return;
            };
            let flags = lane.flags.get();
            if end == End::Quarantined {
                parked = Parked::Quarantined;
            } else if flags & flag::NEWS != 0 {
                lane.flags.set(flags & !flag::NEWS);
                parked = Parked::Answers;
            }
        }
        // Last, so that it is never repeated.
        if let Some(pointer) = signal {
            self.signal_by(current, pointer);
            // As if it had been signalled by a call of its own: whoever was ready before comes first.
            self.queue_candidate_behind_others();
        }
        current.context.set::<PARKED>(parked as u64);
        match parked {
            Parked::Received => self.receive(current, true),
            Parked::Answers | Parked::Quarantined => current.context.set::<{ reg::A0 }>(0),
        }
    }

    /// Signals the notification that `pointer` names. If it names none, nobody is signalled: who has just lost the right to wake another must not
    /// fault for it while it goes to sleep.
    fn signal_by(self, current: &'m Tcb, pointer: u64) {
        if let Ok(slot) = self.lookup_slot(current, pointer)
            && let Cap::Notification {
                address,
                badge,
                rights,
            } = Cap::decode(slot.cap())
            && rights.contains(CapRights::WRITE)
        {
            self.send_signal(self.mem.get(address), badge);
        }
    }

    /// Drains the lane of the caller, whose system call is to be made again if it cannot be done in one go: then there is no answer.
    fn drain_all(self, current: &'m Tcb, lane: &'m KernelLane) -> Option<End> {
        // As for an invocation: what stops the caller has it make the call again.
        self.set_state(current, ThreadState::RESTART);
        let end = self.drain(current, lane, u32::MAX);
        if end == End::Interrupted {
            // Running, so that a tick counts as its time.
            self.set_state(current, ThreadState::RUNNING);
            self.interrupt();
            if ThreadState::of(current) == ThreadState::RUNNING {
                self.set_state(current, ThreadState::RESTART);
            }
            return None;
        }
        if end == End::Overruled || ThreadState::of(current) != ThreadState::RESTART {
            return None;
        }
        self.set_state(current, ThreadState::RUNNING);
        Some(end)
    }

    /// Performs a few messages of the running thread's lane, if it has one and nothing else is more urgent.
    #[cold]
    #[inline(never)]
    pub(crate) fn drain_in_passing(self, current: &'m Tcb) {
        if let Some(lane) = self.lane_of(current)
            && ThreadState::of(current) == ThreadState::RUNNING
            && !self.is_overruled(current)
        {
            self.drain(current, lane, IN_PASSING);
        }
    }

    /// Performs at most `most` messages, and publishes what came of them.
    fn drain(self, caller: &'m Tcb, lane: &'m KernelLane, most: u32) -> End {
        if lane.flags.get() & flag::QUARANTINED != 0 {
            return End::Quarantined;
        }
        let (head, tail) = (lane.head.get(), lane.tail.get());
        let end = self.drain_messages(caller, lane, most);
        if end != End::Unbound {
            self.publish(caller, lane, head, tail);
        }
        end
    }

    fn drain_messages(self, caller: &'m Tcb, lane: &'m KernelLane, most: u32) -> End {
        if lane.flags.get() & flag::RESUMED != 0 {
            let head = lane.head.get();
            let end = self.go_on(caller, lane, lane.info.get());
            if lane.head.get() != head {
                lane.flags.set(lane.flags.get() & !flag::RESUMED);
            }
            if let Some(end) = end {
                return end;
            }
        }
        for _ in 0..most {
            if lane.head.get() == lane.published.get()
                && let Err(end) = self.read_tail(lane)
            {
                return end;
            }
            let info = self.copy_slot(lane);
            if let Some(end) = self.go_on(caller, lane, info) {
                return end;
            }
        }
        End::Enough
    }

    /// Performs the message in the record and answers it. Says if draining ends with that.
    #[inline(always)]
    fn go_on(self, caller: &'m Tcb, lane: &'m KernelLane, info: u64) -> Option<End> {
        let result = self.perform(caller, lane, info);
        if lane.tcb.get() != self.mem.address(caller).value() {
            // The message has deleted the lane, or its thread.
            return Some(End::Unbound);
        }
        if let Err(Stop::Preempted) = result {
            lane.flags.set(lane.flags.get() | flag::RESUMED);
            return Some(End::Interrupted);
        }
        lane.head.set(next_position(lane.head.get()));
        if kind_of_message(info) == kind::REQUEST {
            self.push_answer(lane, info, result);
        }
        if self.is_overruled(caller) {
            return Some(End::Overruled);
        }
        if self.machine.interrupt_pending() {
            return Some(End::Interrupted);
        }
        None
    }

    /// Looks how far the thread has published.
    fn read_tail(self, lane: &'m KernelLane) -> Result<(), End> {
        let out_region = Paddr::new(lane.out_region.get());
        let Some(word) = self.lane_word(out_region, region::TAIL_REQUESTS) else {
            return Err(End::Unbound);
        };
        // Whoever wrote the slots before it did so on this core, and has entered the kernel since.
        let tail = word.get() & POSITION_MASK;
        let head = lane.head.get();
        if tail.wrapping_sub(head) & POSITION_MASK > lane.mask.get().wrapping_add(1) {
            lane.flags.set(lane.flags.get() | flag::QUARANTINED);
            return Err(End::Quarantined);
        }
        lane.published.set(tail);
        if tail == head {
            return Err(End::Empty);
        }
        Ok(())
    }

    /// Copies the next slot into the record, each word once, and returns what its head says.
    #[inline(always)]
    fn copy_slot(self, lane: &'m KernelLane) -> u64 {
        let slot: &LaneSlot = self.mem.get(slot_at(&lane.requests, &lane.head, lane));
        let [head, token, payload @ ..] = &slot.words;
        let info = head.get() >> 32;
        lane.info.set(info);
        lane.token.set(token.get());
        let [to @ .., _, _] = &lane.payload;
        for index in 0..asynchronous::PAYLOAD_WORDS as usize {
            to[index].set(payload[index].get());
        }
        info
    }

    /// Performs the message in the record.
    #[inline(always)]
    fn perform(self, caller: &'m Tcb, lane: &'m KernelLane, info: u64) -> Decoded {
        let method = info >> 16;
        let words = info & 0xff;
        let kind = kind_of_message(info);
        if kind != kind::REQUEST && kind != kind::ONE_WAY {
            // Calls are performed in order and at once; there is nothing to cancel. Other kinds are none.
            return Ok(Answer::Empty);
        }
        let count = (method >> asynchronous::EXTRA_CAPS_SHIFT) & 3;
        let (arguments, length) = if method & (asynchronous::LONG | asynchronous::RESERVED) == 0 {
            (short_arguments(lane, count), short_length(words, count)?)
        } else {
            (&lane.words, self.unusual_length(lane, method, words)?)
        };
        let [pointer, first, second, third, ..] = &lane.payload;
        let slot = self.lookup_cap(caller, pointer)?;
        let mut extra = [None; 3];
        if count != 0 {
            extra[0] = Some(self.lookup_cap(caller, first)?);
            if count > 1 {
                extra[1] = Some(self.lookup_cap(caller, second)?);
            }
            if count > 2 {
                extra[2] = Some(self.lookup_cap(caller, third)?);
            }
        }
        let invocation = Invocation {
            label: method & ((1 << asynchronous::LABEL_BITS) - 1),
            length,
            slot,
            extra,
            words: arguments,
            buffer: Some(&lane.buffer),
            caller,
            call: kind == kind::REQUEST,
            block: false,
        };
        self.check_asynchronous(&invocation)?;
        self.decode(&invocation)
    }

    /// The slot that a capability pointer of the message names.
    #[inline(always)]
    fn lookup_cap(self, caller: &'m Tcb, pointer: &Cell<u64>) -> Result<&'m Slot, SyscallError> {
        self.lookup_slot(caller, pointer.get())
            .map_err(|failure| SyscallError::FailedLookup {
                source: false,
                failure,
            })
    }

    /// Arguments of a message that is not in the short form, copied once.
    #[cold]
    #[inline(never)]
    fn unusual_length(
        self,
        lane: &'m KernelLane,
        method: u64,
        words: u64,
    ) -> Result<u64, SyscallError> {
        if method & asynchronous::RESERVED != 0 {
            return Err(SyscallError::IllegalOperation);
        }
        if lane.flags.get() & flag::RESUMED == 0 {
            lane.long_length.set(self.read_long(lane, words)?);
        }
        Ok(lane.long_length.get())
    }

    /// Refuses what makes no sense out of a lane: what may wait, what uses the caller's registers or reply capability, and what
    /// changes the caller or a lane.
    #[inline(always)]
    fn check_asynchronous(self, inv: &Invocation<'m>) -> Result<(), SyscallError> {
        let first = inv.slot.cap_first();
        let own = self.mem.address(inv.caller);
        let names_caller = |slot: Option<&Slot>| {
            slot.is_some_and(|slot| Cap::decode(slot.cap()) == Cap::Thread { tcb: own })
        };
        let refused = match cap::kind_of(first) {
            cap::kind::THREAD => {
                address_of(first) == own
                    || (inv.label == Label::TcbCopyRegisters.number() && names_caller(inv.extra[0]))
            }
            cap::kind::CNODE => inv.label == Label::CNodeSaveCaller.number(),
            cap::kind::DOMAIN => {
                inv.label == Label::DomainSet.number() && names_caller(inv.extra[0])
            }
            cap::kind::ENDPOINT | cap::kind::REPLY | cap::kind::KERNEL_LANE => true,
            _ => false,
        };
        if refused {
            return Err(SyscallError::IllegalOperation);
        }
        Ok(())
    }

    /// Reads the arguments of a message in the long form into the record, and returns how many there are.
    #[cold]
    fn read_long(self, lane: &'m KernelLane, words: u64) -> Result<u64, SyscallError> {
        if words < asynchronous::LONG_WORDS {
            return Err(SyscallError::TruncatedMessage);
        }
        let credit = lane.token.get() & 0xffff;
        if credit > lane.mask.get() {
            return Err(SyscallError::RangeError {
                min: 0,
                max: lane.mask.get(),
            });
        }
        let [.., bytes, _, _, _] = &lane.payload;
        let bytes = bytes.get();
        let max = lane.request_bulk.get().min(MSG_MAX_LENGTH * 8);
        if bytes > max {
            return Err(SyscallError::RangeError { min: 0, max });
        }
        if bytes & 7 != 0 {
            return Err(SyscallError::AlignmentError);
        }
        let at = bulk_at(&lane.requests, credit, lane.request_bulk.get(), lane);
        let mut copy = MessageWords::of_lane(lane);
        for index in 0..(bytes / 8) as usize {
            copy.push(self.lane_word(at, index).map_or(0, UserWord::get));
        }
        Ok(copy.length)
    }

    /// Writes the answer to the request in the record.
    #[inline(always)]
    fn push_answer(self, lane: &'m KernelLane, info: u64, result: Decoded) {
        let slot: &LaneSlot = self.mem.get(slot_at(&lane.answers, &lane.tail, lane));
        let [head, token, label, first, rest @ ..] = &slot.words;
        head.set(ANSWER_HEAD);
        token.set(lane.token.get());
        lane.tail.set(next_position(lane.tail.get()));
        let is_long = (info >> 16) & asynchronous::LONG != 0;
        match result {
            Ok(Answer::Empty) if !is_long => {
                label.set(0);
                first.set(0);
            }
            Ok(Answer::Word(word)) if !is_long => {
                label.set(0);
                first.set(word);
            }
            result => self.write_words(
                lane,
                is_long,
                result,
                label,
                [first, &rest[0], &rest[1], &rest[2], &rest[3]],
            ),
        }
    }

    /// Writes the words of an answer that has more than one, or is in the long form.
    #[cold]
    #[inline(never)]
    fn write_words(
        self,
        lane: &'m KernelLane,
        is_long: bool,
        result: Decoded,
        label: &UserWord,
        places: [&UserWord; 5],
    ) {
        let (error, length) = self.note_result(lane, result);
        label.set(error);
        for (to, from) in places.iter().zip(result_words(lane, length).chain([0; 5])) {
            to.set(from);
        }
        if is_long {
            let [.., bytes] = places;
            bytes.set(self.write_long(lane, length));
        }
    }

    /// Puts the words of an answer into the record, and returns its label and how many there are.
    fn note_result(self, lane: &'m KernelLane, result: Decoded) -> (u64, u64) {
        let mut words = MessageWords::of_lane(lane);
        match result {
            Ok(Answer::Empty) => (0, 0),
            Ok(Answer::Word(word)) => {
                words.push(word);
                (0, words.length)
            }
            // They are there already.
            Ok(Answer::Written(length)) => (0, length),
            Err(Stop::Error(error)) => {
                words.push_error(error);
                (error.code().label(), words.length)
            }
            // It is not answered before it is done.
            Err(Stop::Preempted) => (0, 0),
        }
    }

    /// Writes the words of an answer into the bulk buffer of its credit, as many as it holds, and returns their bytes.
    #[cold]
    fn write_long(self, lane: &'m KernelLane, length: u64) -> u64 {
        let credit = lane.token.get() & 0xffff;
        if credit > lane.mask.get() {
            return 0;
        }
        let room = lane.answer_bulk.get();
        let at = bulk_at(&lane.answers, credit, room, lane);
        let count = length.min(room / 8);
        for (index, word) in result_words(lane, count).enumerate() {
            self.set_lane_word(at, index, word);
        }
        count * 8
    }

    /// Publishes how far the lane has been drained and answered.
    fn publish(self, caller: &'m Tcb, lane: &'m KernelLane, head_before: u64, tail_before: u64) {
        let in_region = Paddr::new(lane.in_region.get());
        let flags = lane.flags.get();
        let mut seen = 0;
        if flags & flag::QUARANTINED != 0 {
            seen |= lane_flag::QUARANTINED;
        }
        if self.is_another_ready(caller) {
            seen |= lane_flag::YIELD;
        }
        self.set_lane_word(in_region, region::FLAGS, seen);
        let head = lane.head.get();
        if head == head_before {
            return;
        }
        self.set_lane_word(in_region, region::TAIL_ANSWERS, lane.tail.get());
        self.set_lane_word(in_region, region::HEAD_REQUESTS, head);
        let epoch = lane.epoch.get().wrapping_add(1);
        lane.epoch.set(epoch);
        self.set_lane_word(in_region, region::STATE, (epoch << 2) | 1);
        // Pairs with nothing: the thread runs on this core, and not now.
        let out_region = Paddr::new(lane.out_region.get());
        let wanted = self.lane_word(out_region, region::WANT_SPACE);
        if lane.tail.get() != tail_before || wanted.is_some_and(|wanted| wanted.get() != 0) {
            lane.flags.set(flags | flag::NEWS);
        }
    }
}

/// The position behind another.
#[inline(always)]
fn next_position(position: u64) -> u64 {
    position.wrapping_add(1) & POSITION_MASK
}

/// The kind of a message, by its head.
#[inline(always)]
fn kind_of_message(info: u64) -> u64 {
    (info >> 8) & 0xff
}

/// The slot at a position of one of the lanes.
#[inline(always)]
fn slot_at(first: &Cell<u64>, position: &Cell<u64>, lane: &KernelLane) -> Paddr {
    let index = position.get() & lane.mask.get();
    Paddr::new(first.get()).add(index.wrapping_mul(SLOT_STRIDE_BYTES))
}

/// The bulk buffer of a credit: they come behind the slots, and in the thread's region behind the one slot of its answer lane.
fn bulk_at(first: &Cell<u64>, credit: u64, bytes: u64, lane: &KernelLane) -> Paddr {
    let answers = if core::ptr::eq(first, &lane.requests) {
        1
    } else {
        0
    };
    // Wrapping, as all that is reckoned of records: if they are broken, that is a wrong address, and no more.
    let slots = lane.mask.get().wrapping_add(1 + answers);
    let offset = slots.wrapping_mul(SLOT_STRIDE_BYTES);
    Paddr::new(first.get()).add(offset.wrapping_add(credit.wrapping_mul(bytes)))
}

/// The first four arguments of a message in the short form: behind the capabilities.
#[inline(always)]
fn short_arguments(lane: &KernelLane, count: u64) -> &[Cell<u64>; 4] {
    if count == 0 {
        // Only then is there room for a fifth.
        let [.., fifth, _, _] = &lane.payload;
        lane.buffer[ipc_buffer::MSG + 4].set(fifth.get());
    }
    let at = 1 + (count & 3) as usize;
    match lane.payload[at..at + 4].first_chunk() {
        Some(words) => words,
        // There are four.
        None => &lane.words,
    }
}

/// How many arguments a message in the short form has.
#[inline(always)]
fn short_length(words: u64, count: u64) -> Result<u64, SyscallError> {
    if words > asynchronous::PAYLOAD_WORDS {
        return Err(SyscallError::RangeError {
            min: count + 1,
            max: asynchronous::PAYLOAD_WORDS,
        });
    }
    words
        .checked_sub(count + 1)
        .ok_or(SyscallError::TruncatedMessage)
}

/// The first `length` words of the answer in the record.
fn result_words(lane: &KernelLane, length: u64) -> impl Iterator<Item = u64> + '_ {
    let first = lane.words.iter().map(Cell::get);
    let behind = lane.buffer.iter().skip(ipc_buffer::MSG + lane.words.len());
    first.chain(behind.map(UserWord::get)).take(length as usize)
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Whether the running thread must not go on with its lane: it was stopped, or a thread of higher priority is to run.
    #[inline]
    fn is_overruled(self, caller: &'m Tcb) -> bool {
        self.is_anything_to_schedule() && (!is_runnable(caller) || self.is_higher_ready(caller))
    }
}
