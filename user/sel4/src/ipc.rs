//! Messages between threads, and signals.

use crate::capability::{Capability, Endpoint, Notification};
use crate::raw::{Registers, ipc_buffer, trap};
use baton_sel4_abi::{CPtr, MSG_REGISTERS, MessageInfo, Syscall};

/// A message to send: a label, up to 120 words, up to 3 capabilities.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    info: MessageInfo,
    words: &'a [u64],
    caps: &'a [CPtr],
}

impl<'a> Message<'a> {
    /// A message of words; those that no message has room for are left out.
    pub fn new(label: u64, words: &'a [u64]) -> Self {
        Self::with_caps(label, words, &[])
    }

    /// A message of words and capabilities; what no message has room for is left out.
    pub fn with_caps(label: u64, words: &'a [u64], caps: &'a [CPtr]) -> Self {
        let words = words.get(..120).unwrap_or(words);
        let caps = caps.get(..3).unwrap_or(caps);
        Self {
            info: MessageInfo::new(label, 0, caps.len() as u64, words.len() as u64),
            words,
            caps,
        }
    }

    /// Puts into the IPC buffer what does not travel in registers, and returns what does.
    #[inline]
    fn pack(&self) -> (u64, [u64; MSG_REGISTERS as usize]) {
        let mut mrs = [0; MSG_REGISTERS as usize];
        for (index, &word) in self.words.iter().enumerate() {
            match mrs.get_mut(index) {
                Some(register) => *register = word,
                None => ipc_buffer().set_message_register(index, word),
            }
        }
        for (index, &cap) in self.caps.iter().enumerate() {
            ipc_buffer().set_cap(index, cap);
        }
        (self.info.word(), mrs)
    }
}

/// What was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Badge of the sender's capability, or the signals.
    pub badge: u64,
    /// Describes the message.
    pub info: MessageInfo,
    /// Message registers 0 to 3; those beyond the length mean nothing.
    pub mrs: [u64; MSG_REGISTERS as usize],
}

impl Received {
    /// The label.
    pub fn label(&self) -> u64 {
        self.info.label()
    }

    /// Number of words.
    pub fn length(&self) -> usize {
        self.info.message_length() as usize
    }

    /// Word `index`, 0 when the message has not so many. Those from the fourth on are read from the IPC buffer: before the next
    /// system call of this thread.
    pub fn word(&self, index: usize) -> u64 {
        if index >= self.length() {
            return 0;
        }
        match self.mrs.get(index) {
            Some(register) => *register,
            None => ipc_buffer().message_register(index),
        }
    }
}

#[inline]
fn call(syscall: Syscall, cptr: CPtr, info: u64, mrs: [u64; MSG_REGISTERS as usize]) -> Received {
    let out = trap(
        syscall.number(),
        Registers {
            a0: cptr,
            info,
            mrs,
        },
    );
    Received {
        badge: out.a0,
        info: MessageInfo::from_word(out.info),
        mrs: out.mrs,
    }
}

/// Sends, waiting for a receiver. A capability that is missing or may not send is a fault of the thread.
pub fn send(cptr: CPtr, message: &Message<'_>) {
    let (info, mrs) = message.pack();
    call(Syscall::Send, cptr, info, mrs);
}

/// Sends if a receiver waits; otherwise, or if it may not, nothing happens.
pub fn nb_send(cptr: CPtr, message: &Message<'_>) {
    let (info, mrs) = message.pack();
    call(Syscall::NBSend, cptr, info, mrs);
}

/// Sends to any capability and waits for the reply.
pub fn call_raw(cptr: CPtr, message: &Message<'_>) -> Received {
    let (info, mrs) = message.pack();
    call(Syscall::Call, cptr, info, mrs)
}

/// Receives, waiting for a sender.
pub fn recv(cptr: CPtr) -> Received {
    call(Syscall::Recv, cptr, 0, [0; 4])
}

/// Receives if a sender waits; otherwise the badge is 0.
pub fn nb_recv(cptr: CPtr) -> Received {
    call(Syscall::NBRecv, cptr, 0, [0; 4])
}

/// Waits for a signal and returns its word.
pub fn wait(notification: Notification) -> u64 {
    recv(notification.cptr()).badge
}

/// Replies to the last caller that this thread received from.
pub fn reply(message: &Message<'_>) {
    let (info, mrs) = message.pack();
    call(Syscall::Reply, 0, info, mrs);
}

/// [`reply`], then [`recv`], in one call.
pub fn reply_recv(cptr: CPtr, message: &Message<'_>) -> Received {
    let (info, mrs) = message.pack();
    call(Syscall::ReplyRecv, cptr, info, mrs)
}

/// Gives up the rest of the time slice.
pub fn yield_now() {
    call(Syscall::Yield, 0, 0, [0; 4]);
}

impl Endpoint {
    /// Sends, waiting for a receiver.
    pub fn send(self, message: &Message<'_>) {
        send(self.cptr(), message);
    }

    /// Sends if a receiver waits.
    pub fn nb_send(self, message: &Message<'_>) {
        nb_send(self.cptr(), message);
    }

    /// Sends and waits for the reply.
    pub fn call(self, message: &Message<'_>) -> Received {
        call_raw(self.cptr(), message)
    }

    /// Receives, waiting for a sender.
    pub fn recv(self) -> Received {
        recv(self.cptr())
    }

    /// Receives if a sender waits; otherwise the badge is 0.
    pub fn nb_recv(self) -> Received {
        nb_recv(self.cptr())
    }

    /// Replies to the last caller, then receives.
    pub fn reply_recv(self, message: &Message<'_>) -> Received {
        reply_recv(self.cptr(), message)
    }
}

impl Notification {
    /// Adds this capability's badge to the word, and wakes a waiter.
    pub fn signal(self) {
        send(self.cptr(), &Message::new(0, &[]));
    }

    /// Waits until the word is not 0, and takes it.
    pub fn wait(self) -> u64 {
        wait(self)
    }

    /// Takes the word, 0 when nothing was signalled.
    pub fn poll(self) -> u64 {
        nb_recv(self.cptr()).badge
    }
}
