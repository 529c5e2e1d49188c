//! Calls that debug kernels have. On a release kernel each is an unknown system call, and so a fault of the thread.

use crate::capability::{Capability, Tcb};
use crate::raw::{Registers, ipc_buffer, trap};
use baton_sel4_abi::{CPtr, Syscall};

fn call(syscall: Syscall, a0: u64) -> u64 {
    trap(
        syscall.number(),
        Registers {
            a0,
            ..Registers::default()
        },
    )
    .a0
}

/// Prints a byte on the kernel's console.
pub fn put_char(byte: u8) {
    call(Syscall::DebugPutChar, byte.into());
}

/// Prints all threads.
pub fn dump_scheduler() {
    call(Syscall::DebugDumpScheduler, 0);
}

/// Stops the machine.
pub fn halt() {
    call(Syscall::DebugHalt, 0);
}

/// The kind of a capability as a number, 0 when there is none; the numbers are the kernel's own.
pub fn cap_identify(cptr: CPtr) -> u64 {
    call(Syscall::DebugCapIdentify, cptr)
}

/// Prints the capability layout.
pub fn snapshot() {
    call(Syscall::DebugSnapshot, 0);
}

/// Names a thread, for what the kernel prints.
pub fn name_thread(thread: Tcb, name: &str) {
    // The string stands where the message registers are, with a zero behind it.
    let mut bytes = name.bytes().take(119 * 8);
    let mut index = 0;
    loop {
        let mut word = [0; 8];
        let mut ended = false;
        for byte in &mut word {
            match bytes.next() {
                Some(next) => *byte = next,
                None => {
                    ended = true;
                    break;
                }
            }
        }
        ipc_buffer().set_message_register(index, u64::from_le_bytes(word));
        if ended {
            break;
        }
        index += 1;
    }
    call(Syscall::DebugNameThread, thread.cptr());
}
