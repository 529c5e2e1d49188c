//! Random programs of tasks; see [`baton_fuzz::executor`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| baton_fuzz::executor::run(input));
