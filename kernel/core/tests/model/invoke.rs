//! System calls, and what can be asked of capabilities other than those for threads and address spaces.

use crate::caps::{Addr, Cap, Place, Rights, own};
use crate::ipc::Sending;
use crate::state::{Answer, Fault, IN_REGISTERS, Irq, Lost, Model, Refusal, State, reg};
use baton_sel4_abi::message::ipc_buffer;
use baton_sel4_abi::{
    CapRights, Label, MAX_UNTYPED_BITS, MIN_IRQ, MIN_UNTYPED_BITS, MessageInfo, ObjectType,
    RETYPE_FAN_OUT_LIMIT, Syscall, TIMER_IRQ, WORD_BITS,
};

/// A message to a kernel object.
pub struct Invocation {
    pub caller: Addr,
    /// The slot of the invoked capability.
    pub place: Place,
    pub label: Option<Label>,
    pub length: u64,
    pub caps: Vec<Place>,
    pub buffer: Option<Addr>,
}

impl Invocation {
    pub fn need(&self, length: u64) -> Result<(), Refusal> {
        match self.length < length {
            true => Err(Refusal::Truncated),
            false => Ok(()),
        }
    }

    /// The slot of a capability that must have been sent along.
    pub fn extra(&self, number: usize) -> Result<Place, Refusal> {
        self.caps.get(number).copied().ok_or(Refusal::Truncated)
    }
}

pub const DONE: Answer = Ok(Vec::new());

impl Model {
    /// Argument `index` of an invocation.
    pub fn arg(&self, inv: &Invocation, index: usize) -> u64 {
        match (index, inv.buffer) {
            (0..IN_REGISTERS, _) => self.register(inv.caller, reg::A2 + index),
            (_, Some(buffer)) => self.word(buffer, ipc_buffer::MSG + index),
            (_, None) => 0,
        }
    }

    // -- Doors ---------------------------------------------------------------------------------------------------

    /// What the processor leaves behind when it traps.
    fn trap(&mut self, is_syscall: bool) {
        if let Some(running) = self.running {
            let registers = &mut self.thread_mut(running).registers;
            registers[reg::PC] = registers[reg::NEXT_PC];
            if is_syscall {
                registers[reg::NEXT_PC] = registers[reg::NEXT_PC].wrapping_add(4);
            }
        }
    }

    /// The running thread makes the system call that its registers say.
    pub fn syscall(&mut self) {
        self.trap(true);
        let Some(caller) = self.running else {
            return;
        };
        let number = self.register(caller, reg::A7);
        match Syscall::from_number(number as i64) {
            Some(Syscall::Call) => self.invoke(caller, true, true),
            Some(Syscall::Send) => self.invoke(caller, false, true),
            Some(Syscall::NBSend) => self.invoke(caller, false, false),
            Some(Syscall::Recv) => self.receive_by(caller, true),
            Some(Syscall::NBRecv) => self.receive_by(caller, false),
            Some(Syscall::Reply) => self.reply_with(caller, Place::Thread(caller, own::CALLER)),
            Some(Syscall::ReplyRecv) => {
                self.reply_with(caller, Place::Thread(caller, own::CALLER));
                self.receive_by(caller, true);
            }
            Some(Syscall::Yield) => self.yield_now(caller),
            _ => self.fault(caller, Fault::Syscall { number }),
        }
        self.leave_kernel();
    }

    /// The running thread raises an exception.
    pub fn exception(&mut self, cause: u64, value: u64) {
        self.trap(false);
        if let Some(running) = self.running {
            // Instruction, load and store; access faults and page faults alike.
            let fault = match cause {
                1 | 12 => Fault::Memory {
                    address: value,
                    fetch: true,
                    status: 1,
                },
                5 | 13 | 7 | 15 => Fault::Memory {
                    address: value,
                    fetch: false,
                    status: if matches!(cause, 5 | 13) { 5 } else { 7 },
                },
                cause => Fault::Exception { cause },
            };
            self.fault(running, fault);
        }
        self.leave_kernel();
    }

