//! Random system calls of user threads; see [`baton_fuzz::kernel_calls`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| baton_fuzz::kernel_calls::run(input));
