//! Messages: what one slot carries.
//!
//! ```text
//! word 0   sequence:32 | words:8 | kind:8 | method:16     sequence is position + 1, see `publication`
//! word 1   token       index:16 | generation:48
//! words 2..8           48 bytes of payload
//! ```
//!
//! A message never spans slots (`docs/adr/0002`): longer payload goes through the bulk buffer of its credit.

use core::fmt;

/// Words of payload that fit into a slot.
pub const PAYLOAD_WORDS: usize = 6;
/// First payload word of a slot.
pub const PAYLOAD: usize = 2;

/// What a message is. The first three travel in request lanes, the last in answer lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A call that waits for an answer.
    Request = 1,
    /// A one-way send.
    OneWay = 2,
    /// The caller no longer wants the answer to the request with this token.
    Cancel = 3,
    /// The answer to the request with this token; its method field is a [`Status`].
    Answer = 4,
}

/// How a request ended, as the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    /// The handler finished; the payload is its result.
    Done = 0,
    /// The request was cancelled before its handler finished.
    Cancelled = 1,
    /// The service has no method of that number.
    UnknownMethod = 2,
    /// The arguments are no values of their types.
    BadArguments = 3,
    /// The handler ended without a reply (it panicked, or dropped its request).
    NoReply = 4,
    /// The receiver serves nothing on this connection.
    NoService = 5,
}

impl Status {
    /// The status that a method field of an answer stands for.
    #[inline]
    pub fn from_raw(raw: u16) -> Option<Status> {
        Some(match raw {
            0 => Status::Done,
            1 => Status::Cancelled,
            2 => Status::UnknownMethod,
            3 => Status::BadArguments,
            4 => Status::NoReply,
            5 => Status::NoService,
            _ => return None,
        })
    }
}

/// The upper half of a slot's first word, as it was read: every value is possible.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Info(u32);

impl Info {
    /// The head of a message with `words` payload words (at most [`PAYLOAD_WORDS`]).
    #[inline]
    pub const fn new(kind: Kind, method: u16, words: usize) -> Info {
        Info(words as u32 & 0xff | (kind as u32) << 8 | (method as u32) << 16)
    }

    /// The head whose bits are `raw`.
    #[inline]
    pub const fn from_raw(raw: u32) -> Info {
        Info(raw)
    }

    /// Its bits.
    #[inline]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The kind, if the bits stand for one.
    #[inline]
    pub fn kind(self) -> Option<Kind> {
        Some(match (self.0 >> 8) as u8 {
            1 => Kind::Request,
            2 => Kind::OneWay,
            3 => Kind::Cancel,
            4 => Kind::Answer,
            _ => return None,
        })
    }

    /// Whether the kind is that of a request.
    #[inline]
    pub fn is_request(self) -> bool {
        (self.0 >> 8) as u8 == Kind::Request as u8
    }

    /// The method of a request, or the status of an answer.
    #[inline]
    pub fn method(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// How many payload words the message says it has: up to 255, though a slot holds only [`PAYLOAD_WORDS`].
    #[inline]
    pub fn words(self) -> usize {
        self.0 as usize & 0xff
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Info")
            .field("kind", &self.kind())
            .field("method", &self.method())
            .field("words", &self.words())
            .finish()
    }
}

/// What a request carries so that its answer finds the waiting task: `index:16 | generation:48`.
///
/// Only the requester interprets it. The server echoes all of it, and uses the index as the number of the credit.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u64);

impl Token {
    /// A token that no request ever carries: no table has an entry of its index.
    pub const NONE: Token = Token(u64::MAX);

    /// The token of entry `index` in its `generation`, of which the lower 48 bits count.
    #[inline]
    pub const fn new(index: u16, generation: u64) -> Token {
        Token(index as u64 | generation << 16)
    }

    /// The token of the same entry in its next generation; generations wrap.
    #[inline]
    pub const fn next(self) -> Token {
        Token(self.0.wrapping_add(1 << 16))
    }

    /// The token whose bits are `raw`.
    #[inline]
    pub const fn from_raw(raw: u64) -> Token {
        Token(raw)
    }

    /// Its bits.
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The token-table entry, and the number of the credit.
    #[inline]
    pub const fn index(self) -> u16 {
        self.0 as u16
    }

    /// How often the entry had been used before.
    #[inline]
    pub const fn generation(self) -> u64 {
        self.0 >> 16
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index(), self.generation())
    }
}
