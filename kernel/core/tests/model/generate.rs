//! What to do next: mostly something that may well succeed, by what the model knows of the running thread's capabilities;
//! sometimes anything.

use crate::caps::{Addr, Cap, Place, low, own};
use crate::random::Random;
use crate::state::Model;
use crate::world::{Call, FIRST_RADIX, Step};
use baton_sel4_abi::{CNodeCapData, CapRights, Label, MessageInfo, ObjectType, Syscall, WORD_BITS};

/// A slot by what names it: a capability pointer, or index and depth from some CNode on.
#[derive(Clone, Copy)]
struct Named {
    cap: Option<Cap>,
    /// Whether a pointer of all its bits ends here: not if a CNode is there, and bits are left for it.
    ends: bool,
    pointer: u64,
    depth: u64,
}

/// How deep the generator looks into CNodes.
const LEVELS: u32 = 3;

pub struct Generator<'m> {
    model: &'m Model,
    random: &'m mut Random,
    caller: Addr,
    /// What the caller can name.
    named: Vec<Named>,
}

/// The next step; none if nothing can happen any more that anybody would notice.
pub fn next(model: &Model, random: &mut Random) -> Option<Step> {
    let Some(caller) = model.running else {
        // Only an interrupt can wake somebody.
        let irqs: Vec<u64> = model.irqs.keys().copied().collect();
        return match random.pick_any(&irqs) {
            Some(irq) if !random.one_in(8) => Some(Step::Interrupt(irq)),
            _ => None,
        };
    };
    let alone = model.ready.is_empty();
    match random.below(50) {
        0 | 1 => return Some(Step::Tick),
        2 => {
            let irqs: Vec<u64> = model.irqs.keys().copied().collect();
            let irq = random.pick_any(&irqs).unwrap_or(1 + random.below(95));
            return Some(Step::Interrupt(irq));
        }
        3 if !alone || random.one_in(200) => {
            return Some(Step::Exception(random.below(16), random.next()));
        }
        _ => {}
    }
    let mut named = Vec::new();
    let root = model.cap(Place::Thread(caller, own::CSPACE));
    enumerate(model, root, 0, WORD_BITS, WORD_BITS, LEVELS, &mut named);
    if named.is_empty() && alone {
        return None;
    }
    let mut generator = Generator {
        model,
        random,
        caller,
        named,
    };
    let mut call = generator.call();
    if alone && !generator.random.one_in(500) {
        // The last that runs is mostly kept from stopping.
        for _ in 0..TRIES {
            if !stops_all(model, &call) {
                break;
            }
            call = generator.call();
        }
    }
    Some(Step::Call(call))
}

/// How often another call is looked for in place of one after which nobody would run.
const TRIES: u32 = 20;

fn stops_all(model: &Model, call: &Call) -> bool {
    let mut after = model.clone();
    after.prepare(call);
    after.syscall();
    after.running.is_none()
}

/// All slots that can be named from a CNode on with `left` of `depth` bits.
fn enumerate(
    model: &Model,
    node: Option<Cap>,
    prefix: u64,
    left: u64,
    depth: u64,
    levels: u32,
    named: &mut Vec<Named>,
) {
    let Some(Cap::CNode {
        at,
        radix,
        guard,
        guard_bits,
    }) = node
    else {
        return;
    };
    if guard_bits + radix > left || levels == 0 {
        return;
    }
    let rest = left - guard_bits - radix;
    let guard = match left - guard_bits {
        64 => 0,
        shift => guard << shift,
    };
    let mut full = model.caps.range(Place::Node(at, 0)..).peekable();
    for index in 0..1 << radix {
        let place = Place::Node(at, index);
        let index = if rest == 64 { 0 } else { index << rest };
        let pointer = prefix | guard | index;
        let full = full.next_if(|&(&at, _)| at == place);
        let cap = full.map(|(_, entry)| entry.cap);
        named.push(Named {
            cap,
            ends: rest == 0 || !matches!(cap, Some(Cap::CNode { .. })),
            // As an index of a CNode operation it ends where the slot does.
            pointer,
            depth: depth - rest,
        });
        if rest > 0 {
            enumerate(model, cap, pointer, rest, depth, levels - 1, named);
        }
    }
}

