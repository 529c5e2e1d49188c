//! Untyped memory: making objects of it, and using it again when they are gone. Reference manual, section 2.4.
//!
//! An untyped capability remembers how far from its start objects were made (the watermark). Memory above the
//! watermark is always clear (but for device memory, which is never touched), so making objects clears nothing: the
//! clearing happens once, when the untyped has no children left and is used anew, in chunks that can be preempted.

use crate::cap::{Cap, FrameSize};
use crate::config::CLEAR_CHUNK_BITS;
use crate::error::{Answer, Decoded, LookupFailure, Preempted, SyscallError};
use crate::invocation::Invocation;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{KernelLane, Paddr, Slot, Tcb};
use baton_sel4_abi::baton::{MAX_KERNEL_LANE_BITS, MIN_KERNEL_LANE_BITS};
use baton_sel4_abi::{
    CNodeCapData, CapRights, Label, MAX_UNTYPED_BITS, MIN_UNTYPED_BITS, ObjectType,
    RETYPE_FAN_OUT_LIMIT, TIME_SLICE_TICKS, WORD_BITS,
};

/// What is to be made.
#[derive(Clone, Copy)]
struct Wanted {
    kind: ObjectType,
    /// The size that the caller gave; only for untyped memory and CNodes.
    user_bits: u64,
    /// Size of an object (bytes, log2).
    bits: u64,
    count: u64,
    device: bool,
}

impl<'m, M: Machine> Kernel<'m, M> {
    pub(crate) fn decode_untyped(self, inv: &Invocation<'m>, cap: Cap) -> Decoded {
        let Cap::Untyped {
            address,
            size_bits,
            device,
            used,
        } = cap
        else {
            return Err(SyscallError::InvalidCapability(0).into());
        };
        if Label::from_number(inv.label) != Some(Label::UntypedRetype) {
            return Err(SyscallError::IllegalOperation.into());
        }
        inv.need(6)?;
        let root = inv.extra::<0>()?;
        let user_bits = inv.arg::<1>();
        let (index, depth) = (inv.arg::<2>(), inv.arg::<3>());
        let (offset, count) = (inv.arg::<4>(), inv.arg::<5>());
        let kind =
            ObjectType::from_number(inv.arg::<0>()).ok_or(SyscallError::InvalidArgument(0))?;
        let bits = kind.size_bits(user_bits);
        if user_bits >= WORD_BITS || bits > MAX_UNTYPED_BITS {
            return Err(SyscallError::RangeError {
                min: 0,
                max: MAX_UNTYPED_BITS,
            }
            .into());
        }
        let bad_size = match kind {
            ObjectType::CapTable => user_bits == 0,
            ObjectType::Untyped => user_bits < MIN_UNTYPED_BITS,
            ObjectType::KernelLane => {
                !(MIN_KERNEL_LANE_BITS..=MAX_KERNEL_LANE_BITS).contains(&user_bits)
            }
            _ => false,
        };
        if bad_size {
            return Err(SyscallError::InvalidArgument(1).into());
        }
        let slots = self.destination(root, index, depth, offset, count)?;

        let reset = self.ensure_no_children(inv.slot).is_ok();
        let start = if reset { 0 } else { used };
        let free = (1_u64 << size_bits).saturating_sub(start);
        if (free >> bits) < count {
            return Err(SyscallError::NotEnoughMemory(free).into());
        }
        if device && !kind.is_frame() && kind != ObjectType::Untyped {
            return Err(SyscallError::InvalidArgument(1).into());
        }

        if reset {
            self.reset_untyped(inv.slot, cap)?;
        }
        let first = align_up(address.add(start), bits);
        let end = first.add(count << bits);
        let full = Cap::Untyped {
            address,
            size_bits,
            device,
            used: end.since(address),
        };
        inv.slot.set_cap(full.encode());
        let wanted = Wanted {
            kind,
            user_bits,
            bits,
            count,
            device,
        };
        self.create_objects(inv.slot, wanted, first, slots);
        Ok(Answer::Empty)
    }

