//! The model: everything that a kernel has, in the plainest form.

use crate::caps::{Addr, Cap, Place, low, own};
use baton_sel4_abi::message::ipc_buffer;
use baton_sel4_abi::{
    CapRights, Error, IPC_BUFFER_BITS, LookupFailureKind, TIME_SLICE_TICKS, WORD_BITS,
};
use std::collections::{BTreeMap, VecDeque};

/// Numbers of registers: the architecture's, and the two that traps leave behind.
pub mod reg {
    /// Where the last trap was.
    pub const PC: usize = 0;
    pub const RA: usize = 1;
    pub const SP: usize = 2;
    pub const TP: usize = 4;
    pub const A0: usize = 10;
    pub const A1: usize = 11;
    /// The first of the four that carry message words.
    pub const A2: usize = 12;
    pub const A7: usize = 17;
    /// Where the thread goes on.
    pub const NEXT_PC: usize = 32;
}
pub const REGISTERS: usize = 33;
/// Message words in registers.
pub const IN_REGISTERS: usize = 4;

/// A capability in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub cap: Cap,
    /// The slot of the capability that it was made from, as far as that still counts.
    pub parent: Option<Place>,
    /// Whether it was made as a new object, or got its badge when it was made: it can have children.
    pub original: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Inactive,
    Running,
    Restart,
    Receiving {
        endpoint: Addr,
        grant: bool,
    },
    Sending {
        endpoint: Addr,
        badge: u64,
        grant: bool,
        grant_reply: bool,
        call: bool,
    },
    AwaitingReply,
    AwaitingSignal {
        notification: Addr,
    },
}

/// Why a capability pointer leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    InvalidRoot,
    Missing { left: u64 },
    Depth { left: u64, found: u64 },
    Guard { left: u64, guard: u64, found: u64 },
}