impl Generator<'_> {
    // -- What there is -------------------------------------------------------------------------------------------

    fn pointer_to(&mut self, wanted: impl Fn(&Cap) -> bool) -> u64 {
        let is_wanted = |named: &&Named| named.ends && named.cap.as_ref().is_some_and(&wanted);
        match pick(self.random, self.named.iter().filter(is_wanted)) {
            Some(named) if !self.random.one_in(40) => named.pointer,
            _ => self.any_pointer(),
        }
    }

    fn any_pointer(&mut self) -> u64 {
        match self.random.below(12) {
            0 => self.random.next(),
            1 => self.random.below(64),
            _ => self
                .random
                .pick_any(&self.named)
                .map_or(0, |named| named.pointer),
        }
    }

    /// A CNode by pointer, and a slot in it by index and depth, full or empty.
    fn slot(&mut self, full: bool, wanted: impl Fn(&Cap) -> bool) -> (u64, u64, u64) {
        let pointer = self.pointer_to(|cap| matches!(cap, Cap::CNode { .. }));
        let root = self.model.lookup(self.caller, pointer).ok();
        let root = root.and_then(|place| self.model.cap(place));
        let mut named = Vec::new();
        enumerate(
            self.model, root, 0, WORD_BITS, WORD_BITS, LEVELS, &mut named,
        );
        let fits = |named: &&Named| match &named.cap {
            None => !full,
            Some(cap) => full && wanted(cap),
        };
        let found = pick(self.random, named.iter().filter(fits));
        match found.copied().or_else(|| self.random.pick_any(&named)) {
            Some(named) if !self.random.one_in(50) => {
                let depth = named.depth;
                let index = match WORD_BITS - depth {
                    64 => 0,
                    unused => named.pointer >> unused,
                };
                (pointer, index, depth)
            }
            _ => (pointer, self.random.below(40), self.word() % 70),
        }
    }

    fn empty_slot(&mut self) -> (u64, u64, u64) {
        self.slot(false, |_| true)
    }

    /// Any word.
    fn word(&mut self) -> u64 {
        match self.random.below(9) {
            0 => self.random.next(),
            1 => 1 << self.random.below(64),
            2 => u64::MAX,
            3 => 64,
            4 => self.random.below(9),
            5 => self.random.below(256),
            6 => self.vaddr(),
            _ => self.any_pointer(),
        }
    }

    fn rights(&mut self) -> u64 {
        match self.random.below(3) {
            0 => self.random.below(16),
            _ => CapRights::ALL.word(),
        }
    }

    /// A badge, few enough to meet again.
    fn badge(&mut self) -> u64 {
        match self.random.below(8) {
            0 => 0,
            1 => self.random.next(),
            _ => 1 + self.random.below(5),
        }
    }

    /// Data for whatever capability: a badge, or a guard.
    fn data(&mut self) -> u64 {
        match self.random.below(4) {
            0 => CNodeCapData::skip_to(FIRST_RADIX).word(),
            1 => {
                let bits = self.random.below(64);
                CNodeCapData::new(self.random.below(4) & low(bits), bits).word()
            }
            2 => CNodeCapData::new(self.random.next() >> 6, self.random.below(64)).word(),
            _ => self.badge(),
        }
    }

    fn vaddr(&mut self) -> u64 {
        match self.random.below(8) {
            0 => 0x3f_ffff_f000,
            1 => self.random.below(4) << 30,
            2 => self.random.below(8) << 21,
            3 if self.random.one_in(3) => 0x1000_0000 + self.random.below(0x4000),
            _ => 0x1000_0000 + (self.random.below(16) << 12),
        }
    }

    /// Whether somebody else would run if the caller waited.
    fn others_run(&self) -> bool {
        !self.model.ready.is_empty()
    }

    // -- Calls ---------------------------------------------------------------------------------------------------

    fn call(&mut self) -> Call {
        let caller = Place::Thread(self.caller, own::CALLER);
        if self.model.cap(caller).is_some() && self.random.one_in(20) {
            let (node, index, depth) = self.empty_slot();
            return self.invoke(node, Label::CNodeSaveCaller, &[index, depth], &[]);
        }
        if self.model.buffer(self.caller, false).is_none() && !self.random.one_in(3) {
            return self.without_buffer();
        }
        match self.random.below(100) {
            0..30 => self.cnode(),
            30..38 => self.retype(),
            38..54 => self.thread(),
            54..82 => self.ipc(),
            82..86 => self.irq(),
            86..95 => self.space(),
            95..98 => self.plain(Syscall::Yield, 0),
            _ => self.anything(),
        }
    }

    /// What makes sense without an IPC buffer: to let others run, for most takes one.
    fn without_buffer(&mut self) -> Call {
        let caller = self.caller;
        let thread = match self.random.below(2) {
            0 => self.pointer_to(|cap| *cap == Cap::Thread { at: caller }),
            _ => self.pointer_to(|cap| matches!(cap, Cap::Thread { .. })),
        };
        match self.random.below(6) {
            0 if self.others_run() => self.invoke(thread, Label::TcbSuspend, &[], &[]),
            1 => self.invoke(thread, Label::TcbResume, &[], &[]),
            2 => self.plain(Syscall::Yield, 0),
            3 => {
                let dispensable = self.is_dispensable();
                let (node, index, depth) = self.slot(true, dispensable);
                self.invoke(node, Label::CNodeDelete, &[index, depth], &[])
            }
            _ => self.ipc(),
        }
    }

    fn invoke(&mut self, pointer: u64, label: Label, words: &[u64], caps: &[u64]) -> Call {
        let mut call = Call::invocation(pointer, label, words, caps);
        if self.random.one_in(60) {
            // Fewer words or capabilities than it takes, or more than were written.
            let length = self.random.below(128);
            let info = MessageInfo::new(label.number(), 0, self.random.below(4), length);
            call.info = info.word();
        }
        if self.random.one_in(40) {
            call.number = match self.random.below(2) {
                0 => Syscall::Send.number() as u64,
                _ => Syscall::NBSend.number() as u64,
            };
        }
        call
    }

    fn plain(&mut self, syscall: Syscall, pointer: u64) -> Call {
        Call {
            number: syscall.number() as u64,
            pointer,
            info: 0,
            words: Vec::new(),
            caps: Vec::new(),
            receive: None,
        }
    }

    /// What may be deleted without most that can happen coming to an end.
    fn is_dispensable(&mut self) -> impl Fn(&Cap) -> bool + use<> {
        let anything = self.random.one_in(12);
        move |cap| {
            let matters = match cap {
                Cap::CNode { .. } | Cap::Thread { .. } | Cap::IrqControl | Cap::AsidControl => true,
                Cap::Untyped { bits, .. } => *bits >= 12,
                Cap::Table { mapped, .. } => mapped.is_some(),
                _ => false,
            };
            anything || !matters
        }
    }

    fn cnode(&mut self) -> Call {
        let dispensable = self.is_dispensable();
        let empty = self
            .named
            .iter()
            .filter(|named| named.cap.is_none())
            .count();
        if empty * 6 < self.named.len() && self.random.one_in(2) {
            let (node, index, depth) = self.slot(true, dispensable);
            return self.invoke(node, Label::CNodeDelete, &[index, depth], &[]);
        }
        match self.random.below(30) {
            0..7 => {
                let (from, index, depth) = self.slot(true, |_| true);
                let (to, dest, dest_depth) = self.empty_slot();
                let words = [dest, dest_depth, index, depth, self.rights()];
                self.invoke(to, Label::CNodeCopy, &words, &[from])
            }
            7..13 => {
                let badged = self.random.one_in(6);
                let can = move |cap: &Cap| match cap {
                    Cap::Endpoint { badge, .. } | Cap::Notification { badge, .. } => {
                        *badge == 0 || badged
                    }
                    Cap::CNode { .. } => true,
                    _ => badged,
                };
                let (from, index, depth) = self.slot(true, can);
                let (to, dest, dest_depth) = self.empty_slot();
                let data = self.data();
                let words = [dest, dest_depth, index, depth, self.rights(), data];
                self.invoke(to, Label::CNodeMint, &words, &[from])
            }
            13..17 => {
                let (from, index, depth) = self.slot(true, |_| true);
                let (to, dest, dest_depth) = self.empty_slot();
                let words = [dest, dest_depth, index, depth];
                self.invoke(to, Label::CNodeMove, &words, &[from])
            }
            17 => {
                let (from, index, depth) = self.slot(true, |cap| matches!(cap, Cap::CNode { .. }));
                let (to, dest, dest_depth) = self.empty_slot();
                let words = [dest, dest_depth, index, depth, self.data()];
                self.invoke(to, Label::CNodeMutate, &words, &[from])
            }
            18..21 => {
                let (from, index, depth) = self.slot(true, |_| true);
                let (pivot, pivot_index, pivot_depth) = self.slot(true, |_| true);
                let (to, dest, dest_depth) = match self.random.below(2) {
                    0 => self.empty_slot(),
                    _ => (from, index, depth),
                };
                let (pivot_data, data) = match self.random.below(4) {
                    0 => (self.data(), self.data()),
                    // The guards of those CNodes that matter stay what they are.
                    _ => (
                        guard_of(self.model, self.caller, pivot, pivot_index, pivot_depth),
                        guard_of(self.model, self.caller, from, index, depth),
                    ),
                };
                let words = [
                    dest,
                    dest_depth,
                    pivot_data,
                    pivot_index,
                    pivot_depth,
                    data,
                    index,
                    depth,
                ];
                self.invoke(to, Label::CNodeRotate, &words, &[pivot, from])
            }
            21..25 => {
                let (node, index, depth) = self.slot(true, dispensable);
                self.invoke(node, Label::CNodeDelete, &[index, depth], &[])
            }
            25..27 => {
                // Untyped memory is used again after it was revoked.
                let is_untyped = |cap: &Cap| matches!(cap, Cap::Untyped { .. });
                let revocable = move |cap: &Cap| is_untyped(cap) || dispensable(cap);
                let (node, index, depth) = match self.random.below(3) {
                    0 => self.slot(true, is_untyped),
                    _ => self.slot(true, revocable),
                };
                self.invoke(node, Label::CNodeRevoke, &[index, depth], &[])
            }
            27 | 28 => {
                let (node, index, depth) = self.empty_slot();
                self.invoke(node, Label::CNodeSaveCaller, &[index, depth], &[])
            }
            _ => {
                let (node, index, depth) =
                    self.slot(true, |cap| matches!(cap, Cap::Endpoint { .. }));
                self.invoke(node, Label::CNodeCancelBadgedSends, &[index, depth], &[])
            }
        }
    }

    fn retype(&mut self) -> Call {
        let untyped = self.pointer_to(|cap| matches!(cap, Cap::Untyped { .. }));
        // Large objects less often, for the memory is small.
        let kind = match self.random.below(20) {
            0 => ObjectType::from_number(self.random.below(9)).unwrap_or(ObjectType::Tcb),
            1..4 => ObjectType::Page,
            4 | 5 => ObjectType::PageTable,
            6..9 => ObjectType::Tcb,
            9..12 => ObjectType::CapTable,
            12..15 => ObjectType::Endpoint,
            15..17 => ObjectType::Notification,
            _ => ObjectType::Untyped,
        };
        let bits = match kind {
            ObjectType::Untyped => 4 + self.random.below(9),
            ObjectType::CapTable => 1 + self.random.below(4),
            _ => 0,
        };
        let bits = if self.random.one_in(20) {
            self.word()
        } else {
            bits
        };
        let count = if self.random.one_in(20) {
            self.word()
        } else {
            1 + self.random.below(4) / 3
        };
        if self.random.one_in(4) {
            // A node that is found from another.
            let (root, at, depth) = self.slot(true, |cap| matches!(cap, Cap::CNode { .. }));
            let words = [kind.number(), bits, at, depth, self.random.below(16), count];
            return self.invoke(untyped, Label::UntypedRetype, &words, &[root]);
        }
        let node = self.pointer_to(|cap| matches!(cap, Cap::CNode { .. }));
        let place = self.model.lookup(self.caller, node).ok();
        let index = match place.and_then(|place| self.model.cap(place)) {
            Some(Cap::CNode { at, radix, .. }) => {
                let is_empty = |&index: &u64| self.model.cap(Place::Node(at, index)).is_none();
                let empty: Vec<u64> = (0..1 << radix).filter(is_empty).collect();
                self.random.pick_any(&empty)
            }
            _ => None,
        };
        let index = index.unwrap_or(self.random.below(32));
        let words = [kind.number(), bits, 0, 0, index, count];
        self.invoke(untyped, Label::UntypedRetype, &words, &[node])
    }

    fn thread(&mut self) -> Call {
        let is_thread = |cap: &Cap| matches!(cap, Cap::Thread { .. });
        let thread = self.pointer_to(is_thread);
        let authority = self.pointer_to(is_thread);
        let priority = match self.random.below(6) {
            0 => self.word(),
            1 => 60 + self.random.below(70),
            _ => 98 + self.random.below(5),
        };
        let mcp = if self.random.one_in(3) { priority } else { 120 };
        let cspace = self.pointer_to(
            |cap| matches!(cap, Cap::CNode { guard_bits, radix, .. } if guard_bits + radix > 50),
        );
        let vspace = self.pointer_to(|cap| {
            matches!(
                cap,
                Cap::Table {
                    mapped: Some(_),
                    ..
                }
            )
        });
        // Mostly one that can be a buffer.
        let any_frame = self.random.one_in(6);
        let frame = self.pointer_to(|cap| match cap {
            Cap::Frame { write, device, .. } => any_frame || (*write && !*device),
            _ => false,
        });
        let handler = self.pointer_to(|cap| matches!(cap, Cap::Endpoint { .. }));
        let buffer = match self.random.below(12) {
            0 => 0,
            1 => self.vaddr(),
            _ => 0x1000_0000 + (self.random.below(16) << 10),
        };
        let data = if self.random.one_in(8) {
            self.data()
        } else {
            0
        };
        match self.random.below(32) {
            0..3 => {
                let words = [self.random.below(4) & 1, 1 + self.random.below(32)];
                self.invoke(thread, Label::TcbReadRegisters, &words, &[])
            }
            3..6 => {
                let mut words = vec![u64::from(!self.random.one_in(4)), 0];
                let mut count = self.random.below(34);
                if self.random.one_in(3) {
                    count = 3;
                }
                words.extend((0..count).map(|_| self.random.next()));
                words[1] = count;
                self.invoke(thread, Label::TcbWriteRegisters, &words, &[])
            }
            6 => {
                let words = [self.random.below(16) & !1];
                self.invoke(thread, Label::TcbCopyRegisters, &words, &[authority])
            }
            7..10 => {
                let words = [handler, data, 0, buffer];
                let caps = [cspace, vspace, frame];
                self.invoke(thread, Label::TcbConfigure, &words, &caps)
            }
            10 => {
                let words = [handler, data, 0];
                self.invoke(thread, Label::TcbSetSpace, &words, &[cspace, vspace])
            }
            11 => self.invoke(thread, Label::TcbSetIpcBuffer, &[buffer], &[frame]),
            12 | 13 => self.invoke(thread, Label::TcbSetPriority, &[priority], &[authority]),
            14 => self.invoke(thread, Label::TcbSetMcPriority, &[mcp], &[authority]),
            15..18 => self.invoke(
                thread,
                Label::TcbSetSchedParams,
                &[mcp, priority],
                &[authority],
            ),
            18 => self.invoke(thread, Label::TcbSuspend, &[], &[]),
            19..25 => {
                // Those that stand still, so that something goes on.
                let model = self.model;
                let stopped = move |cap: &Cap| match cap {
                    Cap::Thread { at } => !model.thread(*at).can_run(),
                    _ => false,
                };
                let thread = self.pointer_to(stopped);
                self.invoke(thread, Label::TcbResume, &[], &[])
            }
            25..28 => {
                let notification = self.pointer_to(|cap| matches!(cap, Cap::Notification { .. }));
                self.invoke(thread, Label::TcbBindNotification, &[], &[notification])
            }
            28 => self.invoke(thread, Label::TcbUnbindNotification, &[], &[]),
            29 => {
                let words = [self.random.next()];
                self.invoke(thread, Label::TcbSetTlsBase, &words, &[])
            }
            _ => {
                let words = [self.random.below(4), self.random.below(4)];
                self.invoke(thread, Label::TcbSetFlags, &words, &[])
            }
        }
    }

    fn ipc(&mut self) -> Call {
        let may_block = self.others_run() || self.random.one_in(15);
        let waits = |endpoint: &crate::state::Endpoint| !endpoint.receivers.is_empty();
        let sends = |endpoint: &crate::state::Endpoint| !endpoint.senders.is_empty();
        let model = self.model;
        // Rendezvous are wanted: mostly endpoints at which somebody is.
        let to_send = move |cap: &Cap| match cap {
            Cap::Endpoint { at, .. } => may_block || waits(&model.endpoints[at]),
            _ => false,
        };
        let to_receive = move |cap: &Cap| match cap {
            Cap::Endpoint { at, .. } => may_block || sends(&model.endpoints[at]),
            _ => false,
        };
        let is_notification = |cap: &Cap| matches!(cap, Cap::Notification { .. });
        let mut call = match self.random.below(26) {
            0..5 => {
                let pointer = self.pointer_to(to_send);
                self.plain(Syscall::Call, pointer)
            }
            5..7 => {
                let pointer = self.pointer_to(to_send);
                self.plain(Syscall::Send, pointer)
            }
            7 | 8 => {
                let pointer = self.pointer_to(|cap| matches!(cap, Cap::Endpoint { .. }));
                self.plain(Syscall::NBSend, pointer)
            }
            9..12 => {
                let pointer = self.pointer_to(to_receive);
                self.plain(Syscall::Recv, pointer)
            }
            12..15 => {
                let pointer = self.pointer_to(to_receive);
                self.plain(Syscall::ReplyRecv, pointer)
            }
            15 => {
                let pointer = self.pointer_to(|cap| {
                    matches!(cap, Cap::Endpoint { .. } | Cap::Notification { .. })
                });
                self.plain(Syscall::NBRecv, pointer)
            }
            16..20
                if self
                    .named
                    .iter()
                    .any(|n| matches!(n.cap, Some(Cap::Reply { .. }))) =>
            {
                let pointer = self.pointer_to(|cap| matches!(cap, Cap::Reply { .. }));
                let calls = [Syscall::Send, Syscall::NBSend, Syscall::Call];
                let number = self.random.pick_any(&calls).unwrap_or(Syscall::Send);
                self.plain(number, pointer)
            }
            16..20 => self.plain(Syscall::Reply, 0),
            20..24 => {
                let pointer = self.pointer_to(is_notification);
                let number = if self.random.one_in(5) {
                    Syscall::Call
                } else {
                    Syscall::Send
                };
                self.plain(number, pointer)
            }
            _ => {
                let signalled = move |cap: &Cap| match cap {
                    Cap::Notification { at, .. } => {
                        may_block || model.notifications[at].signals.is_some()
                    }
                    _ => false,
                };
                let pointer = self.pointer_to(signalled);
                self.plain(Syscall::Recv, pointer)
            }
        };
        let length = match self.random.below(10) {
            0..6 => self.random.below(5),
            6..9 => 5 + self.random.below(8),
            _ => self.random.below(128),
        };
        call.words = (0..length.min(120)).map(|_| self.random.next()).collect();
        if self.random.one_in(3) {
            for _ in 0..1 + self.random.below(3) {
                let pointer = match self.random.below(3) {
                    0 => self.pointer_to(|cap| matches!(cap, Cap::Endpoint { .. })),
                    1 => self.pointer_to(|_| true),
                    _ => self.any_pointer(),
                };
                call.caps.push(pointer);
            }
        }
        if self.random.one_in(2) {
            let (node, index, depth) = self.empty_slot();
            call.receive = Some([node, index, depth]);
        }
        let label = match self.random.below(3) {
            0 => self.random.next() >> 12,
            _ => self.random.below(3),
        };
        call.info = MessageInfo::new(label, 0, call.caps.len() as u64, length).word();
        call
    }

    fn irq(&mut self) -> Call {
        let handler = self.pointer_to(|cap| matches!(cap, Cap::IrqHandler { .. }));
        match self.random.below(8) {
            0..3 => {
                let control = self.pointer_to(|cap| *cap == Cap::IrqControl);
                let irq = if self.random.one_in(12) {
                    self.word()
                } else {
                    1 + self.random.below(6)
                };
                let (node, index, depth) = self.empty_slot();
                if self.random.one_in(2) {
                    let words = [irq, index, depth];
                    return self.invoke(control, Label::IrqIssueHandler, &words, &[node]);
                }
                let words = [irq, self.random.below(2), index, depth];
                self.invoke(control, Label::IrqIssueHandlerTrigger, &words, &[node])
            }
            3 | 4 => {
                let notification = self.pointer_to(|cap| matches!(cap, Cap::Notification { .. }));
                self.invoke(handler, Label::IrqSetHandler, &[], &[notification])
            }
            5 | 6 => self.invoke(handler, Label::IrqAck, &[], &[]),
            _ => self.invoke(handler, Label::IrqClear, &[], &[]),
        }
    }

    fn space(&mut self) -> Call {
        let root = self.pointer_to(|cap| {
            matches!(
                cap,
                Cap::Table {
                    mapped: Some((_, 0)),
                    ..
                }
            )
        });
        let frame = self.pointer_to(|cap| matches!(cap, Cap::Frame { .. }));
        let table = self.pointer_to(|cap| matches!(cap, Cap::Table { mapped: None, .. }));
        let vaddr = self.vaddr();
        match self.random.below(16) {
            0..5 => {
                let words = [vaddr, self.rights(), self.random.below(2)];
                self.invoke(frame, Label::PageMap, &words, &[root])
            }
            5..7 => self.invoke(frame, Label::PageUnmap, &[], &[]),
            7 => self.invoke(frame, Label::PageGetAddress, &[], &[]),
            8..11 => self.invoke(table, Label::PageTableMap, &[vaddr, 0], &[root]),
            11 => {
                let table = self.pointer_to(|cap| matches!(cap, Cap::Table { .. }));
                self.invoke(table, Label::PageTableUnmap, &[], &[])
            }
            12 | 13 => {
                let pool = self.pointer_to(|cap| matches!(cap, Cap::AsidPool { .. }));
                self.invoke(pool, Label::AsidPoolAssign, &[], &[table])
            }
            _ => {
                let control = self.pointer_to(|cap| *cap == Cap::AsidControl);
                let untyped = self.pointer_to(|cap| matches!(cap, Cap::Untyped { bits: 12, .. }));
                let (node, index, depth) = self.empty_slot();
                let words = [index, depth];
                self.invoke(
                    control,
                    Label::AsidControlMakePool,
                    &words,
                    &[untyped, node],
                )
            }
        }
    }

    fn anything(&mut self) -> Call {
        let number = match self.random.below(4) {
            0 => self.random.next(),
            // Numbers of system calls, and some that are none; Baton's own begin at 64.
            1 => self.random.below(60).wrapping_neg(),
            _ => (1 + self.random.below(8)).wrapping_neg(),
        };
        let mut words: Vec<u64> = (0..1 + self.random.below(8)).map(|_| self.word()).collect();
        if ObjectType::from_number(words[0]) == Some(ObjectType::KernelLane) {
            words[0] = 0;
        }
        let caps = (0..self.random.below(4))
            .map(|_| self.any_pointer())
            .collect();
        let info = match self.random.below(3) {
            0 => self.random.next(),
            _ => {
                let label = self.random.below(42);
                MessageInfo::new(label, 0, self.random.below(4), self.random.below(12)).word()
            }
        };
        Call {
            number,
            pointer: self.any_pointer(),
            info,
            words,
            caps,
            receive: None,
        }
    }
}

/// Any of those.
fn pick<'a, T>(random: &mut Random, from: impl Iterator<Item = &'a T> + Clone) -> Option<&'a T> {
    match from.clone().count() {
        0 => None,
        count => from.clone().nth(random.below(count as u64) as usize),
    }
}

/// The guard of the CNode capability in a slot, as data that would leave it as it is.
fn guard_of(model: &Model, caller: Addr, node: u64, index: u64, depth: u64) -> u64 {
    let root = model
        .lookup(caller, node)
        .ok()
        .and_then(|place| model.cap(place));
    let place = model.lookup_at(root, index, depth, true).ok();
    match place.and_then(|place| model.cap(place)) {
        Some(Cap::CNode {
            guard, guard_bits, ..
        }) => CNodeCapData::new(guard, guard_bits).word(),
        _ => 0,
    }
}
