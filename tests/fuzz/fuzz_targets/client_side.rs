//! A client whose server is hostile; see [`baton_fuzz::client_side`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| baton_fuzz::client_side::run(input));
