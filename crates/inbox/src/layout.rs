//! Where everything lies in the shared regions, in 64-bit words.
//!
//! A connection is two regions, mirror images of each other: what A writes (A read-write, B read-only) and what B
//! writes. One region:
//!
//! ```text
//! word 0      magic and version          written once, before the region is passed on
//!      1      sizes of the two lanes      (request bits | answer bits << 8)
//!      2      bulk bytes per credit       (request | answer << 32)
//!      8      head of the peer's request lane   how far the writer of this region has drained it
//!     16      head of the peer's answer lane
//!     24      want_space                  the writer waits for the peer's heads to move
//!     32      tail of the request lane    (only with tail-word publication)
//!     40      tail of the answer lane
//!     64..    request slots, then answer slots, one every 16 words; then request bulk, then answer bulk
//! ```
//!
//! Each word that the other side polls has a cache line of its own. The S page of an inbox has one word, its state; the
//! hint page has [`HINT_WORDS`].

use baton_shm::SLOT_STRIDE_WORDS;
use core::fmt;

/// First word of every region: "baton" and the version of this layout.
pub const MAGIC: u64 = u64::from_le_bytes(*b"baton\0\x02\0");
/// Word of the lane sizes.
pub const LANE_BITS: usize = 1;
/// Word of the bulk sizes.
pub const BULK_BYTES: usize = 2;
/// Word of the writer's head in the peer's request lane.
pub const HEAD_REQUESTS: usize = 8;
/// Word of the writer's head in the peer's answer lane.
pub const HEAD_ANSWERS: usize = 16;
/// Word by which the writer asks to be rung when the peer publishes a head.
pub const WANT_SPACE: usize = 24;
/// Word of the request lane's tail, with tail-word publication.
pub const TAIL_REQUESTS: usize = 32;
/// Word of the answer lane's tail, with tail-word publication.
pub const TAIL_ANSWERS: usize = 40;
/// First word of the request slots.
pub const SLOTS: usize = 64;

/// Words in an S page that mean something: the state word.
pub const STATE_WORDS: usize = 1;
/// Most connections one inbox can hold.
pub const MAX_CONNECTIONS: usize = 64;
/// Words in a hint page: one bit a connection.
pub const HINT_WORDS: usize = 1;

/// Most credits one connection can have in one direction.
pub const MAX_CREDITS: u32 = 1 << 14;
/// Largest bulk buffer of one credit, in bytes.
pub const MAX_BULK_BYTES: u32 = 1 << 24;

/// The layout of one region: what one side of a connection writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionLayout {
    request_bits: u32,
    answer_bits: u32,
    request_bulk_bytes: u32,
    answer_bulk_bytes: u32,
}

/// Why a layout is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// More than [`MAX_CREDITS`] credits were asked for: ask for fewer.
    TooManyCredits(u32),
    /// A bulk buffer above [`MAX_BULK_BYTES`] was asked for: split the payload.
    BulkTooLarge(u32),
    /// The region does not begin with [`MAGIC`]: the peer is no Baton process, or of another version.
    NotBaton(u64),
    /// The peer's header does not describe the region that was agreed on: the peer is corrupt, disconnect it.
    Disagrees,
    /// The peer's region is shorter than its layout: the peer is corrupt, disconnect it.
    TooShort {
        /// Words that the layout needs.
        needed_words: usize,
        /// Words that the region has.
        region_words: usize,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::TooManyCredits(n) => {
                write!(
                    f,
                    "{n} credits asked for, at most {MAX_CREDITS} are possible"
                )
            }
            LayoutError::BulkTooLarge(n) => write!(
                f,
                "bulk buffers of {n} bytes asked for, at most {MAX_BULK_BYTES} are possible"
            ),
            LayoutError::NotBaton(word) => {
                write!(
                    f,
                    "the peer's region begins with {word:#x}, not with Baton's magic"
                )
            }
            LayoutError::Disagrees => {
                f.write_str("the peer's region has other sizes than were agreed on")
            }
            LayoutError::TooShort {
                needed_words,
                region_words,
            } => write!(
                f,
                "the peer's region has {region_words} words, its layout needs {needed_words}"
            ),
        }
    }
}

impl core::error::Error for LayoutError {}

