//! Who runs: the highest priority first, round-robin within one.

use crate::caps::{Addr, Cap, Place, own};
use crate::state::{Decision, Entry, Model, State, reg};
use baton_sel4_abi::TIME_SLICE_TICKS;

impl Model {
    /// Changes what a thread does; if the running one stops, another is to be chosen.
    pub fn set_state(&mut self, thread: Addr, state: State) {
        self.thread_mut(thread).state = state;
        if self.running == Some(thread)
            && self.decision == Decision::GoOn
            && !self.thread(thread).can_run()
        {
            self.decision = Decision::Choose;
        }
    }

    fn is_ready(&self, thread: Addr) -> bool {
        self.ready.values().any(|queue| queue.contains(&thread))
    }

    /// Puts a thread before all others of its priority, unless it is queued.
    pub fn enter_ready(&mut self, thread: Addr) {
        if !self.is_ready(thread) {
            let priority = self.thread(thread).priority;
            self.ready.entry(priority).or_default().push_front(thread);
        }
    }

    /// Puts a thread behind all others of its priority, unless it is queued.
    pub fn append_ready(&mut self, thread: Addr) {
        if !self.is_ready(thread) {
            let priority = self.thread(thread).priority;
            self.ready.entry(priority).or_default().push_back(thread);
        }
    }

    pub fn leave_ready(&mut self, thread: Addr) {
        for queue in self.ready.values_mut() {
            queue.retain(|&other| other != thread);
        }
        self.ready.retain(|_, queue| !queue.is_empty());
    }

    /// A thread has become ready.
    pub fn wake(&mut self, thread: Addr) {
        if self.decision == Decision::GoOn {
            self.decision = Decision::Consider(thread);
        } else {
            self.choose_anew();
            self.enter_ready(thread);
        }
    }

    pub fn choose_anew(&mut self) {
        if let Decision::Consider(thread) = self.decision {
            self.enter_ready(thread);
        }
        self.decision = Decision::Choose;
    }

    /// What happens before the user runs on.
    pub fn leave_kernel(&mut self) {
        self.schedule();
        if let Some(thread) = self.running {
            let tcb = self.thread_mut(thread);
            if tcb.state == State::Restart {
                tcb.registers[reg::NEXT_PC] = tcb.registers[reg::PC];
                tcb.state = State::Running;
            }
        }
    }

    fn schedule(&mut self) {
        let decision = std::mem::replace(&mut self.decision, Decision::GoOn);
        if decision == Decision::GoOn {
            return;
        }
        let running = self.running.filter(|at| self.threads.contains_key(at));
        let goes_on = running.filter(|&at| self.thread(at).can_run());
        let priority = match (running, self.running) {
            (Some(at), _) => Some(self.thread(at).priority),
            (None, Some(_)) => Some(self.last_priority),
            (None, None) => None,
        };
        if let Some(at) = goes_on {
            self.enter_ready(at);
        }
        let Decision::Consider(woken) = decision else {
            return self.run_first();
        };
        let of_woken = self.thread(woken).priority;
        let higher_waits = self.ready.keys().any(|&other| other > of_woken);
        if priority.is_none_or(|running| of_woken < running) && higher_waits {
            self.enter_ready(woken);
            self.run_first();
        } else if goes_on.is_some() && priority == Some(of_woken) {
            // Among equals whoever runs goes on.
            self.append_ready(woken);
            self.run_first();
        } else {
            self.run(woken);
        }
    }

    fn run_first(&mut self) {
        let first = self.ready.last_key_value().map(|(_, queue)| queue[0]);
        match first {
            Some(thread) => self.run(thread),
            None => self.running = None,
        }
    }

    fn run(&mut self, thread: Addr) {
        self.leave_ready(thread);
        self.running = Some(thread);
    }

    pub fn timer_tick(&mut self) {
        let Some(thread) = self.running else {
            return;
        };
        if self.thread(thread).state != State::Running {
            return;
        }
        let tcb = self.thread_mut(thread);
        tcb.slice -= 1;
        if tcb.slice == 0 {
            tcb.slice = TIME_SLICE_TICKS;
            self.append_ready(thread);
            self.choose_anew();
        }
    }

    pub fn yield_now(&mut self, thread: Addr) {
        self.append_ready(thread);
        self.choose_anew();
    }

    pub fn set_priority(&mut self, thread: Addr, priority: u64) {
        self.leave_ready(thread);
        self.thread_mut(thread).priority = priority;
        if self.thread(thread).can_run() {
            if self.running == Some(thread) {
                self.choose_anew();
            } else {
                self.wake(thread);
            }
        }
    }

    /// Lets a stopped thread do again what it was doing.
    pub fn restart(&mut self, thread: Addr) {
        if self.thread(thread).can_run() {
            return;
        }
        self.end_wait(thread);
        self.provide_reply_master(thread);
        self.set_state(thread, State::Restart);
        self.enter_ready(thread);
        self.wake(thread);
    }

    /// What reply capabilities to the thread will derive from.
    pub fn provide_reply_master(&mut self, thread: Addr) {
        let place = Place::Thread(thread, own::REPLY);
        if self.cap(place).is_none() {
            let cap = Cap::Reply {
                thread,
                master: true,
                grant: true,
            };
            self.insert_root(cap, place);
        }
    }

    /// Ends a thread's waiting, whatever for. A thread that waited for a reply stays in that state.
    pub fn end_wait(&mut self, thread: Addr) {
        match self.thread(thread).state {
            State::Receiving { endpoint, .. } | State::Sending { endpoint, .. } => {
                let endpoint = self.endpoint(endpoint);
                endpoint.senders.retain(|&other| other != thread);
                endpoint.receivers.retain(|&other| other != thread);
                self.thread_mut(thread).fault = None;
                self.set_state(thread, State::Inactive);
            }
            State::AwaitingSignal { notification } => {
                let waiting = &mut self.notification(notification).waiting;
                waiting.retain(|&other| other != thread);
                self.set_state(thread, State::Inactive);
            }
            State::AwaitingReply => {
                self.thread_mut(thread).fault = None;
                let to_it = |(&place, entry): (&Place, &Entry)| match entry.cap {
                    Cap::Reply {
                        thread: to,
                        master: false,
                        ..
                    } if to == thread => Some(place),
                    _ => None,
                };
                if let Some(place) = self.caps.iter().find_map(to_it) {
                    self.empty_slot(place);
                }
            }
            _ => {}
        }
    }
}
