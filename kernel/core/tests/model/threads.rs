//! What can be asked of threads.

use crate::caps::{Addr, Cap, Place, own};
use crate::invoke::{DONE, Invocation};
use crate::state::{Answer, Model, Refusal, reg};
use baton_sel4_abi::context::{FRAME_GROUP_WORDS, USER_CONTEXT_WORDS};
use baton_sel4_abi::{IPC_BUFFER_BITS, Label, TCB_FLAGS_MASK};

/// Registers in the order of messages: pc, ra, sp, gp, s0-s11; a0-a7, t0-t6, tp.
const IN_MESSAGES: [usize; USER_CONTEXT_WORDS] = [
    reg::PC,
    1,
    2,
    3,
    8,
    9,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    25,
    26,
    27, //
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    5,
    6,
    7,
    28,
    29,
    30,
    31,
    4,
];

/// A capability for one of a thread's slots, and where it is from.
type Install = (Cap, Place);

impl Model {
    pub fn invoke_thread(&mut self, inv: &Invocation, thread: Addr) -> Answer {
        let arg = |index| self.arg(inv, index);
        match inv.label {
            Some(Label::TcbReadRegisters) => {
                inv.need(2)?;
                let (suspend, count) = (arg(0) & 1 != 0, arg(1));
                if !(1..=USER_CONTEXT_WORDS as u64).contains(&count) {
                    return Err(Refusal::Range(1, USER_CONTEXT_WORDS as u64));
                }
                if thread == inv.caller {
                    return Err(Refusal::IllegalOperation);
                }
                if suspend {
                    self.suspend(thread);
                }
                let registers = IN_MESSAGES.iter().take(count as usize);
                return Ok(registers
                    .map(|&register| self.register(thread, register))
                    .collect());
            }
            Some(Label::TcbWriteRegisters) => {
                inv.need(2)?;
                let (resume, count) = (arg(0) & 1 != 0, arg(1));
                if inv.length - 2 < count {
                    return Err(Refusal::Truncated);
                }
                if thread == inv.caller {
                    return Err(Refusal::IllegalOperation);
                }
                for (index, register) in IN_MESSAGES.into_iter().enumerate() {
                    if (index as u64) < count {
                        let value = self.arg(inv, 2 + index);
                        self.set_register(thread, register, value);
                    }
                }
                self.go_on_at_pc(thread);
                if resume {
                    self.restart(thread);
                }
            }
            Some(Label::TcbCopyRegisters) => {
                inv.need(1)?;
                let source = self.cap(inv.extra(0)?);
                let flag = |bit: u64| arg(0) & (1 << bit) != 0;
                let (suspend, resume, frame, integer) = (flag(0), flag(1), flag(2), flag(3));
                let Some(Cap::Thread { at: source }) = source else {
                    return Err(Refusal::InvalidCapability(1));
                };
                if suspend {
                    self.suspend(source);
                }
                if resume {
                    self.restart(thread);
                }
                for (index, register) in IN_MESSAGES.into_iter().enumerate() {
                    let wanted = match index < FRAME_GROUP_WORDS {
                        true => frame,
                        false => integer,
                    };
                    if wanted {
                        let value = self.register(source, register);
                        self.set_register(thread, register, value);
                    }
                }
                if frame {
                    self.go_on_at_pc(thread);
                }
            }
            Some(Label::TcbConfigure) => {
                inv.need(4)?;
                let (cspace, vspace, frame) = (inv.extra(0)?, inv.extra(1)?, inv.extra(2)?);
                let (handler, buffer_at) = (arg(0), arg(3));
                let buffer = self.checked_buffer(buffer_at, frame)?;
                let spaces = self.checked_spaces(thread, (cspace, arg(1)), (vspace, arg(2)))?;
                self.install_spaces(inv, thread, handler, spaces);
                self.install_buffer(inv, thread, buffer_at, buffer);
            }
            Some(Label::TcbSetSpace) => {
                inv.need(3)?;
                let (cspace, vspace) = (inv.extra(0)?, inv.extra(1)?);
                let handler = arg(0);
                let spaces = self.checked_spaces(thread, (cspace, arg(1)), (vspace, arg(2)))?;
                self.install_spaces(inv, thread, handler, spaces);
            }
            Some(Label::TcbSetIpcBuffer) => {
                inv.need(1)?;
                let buffer_at = arg(0);
                let buffer = self.checked_buffer(buffer_at, inv.extra(0)?)?;
                self.install_buffer(inv, thread, buffer_at, buffer);
            }
            Some(Label::TcbSetPriority) => {
                inv.need(1)?;
                let priority = arg(0);
                self.may_give(inv, priority)?;
                self.set_priority(thread, priority);
            }
            Some(Label::TcbSetMcPriority) => {
                inv.need(1)?;
                let mcp = arg(0);
                self.may_give(inv, mcp)?;
                self.thread_mut(thread).mcp = mcp;
            }
            Some(Label::TcbSetSchedParams) => {
                inv.need(2)?;
                let (mcp, priority) = (arg(0), arg(1));
                self.may_give(inv, mcp)?;
                self.may_give(inv, priority)?;
                self.thread_mut(thread).mcp = mcp;
                self.set_priority(thread, priority);
            }
            Some(Label::TcbSuspend) => self.suspend(thread),
            Some(Label::TcbResume) => self.restart(thread),
            Some(Label::TcbBindNotification) => {
                let cap = self.cap(inv.extra(0)?);
                let Some(Cap::Notification {
                    at, receive: true, ..
                }) = cap
                else {
                    return Err(Refusal::IllegalOperation);
                };
                let notification = &self.notifications[&at];
                let is_taken = notification.bound.is_some() || !notification.waiting.is_empty();
                if is_taken || self.thread(thread).bound.is_some() {
                    return Err(Refusal::IllegalOperation);
                }
                self.thread_mut(thread).bound = Some(at);
                self.notification(at).bound = Some(thread);
            }
            Some(Label::TcbUnbindNotification) => {
                if self.thread(thread).bound.is_none() {
                    return Err(Refusal::IllegalOperation);
                }
                self.unbind_thread(thread);
            }
            Some(Label::TcbSetTlsBase) => {
                inv.need(1)?;
                let base = arg(0);
                self.set_register(thread, reg::TP, base);
            }
            Some(Label::TcbSetFlags) => {
                inv.need(2)?;
                let (clear, set) = (arg(0), arg(1));
                let flags = (self.thread(thread).flags & !clear) | (set & TCB_FLAGS_MASK);
                self.thread_mut(thread).flags = flags;
                return Ok(vec![flags]);
            }
            _ => return Err(Refusal::IllegalOperation),
        }
        DONE
    }