    /// The first of `count` empty slots, `offset` slots into the CNode that `root`, or `depth` bits of `index` from there on,
    /// names.
    fn destination(
        self,
        root: &'m Slot,
        index: u64,
        depth: u64,
        offset: u64,
        count: u64,
    ) -> Result<Paddr, SyscallError> {
        let node = if depth == 0 {
            root
        } else {
            self.lookup_slot_at(Cap::decode(root.cap()), index, depth, false)?
        };
        let Cap::CNode { address, radix, .. } = Cap::decode(node.cap()) else {
            return Err(SyscallError::FailedLookup {
                source: false,
                failure: LookupFailure::MissingCapability { bits_left: depth },
            });
        };
        let size = 1_u64 << radix;
        if offset >= size {
            return Err(SyscallError::RangeError {
                min: 0,
                max: size - 1,
            });
        }
        if !(1..=RETYPE_FAN_OUT_LIMIT).contains(&count) {
            return Err(SyscallError::RangeError {
                min: 1,
                max: RETYPE_FAN_OUT_LIMIT,
            });
        }
        if count > size - offset {
            return Err(SyscallError::RangeError {
                min: 1,
                max: size - offset,
            });
        }
        let first = address.add(offset << Slot::BITS);
        for number in 0..count {
            self.ensure_empty(self.mem.get(first.add(number << Slot::BITS)))?;
        }
        Ok(first)
    }

    /// Clears what was used, from the end to the start, and takes the watermark back with it.
    fn reset_untyped(self, slot: &'m Slot, cap: Cap) -> Result<(), Preempted> {
        let Cap::Untyped {
            address,
            size_bits,
            device,
            used,
        } = cap
        else {
            return Ok(());
        };
        let set_used = |used| {
            let cap = Cap::Untyped {
                address,
                size_bits,
                device,
                used,
            };
            slot.set_cap(cap.encode());
        };
        if device || used == 0 {
            set_used(0);
            return Ok(());
        }
        let chunk = 1 << size_bits.min(CLEAR_CHUNK_BITS);
        let mut left = used;
        while left != 0 {
            left = (left - 1) & !(chunk - 1);
            self.mem.zero(address.add(left), chunk);
            set_used(left);
            self.preemption_point()?;
        }
        Ok(())
    }

    /// Makes objects one behind the other from `first` on, and their capabilities in the slots from `slots` on.
    fn create_objects(self, parent: &'m Slot, wanted: Wanted, first: Paddr, slots: Paddr) {
        for number in 0..wanted.count {
            let address = first.add(number << wanted.bits);
            let cap = self.create_object(wanted, address);
            let slot: &'m Slot = self.mem.get(slots.add(number << Slot::BITS));
            self.insert_new_cap(parent, slot, cap.encode());
        }
    }

    /// Makes an object of clear memory.
    fn create_object(self, wanted: Wanted, address: Paddr) -> Cap {
        let frame = |size| Cap::Frame {
            address,
            size,
            rights: CapRights::READ_WRITE,
            device: wanted.device,
            asid: 0,
            vaddr: 0,
        };
        match wanted.kind {
            ObjectType::Untyped => Cap::Untyped {
                address,
                size_bits: wanted.user_bits,
                device: wanted.device,
                used: 0,
            },
            ObjectType::Tcb => {
                let tcb: &'m Tcb = self.mem.get(address);
                tcb.time_slice.set(TIME_SLICE_TICKS);
                tcb.domain.set(self.core.domain.get());
                self.remember_thread(tcb);
                Cap::Thread { tcb: address }
            }
            ObjectType::Endpoint => Cap::Endpoint {
                address,
                badge: 0,
                rights: CapRights::ALL,
            },
            ObjectType::Notification => Cap::Notification {
                address,
                badge: 0,
                rights: CapRights::READ_WRITE,
            },
            ObjectType::CapTable => Cap::CNode {
                address,
                radix: wanted.user_bits,
                guard: CNodeCapData::new(0, 0),
            },
            ObjectType::Page => frame(FrameSize::Page),
            ObjectType::MegaPage => frame(FrameSize::Mega),
            ObjectType::GigaPage => frame(FrameSize::Giga),
            ObjectType::PageTable => Cap::PageTable {
                address,
                mapped: false,
                asid: 0,
                vaddr: 0,
            },
            ObjectType::KernelLane => {
                let lane: &'m KernelLane = self.mem.get(address);
                lane.size_bits.set(wanted.user_bits);
                Cap::KernelLane {
                    address,
                    size_bits: wanted.user_bits,
                }
            }
        }
    }
}

/// The next address from `address` on that is a multiple of `1 << bits`.
fn align_up(address: Paddr, bits: u64) -> Paddr {
    let mask = (1_u64 << bits) - 1;
    Paddr::new(address.value().wrapping_add(mask) & !mask)
}
