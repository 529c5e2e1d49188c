//! Capabilities: what they are, and how they stand in the two words of a slot.
//!
//! A stored capability may hold any bits; [`Cap::decode`] is total and makes the enum that the kernel works with.
//! Nothing of the enum is ever stored. The first word:
//!
//! ```text
//!  63                              16 15          5 4   0
//! | address of the object (48 bits)  | by type     | type |
//! ```
//!
//! The second word belongs to the type: a badge, a guard, a watermark, an address-space identifier with an address.

use baton_kernel_mem::{CapWords, Paddr};
use baton_sel4_abi::{CNodeCapData, CapRights};

/// Numbers of capability types as stored.
pub mod kind {
    /// Nothing; an empty slot is all zeros.
    pub const NULL: u64 = 0;
    /// Untyped memory.
    pub const UNTYPED: u64 = 1;
    /// An endpoint.
    pub const ENDPOINT: u64 = 2;
    /// A notification.
    pub const NOTIFICATION: u64 = 3;
    /// A reply capability.
    pub const REPLY: u64 = 4;
    /// A CNode.
    pub const CNODE: u64 = 5;
    /// A thread.
    pub const THREAD: u64 = 6;
    /// The right to make interrupt handlers.
    pub const IRQ_CONTROL: u64 = 7;
    /// An interrupt handler.
    pub const IRQ_HANDLER: u64 = 8;
    /// An object in the course of being deleted.
    pub const ZOMBIE: u64 = 9;
    /// The right to set domains.
    pub const DOMAIN: u64 = 10;
    /// A frame.
    pub const FRAME: u64 = 11;
    /// A page table.
    pub const PAGE_TABLE: u64 = 12;
    /// The right to make ASID pools.
    pub const ASID_CONTROL: u64 = 13;
    /// An ASID pool.
    pub const ASID_POOL: u64 = 14;
    /// A kernel lane.
    pub const KERNEL_LANE: u64 = 15;
}

const KIND_BITS: u32 = 5;
const ADDRESS_SHIFT: u32 = 16;
/// Where address-space identifiers stand in the second word of frames and page tables.
const ASID_SHIFT: u32 = 48;
const VADDR_MASK: u64 = (1 << ASID_SHIFT) - 1;

/// The type in the first word.
pub(crate) const KIND_MASK: u64 = (1 << KIND_BITS) - 1;
/// Type and address in the first word: what distinguishes the objects of most types.
pub(crate) const OBJECT_MASK: u64 = KIND_MASK | (u64::MAX << ADDRESS_SHIFT);
/// The same, and a CNode's number of slots.
pub(crate) const CNODE_MASK: u64 = OBJECT_MASK | field_mask(0, 6);
/// The same, and a frame's size, and whether it is a device's.
pub(crate) const FRAME_MASK: u64 = OBJECT_MASK | field_mask(0, 2) | field_mask(4, 1);
/// The same, and an untyped's size.
pub(crate) const UNTYPED_MASK: u64 = OBJECT_MASK | field_mask(1, 6);

const fn field_mask(shift: u32, bits: u32) -> u64 {
    ((1 << bits) - 1) << (KIND_BITS + shift)
}

/// The type number of stored words.
#[inline(always)]
pub const fn kind_of(first: u64) -> u64 {
    first & KIND_MASK
}

/// The object's address in the first of stored words.
#[inline(always)]
pub const fn address_of(first: u64) -> Paddr {
    Paddr::new(first >> ADDRESS_SHIFT)
}

#[inline(always)]
const fn field(first: u64, shift: u32, bits: u32) -> u64 {
    (first >> (KIND_BITS + shift)) & ((1 << bits) - 1)
}

#[inline(always)]
const fn first(kind: u64, address: Paddr, fields: u64) -> u64 {
    kind | (fields << KIND_BITS) | (address.value() << ADDRESS_SHIFT)
}

