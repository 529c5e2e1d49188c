//! Broken records of the kernel; see [`baton_fuzz::kernel_records`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| baton_fuzz::kernel_records::run(input));
