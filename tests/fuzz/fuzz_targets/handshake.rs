//! Arbitrary bytes as messages of the handshake; see [`baton_fuzz::handshake`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| baton_fuzz::handshake::run(input));
