//! Endpoints and notifications, the transfer of messages, replies, and faults as messages.

use crate::caps::{Addr, Cap, Place, own};
use crate::state::{Endpoint, Fault, IN_REGISTERS, Lost, Model, Notification, State, reg};
use baton_sel4_abi::message::ipc_buffer;
use baton_sel4_abi::{FaultKind, MessageInfo};

/// How a message is sent.
#[derive(Clone, Copy)]
pub struct Sending {
    pub block: bool,
    pub call: bool,
    pub badge: u64,
    pub grant: bool,
    pub grant_reply: bool,
}

/// Registers in the message of an unknown system call: pc, sp, ra, a0-a6.
const OF_SYSCALL: [usize; 10] = [reg::PC, reg::SP, reg::RA, 10, 11, 12, 13, 14, 15, 16];
/// Registers in the message of an exception.
const OF_EXCEPTION: [usize; 2] = [reg::PC, reg::SP];

impl Model {
    pub fn endpoint(&mut self, at: Addr) -> &mut Endpoint {
        self.endpoints.get_mut(&at).expect("an endpoint")
    }

    pub fn notification(&mut self, at: Addr) -> &mut Notification {
        self.notifications.get_mut(&at).expect("a notification")
    }

    pub fn register(&self, thread: Addr, register: usize) -> u64 {
        self.thread(thread).registers[register]
    }

    pub fn set_register(&mut self, thread: Addr, register: usize, value: u64) {
        self.thread_mut(thread).registers[register] = value;
    }

    /// What the thread sends, by its message-info register.
    pub fn message_info(&self, thread: Addr) -> MessageInfo {
        MessageInfo::from_word(self.register(thread, reg::A1))
    }

    // -- Endpoints -----------------------------------------------------------------------------------------------

    pub fn send(&mut self, sender: Addr, endpoint: Addr, how: Sending) {
        let Some(receiver) = self.endpoint(endpoint).receivers.pop_front() else {
            if how.block {
                let state = State::Sending {
                    endpoint,
                    badge: how.badge,
                    grant: how.grant,
                    grant_reply: how.grant_reply,
                    call: how.call,
                };
                self.set_state(sender, state);
                self.endpoint(endpoint).senders.push_back(sender);
            }
            return;
        };
        let State::Receiving { grant, .. } = self.thread(receiver).state else {
            panic!("the model has a receiver that does not receive");
        };
        self.transfer(sender, Some(endpoint), how.badge, how.grant, receiver);
        self.set_state(receiver, State::Running);
        self.wake(receiver);
        if how.call {
            self.expect_reply(sender, receiver, how.grant || how.grant_reply, grant);
        }
    }

    pub fn receive(&mut self, receiver: Addr, endpoint: Addr, grant: bool, block: bool) {
        if let Some(bound) = self.thread(receiver).bound
            && let Some(badge) = self.notification(bound).signals.take()
        {
            self.set_register(receiver, reg::A0, badge);
            return;
        }
        let Some(sender) = self.endpoint(endpoint).senders.pop_front() else {
            if block {
                self.set_state(receiver, State::Receiving { endpoint, grant });
                self.endpoint(endpoint).receivers.push_back(receiver);
            } else {
                self.set_register(receiver, reg::A0, 0);
            }
            return;
        };
        let State::Sending {
            badge,
            grant: sends_caps,
            grant_reply,
            call,
            ..
        } = self.thread(sender).state
        else {
            panic!("the model has a sender that does not send");
        };
        self.transfer(sender, Some(endpoint), badge, sends_caps, receiver);
        if call {
            self.expect_reply(sender, receiver, sends_caps || grant_reply, grant);
        } else {
            self.set_state(sender, State::Running);
            self.wake(sender);
        }
    }

    /// The sender has called: it waits for a reply, if it may have one.
    fn expect_reply(&mut self, sender: Addr, receiver: Addr, may: bool, grant: bool) {
        if !may {
            self.set_state(sender, State::Inactive);
            return;
        }
        self.set_state(sender, State::AwaitingReply);
        let cap = Cap::Reply {
            thread: sender,
            master: false,
            grant,
        };
        let master = Place::Thread(sender, own::REPLY);
        self.insert(cap, master, Place::Thread(receiver, own::CALLER));
    }

    /// All who wait there do their system call again.
    pub fn restart_all_at_endpoint(&mut self, at: Addr) {
        let endpoint = std::mem::take(self.endpoint(at));
        self.restart_all(endpoint.senders.into_iter().chain(endpoint.receivers));
    }

    pub fn restart_all_at_notification(&mut self, at: Addr) {
        let waiting = std::mem::take(&mut self.notification(at).waiting);
        self.restart_all(waiting.into_iter());
    }

    fn restart_all(&mut self, threads: impl Iterator<Item = Addr>) {
        let mut any = false;
        for thread in threads {
            self.thread_mut(thread).fault = None;
            self.set_state(thread, State::Restart);
            self.enter_ready(thread);
            any = true;
        }
        if any {
            self.choose_anew();
        }
    }

