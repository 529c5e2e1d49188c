//! What a process tells its parent, on the endpoint to which the kernel sends its faults as well.
//!
//! A process that wants to can send the message of a fault that did not happen; it can only harm its own reputation by that.

use baton_sel4::abi::{MSG_MAX_LENGTH, fault};
use baton_sel4::{Endpoint, Fault, Message, Received};

/// Label: text to print, eight bytes a word; the first word is the number of bytes.
pub const PRINT: u64 = 0x100;
/// Label: as [`PRINT`], the text of a panic; the thread does not go on.
pub const PANIC: u64 = 0x101;
/// Label: the process has ended; one word, its code.
pub const EXIT: u64 = 0x102;

const MAX_TEXT: usize = (MSG_MAX_LENGTH as usize - 1) * 8;
const _: () = assert!(fault::cap::IP == 0);

/// Sends text, in as many messages as it takes.
pub fn print(parent: Endpoint, text: &str) {
    send_text(parent, PRINT, text);
}

/// Sends the text of a panic.
pub fn report_panic(parent: Endpoint, text: &str) {
    let text = text.get(..MAX_TEXT).unwrap_or(text);
    send_text(parent, PANIC, text);
}

fn send_text(parent: Endpoint, label: u64, text: &str) {
    for piece in text.as_bytes().chunks(MAX_TEXT) {
        let mut words = [0; MSG_MAX_LENGTH as usize];
        words[0] = piece.len() as u64;
        for (word, bytes) in words[1..].iter_mut().zip(piece.chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(eight);
        }
        let length = 1 + piece.len().div_ceil(8);
        parent.send(&Message::new(label, &words[..length]));
    }
}

/// Text that was received.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    bytes: [u8; MAX_TEXT],
    length: usize,
}

impl Text {
    /// The text of a message; call it before the next system call.
    pub fn from_message(received: &Received) -> Self {
        let length = (received.word(0) as usize).min(MAX_TEXT);
        let mut bytes = [0; MAX_TEXT];
        for (index, eight) in bytes.chunks_mut(8).enumerate().take(length.div_ceil(8)) {
            eight.copy_from_slice(&received.word(index + 1).to_le_bytes());
        }
        Self { bytes, length }
    }

    /// The text; what is not UTF-8 ends it.
    pub fn as_str(&self) -> &str {
        let bytes = &self.bytes[..self.length];
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
        }
    }
}

/// What a parent hears of a process.
#[derive(Debug)]
pub enum Event {
    /// It wants this printed.
    Print(Text),
    /// It has panicked.
    Panic(Text),
    /// It has ended.
    Exit {
        /// What its `main` returned.
        code: u64,
    },
    /// The kernel stopped a thread of it.
    Fault(Fault),
    /// Something that this protocol does not know.
    Other(Received),
}

impl Event {
    /// What a message means.
    pub fn from_message(received: Received) -> Self {
        match received.label() {
            PRINT => Self::Print(Text::from_message(&received)),
            PANIC => Self::Panic(Text::from_message(&received)),
            EXIT => Self::Exit {
                code: received.word(0),
            },
            _ => match Fault::from_message(&received) {
                Some(fault) => Self::Fault(fault),
                None => Self::Other(received),
            },
        }
    }
}
