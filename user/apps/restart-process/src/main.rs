//! The program of all processes of the restart root task. Its first argument is what it is to do.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod client;
mod ledger;
mod saboteur;
#[path = "../../restart/src/shared.rs"]
#[allow(dead_code, reason = "the root task uses the rest")]
mod shared;

use baton_platform::{Grants, NodeConfig, ServiceNumber, UserNode, Wants};
use baton_rpc::{Band, Config, Mode};
use baton_runtime::StartInfo;
use baton_runtime::sel4::Message;
use shared::{FORWARDED, role, said};

baton_runtime::process!(main);

fn main(info: &'static StartInfo) -> u64 {
    let config = NodeConfig {
        config: Config {
            // The ledger may not have heard yet of the ends of as many servers as an inbox has connections.
            tasks: 64 * FORWARDED as usize + 256,
            timers: 16,
            quantum: 64,
        },
        ..NodeConfig::default()
    };
    let node = match UserNode::start(info, config) {
        Ok(node) => node,
        Err(error) => panic!("no node: {error}"),
    };
    match info.argument(0) {
        role::LEDGER => ledger::keep(info, &node),
        role::SERVER => ledger::serve(info, &node),
        role::CLIENT => client::run(info, &node),
        role::SABOTEUR => saboteur::run(info, &node),
        other => panic!("there is no role {other}"),
    }
}

/// Runs `future` to its end.
fn drive<F: Future>(node: &UserNode, future: F) -> F::Output {
    match node.run_until(Mode::Park, future) {
        Ok(output) => output,
        Err(error) => panic!("the node does not run: {error}"),
    }
}

fn wants(credits: u32) -> Wants {
    Wants {
        credits,
        ..Wants::default()
    }
}

/// Serves the service that the root task has said, until the process is killed.
fn serve<S>(info: &StartInfo, node: &UserNode, service: S) -> u64
where
    S: baton_rpc::Service<baton_platform::User>,
{
    let handle = node.handle();
    let number = ServiceNumber(info.argument(1) as u32);
    let grants = Grants {
        max_credits: FORWARDED,
        ..Grants::default()
    };
    let service = alloc::rc::Rc::new(service);
    if let Err(error) = handle.serve(number, service, &grants, Band::NORMAL) {
        panic!("cannot serve: {error}");
    }
    info.parent().send(&Message::new(said::READY, &[]));
    drive(node, core::future::pending::<u64>())
}
