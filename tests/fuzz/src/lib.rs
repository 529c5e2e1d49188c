//! What the fuzz targets do, one module a target.
//!
//! Purpose: DESIGN.md section 10 under a fuzzer. Each target reads its input as a program, a byte for what to do and then
//! what it needs, so that inputs can be written by hand (`seeds/`) and mutated with effect.
//!
//! Invariants: one thread decides everything, and no clock, so that an input does the same each time it is run; every loop has a
//! bound, and reaching it is a finding.
//!
//! | target | who lies | what must hold |
//! | --- | --- | --- |
//! | [`hostile_peer`] | a client | the server goes on, honest clients get what they asked for |
//! | [`client_side`] | a server | calls end, calls to others are not confused |
//! | [`wire`], [`handshake`] | bytes | they decode to a value or to an error |
//! | [`executor`] | nobody | each task that was woken is polled, nothing is touched after its end |
//! | [`kernel_calls`] | user threads | the kernel's records stay in order |
//! | [`kernel_records`] | the kernel's own records | the kernel goes on, with wrong results, or stops |
#![forbid(unsafe_code)]

pub mod client_side;
pub mod desk;
pub mod executor;
pub mod handshake;
pub mod hostile;
pub mod hostile_peer;
pub mod input;
pub mod kernel_calls;
pub mod kernel_records;

pub mod wire;
