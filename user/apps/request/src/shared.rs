//! What the root task and its processes agree on; a module of both programs.

use baton_platform::protocol::Transport;

/// Credits of each connection: requests that a client has outstanding at most.
pub const CREDITS: u32 = 256;

/// Words of a message that are measured, with the workload's name.
pub const WORKLOADS: [(&str, u64); 3] = [("request", 2), ("request_4", 4), ("request_6", 6)];

/// Requests that each client has outstanding.
pub const OUTSTANDING: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// A way to get messages across: its number is argument 1 of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Way {
    /// Baton's: lanes, and answers resume their tasks in place.
    Lanes = 0,
    /// Lanes, emptied by a dispatcher task.
    LanesDispatcher = 1,
    /// One ring each way for a pair of processes, emptied by a dispatcher task: ReL4's way.
    Pairs = 2,
    /// One ring each way for a pair of processes, without a dispatcher.
    PairsDirect = 3,
    /// One ring for each process, which all its senders write.
    Shared = 4,
    /// The same, emptied by a dispatcher task.
    SharedDispatcher = 5,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 6] = [
        Way::Lanes,
        Way::LanesDispatcher,
        Way::Pairs,
        Way::PairsDirect,
        Way::Shared,
        Way::SharedDispatcher,
    ];

    /// The way with that number, if there is one.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|way| *way as u64 == number)
    }

    /// Its name in the results.
    pub const fn name(self) -> &'static str {
        match self {
            Way::Lanes => "lanes",
            Way::LanesDispatcher => "lanes_dispatcher",
            Way::Pairs => "pairs",
            Way::PairsDirect => "pairs_direct",
            Way::Shared => "shared",
            Way::SharedDispatcher => "shared_dispatcher",
        }
    }

    /// What the broker has to know of it.
    pub const fn transport(self) -> Transport {
        match self {
            Way::Lanes | Way::LanesDispatcher => Transport::Lanes,
            Way::Pairs | Way::PairsDirect => Transport::OneLane,
            Way::Shared | Way::SharedDispatcher => Transport::OneRing,
        }
    }
}

/// What a process is to do: argument 0.
pub mod role {
    /// Serve service number [argument 3] until [argument 4] clients have come and all have gone.
    pub const SERVER: u64 = 0;
    /// Call: each number of words in the set [argument 3] (bits of `WORKLOADS`) with each number of requests outstanding in the set
    /// [argument 4] (bits of `OUTSTANDING`), in [argument 5] samples of [argument 6] requests of all [argument 7] clients at least. If
    /// [argument 7] has bit 32 set, the kernel's entries are read as well.
    pub const CLIENT: u64 = 1;
}

/// In argument 7 of a client: the kernel counts its entries.
pub const COUNTS_ENTRIES: u64 = 1 << 32;

/// What its executor does when there is nothing to do: argument 2.
pub mod mode {
    /// Sleep.
    pub const PARK: u64 = 0;
    /// Give up the core a few times, then sleep.
    pub const YIELD: u64 = 1;
    /// Look again, for ever.
    pub const POLL: u64 = 2;
}

/// What it says to the root task: labels.
pub mod said {
    /// The service is there.
    pub const READY: u64 = 0x200;
    /// A client has taken all samples of a shape: [`super::Taken`].
    pub const TAKEN: u64 = 0x201;
}

/// What a client has measured of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Words of a message.
    pub words: u64,
    /// Requests that it had outstanding.
    pub outstanding: u64,
    /// Requests that it has made in each sample.
    pub requests: u64,
    /// Samples.
    pub samples: u64,
    /// The machine's counter of instructions before the first sample, which counts those of all programs and the kernel.
    pub first: u64,
    /// The same behind the last.
    pub last: u64,
    /// Instructions in the shortest sample.
    pub least: u64,
    /// Instructions in the longest.
    pub most: u64,
    /// Entries of the kernel in all samples; 0 if they are not counted.
    pub entries: u64,
}

impl Taken {
    /// Words of a message that says it.
    pub const WORDS: usize = 9;

    /// As words of a message.
    pub const fn to_words(self) -> [u64; Self::WORDS] {
        [
            self.words,
            self.outstanding,
            self.requests,
            self.samples,
            self.first,
            self.last,
            self.least,
            self.most,
            self.entries,
        ]
    }

    /// From words of a message.
    pub const fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [
            words,
            outstanding,
            requests,
            samples,
            first,
            last,
            least,
            most,
            entries,
        ] = words;
        Self {
            words,
            outstanding,
            requests,
            samples,
            first,
            last,
            least,
            most,
            entries,
        }
    }
}
