//! The derivation tree: which capability was made from which, and so what revoking one must delete.
//!
//! The tree is a doubly linked list of slots in preorder: a capability's descendants follow it directly. Depth is not
//! stored; whether one is the parent of the next follows from what the two are, and from two flags:
//!
//! - *revocable*: it has, or may have, children: it was made as a new object or got its badge here;
//! - *first badged*: it is the first with its badge, so no other with that badge is its parent.
//!
//! Invariants: an empty slot is in no list; neighbours point at each other; all capabilities to one object follow
//! one another. Reference manual, section 3.1.4.

use crate::cap::{
    CNODE_MASK, Cap, FRAME_MASK, KIND_MASK, OBJECT_MASK, UNTYPED_MASK, ZombieKind, kind, kind_of,
};
use crate::error::SyscallError;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{CapWords, Paddr, Slot};
use baton_sel4_abi as abi;

const REVOCABLE: u64 = 1;
const FIRST_BADGED: u64 = 2;
pub(crate) const FLAGS: u64 = REVOCABLE | FIRST_BADGED;

/// A range of physical memory by first and last byte.
struct Extent {
    first: u64,
    last: u64,
}

impl Extent {
    fn new(address: Paddr, bits: u64) -> Self {
        let size_minus_one = 1_u64.checked_shl(bits as u32).unwrap_or(0).wrapping_sub(1);
        Extent {
            first: address.value(),
            last: address.value().wrapping_add(size_minus_one),
        }
    }

    fn contains(&self, other: &Extent) -> bool {
        self.first <= other.first && other.last <= self.last && other.first <= other.last
    }
}

impl Cap {
    /// The memory that the capability's object takes; none for those without memory of their own, reply
    /// capabilities included.
    fn extent(self) -> Option<Extent> {
        Some(match self {
            Cap::Untyped {
                address, size_bits, ..
            } => Extent::new(address, size_bits),
            Cap::Endpoint { address, .. } => Extent::new(address, abi::ENDPOINT_BITS),
            Cap::Notification { address, .. } => Extent::new(address, abi::NOTIFICATION_BITS),
            Cap::CNode { address, radix, .. } => Extent::new(address, radix + abi::SLOT_BITS),
            Cap::Thread { tcb } => Extent::new(tcb, abi::TCB_BITS),
            Cap::Zombie { address, kind, .. } => match kind {
                ZombieKind::Thread => Extent::new(address, abi::TCB_BITS),
                ZombieKind::CNode(radix) => Extent::new(address, radix + abi::SLOT_BITS),
                ZombieKind::Endpoint => Extent::new(address, abi::ENDPOINT_BITS),
                ZombieKind::Notification => Extent::new(address, abi::NOTIFICATION_BITS),
            },
            Cap::Frame { address, size, .. } => Extent::new(address, size.bits()),
            Cap::PageTable { address, .. } => Extent::new(address, abi::PAGE_TABLE_BITS),
            Cap::AsidPool { address, .. } => Extent::new(address, abi::ASID_POOL_BITS),
            Cap::KernelLane { address, size_bits } => Extent::new(address, size_bits),
            _ => return None,
        })
    }

    /// Whether `other` is a capability to this one's object or to a part of its memory.
    fn covers(self, other: Cap) -> bool {
        match (self, other) {
            (Cap::Untyped { .. }, _) => match (self.extent(), other.extent()) {
                (Some(outer), Some(inner)) => outer.contains(&inner),
                _ => false,
            },
            // The frames of its pages.
            (Cap::KernelLane { address, size_bits }, Cap::Frame { .. }) => match other.extent() {
                Some(inner) => Extent::new(address, size_bits).contains(&inner),
                None => false,
            },
            (Cap::Frame { address, size, .. }, Cap::Frame { .. }) => match other.extent() {
                Some(inner) => Extent::new(address, size.bits()).contains(&inner),
                None => false,
            },
            (Cap::IrqControl, Cap::IrqControl | Cap::IrqHandler { .. }) => true,
            _ => self.same_object(other),
        }
    }

    /// Whether the two are capabilities to one object.
    pub(crate) fn same_object(self, other: Cap) -> bool {
        same_object(self.encode(), other.encode())
    }