    pub fn tick(&mut self) {
        self.trap(false);
        self.timer_tick();
        self.leave_kernel();
    }

    /// A device raises its interrupt, and lowers it once the kernel has looked.
    pub fn interrupt(&mut self, number: u64) {
        let Some(irq) = self.irqs.get_mut(&number) else {
            return;
        };
        if irq.claimed {
            return;
        }
        irq.claimed = !irq.edge;
        self.trap(false);
        if let Some(Cap::Notification {
            at,
            badge,
            send: true,
            ..
        }) = self.cap(Place::Irq(number))
        {
            self.signal(at, badge);
        }
        self.leave_kernel();
    }

    // -- Sending and receiving -----------------------------------------------------------------------------------

    fn invoke(&mut self, caller: Addr, call: bool, block: bool) {
        let pointer = self.register(caller, reg::A0);
        let place = match self.lookup(caller, pointer) {
            Ok(place) => place,
            Err(lost) => {
                let receiving = false;
                if block {
                    let fault = Fault::Cap {
                        pointer,
                        receiving,
                        lost,
                    };
                    self.fault(caller, fault);
                }
                return;
            }
        };
        let info = self.message_info(caller);
        let caps = match self.extra_caps(caller, info) {
            Ok(caps) => caps,
            Err(fault) => {
                if block {
                    self.fault(caller, fault);
                }
                return;
            }
        };
        let buffer = self.buffer(caller, false);
        let length = match buffer {
            Some(_) => info.message_length(),
            None => info.message_length().min(IN_REGISTERS as u64),
        };
        let cap = self.cap(place);
        if let Some(Cap::Endpoint { at, badge, rights }) = cap
            && rights.send
        {
            let how = Sending {
                block,
                call,
                badge,
                grant: rights.grant,
                grant_reply: rights.grant_reply,
            };
            return self.send(caller, at, how);
        }
        let inv = Invocation {
            caller,
            place,
            label: Label::from_number(info.label()),
            length,
            caps,
            buffer,
        };
        self.set_state(caller, State::Restart);
        let answer = self.perform(&inv, cap);
        let stopped = !self
            .threads
            .get(&caller)
            .is_some_and(|caller| caller.state == State::Restart);
        if stopped {
            return;
        }
        if call {
            let (label, words) = match answer {
                Ok(words) => (0, words),
                Err(refusal) => refusal.message(),
            };
            let length = self.write_message(caller, &words);
            self.set_register(caller, reg::A0, 0);
            let info = MessageInfo::new(label, 0, 0, length);
            self.set_register(caller, reg::A1, info.word());
        }
        self.set_state(caller, State::Running);
    }

    fn perform(&mut self, inv: &Invocation, cap: Option<Cap>) -> Answer {
        match cap {
            Some(Cap::Notification {
                at,
                badge,
                send: true,
                ..
            }) => {
                self.signal(at, badge);
                DONE
            }
            Some(Cap::Reply { master: false, .. }) => {
                self.reply_with(inv.caller, inv.place);
                DONE
            }
            Some(Cap::Thread { at }) => self.invoke_thread(inv, at),
            Some(Cap::CNode { .. }) => self.invoke_cnode(inv, cap),
            Some(Cap::Untyped {
                at,
                bits,
                device,
                used,
            }) => self.retype(inv, (at, bits, device, used)),
            Some(Cap::IrqControl) => self.issue_handler(inv),
            Some(Cap::IrqHandler { irq }) => self.invoke_handler(inv, irq),
            Some(frame @ Cap::Frame { .. }) => self.invoke_frame(inv, frame),
            Some(Cap::Table { at, mapped }) => self.invoke_table(inv, at, mapped),
            Some(Cap::AsidControl) => self.make_pool(inv),
            Some(Cap::AsidPool { at, base }) => self.assign_asid(inv, at, base),
            _ => Err(Refusal::InvalidCapability(0)),
        }
    }