    fn go_on_at_pc(&mut self, thread: Addr) {
        let pc = self.register(thread, reg::PC);
        self.set_register(thread, reg::NEXT_PC, pc);
    }

    /// Nobody may give more than the thread may that the first capability names.
    fn may_give(&self, inv: &Invocation, priority: u64) -> Result<(), Refusal> {
        let Some(Cap::Thread { at }) = self.cap(inv.extra(0)?) else {
            return Err(Refusal::InvalidCapability(1));
        };
        let most = self.thread(at).mcp;
        match priority > most {
            true => Err(Refusal::Range(0, most)),
            false => Ok(()),
        }
    }

    fn checked_buffer(&self, at: u64, frame: Place) -> Result<Option<Install>, Refusal> {
        if at == 0 {
            return Ok(None);
        }
        let cap = self
            .cap(frame)
            .map_or(Ok(None), |cap| self.derive(frame, cap))?;
        let Some(cap @ Cap::Frame { device: false, .. }) = cap else {
            return Err(Refusal::IllegalOperation);
        };
        if !at.is_multiple_of(1 << IPC_BUFFER_BITS) {
            return Err(Refusal::Alignment);
        }
        Ok(Some((cap, frame)))
    }

    fn checked_spaces(
        &self,
        thread: Addr,
        cspace: (Place, u64),
        vspace: (Place, u64),
    ) -> Result<[Install; 2], Refusal> {
        // Deleting what is there must be done in one go.
        for number in [own::CSPACE, own::VSPACE] {
            let place = Place::Thread(thread, number);
            let is_large = matches!(
                self.cap(place),
                Some(Cap::CNode { .. } | Cap::Thread { .. } | Cap::Zombie { .. })
            );
            if is_large && self.is_last(place) {
                return Err(Refusal::IllegalOperation);
            }
        }
        let derived = |(place, data): (Place, u64)| {
            let mut cap = self.cap(place);
            if data != 0 {
                cap = cap.and_then(|cap| cap.with_data(false, data));
            }
            cap.map_or(Ok(None), |cap| self.derive(place, cap))
        };
        let Some(cspace_cap @ Cap::CNode { .. }) = derived(cspace)? else {
            return Err(Refusal::IllegalOperation);
        };
        let Some(
            vspace_cap @ Cap::Table {
                mapped: Some(_), ..
            },
        ) = derived(vspace)?
        else {
            return Err(Refusal::IllegalOperation);
        };
        Ok([(cspace_cap, cspace.0), (vspace_cap, vspace.0)])
    }

    fn install_spaces(
        &mut self,
        inv: &Invocation,
        thread: Addr,
        handler: u64,
        [cspace, vspace]: [Install; 2],
    ) {
        self.thread_mut(thread).fault_handler = handler;
        self.install(inv, thread, own::CSPACE, Some(cspace));
        self.install(inv, thread, own::VSPACE, Some(vspace));
    }

    fn install_buffer(&mut self, inv: &Invocation, thread: Addr, at: u64, buffer: Option<Install>) {
        self.delete(Place::Thread(thread, own::BUFFER));
        if let Some(thread) = self.threads.get_mut(&thread) {
            thread.buffer_at = at;
        }
        self.install(inv, thread, own::BUFFER, buffer);
    }

    /// Replaces what is in a thread's slot; unless, when the old is deleted, the new or the thread goes with it.
    fn install(&mut self, inv: &Invocation, thread: Addr, number: u64, new: Option<Install>) {
        let place = Place::Thread(thread, number);
        self.delete(place);
        let Some((cap, source)) = new else {
            return;
        };
        let is_there = self
            .cap(source)
            .is_some_and(|there| cap.same_object(&there));
        let thread_is_there = self.cap(inv.place) == Some(Cap::Thread { at: thread });
        if is_there && thread_is_there {
            self.insert(cap, source, place);
        }
    }
}
