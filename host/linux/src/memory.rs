//! Regions in memfds: written by one process, read by its peer, resized by nobody.
//!
//! The writer maps its memory first and seals it then; from that moment on no new writable mapping can be made, not even
//! through the very descriptor that made the first one. So the descriptor can be passed on. The receiver trusts nothing:
//! it asks the kernel for the seals, the file system and the size before it maps.
//!
//! Invariants: a mapping lives as long as its value; a region's file can never become shorter than its mapping, so no access
//! can fault for that; a mapping made with read permission only is never handed out as a [`Region`].

use baton_shm::{Backing, ReadRegion, Region};
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::sync::Arc;

/// `f_type` of the file system that ordinary memfds live in; one of huge pages could fault for want of them.
const TMPFS_MAGIC: i64 = 0x0102_1994;
/// What every descriptor that is passed on must be sealed against.
const FIXED_SIZE: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);
/// What a region that only its maker may write must be sealed against.
const ONE_WRITER: SealFlags = FIXED_SIZE.union(SealFlags::FUTURE_WRITE);

/// Why memory could not be made; each is exhaustion or a kernel without memfd seals (before Linux 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// No memfd to be had: too many open files, or no memory.
    Memfd(Errno),
    /// The memfd could not be given its size: no memory, or a file size limit.
    Resize {
        /// Size asked for.
        size_bytes: usize,
        /// What the kernel said.
        errno: Errno,
    },
    /// The memory could not be mapped: no memory or no address space.
    Map {
        /// Size asked for.
        size_bytes: usize,
        /// What the kernel said.
        errno: Errno,
    },
    /// The kernel refused to seal the memory: it is older than Linux 5.1.
    Seal(Errno),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::Memfd(errno) => write!(f, "cannot make a memfd: {errno}"),
            CreateError::Resize { size_bytes, errno } => {
                write!(f, "cannot give a memfd {size_bytes} bytes: {errno}")
            }
            CreateError::Map { size_bytes, errno } => {
                write!(f, "cannot map {size_bytes} bytes: {errno}")
            }
            CreateError::Seal(errno) => {
                write!(
                    f,
                    "cannot seal a memfd, Linux 5.1 or newer is needed: {errno}"
                )
            }
        }
    }
}

impl std::error::Error for CreateError {}

/// Why a peer's descriptor is not mapped. All but [`MapError::Map`] are the peer's fault: disconnect it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The descriptor is no memfd.
    NotMemfd(Errno),
    /// The memfd is not of ordinary pages, so that touching it could kill the reader.
    NotPlainMemory {
        /// `f_type` of its file system.
        file_system: i64,
    },
    /// The memfd could still be resized, rewritten or sealed further.
    NotSealed {
        /// The seals that are missing, as `F_SEAL_*` bits.
        missing: u32,
    },
    /// The memfd has another size than was agreed on.
    WrongSize {
        /// Size agreed on, rounded up to pages.
        expected_bytes: u64,
        /// Size found.
        actual_bytes: u64,
    },
    /// The memory could not be mapped: no memory or no address space here.
    Map(Errno),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::NotMemfd(errno) => write!(f, "the peer's descriptor is no memfd: {errno}"),
            MapError::NotPlainMemory { file_system } => write!(
                f,
                "the peer's memfd lies in file system {file_system:#x}, not in ordinary memory"
            ),
            MapError::NotSealed { missing } => {
                write!(f, "the peer's memfd lacks the seals {missing:#x}")
            }
            MapError::WrongSize {
                expected_bytes,
                actual_bytes,
            } => write!(
                f,
                "the peer's memfd has {actual_bytes} bytes, {expected_bytes} were agreed on"
            ),
            MapError::Map(errno) => write!(f, "cannot map the peer's memory: {errno}"),
        }
    }
}

impl std::error::Error for MapError {}

/// Memory mapped from a memfd; unmapped on drop.
struct Mapping {
    base: NonNull<AtomicU64>,
    words: usize,
    size_bytes: usize,
}

// SAFETY: the mapping is plain shared memory that any thread may access, and all access is by atomic words.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`.
unsafe impl Sync for Mapping {}

// SAFETY: `base` points to a mapping of at least `words` words that lives until drop. Its file cannot shrink: it is sealed
// against that (checked for a peer's, done for our own before anybody else holds it). All processes write it by words that
// Baton's accessors treat as atomics, and a writer that does not is in another protection domain. Mappings without write
// permission are wrapped by `ReadRegion::new` only (`map_peer`).
unsafe impl Backing for Mapping {
    fn base(&self) -> NonNull<AtomicU64> {
        self.base
    }

    fn words(&self) -> usize {
        self.words
    }
}

