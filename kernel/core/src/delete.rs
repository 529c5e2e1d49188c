//! Deleting and revoking capabilities, in steps between which an interrupt may be handled.
//!
//! Deleting the last capability of a CNode or thread means deleting what is in its slots, which may be CNodes and
//! threads again. So that it needs neither recursion without bound nor memory, and can stop at any step, the capability
//! first becomes a *zombie*: it names the slots that may still be full, counted down from the end. If the last of them
//! holds a CNode's or thread's last capability itself, that becomes a zombie too and is swapped into the first slot
//! of its own object, where it keeps itself alive, and is then taken apart from outside.
//!
//! Deleting the last capability of an endpoint or notification means sending away all who wait there. It becomes a zombie
//! too, without slots, so that nobody can come to wait meanwhile (see `cancel.rs`).
//!
//! Invariants: a zombie's object is named by no other capability; between two steps every slot is either as it was or a
//! zombie, so that making the same system call again goes on. Reference manual, section 3.1.5.

use crate::cap::{Cap, ZombieKind, kind, kind_of};
use crate::endpoint::WaitQueue;
use crate::error::Preempted;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{Slot, Tcb, tcb_slot};
use core::mem::offset_of;

/// Slots of a thread.
const THREAD_SLOTS: u64 = 5;

/// Types of which only the last capability to an object takes anything with it: a bit for each.
const ONLY_LAST_MATTERS: u64 = 1 << kind::ENDPOINT
    | 1 << kind::NOTIFICATION
    | 1 << kind::REPLY
    | 1 << kind::CNODE
    | 1 << kind::THREAD
    | 1 << kind::IRQ_HANDLER;

/// What is left of a capability once its object has been stopped.
enum Rest {
    /// Nothing: the slot can be emptied; that interrupt is free after that.
    Empty { irq: Option<u64> },
    /// A zombie: slots or a queue that are to be emptied first.
    Zombie(Cap),
}

const EMPTY: Rest = Rest::Empty { irq: None };

/// A step towards emptying a slot.
enum Step {
    /// Nothing else is left to do.
    Done(Finalised),
    /// The capability must become this zombie, which is to be reduced.
    Reduce(Cap),
}

/// How a slot was prepared for being emptied.
struct Finalised {
    /// False if it holds a zombie in its own first slot, which only the outer deletion can take apart.
    removable: bool,
    irq: Option<u64>,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// A place in a long operation at which it can be stopped, behind a step of it, so that it comes to an end even if
    /// it is stopped at each.
    ///
    /// # Errors
    ///
    /// [`Preempted`] if an interrupt waits.
    #[inline]
    pub(crate) fn preemption_point(self) -> Result<(), Preempted> {
        if self.machine.interrupt_pending() {
            return Err(Preempted);
        }
        Ok(())
    }

    /// Deletes all that was derived from the capability in `slot`.
    ///
    /// # Errors
    ///
    /// [`Preempted`] with a part of it done.
    pub(crate) fn revoke(self, slot: &'m Slot) -> Result<(), Preempted> {
        // An empty slot has no neighbours.
        while let Some(next) = self.next_slot(slot) {
            if !self.is_parent(slot, next) {
                break;
            }
            self.delete(next)?;
            self.preemption_point()?;
        }
        Ok(())
    }

    /// Deletes the capability in `slot`, and its object with all that is in it if it was the last.
    ///
    /// # Errors
    ///
    /// [`Preempted`] with a zombie left in the slot.
    pub(crate) fn delete(self, slot: &'m Slot) -> Result<(), Preempted> {
        if self.takes_nothing_along(slot) {
            self.unlink(slot);
            return Ok(());
        }
        let done = self.finalise_slot(slot)?;
        self.empty_slot(slot, done.irq);
        Ok(())
    }

    /// Whether nothing changes but the tree when this capability is deleted.
    #[inline(always)]
    fn takes_nothing_along(self, slot: &'m Slot) -> bool {
        ONLY_LAST_MATTERS >> kind_of(slot.cap_first()) & 1 != 0 && !self.is_final(slot)
    }

    /// Deletes a reply capability, if there is one, which takes one step.
    #[inline]
    pub(crate) fn delete_reply(self, slot: &'m Slot) {
        // Nothing of the thread changes: whoever waits for the reply waits on, or goes on because it has come.
        if kind_of(slot.cap_first()) == kind::REPLY {
            self.unlink(slot);
        }
    }