    /// Those who wait to send with this badge do their system call again.
    pub fn cancel_badged_sends(&mut self, at: Addr, badge: u64) {
        let senders = std::mem::take(&mut self.endpoint(at).senders);
        if senders.is_empty() {
            return;
        }
        for sender in senders {
            match self.thread(sender).state {
                State::Sending { badge: its, .. } if its == badge => {
                    self.thread_mut(sender).fault = None;
                    self.set_state(sender, State::Restart);
                    self.enter_ready(sender);
                }
                _ => self.endpoint(at).senders.push_back(sender),
            }
        }
        self.choose_anew();
    }

    // -- Transfer ------------------------------------------------------------------------------------------------

    fn transfer(
        &mut self,
        sender: Addr,
        endpoint: Option<Addr>,
        badge: u64,
        grant: bool,
        receiver: Addr,
    ) {
        let info = match self.thread(sender).fault {
            None => self.transfer_message(sender, endpoint, grant, receiver),
            Some(fault) => self.transfer_fault(sender, fault, receiver),
        };
        self.set_register(receiver, reg::A1, info.word());
        self.set_register(receiver, reg::A0, badge);
    }

    fn transfer_message(
        &mut self,
        sender: Addr,
        endpoint: Option<Addr>,
        grant: bool,
        receiver: Addr,
    ) -> MessageInfo {
        let info = self.message_info(sender);
        let (from, to) = (self.buffer(sender, false), self.buffer(receiver, true));
        let caps = match grant {
            true => self.extra_caps(sender, info).unwrap_or_default(),
            false => Vec::new(),
        };
        let length = info.message_length() as usize;
        let mut transferred = length.min(IN_REGISTERS);
        for index in 0..transferred {
            let word = self.register(sender, reg::A2 + index);
            self.set_register(receiver, reg::A2 + index, word);
        }
        if let (Some(from), Some(to)) = (from, to) {
            for index in transferred..length {
                let word = self.word(from, ipc_buffer::MSG + index);
                self.set_word(to, ipc_buffer::MSG + index, word);
            }
            transferred = length;
        }
        let (mut arrived, mut unwrapped) = (0, 0);
        if let Some(to) = to {
            let mut slot = match caps.is_empty() {
                true => None,
                false => self.receive_slot(receiver, to),
            };
            for (index, &source) in caps.iter().enumerate() {
                match self.cap(source) {
                    Some(Cap::Endpoint { at, badge, .. }) if Some(at) == endpoint => {
                        self.set_word(to, ipc_buffer::CAPS_OR_BADGES + index, badge);
                        unwrapped |= 1 << index;
                    }
                    cap => {
                        let Some(dest) = slot.take() else {
                            break;
                        };
                        let copy = cap.map_or(Ok(None), |cap| self.derive(source, cap));
                        let Ok(Some(copy)) = copy else {
                            break;
                        };
                        self.insert(copy, source, dest);
                    }
                }
                arrived += 1;
            }
        }
        MessageInfo::new(info.label(), unwrapped, arrived, transferred as u64)
    }

    /// The slots that a message's capability pointers name; or the fault to report.
    pub fn extra_caps(&self, thread: Addr, info: MessageInfo) -> Result<Vec<Place>, Fault> {
        let Some(buffer) = self.buffer(thread, false) else {
            return Ok(Vec::new());
        };
        let mut slots = Vec::new();
        for index in 0..info.extra_caps() as usize {
            let pointer = self.word(buffer, ipc_buffer::CAPS_OR_BADGES + index);
            let lost = |lost| Fault::Cap {
                pointer,
                receiving: false,
                lost,
            };
            slots.push(self.lookup(thread, pointer).map_err(lost)?);
        }
        Ok(slots)
    }

    /// The empty slot in which a receiver wants a capability.
    fn receive_slot(&self, thread: Addr, buffer: Addr) -> Option<Place> {
        let root = self.word(buffer, ipc_buffer::RECEIVE_CNODE);
        let index = self.word(buffer, ipc_buffer::RECEIVE_INDEX);
        let depth = self.word(buffer, ipc_buffer::RECEIVE_DEPTH);
        let root = self.cap(self.lookup(thread, root).ok()?);
        let place = self.lookup_at(root, index, depth, false).ok()?;
        self.cap(place).is_none().then_some(place)
    }

    // -- Replies -------------------------------------------------------------------------------------------------

    /// Replies with the capability in a slot, which is used up.
    pub fn reply_with(&mut self, sender: Addr, place: Place) {
        let Some(Cap::Reply {
            thread,
            master: false,
            grant,
        }) = self.cap(place)
        else {
            return;
        };
        let Some(fault) = self.thread(thread).fault else {
            self.transfer(sender, None, 0, grant, thread);
            self.empty_slot(place);
            self.set_state(thread, State::Running);
            self.wake(thread);
            return;
        };
        self.empty_slot(place);
        let goes_on = self.answer_fault(sender, fault, thread);
        self.thread_mut(thread).fault = None;
        if goes_on {
            self.set_state(thread, State::Restart);
            self.wake(thread);
        } else {
            self.set_state(thread, State::Inactive);
        }
    }

