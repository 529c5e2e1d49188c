//! What tests need that Rust does not say: all registers around a system call, the floating-point unit, accesses that fault.
//!
//! The one module of this program with `unsafe`, but for [`crate::harness`]'s hand-over to the thread that runs a case.

/// Registers `x1` to `x31` around a system call; entry 0 is not used, and `sp` (2) is left alone.
pub type AllRegisters = [u64; 32];

core::arch::global_asm!(
    // a0: the array. Saves what a function must keep, loads all registers but sp from the array, calls the kernel, stores them.
    ".pushsection .text.probe_all_registers, \"ax\", @progbits",
    ".globl probe_all_registers",
    "probe_all_registers:",
    "addi sp, sp, -144",
    "sd ra, 0(sp)",
    "sd gp, 8(sp)",
    "sd tp, 16(sp)",
    "sd s0, 24(sp)",
    "sd s1, 32(sp)",
    "sd s2, 40(sp)",
    "sd s3, 48(sp)",
    "sd s4, 56(sp)",
    "sd s5, 64(sp)",
    "sd s6, 72(sp)",
    "sd s7, 80(sp)",
    "sd s8, 88(sp)",
    "sd s9, 96(sp)",
    "sd s10, 104(sp)",
    "sd s11, 112(sp)",
    "sd a0, 120(sp)",
    "mv t6, a0",
    ".irp n, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
    "ld x\\n, (8 * \\n)(t6)",
    ".endr",
    "ld t6, (8 * 31)(t6)",
    "ecall",
    "sd t6, 128(sp)",
    "ld t6, 120(sp)",
    ".irp n, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30",
    "sd x\\n, (8 * \\n)(t6)",
    ".endr",
    "ld t5, 128(sp)",
    "sd t5, (8 * 31)(t6)",
    "ld ra, 0(sp)",
    "ld gp, 8(sp)",
    "ld tp, 16(sp)",
    "ld s0, 24(sp)",
    "ld s1, 32(sp)",
    "ld s2, 40(sp)",
    "ld s3, 48(sp)",
    "ld s4, 56(sp)",
    "ld s5, 64(sp)",
    "ld s6, 72(sp)",
    "ld s7, 80(sp)",
    "ld s8, 88(sp)",
    "ld s9, 96(sp)",
    "ld s10, 104(sp)",
    "ld s11, 112(sp)",
    "addi sp, sp, 144",
    "ret",
    ".popsection",
    // a0: word to watch, a1: rounds. Fills s and t registers, spins, and returns how many were changed meanwhile.
    ".pushsection .text.probe_spin, \"ax\", @progbits",
    ".globl probe_spin",
    "probe_spin:",
    "mv a2, a0",
    "mv a4, a1",
    "li a3, 0",
    "1:",
    "addi t0, a4, 11",
    "addi t1, a4, 22",
    "addi t2, a4, 33",
    "addi t3, a4, 44",
    "addi t4, a4, 55",
    "addi t5, a4, 66",
    "addi t6, a4, 77",
    "li a5, 64",
    "2:",
    "addi a5, a5, -1",
    "bnez a5, 2b",
    "addi t0, t0, -11",
    "addi t1, t1, -22",
    "addi t2, t2, -33",
    "addi t3, t3, -44",
    "addi t4, t4, -55",
    "addi t5, t5, -66",
    "addi t6, t6, -77",
    ".irp r, t0, t1, t2, t3, t4, t5, t6",
    "xor a6, \\r, a4",
    "or a3, a3, a6",
    ".endr",
    "ld a6, 0(a2)",
    "bnez a6, 3f",
    "addi a4, a4, 1",
    "j 1b",
    "3:",
    "mv a0, a3",
    "ret",
    ".popsection",
    // Returns 42: code to copy into a frame.
    ".pushsection .text.probe_code, \"ax\", @progbits",
    ".globl probe_code",
    ".balign 8",
    "probe_code:",
    ".option push",
    ".option norvc",
    "li a0, 42",
    "ret",
    ".option pop",
    ".popsection",
);

unsafe extern "C" {
    fn probe_all_registers(registers: *mut AllRegisters);
    fn probe_spin(stop: *const u64, seed: u64) -> u64;
}

/// Makes the system call that the registers say, with all of them set, and puts back what they are afterwards.
pub fn all_registers(registers: &mut AllRegisters) {
    // SAFETY: the function reads and writes the array only, and restores what it must keep.
    unsafe { probe_all_registers(registers) }
}

/// Fills registers and spins until `stop` is not 0; returns 0 unless one of them changed by itself.
pub fn spin_until(stop: &baton_runtime::sync::AtomicU64, seed: u64) -> u64 {
    // SAFETY: reads the word only, as whole aligned words, which an atomic permits.
    unsafe { probe_spin(stop.as_ptr(), seed) }
}

/// Instructions of a function that returns 42, for a frame.
pub const RETURN_42: [u32; 2] = [0x02a0_0513, 0x0000_8067];

/// Reads the word at `address`.
pub fn read(address: u64) -> u64 {
    // SAFETY: nothing that Rust knows of is there: a frame that the case mapped, or nothing, and then the access faults.
    unsafe { (address as *const u64).read_volatile() }
}

/// Writes the word at `address`.
pub fn write(address: u64, value: u64) {
    // SAFETY: as in `read`.
    unsafe { (address as *mut u64).write_volatile(value) }
}

/// Calls the code at `address`.
pub fn execute(address: u64) -> u64 {
    // SAFETY: the case put `RETURN_42` there, or nothing is there and the jump faults.
    let code: extern "C" fn() -> u64 = unsafe { core::mem::transmute(address as usize) };
    code()
}

/// An instruction that no processor has.
pub fn illegal_instruction() {
    // SAFETY: it faults; whoever resumes the thread sets where it goes on.
    unsafe { core::arch::asm!(".option push", ".option norvc", "unimp", ".option pop") }
}

/// A breakpoint.
pub fn breakpoint() {
    // SAFETY: as above.
    unsafe { core::arch::asm!(".option push", ".option norvc", "ebreak", ".option pop") }
}

/// The thread pointer.
pub fn thread_pointer() -> u64 {
    let tp;
    // SAFETY: only reads a register.
    unsafe {
        core::arch::asm!("mv {0}, tp", out(reg) tp, options(nostack, nomem, preserves_flags))
    };
    tp
}

macro_rules! fpu_registers {
    ($instruction:literal) => {
        concat!(
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n",
            $instruction, " f\\n, (8 * \\n)(a0)\n",
            ".endr\n"
        )
    };
}

/// Loads the floating-point registers and the control register.
pub fn load_fpu(values: &[u64; 32], fcsr: u64) {
    // SAFETY: reads 32 words; the compiled code of this program computes nothing with floating point.
    unsafe {
        core::arch::asm!(fpu_registers!("fld"), "fscsr {fcsr}", fcsr = in(reg) fcsr, in("a0") values, options(nostack, readonly));
    }
}

/// Stores the floating-point registers and returns the control register.
pub fn store_fpu(values: &mut [u64; 32]) -> u64 {
    let fcsr;
    // SAFETY: writes 32 words.
    unsafe {
        core::arch::asm!(fpu_registers!("fsd"), "frcsr {0}", out(reg) fcsr, in("a0") values, options(nostack));
    }
    fcsr
}
