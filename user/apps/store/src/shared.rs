//! What the root task and its processes agree on; a module of both programs.

/// Clients in all, of which one is killed.
pub const CLIENTS: u64 = 4;
/// The client that is killed.
pub const VICTIM: u64 = 3;

/// What a process is to do: argument 0. Argument 1 is the number of the service that it serves, argument 3 its own number.
pub mod role {
    /// Gather what the others report, and keep them in step. Argument 2: the process number of client 0.
    pub const BOARD: u64 = 0;
    /// Serve the store. Capabilities: board.
    pub const STORE: u64 = 1;
    /// Serve the index. Capabilities: board, store.
    pub const INDEX: u64 = 2;
    /// Put, index, ask and verify, as client number [argument 2]. Capabilities: board, store, index.
    pub const CLIENT: u64 = 3;
}

/// What a process says to the root task: labels.
pub mod said {
    /// A service is there.
    pub const READY: u64 = 0x200;
    /// All clients have read back what they stored, and begin to ask questions.
    pub const ASKING: u64 = 0x201;
}