impl Lost {
    /// As words of a message.
    pub fn words(self) -> Vec<u64> {
        use LookupFailureKind as Kind;
        match self {
            Lost::InvalidRoot => vec![Kind::InvalidRoot.number()],
            Lost::Missing { left } => vec![Kind::MissingCapability.number(), left],
            Lost::Depth { left, found } => vec![Kind::DepthMismatch.number(), left, found],
            Lost::Guard { left, guard, found } => {
                vec![Kind::GuardMismatch.number(), left, guard, found]
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Cap {
        pointer: u64,
        receiving: bool,
        lost: Lost,
    },
    Syscall {
        number: u64,
    },
    Exception {
        cause: u64,
    },
    Memory {
        address: u64,
        fetch: bool,
        status: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    pub registers: [u64; REGISTERS],
    pub state: State,
    pub priority: u64,
    /// The highest priority that it may give.
    pub mcp: u64,
    /// Ticks left.
    pub slice: u64,
    pub flags: u64,
    pub fault_handler: u64,
    pub buffer_at: u64,
    pub bound: Option<Addr>,
    pub fault: Option<Fault>,
}

impl Thread {
    pub fn new() -> Self {
        Thread {
            registers: [0; REGISTERS],
            state: State::Inactive,
            priority: 0,
            mcp: 0,
            slice: TIME_SLICE_TICKS,
            flags: 0,
            fault_handler: 0,
            buffer_at: 0,
            bound: None,
            fault: None,
        }
    }

    pub fn can_run(&self) -> bool {
        matches!(self.state, State::Running | State::Restart)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    pub senders: VecDeque<Addr>,
    pub receivers: VecDeque<Addr>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    pub waiting: VecDeque<Addr>,
    /// Badges that have gathered, if there was a signal.
    pub signals: Option<u64>,
    pub bound: Option<Addr>,
}

/// An interrupt that somebody has a handler for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Irq {
    pub edge: bool,
    /// Delivered and not yet acknowledged.
    pub claimed: bool,
}

/// An entry of a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    Table(Addr),
    Frame {
        at: Addr,
        read: bool,
        write: bool,
        execute: bool,
    },
}

/// What the scheduler is to do before the user runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    GoOn,
    /// This one woke up; it runs if it is good enough.
    Consider(Addr),
    Choose,
}

/// Why an invocation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    InvalidArgument(u64),
    InvalidCapability(u64),
    IllegalOperation,
    Range(u64, u64),
    Alignment,
    FailedLookup { source: bool, lost: Lost },
    Truncated,
    DeleteFirst,
    RevokeFirst,
    NotEnoughMemory(u64),
}

impl Refusal {
    /// Label and words of the answer.
    pub fn message(self) -> (u64, Vec<u64>) {
        let (error, words) = match self {
            Refusal::InvalidArgument(number) => (Error::InvalidArgument, vec![number]),
            Refusal::InvalidCapability(number) => (Error::InvalidCapability, vec![number]),
            Refusal::IllegalOperation => (Error::IllegalOperation, vec![]),
            Refusal::Range(min, max) => (Error::RangeError, vec![min, max]),
            Refusal::Alignment => (Error::AlignmentError, vec![]),
            Refusal::FailedLookup { source, lost } => {
                let mut words = vec![u64::from(source)];
                words.extend(lost.words());
                (Error::FailedLookup, words)
            }
            Refusal::Truncated => (Error::TruncatedMessage, vec![]),
            Refusal::DeleteFirst => (Error::DeleteFirst, vec![]),
            Refusal::RevokeFirst => (Error::RevokeFirst, vec![]),
            Refusal::NotEnoughMemory(left) => (Error::NotEnoughMemory, vec![left]),
        };
        (error.label(), words)
    }
}

/// What an invocation answers: words; or why it was refused.
pub type Answer = Result<Vec<u64>, Refusal>;

/// Where a pointer leads: a slot, which may be empty, and the bits of the pointer that were not needed.
pub struct Found {
    pub place: Place,
    pub left: u64,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Model {
    /// All capabilities; slots that are not here are empty.
    pub caps: BTreeMap<Place, Entry>,
    /// The slots of [`Model::caps`] in the order of the derivation trees: each is followed by what was made of it, the
    /// latest first. It decides in which order a revocation deletes.
    pub order: Vec<Place>,
    /// CNodes, each with its number of slots (log2).
    pub nodes: BTreeMap<Addr, u64>,
    pub threads: BTreeMap<Addr, Thread>,
    pub endpoints: BTreeMap<Addr, Endpoint>,
    pub notifications: BTreeMap<Addr, Notification>,
    /// Page tables: what is in those entries that map something.
    pub tables: BTreeMap<Addr, BTreeMap<u64, Translation>>,
    /// ASID pools: roots by index.
    pub pools: BTreeMap<Addr, BTreeMap<u64, Addr>>,
    /// Which pool has the identifiers from that one on.
    pub pool_of: BTreeMap<u64, Addr>,
    pub irqs: BTreeMap<u64, Irq>,
    /// Contents of memory that users have, in pieces of the size of an IPC buffer; what is not here is zero.
    pub memory: BTreeMap<Addr, [u64; ipc_buffer::WORDS]>,
    /// Threads that can run and do not, by priority, next first.
    pub ready: BTreeMap<u64, VecDeque<Addr>>,
    /// The running thread; may have been deleted in the course of its own call.
    pub running: Option<Addr>,
    /// Priority of the running thread, should it have been deleted.
    pub last_priority: u64,
    pub decision: Decision,
}

impl Model {
    pub fn empty() -> Self {
        Model {
            caps: BTreeMap::new(),
            order: Vec::new(),
            nodes: BTreeMap::new(),
            threads: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            notifications: BTreeMap::new(),
            tables: BTreeMap::new(),
            pools: BTreeMap::new(),
            pool_of: BTreeMap::new(),
            irqs: BTreeMap::new(),
            memory: BTreeMap::new(),
            ready: BTreeMap::new(),
            running: None,
            last_priority: 0,
            decision: Decision::GoOn,
        }
    }

    pub fn cap(&self, place: Place) -> Option<Cap> {
        self.caps.get(&place).map(|entry| entry.cap)
    }

    pub fn set_cap(&mut self, place: Place, cap: Cap) {
        if let Some(entry) = self.caps.get_mut(&place) {
            entry.cap = cap;
        }
    }

    /// A thread that exists.
    pub fn thread(&self, at: Addr) -> &Thread {
        &self.threads[&at]
    }

    /// The same, to be changed.
    pub fn thread_mut(&mut self, at: Addr) -> &mut Thread {
        self.threads.get_mut(&at).expect("a thread that exists")
    }

