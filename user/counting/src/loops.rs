//! Loops of system calls.
//!
//! They are written out, so that it is known how many instructions of user mode a round has; those belong to what is measured, as they
//! do in a program. Each function that counts reads the counter before its first round and behind its last.

use crate::pair::Fpu;
use baton_sel4_abi::Syscall;
use core::arch::asm;

/// Picks the form with the floating-point instruction or without.
macro_rules! with_fpu {
    ($fpu:expr, $body:ident) => {
        match $fpu {
            Fpu::Leave => $body!(""),
            Fpu::Use => $body!("fadd.d ft0, ft0, ft0"),
        }
    };
}

/// Calls `endpoint` with `info` (and 0 in the message registers) `rounds` times, at least once; returns the instructions of all. The
/// client has 4 beside the system call (5 when it uses floating point).
pub fn call_repeatedly(fpu: Fpu, endpoint: u64, info: u64, rounds: u64) -> u64 {
    exchange_repeatedly(fpu, Syscall::Call, endpoint, info, rounds)
}

/// Makes the call, which sends `info` (and 0 in the message registers) and receives, `rounds` times.
fn exchange_repeatedly(fpu: Fpu, call: Syscall, endpoint: u64, info: u64, rounds: u64) -> u64 {
    let (start, end): (u64, u64);
    macro_rules! repeat {
        ($use:literal) => {
            // SAFETY: system calls that send and receive words; registers that change are given up, the stack is not touched.
            unsafe {
                asm!(
                    "rdinstret {start}",
                    "2:",
                    "mv   a0, {endpoint}",
                    "mv   a1, {info}",
                    "ecall",
                    $use,
                    "addi {rounds}, {rounds}, -1",
                    "bgtz {rounds}, 2b",
                    "rdinstret {end}",
                    start = out(reg) start,
                    end = lateout(reg) end,
                    endpoint = in(reg) endpoint,
                    info = in(reg) info,
                    rounds = inout(reg) rounds as i64 => _,
                    in("a7") call.number(),
                    out("a0") _,
                    out("a1") _,
                    inout("a2") 0_u64 => _,
                    inout("a3") 0_u64 => _,
                    inout("a4") 0_u64 => _,
                    inout("a5") 0_u64 => _,
                    out("ft0") _,
                    options(nostack),
                )
            }
        };
    }
    with_fpu!(fpu, repeat);
    end - start
}

/// Answers all calls of `endpoint` with `info` and the words that came. The server has 3 instructions a round beside the system
/// call (4 when it uses floating point). What must outlive a call is in registers that no call changes.
pub fn serve(fpu: Fpu, endpoint: u64, info: u64) -> ! {
    macro_rules! repeat {
        ($use:literal) => {
            // SAFETY: as in `exchange_repeatedly`; it never ends.
            unsafe {
                asm!(
                    "mv   a0, s2",
                    "ecall",
                    "li   a7, {reply_recv}",
                    "2:",
                    $use,
                    "mv   a0, s2",
                    "mv   a1, s3",
                    "ecall",
                    "j    2b",
                    in("s2") endpoint,
                    in("s3") info,
                    reply_recv = const Syscall::ReplyRecv.number(),
                    in("a7") Syscall::Recv.number(),
                    options(noreturn, nostack),
                )
            }
        };
    }
    with_fpu!(fpu, repeat)
}

/// Calls `endpoint` with `info` for ever. 3 instructions a round beside the system call (4 with floating point).
pub fn call_forever(fpu: Fpu, endpoint: u64, info: u64) -> ! {
    macro_rules! repeat {
        ($use:literal) => {
            // SAFETY: as in `serve`.
            unsafe {
                asm!(
                    "2:",
                    "mv   a0, s2",
                    "mv   a1, s3",
                    "ecall",
                    $use,
                    "j    2b",
                    in("s2") endpoint,
                    in("s3") info,
                    in("a7") Syscall::Call.number(),
                    options(noreturn, nostack),
                )
            }
        };
    }
    with_fpu!(fpu, repeat)
}

