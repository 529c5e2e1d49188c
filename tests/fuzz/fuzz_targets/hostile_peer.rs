//! A server with one hostile client among honest ones; see [`baton_fuzz::hostile_peer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| baton_fuzz::hostile_peer::run(input));
