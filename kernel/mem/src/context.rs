//! What a thread has in the processor while it runs: registers and floating point.

use core::cell::Cell;

/// Numbers of registers in a [`Context`]: the number the architecture gives them; 0, where the architecture has its
/// constant zero, is the program counter.
pub mod reg {
    /// The program counter of the last trap: where the thread is restarted.
    pub const PC: usize = 0;
    /// Return address.
    pub const RA: usize = 1;
    /// Stack pointer.
    pub const SP: usize = 2;
    /// Global pointer.
    pub const GP: usize = 3;
    /// Thread pointer: the base of thread-local storage.
    pub const TP: usize = 4;
    /// First of `t0`-`t2`.
    pub const T0: usize = 5;
    /// First of `s0`-`s1`.
    pub const S0: usize = 8;
    /// First of `a0`-`a7`: capability pointer in, badge out.
    pub const A0: usize = 10;
    /// Message info.
    pub const A1: usize = 11;
    /// First message register; the others are `a3`-`a5`.
    pub const A2: usize = 12;
    /// System-call number.
    pub const A7: usize = 17;
    /// First of `s2`-`s11`.
    pub const S2: usize = 18;
    /// First of `t3`-`t6`.
    pub const T3: usize = 28;
    /// The program counter at which the thread goes on when it is next run (no register of the architecture).
    pub const NEXT_PC: usize = 32;
}

/// A thread's registers, as the trap code saves and restores them.
///
/// On every trap the trap code writes `x1`-`x31` to words 1-31, `sepc` to [`reg::PC`], and to [`reg::NEXT_PC`] where the
/// thread goes on: `sepc + 4` after `ecall`, else `sepc`. On the way back it restores `x1`-`x31` and
/// goes to [`reg::NEXT_PC`].
#[repr(C)]
pub struct Context {
    words: [Cell<u64>; 33],
}

impl Context {
    /// Register `N` (see [`reg`]); the number is checked when this is compiled.
    #[inline(always)]
    pub fn get<const N: usize>(&self) -> u64 {
        const { assert!(N < 33) };
        self.words[N].get()
    }

    /// Sets register `N` (see [`reg`]).
    #[inline(always)]
    pub fn set<const N: usize>(&self, value: u64) {
        const { assert!(N < 33) };
        self.words[N].set(value);
    }

    /// The first four message registers, `a2` to `a5`.
    #[inline(always)]
    pub fn message(&self) -> &[Cell<u64>; 4] {
        const { assert!(reg::A2 + 4 <= 33) };
        let (_, from) = self.words.split_at(reg::A2);
        match from.first_chunk() {
            Some(words) => words,
            // The assertion above; the compiler leaves this out.
            None => unreachable!(),
        }
    }

    /// Register `number`, 0 if there is none of that number.
    #[inline]
    pub fn read(&self, number: usize) -> u64 {
        self.words.get(number).map_or(0, Cell::get)
    }

    /// Sets register `number`, if there is one of that number.
    #[inline]
    pub fn write(&self, number: usize, value: u64) {
        if let Some(word) = self.words.get(number) {
            word.set(value);
        }
    }
}

/// A thread's floating-point registers: `f0`-`f31`, then `fcsr`.
#[repr(C)]
pub struct FpuState {
    /// `f0`-`f31` as raw bits.
    pub registers: [Cell<u64>; 32],
    /// Rounding mode and flags.
    pub fcsr: Cell<u64>,
}
