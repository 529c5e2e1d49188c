//! What the root task and its processes agree on; a module of both programs.

/// Memory of the server (bytes, log2): 256 blocks of 32 KiB.
pub const MEMORY_BITS: u64 = 23;
/// Memory of its kernel lane (bytes, log2).
pub const LANE_BITS: u64 = 18;
/// Slots of the server's capability space (count, log2).
pub const CNODE_BITS: u64 = 12;
/// Pages that count, of each client at most. Three clients cannot use up the server's memory.
pub const QUOTA_PAGES: u64 = 512;
/// Pages of a region at most.
pub const REGION_PAGES: u64 = 64;
/// Regions of a client at most.
pub const REGIONS: u64 = 100;
/// Pages of the window of addresses: 64 MiB.
pub const WINDOW_PAGES: u64 = 1 << 14;
/// Credits of each connection.
pub const CREDITS: u32 = 64;
/// Requests after which a process says that it is well under way.
pub const UNDER_WAY: u64 = 400;

/// What a process is to do: argument 0.
pub mod role {
    /// Serve service number [argument 1] until [argument 2] clients have come and all have gone.
    pub const SERVER: u64 = 0;
    /// Work at random with seed [argument 1], [argument 2] steps for each of [argument 3] tasks.
    pub const CLIENT: u64 = 1;
    /// The same without an end, with requests dropped half-way.
    pub const LOOPER: u64 = 2;
    /// Use up the quota, and make every mistake.
    pub const GREEDY: u64 = 3;
    /// Touch what it may not: kind [argument 1].
    pub const TRESPASSER: u64 = 4;
    /// Count the instructions of requests, [argument 1] outstanding, regions of [argument 2] pages.
    pub const METER: u64 = 5;
}

/// What a process says to the root task: labels.
pub mod said {
    /// The service is there.
    pub const READY: u64 = 0x200;
    /// Requests are well under way.
    pub const UNDER_WAY: u64 = 0x201;
    /// It is about to touch this address.
    pub const TOUCHES: u64 = 0x202;
    /// Instructions a request: of one that needs no kernel, of alloc and free, of map and unmap.
    pub const COUNTED: u64 = 0x203;
}

/// Exit codes but 0.
pub mod code {
    /// Something was not as it must be.
    pub const WRONG: u64 = 1;
    /// The server has not got all its memory back.
    pub const LEFT: u64 = 2;
    /// It could touch what it must not.
    pub const LET_IN: u64 = 3;
}

/// What a trespasser touches: argument 1.
pub mod trespass {
    /// A region that was unmapped.
    pub const UNMAPPED: u64 = 0;
    /// A region that was freed while it was mapped.
    pub const FREED: u64 = 1;
    /// A region that is mapped to be read: writes it.
    pub const READ_ONLY: u64 = 2;
    /// The page behind a region.
    pub const BEHIND: u64 = 3;
    /// A region that is mapped: executes it.
    pub const EXECUTED: u64 = 4;
    /// A region of a connection that it has ended.
    pub const LEFT: u64 = 5;
    /// How many there are.
    pub const KINDS: u64 = 6;
}