    /// The badge, for types that have one.
    fn badge(self) -> Option<u64> {
        match self {
            Cap::Endpoint { badge, .. } | Cap::Notification { badge, .. } => Some(badge),
            _ => None,
        }
    }
}

/// Whether two stored capabilities are to one object.
///
/// Looks at the words alone, for deleting asks it of both neighbours: type and address stand in the first.
#[inline]
pub(crate) fn same_object(one: CapWords, other: CapWords) -> bool {
    let same = |mask: u64| (one[0] ^ other[0]) & mask == 0;
    match kind_of(one[0]) {
        // Each stands for itself.
        kind::NULL | kind::UNTYPED | kind::IRQ_CONTROL | kind::ZOMBIE => false,
        kind::IRQ_HANDLER => same(KIND_MASK) && one[1] == other[1],
        kind::CNODE => same(CNODE_MASK),
        kind::FRAME => same(FRAME_MASK),
        _ => same(OBJECT_MASK),
    }
}

/// Whether a capability made of `source` may have children of its own.
fn becomes_revocable(new: CapWords, source: CapWords) -> bool {
    match kind_of(new[0]) {
        // It got its badge now.
        kind::ENDPOINT | kind::NOTIFICATION => new[1] != source[1],
        kind::IRQ_HANDLER => kind_of(source[0]) == kind::IRQ_CONTROL,
        kind::UNTYPED => true,
        _ => false,
    }
}