/// Where these rights stand in the first word of an endpoint or notification.
#[inline(always)]
pub(crate) const fn stored_rights(rights: CapRights) -> u64 {
    rights.word() << KIND_BITS
}

/// Set in the first word of a reply capability if it is a master.
pub(crate) const REPLY_MASTER: u64 = field_mask(0, 1);

/// How large a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameSize {
    /// 4 KiB.
    Page,
    /// 2 MiB.
    Mega,
    /// 1 GiB.
    Giga,
}

impl FrameSize {
    /// Size (bytes, log2).
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        12 + 9 * self as u64
    }

    const fn decode(number: u64) -> Self {
        match number {
            0 => FrameSize::Page,
            1 => FrameSize::Mega,
            _ => FrameSize::Giga,
        }
    }
}

/// What a [`Cap::Zombie`] was, hence what is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZombieKind {
    /// A thread: its five slots are to be emptied.
    Thread,
    /// A CNode of that many slots (log2), which are to be emptied.
    CNode(u64),
    /// An endpoint: those who wait there are to be sent away.
    Endpoint,
    /// A notification, likewise.
    Notification,
}

/// Numbers of the kinds in the first word of a zombie; a CNode's size stands below.
mod zombie {
    pub(super) const CNODE: u64 = 0;
    pub(super) const THREAD: u64 = 1;
    pub(super) const ENDPOINT: u64 = 2;
    pub(super) const NOTIFICATION: u64 = 3;
    pub(super) const SHIFT: u32 = 6;
}

/// A capability, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// Nothing.
    Null,
    /// Memory without a purpose yet.
    Untyped {
        /// Where it starts.
        address: Paddr,
        /// Size (bytes, log2).
        size_bits: u64,
        /// Whether it is device memory, of which only frames and smaller untypeds are made.
        device: bool,
        /// The watermark: bytes from the start that objects were made of.
        used: u64,
    },
    /// An endpoint.
    Endpoint {
        /// The object.
        address: Paddr,
        /// Badge, 0 for none.
        badge: u64,
        /// Write: send. Read: receive. Grant, GrantReply.
        rights: CapRights,
    },
    /// A notification.
    Notification {
        /// The object.
        address: Paddr,
        /// Badge, 0 for none.
        badge: u64,
        /// Write: signal. Read: wait.
        rights: CapRights,
    },
    /// The right to reply to a thread once; as master, from which these derive, the thread's own.
    Reply {
        /// The thread that waits.
        tcb: Paddr,
        /// Whether it is the master in the thread's own slot.
        master: bool,
        /// Whether the reply may carry capabilities.
        can_grant: bool,
    },
    /// A CNode.
    CNode {
        /// Its first slot.
        address: Paddr,
        /// Slots (log2).
        radix: u64,
        /// Guard and its bits.
        guard: CNodeCapData,
    },
    /// A thread.
    Thread {
        /// The object.
        tcb: Paddr,
    },
    /// The right to make interrupt handlers.
    IrqControl,
    /// An interrupt handler.
    IrqHandler {
        /// The interrupt.
        irq: u64,
    },
    /// What is left of an object that takes more than one step to delete.
    Zombie {
        /// The object.
        address: Paddr,
        /// What it was.
        kind: ZombieKind,
        /// Slots that may still hold capabilities; 0 for an object without slots.
        left: u64,
    },
    /// The right to set domains.
    Domain,
    /// A frame.
    Frame {
        /// Its memory.
        address: Paddr,
        /// Its size.
        size: FrameSize,
        /// Read and write.
        rights: CapRights,
        /// Whether it is device memory.
        device: bool,
        /// In which address space it is mapped; 0 if in none.
        asid: u64,
        /// At which address.
        vaddr: u64,
    },
    /// A page table of any level.
    PageTable {
        /// The object.
        address: Paddr,
        /// Whether it is mapped, or the root of an address space.
        mapped: bool,
        /// In which address space.
        asid: u64,
        /// At which address.
        vaddr: u64,
    },
    /// The right to make ASID pools.
    AsidControl,
    /// An ASID pool.
    AsidPool {
        /// The object.
        address: Paddr,
        /// The first of its identifiers.
        base: u64,
    },
    /// A kernel lane. There is one capability to each.
    KernelLane {
        /// The object.
        address: Paddr,
        /// Its size (bytes, log2).
        size_bits: u64,
    },
}