    /// Takes away what an interrupt signals: the capability in its slot, which is that of a notification.
    ///
    /// # Errors
    ///
    /// [`Preempted`] with a zombie left in the slot.
    pub(crate) fn delete_irq_notification(self, slot: &'m Slot) -> Result<(), Preempted> {
        let cap = Cap::decode(slot.cap());
        if let Rest::Zombie(zombie) = self.finalise_queue(cap, self.is_final(slot)) {
            slot.set_cap(zombie.encode());
            if let Some(queue) = self.zombie_queue(zombie) {
                self.send_all_away(queue)?;
            }
        }
        self.empty_slot(slot, None);
        Ok(())
    }

    fn empty_slot(self, slot: &'m Slot, irq: Option<u64>) {
        if kind_of(slot.cap_first()) == kind::NULL {
            return;
        }
        self.unlink(slot);
        if let Some(irq) = irq {
            self.release_irq(irq);
        }
    }

    /// Brings the slot, which the user can name, to where it can be emptied.
    fn finalise_slot(self, slot: &'m Slot) -> Result<Finalised, Preempted> {
        loop {
            match self.finalise_step(slot)? {
                Step::Done(done) => return Ok(done),
                Step::Reduce(zombie) => {
                    slot.set_cap(zombie.encode());
                    match self.zombie_queue(zombie) {
                        Some(queue) => self.send_all_away(queue)?,
                        None => self.reduce_zombie(slot, zombie)?,
                    }
                }
            }
            self.preemption_point()?;
        }
    }

    /// The same for a slot inside a zombie: a cyclic zombie stays, other zombies are turned into cyclic ones.
    fn finalise_inner_slot(self, slot: &'m Slot) -> Result<Finalised, Preempted> {
        loop {
            match self.finalise_step(slot)? {
                Step::Done(done) => return Ok(done),
                Step::Reduce(zombie) => {
                    slot.set_cap(zombie.encode());
                    if let Some(queue) = self.zombie_queue(zombie) {
                        self.send_all_away(queue)?;
                        continue;
                    }
                    let first = self.zombie_slot(zombie, 0);
                    if first.is_some_and(|first| core::ptr::eq(first, slot)) {
                        return Ok(Finalised {
                            removable: false,
                            irq: None,
                        });
                    }
                    if let Some(first) = first {
                        self.swap_caps(first.cap(), first, slot.cap(), slot);
                    }
                }
            }
            self.preemption_point()?;
        }
    }

    /// Stops the object if this is its last capability.
    fn finalise_step(self, slot: &'m Slot) -> Result<Step, Preempted> {
        let removable = |irq| {
            Step::Done(Finalised {
                removable: true,
                irq,
            })
        };
        let cap = Cap::decode(slot.cap());
        if cap == Cap::Null {
            return Ok(removable(None));
        }
        Ok(match self.finalise(cap, self.is_final(slot))? {
            Rest::Empty { irq } => removable(irq),
            Rest::Zombie(zombie) if self.is_spent(zombie, slot) => removable(None),
            Rest::Zombie(zombie) => Step::Reduce(zombie),
        })
    }

    /// Whether nothing is left in a zombie's slots but itself, and nobody in its queue.
    fn is_spent(self, zombie: Cap, slot: &'m Slot) -> bool {
        if let Some(queue) = self.zombie_queue(zombie) {
            return self.first_in(queue).is_none();
        }
        match zombie {
            Cap::Zombie { left: 0, .. } => true,
            Cap::Zombie { left: 1, .. } => self
                .zombie_slot(zombie, 0)
                .is_some_and(|first| core::ptr::eq(first, slot)),
            _ => false,
        }
    }

    /// Empties the last slot of the zombie that is in `slot`.
    fn reduce_zombie(self, slot: &'m Slot, zombie: Cap) -> Result<(), Preempted> {
        let Cap::Zombie {
            address,
            kind,
            left,
        } = zombie
        else {
            return Ok(());
        };
        let Some(last) = left
            .checked_sub(1)
            .and_then(|index| self.zombie_slot(zombie, index))
        else {
            return Ok(());
        };
        if self.takes_nothing_along(last) {
            self.unlink(last);
        } else if kind_of(last.cap_first()) != kind::NULL {
            let done = self.finalise_inner_slot(last)?;
            if done.removable {
                self.empty_slot(last, done.irq);
            }
        }
        // The slot now holds the same zombie, or what was swapped with it: then it goes on with that.
        if Cap::decode(slot.cap()) == zombie {
            let fewer = Cap::Zombie {
                address,
                kind,
                left: left - 1,
            };
            slot.set_cap(fewer.encode());
        }
        Ok(())
    }

