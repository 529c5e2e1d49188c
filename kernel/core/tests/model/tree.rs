//! The derivation tree, with a link from each capability to its parent; deleting and revoking.

use crate::caps::{Addr, Cap, Place, Was, own};
use crate::state::{Decision, Entry, Model, Refusal, State};

/// What is left of a capability whose object has been stopped.
enum Rest {
    Nothing,
    Zombie(Cap),
}

impl Model {
    fn position(&self, place: Place) -> usize {
        let position = self.order.iter().position(|&other| other == place);
        position.expect("a full slot has a place in the order")
    }

    pub fn has_children(&self, place: Place) -> bool {
        self.caps.values().any(|entry| entry.parent == Some(place))
    }

    /// Whether no other capability to the same object is left.
    pub fn is_last(&self, place: Place) -> bool {
        let Some(cap) = self.cap(place) else {
            return true;
        };
        let others =
            |(&other, entry): (&Place, &Entry)| other != place && entry.cap.same_object(&cap);
        !self.caps.iter().any(others)
    }

    pub fn must_be_empty(&self, place: Place) -> Result<(), Refusal> {
        match self.cap(place) {
            None => Ok(()),
            Some(_) => Err(Refusal::DeleteFirst),
        }
    }

    pub fn must_be_childless(&self, place: Place) -> Result<(), Refusal> {
        match self.has_children(place) {
            false => Ok(()),
            true => Err(Refusal::RevokeFirst),
        }
    }

    /// What a copy of `cap`, which is in `place`, would be; nothing if there are no copies of such.
    pub fn derive(&self, place: Place, cap: Cap) -> Result<Option<Cap>, Refusal> {
        match cap {
            Cap::Zombie { .. } | Cap::IrqControl | Cap::Reply { .. } => Ok(None),
            Cap::Untyped { .. } => {
                self.must_be_childless(place)?;
                Ok(Some(cap))
            }
            Cap::Frame {
                at,
                bits,
                read,
                write,
                device,
                ..
            } => Ok(Some(Cap::Frame {
                at,
                bits,
                read,
                write,
                device,
                mapped: None,
            })),
            Cap::Table { mapped: None, .. } => Err(Refusal::IllegalOperation),
            other => Ok(Some(other)),
        }
    }

    /// Puts `cap`, made of what is in `source`, into an empty slot.
    pub fn insert(&mut self, cap: Cap, source: Place, dest: Place) {
        let from = self.caps[&source];
        let original = match cap {
            Cap::Endpoint { badge, .. } | Cap::Notification { badge, .. } => {
                badge != from.cap.badge()
            }
            Cap::IrqHandler { .. } => from.cap == Cap::IrqControl,
            Cap::Untyped { .. } => true,
            _ => false,
        };
        if let (
            Cap::Untyped { at, bits, .. },
            Cap::Untyped {
                at: from_at,
                bits: from_bits,
                device,
                ..
            },
        ) = (cap, from.cap)
            && (at, bits) == (from_at, from_bits)
        {
            // The copy has the memory from now on.
            let used = 1 << bits;
            self.set_cap(
                source,
                Cap::Untyped {
                    at,
                    bits,
                    device,
                    used,
                },
            );
        }
        let is_parent = from.original && from.cap.can_be_parent_of(&cap, original);
        let parent = if is_parent { Some(source) } else { from.parent };
        let entry = Entry {
            cap,
            parent,
            original,
        };
        self.put_behind(source, dest, entry);
    }

    /// Puts a new capability behind another in the order.
    fn put_behind(&mut self, before: Place, place: Place, entry: Entry) {
        let position = self.position(before) + 1;
        self.order.insert(position, place);
        self.put(place, entry);
    }

    fn put(&mut self, place: Place, entry: Entry) {
        let before = self.caps.insert(place, entry);
        assert!(
            before.is_none(),
            "the model overwrites {before:?} in {place:?}"
        );
    }

    /// Puts the capability of a new object, made of the untyped memory in `parent`, into an empty slot.
    pub fn insert_new(&mut self, cap: Cap, parent: Place, place: Place) {
        let entry = Entry {
            cap,
            parent: Some(parent),
            original: true,
        };
        self.put_behind(parent, place, entry);
    }

