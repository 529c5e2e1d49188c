//! IPC transfer: from a sender's registers and buffer to a receiver's. Reference manual, section 4.2.

use crate::cap::Cap;
use crate::invocation::IpcBuffer;
use crate::machine::Machine;
use crate::message::IN_REGISTERS;
use crate::state::Kernel;
use baton_kernel_mem::{Paddr, Slot, Tcb, reg};
use baton_sel4_abi::MessageInfo;
use baton_sel4_abi::message::ipc_buffer;

/// What became of the capabilities of a message.
#[derive(Clone, Copy, Default)]
struct Arrived {
    /// How many arrived.
    count: u64,
    /// A bit for each that arrived as its badge only.
    unwrapped: u64,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// Transfers the sender's message, or its fault if it has one, and the badge.
    ///
    /// `endpoint` is where it went through, none for a reply; capabilities to that endpoint arrive as badges.
    #[inline]
    pub(crate) fn transfer(
        self,
        sender: &'m Tcb,
        endpoint: Option<Paddr>,
        badge: u64,
        grant: bool,
        receiver: &'m Tcb,
    ) {
        let info = if sender.fault[0].get() == 0 {
            self.transfer_message(sender, endpoint, grant, receiver)
        } else {
            self.write_fault(sender, receiver)
        };
        receiver.context.set::<{ reg::A1 }>(info.word());
        receiver.context.set::<{ reg::A0 }>(badge);
    }

    #[inline]
    fn transfer_message(
        self,
        sender: &'m Tcb,
        endpoint: Option<Paddr>,
        grant: bool,
        receiver: &'m Tcb,
    ) -> MessageInfo {
        let info = MessageInfo::from_word(sender.context.get::<{ reg::A1 }>());
        let length = info.message_length() as usize;
        let with_caps = grant && info.extra_caps() != 0;
        if length <= IN_REGISTERS && !with_caps {
            copy_registers(sender, receiver, length);
            return MessageInfo::new(info.label(), 0, 0, length as u64);
        }
        let from = self.ipc_buffer(sender, false);
        let to = self.ipc_buffer(receiver, true);
        // Looked up before anything is written: the two buffers may be one.
        let caps = if with_caps {
            self.lookup_extra_caps(sender, from, info)
                .unwrap_or_default()
        } else {
            [None; 3]
        };
        copy_registers(sender, receiver, length.min(IN_REGISTERS));
        let mut copied = length.min(IN_REGISTERS);
        if let (Some(from), Some(to)) = (from, to)
            && length > copied
        {
            let words = ipc_buffer::MSG + copied..ipc_buffer::MSG + length;
            if let (Some(from), Some(to)) = (from.get(words.clone()), to.get(words)) {
                for (from, to) in from.iter().zip(to) {
                    to.set(from.get());
                }
            }
            copied = length;
        }
        let arrived = match to {
            Some(to) if caps[0].is_some() => self.transfer_caps(caps, endpoint, receiver, to),
            _ => Arrived::default(),
        };
        MessageInfo::new(
            info.label(),
            arrived.unwrapped,
            arrived.count,
            copied as u64,
        )
    }

    /// Hands over capabilities: those to the endpoint itself as badges, one other as a copy in the receiver's slot.
    /// Ends at the first that cannot be handed over.
    fn transfer_caps(
        self,
        caps: [Option<&'m Slot>; 3],
        endpoint: Option<Paddr>,
        receiver: &'m Tcb,
        buffer: &'m IpcBuffer,
    ) -> Arrived {
        let mut slot = self.receive_slot(receiver, buffer);
        let mut arrived = Arrived::default();
        let badges = buffer.iter().skip(ipc_buffer::CAPS_OR_BADGES);
        for (index, (source, place)) in caps.into_iter().flatten().zip(badges).enumerate() {
            let cap = Cap::decode(source.cap());
            match cap {
                Cap::Endpoint { address, badge, .. } if Some(address) == endpoint => {
                    place.set(badge);
                    arrived.unwrapped |= 1 << index;
                }
                _ => {
                    let Some(dest) = slot.take() else {
                        break;
                    };
                    match self.derive_cap(source, cap) {
                        Ok(Cap::Null) | Err(_) => break,
                        Ok(copy) => self.insert_cap(copy, source, dest),
                    }
                }
            }
            arrived.count += 1;
        }
        arrived
    }
}

/// Copies the first `count` (at most four) message registers.
#[inline(always)]
pub(crate) fn copy_registers(sender: &Tcb, receiver: &Tcb, count: usize) {
    let (from, to) = (&sender.context, &receiver.context);
    if count > 0 {
        to.set::<{ reg::A2 }>(from.get::<{ reg::A2 }>());
        if count > 1 {
            to.set::<{ reg::A2 + 1 }>(from.get::<{ reg::A2 + 1 }>());
            if count > 2 {
                to.set::<{ reg::A2 + 2 }>(from.get::<{ reg::A2 + 2 }>());
                if count > 3 {
                    to.set::<{ reg::A2 + 3 }>(from.get::<{ reg::A2 + 3 }>());
                }
            }
        }
    }
}
