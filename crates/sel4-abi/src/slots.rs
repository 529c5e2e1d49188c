//! Slots of the initial thread's root CNode that have a fixed meaning; those that seL4 does not fill on RISC-V stay empty.
//!
//! Source: reference manual, chapter 9 (system bootstrapping).

/// Always empty.
pub const NULL: u64 = 0;
/// The initial thread's TCB.
pub const INIT_THREAD_TCB: u64 = 1;
/// The root CNode.
pub const INIT_THREAD_CNODE: u64 = 2;
/// The initial thread's VSpace.
pub const INIT_THREAD_VSPACE: u64 = 3;
/// Makes interrupt handlers.
pub const IRQ_CONTROL: u64 = 4;
/// Makes ASID pools.
pub const ASID_CONTROL: u64 = 5;
/// The pool in which the initial thread's VSpace is.
pub const INIT_THREAD_ASID_POOL: u64 = 6;
/// Frame of boot info.
pub const BOOT_INFO_FRAME: u64 = 9;
/// Frame of the initial thread's IPC buffer.
pub const INIT_THREAD_IPC_BUFFER: u64 = 10;
/// Puts threads into domains.
pub const DOMAIN: u64 = 11;
/// The first slot without a fixed meaning.
pub const NUM_INITIAL_CAPS: u64 = 16;
