//! Which thread runs: 256 priorities in each domain, round-robin within one.
//!
//! The running thread stands in no queue. During a kernel entry the operations only note what is to be done
//! (`CoreState::action`); [`Kernel::schedule`] does it once, at the end. A thread that became ready is kept as the
//! *candidate* as long as it is the only one, so that a rendezvous switches to it without touching any queue.
//!
//! Invariants: a thread is in a ready queue only if its `QUEUED` flag is set; each queue's bit is set while it is not
//! empty, and the highest of them is noted; the candidate is runnable, in no queue, and of the current domain. Reference manual, section 6.1.

use crate::config::{DOMAIN_SCHEDULE_LENGTH, DOMAINS, PRIORITIES};
use crate::machine::Machine;
use crate::state::{Kernel, Queue};
use crate::tcb::{QUEUED, ThreadState, is_runnable};
use baton_kernel_mem::{Paddr, Tcb, reg};
use baton_sel4_abi::TIME_SLICE_TICKS;
use core::cell::Cell;

/// The running thread goes on.
const RESUME: u64 = 0;
/// The first thread of the highest priority is to run; any other value of `action` is the candidate's address.
const CHOOSE: u64 = 1;

impl<'m, M: Machine> Kernel<'m, M> {
    #[inline(always)]
    pub(crate) fn is_current(self, tcb: &Tcb) -> bool {
        self.core.current.get() == self.mem.address(tcb)
    }

    #[inline(always)]
    fn queue_of(self, tcb: &Tcb) -> (usize, usize, &'m Queue) {
        // Both are checked when they are set; this only spares a check of the bounds here.
        let domain = domain_index(tcb.domain.get());
        let priority = tcb.priority.get() as usize % PRIORITIES;
        (domain, priority, &self.core.ready[domain][priority])
    }

    /// Puts a thread at the head of its ready queue, unless it is queued.
    #[inline]
    pub(crate) fn enqueue(self, tcb: &'m Tcb) {
        if tcb.state.get() & QUEUED != 0 {
            return;
        }
        let (domain, priority, queue) = self.queue_of(tcb);
        let address = self.mem.address(tcb);
        let head = queue.head.get();
        match self.mem.get_or_null::<Tcb>(head) {
            Some(first) => first.ready_prev.set(address.value()),
            None => {
                queue.tail.set(address);
                self.mark(domain, priority);
            }
        }
        tcb.ready_prev.set(0);
        tcb.ready_next.set(head.value());
        queue.head.set(address);
        tcb.state.set(tcb.state.get() | QUEUED);
    }

    /// Puts a thread at the end of its ready queue, unless it is queued.
    #[inline]
    pub(crate) fn append(self, tcb: &'m Tcb) {
        if tcb.state.get() & QUEUED != 0 {
            return;
        }
        let (domain, priority, queue) = self.queue_of(tcb);
        let address = self.mem.address(tcb);
        let tail = queue.tail.get();
        match self.mem.get_or_null::<Tcb>(tail) {
            Some(last) => last.ready_next.set(address.value()),
            None => {
                queue.head.set(address);
                self.mark(domain, priority);
            }
        }
        tcb.ready_prev.set(tail.value());
        tcb.ready_next.set(0);
        queue.tail.set(address);
        tcb.state.set(tcb.state.get() | QUEUED);
    }

    /// Takes a thread out of its ready queue, if it is in it.
    #[inline]
    pub(crate) fn dequeue(self, tcb: &'m Tcb) {
        if tcb.state.get() & QUEUED == 0 {
            return;
        }
        let (domain, priority, queue) = self.queue_of(tcb);
        let (prev, next) = (tcb.ready_prev.get(), tcb.ready_next.get());
        match self.mem.get_or_null::<Tcb>(Paddr::new(prev)) {
            Some(before) => before.ready_next.set(next),
            None => queue.head.set(Paddr::new(next)),
        }
        match self.mem.get_or_null::<Tcb>(Paddr::new(next)) {
            Some(after) => after.ready_prev.set(prev),
            None => queue.tail.set(Paddr::new(prev)),
        }
        if queue.head.get().is_null() {
            self.unmark(domain, priority);
        }
        tcb.state.set(tcb.state.get() & !QUEUED);
    }

    #[inline(always)]
    fn mark(self, domain: usize, priority: usize) {
        let bits = &self.core.ready_bits[domain][priority / 64];
        bits.set(bits.get() | 1 << (priority % 64));
        let top = &self.core.ready_top[domain];
        if priority as u64 >= top.get() {
            top.set(priority as u64 + 1);
        }
    }

