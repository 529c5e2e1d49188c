//! What Baton has beyond seL4: system calls, one object, its invocations, the layout of what kernel and thread share.
//!
//! A program uses none of it unless the features word of the boot info says that it is there ([`HEADER_BATON`]); so one binary
//! runs on both kernels. All numbers are far from seL4's, so that seL4 has room to grow. Specified in `docs/abi.md`.

use crate::limits::PAGE_BITS;
use crate::syscall::Syscall;

/// A system call of Baton's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i64)]
pub enum BatonCall {
    /// Perform the messages in the calling thread's kernel lane.
    Doorbell = -64,
    /// The same, then receive by the capability `a0`, unless the lane has brought answers.
    Park = -65,
    /// The same, with a signal to the notification `a1` directly before receiving.
    SignalPark = -66,
    /// How often the kernel has been entered, in a kernel that was built to count that.
    KernelEntries = -67,
}

const _: () = assert!(BatonCall::Doorbell as i64 == Syscall::FIRST_OF_BATON);

impl BatonCall {
    /// The call of that number.
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            -64 => Self::Doorbell,
            -65 => Self::Park,
            -66 => Self::SignalPark,
            -67 => Self::KernelEntries,
            _ => return None,
        })
    }

    /// The number in `a7`.
    pub const fn number(self) -> i64 {
        self as i64
    }
}

/// What [`BatonCall::Doorbell`] says in `a0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Drained {
    /// All messages that were published have been performed.
    All = 0,
    /// No kernel lane is bound to the calling thread.
    NotBound = 1,
    /// The lane is quarantined: its tail was not a possible one. Bind it anew.
    Quarantined = 2,
}

impl Drained {
    /// What that number means; what no kernel says is taken for quarantine.
    pub const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::All,
            1 => Self::NotBound,
            _ => Self::Quarantined,
        }
    }
}

/// What [`BatonCall::Park`] and [`BatonCall::SignalPark`] say in `a6`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Parked {
    /// The thread has received as by `Recv`: `a0` to `a5` say what.
    Received = 0,
    /// It has not waited, for there are answers of the kernel, or places in its lane, that it may not have seen.
    Answers = 1,
    /// It has not waited, for its lane is quarantined.
    Quarantined = 2,
}

impl Parked {
    /// What that number means; what no kernel says is taken for quarantine.
    pub const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Received,
            1 => Self::Answers,
            _ => Self::Quarantined,
        }
    }
}

/// Boot-info chunk that says what of Baton's own this kernel has; "BATON" in bytes. A kernel without it has nothing.
pub const HEADER_BATON: u64 = u64::from_le_bytes(*b"BATON\0\0\0");
/// Bytes of that chunk: its header, the features word, and a word that is zero.
pub const FEATURES_CHUNK_BYTES: u64 = 32;

/// Features word: [`KERNEL_LANE_TYPE`] with its invocations, and [`BatonCall::Doorbell`].
pub const FEATURE_KERNEL_LANES: u64 = 1 << 0;
/// Features word: [`BatonCall::Park`] and [`BatonCall::SignalPark`].
pub const FEATURE_PARK: u64 = 1 << 1;
/// Features word: [`BatonCall::KernelEntries`]. Only a kernel that was built for measuring has it.
pub const FEATURE_KERNEL_ENTRIES: u64 = 1 << 2;

/// The number of the object type "kernel lane" in `Untyped_Retype`.
pub const KERNEL_LANE_TYPE: u64 = 64;
/// Smallest kernel lane (bytes, log2).
pub const MIN_KERNEL_LANE_BITS: u64 = PAGE_BITS + 2;
/// Largest kernel lane (bytes, log2).
pub const MAX_KERNEL_LANE_BITS: u64 = 21;

/// Pages of a kernel lane of that size, the kernel's own included.
pub const fn kernel_lane_pages(size_bits: u64) -> u64 {
    1 << (size_bits - PAGE_BITS)
}

/// The first page of the region that the thread writes.
pub const KERNEL_LANE_OUT_PAGE: u64 = 1;

/// The first page of the region that the kernel writes: half of a kernel lane. The thread's region ends there.
pub const fn kernel_lane_in_page(size_bits: u64) -> u64 {
    kernel_lane_pages(size_bits) / 2
}

