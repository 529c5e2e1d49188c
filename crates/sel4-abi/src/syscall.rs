//! System calls: the number in `a7`.
//!
//! Source: reference manual, chapters 2 and 4; debug calls exist in debug kernels only and are unknown to others.

/// A system call of seL4 without MCS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i64)]
pub enum Syscall {
    /// Send, then wait for the reply.
    Call = -1,
    /// Reply to the last caller, then receive.
    ReplyRecv = -2,
    /// Send, waiting for a receiver.
    Send = -3,
    /// Send only if a receiver waits.
    NBSend = -4,
    /// Receive, waiting for a sender.
    Recv = -5,
    /// Reply to the last caller.
    Reply = -6,
    /// Give up the rest of the time slice.
    Yield = -7,
    /// Receive only if a sender waits.
    NBRecv = -8,
    /// Debug: print the character in `a0`.
    DebugPutChar = -9,
    /// Debug: print all threads.
    DebugDumpScheduler = -10,
    /// Debug: stop the machine.
    DebugHalt = -11,
    /// Debug: the kind of the capability `a0`, as a number; 0 if there is none.
    DebugCapIdentify = -12,
    /// Debug: print the capability layout.
    DebugSnapshot = -13,
    /// Debug: name the thread `a0` by the string in the IPC buffer's message.
    DebugNameThread = -14,
}

impl Syscall {
    /// Baton's own calls have this number and lower ones, so that seL4 has room to grow.
    pub const FIRST_OF_BATON: i64 = -64;

    /// The call of that number, debug calls included.
    pub const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            -1 => Self::Call,
            -2 => Self::ReplyRecv,
            -3 => Self::Send,
            -4 => Self::NBSend,
            -5 => Self::Recv,
            -6 => Self::Reply,
            -7 => Self::Yield,
            -8 => Self::NBRecv,
            -9 => Self::DebugPutChar,
            -10 => Self::DebugDumpScheduler,
            -11 => Self::DebugHalt,
            -12 => Self::DebugCapIdentify,
            -13 => Self::DebugSnapshot,
            -14 => Self::DebugNameThread,
            _ => return None,
        })
    }

    /// The number in `a7`.
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// Whether a release kernel does not have it.
    pub const fn is_debug(self) -> bool {
        self.number() <= Self::DebugPutChar.number()
    }
}
