//! The message-info word and the IPC buffer.
//!
//! Source: reference manual, chapter 4 (message passing).

use crate::limits::MSG_MAX_LENGTH;

/// The word in `a1` that describes a message: `{ label:52, capsUnwrapped:3, extraCaps:2, length:7 }`, the length lowest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct MessageInfo(u64);

impl MessageInfo {
    const LENGTH_MASK: u64 = 0x7f;
    const EXTRA_CAPS_SHIFT: u32 = 7;
    const EXTRA_CAPS_MASK: u64 = 0x3;
    const CAPS_UNWRAPPED_SHIFT: u32 = 9;
    const CAPS_UNWRAPPED_MASK: u64 = 0x7;
    const LABEL_SHIFT: u32 = 12;

    /// Packs the fields; each is cut to its width.
    pub const fn new(label: u64, caps_unwrapped: u64, extra_caps: u64, length: u64) -> Self {
        Self(
            (label << Self::LABEL_SHIFT)
                | ((caps_unwrapped & Self::CAPS_UNWRAPPED_MASK) << Self::CAPS_UNWRAPPED_SHIFT)
                | ((extra_caps & Self::EXTRA_CAPS_MASK) << Self::EXTRA_CAPS_SHIFT)
                | (length & Self::LENGTH_MASK),
        )
    }

    /// The word as a user wrote it. Its length may be up to 127; see [`MessageInfo::message_length`].
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word for `a1`.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// What the message means to its receiver: an invocation label, an error, a fault, or a protocol's own.
    pub const fn label(self) -> u64 {
        self.0 >> Self::LABEL_SHIFT
    }

    /// A bit for each transferred capability that arrived as its badge only.
    pub const fn caps_unwrapped(self) -> u64 {
        (self.0 >> Self::CAPS_UNWRAPPED_SHIFT) & Self::CAPS_UNWRAPPED_MASK
    }

    /// Number of capabilities that go with the message, 0 to 3.
    pub const fn extra_caps(self) -> u64 {
        (self.0 >> Self::EXTRA_CAPS_SHIFT) & Self::EXTRA_CAPS_MASK
    }

    /// Number of message registers as it stands in the word, 0 to 127.
    pub const fn length(self) -> u64 {
        self.0 & Self::LENGTH_MASK
    }

    /// Number of message registers, cut to what a message can have ([`MSG_MAX_LENGTH`]).
    pub const fn message_length(self) -> u64 {
        let length = self.length();
        if length > MSG_MAX_LENGTH {
            MSG_MAX_LENGTH
        } else {
            length
        }
    }
}

/// Word offsets in the IPC buffer, which is 128 words and aligned to its size.
pub mod ipc_buffer {
    /// Message info; the kernel does not write it.
    pub const TAG: usize = 0;
    /// The first message register. The first four travel in registers, and their words here are not touched.
    pub const MSG: usize = 1;
    /// A word for the user.
    pub const USER_DATA: usize = 121;
    /// Three capability pointers to send, or badges that were received.
    pub const CAPS_OR_BADGES: usize = 122;
    /// Root of the lookup for the slot that receives a capability.
    pub const RECEIVE_CNODE: usize = 125;
    /// Where the slot is.
    pub const RECEIVE_INDEX: usize = 126;
    /// Bits of that to resolve.
    pub const RECEIVE_DEPTH: usize = 127;
    /// Words of the buffer.
    pub const WORDS: usize = 128;
}
