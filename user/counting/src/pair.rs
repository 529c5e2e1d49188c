//! Two readings of the counter, with a system call between them or nothing.

use core::arch::asm;

/// Whether a side uses the floating-point unit in each round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fpu {
    /// It does not.
    Leave,
    /// It does, directly after the system call: what a kernel puts off until then is counted as well.
    Use,
}

/// Registers `a0` to `a6`.
pub type Words = [u64; 7];

/// A system call with the counter's values around it.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Instructions retired before the `ecall`.
    pub start: u64,
    /// Instructions retired behind it.
    pub end: u64,
    /// `a0` to `a6` as the kernel has left them.
    pub a: Words,
}

/// Instructions between two readings, less those of an empty pair.
///
/// # Panics
/// When there are fewer than that: then it was not the same side that was counted, or not the same thing.
#[inline]
pub fn between(start: u64, end: u64, empty: u64) -> u64 {
    match end
        .checked_sub(start)
        .and_then(|all| all.checked_sub(empty))
    {
        Some(instructions) => instructions,
        None => panic!("an empty pair of {empty} instructions between {start} and {end}"),
    }
}

macro_rules! pair {
    ($number:ident, $a:ident, $($between:literal),*) => {{
        let (start, end): (u64, u64);
        // SAFETY: the kernel changes a0 to a5 only, and memory only in the IPC buffer or where a capability that this process
        // invokes says so, as with every system call of `baton-sel4`; ft0 is given up. The stack is not touched.
        unsafe {
            asm!(
                "rdinstret {start}",
                $($between,)*
                "rdinstret {end}",
                start = out(reg) start,
                end = lateout(reg) end,
                in("a7") $number,
                inlateout("a0") $a[0],
                inlateout("a1") $a[1],
                inlateout("a2") $a[2],
                inlateout("a3") $a[3],
                inlateout("a4") $a[4],
                inlateout("a5") $a[5],
                inlateout("a6") $a[6],
                out("ft0") _,
                options(nostack),
            );
        }
        Pair { start, end, a: $a }
    }};
}

/// Makes a system call.
#[inline(always)]
pub fn call(fpu: Fpu, number: i64, mut a: Words) -> Pair {
    match fpu {
        Fpu::Leave => pair!(number, a, "ecall"),
        Fpu::Use => pair!(number, a, "ecall", "fadd.d ft0, ft0, ft0"),
    }
}

/// Makes none: the instructions that [`call`] has beside it, for a thread that has the floating-point unit if it uses it.
pub fn empty_pair(fpu: Fpu) -> u64 {
    let once = || {
        let (number, mut a) = (0_i64, [0; 7]);
        let pair = match fpu {
            Fpu::Leave => pair!(number, a,),
            Fpu::Use => pair!(number, a, "fadd.d ft0, ft0, ft0"),
        };
        pair.end - pair.start
    };
    // The first may be the one by which the thread gets the unit, and a timer interrupt may come.
    (1..EMPTY_PAIRS).fold(once(), |least, _| least.min(once()))
}

/// Of so many the shortest is taken.
const EMPTY_PAIRS: usize = 8;

/// The time, in ticks of the machine's timebase.
#[inline(always)]
pub fn time() -> u64 {
    let now;
    // SAFETY: only reads a counter.
    unsafe { asm!("rdtime {0}", out(reg) now, options(nomem, nostack, preserves_flags)) };
    now
}

/// Instructions retired so far.
#[inline(always)]
pub fn instret() -> u64 {
    let count;
    // SAFETY: only reads a counter.
    unsafe { asm!("rdinstret {0}", out(reg) count, options(nomem, nostack, preserves_flags)) };
    count
}

/// The calling thread's pointer to its area (`tp`).
#[inline(always)]
pub fn thread_pointer() -> u64 {
    let pointer;
    // SAFETY: only reads a register.
    unsafe { asm!("mv {0}, tp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    pointer
}
