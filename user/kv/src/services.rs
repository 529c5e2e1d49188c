//! What can be called: three services, each an ordinary trait.
//!
//! Small values of fixed layout travel inside a message's slot. What may be longer (keys, texts, lists of postings) travels
//! through the bulk buffer that comes with each credit: `BulkIn` towards the server, `BulkOut` back.
//!
//! Every client has a *space* of its own, so that the death of one is nobody else's problem.

use crate::words::Word;
use baton_rpc::{BulkIn, BulkOut, Wire, service};

/// A store of values under keys.
#[service]
pub trait Kv {
    /// Stores a value. `entry` is the key, `key_bytes` long, and behind it the value.
    async fn put(&self, space: u32, key_bytes: u32, entry: BulkIn) -> Put;

    /// Finds the value of a key.
    async fn get(&self, space: u32, key: BulkIn, value: BulkOut) -> (Got, BulkOut);

    /// Takes a key and its value away, and says how long the value was.
    async fn remove(&self, space: u32, key: BulkIn) -> Option<u32>;

    /// How much a space holds.
    async fn count(&self, space: u32) -> Counts;
}

/// An index from words to the pieces of text that contain them.
#[service]
pub trait Index {
    /// Notes the words of a piece. `entry` is the piece's key in the store, `key_bytes` long, and behind it the words, separated
    /// by blanks. Says how many postings are new.
    async fn append(&self, space: u32, piece: u32, key_bytes: u32, entry: BulkIn) -> Option<u32>;

    /// The pieces with a word in ascending order, from the one at `place` on: as many as the answer has room for.
    async fn find(&self, space: u32, place: u32, word: Word, pieces: BulkOut) -> (Found, BulkOut);

    /// The pieces that have every one of `words`, which are separated by blanks; otherwise like `find`.
    async fn find_all(
        &self,
        space: u32,
        place: u32,
        words: BulkIn,
        pieces: BulkOut,
    ) -> (Found, BulkOut);

    /// The text of the first piece that has every one of `words`. The handler asks the store for it.
    async fn quote(&self, space: u32, words: BulkIn, text: BulkOut) -> (Quote, BulkOut);
}

/// What the parent process serves: it gathers what the others report, and keeps them in step.
#[service]
pub trait Board {
    /// One way, and dropped when there is no room: how many requests `client` has done in `phase`.
    fn note(&self, client: u32, phase: Phase, done: u64);

    /// Waits until every living client is about to begin `phase`.
    async fn arrive(&self, client: u32, phase: Phase);

    /// What a client did in a phase; `results` is a [`Tally`](crate::tally::Tally) as text.
    async fn report(&self, client: u32, phase: Phase, results: BulkIn) -> bool;

    /// Waits until every living client has arrived at `phase`.
    async fn reached(&self, phase: Phase);

    /// A server is there for its clients.
    async fn ready(&self, server: ServerKind);

    /// What a server did from its start to its end.
    async fn figures(&self, server: ServerKind, figures: Figures);

    /// A line for whoever watches, such as the death of a client.
    async fn say(&self, line: BulkIn) -> bool;
}

/// How a `put` went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub enum Put {
    /// The key is new.
    New,
    /// The key had a value of that many bytes.
    Replaced(u32),
    /// The entry is shorter than its key: the caller's fault.
    BadEntry,
}

/// How a `get` went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub enum Got {
    /// The value is in the answer's bulk.
    Value,
    /// There is no such key.
    Missing,
    /// The value has that many bytes, more than the caller's buffers hold.
    TooLong(u32),
}

/// What a space of the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Wire)]
pub struct Counts {
    /// How many keys.
    pub entries: u64,
    /// How many bytes their values have in all.
    pub value_bytes: u64,
}

/// How many pieces were found; the answer's bulk has them as 32-bit integers, least significant byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub struct Found {
    /// How many there are in all.
    pub total: u32,
    /// How many of them are in this answer.
    pub returned: u32,
}

/// How a `quote` went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub enum Quote {
    /// The text of this piece is in the answer's bulk.
    Piece(u32),
    /// No piece has all the words.
    NoPiece,
    /// The store did not have the text, or could not be asked.
    NoText,
}

/// What a client does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Wire)]
pub enum Phase {
    /// Puts its share of the corpus into the store.
    Load,
    /// Appends its words to the index.
    Index,
    /// Gets every piece back.
    Read,
    /// Asks for the pieces with a word.
    Find,
    /// Asks for the pieces with several words.
    FindAll,
    /// Asks the index for a text, which asks the store.
    Quote,
    /// Asks how much there is.
    Count,
    /// Removes everything.
    Remove,
    /// Nothing any more.
    Done,
}

impl Phase {
    /// The phases in which there is something to do.
    pub const WORK: [Phase; 8] = [
        Phase::Load,
        Phase::Index,
        Phase::Read,
        Phase::Find,
        Phase::FindAll,
        Phase::Quote,
        Phase::Count,
        Phase::Remove,
    ];

    /// How the phase is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Load => "load",
            Phase::Index => "index",
            Phase::Read => "read",
            Phase::Find => "find",
            Phase::FindAll => "find-all",
            Phase::Quote => "quote",
            Phase::Count => "count",
            Phase::Remove => "remove",
            Phase::Done => "done",
        }
    }
}

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Wire)]
pub enum ServerKind {
    /// The store.
    Store,
    /// The index.
    Index,
}

impl ServerKind {
    /// How it is called.
    pub fn name(self) -> &'static str {
        match self {
            ServerKind::Store => "store",
            ServerKind::Index => "index",
        }
    }
}

/// What a server did from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Wire)]
pub struct Figures {
    /// Requests served.
    pub requests: u64,
    /// How often its inbox went to sleep.
    pub sleeps: u64,
    /// Processor time used, in milliseconds.
    pub cpu_ms: u64,
}
