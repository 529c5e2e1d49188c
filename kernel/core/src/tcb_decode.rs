//! Invocations of threads. Reference manual, section 10.3.7.

use crate::cap::{Cap, kind, kind_of};
use crate::endpoint::queue_state;
use crate::error::{Answer, Decoded, Preempted, Stop, SyscallError};
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{Notification, Slot, Tcb, reg, tcb_slot};
use baton_sel4_abi::context::{FRAME_GROUP_WORDS, USER_CONTEXT_WORDS};
use baton_sel4_abi::{CapRights, IPC_BUFFER_BITS, Label, TCB_FLAG_FPU_DISABLED, TCB_FLAGS_MASK};

/// The registers of a thread in the order of a message: frame group, then integer group.
const USER_CONTEXT: [usize; USER_CONTEXT_WORDS] = [
    reg::PC,
    reg::RA,
    reg::SP,
    reg::GP,
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
    27, // s0-s11
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17, // a0-a7
    5,
    6,
    7,
    28,
    29,
    30,
    31, // t0-t6
    reg::TP,
];

/// A capability that is to be put into a thread's slot, and where it comes from.
#[derive(Clone, Copy)]
struct Install<'m> {
    cap: Cap,
    source: &'m Slot,
}

/// What `Configure`, `SetSpace` and `SetIPCBuffer` have in common.
struct NewSpace<'m> {
    fault_handler: u64,
    cspace: Install<'m>,
    vspace: Install<'m>,
}

/// An IPC buffer: its address, and its frame unless the address is 0.
struct NewBuffer<'m> {
    address: u64,
    frame: Option<Install<'m>>,
}

impl<'m, M: Machine> Kernel<'m, M> {
    pub(crate) fn decode_tcb(self, inv: &Invocation<'m>, tcb: &'m Tcb) -> Decoded {
        match Label::from_number(inv.label) {
            Some(Label::TcbReadRegisters) => self.read_registers(inv, tcb),
            Some(Label::TcbWriteRegisters) => self.write_registers(inv, tcb),
            Some(Label::TcbCopyRegisters) => self.copy_registers(inv, tcb),
            Some(Label::TcbConfigure) => self.tcb_configure(inv, tcb),
            Some(Label::TcbSetPriority) => {
                inv.need(1)?;
                let priority = inv.arg::<0>();
                self.check_priority(inv, priority)?;
                self.set_priority(tcb, priority);
                Ok(Answer::Empty)
            }
            Some(Label::TcbSetMcPriority) => {
                inv.need(1)?;
                let mcp = inv.arg::<0>();
                self.check_priority(inv, mcp)?;
                tcb.mcp.set(mcp);
                Ok(Answer::Empty)
            }
            Some(Label::TcbSetSchedParams) => {
                inv.need(2)?;
                let (mcp, priority) = (inv.arg::<0>(), inv.arg::<1>());
                self.check_priority(inv, mcp)?;
                self.check_priority(inv, priority)?;
                tcb.mcp.set(mcp);
                self.set_priority(tcb, priority);
                Ok(Answer::Empty)
            }
            Some(Label::TcbSetIpcBuffer) => {
                inv.need(1)?;
                let source = inv.extra::<0>()?;
                let buffer = self.new_buffer(inv.arg::<0>(), source)?;
                self.install_buffer(inv, tcb, buffer)?;
                Ok(Answer::Empty)
            }
            Some(Label::TcbSetSpace) => self.tcb_set_space(inv, tcb),
            Some(Label::TcbSuspend) => {
                self.suspend(tcb);
                Ok(Answer::Empty)
            }
            Some(Label::TcbResume) => {
                self.restart(tcb);
                Ok(Answer::Empty)
            }
            Some(Label::TcbBindNotification) => self.tcb_bind(inv, tcb),
            Some(Label::TcbUnbindNotification) => {
                if tcb.bound_notification.get() == 0 {
                    return Err(SyscallError::IllegalOperation.into());
                }
                self.unbind_notification(tcb);
                Ok(Answer::Empty)
            }
            Some(Label::TcbSetTlsBase) => {
                inv.need(1)?;
                tcb.context.set::<{ reg::TP }>(inv.arg::<0>());
                Ok(Answer::Empty)
            }
            Some(Label::TcbSetFlags) => self.tcb_set_flags(inv, tcb),
            _ => Err(SyscallError::IllegalOperation.into()),
        }
    }

    /// Nobody may give a priority above the maximum controlled priority of the thread that the first capability names.
    fn check_priority(self, inv: &Invocation<'m>, priority: u64) -> Result<(), SyscallError> {
        let Cap::Thread { tcb } = Cap::decode(inv.extra::<0>()?.cap()) else {
            return Err(SyscallError::InvalidCapability(1));
        };
        let authority: &Tcb = self.mem.get(tcb);
        let max = authority.mcp.get();
        if priority > max {
            return Err(SyscallError::RangeError { min: 0, max });
        }
        Ok(())
    }

