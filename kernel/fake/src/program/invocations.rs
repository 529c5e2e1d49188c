//! Invocations that make sense, or nearly: which label, words and capabilities an object of that type understands.

use super::Run;
use super::toys::{DEPTH, IRQS, PAGES, ROOT, SLOTS, Toys};
use baton_kernel_core::cap::Cap;
use baton_sel4_abi::baton::KERNEL_LANE_TYPE;
use baton_sel4_abi::{CapRights, KernelLaneLabel, Label, ROOT_CNODE_SIZE_BITS};

/// Slots of the initial thread with a fixed meaning, from 1 on.
const OWN_SLOTS: u64 = 11;

/// A message to an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) cap: u64,
    pub(super) label: u64,
    pub(super) words: Vec<u64>,
    pub(super) caps: Vec<u64>,
}

const TCB_LABELS: [Label; 15] = [
    Label::TcbReadRegisters,
    Label::TcbWriteRegisters,
    Label::TcbCopyRegisters,
    Label::TcbConfigure,
    Label::TcbSetPriority,
    Label::TcbSetMcPriority,
    Label::TcbSetSchedParams,
    Label::TcbSetIpcBuffer,
    Label::TcbSetSpace,
    Label::TcbSuspend,
    Label::TcbResume,
    Label::TcbBindNotification,
    Label::TcbUnbindNotification,
    Label::TcbSetTlsBase,
    Label::TcbSetFlags,
];

const CNODE_LABELS: [Label; 9] = [
    Label::CNodeRevoke,
    Label::CNodeDelete,
    Label::CNodeCancelBadgedSends,
    Label::CNodeCopy,
    Label::CNodeMint,
    Label::CNodeMove,
    Label::CNodeMutate,
    Label::CNodeRotate,
    Label::CNodeSaveCaller,
];

