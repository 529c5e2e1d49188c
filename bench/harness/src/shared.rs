//! A shared area: words of a memfd that a driver and the processes it starts all map.
//!
//! The first [`CONTROL_WORDS`] words carry the barrier and the results (see `role`); the rest belongs to the
//! workload. The processes that share an area trust each other, for they are one program.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use crate::HarnessError;

/// Words at the start of an area that belong to the harness.
pub const CONTROL_WORDS: usize = 1024;

/// A mapping of a memfd as 64-bit words, shared with the processes that inherit its descriptor.
#[derive(Debug)]
pub struct SharedArea {
    words: NonNull<AtomicU64>,
    len_words: usize,
    fd: OwnedFd,
}

// SAFETY: the mapping is reached only through atomics or, by `workload_ptr`, by code that upholds its own rules.
unsafe impl Send for SharedArea {}
// SAFETY: as above: a shared reference gives out atomics only.
unsafe impl Sync for SharedArea {}

impl SharedArea {
    /// Creates an area with the control words and `workload_words` more, all zero and resident.
    ///
    /// # Errors
    /// `Os` when the memory cannot be had.
    pub fn create(workload_words: usize) -> Result<Self, HarnessError> {
        let len_words = CONTROL_WORDS + workload_words;
        // SAFETY: the name is a terminated string; the call has no other requirement.
        let raw_fd = unsafe { libc::memfd_create(c"baton-bench".as_ptr(), libc::MFD_CLOEXEC) };
        if raw_fd < 0 {
            return Err(HarnessError::last_os("memfd_create"));
        }
        // SAFETY: the descriptor was just created and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(raw_fd) };
        let size_bytes = libc::off_t::try_from(8 * len_words)
            .map_err(|_| HarnessError::Unsupported("area is too large".into()))?;
        // SAFETY: plain call on an owned descriptor.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), size_bytes) } != 0 {
            return Err(HarnessError::last_os("ftruncate"));
        }
        Self::map(fd, len_words)
    }

    /// Maps the area whose descriptor this process inherited.
    ///
    /// # Errors
    /// `Os` when `raw_fd` is no area.
    pub fn attach(raw_fd: RawFd) -> Result<Self, HarnessError> {
        // SAFETY: stat is plain data, for which all zeroes is valid.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: `stat` is valid for writes; a bad descriptor is reported.
        if unsafe { libc::fstat(raw_fd, &raw mut stat) } != 0 {
            return Err(HarnessError::last_os("fstat of the inherited area"));
        }
        let len_words = usize::try_from(stat.st_size).unwrap_or(0) / 8;
        if len_words < CONTROL_WORDS {
            return Err(HarnessError::Unsupported(
                "the inherited descriptor is no shared area".into(),
            ));
        }
        // SAFETY: the parent left this descriptor open for this process, whose only user of it this is.
        let fd = unsafe { OwnedFd::from_raw_fd(raw_fd) };
        Self::map(fd, len_words)
    }

    fn map(fd: OwnedFd, len_words: usize) -> Result<Self, HarnessError> {
        // SAFETY: a fresh mapping at an address of the kernel's choice, of a descriptor that is long enough.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                8 * len_words,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(HarnessError::last_os("mmap of the shared area"));
        }
        let words = NonNull::new(base.cast::<AtomicU64>()).ok_or_else(|| {
            HarnessError::Unsupported("the area was mapped at address zero".into())
        })?;
        Ok(Self {
            words,
            len_words,
            fd,
        })
    }

    /// The descriptor, for a child process to inherit.
    #[must_use]
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// How many words belong to the workload.
    #[must_use]
    pub fn workload_words(&self) -> usize {
        self.len_words - CONTROL_WORDS
    }

    /// The first word of the workload, aligned to a page; valid as long as the area is.
    #[must_use]
    pub fn workload_ptr(&self) -> NonNull<AtomicU64> {
        // SAFETY: CONTROL_WORDS is within the mapping, whose length was checked when it was made.
        unsafe { self.words.add(CONTROL_WORDS) }
    }

    /// Word `index` of the workload.
    ///
    /// # Panics
    /// When `index` is outside the workload's words: our own bug.
    #[must_use]
    pub fn workload_word(&self, index: usize) -> &AtomicU64 {
        self.control_word(CONTROL_WORDS + index)
    }

    pub(crate) fn control_word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.len_words, "word {index} is outside the area");
        // SAFETY: in bounds, aligned, and atomics may be shared between processes.
        unsafe { self.words.add(index).as_ref() }
    }
}

impl Drop for SharedArea {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and no reference into it outlives the area.
        unsafe { libc::munmap(self.words.as_ptr().cast(), 8 * self.len_words) };
    }
}

/// The low half of a word, on which the kernel can wait.
#[must_use]
pub fn futex_half(word: &AtomicU64) -> &AtomicU32 {
    let half = if cfg!(target_endian = "big") { 1 } else { 0 };
    // SAFETY: both halves lie within the word, are aligned, and AtomicU32 may alias AtomicU64 memory that is only
    // ever waited on or stored through this half.
    unsafe { &*std::ptr::from_ref(word).cast::<AtomicU32>().add(half) }
}

/// Waits until `word` is woken, unless it no longer holds `expected`; returns after `timeout` at the latest.
pub fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let limit = timeout.map(|duration| libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(duration.subsec_nanos().min(999_999_999) as i32),
    });
    let limit_ptr = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the time limit live across the call. A spurious return is the caller's to check.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            limit_ptr,
        )
    };
}

/// Wakes at most `count` waiters of `word`.
pub fn futex_wake(word: &AtomicU32, count: i32) {
    // SAFETY: the word is valid; waking has no other requirement.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
}