    fn read_registers(self, inv: &Invocation<'m>, tcb: &'m Tcb) -> Decoded {
        inv.need(2)?;
        let (flags, count) = (inv.arg::<0>(), inv.arg::<1>());
        if !(1..=USER_CONTEXT_WORDS as u64).contains(&count) {
            return Err(SyscallError::RangeError {
                min: 1,
                max: USER_CONTEXT_WORDS as u64,
            }
            .into());
        }
        if self.is_current(tcb) {
            return Err(SyscallError::IllegalOperation.into());
        }
        if flags & 1 != 0 {
            self.suspend(tcb);
        }
        if !inv.call {
            return Ok(Answer::Empty);
        }
        let mut words = self.result_words(inv);
        for register in USER_CONTEXT.into_iter().take(count as usize) {
            words.push(tcb.context.read(register));
        }
        Ok(Answer::Written(words.length))
    }

    fn write_registers(self, inv: &Invocation<'m>, tcb: &'m Tcb) -> Decoded {
        inv.need(2)?;
        let (flags, count) = (inv.arg::<0>(), inv.arg::<1>());
        if inv.length - 2 < count {
            return Err(SyscallError::TruncatedMessage.into());
        }
        if self.is_current(tcb) {
            return Err(SyscallError::IllegalOperation.into());
        }
        self.abandon_cancellation(tcb);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        for (index, register) in USER_CONTEXT.into_iter().enumerate().take(count) {
            tcb.context.write(register, inv.arg_at(2 + index));
        }
        self.go_on_at_pc(tcb);
        if flags & 1 != 0 {
            self.restart(tcb);
        }
        Ok(Answer::Empty)
    }

    fn copy_registers(self, inv: &Invocation<'m>, dest: &'m Tcb) -> Decoded {
        inv.need(1)?;
        let source = inv.extra::<0>()?;
        let flags = inv.arg::<0>();
        let Cap::Thread { tcb } = Cap::decode(source.cap()) else {
            return Err(SyscallError::InvalidCapability(1).into());
        };
        let source: &'m Tcb = self.mem.get(tcb);
        let (frame, integer) = USER_CONTEXT.split_at(FRAME_GROUP_WORDS);
        self.abandon_cancellation(dest);
        if flags & 1 != 0 {
            self.suspend(source);
        }
        if flags & 2 != 0 {
            self.restart(dest);
        }
        if flags & 4 != 0 {
            for &register in frame {
                dest.context.write(register, source.context.read(register));
            }
            self.go_on_at_pc(dest);
        }
        if flags & 8 != 0 {
            for &register in integer {
                dest.context.write(register, source.context.read(register));
            }
        }
        Ok(Answer::Empty)
    }

    fn go_on_at_pc(self, tcb: &'m Tcb) {
        let context = &tcb.context;
        context.set::<{ reg::NEXT_PC }>(context.get::<{ reg::PC }>());
    }

    fn tcb_configure(self, inv: &Invocation<'m>, tcb: &'m Tcb) -> Decoded {
        inv.need(4)?;
        let cspace = inv.extra::<0>()?;
        let vspace = inv.extra::<1>()?;
        let frame = inv.extra::<2>()?;
        let (cspace_data, vspace_data) = (inv.arg::<1>(), inv.arg::<2>());
        let buffer = self.new_buffer(inv.arg::<3>(), frame)?;
        let space = NewSpace {
            fault_handler: inv.arg::<0>(),
            ..self.new_space(tcb, (cspace, cspace_data), (vspace, vspace_data))?
        };
        self.install_space(inv, tcb, space)?;
        self.install_buffer(inv, tcb, buffer)?;
        Ok(Answer::Empty)
    }

    fn tcb_set_space(self, inv: &Invocation<'m>, tcb: &'m Tcb) -> Decoded {
        inv.need(3)?;
        let cspace = inv.extra::<0>()?;
        let vspace = inv.extra::<1>()?;
        let (cspace_data, vspace_data) = (inv.arg::<1>(), inv.arg::<2>());
        let space = NewSpace {
            fault_handler: inv.arg::<0>(),
            ..self.new_space(tcb, (cspace, cspace_data), (vspace, vspace_data))?
        };
        self.install_space(inv, tcb, space)?;
        Ok(Answer::Empty)
    }