impl Run<'_> {
    /// One of the slots that programs play with.
    pub(super) fn toy(&mut self) -> u64 {
        self.toys.first + self.input.below(SLOTS)
    }

    /// A slot, mostly one of those with something in it: a pointer that leads nowhere stops its thread.
    pub(super) fn slot(&mut self) -> u64 {
        match self.input.below(64) {
            0 => self.input.word(),
            1..8 => self.input.below(16),
            8..16 => self.toy(),
            _ => self.slot_with(|cap| *cap != Cap::Null),
        }
    }

    /// A slot from which something can be received, mostly.
    pub(super) fn source(&mut self) -> u64 {
        match self.input.below(16) {
            0 => self.slot(),
            1..6 => {
                self.slot_with(|cap| matches!(cap, Cap::Endpoint { .. } | Cap::Notification { .. }))
            }
            // Where the faults of all threads go, so that some are answered.
            _ => self.toys.handler,
        }
    }

    /// A slot that holds such a capability, if there is one: the next from one on that the input chooses.
    pub(super) fn slot_with(&mut self, wanted: impl Fn(&Cap) -> bool) -> u64 {
        self.slot_that(|_, cap| wanted(&cap))
    }

    fn slot_that(&mut self, wanted: impl Fn(&Toys, Cap) -> bool) -> u64 {
        let count = OWN_SLOTS + SLOTS;
        let start = self.input.below(count);
        let mut slots = (start..start + count).map(|number| match number % count {
            own @ 0..OWN_SLOTS => 1 + own,
            toy => self.toys.first + toy - OWN_SLOTS,
        });
        let found = slots.find(|&slot| wanted(&self.toys, self.toys.cap_in(slot)));
        found.unwrap_or(self.toys.first + start % SLOTS)
    }

    /// The root of an address space, mostly.
    fn space(&mut self) -> u64 {
        if self.input.below(8) == 0 {
            return self.slot_with(|cap| matches!(cap, Cap::PageTable { .. }));
        }
        self.slot_that(|toys, cap| match cap {
            Cap::PageTable { address, asid, .. } => {
                toys.fake.kernel().address_space(asid) == Some(address)
            }
            _ => false,
        })
    }

    /// A slot that is empty or, sometimes, any.
    fn free_slot(&mut self) -> u64 {
        match self.input.below(8) {
            0 => self.slot(),
            _ => self.slot_with(|cap| *cap == Cap::Null),
        }
    }

    /// A CNode, mostly the root.
    fn cnode(&mut self) -> u64 {
        match self.input.below(4) {
            0 => self.slot_with(|cap| matches!(cap, Cap::CNode { .. })),
            _ => ROOT,
        }
    }

    /// Where a page or a table may be mapped.
    fn vaddr(&mut self) -> u64 {
        match self.input.below(8) {
            0 => self.input.word(),
            1 => self.input.below(16) << 30,
            2 => self.input.below(16) << 21,
            3 => PAGES + (self.input.below(4) << 21),
            _ => PAGES + (self.input.below(16) << 12),
        }
    }

    fn rights(&mut self) -> u64 {
        match self.input.below(4) {
            0 => self.input.below(16),
            _ => CapRights::ALL.word(),
        }
    }

    /// An invocation of whatever is in one of the slots.
    pub(super) fn invocation(&mut self) -> Message {
        let mut cap = self.slot();
        let mut object = self.toys.cap_in(cap);
        if self.input.below(2) == 0 || object == Cap::Null {
            // Otherwise most would be of CNodes and threads.
            let kind = self.input.below(12);
            cap = self.slot_with(|cap| number_of(cap) == kind);
            object = self.toys.cap_in(cap);
        }
        let mut message = self.message_for(object);
        message.cap = cap;
        match self.input.below(16) {
            0 => self.spoil(&mut message),
            1 => message.label = self.input.below(48),
            _ => {}
        }
        message
    }

    /// Changes something at random.
    fn spoil(&mut self, message: &mut Message) {
        match self.input.below(5) {
            0 => message.cap = self.input.word(),
            1 => {
                message.words.pop();
            }
            2 => {
                message.caps.pop();
            }
            3 if !message.caps.is_empty() => {
                let index = usize::from(self.input.byte()) % message.caps.len();
                message.caps[index] = self.slot();
            }
            _ if !message.words.is_empty() => {
                let index = usize::from(self.input.byte()) % message.words.len();
                message.words[index] = self.input.word();
            }
            _ => {}
        }
    }

    fn message_for(&mut self, object: Cap) -> Message {
        match object {
            Cap::Untyped { .. } => self.retype(),
            Cap::Thread { .. } => self.of_thread(),
            Cap::CNode { radix, .. } => self.of_cnode(radix),
            Cap::IrqControl => self.issue_handler(),
            Cap::IrqHandler { .. } => self.of_handler(),
            Cap::Domain => self.of_domain(),
            Cap::Frame { asid, vaddr, .. } => self.of_frame((asid != 0).then_some(vaddr)),
            Cap::PageTable { mapped, .. } => self.of_table(mapped),
            Cap::AsidControl => {
                let words = vec![self.free_slot(), DEPTH];
                let memory = self.slot_with(|cap| {
                    matches!(
                        cap,
                        Cap::Untyped {
                            size_bits: 12,
                            device: false,
                            ..
                        }
                    )
                });
                message(Label::AsidControlMakePool, words, vec![memory, ROOT])
            }
            Cap::KernelLane { .. } => self.of_lane(),
            Cap::AsidPool { .. } => {
                let root =
                    self.slot_with(|cap| matches!(cap, Cap::PageTable { mapped: false, .. }));
                message(Label::AsidPoolAssign, vec![], vec![root])
            }
            Cap::Endpoint { .. }
            | Cap::Notification { .. }
            | Cap::Reply { .. }
            | Cap::Zombie { .. }
            | Cap::Null => {
                let words = (0..self.input.below(8))
                    .map(|_| self.input.word())
                    .collect();
                let caps = (0..self.input.below(4)).map(|_| self.slot()).collect();
                Message {
                    label: self.input.below(48),
                    words,
                    caps,
                    cap: 0,
                }
            }
        }
    }

    fn retype(&mut self) -> Message {
        let kind = match self.input.below(10) {
            9 => KERNEL_LANE_TYPE,
            kind => kind,
        };
        let bits = 1 + self.input.below(16);
        let (index, depth) = match self.input.below(8) {
            0 => (self.slot(), DEPTH),
            1 => (self.input.word(), self.input.word()),
            _ => (0, 0),
        };
        let root = self.cnode();
        let offset = match (root, depth) {
            (ROOT, 0) => self.free_slot(),
            _ => self.input.below(16),
        };
        let count = 1 + self.input.below(4);
        let words = vec![kind, bits, index, depth, offset, count];
        message(Label::UntypedRetype, words, vec![root])
    }

    fn of_thread(&mut self) -> Message {
        let label = self.input.pick(&TCB_LABELS);
        let thread = |cap: &Cap| matches!(cap, Cap::Thread { .. });
        let frame = |cap: &Cap| matches!(cap, Cap::Frame { .. });
        let (words, caps) = match label {
            Label::TcbReadRegisters => {
                (vec![self.input.below(2), 1 + self.input.below(34)], vec![])
            }
            Label::TcbWriteRegisters => {
                let count = self.input.below(34);
                let mut words = vec![self.input.below(2), count];
                let pattern = self.input.word();
                words.extend((0..count).map(|index| pattern.wrapping_mul(index + 1)));
                (words, vec![])
            }
            Label::TcbCopyRegisters => (vec![self.input.below(16)], vec![self.slot_with(thread)]),
            Label::TcbConfigure => {
                let words = vec![self.slot(), self.guard(), 0, self.vaddr()];
                let caps = vec![self.cnode(), self.space(), self.slot_with(frame)];
                (words, caps)
            }
            Label::TcbSetPriority | Label::TcbSetMcPriority => {
                (vec![self.priority()], vec![self.slot_with(thread)])
            }
            Label::TcbSetSchedParams => (
                vec![self.priority(), self.priority()],
                vec![self.slot_with(thread)],
            ),
            Label::TcbSetIpcBuffer => (vec![self.vaddr()], vec![self.slot_with(frame)]),
            Label::TcbSetSpace => {
                let words = vec![self.slot(), self.guard(), 0];
                (words, vec![self.cnode(), self.space()])
            }
            Label::TcbBindNotification => {
                let wanted = |cap: &Cap| matches!(cap, Cap::Notification { .. });
                (vec![], vec![self.slot_with(wanted)])
            }
            Label::TcbSetTlsBase => (vec![self.input.word()], vec![]),
            Label::TcbSetFlags => (vec![self.input.below(2), self.input.below(2)], vec![]),
            _ => (vec![], vec![]),
        };
        message(label, words, caps)
    }

    fn priority(&mut self) -> u64 {
        match self.input.below(4) {
            0 => self.input.below(256),
            1 => 100,
            2 => 200,
            _ => 150,
        }
    }

    /// A guard that fits one of the CNodes, or any.
    fn guard(&mut self) -> u64 {
        match self.input.below(4) {
            0 => self.input.word(),
            1 => DEPTH - 4 - ROOT_CNODE_SIZE_BITS,
            _ => 0,
        }
    }

    fn of_cnode(&mut self, radix: u64) -> Message {
        let label = self.input.pick(&CNODE_LABELS);
        // Of the root, slots; of others, as many bits as they have.
        let small = radix != ROOT_CNODE_SIZE_BITS;
        let own_depth = if small { radix } else { DEPTH };
        let full = |cap: &Cap| *cap != Cap::Null;
        let badged = |cap: &Cap| matches!(cap, Cap::Endpoint { badge: 1.., .. });
        let guardable = |cap: &Cap| {
            matches!(
                cap,
                Cap::CNode { .. } | Cap::Endpoint { .. } | Cap::Notification { .. }
            )
        };
        let dest = match label {
            _ if small => self.input.below(1 << radix.min(8)),
            Label::CNodeRevoke | Label::CNodeDelete => self.slot_with(full),
            Label::CNodeCancelBadgedSends => self.slot_with(badged),
            _ => self.free_slot(),
        };
        let mut words = vec![dest, own_depth];
        let mut caps = vec![ROOT];
        match label {
            Label::CNodeCopy => words.extend([self.slot_with(full), DEPTH, self.rights()]),
            Label::CNodeMint => {
                let source = self.slot_with(guardable);
                words.extend([source, DEPTH, self.rights(), self.badge()]);
            }
            Label::CNodeMove => words.extend([self.slot_with(full), DEPTH]),
            Label::CNodeMutate => {
                let source = self.slot_with(|cap| matches!(cap, Cap::CNode { .. }));
                words.extend([source, DEPTH, self.guard()]);
            }
            Label::CNodeRotate => {
                let pivot = self.slot_with(full);
                let source = match self.input.below(2) {
                    0 => dest,
                    _ => self.slot_with(full),
                };
                words.extend([0, pivot, DEPTH, 0, source, DEPTH]);
                caps.push(ROOT);
            }
            _ => caps.clear(),
        }
        message(label, words, caps)
    }

    fn badge(&mut self) -> u64 {
        match self.input.below(4) {
            0 => self.input.word(),
            1 => 0,
            _ => 5,
        }
    }

    fn irq(&mut self) -> u64 {
        match self.input.below(3) {
            0 => self.input.word(),
            _ => self.input.pick(&IRQS),
        }
    }

    fn issue_handler(&mut self) -> Message {
        let irq = self.irq();
        let slot = self.free_slot();
        match self.input.below(2) {
            0 => message(Label::IrqIssueHandler, vec![irq, slot, DEPTH], vec![ROOT]),
            _ => {
                let words = vec![irq, self.input.below(2), slot, DEPTH];
                message(Label::IrqIssueHandlerTrigger, words, vec![ROOT])
            }
        }
    }

    fn of_handler(&mut self) -> Message {
        match self.input.below(3) {
            0 => message(Label::IrqAck, vec![], vec![]),
            1 => message(Label::IrqClear, vec![], vec![]),
            _ => {
                let wanted = |cap: &Cap| matches!(cap, Cap::Notification { .. });
                let notification = self.slot_with(wanted);
                message(Label::IrqSetHandler, vec![], vec![notification])
            }
        }
    }

    fn of_domain(&mut self) -> Message {
        match self.input.below(3) {
            0 => {
                let thread = self.slot_with(|cap| matches!(cap, Cap::Thread { .. }));
                message(Label::DomainSet, vec![self.input.below(5)], vec![thread])
            }
            1 => {
                let words = vec![
                    self.input.below(4),
                    self.input.below(5),
                    self.input.below(9),
                ];
                message(Label::DomainScheduleConfigure, words, vec![])
            }
            _ => message(
                Label::DomainScheduleSetStart,
                vec![self.input.below(4)],
                vec![],
            ),
        }
    }

    /// `mapped` is where it is mapped, if it is.
    fn of_frame(&mut self, mapped: Option<u64>) -> Message {
        match self.input.below(4) {
            0 => message(Label::PageUnmap, vec![], vec![]),
            1 => message(Label::PageGetAddress, vec![], vec![]),
            _ => {
                let vaddr = match mapped {
                    Some(vaddr) if self.input.below(4) != 0 => vaddr,
                    _ => self.vaddr(),
                };
                let words = vec![vaddr, self.rights(), self.input.below(2)];
                message(Label::PageMap, words, vec![self.space()])
            }
        }
    }

    fn of_lane(&mut self) -> Message {
        let (label, words, caps) = match self.input.below(4) {
            0 => (KernelLaneLabel::Unbind, vec![], vec![]),
            1 => {
                let words = vec![self.input.below(6), self.free_slot(), DEPTH];
                (KernelLaneLabel::GetFrame, words, vec![ROOT])
            }
            _ => {
                let bulk = self.input.pick(&[0, 64, 128]);
                let words = vec![self.input.below(8), bulk, bulk, self.input.below(4)];
                let thread = self.slot_with(|cap| matches!(cap, Cap::Thread { .. }));
                (KernelLaneLabel::Bind, words, vec![thread])
            }
        };
        Message {
            cap: 0,
            label: label.number(),
            words,
            caps,
        }
    }

    fn of_table(&mut self, mapped: bool) -> Message {
        let unmap = self.input.below(8) < if mapped { 7 } else { 1 };
        if unmap {
            return message(Label::PageTableUnmap, vec![], vec![]);
        }
        let words = vec![self.vaddr(), 0];
        message(Label::PageTableMap, words, vec![self.space()])
    }
}

fn message(label: Label, words: Vec<u64>, caps: Vec<u64>) -> Message {
    Message {
        cap: 0,
        label: label.number(),
        words,
        caps,
    }
}

/// The types that can be invoked with a label of their own, numbered.
fn number_of(cap: &Cap) -> u64 {
    match cap {
        Cap::Untyped { .. } => 0,
        Cap::Thread { .. } => 1,
        Cap::CNode { .. } => 2,
        Cap::IrqControl => 3,
        Cap::IrqHandler { .. } => 4,
        Cap::Domain => 5,
        Cap::Frame { .. } => 6,
        Cap::PageTable { mapped: false, .. } => 7,
        Cap::PageTable { .. } => 8,
        Cap::AsidControl => 9,
        Cap::AsidPool { .. } => 10,
        Cap::KernelLane { .. } => 11,
        _ => u64::MAX,
    }
}
