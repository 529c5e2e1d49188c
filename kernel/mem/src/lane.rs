//! Kernel lanes: what a thread and the kernel exchange messages through.

use crate::UserWord;
use core::cell::Cell;
use core::mem::size_of;

/// The first page of a kernel lane, which no user reaches: the kernel's own record of it.
///
/// The other pages are the two regions; user programs map them. Everything that the kernel goes by stands here, and nothing of it
/// is ever read back from a region.
#[repr(C, align(4096))]
pub struct KernelLane {
    /// Address of the TCB that it is bound to, or 0.
    pub tcb: Cell<u64>,
    /// Flags that `baton-kernel-core` defines (`lane.rs`).
    pub flags: Cell<u64>,
    /// Position of the next request, or of the one being performed; counts modulo 2^32.
    pub head: Cell<u64>,
    /// Position behind the last request that is known to be published.
    pub published: Cell<u64>,
    /// Position of the next answer; counts modulo 2^32.
    pub tail: Cell<u64>,
    /// Slots of each lane, less one.
    pub mask: Cell<u64>,
    /// Address of the first request slot.
    pub requests: Cell<u64>,
    /// Address of the first answer slot.
    pub answers: Cell<u64>,
    /// Address of the region that the thread writes.
    pub out_region: Cell<u64>,
    /// Address of the region that the kernel writes.
    pub in_region: Cell<u64>,
    /// Kind, method and words of the message being performed, as its slot has them.
    pub info: Cell<u64>,
    /// Its token.
    pub token: Cell<u64>,
    /// Its payload; the last two words stay 0.
    pub payload: [Cell<u64>; 8],
    /// The first message words of an answer, or of a message in the long form.
    pub words: [Cell<u64>; 4],
    /// Arguments of a message in the long form.
    pub long_length: Cell<u64>,
    /// How often the lane was drained: the epoch of the kernel's state word.
    pub epoch: Cell<u64>,
    /// Bytes of the request bulk buffer of each credit.
    pub request_bulk: Cell<u64>,
    /// Bytes of the answer bulk buffer of each credit.
    pub answer_bulk: Cell<u64>,
    /// Size of the whole (bytes, log2).
    pub size_bits: Cell<u64>,
    /// A bit for each page whose capability has been made.
    pub issued: [Cell<u64>; 8],
    /// Message words from the fifth on, where an IPC buffer has them: arguments in, results out.
    pub buffer: [UserWord; 128],
    /// Fills up to 4096 bytes.
    spare: [Cell<u64>; 347],
}

const _: () = assert!(size_of::<KernelLane>() == 4096);

/// A slot of one of a kernel lane's regions: a head, a token, six words. Who has the region mapped reaches it too.
#[repr(C, align(64))]
pub struct LaneSlot {
    /// The words.
    pub words: [UserWord; 8],
}