    /// Sets the registers that the handler of a fault answers with; true if the thread is to go on.
    fn answer_fault(&mut self, handler: Addr, fault: Fault, thread: Addr) -> bool {
        let registers: &[usize] = match fault {
            Fault::Syscall { .. } => &OF_SYSCALL,
            Fault::Exception { .. } => &OF_EXCEPTION,
            Fault::Cap { .. } | Fault::Memory { .. } => return true,
        };
        let info = self.message_info(handler);
        let buffer = self.buffer(handler, false);
        let length = info.message_length() as usize;
        for (index, &register) in registers.iter().enumerate().take(length) {
            let word = match (index, buffer) {
                (0..IN_REGISTERS, _) => self.register(handler, reg::A2 + index),
                (_, Some(buffer)) => self.word(buffer, ipc_buffer::MSG + index),
                (_, None) => break,
            };
            self.set_register(thread, register, word);
        }
        info.label() == 0
    }

    // -- Notifications -------------------------------------------------------------------------------------------

    pub fn signal(&mut self, at: Addr, badge: u64) {
        let notification = self.notification(at);
        if let Some(signals) = &mut notification.signals {
            *signals |= badge;
            return;
        }
        let waiting = notification.waiting.pop_front();
        let bound = notification.bound;
        let bound = bound.filter(|&at| matches!(self.thread(at).state, State::Receiving { .. }));
        match waiting.or(bound) {
            Some(thread) => {
                self.end_wait(thread);
                self.set_register(thread, reg::A0, badge);
                self.set_state(thread, State::Running);
                self.wake(thread);
            }
            None => self.notification(at).signals = Some(badge),
        }
    }

    pub fn wait(&mut self, thread: Addr, at: Addr, block: bool) {
        if let Some(badge) = self.notification(at).signals.take() {
            self.set_register(thread, reg::A0, badge);
        } else if block {
            self.set_state(thread, State::AwaitingSignal { notification: at });
            self.notification(at).waiting.push_back(thread);
        } else {
            self.set_register(thread, reg::A0, 0);
        }
    }

    pub fn unbind_thread(&mut self, thread: Addr) {
        if let Some(at) = self.thread_mut(thread).bound.take() {
            self.notification(at).bound = None;
        }
    }

    // -- Faults --------------------------------------------------------------------------------------------------

    /// Sends a fault to the thread's handler; without one the thread stops.
    pub fn fault(&mut self, thread: Addr, fault: Fault) {
        let pointer = self.thread(thread).fault_handler;
        let handler = self.lookup(thread, pointer).ok();
        match handler.and_then(|place| self.cap(place)) {
            Some(Cap::Endpoint { at, badge, rights })
                if rights.send && (rights.grant || rights.grant_reply) =>
            {
                self.thread_mut(thread).fault = Some(fault);
                let how = Sending {
                    block: true,
                    call: true,
                    badge,
                    grant: rights.grant,
                    grant_reply: true,
                };
                self.send(thread, at, how);
            }
            _ => self.set_state(thread, State::Inactive),
        }
    }

    fn transfer_fault(&mut self, sender: Addr, fault: Fault, receiver: Addr) -> MessageInfo {
        let registers = |list: &[usize]| -> Vec<u64> {
            let read = |&register| self.register(sender, register);
            list.iter().map(read).collect()
        };
        let (kind, words) = match fault {
            Fault::Cap {
                pointer,
                receiving,
                lost,
            } => {
                let mut words = registers(&[reg::PC]);
                words.extend([pointer, u64::from(receiving)]);
                words.extend(lost.words());
                (FaultKind::Cap, words)
            }
            Fault::Syscall { number } => {
                let mut words = registers(&OF_SYSCALL);
                words.push(number);
                (FaultKind::UnknownSyscall, words)
            }
            Fault::Exception { cause } => {
                let mut words = registers(&OF_EXCEPTION);
                words.extend([cause, 0]);
                (FaultKind::UserException, words)
            }
            Fault::Memory {
                address,
                fetch,
                status,
            } => {
                let mut words = registers(&[reg::PC]);
                words.extend([address, u64::from(fetch), status]);
                (FaultKind::Vm, words)
            }
        };
        let length = self.write_message(receiver, &words);
        MessageInfo::new(kind.label(), 0, 0, length)
    }

    /// A fault because the capability pointer of a receiving call names nothing to receive by.
    pub fn cannot_receive(&mut self, thread: Addr, pointer: u64, lost: Lost) {
        self.fault(
            thread,
            Fault::Cap {
                pointer,
                receiving: true,
                lost,
            },
        );
    }
}
