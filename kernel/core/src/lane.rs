//! Kernel lanes: the objects through which a thread sends the kernel messages, and the kernel answers.
//!
//! An object is whole pages. The first is the kernel's own record ([`KernelLane`]); the others are the two regions that
//! `docs/abi.md` lays out. The capabilities of these pages are ordinary frames, made once each, so user programs map them as
//! they like; revoking those takes the region from the users and nothing from the kernel, for the memory is the object's.
//!
//! Invariants:
//! - a lane and the thread it is bound to know each other; a thread has at most one lane;
//! - the addresses in a bound lane's record lie in its own pages, and so do all slots and bulk buffers computed from them;
//! - the capability of a lane is never copied: it is the last by being the only one.
//!
//! Neighbours: `drain` reads and answers messages; `untyped` makes lanes; `delete` unbinds them.

use crate::cap::{Cap, FrameSize};
use crate::error::{Answer, Decoded, SyscallError};
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{KernelLane, Paddr, Tcb, UserWord};
use baton_sel4_abi::baton::{
    KERNEL_BULK_GRANULE, KERNEL_LANE_OUT_PAGE, KernelLaneLabel, MAX_KERNEL_LANE_BITS,
    MAX_KERNEL_SLOT_BITS, MIN_KERNEL_LANE_BITS, kernel_lane_in_page, kernel_lane_pages, region,
};
use baton_sel4_abi::{CapRights, PAGE_BITS};

/// Bits of `KernelLane::flags`.
pub(crate) mod flag {
    /// The tail was not a possible one; nothing is read from the lane any more.
    pub(crate) const QUARANTINED: u64 = 1 << 0;
    /// The message in the record was preempted: it is to be gone on with.
    pub(crate) const RESUMED: u64 = 1 << 1;
    /// Something was published that the thread may not have seen.
    pub(crate) const NEWS: u64 = 1 << 2;
}

/// Bytes of a word.
const WORD: u64 = 8;
/// Bytes from one slot to the next.
pub(crate) const SLOT_STRIDE_BYTES: u64 = region::SLOT_STRIDE as u64 * WORD;
/// Bytes before the first slot of a region.
const HEADER_BYTES: u64 = region::SLOTS as u64 * WORD;
/// Positions are numbers of 32 bits.
pub(crate) const POSITION_MASK: u64 = u32::MAX as u64;

/// The size of a lane (bytes, log2): one that there can be, whatever stands in its record.
fn size_bits(lane: &KernelLane) -> u64 {
    let size_bits = lane.size_bits.get();
    size_bits.clamp(MIN_KERNEL_LANE_BITS, MAX_KERNEL_LANE_BITS)
}

/// What a lane is to be like.
#[derive(Clone, Copy)]
struct Layout {
    slot_bits: u64,
    request_bulk: u64,
    answer_bulk: u64,
    start: u64,
}

impl Layout {
    /// Bytes of a region in which each slot owns a bulk buffer of that size. The other lane of the region has one slot, which nobody
    /// uses.
    fn region_bytes(self, bulk: u64) -> u64 {
        HEADER_BYTES + SLOT_STRIDE_BYTES + ((SLOT_STRIDE_BYTES + bulk) << self.slot_bits)
    }
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Invocations of a kernel lane.
    pub(crate) fn decode_kernel_lane(self, inv: &Invocation<'m>, lane: Paddr) -> Decoded {
        let lane: &'m KernelLane = self.mem.get(lane);
        match KernelLaneLabel::from_number(inv.label) {
            Some(KernelLaneLabel::Bind) => self.lane_bind(inv, lane),
            Some(KernelLaneLabel::Unbind) => {
                if lane.tcb.get() == 0 {
                    return Err(SyscallError::IllegalOperation.into());
                }
                self.unbind_lane(lane);
                Ok(Answer::Empty)
            }
            Some(KernelLaneLabel::GetFrame) => self.lane_get_frame(inv, lane),
            None => Err(SyscallError::IllegalOperation.into()),
        }
    }

    fn lane_bind(self, inv: &Invocation<'m>, lane: &'m KernelLane) -> Decoded {
        inv.need(4)?;
        let Cap::Thread { tcb } = Cap::decode(inv.extra::<0>()?.cap()) else {
            return Err(SyscallError::InvalidCapability(1).into());
        };
        let tcb: &'m Tcb = self.mem.get(tcb);
        let layout = Layout {
            slot_bits: inv.arg::<0>(),
            request_bulk: inv.arg::<1>(),
            answer_bulk: inv.arg::<2>(),
            start: inv.arg::<3>(),
        };
        for (value, max) in [
            (layout.slot_bits, MAX_KERNEL_SLOT_BITS),
            (layout.start, POSITION_MASK),
            // Far more than there can be, and too little for a sum to wrap.
            (layout.request_bulk, POSITION_MASK),
            (layout.answer_bulk, POSITION_MASK),
        ] {
            if value > max {
                return Err(SyscallError::RangeError { min: 0, max }.into());
            }
        }
        if (layout.request_bulk | layout.answer_bulk) & (KERNEL_BULK_GRANULE - 1) != 0 {
            return Err(SyscallError::AlignmentError.into());
        }
        let size_bits = size_bits(lane);
        let half = kernel_lane_in_page(size_bits);
        let out_bytes = (half - KERNEL_LANE_OUT_PAGE) << PAGE_BITS;
        let in_bytes = half << PAGE_BITS;
        for (bulk, there) in [
            (layout.request_bulk, out_bytes),
            (layout.answer_bulk, in_bytes),
        ] {
            if layout.region_bytes(bulk) > there {
                return Err(SyscallError::NotEnoughMemory(there).into());
            }
        }
        if lane.tcb.get() != 0 || tcb.lane.get() != 0 {
            return Err(SyscallError::IllegalOperation.into());
        }
        self.bind_lane(lane, tcb, layout);
        Ok(Answer::Empty)
    }

