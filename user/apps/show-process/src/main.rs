//! The program of all processes of the show root task: a service that adds two numbers, and its clients. Its first argument is what it
//! is to do.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod inbox;
#[path = "../../show/src/shared.rs"]
#[allow(dead_code, reason = "the root task uses the rest")]
mod shared;
mod synchronous;
#[path = "../../show/src/system_calls.rs"]
mod system_calls;

use baton_inbox::{Dispatched, TailWord};
use baton_runtime::StartInfo;
use shared::{role, transport};

baton_runtime::process!(main);

fn main(info: &'static StartInfo) -> u64 {
    match (info.argument(0), info.argument(1)) {
        (role::SYNC_SERVER, _) => synchronous::serve(info.given(0)),
        (role::SYNC_CLIENT, requests) => synchronous::ask(info, requests),
        (role::SERVER, transport::LANES) => inbox::serve::<TailWord>(info),
        (role::SERVER, transport::PAIRS) => inbox::serve::<Dispatched<TailWord>>(info),
        (role::CLIENT, transport::LANES) => inbox::ask::<TailWord>(info),
        (role::CLIENT, transport::PAIRS) => inbox::ask::<Dispatched<TailWord>>(info),
        (role, transport) => panic!("there is no role {role} over transport {transport}"),
    }
}