impl<'m, M: Machine> Kernel<'m, M> {
    #[inline(always)]
    pub(crate) fn next_slot(self, slot: &Slot) -> Option<&'m Slot> {
        self.mem.get_or_null(Paddr::new(slot.next.get() & !FLAGS))
    }

    #[inline(always)]
    fn prev_slot(self, slot: &Slot) -> Option<&'m Slot> {
        self.mem.get_or_null(Paddr::new(slot.prev.get()))
    }

    /// Lets the neighbours of what was at another place point at `slot`, which has that one's links already.
    fn relink_neighbours(self, slot: &'m Slot) {
        let address = self.mem.address(slot).value();
        if let Some(prev) = self.prev_slot(slot) {
            prev.next.set(address | (prev.next.get() & FLAGS));
        }
        if let Some(next) = self.next_slot(slot) {
            next.prev.set(address);
        }
    }

    /// Puts `cap`, derived from what is in `source`, into the empty slot `dest`.
    #[inline]
    pub(crate) fn insert_cap(self, cap: Cap, source: &'m Slot, dest: &'m Slot) {
        let words = cap.encode();
        let source_words = source.cap();
        let flags = if becomes_revocable(words, source_words) {
            FLAGS
        } else {
            0
        };
        if kind_of(words[0]) == kind::UNTYPED && (words[0] ^ source_words[0]) & UNTYPED_MASK == 0 {
            // The copy may make objects of all of it, so the original must not.
            if let Cap::Untyped {
                address,
                size_bits,
                device,
                ..
            } = Cap::decode(source_words)
            {
                let full = Cap::Untyped {
                    address,
                    size_bits,
                    device,
                    used: 1 << size_bits,
                };
                source.set_cap(full.encode());
            }
        }
        self.link_after(source, dest, flags);
        dest.set_cap(words);
    }

    /// Puts `cap`, a new object made of the untyped memory in `parent`, into the empty slot `dest`.
    #[inline]
    pub(crate) fn insert_new_cap(self, parent: &'m Slot, dest: &'m Slot, cap: CapWords) {
        dest.set_cap(cap);
        self.link_after(parent, dest, FLAGS);
    }

    /// Puts a slot into the list behind another.
    #[inline(always)]
    pub(crate) fn link_after(self, before: &'m Slot, slot: &'m Slot, flags: u64) {
        let address = self.mem.address(slot).value();
        let after = before.next.get();
        slot.prev.set(self.mem.address(before).value());
        slot.next.set((after & !FLAGS) | flags);
        if let Some(next) = self.next_slot(slot) {
            next.prev.set(address);
        }
        before.next.set(address | (after & FLAGS));
    }

    /// Moves what is in `source` to the empty slot `dest`, as `cap`.
    pub(crate) fn move_cap(self, cap: CapWords, source: &'m Slot, dest: &'m Slot) {
        dest.set_cap(cap);
        dest.prev.set(source.prev.get());
        dest.next.set(source.next.get());
        clear(source);
        self.relink_neighbours(dest);
    }

    /// Lets two slots change their places; what was in `first` becomes `cap_first` in `second`, and the other way round.
    pub(crate) fn swap_caps(
        self,
        cap_first: CapWords,
        first: &'m Slot,
        cap_second: CapWords,
        second: &'m Slot,
    ) {
        first.set_cap(cap_second);
        second.set_cap(cap_first);
        // One after the other, for they may be neighbours.
        let (prev, next) = (first.prev.get(), first.next.get());
        let second_address = self.mem.address(second).value();
        let first_address = self.mem.address(first).value();
        self.point_neighbours(prev, next, second_address);
        // Read only now: the first step has changed these if the two are neighbours.
        let (prev_second, next_second) = (second.prev.get(), second.next.get());
        first.prev.set(prev_second);
        first.next.set(next_second);
        second.prev.set(prev);
        second.next.set(next);
        self.point_neighbours(prev_second, next_second, first_address);
    }

    fn point_neighbours(self, prev: u64, next: u64, to: u64) {
        if let Some(prev) = self.mem.get_or_null::<Slot>(Paddr::new(prev)) {
            prev.next.set(to | (prev.next.get() & FLAGS));
        }
        if let Some(next) = self.mem.get_or_null::<Slot>(Paddr::new(next & !FLAGS)) {
            next.prev.set(to);
        }
    }

    /// Takes the slot out of the tree and empties it. Its children, if it had any, become those of its parent.
    pub(crate) fn unlink(self, slot: &'m Slot) {
        let links = slot.next.get();
        let prev = self.prev_slot(slot);
        let next = self.next_slot(slot);
        if let Some(prev) = prev {
            prev.next.set((links & !FLAGS) | (prev.next.get() & FLAGS));
        }
        if let Some(next) = next {
            next.prev.set(slot.prev.get());
            next.next.set(next.next.get() | (links & FIRST_BADGED));
        }
        clear(slot);
    }

    /// Makes the first reply capability of a thread, the root of a list of its own.
    pub(crate) fn insert_root_cap(self, slot: &'m Slot, cap: Cap) {
        slot.set_cap(cap.encode());
        slot.prev.set(0);
        slot.next.set(FLAGS);
    }

    /// Whether the capability in `child`, which is in the list behind `parent`, was made from that in `parent`.
    pub(crate) fn is_parent(self, parent: &Slot, child: &Slot) -> bool {
        if parent.next.get() & REVOCABLE == 0 {
            return false;
        }
        let above = Cap::decode(parent.cap());
        let below = Cap::decode(child.cap());
        if !above.covers(below) {
            return false;
        }
        match above.badge() {
            None | Some(0) => true,
            badge => badge == below.badge() && child.next.get() & FIRST_BADGED == 0,
        }
    }

    /// Whether no other capability to the object exists.
    pub(crate) fn is_final(self, slot: &Slot) -> bool {
        let cap = slot.cap();
        let same = |other: Option<&Slot>| other.is_some_and(|other| same_object(cap, other.cap()));
        !same(self.prev_slot(slot)) && !same(self.next_slot(slot))
    }

    /// Refuses slots whose capability has children.
    #[inline]
    pub(crate) fn ensure_no_children(self, slot: &Slot) -> Result<(), SyscallError> {
        match self.next_slot(slot) {
            Some(next) if self.is_parent(slot, next) => Err(SyscallError::RevokeFirst),
            _ => Ok(()),
        }
    }

    /// Refuses slots that hold a capability.
    #[inline]
    pub(crate) fn ensure_empty(self, slot: &Slot) -> Result<(), SyscallError> {
        if kind_of(slot.cap_first()) == kind::NULL {
            Ok(())
        } else {
            Err(SyscallError::DeleteFirst)
        }
    }

    /// What a copy of `cap`, which is in `slot`, is; [`Cap::Null`] if it cannot be copied.
    #[inline]
    pub(crate) fn derive_cap(self, slot: &'m Slot, cap: Cap) -> Result<Cap, SyscallError> {
        match cap {
            Cap::Zombie { .. } | Cap::IrqControl | Cap::Reply { .. } | Cap::KernelLane { .. } => {
                Ok(Cap::Null)
            }
            Cap::Untyped { .. } => {
                self.ensure_no_children(slot)?;
                Ok(cap)
            }
            Cap::Frame { .. } | Cap::PageTable { .. } | Cap::AsidControl | Cap::AsidPool { .. } => {
                self.derive_vspace_cap(cap)
            }
            other => Ok(other),
        }
    }
}

