//! The way into the kernel and out of it, in assembly.
//!
//! `_start` is entered by the loader with paging on. `trap_entry` is entered by every trap: it saves all registers in
//! the running thread's context and calls the Rust code of `trap.rs`, which returns the address of the context
//! that is to go on. Every way out ends in `restore`.
//!
//! Contexts are as `baton_kernel_mem::Context` lays them out: word N is register xN; word 0 is where the trap
//! happened, word 32 where the thread goes on.

use core::arch::global_asm;

unsafe extern "C" {
    /// Where traps go. Not to be called from Rust.
    pub fn trap_entry();
}

global_asm!(
    // The registers of the boot protocol are the arguments of `start`, all eight of them.
    ".pushsection .text.entry, \"ax\"",
    ".globl _start",
    "_start:",
    "   la    sp, __stack_top",
    "   call  {start}",
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
    "   la    sp, __stack_top",
    "   call  {syscall}",
    "   j     restore",
    // Anything else: the thread tries again.
    "2: sd    x6, 32*8(sp)",
    "   mv    a0, x5",
    "   csrr  a1, stval",
    "   la    sp, __stack_top",
    "   call  {other}",
    //
    // Goes on with the context at a0.
    "restore:",
    "   csrw  sscratch, a0",
    "   mv    sp, a0",
    "   ld    x5, 32*8(sp)",
    "   csrw  sepc, x5",
    // Breaks the reservation of a load-reserved, or the next thread's store-conditional could succeed with it. It never
    // stores: the kernel makes no reservation, and a user's lies elsewhere.
    "   sc.w  zero, zero, (sp)",
    "   ld    x1, 1*8(sp)",
    "   ld    x3, 3*8(sp)",
    "   ld    x4, 4*8(sp)",
    "   ld    x5, 5*8(sp)",
    "   ld    x6, 6*8(sp)",
    "   ld    x7, 7*8(sp)",
    "   ld    x8, 8*8(sp)",
    "   ld    x9, 9*8(sp)",
    "   ld    x10, 10*8(sp)",
    "   ld    x11, 11*8(sp)",
    "   ld    x12, 12*8(sp)",
    "   ld    x13, 13*8(sp)",
    "   ld    x14, 14*8(sp)",
    "   ld    x15, 15*8(sp)",
    "   ld    x16, 16*8(sp)",
    "   ld    x17, 17*8(sp)",
    "   ld    x18, 18*8(sp)",
    "   ld    x19, 19*8(sp)",
    "   ld    x20, 20*8(sp)",
    "   ld    x21, 21*8(sp)",
    "   ld    x22, 22*8(sp)",
    "   ld    x23, 23*8(sp)",
    "   ld    x24, 24*8(sp)",
    "   ld    x25, 25*8(sp)",
    "   ld    x26, 26*8(sp)",
    "   ld    x27, 27*8(sp)",
    "   ld    x28, 28*8(sp)",
    "   ld    x29, 29*8(sp)",
    "   ld    x30, 30*8(sp)",
    "   ld    x31, 31*8(sp)",
    "   ld    x2, 2*8(sp)",
    "   sret",
    //
    // A trap inside the kernel. Its stack cannot be trusted any more, and nothing goes back: start it anew.
    "3: la    sp, __stack_top",
    "   csrr  a0, scause",
    "   csrr  a1, stval",
    "   csrr  a2, sepc",
    "   call  {broken}",
    ".popsection",
    start = sym crate::boot::start,
    syscall = sym crate::trap::syscall,
    other = sym crate::trap::other,
    broken = sym crate::trap::broken,
    ecall = const crate::trap::CAUSE_ECALL,
);