    /// Checks capability space and address space, each with the data that is to be set in its capability if not 0.
    fn new_space(
        self,
        tcb: &'m Tcb,
        (cspace, cspace_data): (&'m Slot, u64),
        (vspace, vspace_data): (&'m Slot, u64),
    ) -> Result<NewSpace<'m>, SyscallError> {
        let long = |slot: &Slot| {
            matches!(
                kind_of(slot.cap_first()),
                kind::THREAD | kind::ZOMBIE | kind::CNODE
            ) && self.is_final(slot)
        };
        // What is there is deleted in one step.
        if long(&tcb.slots[tcb_slot::CTABLE]) || long(&tcb.slots[tcb_slot::VTABLE]) {
            return Err(SyscallError::IllegalOperation);
        }
        let derive = |slot: &'m Slot, data: u64| {
            let cap = Cap::decode(slot.cap());
            let cap = if data == 0 {
                cap
            } else {
                cap.with_data(false, data)
            };
            self.derive_cap(slot, cap)
        };
        let cspace_cap = derive(cspace, cspace_data)?;
        if !matches!(cspace_cap, Cap::CNode { .. }) {
            return Err(SyscallError::IllegalOperation);
        }
        let vspace_cap = derive(vspace, vspace_data)?;
        if !self.is_vspace_root(vspace_cap) {
            return Err(SyscallError::IllegalOperation);
        }
        Ok(NewSpace {
            fault_handler: 0,
            cspace: Install {
                cap: cspace_cap,
                source: cspace,
            },
            vspace: Install {
                cap: vspace_cap,
                source: vspace,
            },
        })
    }

    /// Checks an IPC buffer.
    fn new_buffer(self, address: u64, source: &'m Slot) -> Result<NewBuffer<'m>, SyscallError> {
        if address == 0 {
            return Ok(NewBuffer {
                address,
                frame: None,
            });
        }
        let cap = self.derive_cap(source, Cap::decode(source.cap()))?;
        if !matches!(cap, Cap::Frame { device: false, .. }) {
            return Err(SyscallError::IllegalOperation);
        }
        if address & ((1 << IPC_BUFFER_BITS) - 1) != 0 {
            return Err(SyscallError::AlignmentError);
        }
        Ok(NewBuffer {
            address,
            frame: Some(Install { cap, source }),
        })
    }

    fn install_space(
        self,
        inv: &Invocation<'m>,
        tcb: &'m Tcb,
        space: NewSpace<'m>,
    ) -> Result<(), Preempted> {
        tcb.fault_handler.set(space.fault_handler);
        self.install(inv, tcb, &tcb.slots[tcb_slot::CTABLE], Some(space.cspace))?;
        self.install(inv, tcb, &tcb.slots[tcb_slot::VTABLE], Some(space.vspace))?;
        if self.is_current(tcb) {
            self.switch_vspace(tcb);
        }
        Ok(())
    }

    fn install_buffer(
        self,
        inv: &Invocation<'m>,
        tcb: &'m Tcb,
        buffer: NewBuffer<'m>,
    ) -> Result<(), Preempted> {
        let slot = &tcb.slots[tcb_slot::BUFFER];
        self.delete(slot)?;
        tcb.ipc_buffer.set(buffer.address);
        self.install(inv, tcb, slot, buffer.frame)
    }

    /// Puts a capability in place of what is in one of the thread's slots. Deleting the old may have deleted the new, or
    /// the thread itself: then the slot stays empty.
    fn install(
        self,
        inv: &Invocation<'m>,
        tcb: &'m Tcb,
        slot: &'m Slot,
        new: Option<Install<'m>>,
    ) -> Result<(), Preempted> {
        self.delete(slot)?;
        let thread = Cap::Thread {
            tcb: self.mem.address(tcb),
        };
        if let Some(Install { cap, source }) = new
            && cap.same_object(Cap::decode(source.cap()))
            && thread.same_object(Cap::decode(inv.slot.cap()))
        {
            self.insert_cap(cap, source, slot);
        }
        Ok(())
    }

    fn tcb_bind(self, inv: &Invocation<'m>, tcb: &'m Tcb) -> Decoded {
        let slot = inv.extra::<0>()?;
        let illegal = Err(Stop::Error(SyscallError::IllegalOperation));
        if tcb.bound_notification.get() != 0 {
            return illegal;
        }
        let Cap::Notification {
            address, rights, ..
        } = Cap::decode(slot.cap())
        else {
            return illegal;
        };
        let notification: &'m Notification = self.mem.get(address);
        let waited_for = notification.head.get() & queue_state::MASK == queue_state::WAITING;
        if !rights.contains(CapRights::READ) || waited_for || notification.bound.get() != 0 {
            return illegal;
        }
        self.bind_notification(tcb, notification);
        Ok(Answer::Empty)
    }

    fn tcb_set_flags(self, inv: &Invocation<'m>, tcb: &'m Tcb) -> Decoded {
        inv.need(2)?;
        let (clear, set) = (inv.arg::<0>(), inv.arg::<1>());
        let flags = (tcb.flags.get() & !clear) | (set & TCB_FLAGS_MASK);
        tcb.flags.set(flags);
        if flags & TCB_FLAG_FPU_DISABLED != 0 {
            self.release_fpu(tcb);
        }
        Ok(Answer::Word(flags))
    }
}
