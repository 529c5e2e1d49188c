//! Sizes, as powers of two where the name ends in `BITS`, and other limits of the configuration.
//!
//! Source: reference manual, chapters 2 (kernel objects), 7 (virtual memory) and 9 (threads), RISC-V columns.

/// Bits of a machine word, and the depth at which a capability pointer is resolved.
pub const WORD_BITS: u64 = 64;
/// A capability slot (bytes, log2).
pub const SLOT_BITS: u64 = 5;
/// A thread control block, floating-point state included (bytes, log2).
pub const TCB_BITS: u64 = 11;
/// An endpoint (bytes, log2).
pub const ENDPOINT_BITS: u64 = 4;
/// A notification (bytes, log2).
pub const NOTIFICATION_BITS: u64 = 5;
/// A page table of any level, and so a VSpace (bytes, log2).
pub const PAGE_TABLE_BITS: u64 = 12;
/// Index bits that one level of page table resolves.
pub const PAGE_TABLE_INDEX_BITS: u64 = 9;
/// A small page (bytes, log2).
pub const PAGE_BITS: u64 = 12;
/// A large page (bytes, log2).
pub const MEGA_PAGE_BITS: u64 = 21;
/// A huge page (bytes, log2).
pub const GIGA_PAGE_BITS: u64 = 30;
/// An IPC buffer, and its alignment (bytes, log2).
pub const IPC_BUFFER_BITS: u64 = 10;
/// An ASID pool (bytes, log2).
pub const ASID_POOL_BITS: u64 = 12;
/// Address spaces of one ASID pool (count, log2).
pub const ASID_POOL_INDEX_BITS: u64 = 9;
/// ASID pools (count, log2).
pub const NUM_ASID_POOLS_BITS: u64 = 7;
/// The smallest untyped (bytes, log2).
pub const MIN_UNTYPED_BITS: u64 = 4;
/// The largest untyped (bytes, log2).
pub const MAX_UNTYPED_BITS: u64 = 38;
/// Bits of a guard that a CNode capability can hold.
pub const GUARD_BITS: u64 = 58;
/// Levels of page table.
pub const PAGE_TABLE_LEVELS: u64 = 3;

/// The first virtual address that no user mapping may reach.
pub const USER_TOP: u64 = 0x3f_ffff_f000;

/// Message registers of one message.
pub const MSG_MAX_LENGTH: u64 = 120;
/// Capabilities that one message carries at most.
pub const MSG_MAX_EXTRA_CAPS: u64 = 3;
/// Message registers that travel in machine registers (a2 to a5).
pub const MSG_REGISTERS: u64 = 4;

/// Priorities, 0 to 255.
pub const NUM_PRIORITIES: u64 = 256;
/// The highest priority.
pub const MAX_PRIORITY: u64 = NUM_PRIORITIES - 1;
/// Ticks that a thread may run before the next of its priority.
pub const TIME_SLICE_TICKS: u64 = 5;
/// Length of a tick in milliseconds.
pub const TICK_MS: u64 = 2;
/// Objects that one retype makes at most.
pub const RETYPE_FAN_OUT_LIMIT: u64 = 256;
/// Slots of the initial thread's root CNode (count, log2).
pub const ROOT_CNODE_SIZE_BITS: u64 = 13;
/// Untypeds that boot info lists at most.
pub const MAX_BOOTINFO_UNTYPEDS: usize = 230;

/// The first interrupt that can be handled by a user.
pub const MIN_IRQ: u64 = 1;
/// The last interrupt that can be handled by a user (PLIC sources).
pub const MAX_IRQ: u64 = 95;
/// The number under which the kernel keeps its own timer.
pub const TIMER_IRQ: u64 = 96;

/// `SetFlags`: the thread must not use the floating-point unit; it then needs no switch of it.
pub const TCB_FLAG_FPU_DISABLED: u64 = 1;
/// All flags that `SetFlags` knows.
pub const TCB_FLAGS_MASK: u64 = TCB_FLAG_FPU_DISABLED;
