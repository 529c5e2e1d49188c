//! What the root task and its processes agree on; a module of both programs.

/// Clients of the server.
pub const CLIENTS: u64 = 2;
/// Requests that each client has under way.
pub const OUTSTANDING: u64 = 32;
/// Requests that the server has under way with the ledger, at most.
pub const FORWARDED: u32 = 64;

/// What a process is to do: argument 0.
pub mod role {
    /// Serve service number [argument 1], and remember every number that is recorded.
    pub const LEDGER: u64 = 0;
    /// Serve service number [argument 1], and ask the ledger for everything. The first capability is to that.
    pub const SERVER: u64 = 1;
    /// Record numbers as client [argument 1], and again after each end of the server.
    pub const CLIENT: u64 = 2;
    /// Have the server killed again and again, at random times; random numbers start at [argument 1]. Its priority is above the
    /// others', so that it wakes in the middle of whatever they do.
    pub const SABOTEUR: u64 = 3;
}

/// What it says to the root task: labels.
pub mod said {
    /// A service is there.
    pub const READY: u64 = 0x200;
    /// The server is to be killed now; a call, answered 1 when that was the last time, otherwise 0. It is not done before all clients have
    /// come, but for some times.
    pub const NOW: u64 = 0x201;
    /// A client is connected to a server; a call, answered 1 if that will not be killed any more, otherwise 0.
    pub const CONNECTED: u64 = 0x203;
    /// A client has found everything in order. Words: numbers recorded, acknowledged ones, times that the server died.
    pub const IN_ORDER: u64 = 0x202;
}

/// Exit codes but 0.
pub mod code {
    /// Something was not as it must be; a line says what.
    pub const WRONG: u64 = 1;
}
