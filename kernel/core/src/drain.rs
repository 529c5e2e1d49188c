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

use crate::cap::Cap;
use crate::error::{Answer, Decoded, Stop, SyscallError};
use crate::fault::Fault;
use crate::invocation::Invocation;
use crate::lane::{POSITION_MASK, SLOT_STRIDE_BYTES, flag};
use crate::machine::Machine;
use crate::message::MessageWords;
use crate::state::Kernel;
use crate::tcb::{ThreadState, is_runnable};
use baton_kernel_mem::{KernelLane, Paddr, Slot, Tcb, UserWord, reg};
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
const A6: usize = reg::A0 + 6;

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
        if let Some(pointer) = signal
            && !self.signal_by(current, pointer)
        {
            return;
        }
        current.context.set::<A6>(parked as u64);
        match parked {
            Parked::Received => self.receive(current, true),
            Parked::Answers | Parked::Quarantined => current.context.set::<{ reg::A0 }>(0),
        }
    }

    /// Signals the notification that `pointer` names. If it names none, that is a fault of the thread.
    fn signal_by(self, current: &'m Tcb, pointer: u64) -> bool {
        let failure = match self.lookup_slot(current, pointer) {
            Err(failure) => failure,
            Ok(slot) => match Cap::decode(slot.cap()) {
                Cap::Notification {
                    address,
                    badge,
                    rights,
                } if rights.contains(CapRights::WRITE) => {
                    self.send_signal(self.mem.get(address), badge);
                    return true;
                }
                _ => crate::LookupFailure::MissingCapability { bits_left: 0 },
            },
        };
        let fault = Fault::Cap {
            pointer,
            in_recv_phase: false,
            failure,
        };
        self.handle_fault(current, fault);
        false
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
        let before = lane.head.get();
        let end = self.drain_messages(caller, lane, most);
        if end != End::Unbound {
            self.publish(caller, lane, before);
        }
        end
    }

    fn drain_messages(self, caller: &'m Tcb, lane: &'m KernelLane, most: u32) -> End {
        let mut left = most;
        loop {
            if lane.flags.get() & flag::BUSY == 0 {
                if lane.head.get() == lane.published.get()
                    && let Err(end) = self.read_tail(lane)
                {
                    return end;
                }
                if left == 0 {
                    return End::Enough;
                }
                self.copy_slot(lane);
            }
            left = left.saturating_sub(1);
            let result = match self.perform(caller, lane) {
                Err(Stop::Preempted) => None,
                Ok(answer) => Some(Ok(answer)),
                Err(Stop::Error(error)) => Some(Err(error)),
            };
            let flags = lane.flags.get();
            if flags & flag::BUSY == 0 {
                // The message has deleted the lane, or its thread.
                return End::Unbound;
            }
            let Some(result) = result else {
                lane.flags.set(flags | flag::RESUMED);
                return End::Interrupted;
            };
            let flags = flags & !(flag::BUSY | flag::RESUMED);
            lane.head.set((lane.head.get() + 1) & POSITION_MASK);
            let is_request = (lane.info.get() >> 8) & 0xff == kind::REQUEST;
            if is_request {
                self.push_answer(lane, result);
                lane.flags.set(flags | flag::NEWS);
            } else {
                lane.flags.set(flags);
            }
            if self.is_overruled(caller) {
                return End::Overruled;
            }
            if self.machine.interrupt_pending() {
                return End::Interrupted;
            }
        }
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
        if tail.wrapping_sub(head) & POSITION_MASK > lane.mask.get() + 1 {
            lane.flags.set(lane.flags.get() | flag::QUARANTINED);
            return Err(End::Quarantined);
        }
        lane.published.set(tail);
        if tail == head {
            return Err(End::Empty);
        }
        Ok(())
    }

    /// Copies the next slot into the record: each word once.
    #[inline]
    fn copy_slot(self, lane: &'m KernelLane) {
        let at = slot_at(&lane.requests, &lane.head, lane);
        // It lies in the lane's own pages.
        if let Some([head, token, payload @ ..]) = self.mem.user_words::<8>(at) {
            lane.info.set(head.get() >> 32);
            lane.token.set(token.get());
            for (to, from) in lane.payload.iter().zip(payload) {
                to.set(from.get());
            }
        }
        lane.flags.set(lane.flags.get() | flag::BUSY);
    }

    /// Performs the message in the record.
    #[inline]
    fn perform(self, caller: &'m Tcb, lane: &'m KernelLane) -> Decoded {
        let info = lane.info.get();
        let method = info >> 16;
        let call = match (info >> 8) & 0xff {
            kind::REQUEST => true,
            kind::ONE_WAY => false,
            // Calls are performed in order and at once; there is nothing to cancel. Other kinds are none.
            _ => return Ok(Answer::Empty),
        };
        let count = (method >> asynchronous::EXTRA_CAPS_SHIFT) & 3;
        let words = info & 0xff;
        let [pointer, rest @ ..] = &lane.payload;
        let (arguments, length) = if method & asynchronous::LONG != 0 {
            if lane.flags.get() & flag::RESUMED == 0 {
                lane.long_length.set(self.read_long(lane, words)?);
            }
            (&lane.words, lane.long_length.get())
        } else {
            (short_arguments(lane, count), short_length(words, count)?)
        };
        if method & asynchronous::RESERVED != 0 {
            return Err(SyscallError::IllegalOperation.into());
        }
        let failed = |failure| SyscallError::FailedLookup {
            source: false,
            failure,
        };
        let slot = self.lookup_slot(caller, pointer.get()).map_err(failed)?;
        let mut extra = [None; 3];
        for (slot, pointer) in extra.iter_mut().zip(rest).take(count as usize) {
            *slot = Some(self.lookup_slot(caller, pointer.get()).map_err(failed)?);
        }
        let invocation = Invocation {
            label: method & ((1 << asynchronous::LABEL_BITS) - 1),
            length,
            slot,
            extra,
            words: arguments,
            buffer: Some(&lane.buffer),
            caller,
            call,
            block: false,
        };
        self.check_asynchronous(&invocation)?;
        self.decode(&invocation)
    }

    /// Refuses what makes no sense out of a lane: what may wait, what uses the caller's registers or reply capability, and what
    /// changes the caller or a lane.
    #[inline]
    fn check_asynchronous(self, inv: &Invocation<'m>) -> Result<(), SyscallError> {
        let own = self.mem.address(inv.caller);
        let names_caller = |slot: Option<&Slot>| {
            slot.is_some_and(|slot| Cap::decode(slot.cap()) == Cap::Thread { tcb: own })
        };
        let refused = match Cap::decode(inv.slot.cap()) {
            Cap::Thread { tcb } => {
                tcb == own
                    || (inv.label == Label::TcbCopyRegisters.number() && names_caller(inv.extra[0]))
            }
            Cap::CNode { .. } => inv.label == Label::CNodeSaveCaller.number(),
            Cap::Domain => inv.label == Label::DomainSet.number() && names_caller(inv.extra[0]),
            Cap::Endpoint { .. } | Cap::Reply { .. } | Cap::KernelLane { .. } => true,
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
    #[inline]
    fn push_answer(self, lane: &'m KernelLane, result: Result<Answer, SyscallError>) {
        let at = slot_at(&lane.answers, &lane.tail, lane);
        // It lies in the lane's own pages.
        let Some([head, token, label, first, rest @ ..]) = self.mem.user_words::<8>(at) else {
            return;
        };
        head.set(ANSWER_HEAD);
        token.set(lane.token.get());
        lane.tail.set((lane.tail.get() + 1) & POSITION_MASK);
        let long = (lane.info.get() >> 16) & asynchronous::LONG != 0;
        match result {
            Ok(Answer::Empty) if !long => {
                label.set(0);
                first.set(0);
            }
            Ok(Answer::Word(word)) if !long => {
                label.set(0);
                first.set(word);
            }
            result => {
                let (error, length) = self.note_result(lane, result);
                label.set(error);
                let words = result_words(lane, length);
                for (to, from) in core::iter::once(first).chain(rest).zip(words.chain([0; 5])) {
                    to.set(from);
                }
                if long {
                    let [.., bytes] = rest;
                    bytes.set(self.write_long(lane, length));
                }
            }
        }
    }

    /// Puts the words of an answer into the record, and returns its label and how many there are.
    fn note_result(self, lane: &'m KernelLane, result: Result<Answer, SyscallError>) -> (u64, u64) {
        let mut words = MessageWords::of_lane(lane);
        match result {
            Ok(Answer::Empty) => (0, 0),
            Ok(Answer::Word(word)) => {
                words.push(word);
                (0, words.length)
            }
            // They are there already.
            Ok(Answer::Written(length)) => (0, length),
            Err(error) => {
                words.push_error(error);
                (error.code().label(), words.length)
            }
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
    fn publish(self, caller: &'m Tcb, lane: &'m KernelLane, before: u64) {
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
        if head == before {
            return;
        }
        self.set_lane_word(in_region, region::TAIL_ANSWERS, lane.tail.get());
        self.set_lane_word(in_region, region::HEAD_REQUESTS, head);
        let epoch = lane.epoch.get().wrapping_add(1);
        lane.epoch.set(epoch);
        self.set_lane_word(in_region, region::STATE, (epoch << 1) | 1);
        // Pairs with nothing: the thread runs on this core, and not now.
        let out_region = Paddr::new(lane.out_region.get());
        let wanted = self.lane_word(out_region, region::WANT_SPACE);
        if wanted.is_some_and(|wanted| wanted.get() != 0) {
            lane.flags.set(flags | flag::NEWS);
        }
    }
}

/// The slot at a position of one of the lanes.
#[inline(always)]
fn slot_at(first: &Cell<u64>, position: &Cell<u64>, lane: &KernelLane) -> Paddr {
    let index = position.get() & lane.mask.get();
    Paddr::new(first.get()).add(index * SLOT_STRIDE_BYTES)
}

/// The bulk buffer of a credit: they come behind the slots, and in the thread's region behind the one slot of its answer lane.
fn bulk_at(first: &Cell<u64>, credit: u64, bytes: u64, lane: &KernelLane) -> Paddr {
    let answers = if core::ptr::eq(first, &lane.requests) {
        1
    } else {
        0
    };
    let slots = lane.mask.get() + 1 + answers;
    Paddr::new(first.get()).add(slots * SLOT_STRIDE_BYTES + credit * bytes)
}

/// The first four arguments of a message in the short form: behind the capabilities.
#[inline(always)]
fn short_arguments(lane: &KernelLane, count: u64) -> &[Cell<u64>; 4] {
    if count == 0 {
        // Only then is there room for a fifth.
        let [.., fifth, _, _] = &lane.payload;
        if let Some(place) = lane.buffer.get(ipc_buffer::MSG + 4) {
            place.set(fifth.get());
        }
    }
    let [_, from @ ..] = &lane.payload;
    let at = (count as usize).min(3);
    match from.get(at..).and_then(<[_]>::first_chunk) {
        Some(words) => words,
        // Seven words behind the first, at most three of them capabilities.
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
