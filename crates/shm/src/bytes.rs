//! Byte views of shared words, for payload beyond a slot.
//!
//! Ownership of such payload passes by agreement only: its sender keeps its mapping and may scribble over it
//! while it is read. So there is no `&[u8]` into it; a reader copies out what it wants, word by word, and
//! validates the copy.

use crate::region::{Backing, OutOfRange, ReadRegion, Region};
use alloc::sync::Arc;
use baton_sync::{AtomicU64, Ordering};
use core::fmt;
use core::ptr::NonNull;

/// A run of shared bytes that this process may only read.
///
/// It begins on a word; its length is in bytes. Bounds are checked once, here.
#[derive(Clone)]
pub struct ReadBytes {
    base: NonNull<AtomicU64>,
    len_bytes: usize,
    keep: Arc<dyn Backing>,
}

/// A run of shared bytes that this process may read and write.
pub struct WriteBytes(ReadBytes);

// SAFETY: the words are only ever accessed by atomic operations, and `keep` (Send + Sync) keeps them mapped.
unsafe impl Send for ReadBytes {}
// SAFETY: as for `Send`.
unsafe impl Sync for ReadBytes {}

impl fmt::Debug for ReadBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadBytes({} bytes)", self.len_bytes)
    }
}

impl fmt::Debug for WriteBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteBytes({} bytes)", self.0.len_bytes)
    }
}

impl ReadBytes {
    /// The `len_bytes` bytes from word `offset_words` on.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when they do not lie inside the region.
    pub fn new(
        region: &ReadRegion,
        offset_words: usize,
        len_bytes: usize,
    ) -> Result<Self, OutOfRange> {
        let base = region.check(offset_words, len_bytes.div_ceil(8))?;
        Ok(ReadBytes {
            base,
            len_bytes,
            keep: region.keep(),
        })
    }

    /// How many bytes there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len_bytes
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// The first `len_bytes` of these bytes.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when there are fewer.
    pub fn prefix(&self, len_bytes: usize) -> Result<ReadBytes, OutOfRange> {
        if len_bytes > self.len_bytes {
            return Err(OutOfRange {
                offset_words: 0,
                len_words: len_bytes.div_ceil(8),
                region_words: self.len_bytes / 8,
            });
        }
        Ok(ReadBytes {
            base: self.base,
            len_bytes,
            keep: self.keep.clone(),
        })
    }

    #[inline]
    fn atomic(&self, word: usize) -> &AtomicU64 {
        debug_assert!(word < self.len_bytes.div_ceil(8));
        // SAFETY: private, and every caller keeps `word` below `len_bytes.div_ceil(8)`, which `new` checked; `keep` keeps the
        // memory mapped.
        unsafe { self.base.add(word).as_ref() }
    }

    /// Copies the first bytes out, as many as both sides have, and returns how many.
    ///
    /// Each shared word is read once. What a hostile peer changes meanwhile shows up as different bytes, nothing worse.
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let len = self.len_bytes.min(out.len());
        let mut chunks = out[..len].chunks_exact_mut(8);
        let mut word = 0;
        for chunk in &mut chunks {
            chunk.copy_from_slice(&self.atomic(word).load(Ordering::Relaxed).to_le_bytes());
            word += 1;
        }
        let rest = chunks.into_remainder();
        if !rest.is_empty() {
            let last = self.atomic(word).load(Ordering::Relaxed).to_le_bytes();
            rest.copy_from_slice(&last[..rest.len()]);
        }
        len
    }

    /// A private copy of all bytes.
    pub fn to_vec(&self) -> alloc::vec::Vec<u8> {
        let mut out = alloc::vec![0; self.len_bytes];
        self.copy_to(&mut out);
        out
    }
}

impl WriteBytes {
    /// The `len_bytes` bytes from word `offset_words` on.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] when they do not lie inside the region.
    pub fn new(region: &Region, offset_words: usize, len_bytes: usize) -> Result<Self, OutOfRange> {
        Ok(WriteBytes(ReadBytes::new(
            &region.read_only(),
            offset_words,
            len_bytes,
        )?))
    }

    /// How many bytes there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len_bytes
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.len_bytes == 0
    }

    /// Copies `data` in from the first byte on, as much as there is room for, and returns how many bytes that was.
    ///
    /// The bytes of the last word behind the end of `data` become zero.
    pub fn copy_from(&mut self, data: &[u8]) -> usize {
        let len = self.0.len_bytes.min(data.len());
        let mut chunks = data[..len].chunks_exact(8);
        let mut word = 0;
        for chunk in &mut chunks {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(chunk);
            self.0
                .atomic(word)
                .store(u64::from_le_bytes(bytes), Ordering::Relaxed);
            word += 1;
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            self.0
                .atomic(word)
                .store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        }
        len
    }

    /// Copies shared bytes in from the first byte on, as [`WriteBytes::copy_from`] does.
    pub fn copy_from_shared(&mut self, data: &ReadBytes) -> usize {
        let len = self.0.len_bytes.min(data.len_bytes);
        for word in 0..len.div_ceil(8) {
            let value = data.atomic(word).load(Ordering::Relaxed);
            self.0.atomic(word).store(value, Ordering::Relaxed);
        }
        len
    }

    /// The same bytes, read-only.
    pub fn reader(&self) -> ReadBytes {
        self.0.clone()
    }
}