impl Cap {
    /// What stored words mean. Total: unknown types are [`Cap::Null`].
    #[inline(always)]
    pub const fn decode(words: CapWords) -> Cap {
        let [w0, w1] = words;
        let address = address_of(w0);
        match kind_of(w0) {
            kind::UNTYPED => Cap::Untyped {
                address,
                size_bits: field(w0, 1, 6),
                device: field(w0, 0, 1) != 0,
                used: w1,
            },
            kind::ENDPOINT => Cap::Endpoint {
                address,
                badge: w1,
                rights: CapRights::from_word(field(w0, 0, 4)),
            },
            kind::NOTIFICATION => Cap::Notification {
                address,
                badge: w1,
                rights: CapRights::from_word(field(w0, 0, 4)),
            },
            kind::REPLY => Cap::Reply {
                tcb: address,
                master: field(w0, 0, 1) != 0,
                can_grant: field(w0, 1, 1) != 0,
            },
            kind::CNODE => Cap::CNode {
                address,
                radix: field(w0, 0, 6),
                guard: CNodeCapData::from_word(w1),
            },
            kind::THREAD => Cap::Thread { tcb: address },
            kind::IRQ_CONTROL => Cap::IrqControl,
            kind::IRQ_HANDLER => Cap::IrqHandler { irq: w1 },
            kind::ZOMBIE => Cap::Zombie {
                address,
                kind: match field(w0, zombie::SHIFT, 2) {
                    zombie::THREAD => ZombieKind::Thread,
                    zombie::ENDPOINT => ZombieKind::Endpoint,
                    zombie::NOTIFICATION => ZombieKind::Notification,
                    _ => ZombieKind::CNode(field(w0, 0, 6)),
                },
                left: w1,
            },
            kind::DOMAIN => Cap::Domain,
            kind::FRAME => Cap::Frame {
                address,
                size: FrameSize::decode(field(w0, 0, 2)),
                rights: CapRights::from_word(field(w0, 2, 2)),
                device: field(w0, 4, 1) != 0,
                asid: w1 >> ASID_SHIFT,
                vaddr: w1 & VADDR_MASK,
            },
            kind::PAGE_TABLE => Cap::PageTable {
                address,
                mapped: field(w0, 0, 1) != 0,
                asid: w1 >> ASID_SHIFT,
                vaddr: w1 & VADDR_MASK,
            },
            kind::ASID_CONTROL => Cap::AsidControl,
            kind::ASID_POOL => Cap::AsidPool { address, base: w1 },
            kind::KERNEL_LANE => Cap::KernelLane {
                address,
                size_bits: field(w0, 0, 6),
            },
            _ => Cap::Null,
        }
    }

