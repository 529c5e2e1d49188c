//! What can be asked of a memory server, and how it says no.
//!
//! Errors are of three kinds, and each says which: the caller's own mistake, something used up, or a mistake of the server or of those
//! below it (`Broken`, which callers can only report).

use baton_rpc::{Wire, service};
use core::fmt;

/// What can be called.
#[service]
pub trait Memory {
    /// Allocates that many pages of 4 KiB, which read as zeros when they are mapped.
    async fn alloc(&self, pages: u64) -> Result<RegionNumber, AllocError>;

    /// Maps a region into the caller's address space; answers with the address.
    async fn map(&self, region: RegionNumber, at: Place, access: Access) -> Result<u64, MapError>;

    /// Unmaps a region; its contents stay.
    async fn unmap(&self, region: RegionNumber) -> Result<(), UnmapError>;

    /// Gives a region back, mapped or not.
    async fn free(&self, region: RegionNumber) -> Result<(), FreeError>;

    /// What the caller has.
    async fn usage(&self) -> Usage;

    /// What the server has.
    async fn figures(&self) -> Figures;
}

/// A region of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Wire)]
pub struct RegionNumber(pub u64);

/// Where a region is to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub enum Place {
    /// Where the server finds room.
    Anywhere,
    /// At this address.
    At {
        /// A multiple of 4096 in the window of addresses that is the server's to give.
        address: u64,
    },
}

/// What the client may do with a mapped region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub enum Access {
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
}

/// What a client has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Wire)]
pub struct Usage {
    /// Pages that count against its quota: those of whole blocks, page tables included.
    pub charged_pages: u64,
    /// Its quota, in pages.
    pub quota_pages: u64,
    /// Its regions.
    pub regions: u64,
    /// Those of them that are mapped.
    pub mapped: u64,
}

/// What a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Wire)]
pub struct Figures {
    /// Blocks of memory in all.
    pub blocks: u64,
    /// Those that nobody has.
    pub free_blocks: u64,
    /// Those that the kernel would not take back.
    pub lost_blocks: u64,
    /// Clients that are connected, or whose memory is being taken back.
    pub clients: u64,
    /// Requests that were begun since the start.
    pub requests: u64,
    /// Requests that were dropped half-way and have been undone.
    pub undone: u64,
}

/// Why nothing was allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub enum AllocError {
    /// No pages were asked for.
    Nothing,
    /// A region has no more pages than this: make several.
    TooLarge {
        /// Pages of a region at most.
        most_pages: u64,
    },
    /// The client has as many regions as it may have: free some.
    TooManyRegions,
    /// It would be more than the client's quota: free something.
    Quota {
        /// Pages that are left of it.
        left_pages: u64,
    },
    /// The server's memory is used up.
    Exhausted,
    /// The kernel refused: a mistake of the server.
    Broken,
}

/// Why a region was not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub enum MapError {
    /// The client has no such region.
    NoRegion,
    /// Another request for the region is under way: wait for that first.
    Busy,
    /// It is mapped already.
    Mapped,
    /// The address is no multiple of a page's size.
    Misaligned,
    /// The address is not in the window that is the server's to give, or the region reaches beyond its end.
    OutsideWindow,
    /// Something is mapped there.
    Occupied,
    /// There is no room of that size in the window: unmap something.
    NoRoom,
    /// The page tables would be more than the client's quota: free something.
    Quota,
    /// The server's memory for page tables is used up.
    Exhausted,
    /// The client's address space is gone.
    NoSpace,
    /// The kernel refused: a mistake of the server.
    Broken,
}

/// Why a region was not unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub enum UnmapError {
    /// The client has no such region.
    NoRegion,
    /// Another request for the region is under way: wait for that first.
    Busy,
    /// It is not mapped.
    NotMapped,
    /// The kernel refused: a mistake of the server. The region can only be freed.
    Broken,
}

/// Why a region was not freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Wire)]
pub enum FreeError {
    /// The client has no such region.
    NoRegion,
    /// Another request for the region is under way: wait for that first.
    Busy,
    /// The kernel would not take all of it back, and that part is lost: a mistake of the server. The region is gone.
    Broken,
}

const BUSY: &str = "another request for the region is under way, wait for that first";
const NO_REGION: &str = "there is no region of that number";
const BROKEN: &str = "the kernel refused what the server asked of it";

impl fmt::Display for AllocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocError::Nothing => f.write_str("no pages were asked for"),
            AllocError::TooLarge { most_pages } => {
                write!(f, "a region has {most_pages} pages at most, make several")
            }
            AllocError::TooManyRegions => {
                f.write_str("there are as many regions as a client may have, free some")
            }
            AllocError::Quota { left_pages } => write!(
                f,
                "{left_pages} pages are left of the quota, free something"
            ),
            AllocError::Exhausted => f.write_str("the server's memory is used up"),
            AllocError::Broken => f.write_str(BROKEN),
        }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MapError::NoRegion => NO_REGION,
            MapError::Busy => BUSY,
            MapError::Mapped => "the region is mapped already, unmap it first",
            MapError::Misaligned => "the address is no multiple of 4096",
            MapError::OutsideWindow => "the addresses are not the server's to give",
            MapError::Occupied => "something is mapped there",
            MapError::NoRoom => "no room of that size is left in the window, unmap something",
            MapError::Quota => "page tables would be more than the quota, free something",
            MapError::Exhausted => "the server's memory for page tables is used up",
            MapError::NoSpace => "the client's address space is gone",
            MapError::Broken => BROKEN,
        })
    }
}

impl fmt::Display for UnmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnmapError::NoRegion => NO_REGION,
            UnmapError::Busy => BUSY,
            UnmapError::NotMapped => "the region is not mapped",
            UnmapError::Broken => BROKEN,
        })
    }
}

impl fmt::Display for FreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FreeError::NoRegion => NO_REGION,
            FreeError::Busy => BUSY,
            FreeError::Broken => BROKEN,
        })
    }
}

impl core::error::Error for AllocError {}
impl core::error::Error for MapError {}
impl core::error::Error for UnmapError {}
impl core::error::Error for FreeError {}
