//! The program of all processes of the store root task. Its first argument is what it is to do.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod corpus;
mod recording;
mod roles;
#[path = "../../store/src/shared.rs"]
#[allow(dead_code, reason = "the root task uses the rest")]
mod shared;

use baton_runtime::StartInfo;

baton_runtime::process!(main);

fn main(info: &'static StartInfo) -> u64 {
    roles::run(info)
}