    /// The words to store.
    #[inline(always)]
    pub const fn encode(self) -> CapWords {
        match self {
            Cap::Null => [0, 0],
            Cap::Untyped {
                address,
                size_bits,
                device,
                used,
            } => [
                first(kind::UNTYPED, address, device as u64 | (size_bits << 1)),
                used,
            ],
            Cap::Endpoint {
                address,
                badge,
                rights,
            } => [first(kind::ENDPOINT, address, rights.word()), badge],
            Cap::Notification {
                address,
                badge,
                rights,
            } => [first(kind::NOTIFICATION, address, rights.word()), badge],
            Cap::Reply {
                tcb,
                master,
                can_grant,
            } => [
                first(kind::REPLY, tcb, master as u64 | ((can_grant as u64) << 1)),
                0,
            ],
            Cap::CNode {
                address,
                radix,
                guard,
            } => [first(kind::CNODE, address, radix), guard.word()],
            Cap::Thread { tcb } => [first(kind::THREAD, tcb, 0), 0],
            Cap::IrqControl => [kind::IRQ_CONTROL, 0],
            Cap::IrqHandler { irq } => [kind::IRQ_HANDLER, irq],
            Cap::Zombie {
                address,
                kind,
                left,
            } => {
                let fields = match kind {
                    ZombieKind::Thread => zombie::THREAD << zombie::SHIFT,
                    ZombieKind::CNode(radix) => zombie::CNODE << zombie::SHIFT | radix,
                    ZombieKind::Endpoint => zombie::ENDPOINT << zombie::SHIFT,
                    ZombieKind::Notification => zombie::NOTIFICATION << zombie::SHIFT,
                };
                [first(kind::ZOMBIE, address, fields), left]
            }
            Cap::Domain => [kind::DOMAIN, 0],
            Cap::Frame {
                address,
                size,
                rights,
                device,
                asid,
                vaddr,
            } => [
                first(
                    kind::FRAME,
                    address,
                    size as u64 | ((rights.word() & 3) << 2) | ((device as u64) << 4),
                ),
                (asid << ASID_SHIFT) | vaddr,
            ],
            Cap::PageTable {
                address,
                mapped,
                asid,
                vaddr,
            } => [
                first(kind::PAGE_TABLE, address, mapped as u64),
                (asid << ASID_SHIFT) | vaddr,
            ],
            Cap::AsidControl => [kind::ASID_CONTROL, 0],
            Cap::AsidPool { address, base } => [first(kind::ASID_POOL, address, 0), base],
            Cap::KernelLane { address, size_bits } => {
                [first(kind::KERNEL_LANE, address, size_bits), 0]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    fn samples() -> Vec<Cap> {
        let address = Paddr::new(0x12_3456_7000);
        vec![
            Cap::Null,
            Cap::Untyped {
                address,
                size_bits: 38,
                device: true,
                used: 1 << 37,
            },
            Cap::Endpoint {
                address,
                badge: u64::MAX,
                rights: CapRights::ALL,
            },
            Cap::Notification {
                address,
                badge: 1,
                rights: CapRights::READ,
            },
            Cap::Reply {
                tcb: address,
                master: false,
                can_grant: true,
            },
            Cap::CNode {
                address,
                radix: 13,
                guard: CNodeCapData::skip_to(13),
            },
            Cap::Thread { tcb: address },
            Cap::IrqControl,
            Cap::IrqHandler { irq: 10 },
            Cap::Zombie {
                address,
                kind: ZombieKind::CNode(33),
                left: 1 << 33,
            },
            Cap::Zombie {
                address,
                kind: ZombieKind::Thread,
                left: 5,
            },
            Cap::Zombie {
                address,
                kind: ZombieKind::Endpoint,
                left: 0,
            },
            Cap::Zombie {
                address,
                kind: ZombieKind::Notification,
                left: 0,
            },
            Cap::Domain,
            Cap::Frame {
                address,
                size: FrameSize::Giga,
                rights: CapRights::READ_WRITE,
                device: true,
                asid: 0xffff,
                vaddr: 0x3f_ffff_e000,
            },
            Cap::PageTable {
                address,
                mapped: true,
                asid: 1,
                vaddr: 0x4000_0000,
            },
            Cap::AsidControl,
            Cap::AsidPool {
                address,
                base: 0xfe00,
            },
            Cap::KernelLane {
                address,
                size_bits: 17,
            },
        ]
    }

    #[test]
    fn what_is_stored_comes_back() {
        for cap in samples() {
            assert_eq!(Cap::decode(cap.encode()), cap);
        }
        assert_eq!(Cap::Null.encode(), [0, 0]);
    }

    #[test]
    fn any_words_decode() {
        let mut word = 1_u64;
        for _ in 0..100_000 {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let _ = Cap::decode([word.rotate_left(17), word]);
        }
    }
}