    fn receive_by(&mut self, caller: Addr, block: bool) {
        let pointer = self.register(caller, reg::A0);
        let place = match self.lookup(caller, pointer) {
            Ok(place) => place,
            Err(lost) => return self.cannot_receive(caller, pointer, lost),
        };
        match self.cap(place) {
            Some(Cap::Endpoint { at, rights, .. }) if rights.receive => {
                self.empty_slot(Place::Thread(caller, own::CALLER));
                self.receive(caller, at, rights.grant, block);
            }
            Some(Cap::Notification {
                at, receive: true, ..
            }) if self.notifications[&at]
                .bound
                .is_none_or(|bound| bound == caller) =>
            {
                self.wait(caller, at, block);
            }
            _ => self.cannot_receive(caller, pointer, Lost::Missing { left: 0 }),
        }
    }

    // -- CNodes --------------------------------------------------------------------------------------------------

    fn invoke_cnode(&mut self, inv: &Invocation, root: Option<Cap>) -> Answer {
        use Label::{
            CNodeCancelBadgedSends, CNodeCopy, CNodeDelete, CNodeMint, CNodeMove, CNodeMutate,
            CNodeRevoke, CNodeRotate, CNodeSaveCaller,
        };
        let arg = |index| self.arg(inv, index);
        match inv.label {
            Some(
                CNodeRevoke
                | CNodeDelete
                | CNodeCancelBadgedSends
                | CNodeCopy
                | CNodeMint
                | CNodeMove
                | CNodeMutate
                | CNodeRotate
                | CNodeSaveCaller,
            ) => {}
            _ => return Err(Refusal::IllegalOperation),
        }
        inv.need(2)?;
        let dest = self.lookup_at(root, arg(0), arg(1), false)?;
        match inv.label {
            Some(CNodeRevoke) => self.revoke(dest),
            Some(CNodeDelete) => self.delete(dest),
            Some(CNodeSaveCaller) => {
                self.must_be_empty(dest)?;
                let caller = Place::Thread(inv.caller, own::CALLER);
                if let Some(cap) = self.cap(caller) {
                    self.move_to(cap, caller, dest);
                }
            }
            Some(CNodeCancelBadgedSends) => match self.cap(dest) {
                Some(Cap::Endpoint {
                    at,
                    badge,
                    rights: Rights::ALL,
                }) => {
                    if badge != 0 {
                        self.cancel_badged_sends(at, badge);
                    }
                }
                _ => return Err(Refusal::IllegalOperation),
            },
            Some(CNodeRotate) => return self.rotate(inv, dest),
            _ => {
                inv.need(4)?;
                let root = self.cap(inv.extra(0)?);
                self.must_be_empty(dest)?;
                let source = self.lookup_at(root, arg(2), arg(3), true)?;
                let cap = self.full(source, arg(3), true)?;
                let moves = matches!(inv.label, Some(CNodeMove | CNodeMutate));
                let (fewest, data) = match inv.label {
                    Some(CNodeMove) => (4, None),
                    Some(CNodeMutate) => (5, Some(4)),
                    Some(CNodeCopy) => (5, None),
                    _ => (6, Some(5)),
                };
                inv.need(fewest)?;
                let mut new = Some(cap);
                if !moves {
                    new = Some(cap.with_rights(Rights::of(CapRights::from_word(arg(4)))));
                }
                if let Some(data) = data {
                    new = new.and_then(|cap| cap.with_data(moves, arg(data)));
                }
                if !moves && let Some(cap) = new {
                    new = self.derive(source, cap)?;
                }
                let new = new.ok_or(Refusal::IllegalOperation)?;
                if moves {
                    self.move_to(new, source, dest);
                } else {
                    self.insert(new, source, dest);
                }
            }
        }
        DONE
    }

