//! Regions: a run of shared words and the mapping that keeps them there.

use alloc::sync::Arc;
use baton_sync::{AtomicU64, Ordering};
use core::fmt;
use core::ptr::NonNull;

/// What holds a run of words in place: a mapping of shared memory, or a heap allocation in tests.
///
/// # Safety
///
/// For the whole life of the value, `base()` must point to `words()` consecutive, initialised `AtomicU64`s, always the
/// same ones; whoever else writes them must do so by atomic operations or from another protection domain; and when
/// the memory is mapped read-only, the value must only be handed to [`ReadRegion::new`].
pub unsafe trait Backing: Send + Sync + 'static {
    /// The first word.
    fn base(&self) -> NonNull<AtomicU64>;
    /// How many words follow each other there.
    fn words(&self) -> usize;
}

/// A handle was asked for that would leave its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// First word asked for.
    pub offset_words: usize,
    /// Number of words asked for.
    pub len_words: usize,
    /// Number of words the region has.
    pub region_words: usize,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "words {}..+{} lie outside a region of {} words",
            self.offset_words, self.len_words, self.region_words
        )
    }
}

impl core::error::Error for OutOfRange {}

/// Shared words that this process may only read.
#[derive(Clone)]
pub struct ReadRegion {
    keep: Arc<dyn Backing>,
}

/// Shared words that this process may read and write.
#[derive(Clone)]
pub struct Region(ReadRegion);

impl fmt::Debug for ReadRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadRegion({} words)", self.words())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({} words)", self.words())
    }
}

impl ReadRegion {
    /// Wraps a mapping that this process may only read.
    pub fn new(backing: Arc<dyn Backing>) -> Self {
        ReadRegion { keep: backing }
    }

    /// How many words the region has.
    pub fn words(&self) -> usize {
        self.keep.words()
    }

    /// The word at `offset_words`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the region is shorter than that.
    pub fn word(&self, offset_words: usize) -> Result<ReadWord, OutOfRange> {
        let at = self.check(offset_words, 1)?;
        Ok(ReadWord {
            at,
            _keep: self.keep.clone(),
        })
    }

    /// The address of `len_words` words from `offset_words` on, all inside the region.
    pub(crate) fn check(
        &self,
        offset_words: usize,
        len_words: usize,
    ) -> Result<NonNull<AtomicU64>, OutOfRange> {
        let region_words = self.keep.words();
        let inside = offset_words
            .checked_add(len_words)
            .is_some_and(|end| end <= region_words);
        if !inside {
            return Err(OutOfRange {
                offset_words,
                len_words,
                region_words,
            });
        }
        // SAFETY: `offset_words <= region_words`, and `Backing` promises that many words behind `base`.
        Ok(unsafe { self.keep.base().add(offset_words) })
    }

    pub(crate) fn keep(&self) -> Arc<dyn Backing> {
        self.keep.clone()
    }
}

impl Region {
    /// Wraps a mapping that this process may read and write.
    pub fn new(backing: Arc<dyn Backing>) -> Self {
        Region(ReadRegion { keep: backing })
    }

    /// How many words the region has.
    pub fn words(&self) -> usize {
        self.0.words()
    }

    /// The same words, without the right to write them.
    pub fn read_only(&self) -> ReadRegion {
        self.0.clone()
    }

    /// The word at `offset_words`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when the region is shorter than that.
    pub fn word(&self, offset_words: usize) -> Result<Word, OutOfRange> {
        Ok(Word(self.0.word(offset_words)?))
    }
}

/// One shared word that this process may only read.
#[derive(Clone)]
pub struct ReadWord {
    at: NonNull<AtomicU64>,
    _keep: Arc<dyn Backing>,
}

/// One shared word that this process may read and write.
#[derive(Clone)]
pub struct Word(ReadWord);

// SAFETY: the word is only ever accessed by atomic operations, and `_keep` (Send + Sync) keeps it mapped.
unsafe impl Send for ReadWord {}
// SAFETY: as for `Send`.
unsafe impl Sync for ReadWord {}

impl fmt::Debug for ReadWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadWord({:#x})", self.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Word({:#x})", self.load(Ordering::Relaxed))
    }
}

impl ReadWord {
    #[inline]
    fn atomic(&self) -> &AtomicU64 {
        // SAFETY: `at` was bounds-checked by `ReadRegion::check`, and `_keep` keeps the words in place. The reference is to
        // an atomic, which a foreign writer may change at any time without breaking the rules of the language.
        unsafe { self.at.as_ref() }
    }

    /// Reads the word once.
    #[inline]
    pub fn load(&self, order: Ordering) -> u64 {
        self.atomic().load(order)
    }
}

impl Word {
    /// Reads the word once.
    #[inline]
    pub fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    /// Writes the word.
    #[inline]
    pub fn store(&self, value: u64, order: Ordering) {
        self.0.atomic().store(value, order);
    }

    /// Sets `bits` and returns what was there before.
    #[inline]
    pub fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        self.0.atomic().fetch_or(bits, order)
    }

    /// Keeps only `bits` and returns what was there before.
    #[inline]
    pub fn fetch_and(&self, bits: u64, order: Ordering) -> u64 {
        self.0.atomic().fetch_and(bits, order)
    }

    /// Adds `n` (wrapping) and returns what was there before.
    #[inline]
    pub fn fetch_add(&self, n: u64, order: Ordering) -> u64 {
        self.0.atomic().fetch_add(n, order)
    }

    /// Replaces `current` by `new`.
    ///
    /// # Errors
    ///
    /// The value found, when it was not `current`.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.0
            .atomic()
            .compare_exchange(current, new, success, failure)
    }
}
