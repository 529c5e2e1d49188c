//! What is fixed when the kernel is built.

/// Scheduling domains.
pub const DOMAINS: usize = if cfg!(feature = "domains") { 4 } else { 1 };

/// Entries of the domain schedule, the end marker included.
pub const DOMAIN_SCHEDULE_LENGTH: usize = 256;

/// Whether entries are counted.
pub const COUNTS_ENTRIES: bool = cfg!(feature = "count-traps");

/// Priorities of a domain.
pub const PRIORITIES: usize = baton_sel4_abi::NUM_PRIORITIES as usize;

/// Memory that retype clears between two preemption points (bytes, log2).
pub const CLEAR_CHUNK_BITS: u64 = 10;