    fn full(&self, place: Place, depth: u64, source: bool) -> Result<Cap, Refusal> {
        let lost = Lost::Missing { left: depth };
        self.cap(place)
            .ok_or(Refusal::FailedLookup { source, lost })
    }

    fn rotate(&mut self, inv: &Invocation, dest: Place) -> Answer {
        let arg = |index| self.arg(inv, index);
        inv.need(8)?;
        let (pivot_root, source_root) = (self.cap(inv.extra(0)?), self.cap(inv.extra(1)?));
        let source = self.lookup_at(source_root, arg(6), arg(7), true)?;
        let pivot = self.lookup_at(pivot_root, arg(3), arg(4), true)?;
        if pivot == source || pivot == dest {
            return Err(Refusal::IllegalOperation);
        }
        if source != dest {
            self.must_be_empty(dest)?;
        }
        let source_cap = self.full(source, arg(7), true)?;
        let pivot_cap = self.full(pivot, arg(4), false)?;
        let (Some(source_cap), Some(pivot_cap)) = (
            source_cap.with_data(true, arg(5)),
            pivot_cap.with_data(true, arg(2)),
        ) else {
            return Err(Refusal::IllegalOperation);
        };
        if source == dest {
            self.set_cap(source, source_cap);
            self.set_cap(pivot, pivot_cap);
            self.swap(source, pivot);
        } else {
            self.move_to(pivot_cap, pivot, dest);
            self.move_to(source_cap, source, pivot);
        }
        DONE
    }

    // -- Untyped memory ------------------------------------------------------------------------------------------

    fn retype(&mut self, inv: &Invocation, untyped: (Addr, u64, bool, u64)) -> Answer {
        let (at, bits, device, used) = untyped;
        if inv.label != Some(Label::UntypedRetype) {
            return Err(Refusal::IllegalOperation);
        }
        inv.need(6)?;
        let root = inv.extra(0)?;
        let arg = |index| self.arg(inv, index);
        let (wanted_bits, depth, offset, count) = (arg(1), arg(3), arg(4), arg(5));
        let kind = ObjectType::from_number(arg(0)).ok_or(Refusal::InvalidArgument(0))?;
        assert!(
            kind != ObjectType::KernelLane,
            "nobody is to ask for a lane"
        );
        let size = kind.size_bits(wanted_bits);
        if wanted_bits >= WORD_BITS || size > MAX_UNTYPED_BITS {
            return Err(Refusal::Range(0, MAX_UNTYPED_BITS));
        }
        let fewest = match kind {
            ObjectType::CapTable => 1,
            ObjectType::Untyped => MIN_UNTYPED_BITS,
            _ => 0,
        };
        if wanted_bits < fewest {
            return Err(Refusal::InvalidArgument(1));
        }
        let node = match depth {
            0 => root,
            depth => self.lookup_at(self.cap(root), arg(2), depth, false)?,
        };
        let Some(Cap::CNode {
            at: node, radix, ..
        }) = self.cap(node)
        else {
            return Err(Refusal::FailedLookup {
                source: false,
                lost: Lost::Missing { left: depth },
            });
        };
        let slots = 1 << radix;
        if offset >= slots {
            return Err(Refusal::Range(0, slots - 1));
        }
        if !(1..=RETYPE_FAN_OUT_LIMIT).contains(&count) {
            return Err(Refusal::Range(1, RETYPE_FAN_OUT_LIMIT));
        }
        if count > slots - offset {
            return Err(Refusal::Range(1, slots - offset));
        }
        for slot in offset..offset + count {
            self.must_be_empty(Place::Node(node, slot))?;
        }
        let anew = !self.has_children(inv.place);
        let start = if anew { 0 } else { used };
        let free = (1 << bits) - start;
        if free >> size < count {
            return Err(Refusal::NotEnoughMemory(free));
        }
        if device && !kind.is_frame() && kind != ObjectType::Untyped {
            return Err(Refusal::InvalidArgument(1));
        }
        if anew {
            // What was there before is gone.
            self.memory
                .retain(|&piece, _| piece < at || piece >= at + used);
        }
        let first = (at + start).next_multiple_of(1 << size);
        let used = first + (count << size) - at;
        self.set_cap(
            inv.place,
            Cap::Untyped {
                at,
                bits,
                device,
                used,
            },
        );
        for number in 0..count {
            let cap = self.new_object(kind, first + (number << size), wanted_bits, device);
            self.insert_new(cap, inv.place, Place::Node(node, offset + number));
        }
        DONE
    }