impl RegionLayout {
    /// The layout for a writer that holds `request_credits` credits with its peer and has granted it `answer_credits`.
    ///
    /// `request_bulk_bytes` and `answer_bulk_bytes` are the sizes of the bulk buffers that each of these credits owns,
    /// rounded up to a cache line; zero where none is wanted.
    ///
    /// # Errors
    ///
    /// [`LayoutError::TooManyCredits`] and [`LayoutError::BulkTooLarge`]: ask for less.
    pub fn new(
        request_credits: u32,
        answer_credits: u32,
        request_bulk_bytes: u32,
        answer_bulk_bytes: u32,
    ) -> Result<Self, LayoutError> {
        for credits in [request_credits, answer_credits] {
            if credits > MAX_CREDITS {
                return Err(LayoutError::TooManyCredits(credits));
            }
        }
        for bytes in [request_bulk_bytes, answer_bulk_bytes] {
            if bytes > MAX_BULK_BYTES {
                return Err(LayoutError::BulkTooLarge(bytes));
            }
        }
        Ok(RegionLayout {
            request_bits: request_credits.max(1).next_power_of_two().trailing_zeros(),
            answer_bits: answer_credits.max(1).next_power_of_two().trailing_zeros(),
            request_bulk_bytes: request_bulk_bytes.next_multiple_of(64),
            answer_bulk_bytes: answer_bulk_bytes.next_multiple_of(64),
        })
    }

    /// The three header words, to be written at word 0 before the region is passed on.
    pub fn header(&self) -> [u64; 3] {
        [
            MAGIC,
            u64::from(self.request_bits) | u64::from(self.answer_bits) << 8,
            u64::from(self.request_bulk_bytes) | u64::from(self.answer_bulk_bytes) << 32,
        ]
    }

    /// Checks a peer's header against the layout that was agreed on, and the length of its region.
    ///
    /// # Errors
    ///
    /// [`LayoutError::NotBaton`], [`LayoutError::Disagrees`] or [`LayoutError::TooShort`], all the peer's fault.
    pub fn check(&self, header: [u64; 3], region_words: usize) -> Result<(), LayoutError> {
        if header[0] != MAGIC {
            return Err(LayoutError::NotBaton(header[0]));
        }
        if header != self.header() {
            return Err(LayoutError::Disagrees);
        }
        if region_words < self.words() {
            return Err(LayoutError::TooShort {
                needed_words: self.words(),
                region_words,
            });
        }
        Ok(())
    }

    /// log2 of the request lane's capacity.
    pub fn request_bits(&self) -> u32 {
        self.request_bits
    }

    /// log2 of the answer lane's capacity.
    pub fn answer_bits(&self) -> u32 {
        self.answer_bits
    }

    /// First word of the request lane.
    pub fn request_slots(&self) -> usize {
        SLOTS
    }

    /// First word of the answer lane.
    pub fn answer_slots(&self) -> usize {
        SLOTS + (SLOT_STRIDE_WORDS << self.request_bits)
    }

    /// Bytes of the bulk buffer that a request credit owns.
    pub fn request_bulk_bytes(&self) -> u32 {
        self.request_bulk_bytes
    }

    /// Bytes of the bulk buffer that an answer owns.
    pub fn answer_bulk_bytes(&self) -> u32 {
        self.answer_bulk_bytes
    }

    /// First word of the request bulk buffer of credit `index`, which is below the lane's capacity.
    pub fn request_bulk(&self, index: u16) -> usize {
        self.request_bulk_start() + usize::from(index) * (self.request_bulk_bytes as usize / 8)
    }

    /// First word of the answer bulk buffer of credit `index`, which is below the lane's capacity.
    pub fn answer_bulk(&self, index: u16) -> usize {
        self.answer_bulk_start() + usize::from(index) * (self.answer_bulk_bytes as usize / 8)
    }

    fn request_bulk_start(&self) -> usize {
        self.answer_slots() + (SLOT_STRIDE_WORDS << self.answer_bits)
    }

    fn answer_bulk_start(&self) -> usize {
        self.request_bulk_start() + ((self.request_bulk_bytes as usize / 8) << self.request_bits)
    }

    /// Words that the whole region needs.
    pub fn words(&self) -> usize {
        self.answer_bulk_start() + ((self.answer_bulk_bytes as usize / 8) << self.answer_bits)
    }
}