impl Mapping {
    /// Maps the first `words` words of `fd`, whose file has them and will keep them.
    fn new(fd: BorrowedFd<'_>, words: usize, writable: bool) -> Result<Mapping, Errno> {
        let size_bytes = size_bytes(words).ok_or(Errno::NOMEM)?;
        let protection = if writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing that Rust knows of.
        let base = unsafe {
            rustix::mm::mmap(
                core::ptr::null_mut(),
                size_bytes,
                protection,
                MapFlags::SHARED | MapFlags::POPULATE,
                fd,
                0,
            )
        }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        Ok(Mapping {
            base,
            words,
            size_bytes,
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` mapped; whoever holds a handle into it also holds this value.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.size_bytes) };
        debug_assert!(unmapped.is_ok(), "unmapping a whole mapping cannot fail");
    }
}

/// The size of `words` words in whole pages, at least one.
fn size_bytes(words: usize) -> Option<usize> {
    words
        .max(1)
        .checked_mul(8)?
        .checked_next_multiple_of(rustix::param::page_size())
}

fn create(name: &str, words: usize, seals: SealFlags) -> Result<(Region, OwnedFd), CreateError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 there is no such flag.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    }
    .map_err(CreateError::Memfd)?;
    let size_bytes = size_bytes(words).ok_or(CreateError::Resize {
        size_bytes: usize::MAX,
        errno: Errno::FBIG,
    })?;
    rustix::fs::ftruncate(&fd, size_bytes as u64)
        .map_err(|errno| CreateError::Resize { size_bytes, errno })?;
    let mapping = Mapping::new(fd.as_fd(), words, true)
        .map_err(|errno| CreateError::Map { size_bytes, errno })?;
    rustix::fs::fcntl_add_seals(&fd, seals).map_err(CreateError::Seal)?;
    Ok((Region::new(Arc::new(mapping)), fd))
}

fn check(fd: BorrowedFd<'_>, words: usize, seals: SealFlags) -> Result<(), MapError> {
    // First of all, because every other question could be answered by a file system of the peer's making, at its leisure.
    let found = rustix::fs::fcntl_get_seals(fd).map_err(MapError::NotMemfd)?;
    let missing = seals.difference(found);
    if !missing.is_empty() {
        return Err(MapError::NotSealed {
            missing: missing.bits(),
        });
    }
    let file_system = rustix::fs::fstatfs(fd).map_err(MapError::NotMemfd)?.f_type as i64;
    if file_system != TMPFS_MAGIC {
        return Err(MapError::NotPlainMemory { file_system });
    }
    let expected_bytes = size_bytes(words).map_or(u64::MAX, |bytes| bytes as u64);
    let actual_bytes = rustix::fs::fstat(fd).map_err(MapError::NotMemfd)?.st_size as u64;
    if actual_bytes != expected_bytes {
        return Err(MapError::WrongSize {
            expected_bytes,
            actual_bytes,
        });
    }
    Ok(())
}

/// A region that this process alone can write.
pub struct OwnRegion;

impl OwnRegion {
    /// Makes a zeroed region of `words` words, and the descriptor by which a peer may map it to read.
    ///
    /// `name` shows up in `/proc/<pid>/maps` only.
    ///
    /// # Errors
    ///
    /// [`CreateError`]: this process has run out of something.
    pub fn create(name: &str, words: usize) -> Result<(Region, OwnedFd), CreateError> {
        create(name, words, ONE_WRITER)
    }
}

/// Maps a peer's region of exactly `words` words (rounded up to pages) to read it.
///
/// # Errors
///
/// [`MapError`], when the descriptor is not what an honest peer passes, or memory has run out here.
pub fn map_peer(fd: BorrowedFd<'_>, words: usize) -> Result<ReadRegion, MapError> {
    check(fd, words, ONE_WRITER)?;
    let mapping = Mapping::new(fd, words, false).map_err(MapError::Map)?;
    Ok(ReadRegion::new(Arc::new(mapping)))
}

/// A page that all who hold its descriptor may write, and nobody can resize: the hint page.
pub struct SharedPage;

impl SharedPage {
    /// Makes a zeroed page of `words` words, and the descriptor by which others may map it.
    ///
    /// # Errors
    ///
    /// [`CreateError`]: this process has run out of something.
    pub fn create(name: &str, words: usize) -> Result<(Region, OwnedFd), CreateError> {
        create(name, words, FIXED_SIZE)
    }

    /// Maps a peer's page of exactly `words` words (rounded up to pages) to read and write it.
    ///
    /// # Errors
    ///
    /// [`MapError`], when the descriptor is not what an honest peer passes, or memory has run out here.
    pub fn map(fd: BorrowedFd<'_>, words: usize) -> Result<Region, MapError> {
        check(fd, words, FIXED_SIZE)?;
        let mapping = Mapping::new(fd, words, true).map_err(MapError::Map)?;
        Ok(Region::new(Arc::new(mapping)))
    }
}