fn clear(slot: &Slot) {
    slot.set_cap([0, 0]);
    slot.prev.set(0);
    slot.next.set(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cap::FrameSize;
    use baton_sel4_abi::CapRights;

    #[test]
    fn untyped_covers_what_lies_in_it() {
        let untyped = |at: u64, bits| Cap::Untyped {
            address: Paddr::new(at),
            size_bits: bits,
            device: false,
            used: 0,
        };
        assert!(untyped(0x8000_0000, 12).covers(untyped(0x8000_0000, 12)));
        assert!(untyped(0x8000_0000, 12).covers(untyped(0x8000_0800, 11)));
        assert!(!untyped(0x8000_0000, 12).covers(untyped(0x8000_0800, 12)));
        assert!(!untyped(0x8000_0000, 12).covers(Cap::Domain));
        assert!(!untyped(0x8000_0000, 12).same_object(untyped(0x8000_0000, 12)));
        let frame = |size| Cap::Frame {
            address: Paddr::new(0x8000_0000),
            size,
            rights: CapRights::NONE,
            device: false,
            asid: 0,
            vaddr: 0,
        };
        assert!(frame(FrameSize::Mega).covers(frame(FrameSize::Page)));
        assert!(!frame(FrameSize::Mega).same_object(frame(FrameSize::Page)));
    }

    #[test]
    fn one_object_is_told_from_another() {
        let cnode = |radix, guard| Cap::CNode {
            address: Paddr::new(0x8000_0000),
            radix,
            guard: abi::CNodeCapData::from_word(guard),
        };
        assert!(cnode(4, 1).same_object(cnode(4, 2)));
        assert!(!cnode(4, 1).same_object(cnode(5, 1)));
        let endpoint = |at, badge, rights| Cap::Endpoint {
            address: Paddr::new(at),
            badge,
            rights,
        };
        let all = CapRights::ALL;
        assert!(endpoint(0x8000_0000, 1, all).same_object(endpoint(
            0x8000_0000,
            2,
            CapRights::READ
        )));
        assert!(!endpoint(0x8000_0000, 1, all).same_object(endpoint(0x8000_0010, 1, all)));
        assert!(!endpoint(0x8000_0000, 0, all).same_object(Cap::Thread {
            tcb: Paddr::new(0x8000_0000)
        }));
        let frame = |device, rights, vaddr| Cap::Frame {
            address: Paddr::new(0x8000_0000),
            size: FrameSize::Page,
            rights,
            device,
            asid: 1,
            vaddr,
        };
        assert!(frame(false, all, 0x1000).same_object(frame(false, CapRights::NONE, 0)));
        assert!(!frame(false, CapRights::READ, 0).same_object(frame(true, CapRights::READ, 0)));
        let irq = |irq| Cap::IrqHandler { irq };
        assert!(irq(1).same_object(irq(1)) && !irq(1).same_object(irq(2)));
        assert!(!Cap::IrqControl.same_object(Cap::IrqControl));
        assert!(!Cap::Null.same_object(Cap::Null));
        assert!(Cap::Domain.same_object(Cap::Domain));
        let table = |mapped| Cap::PageTable {
            address: Paddr::new(0x8000_0000),
            mapped,
            asid: mapped.into(),
            vaddr: 0,
        };
        assert!(table(true).same_object(table(false)));
    }
}