/// Most slots of a lane (log2).
pub const MAX_KERNEL_SLOT_BITS: u64 = 14;
/// Bulk buffers are multiples of this (bytes).
pub const KERNEL_BULK_GRANULE: u64 = 64;

/// An invocation of a kernel lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum KernelLaneLabel {
    /// Bind it to a thread.
    Bind = 1024,
    /// Take it from its thread.
    Unbind = 1025,
    /// Make the capability of one of its pages.
    GetFrame = 1026,
}

impl KernelLaneLabel {
    /// The invocation of that number.
    pub const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            1024 => Self::Bind,
            1025 => Self::Unbind,
            1026 => Self::GetFrame,
            _ => return None,
        })
    }

    /// The number in the message-info word.
    pub const fn number(self) -> u64 {
        self as u64
    }
}

/// Words of the two regions that mean something to the kernel (indices of 64-bit words). All but the last two are where
/// `baton-inbox` has them in every region.
pub mod region {
    /// Magic and version of the layout: "baton", 2.
    pub const MAGIC_VALUE: u64 = u64::from_le_bytes(*b"baton\0\x02\0");
    /// The magic.
    pub const MAGIC: usize = 0;
    /// Sizes of the two lanes: request bits | answer bits << 8.
    pub const LANE_BITS: usize = 1;
    /// Bulk bytes per credit: request | answer << 32.
    pub const BULK_BYTES: usize = 2;
    /// How far the writer of the region has drained the other's requests.
    pub const HEAD_REQUESTS: usize = 8;
    /// The writer of the region waits for the other's head to move.
    pub const WANT_SPACE: usize = 24;
    /// Requests published.
    pub const TAIL_REQUESTS: usize = 32;
    /// Answers published.
    pub const TAIL_ANSWERS: usize = 40;
    /// Kernel's region only: flags, see [`super::lane_flag`].
    pub const FLAGS: usize = 48;
    /// Kernel's region only: `epoch << 2 | 1`; the epoch moves whenever the lane has been drained.
    pub const STATE: usize = 56;
    /// First word of the request lane.
    pub const SLOTS: usize = 64;
    /// Words from one slot to the next.
    pub const SLOT_STRIDE: usize = 16;
}

/// Bits of the word [`region::FLAGS`].
pub mod lane_flag {
    /// The lane is quarantined.
    pub const QUARANTINED: u64 = 1 << 0;
    /// A core looks at the lane without being asked. Never on one core.
    pub const POLLED: u64 = 1 << 1;
    /// When the kernel last looked, another thread of at least the submitter's priority was ready.
    pub const YIELD: u64 = 1 << 2;
}

/// The fields of a message's method, and the words of its payload.
pub mod asynchronous {
    /// The invocation's label.
    pub const LABEL_BITS: u32 = 12;
    /// Where the number of extra capabilities stands (2 bits).
    pub const EXTRA_CAPS_SHIFT: u32 = 12;
    /// Reserved; a message with it is refused.
    pub const RESERVED: u64 = 1 << 14;
    /// The arguments are in the bulk buffer of the message's credit.
    pub const LONG: u64 = 1 << 15;
    /// Payload words of a slot.
    pub const PAYLOAD_WORDS: u64 = 6;
    /// Payload words of a message in the long form: capability, three extra capabilities, bytes of arguments.
    pub const LONG_WORDS: u64 = 5;

    /// The method of an invocation.
    pub const fn method(label: u64, extra_caps: u64, long: bool) -> u16 {
        let long = if long { LONG } else { 0 };
        ((label & ((1 << LABEL_BITS) - 1)) | ((extra_caps & 3) << EXTRA_CAPS_SHIFT) | long) as u16
    }

    /// Kinds of messages: as `baton-inbox` has them.
    pub mod kind {
        /// A call that waits for an answer.
        pub const REQUEST: u64 = 1;
        /// A one-way send.
        pub const ONE_WAY: u64 = 2;
        /// The caller no longer wants the answer; the kernel answers all the same.
        pub const CANCEL: u64 = 3;
        /// An answer.
        pub const ANSWER: u64 = 4;
    }
}
