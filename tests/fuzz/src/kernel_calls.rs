//! The kernel on the fake machine, whose user threads do what the input says: arbitrary registers, IPC buffers and layouts of
//! capabilities, several threads, interrupts in between. After each entry all records are looked at.

/// The whole input is the program.
pub fn run(input: &[u8]) {
    baton_kernel_fake::program::run_calls(input);
}