    /// Puts a capability that was made of no other into an empty slot.
    pub fn insert_root(&mut self, cap: Cap, place: Place) {
        self.order.push(place);
        self.put(
            place,
            Entry {
                cap,
                parent: None,
                original: true,
            },
        );
    }

    /// Moves what is in `source` to an empty slot, as `cap`.
    pub fn move_to(&mut self, cap: Cap, source: Place, dest: Place) {
        let entry = self.caps.remove(&source).expect("a capability to move");
        let position = self.position(source);
        self.order[position] = dest;
        self.put(dest, Entry { cap, ..entry });
        for other in self.caps.values_mut() {
            if other.parent == Some(source) {
                other.parent = Some(dest);
            }
        }
    }

    /// Lets two slots change places; the second may be empty.
    pub fn swap(&mut self, first: Place, second: Place) {
        for place in &mut self.order {
            if *place == first {
                *place = second;
            } else if *place == second {
                *place = first;
            }
        }
        let (one, two) = (self.caps.remove(&first), self.caps.remove(&second));
        if let Some(two) = two {
            self.caps.insert(first, two);
        }
        if let Some(one) = one {
            self.caps.insert(second, one);
        }
        for other in self.caps.values_mut() {
            if other.parent == Some(first) {
                other.parent = Some(second);
            } else if other.parent == Some(second) {
                other.parent = Some(first);
            }
        }
    }

    /// Empties a slot. Children become those of the parent; an object without a capability ceases to be.
    pub fn empty_slot(&mut self, place: Place) {
        let Some(entry) = self.caps.remove(&place) else {
            return;
        };
        let position = self.position(place);
        self.order.remove(position);
        for other in self.caps.values_mut() {
            if other.parent == Some(place) {
                other.parent = entry.parent;
            }
        }
        self.forget_object(entry.cap);
    }

    fn forget_object(&mut self, cap: Cap) {
        let of_thread = |cap: &Cap| match *cap {
            Cap::Thread { at }
            | Cap::Zombie {
                at,
                was: Was::Thread,
                ..
            } => Some(at),
            _ => None,
        };
        let of_node = |cap: &Cap| match *cap {
            Cap::CNode { at, .. }
            | Cap::Zombie {
                at,
                was: Was::Node { .. },
                ..
            } => Some(at),
            _ => None,
        };
        if let Some(at) = of_thread(&cap) {
            if self
                .caps
                .values()
                .all(|other| of_thread(&other.cap) != Some(at))
            {
                if self.running == Some(at) {
                    self.last_priority = self.thread(at).priority;
                }
                self.threads.remove(&at);
            }
        } else if let Some(at) = of_node(&cap) {
            if self
                .caps
                .values()
                .all(|other| of_node(&other.cap) != Some(at))
            {
                self.nodes.remove(&at);
            }
        } else if self.caps.values().all(|other| !other.cap.same_object(&cap)) {
            match cap {
                Cap::Endpoint { at, .. } => _ = self.endpoints.remove(&at),
                Cap::Notification { at, .. } => _ = self.notifications.remove(&at),
                Cap::Table { at, .. } => _ = self.tables.remove(&at),
                Cap::AsidPool { at, .. } => _ = self.pools.remove(&at),
                Cap::IrqHandler { irq } => _ = self.irqs.remove(&irq),
                _ => {}
            }
        }
    }

    /// Deletes everything that was made of what is in the slot.
    pub fn revoke(&mut self, place: Place) {
        while self.caps.contains_key(&place) {
            match self.order.get(self.position(place) + 1) {
                Some(&next) if self.descends(next, place) => self.delete(next),
                _ => return,
            }
        }
    }

    /// Whether what is in one slot was made of what is in the other, in however many steps.
    pub fn descends(&self, place: Place, ancestor: Place) -> bool {
        let parent = self.caps[&place].parent;
        parent.is_some_and(|parent| parent == ancestor || self.descends(parent, ancestor))
    }

    /// Deletes a capability, and its object if it was the last.
    pub fn delete(&mut self, place: Place) {
        self.delete_from(place, true);
    }

