//! Words in memory that is shared with processes one does not trust.
//!
//! Purpose: the one crate through which Baton touches shared memory. No `&T` or `&mut T` to ordinary data
//! ever points into it: it is an array of 64-bit words, each read and written as a whole by an atomic
//! operation, so that a peer that scribbles over it at any moment can change *values*, never break the
//! rules of the language. Readers copy a word once and validate the copy.
//!
//! Invariants:
//! - a [`Region`] keeps its mapping alive ([`Backing`]) for as long as any handle exists;
//! - every handle was bounds-checked when it was made; after that no access can leave the region;
//! - a handle to memory that is mapped read-only has no store operation ([`ReadRegion`] against [`Region`]).
//!
//! # Example
//!
//! A region on the heap; between processes it is a sealed memfd, and the reader's mapping is read-only.
//!
//! ```
//! use baton_shm::{HeapWords, ReadBytes, WriteBytes};
//! use baton_sync::Ordering;
//!
//! let region = HeapWords::region(8);
//! let reader = region.read_only();
//!
//! region.word(1)?.store(7, Ordering::Release);
//! assert_eq!(reader.word(1)?.load(Ordering::Acquire), 7);
//! // Bounds are checked when a handle is made, and never again.
//! assert!(reader.word(8).is_err());
//!
//! WriteBytes::new(&region, 2, 5)?.copy_from(b"baton");
//! let copy = ReadBytes::new(&reader, 2, 5)?.to_vec();
//! assert_eq!(copy, b"baton");
//! # Ok::<(), baton_shm::OutOfRange>(())
//! ```
//!
//! Neighbours: `baton-inbox` lays lanes out in regions; `host/linux` makes them from sealed memfds.
//!
//! This is one of the few crates that contain `unsafe`; see `docs/soundness.md`.
#![cfg_attr(not(loom), no_std)]

extern crate alloc;

mod bytes;
mod heap;
mod prefetch;
mod region;
mod slots;

pub use bytes::{ReadBytes, WriteBytes};
pub use heap::HeapWords;
pub use region::{Backing, OutOfRange, ReadRegion, ReadWord, Region, Word};
pub use slots::{
    READ_AHEAD, ReadSlot, ReadSlots, SLOT_BYTES, SLOT_STRIDE_WORDS, SLOT_WORDS, SlotReader,
    SlotWalk, WriteSlot, WriteSlots,
};
