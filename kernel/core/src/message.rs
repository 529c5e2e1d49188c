//! Messages: the registers and buffers that their words are in, and the capabilities that go along.

use crate::cap::{Cap, kind, kind_of};
use crate::error::{LookupFailure, SyscallError};
use crate::fault::Fault;
use crate::invocation::{Invocation, IpcBuffer};
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{KernelLane, Slot, Tcb, reg, tcb_slot};
use baton_sel4_abi::message::ipc_buffer;
use baton_sel4_abi::{CapRights, MSG_REGISTERS, MessageInfo};
use core::cell::Cell;

/// Message registers that travel in machine registers.
pub(crate) const IN_REGISTERS: usize = MSG_REGISTERS as usize;

impl<'m, M: Machine> Kernel<'m, M> {
    /// The thread's IPC buffer, if it has one that it may read, or write if `receiver`.
    pub(crate) fn ipc_buffer(self, tcb: &'m Tcb, receiver: bool) -> Option<&'m IpcBuffer> {
        let Cap::Frame {
            address,
            size,
            rights,
            device: false,
            ..
        } = Cap::decode(tcb.slots[tcb_slot::BUFFER].cap())
        else {
            return None;
        };
        let needed = if receiver {
            CapRights::READ_WRITE
        } else {
            CapRights::READ
        };
        if !rights.contains(needed) {
            return None;
        }
        let offset = tcb.ipc_buffer.get() & ((1 << size.bits()) - 1);
        // Aligned to its size when it was set, so it does not cross the frame's end.
        self.mem
            .user_words::<{ ipc_buffer::WORDS }>(address.add(offset))
    }

    /// Looks up the capabilities that a message brings along. An error is the fault to report.
    #[inline(always)]
    pub(crate) fn lookup_extra_caps(
        self,
        tcb: &'m Tcb,
        buffer: Option<&'m IpcBuffer>,
        info: MessageInfo,
    ) -> Result<[Option<&'m Slot>; 3], Fault> {
        // One is what most invocations have that have any.
        if info.extra_caps() == 1
            && let Some(buffer) = buffer
            && let Some(slot) = self.find_slot(tcb, buffer[ipc_buffer::CAPS_OR_BADGES].get())
        {
            return Ok([Some(slot), None, None]);
        }
        self.lookup_all_extra_caps(tcb, buffer, info)
    }

    #[inline(never)]
    fn lookup_all_extra_caps(
        self,
        tcb: &'m Tcb,
        buffer: Option<&'m IpcBuffer>,
        info: MessageInfo,
    ) -> Result<[Option<&'m Slot>; 3], Fault> {
        let mut slots = [None; 3];
        let Some(buffer) = buffer else {
            return Ok(slots);
        };
        let pointers = buffer.iter().skip(ipc_buffer::CAPS_OR_BADGES);
        let count = info.extra_caps() as usize;
        for (slot, pointer) in slots.iter_mut().zip(pointers).take(count) {
            let pointer = pointer.get();
            match self.lookup_slot(tcb, pointer) {
                Ok(found) => *slot = Some(found),
                Err(failure) => {
                    return Err(Fault::Cap {
                        pointer,
                        in_recv_phase: false,
                        failure,
                    });
                }
            }
        }
        Ok(slots)
    }

    /// The slot in which the thread wants to receive a capability, if it named an empty one.
    pub(crate) fn receive_slot(self, tcb: &'m Tcb, buffer: &'m IpcBuffer) -> Option<&'m Slot> {
        let root = self
            .lookup_slot(tcb, buffer[ipc_buffer::RECEIVE_CNODE].get())
            .ok()?;
        let index = buffer[ipc_buffer::RECEIVE_INDEX].get();
        let depth = buffer[ipc_buffer::RECEIVE_DEPTH].get();
        let slot = self
            .lookup_slot_at(Cap::decode(root.cap()), index, depth, false)
            .ok()?;
        (kind_of(slot.cap_first()) == kind::NULL).then_some(slot)
    }

    /// Answers an invocation that was refused.
    pub(crate) fn answer_error(self, tcb: &'m Tcb, error: SyscallError) {
        let mut words = MessageWords::new(tcb, self.ipc_buffer(tcb, true));
        words.push_error(error);
        let info = MessageInfo::new(error.code().label(), 0, 0, words.length);
        tcb.context.set::<{ reg::A0 }>(0);
        tcb.context.set::<{ reg::A1 }>(info.word());
    }

    /// Where the words of an invocation's answer go.
    pub(crate) fn result_words(self, inv: &Invocation<'m>) -> MessageWords<'m> {
        match self.lane_of(inv.caller) {
            Some(lane) if inv.is_asynchronous() => MessageWords::of_lane(lane),
            _ => MessageWords::new(inv.caller, self.ipc_buffer(inv.caller, true)),
        }
    }
}

/// The words of a message as they are written for a receiver: the first in registers, the others in its buffer.
pub(crate) struct MessageWords<'m> {
    first: &'m [Cell<u64>; IN_REGISTERS],
    buffer: Option<&'m IpcBuffer>,
    /// How many have been written; those for which there is no room are not counted.
    pub(crate) length: u64,
}

impl<'m> MessageWords<'m> {
    pub(crate) fn new(receiver: &'m Tcb, buffer: Option<&'m IpcBuffer>) -> Self {
        MessageWords {
            first: receiver.context.message(),
            buffer,
            length: 0,
        }
    }

    /// Those of an answer that goes into a kernel lane.
    pub(crate) fn of_lane(lane: &'m KernelLane) -> Self {
        MessageWords {
            first: &lane.words,
            buffer: Some(&lane.buffer),
            length: 0,
        }
    }

    /// Writes the next word.
    pub(crate) fn push(&mut self, word: u64) {
        let index = self.length as usize;
        if let Some(place) = self.first.get(index) {
            place.set(word);
        } else if let Some(place) = self.buffer.and_then(|buffer| buffer.get(1 + index)) {
            place.set(word);
        } else {
            return;
        }
        self.length += 1;
    }

    /// Writes what seL4 says of an error beside its number.
    pub(crate) fn push_error(&mut self, error: SyscallError) {
        match error {
            SyscallError::InvalidArgument(number) | SyscallError::InvalidCapability(number) => {
                self.push(number);
            }
            SyscallError::RangeError { min, max } => {
                self.push(min);
                self.push(max);
            }
            SyscallError::FailedLookup { source, failure } => {
                self.push(source.into());
                self.push_lookup_failure(failure);
            }
            SyscallError::NotEnoughMemory(left) => self.push(left),
            SyscallError::IllegalOperation
            | SyscallError::AlignmentError
            | SyscallError::TruncatedMessage
            | SyscallError::DeleteFirst
            | SyscallError::RevokeFirst => {}
        }
    }

    /// Writes why a lookup failed: its number, then its fields.
    pub(crate) fn push_lookup_failure(&mut self, failure: LookupFailure) {
        self.push(failure.kind().number());
        match failure {
            LookupFailure::InvalidRoot => {}
            LookupFailure::MissingCapability { bits_left } => self.push(bits_left),
            LookupFailure::DepthMismatch {
                bits_left,
                bits_found,
            } => {
                self.push(bits_left);
                self.push(bits_found);
            }
            LookupFailure::GuardMismatch {
                bits_left,
                guard_found,
                bits_found,
            } => {
                self.push(bits_left);
                self.push(guard_found);
                self.push(bits_found);
            }
        }
    }
}
