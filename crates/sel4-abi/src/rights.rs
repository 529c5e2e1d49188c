//! Rights, guards and mapping attributes as words of a message.
//!
//! Source: reference manual, chapters 3 (capability spaces), 4.2 (badges and rights) and 7 (virtual memory).

use crate::limits::GUARD_BITS;

/// What a capability permits: a set of four bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct CapRights(u64);

impl CapRights {
    /// Send, signal, write to a frame.
    pub const WRITE: Self = Self(1);
    /// Receive, wait, read a frame.
    pub const READ: Self = Self(2);
    /// Send any capability along.
    pub const GRANT: Self = Self(4);
    /// Call, that is, send a reply capability along.
    pub const GRANT_REPLY: Self = Self(8);
    /// No rights.
    pub const NONE: Self = Self(0);
    /// Read and write.
    pub const READ_WRITE: Self = Self(3);
    /// All rights.
    pub const ALL: Self = Self(15);

    /// The rights of a message's word; other bits are ignored.
    pub const fn from_word(word: u64) -> Self {
        Self(word & Self::ALL.0)
    }

    /// The word for a message.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` are in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Guard of a CNode capability: `{ guard:58, guardSize:6 }`, the size lowest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct CNodeCapData(u64);

impl CNodeCapData {
    const SIZE_MASK: u64 = 0x3f;
    const GUARD_SHIFT: u32 = 6;

    /// Packs guard and its bits, cut to their widths.
    pub const fn new(guard: u64, guard_size: u64) -> Self {
        Self((guard << Self::GUARD_SHIFT) | (guard_size & Self::SIZE_MASK))
    }

    /// A guard of zeros which, before a CNode of `size_bits`, makes plain slot numbers resolve at depth 64.
    pub const fn skip_to(size_bits: u64) -> Self {
        Self::new(0, 64_u64.saturating_sub(size_bits))
    }

    /// From a message's word.
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word for a message.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The guard.
    pub const fn guard(self) -> u64 {
        (self.0 >> Self::GUARD_SHIFT) & ((1 << GUARD_BITS) - 1)
    }

    /// Bits of the guard, 0 to 63.
    pub const fn guard_size(self) -> u64 {
        self.0 & Self::SIZE_MASK
    }
}

/// Attributes of a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct VmAttributes(u64);

impl VmAttributes {
    /// Nothing special: what may be read may be executed.
    pub const DEFAULT: Self = Self(0);
    /// The page must not be executed.
    pub const EXECUTE_NEVER: Self = Self(1);

    /// The attributes of a message's word; other bits are ignored.
    pub const fn from_word(word: u64) -> Self {
        Self(word & 1)
    }

    /// The word for a message.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Whether the page must not be executed.
    pub const fn is_execute_never(self) -> bool {
        self.0 & 1 != 0
    }
}