/// Answers `rounds` calls of `endpoint`, at least one, with `info` and the words that came, each time receiving the next; the caller has received
/// the first, and the last that is received is answered by the next such loop. Returns the instructions of all. The server has 4 instructions a
/// round beside the system call (5 when it uses floating point).
pub fn serve_repeatedly(fpu: Fpu, endpoint: u64, info: u64, rounds: u64) -> u64 {
    exchange_repeatedly(fpu, Syscall::ReplyRecv, endpoint, info, rounds)
}

/// Yields `rounds` times, at least once; returns the instructions of all. 2 a round beside the system call (3 with floating point).
pub fn yield_repeatedly(fpu: Fpu, rounds: u64) -> u64 {
    let (start, end): (u64, u64);
    macro_rules! repeat {
        ($use:literal) => {
            // SAFETY: Yield changes nothing but who runs.
            unsafe {
                asm!(
                    "rdinstret {start}",
                    "2:",
                    "ecall",
                    $use,
                    "addi {rounds}, {rounds}, -1",
                    "bgtz {rounds}, 2b",
                    "rdinstret {end}",
                    start = out(reg) start,
                    end = lateout(reg) end,
                    rounds = inout(reg) rounds as i64 => _,
                    in("a7") Syscall::Yield.number(),
                    out("ft0") _,
                    options(nostack),
                )
            }
        };
    }
    with_fpu!(fpu, repeat);
    end - start
}

/// Yields for ever. 1 instruction a round beside the system call (2 with floating point).
pub fn yield_forever(fpu: Fpu) -> ! {
    macro_rules! repeat {
        ($use:literal) => {
            // SAFETY: as in `yield_repeatedly`; it never ends.
            unsafe {
                asm!(
                    "2:",
                    "ecall",
                    $use,
                    "j    2b",
                    in("a7") Syscall::Yield.number(),
                    options(noreturn, nostack),
                )
            }
        };
    }
    with_fpu!(fpu, repeat)
}

/// Signals `out` and waits for `back`, `rounds` times, at least once; returns the instructions of all. 7 a round beside the system calls (8 with
/// floating point).
pub fn signal_and_wait(fpu: Fpu, out: u64, back: u64, rounds: u64) -> u64 {
    let (start, end): (u64, u64);
    macro_rules! repeat {
        ($use:literal) => {
            // SAFETY: as in `exchange_repeatedly`.
            unsafe {
                asm!(
                    "rdinstret {start}",
                    "2:",
                    "li   a7, {send}",
                    "mv   a0, {out}",
                    "li   a1, 0",
                    "ecall",
                    "li   a7, {recv}",
                    "mv   a0, {back}",
                    "ecall",
                    $use,
                    "addi {rounds}, {rounds}, -1",
                    "bgtz {rounds}, 2b",
                    "rdinstret {end}",
                    start = out(reg) start,
                    end = lateout(reg) end,
                    out = in(reg) out,
                    back = in(reg) back,
                    rounds = inout(reg) rounds as i64 => _,
                    send = const Syscall::Send.number(),
                    recv = const Syscall::Recv.number(),
                    out("a0") _,
                    out("a1") _,
                    out("a2") _,
                    out("a3") _,
                    out("a4") _,
                    out("a5") _,
                    out("a7") _,
                    out("ft0") _,
                    options(nostack),
                )
            }
        };
    }
    with_fpu!(fpu, repeat);
    end - start
}

/// Waits for `signals`, and signals `answers` after each. 6 instructions a round beside the system calls (7 with floating point).
pub fn answer_signals(fpu: Fpu, signals: u64, answers: u64) -> ! {
    macro_rules! repeat {
        ($use:literal) => {
            // SAFETY: as in `serve`.
            unsafe {
                asm!(
                    "2:",
                    "li   a7, {recv}",
                    "mv   a0, s2",
                    "ecall",
                    $use,
                    "li   a7, {send}",
                    "mv   a0, s3",
                    "li   a1, 0",
                    "ecall",
                    "j    2b",
                    in("s2") signals,
                    in("s3") answers,
                    send = const Syscall::Send.number(),
                    recv = const Syscall::Recv.number(),
                    options(noreturn, nostack),
                )
            }
        };
    }
    with_fpu!(fpu, repeat)
}
