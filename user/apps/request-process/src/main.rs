//! The program of all processes of the request root task: a server that gives back what it gets, and clients that call it and count
//! instructions. Its first arguments are what it is to do, and over which transport.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod client;
mod mirror;
#[path = "../../request/src/shared.rs"]
#[allow(dead_code, reason = "the root task uses the rest")]
mod shared;

use baton_inbox::{Dispatched, OneLane, OneRing, Publication, TailWord};
use baton_platform::{NodeConfig, UserNode};
use baton_rpc::{Config, Mode};
use baton_runtime::StartInfo;
use baton_runtime::sel4::abi::TCB_FLAG_FPU_DISABLED;
use shared::{CREDITS, Way, mode, role};

baton_runtime::process!(main);

/// Clients of a server at most.
const MAX_CLIENTS: usize = 16;
/// Task entries beside those for handlers.
const SPARE_TASKS: usize = 32;

fn main(info: &'static StartInfo) -> u64 {
    // What is compared with is measured without floating point, too. Refused by a kernel that does not know the flag.
    if let Err(error) = info.tcb().set_flags(0, TCB_FLAG_FPU_DISABLED) {
        panic!("the floating-point unit cannot be left out: {error}");
    }
    match Way::from_number(info.argument(1)) {
        Some(Way::Lanes) => run::<TailWord>(info),
        Some(Way::LanesDispatcher) => run::<Dispatched<TailWord>>(info),
        Some(Way::Pairs) => run::<Dispatched<OneLane<TailWord>>>(info),
        Some(Way::PairsDirect) => run::<OneLane<TailWord>>(info),
        Some(Way::Shared) => run::<OneRing>(info),
        Some(Way::SharedDispatcher) => run::<Dispatched<OneRing>>(info),
        None => panic!("there is no transport {}", info.argument(1)),
    }
}

fn run<U: Publication>(info: &'static StartInfo) -> u64 {
    let (role, mode) = (info.argument(0), mode_of(info.argument(2)));
    let handlers = if role == role::SERVER { MAX_CLIENTS } else { 1 };
    let config = NodeConfig {
        config: Config {
            tasks: handlers * CREDITS as usize + SPARE_TASKS,
            ..Config::default()
        },
        ..NodeConfig::default()
    };
    let node = match UserNode::<U>::start(info, config) {
        Ok(node) => node,
        Err(error) => panic!("no node: {error}"),
    };
    match role {
        role::SERVER => mirror::serve(info, &node, mode),
        role::CLIENT => client::measure(info, &node, mode),
        other => panic!("there is no role {other}"),
    }
}

fn mode_of(number: u64) -> Mode {
    match number {
        mode::PARK => Mode::Park,
        mode::YIELD => Mode::Adaptive,
        mode::POLL => Mode::Poll,
        other => panic!("there is no mode {other}"),
    }
}