    // -- Capability spaces ---------------------------------------------------------------------------------------

    /// Follows `depth` bits of `pointer` from a CNode on.
    pub fn resolve(&self, root: Option<Cap>, pointer: u64, depth: u64) -> Result<Found, Lost> {
        let Some(Cap::CNode { .. }) = root else {
            return Err(Lost::InvalidRoot);
        };
        let mut node = root;
        let mut left = depth;
        loop {
            let Some(Cap::CNode {
                at,
                radix,
                guard,
                guard_bits,
            }) = node
            else {
                unreachable!("only CNodes get here");
            };
            let matches = guard_bits <= left && {
                // The bits directly below those already used.
                let bits = u128::from(pointer) & u128::from(low(left));
                (bits >> (left - guard_bits)) as u64 == guard
            };
            if !matches {
                return Err(Lost::Guard {
                    left,
                    guard,
                    found: guard_bits,
                });
            }
            if guard_bits + radix > left {
                return Err(Lost::Depth {
                    left,
                    found: guard_bits + radix,
                });
            }
            left -= guard_bits + radix;
            let index = if left == 64 { 0 } else { pointer >> left } & low(radix);
            let place = Place::Node(at, index);
            node = self.cap(place);
            if left == 0 || !matches!(node, Some(Cap::CNode { .. })) {
                return Ok(Found { place, left });
            }
        }
    }

    /// The slot that a pointer of a thread names.
    pub fn lookup(&self, thread: Addr, pointer: u64) -> Result<Place, Lost> {
        let root = self.cap(Place::Thread(thread, own::CSPACE));
        Ok(self.resolve(root, pointer, WORD_BITS)?.place)
    }

    /// The slot that a CNode operation names.
    pub fn lookup_at(
        &self,
        root: Option<Cap>,
        index: u64,
        depth: u64,
        source: bool,
    ) -> Result<Place, Refusal> {
        let failed = |lost| Refusal::FailedLookup { source, lost };
        let Some(Cap::CNode { .. }) = root else {
            return Err(failed(Lost::InvalidRoot));
        };
        if !(1..=WORD_BITS).contains(&depth) {
            return Err(Refusal::Range(1, WORD_BITS));
        }
        let found = self.resolve(root, index, depth).map_err(failed)?;
        match found.left {
            0 => Ok(found.place),
            left => Err(failed(Lost::Depth { left, found: 0 })),
        }
    }

    // -- Memory --------------------------------------------------------------------------------------------------

    /// Where the thread's IPC buffer is, if it has one that it may read, or write if `receiver`.
    pub fn buffer(&self, thread: Addr, receiver: bool) -> Option<Addr> {
        match self.cap(Place::Thread(thread, own::BUFFER)) {
            Some(Cap::Frame {
                at,
                bits,
                read: true,
                write,
                device: false,
                ..
            }) if write || !receiver => Some(at + (self.thread(thread).buffer_at & low(bits))),
            _ => None,
        }
    }

    pub fn word(&self, buffer: Addr, index: usize) -> u64 {
        debug_assert!(buffer & low(IPC_BUFFER_BITS) == 0);
        self.memory.get(&buffer).map_or(0, |words| words[index])
    }

    pub fn set_word(&mut self, buffer: Addr, index: usize, value: u64) {
        let words = self.memory.entry(buffer);
        words.or_insert([0; ipc_buffer::WORDS])[index] = value;
    }

    /// Writes message words for a thread, as many as there is room for, and returns how many.
    pub fn write_message(&mut self, thread: Addr, words: &[u64]) -> u64 {
        let buffer = self.buffer(thread, true);
        let mut written = 0;
        for (index, &word) in words.iter().enumerate() {
            if index < IN_REGISTERS {
                self.thread_mut(thread).registers[reg::A2 + index] = word;
            } else if let Some(buffer) = buffer {
                self.set_word(buffer, ipc_buffer::MSG + index, word);
            } else {
                break;
            }
            written += 1;
        }
        written
    }
}

/// Rights as a page's translation has them.
pub fn reads_writes(rights: CapRights) -> (bool, bool) {
    (
        rights.contains(CapRights::READ),
        rights.contains(CapRights::WRITE),
    )
}