    fn new_object(&mut self, kind: ObjectType, at: Addr, bits: u64, device: bool) -> Cap {
        match kind {
            ObjectType::Untyped => Cap::Untyped {
                at,
                bits,
                device,
                used: 0,
            },
            ObjectType::Tcb => {
                self.threads.insert(at, crate::state::Thread::new());
                Cap::Thread { at }
            }
            ObjectType::Endpoint => {
                self.endpoints.insert(at, Default::default());
                Cap::Endpoint {
                    at,
                    badge: 0,
                    rights: Rights::ALL,
                }
            }
            ObjectType::Notification => {
                self.notifications.insert(at, Default::default());
                Cap::Notification {
                    at,
                    badge: 0,
                    send: true,
                    receive: true,
                }
            }
            ObjectType::CapTable => {
                self.nodes.insert(at, bits);
                Cap::CNode {
                    at,
                    radix: bits,
                    guard: 0,
                    guard_bits: 0,
                }
            }
            ObjectType::KernelLane => Cap::LeftOut,
            ObjectType::PageTable => {
                self.tables.insert(at, Default::default());
                Cap::Table { at, mapped: None }
            }
            ObjectType::Page | ObjectType::MegaPage | ObjectType::GigaPage => Cap::Frame {
                at,
                bits: kind.size_bits(0),
                read: true,
                write: true,
                device,
                mapped: None,
            },
        }
    }

    // -- Interrupts ----------------------------------------------------------------------------------------------

    fn issue_handler(&mut self, inv: &Invocation) -> Answer {
        let arg = |index| self.arg(inv, index);
        let (edge, index, depth) = match inv.label {
            Some(Label::IrqIssueHandler) => {
                inv.need(3)?;
                (false, arg(1), arg(2))
            }
            Some(Label::IrqIssueHandlerTrigger) => {
                inv.need(4)?;
                (arg(1) != 0, arg(2), arg(3))
            }
            _ => return Err(Refusal::IllegalOperation),
        };
        let root = self.cap(inv.extra(0)?);
        let irq = arg(0);
        if !(MIN_IRQ..=TIMER_IRQ).contains(&irq) {
            return Err(Refusal::Range(MIN_IRQ, TIMER_IRQ));
        }
        if irq == TIMER_IRQ || self.irqs.contains_key(&irq) {
            return Err(Refusal::RevokeFirst);
        }
        let dest = self.lookup_at(root, index, depth, false)?;
        self.must_be_empty(dest)?;
        let claimed = false;
        self.irqs.insert(irq, Irq { edge, claimed });
        self.insert(Cap::IrqHandler { irq }, inv.place, dest);
        DONE
    }

    fn invoke_handler(&mut self, inv: &Invocation, irq: u64) -> Answer {
        match inv.label {
            Some(Label::IrqAck) => {
                if let Some(irq) = self.irqs.get_mut(&irq) {
                    irq.claimed = false;
                }
            }
            Some(Label::IrqSetHandler) => {
                let source = inv.extra(0)?;
                match self.cap(source) {
                    Some(cap @ Cap::Notification { send: true, .. }) => {
                        self.delete(Place::Irq(irq));
                        self.insert(cap, source, Place::Irq(irq));
                    }
                    _ => return Err(Refusal::InvalidCapability(0)),
                }
            }
            Some(Label::IrqClear) => self.delete(Place::Irq(irq)),
            _ => return Err(Refusal::IllegalOperation),
        }
        DONE
    }
}
