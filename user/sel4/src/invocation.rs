//! Packs an invocation into a message, calls, and unpacks the answer.

use crate::error::Error;
use crate::raw::{Registers, ipc_buffer, trap};
use baton_sel4_abi::{CPtr, Label, MSG_REGISTERS, MessageInfo, Syscall};

/// The answer of an invocation that went well: message registers 0 to 3; further ones are in the IPC buffer.
pub(crate) type Answer = [u64; MSG_REGISTERS as usize];

/// Invokes `cptr`. The first four words go in registers, further ones and capabilities through the IPC buffer.
#[inline]
pub(crate) fn invoke(
    cptr: CPtr,
    label: Label,
    words: &[u64],
    caps: &[CPtr],
) -> Result<Answer, Error> {
    invoke_number(cptr, label.number(), words, caps)
}

/// [`invoke`] with the number of a label, which need not be one of seL4's.
#[inline]
pub(crate) fn invoke_number(
    cptr: CPtr,
    label: u64,
    words: &[u64],
    caps: &[CPtr],
) -> Result<Answer, Error> {
    let mut mrs = [0; MSG_REGISTERS as usize];
    for (index, &word) in words.iter().enumerate() {
        match mrs.get_mut(index) {
            Some(register) => *register = word,
            None => ipc_buffer().set_message_register(index, word),
        }
    }
    for (index, &cap) in caps.iter().enumerate() {
        ipc_buffer().set_cap(index, cap);
    }
    let info = MessageInfo::new(label, 0, caps.len() as u64, words.len() as u64);
    let out = trap(
        Syscall::Call.number(),
        Registers {
            a0: cptr,
            info: info.word(),
            mrs,
        },
    );
    let word = |index: usize| match out.mrs.get(index) {
        Some(register) => *register,
        None => ipc_buffer().message_register(index),
    };
    match Error::from_reply(MessageInfo::from_word(out.info).label(), word) {
        None => Ok(out.mrs),
        Some(error) => Err(error),
    }
}
