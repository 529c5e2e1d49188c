//! Deleting and revoking capabilities, in steps between which an interrupt may be handled.
//!
//! Deleting the last capability of a CNode or thread means deleting what is in its slots, which may be CNodes and
//! threads again. So that it needs neither recursion without bound nor memory, and can stop at any step, the capability
//! first becomes a *zombie*: it names the slots that may still be full, counted down from the end. If the last of them
//! holds a CNode's or thread's last capability itself, that becomes a zombie too and is swapped into the first slot
//! of its own object, where it keeps itself alive, and is then taken apart from outside.
//!
//! Invariants: a zombie's object is named by no other capability; between two steps every slot is either as it was or a
//! zombie, so that making the same system call again goes on. Reference manual, section 3.1.5.

use crate::cap::{Cap, ZombieKind, kind, kind_of};
use crate::config::WORK_UNITS_PER_PREEMPTION;
use crate::error::Preempted;
use crate::machine::Machine;
use crate::state::Kernel;
use baton_kernel_mem::{Slot, Tcb, tcb_slot};
use core::mem::offset_of;

/// Slots of a thread.
const THREAD_SLOTS: u64 = 5;

/// What is left of a capability once its object has been stopped.
enum Rest {
    /// Nothing: the slot can be emptied; that interrupt is free after that.
    Empty { irq: Option<u64> },
    /// Slots that are to be emptied first.
    Zombie(Cap),
}

const EMPTY: Rest = Rest::Empty { irq: None };

/// How a slot was prepared for being emptied.
struct Finalised {
    /// False if it holds a zombie in its own first slot, which only the outer deletion can take apart.
    removable: bool,
    irq: Option<u64>,
}

impl<'m, M: Machine> Kernel<'m, M> {
    /// A place in a long operation at which it can be stopped; counts a unit of work.
    #[inline]
    pub(crate) fn preemption_point(self) -> Result<(), Preempted> {
        let units = self.core.work_units.get() + 1;
        if units < WORK_UNITS_PER_PREEMPTION {
            self.core.work_units.set(units);
            return Ok(());
        }
        self.core.work_units.set(0);
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
        let done = self.finalise_slot(slot)?;
        self.empty_slot(slot, done.irq);
        Ok(())
    }

    /// Deletes a capability that is none of a CNode or thread, which takes one step.
    #[inline]
    pub(crate) fn delete_one(self, slot: &'m Slot) {
        match kind_of(slot.cap_first()) {
            kind::NULL => {}
            // Nothing of the thread changes: whoever waits for the reply waits on, or goes on because it has come.
            kind::REPLY => self.unlink(slot),
            _ => {
                let cap = Cap::decode(slot.cap());
                if let Rest::Empty { irq } = self.finalise(cap, self.is_final(slot)) {
                    self.empty_slot(slot, irq);
                }
            }
        }
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
            match self.finalise_step(slot) {
                Ok(done) => return Ok(done),
                Err(zombie) => {
                    slot.set_cap(zombie.encode());
                    self.reduce_zombie(slot, zombie)?;
                }
            }
            self.preemption_point()?;
        }
    }

    /// The same for a slot inside a zombie: a cyclic zombie stays, other zombies are turned into cyclic ones.
    fn finalise_inner_slot(self, slot: &'m Slot) -> Result<Finalised, Preempted> {
        loop {
            match self.finalise_step(slot) {
                Ok(done) => return Ok(done),
                Err(zombie) => {
                    slot.set_cap(zombie.encode());
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

    /// Stops the object if this is its last capability. The error is the zombie that it must become.
    fn finalise_step(self, slot: &'m Slot) -> Result<Finalised, Cap> {
        let cap = Cap::decode(slot.cap());
        if cap == Cap::Null {
            return Ok(Finalised {
                removable: true,
                irq: None,
            });
        }
        match self.finalise(cap, self.is_final(slot)) {
            Rest::Empty { irq } => Ok(Finalised {
                removable: true,
                irq,
            }),
            Rest::Zombie(zombie) if self.is_spent(zombie, slot) => Ok(Finalised {
                removable: true,
                irq: None,
            }),
            Rest::Zombie(zombie) => Err(zombie),
        }
    }

    /// Whether nothing is left in a zombie's slots but itself.
    fn is_spent(self, zombie: Cap, slot: &'m Slot) -> bool {
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
        let done = self.finalise_inner_slot(last)?;
        if done.removable {
            self.empty_slot(last, done.irq);
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
            _ => return None,
        };
        Some(self.mem.get(first.add(index << Slot::BITS)))
    }

    /// Stops an object whose last capability is being deleted.
    fn finalise(self, cap: Cap, last: bool) -> Rest {
        match cap {
            Cap::Endpoint { address, .. } if last => self.cancel_all_ipc(self.mem.get(address)),
            Cap::Notification { address, .. } if last => {
                let notification = self.mem.get(address);
                self.unbind_from_notification(notification);
                self.cancel_all_signals(notification);
            }
            Cap::CNode { address, radix, .. } if last => {
                return Rest::Zombie(Cap::Zombie {
                    address,
                    kind: ZombieKind::CNode(radix),
                    left: 1 << radix,
                });
            }
            Cap::Thread { tcb: address } if last => {
                let tcb: &Tcb = self.mem.get(address);
                self.unbind_notification(tcb);
                self.suspend(tcb);
                self.forget_thread(tcb);
                self.release_fpu(tcb);
                return Rest::Zombie(Cap::Zombie {
                    address,
                    kind: ZombieKind::Thread,
                    left: THREAD_SLOTS,
                });
            }
            Cap::Zombie { .. } => return Rest::Zombie(cap),
            Cap::IrqHandler { irq } if last => {
                if let Some(slot) = self.irq_slot(irq) {
                    self.delete_one(slot);
                }
                return Rest::Empty { irq: Some(irq) };
            }
            Cap::Frame { .. } | Cap::PageTable { .. } | Cap::AsidPool { .. } => {
                self.finalise_vspace_cap(cap, last);
            }
            _ => {}
        }
        EMPTY
    }

    /// Takes away the thread's reply capability, wherever it is: nobody can answer its call any more.
    pub(crate) fn delete_caller_cap(self, tcb: &'m Tcb) {
        self.delete_one(&tcb.slots[tcb_slot::CALLER]);
    }
}

const _: () = assert!(THREAD_SLOTS as usize == size_of::<[Slot; 5]>() / size_of::<Slot>());