    #[inline(always)]
    fn unmark(self, domain: usize, priority: usize) {
        let bits = &self.core.ready_bits[domain][priority / 64];
        bits.set(bits.get() & !(1 << (priority % 64)));
        let top = &self.core.ready_top[domain];
        if priority as u64 + 1 == top.get() {
            top.set(top_of(&self.core.ready_bits[domain]));
        }
    }

    /// One more than the highest priority of which a thread is ready in the current domain; 0 if none is.
    #[inline(always)]
    fn ready_top(self) -> u64 {
        self.core.ready_top[domain_index(self.core.domain.get())].get()
    }

    /// Whether a thread of a higher priority is ready in the current domain.
    #[inline(always)]
    pub(crate) fn is_ready_above(self, priority: u64) -> bool {
        self.ready_top() > priority + 1
    }

    /// Whether a thread of higher priority than the running one's is ready, or another domain's turn has come.
    pub(crate) fn is_higher_ready(self, current: &Tcb) -> bool {
        let priority = current.priority.get();
        let action = self.core.action.get();
        let candidate = match action {
            RESUME | CHOOSE => None,
            address => Some(self.mem.get::<Tcb>(Paddr::new(address)).priority.get()),
        };
        candidate.is_some_and(|other| other > priority)
            || self.is_ready_above(priority)
            || (DOMAINS > 1 && self.core.domain_time.get() == 0)
    }

    /// Whether another thread of at least the running one's priority is ready.
    #[inline(always)]
    pub(crate) fn is_another_ready(self, current: &Tcb) -> bool {
        self.ready_top() > current.priority.get()
    }

    /// Lets a thread run that has just become ready, if its priority allows.
    #[inline]
    pub(crate) fn possible_switch_to(self, tcb: &'m Tcb) {
        if DOMAINS > 1 && tcb.domain.get() != self.core.domain.get() {
            self.enqueue(tcb);
        } else if self.core.action.get() != RESUME {
            self.reschedule();
            self.enqueue(tcb);
        } else {
            self.core.action.set(self.mem.address(tcb).value());
        }
    }

    /// Asks for the scheduler to choose anew.
    #[inline]
    pub(crate) fn reschedule(self) {
        let action = self.core.action.get();
        if action != RESUME && action != CHOOSE {
            self.enqueue(self.mem.get(Paddr::new(action)));
        }
        self.core.action.set(CHOOSE);
    }

    /// Has the candidate take its turn, if others of its priority or a higher one are ready.
    pub(crate) fn queue_candidate_behind_others(self) {
        let action = self.core.action.get();
        if action == RESUME || action == CHOOSE {
            return;
        }
        let candidate: &Tcb = self.mem.get(Paddr::new(action));
        if self.is_another_ready(candidate) {
            self.append(candidate);
            self.core.action.set(CHOOSE);
        }
    }

    /// Forgets that a thread was to run next; it is about to be stopped.
    pub(crate) fn drop_candidate(self, tcb: &'m Tcb) {
        if self.core.action.get() == self.mem.address(tcb).value() {
            self.core.action.set(CHOOSE);
        }
    }

    /// Notes that the state of a thread has changed: the running one may have stopped.
    #[inline(always)]
    pub(crate) fn state_changed(self, tcb: &'m Tcb) {
        if self.core.action.get() == RESUME && !is_runnable(tcb) && self.is_current(tcb) {
            self.core.action.set(CHOOSE);
        }
    }

    /// Whether the entry has noted anything for the scheduler.
    #[inline(always)]
    pub(crate) fn is_anything_to_schedule(self) -> bool {
        self.core.action.get() != RESUME
    }

    /// Does what the entry has noted: afterwards the right thread is the current one.
    #[inline]
    pub(crate) fn schedule(self) {
        let action = self.core.action.get();
        if action == RESUME {
            return;
        }
        let current = self.current();
        let was_runnable = match current {
            Some(current) if is_runnable(current) => {
                self.enqueue(current);
                true
            }
            _ => false,
        };
        if action == CHOOSE {
            self.choose_new();
        } else {
            let candidate: &Tcb = self.mem.get(Paddr::new(action));
            let priority = candidate.priority.get();
            let lower = current.is_none_or(|current| priority < current.priority.get());
            if lower && self.is_ready_above(priority) {
                self.enqueue(candidate);
                self.choose_new();
            } else if was_runnable
                && current.is_some_and(|current| current.priority.get() == priority)
            {
                // Behind the running thread, which stays at the head of the queue.
                self.append(candidate);
                self.choose_new();
            } else {
                self.switch_to(candidate);
            }
        }
        self.core.action.set(RESUME);
    }