    /// Sets the record and the words of both regions to a lane without messages.
    fn bind_lane(self, lane: &'m KernelLane, tcb: &'m Tcb, layout: Layout) {
        let base = self.mem.address(lane);
        let half = kernel_lane_in_page(size_bits(lane));
        let out_region = base.add(KERNEL_LANE_OUT_PAGE << PAGE_BITS);
        let in_region = base.add(half << PAGE_BITS);
        lane.flags.set(0);
        for position in [&lane.head, &lane.published, &lane.tail] {
            position.set(layout.start);
        }
        lane.mask.set((1 << layout.slot_bits) - 1);
        lane.out_region.set(out_region.value());
        lane.in_region.set(in_region.value());
        lane.requests.set(out_region.add(HEADER_BYTES).value());
        // Behind the one slot of the request lane that this region has.
        let answers = in_region.add(HEADER_BYTES + SLOT_STRIDE_BYTES);
        lane.answers.set(answers.value());
        lane.epoch.set(0);
        lane.request_bulk.set(layout.request_bulk);
        lane.answer_bulk.set(layout.answer_bulk);
        // The thread writes its region's header itself; what an earlier binding left in the tail would be taken for messages.
        for at in [out_region, in_region] {
            self.mem.zero(at, HEADER_BYTES);
        }
        self.set_lane_word(out_region, region::TAIL_REQUESTS, layout.start);
        for (word, value) in [
            (region::HEAD_REQUESTS, layout.start),
            (region::TAIL_ANSWERS, layout.start),
            (region::STATE, 1),
            (region::BULK_BYTES, layout.answer_bulk << 32),
            (region::LANE_BITS, layout.slot_bits << 8),
            (region::MAGIC, region::MAGIC_VALUE),
        ] {
            self.set_lane_word(in_region, word, value);
        }
        lane.tcb.set(self.mem.address(tcb).value());
        tcb.lane.set(base.value());
    }

    /// A word of one of a lane's regions.
    #[inline(always)]
    pub(crate) fn lane_word(self, region: Paddr, index: usize) -> Option<&'m UserWord> {
        let [word] = self.mem.user_words::<1>(region.add(index as u64 * WORD))?;
        Some(word)
    }

    #[inline(always)]
    pub(crate) fn set_lane_word(self, region: Paddr, index: usize, value: u64) {
        if let Some(word) = self.lane_word(region, index) {
            word.set(value);
        }
    }

    /// Takes a lane from its thread. A message that is being performed ends without an answer.
    pub(crate) fn unbind_lane(self, lane: &'m KernelLane) {
        let bound = Paddr::new(lane.tcb.get());
        if let Some(tcb) = self.mem.get_or_null::<Tcb>(bound) {
            tcb.lane.set(0);
            lane.tcb.set(0);
            lane.flags.set(0);
        }
    }

    /// Takes its lane from a thread that is being deleted.
    pub(crate) fn unbind_lane_of(self, tcb: &'m Tcb) {
        if let Some(lane) = self.lane_of(tcb) {
            self.unbind_lane(lane);
        }
    }

    /// The lane that is bound to the thread.
    #[inline(always)]
    pub(crate) fn lane_of(self, tcb: &Tcb) -> Option<&'m KernelLane> {
        self.mem.get_or_null(Paddr::new(tcb.lane.get()))
    }

    /// Makes the capability of a page: a frame that the thread may write, or one of the kernel's region, which it may only read.
    fn lane_get_frame(self, inv: &Invocation<'m>, lane: &'m KernelLane) -> Decoded {
        inv.need(3)?;
        let root = Cap::decode(inv.extra::<0>()?.cap());
        let page = inv.arg::<0>();
        let size_bits = size_bits(lane);
        let (min, max) = (KERNEL_LANE_OUT_PAGE, kernel_lane_pages(size_bits) - 1);
        if !(min..=max).contains(&page) {
            return Err(SyscallError::RangeError { min, max }.into());
        }
        let slot = self.lookup_slot_at(root, inv.arg::<1>(), inv.arg::<2>(), false)?;
        self.ensure_empty(slot)?;
        let bit = 1 << (page % 64);
        // As many words as the largest lane has pages.
        let Some(issued) = lane.issued.get((page / 64) as usize) else {
            return Err(SyscallError::RangeError { min, max }.into());
        };
        if issued.get() & bit != 0 {
            return Err(SyscallError::DeleteFirst.into());
        }
        issued.set(issued.get() | bit);
        let rights = if page < kernel_lane_in_page(size_bits) {
            CapRights::READ_WRITE
        } else {
            CapRights::READ
        };
        let frame = Cap::Frame {
            address: self.mem.address(lane).add(page << PAGE_BITS),
            size: FrameSize::Page,
            rights,
            device: false,
            asid: 0,
            vaddr: 0,
        };
        self.insert_cap(frame, inv.slot, slot);
        Ok(Answer::Empty)
    }
}
