//! What the root task and its processes agree on; a module of both programs.

/// What a process is to do: argument 0.
pub mod role {
    /// Answer calls on the endpoint that it was given, until told to stop.
    pub const SYNC_SERVER: u64 = 0;
    /// Call [argument 1] times on the endpoint that it was given.
    pub const SYNC_CLIENT: u64 = 1;
    /// Serve as [`super::serve`] says.
    pub const SERVER: u64 = 2;
    /// Call as [`super::ask`] says.
    pub const CLIENT: u64 = 3;
}

/// How messages get to the tasks that wait for them: argument 1 of those with an inbox.
pub mod transport {
    /// A dispatcher task empties the lanes and wakes the tasks that are named in the messages.
    pub const PAIRS: u64 = 0;
    /// The executor empties the lanes itself, and polls what a message is for.
    pub const LANES: u64 = 1;
}

/// Further arguments of a server.
pub mod serve {
    /// The number of its service.
    pub const SERVICE: usize = 2;
    /// How many clients it serves.
    pub const CLIENTS: usize = 3;
    /// See [`super::record`].
    pub const RECORD: usize = 4;
    /// Its own number.
    pub const PROCESS: usize = 5;
}

/// Further arguments of a client.
pub mod ask {
    /// How many requests it makes.
    pub const REQUESTS: usize = 2;
    /// How many of them are under way at a time.
    pub const OUTSTANDING: usize = 3;
    /// See [`super::record`].
    pub const RECORD: usize = 4;
    /// Its own number.
    pub const PROCESS: usize = 5;
}

/// What a process does with its trace.
pub mod record {
    /// Has it off.
    pub const NOTHING: u64 = 0;
    /// Has it on, and says how many system calls it made between its first request and its last.
    pub const COUNT: u64 = 1;
    /// Has it on, and prints it at its end.
    pub const PRINT: u64 = 2;
}

/// What a process says to the root task: labels.
pub mod said {
    /// It serves.
    pub const READY: u64 = 0x200;
    /// A client is done: requests that were answered rightly, instructions that passed meanwhile.
    pub const DONE: u64 = 0x201;
    /// How many system calls it made for its requests.
    pub const CALLS: u64 = 0x202;
}

/// Messages on the endpoint of the synchronous service: labels.
pub mod sync {
    /// Add two words.
    pub const ADD: u64 = 1;
    /// Stop.
    pub const STOP: u64 = 2;
}
