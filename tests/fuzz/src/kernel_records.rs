//! The same kernel with arbitrary words in its objects and slots: what comes of it may be wrong results or a clean stop, under
//! the address sanitizer never an access outside of what the machine has as memory.

use baton_kernel_fake::program::{hush_ends, run_records};

/// The whole input is the program.
pub fn run(input: &[u8]) {
    // Without this a clean stop would count as a finding: libFuzzer's hook ends the process at any panic.
    hush_ends();
    run_records(input);
}
