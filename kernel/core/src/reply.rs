//! Replies: the capability that a call hands to its receiver, and its use. Reference manual, section 4.2.4.
//!
//! A calling thread's master reply capability (in its own slot `REPLY`) is the parent of the one reply capability to it, which
//! is in the receiver's slot `CALLER` or where the receiver has saved it. Using or deleting that one ends it.

use crate::cap::Cap;
use crate::machine::Machine;
use crate::state::Kernel;
use crate::tcb::ThreadState;
use baton_kernel_mem::{Slot, Tcb, tcb_slot};

impl<'m, M: Machine> Kernel<'m, M> {
    /// Lets `sender` wait for a reply, and hands `receiver` the capability to give it.
    #[inline]
    pub(crate) fn setup_caller_cap(self, sender: &'m Tcb, receiver: &'m Tcb, can_grant: bool) {
        self.set_state(sender, ThreadState::BLOCKED_ON_REPLY);
        let master = &sender.slots[tcb_slot::REPLY];
        let cap = Cap::Reply {
            tcb: self.mem.address(sender),
            master: false,
            can_grant,
        };
        let caller = &receiver.slots[tcb_slot::CALLER];
        caller.set_cap(cap.encode());
        self.link_after(master, caller, 0);
    }

    /// Sends the thread's message as the reply that the capability in `slot` permits; the capability is used up.
    #[inline]
    pub(crate) fn reply_transfer(
        self,
        sender: &'m Tcb,
        receiver: &'m Tcb,
        slot: &'m Slot,
        grant: bool,
    ) {
        if receiver.fault[0].get() == 0 {
            self.transfer(sender, None, 0, grant, receiver);
            self.delete_reply(slot);
            self.set_state(receiver, ThreadState::RUNNING);
            self.possible_switch_to(receiver);
            return;
        }
        self.delete_reply(slot);
        let restart = self.apply_fault_reply(receiver, sender);
        receiver.fault[0].set(0);
        if restart {
            self.set_state(receiver, ThreadState::RESTART);
            self.possible_switch_to(receiver);
        } else {
            self.set_state(receiver, ThreadState::INACTIVE);
        }
    }

    /// Replies to whoever called last, if nobody has yet.
    #[inline]
    pub(crate) fn reply(self, current: &'m Tcb) {
        let slot = &current.slots[tcb_slot::CALLER];
        if let Cap::Reply {
            tcb,
            master: false,
            can_grant,
        } = Cap::decode(slot.cap())
        {
            self.reply_transfer(current, self.mem.get(tcb), slot, can_grant);
        }
    }
}