    /// `named`: by a user, and not in the course of deleting the CNode or thread that the slot is in.
    fn delete_from(&mut self, place: Place, named: bool) {
        while let Some(cap) = self.cap(place) {
            let zombie = match self.stop_object(place, cap) {
                Rest::Nothing => return self.empty_slot(place),
                Rest::Zombie(zombie) => zombie,
            };
            let Cap::Zombie { at, was, left } = zombie else {
                unreachable!("only zombies are left over");
            };
            let first = slot_of(at, was, 0);
            // Empty slots are no work.
            let left = if named {
                self.full_below(at, was, left)
            } else {
                left
            };
            let zombie = Cap::Zombie { at, was, left };
            if left == 0 || (left == 1 && first == place) {
                return self.empty_slot(place);
            }
            self.set_cap(place, zombie);
            if named {
                self.delete_from(slot_of(at, was, left - 1), false);
                if self.cap(place) == Some(zombie) {
                    let left = left - 1;
                    self.set_cap(place, Cap::Zombie { at, was, left });
                }
            } else if first == place {
                return;
            } else {
                // An inner CNode or thread is not taken apart: it is left with nothing but itself to hold it, until the
                // memory that it was made of is revoked.
                self.swap(first, place);
            }
        }
    }

    /// How many of the first `left` slots there are up to the last full one.
    fn full_below(&self, at: Addr, was: Was, left: u64) -> u64 {
        let slots = slot_of(at, was, 0)..slot_of(at, was, left);
        match self.caps.range(slots).next_back() {
            Some((Place::Node(_, index) | Place::Thread(_, index), _)) => index + 1,
            _ => 0,
        }
    }

    /// Ends what the object does if this is its last capability.
    fn stop_object(&mut self, place: Place, cap: Cap) -> Rest {
        // Zombies stand for themselves, and there can be many steps of one.
        let last = !matches!(cap, Cap::Zombie { .. }) && self.is_last(place);
        match cap {
            Cap::Zombie { .. } => return Rest::Zombie(cap),
            Cap::CNode { at, radix, .. } if last => {
                let (was, left) = (Was::Node { radix }, 1 << radix);
                return Rest::Zombie(Cap::Zombie { at, was, left });
            }
            Cap::Thread { at } if last => {
                self.unbind_thread(at);
                self.suspend(at);
                let (was, left) = (Was::Thread, own::COUNT);
                return Rest::Zombie(Cap::Zombie { at, was, left });
            }
            Cap::Endpoint { at, .. } if last => self.restart_all_at_endpoint(at),
            Cap::Notification { at, .. } if last => {
                if let Some(thread) = self.notifications[&at].bound {
                    self.unbind_thread(thread);
                }
                self.restart_all_at_notification(at);
            }
            Cap::IrqHandler { irq } if last => self.delete(Place::Irq(irq)),
            Cap::Frame {
                at,
                bits,
                mapped: Some((asid, vaddr)),
                ..
            } => self.unmap_frame(asid, vaddr, at, bits),
            Cap::Table {
                at,
                mapped: Some((asid, vaddr)),
            } if last => {
                if self.root_of(asid) == Some(at) {
                    self.remove_root(asid);
                } else {
                    self.unmap_table(asid, vaddr, at);
                }
            }
            Cap::AsidPool { at, base } if last && self.pool_of.get(&base) == Some(&at) => {
                self.pool_of.remove(&base);
            }
            _ => {}
        }
        Rest::Nothing
    }

    /// Stops a thread, whatever it does.
    pub fn suspend(&mut self, thread: Addr) {
        self.end_wait(thread);
        let tcb = self.thread_mut(thread);
        if tcb.state == State::Running {
            tcb.registers[crate::state::reg::PC] = tcb.registers[crate::state::reg::NEXT_PC];
        }
        self.leave_ready(thread);
        if self.decision == Decision::Consider(thread) {
            self.decision = Decision::Choose;
        }
        self.set_state(thread, State::Inactive);
    }
}

/// Slot `index` of what a zombie was.
fn slot_of(at: Addr, was: Was, index: u64) -> Place {
    match was {
        Was::Thread => Place::Thread(at, index),
        Was::Node { .. } => Place::Node(at, index),
        Was::Queue => unreachable!("the model sends all away at once"),
    }
}
