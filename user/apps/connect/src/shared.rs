//! What the root task and its processes agree on; a module of both programs.

/// Credits of each connection.
pub const CREDITS: u32 = 256;
/// Bytes of each bulk buffer.
pub const BULK_BYTES: u32 = 1024;
/// Right answers after which a process says that it is well under way.
pub const UNDER_WAY: u64 = 2000;
/// Number under which a process notes that it is done.
pub const DONE: u64 = u64::MAX;

/// What a process is to do: argument 0.
pub mod role {
    /// Serve service number [argument 2] until [argument 3] clients have come and all have gone.
    pub const SERVER: u64 = 0;
    /// Make every call that there is, as client number [argument 2].
    pub const CLIENT: u64 = 1;
    /// Serve service number [argument 2], and call another of the same role, both ways over both connections.
    pub const BOTH: u64 = 2;
    /// Call with [argument 2] outstanding until the connection ends, which must be by the peer's death.
    pub const LOOPER: u64 = 3;
    /// As a looper, and write where nothing is when well under way.
    pub const FAULTER: u64 = 4;
    /// Connect with what is no capability to a service, and serve number [argument 2], which is another's.
    pub const WITHOUT: u64 = 5;
    /// Keep an answer's memory after the end of its connection.
    pub const HOARDER: u64 = 6;
    /// Write arbitrary words to all that it may write, with seed [argument 2] and [argument 3] writes.
    pub const SCRIBBLER: u64 = 7;
    /// Touch what it must not: kind [argument 2].
    pub const TRESPASSER: u64 = 8;
}

/// What its executor does when there is nothing to do: argument 1.
pub mod mode {
    /// Sleep.
    pub const PARK: u64 = 0;
    /// Give up the core a few times, then sleep.
    pub const ADAPTIVE: u64 = 1;
    /// Look again.
    pub const POLL: u64 = 2;
}

/// What it says to the root task: labels.
pub mod said {
    /// A service is there.
    pub const READY: u64 = 0x200;
    /// Calls are well under way.
    pub const UNDER_WAY: u64 = 0x201;
    /// It holds memory of a connection that has ended; a call.
    pub const HOLDS: u64 = 0x202;
}

/// Exit codes but 0.
pub mod code {
    /// Something was not as it must be.
    pub const WRONG: u64 = 1;
    /// The connection ended otherwise than it must.
    pub const OTHER_END: u64 = 2;
    /// A server could not bind a client.
    pub const TURNED_AWAY: u64 = 3;
    /// A server has handlers left after all clients went.
    pub const HANDLERS_LEFT: u64 = 4;
    /// The broker let it do what it must not.
    pub const LET_IN: u64 = 5;
}

/// Where a trespasser goes: argument 2.
pub mod trespass {
    /// Writes the region that its peer writes.
    pub const WRITE_INCOMING: u64 = 0;
    /// Writes its peer's state word.
    pub const WRITE_PEER_STATE: u64 = 1;
    /// Writes its notice page.
    pub const WRITE_NOTICES: u64 = 2;
    /// Reads behind the end of its own region.
    pub const READ_BEHIND: u64 = 3;
    /// Reads where the next connection would be.
    pub const READ_OTHER: u64 = 4;
    /// Executes the region that its peer writes.
    pub const EXECUTE_INCOMING: u64 = 5;
    /// How many there are.
    pub const KINDS: u64 = 6;
}
