//! Types of objects that `Untyped_Retype` makes.
//!
//! Source: reference manual, chapter 2 (memory allocation), RISC-V.

use crate::baton::KERNEL_LANE_TYPE;
use crate::limits::*;

/// What to make of untyped memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum ObjectType {
    /// A smaller piece of untyped memory.
    Untyped = 0,
    /// A thread control block.
    Tcb = 1,
    /// An endpoint.
    Endpoint = 2,
    /// A notification.
    Notification = 3,
    /// A CNode.
    CapTable = 4,
    /// A frame of 1 GiB.
    GigaPage = 5,
    /// A frame of 4 KiB.
    Page = 6,
    /// A frame of 2 MiB.
    MegaPage = 7,
    /// A page table of any level, and so a VSpace.
    PageTable = 8,
    /// Baton's own: a kernel lane.
    KernelLane = KERNEL_LANE_TYPE,
}

impl ObjectType {
    /// The type of that number.
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Untyped,
            1 => Self::Tcb,
            2 => Self::Endpoint,
            3 => Self::Notification,
            4 => Self::CapTable,
            5 => Self::GigaPage,
            6 => Self::Page,
            7 => Self::MegaPage,
            8 => Self::PageTable,
            KERNEL_LANE_TYPE => Self::KernelLane,
            _ => return None,
        })
    }

    /// The number in the message.
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// Size of the object (bytes, log2). `size_bits` is that of the message, which counts for untyped memory and kernel
    /// lanes (bytes) and CNodes (slots) alone; the sum saturates.
    pub const fn size_bits(self, size_bits: u64) -> u64 {
        match self {
            Self::Untyped | Self::KernelLane => size_bits,
            Self::Tcb => TCB_BITS,
            Self::Endpoint => ENDPOINT_BITS,
            Self::Notification => NOTIFICATION_BITS,
            Self::CapTable => size_bits.saturating_add(SLOT_BITS),
            Self::GigaPage => GIGA_PAGE_BITS,
            Self::Page => PAGE_BITS,
            Self::MegaPage => MEGA_PAGE_BITS,
            Self::PageTable => PAGE_TABLE_BITS,
        }
    }

    /// Whether it is a frame, which alone can be made of device memory (untyped memory aside).
    pub const fn is_frame(self) -> bool {
        matches!(self, Self::GigaPage | Self::Page | Self::MegaPage)
    }
}
