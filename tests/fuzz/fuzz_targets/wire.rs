//! Arbitrary words as values, headers and events; see [`baton_fuzz::wire`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| baton_fuzz::wire::run(input));
