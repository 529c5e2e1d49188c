//! The program of all processes of the pages root task. Its first argument is what it is to do; its exit code says how that went.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod client;
mod errors;
mod memory;
mod meter;
mod server;
#[path = "../../pages/src/shared.rs"]
#[allow(dead_code, reason = "the root task uses the rest")]
mod shared;
mod work;

use baton_memory::MemoryClient;
use baton_platform::{NodeConfig, ServiceCap, User, UserHandle, UserNode, Wants};
use baton_rpc::{Config, Mode, Service};
use baton_runtime::sel4::Message;
use baton_runtime::{StartInfo, println};
use shared::{CREDITS, role};

baton_runtime::process!(main);

fn main(info: &'static StartInfo) -> u64 {
    let config = NodeConfig {
        config: Config {
            // Enough for the handlers of 15 clients, so that no client is turned away.
            tasks: 1024,
            timers: 8,
            quantum: 64,
        },
        ..NodeConfig::default()
    };
    let node = match UserNode::start(info, config) {
        Ok(node) => node,
        Err(error) => panic!("no node: {error}"),
    };
    let process = Process { info, node };
    match info.argument(0) {
        role::SERVER => server::run(&process),
        role::CLIENT => client::run(&process),
        role::LOOPER => client::run_on(&process),
        role::GREEDY => errors::run(&process),
        role::TRESPASSER => client::trespass(&process),
        role::METER => meter::run(&process),
        other => panic!("there is no role {other}"),
    }
}

/// This process.
pub struct Process {
    info: &'static StartInfo,
    node: UserNode,
}

/// What a client calls.
pub type Server = MemoryClient<User>;

impl Process {
    fn run<F: Future>(&self, future: F) -> F::Output {
        match self.node.run_until(Mode::Park, future) {
            Ok(output) => output,
            Err(error) => panic!("the node does not run: {error}"),
        }
    }

    /// Says words to the root task.
    fn say(&self, what: u64, words: &[u64]) {
        self.info.parent().send(&Message::new(what, words));
    }

    fn connected(&self) -> (UserHandle, Server) {
        let handle = self.node.handle();
        let wants = Wants {
            credits: CREDITS,
            ..Wants::default()
        };
        let interface = <server::Interface as Service<User>>::INTERFACE;
        match handle.connect(ServiceCap::given(0), interface, &wants) {
            Ok(client) => (handle, Server::new(client)),
            Err(error) => panic!("no connection: {error}"),
        }
    }
}

/// Prints what went wrong, and gives the exit code for it.
fn wrong(what: impl core::fmt::Display) -> u64 {
    println!("{what}");
    shared::code::WRONG
}