    fn choose_new(self) {
        if DOMAINS > 1 && self.core.domain_time.get() == 0 {
            self.next_domain();
        }
        let Some(priority) = self.ready_top().checked_sub(1) else {
            if let Some(current) = self.current() {
                self.leave_fpu(current);
            }
            self.core.current.set(Paddr::NULL);
            self.machine.set_kernel_address_space();
            return;
        };
        let domain = domain_index(self.core.domain.get());
        let head = self.core.ready[domain][priority as usize % PRIORITIES]
            .head
            .get();
        self.switch_to(self.mem.get(head));
    }

    /// Makes a thread the current one.
    #[inline]
    fn switch_to(self, tcb: &'m Tcb) {
        self.switch_vspace(tcb);
        self.switch_fpu(self.current(), tcb);
        self.dequeue(tcb);
        self.core.current.set(self.mem.address(tcb));
    }

    /// Prepares the current thread for going on: a system call that is to be made again starts at its instruction.
    #[inline(always)]
    pub(crate) fn activate(self, current: &'m Tcb) {
        if ThreadState::of(current) == ThreadState::RESTART {
            let context = &current.context;
            context.set::<{ reg::NEXT_PC }>(context.get::<{ reg::PC }>());
            self.set_state(current, ThreadState::RUNNING);
        }
    }

    /// A tick of the timer: time slices, and the domain's time.
    pub(crate) fn timer_tick(self) {
        if let Some(current) = self.current()
            && ThreadState::of(current) == ThreadState::RUNNING
        {
            let left = current.time_slice.get();
            if left > 1 {
                current.time_slice.set(left - 1);
            } else {
                current.time_slice.set(TIME_SLICE_TICKS);
                self.append(current);
                self.reschedule();
            }
        }
        if DOMAINS > 1 {
            let left = self.core.domain_time.get().saturating_sub(1);
            self.core.domain_time.set(left);
            if left == 0 {
                self.reschedule();
            }
        }
    }

    /// Goes on in the domain schedule.
    fn next_domain(self) {
        // What the unit holds, and how long it takes to get it, is no other domain's business.
        if let Some(owner) = self.mem.get_or_null::<Tcb>(self.core.fpu_owner.get()) {
            self.release_fpu(owner);
        }
        let schedule = &self.core.schedule;
        let mut index = self.core.schedule_index.get() + 1;
        // An entry without duration ends the schedule.
        let ended = schedule.get(index).is_none_or(|entry| entry.get().1 == 0);
        if ended {
            index = self.core.schedule_start.get();
        }
        let (domain, ticks) = schedule[index % DOMAIN_SCHEDULE_LENGTH].get();
        self.core.schedule_index.set(index);
        self.core.domain.set(domain);
        self.core.domain_time.set(ticks);
    }

    /// Gives up the rest of the time slice to the next thread of the priority.
    pub(crate) fn yield_now(self, current: &'m Tcb) {
        self.append(current);
        self.reschedule();
    }

    /// Changes a thread's priority.
    pub(crate) fn set_priority(self, tcb: &'m Tcb, priority: u64) {
        self.dequeue(tcb);
        tcb.priority.set(priority);
        if is_runnable(tcb) {
            if self.is_current(tcb) {
                self.reschedule();
            } else {
                self.possible_switch_to(tcb);
            }
        }
    }

    /// Puts a thread into another domain.
    pub(crate) fn set_domain(self, tcb: &'m Tcb, domain: u64) {
        if self.core.domain.get() != domain {
            self.release_fpu(tcb);
        }
        self.dequeue(tcb);
        tcb.domain.set(domain);
        if is_runnable(tcb) {
            self.enqueue(tcb);
        }
        if self.is_current(tcb) {
            self.reschedule();
        }
    }
}

/// A domain as an index: 0 if there is only one.
#[inline(always)]
fn domain_index(domain: u64) -> usize {
    const { assert!(DOMAINS.is_power_of_two()) };
    domain as usize & (DOMAINS - 1)
}

/// One more than the number of the highest bit that is set in all these words; 0 if none is.
#[inline]
fn top_of(words: &[Cell<u64>; PRIORITIES / 64]) -> u64 {
    let words = words.iter().map(Cell::get).enumerate().rev();
    match words.into_iter().find(|&(_, bits)| bits != 0) {
        Some((number, bits)) => (number * 64 + highest_bit(bits) + 1) as u64,
        None => 0,
    }
}

/// The number of the highest bit that is set. By halves: the instruction set has no count of leading zeros, and what is
/// put in its place is twice as long.
#[inline(always)]
fn highest_bit(mut bits: u64) -> usize {
    let mut number = 0;
    for half in [32, 16, 8, 4, 2, 1] {
        if bits >> half != 0 {
            bits >>= half;
            number += half;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bit_is_found() {
        for number in 0..64 {
            let top = 1_u64 << number;
            for bits in [top, top | 1, top | (top - 1), top | (top >> 1)] {
                assert_eq!(highest_bit(bits), number, "{bits:#x}");
            }
        }
    }
}
