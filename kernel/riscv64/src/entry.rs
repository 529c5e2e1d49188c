//! The way into the kernel and out of it, in assembly.
//!
//! `_start` is entered by the loader with paging on. `trap_entry` is entered by every trap: it saves all registers in
//! the running thread's context and calls the Rust code of `trap.rs`, which returns the address of the context
//! that is to go on. Every way out ends in `restore`, or, from the fast path, in its second half.
//!
//! Contexts are as `baton_kernel_mem::Context` lays them out: word N is register xN; word 0 is where the trap
//! happened, word 32 where the thread goes on.

use core::arch::global_asm;

use baton_sel4_abi::{BatonCall, Syscall};

unsafe extern "C" {
    /// Where traps go. Not to be called from Rust.
    pub fn trap_entry();
    /// The second half of the way out. To be jumped to from `trap.rs` alone.
    pub fn restore_message();
}

global_asm!(
    // The registers of the boot protocol are the arguments of `start`, all eight of them.
    ".pushsection .text.entry, \"ax\"",
    ".globl _start",
    "_start:",
    "   la    sp, __stack_top",
    "   jal   {start}",
    "   j     restore",
    //
    ".balign 4",
    ".globl trap_entry",
    "trap_entry:",
    "   csrrw sp, sscratch, sp",
    // Zero while the kernel runs: the kernel itself has made a mistake.
    "   beqz  sp, 3f",
    "   sd    x1, 1*8(sp)",
    "   sd    x3, 3*8(sp)",
    "   sd    x4, 4*8(sp)",
    "   sd    x5, 5*8(sp)",
    "   sd    x6, 6*8(sp)",
    "   csrr  x5, scause",
    "   csrr  x6, sepc",
    "   sd    x7, 7*8(sp)",
    "   sd    x8, 8*8(sp)",
    "   sd    x9, 9*8(sp)",
    "   sd    x10, 10*8(sp)",
    "   sd    x11, 11*8(sp)",
    "   sd    x12, 12*8(sp)",
    "   sd    x13, 13*8(sp)",
    "   sd    x14, 14*8(sp)",
    "   sd    x15, 15*8(sp)",
    "   sd    x16, 16*8(sp)",
    "   sd    x17, 17*8(sp)",
    "   sd    x18, 18*8(sp)",
    "   sd    x19, 19*8(sp)",
    "   sd    x20, 20*8(sp)",
    "   sd    x21, 21*8(sp)",
    "   sd    x22, 22*8(sp)",
    "   sd    x23, 23*8(sp)",
    "   sd    x24, 24*8(sp)",
    "   sd    x25, 25*8(sp)",
    "   sd    x26, 26*8(sp)",
    "   sd    x27, 27*8(sp)",
    "   sd    x28, 28*8(sp)",
    "   sd    x29, 29*8(sp)",
    "   sd    x30, 30*8(sp)",
    "   sd    x31, 31*8(sp)",
    "   csrrw x7, sscratch, zero",
    "   sd    x7, 2*8(sp)",
    "   sd    x6, 0*8(sp)",
    "   li    x7, {ecall}",
    "   bne   x5, x7, 2f",
    // A system call: the thread goes on behind it.
    "   addi  x6, x6, 4",
    "   sd    x6, 32*8(sp)",
    // Its arguments are where the user had them; the words of the message are in the context.
    "   mv    a2, sp",
    "   la    sp, __stack_top",
    "   addi  x7, a7, {not_call}",
    "   beqz  x7, 4f",
    "   addi  x7, a7, {not_reply_recv}",
    "   beqz  x7, 5f",
    "   addi  x7, a7, {not_send}",
    "   beqz  x7, 6f",
    "   addi  x7, a7, {not_signal_park}",
    "   beqz  x7, 7f",
    "   jal   {syscall}",
    //
    // Goes on with the context at a0.
    "restore:",
    "   mv    x5, a0",
    "   ld    x10, 10*8(x5)",
    "   ld    x11, 11*8(x5)",
    //
    // Goes on with the context at t0, with a0 and a1 as they are.
    ".globl restore_message",
    "restore_message:",
    "   csrw  sscratch, x5",
    "   ld    x6, 32*8(x5)",
    "   csrw  sepc, x6",
    // Breaks the reservation of a load-reserved, or the next thread's store-conditional could succeed with it. It never
    // stores: the kernel makes no reservation, and a user's lies elsewhere.
    "   sc.w  zero, zero, (x5)",
    "   ld    x1, 1*8(x5)",
    "   ld    x2, 2*8(x5)",
    "   ld    x3, 3*8(x5)",
    "   ld    x4, 4*8(x5)",
    "   ld    x6, 6*8(x5)",
    "   ld    x7, 7*8(x5)",
    "   ld    x8, 8*8(x5)",
    "   ld    x9, 9*8(x5)",
    "   ld    x12, 12*8(x5)",
    "   ld    x13, 13*8(x5)",
    "   ld    x14, 14*8(x5)",
    "   ld    x15, 15*8(x5)",
    "   ld    x16, 16*8(x5)",
    "   ld    x17, 17*8(x5)",
    "   ld    x18, 18*8(x5)",
    "   ld    x19, 19*8(x5)",
    "   ld    x20, 20*8(x5)",
    "   ld    x21, 21*8(x5)",
    "   ld    x22, 22*8(x5)",
    "   ld    x23, 23*8(x5)",
    "   ld    x24, 24*8(x5)",
    "   ld    x25, 25*8(x5)",
    "   ld    x26, 26*8(x5)",
    "   ld    x27, 27*8(x5)",
    "   ld    x28, 28*8(x5)",
    "   ld    x29, 29*8(x5)",
    "   ld    x30, 30*8(x5)",
    "   ld    x31, 31*8(x5)",
    "   ld    x5, 5*8(x5)",
    "   sret",
    //
    // The system calls that have a fast path, which goes on at `restore_message`.
    "4: jal   {call}",
    "   j     restore",
    "5: jal   {reply_recv}",
    "   j     restore",
    "6: jal   {send}",
    "   j     restore",
    "7: jal   {signal_park}",
    "   j     restore",
    //
    // Anything but a system call: the thread tries again.
    "2: sd    x6, 32*8(sp)",
    "   mv    a0, x5",
    "   csrr  a1, stval",
    "   la    sp, __stack_top",
    "   jal   {other}",
    "   j     restore",
    //
    // A trap inside the kernel. Its stack cannot be trusted any more, and nothing goes back: start it anew.
    "3: la    sp, __stack_top",
    "   csrr  a0, scause",
    "   csrr  a1, stval",
    "   csrr  a2, sepc",
    "   jal   {broken}",
    ".popsection",
    start = sym crate::boot::start,
    syscall = sym crate::trap::syscall,
    call = sym crate::trap::call,
    reply_recv = sym crate::trap::reply_recv,
    send = sym crate::trap::send,
    signal_park = sym crate::trap::signal_park,
    not_call = const -Syscall::Call.number(),
    not_reply_recv = const -Syscall::ReplyRecv.number(),
    not_send = const -Syscall::Send.number(),
    not_signal_park = const -BatonCall::SignalPark.number(),
    other = sym crate::trap::other,
    broken = sym crate::trap::broken,
    ecall = const crate::trap::CAUSE_ECALL,
);