    /// Slot `index` of what a zombie was.
    fn zombie_slot(self, zombie: Cap, index: u64) -> Option<&'m Slot> {
        let Cap::Zombie { address, kind, .. } = zombie else {
            return None;
        };
        let first = match kind {
            ZombieKind::Thread if index < THREAD_SLOTS => {
                address.add(offset_of!(Tcb, slots) as u64)
            }
            ZombieKind::CNode(radix) if index < 1 << radix => address,
            ZombieKind::Thread
            | ZombieKind::CNode(_)
            | ZombieKind::Endpoint
            | ZombieKind::Notification => return None,
        };
        Some(self.mem.get(first.add(index << Slot::BITS)))
    }

    /// The queue of what a zombie was.
    fn zombie_queue(self, zombie: Cap) -> Option<WaitQueue<'m>> {
        match zombie {
            Cap::Zombie {
                address,
                kind: ZombieKind::Endpoint,
                ..
            } => Some(WaitQueue::of_endpoint(self.mem.get(address))),
            Cap::Zombie {
                address,
                kind: ZombieKind::Notification,
                ..
            } => Some(WaitQueue::of_notification(self.mem.get(address))),
            _ => None,
        }
    }

    /// Stops an endpoint or notification whose last capability is being deleted.
    fn finalise_queue(self, cap: Cap, last: bool) -> Rest {
        let (address, kind) = match cap {
            Cap::Endpoint { address, .. } if last => {
                self.end_cancellation_at(address);
                (address, ZombieKind::Endpoint)
            }
            Cap::Notification { address, .. } if last => {
                self.unbind_from_notification(self.mem.get(address));
                (address, ZombieKind::Notification)
            }
            Cap::Zombie { .. } => return Rest::Zombie(cap),
            _ => return EMPTY,
        };
        let zombie = Cap::Zombie {
            address,
            kind,
            left: 0,
        };
        match self.zombie_queue(zombie) {
            Some(queue) if self.first_in(queue).is_some() => Rest::Zombie(zombie),
            _ => EMPTY,
        }
    }

    /// Stops an object whose last capability is being deleted.
    fn finalise(self, cap: Cap, last: bool) -> Result<Rest, Preempted> {
        match cap {
            Cap::Endpoint { .. } | Cap::Notification { .. } => {
                return Ok(self.finalise_queue(cap, last));
            }
            Cap::CNode { address, radix, .. } if last => {
                return Ok(Rest::Zombie(Cap::Zombie {
                    address,
                    kind: ZombieKind::CNode(radix),
                    left: 1 << radix,
                }));
            }
            Cap::Thread { tcb: address } if last => {
                let tcb: &Tcb = self.mem.get(address);
                self.unbind_notification(tcb);
                self.unbind_lane_of(tcb);
                self.suspend(tcb);
                self.forget_in_cancellation(tcb);
                self.forget_thread(tcb);
                self.release_fpu(tcb);
                return Ok(Rest::Zombie(Cap::Zombie {
                    address,
                    kind: ZombieKind::Thread,
                    left: THREAD_SLOTS,
                }));
            }
            Cap::KernelLane { address, .. } if last => self.unbind_lane(self.mem.get(address)),
            Cap::Zombie { .. } => return Ok(Rest::Zombie(cap)),
            Cap::IrqHandler { irq } if last => {
                if let Some(slot) = self.irq_slot(irq) {
                    self.delete_irq_notification(slot)?;
                }
                return Ok(Rest::Empty { irq: Some(irq) });
            }
            Cap::Frame { .. } | Cap::PageTable { .. } | Cap::AsidPool { .. } => {
                self.finalise_vspace_cap(cap, last);
            }
            _ => {}
        }
        Ok(EMPTY)
    }

    /// Takes away the thread's reply capability, wherever it is: nobody can answer its call any more.
    pub(crate) fn delete_caller_cap(self, tcb: &'m Tcb) {
        self.delete_reply(&tcb.slots[tcb_slot::CALLER]);
    }
}

const _: () = assert!(THREAD_SLOTS as usize == size_of::<[Slot; 5]>() / size_of::<Slot>());
