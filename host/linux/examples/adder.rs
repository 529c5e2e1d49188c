//! The first service of the README: run it once with `serve`, and then without.

use baton_linux::{Grants, LinuxNode, NodeConfig, ServiceName, Wants};
use baton_rpc::{Band, Mode, service};
use std::{error::Error, rc::Rc};

#[service]
trait Adder {
    async fn add(&self, left: u64, right: u64) -> u64;
}

struct Plain;

impl Adder for Plain {
    async fn add(&self, left: u64, right: u64) -> u64 {
        left.wrapping_add(right)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let name = ServiceName::new("adder")?;
    let node = LinuxNode::start(NodeConfig::default())?;
    let handle = node.handle();
    if std::env::args().nth(1).as_deref() == Some("serve") {
        let grants = Grants {
            max_credits: 16,
            ..Grants::default()
        };
        handle.serve(&name, Rc::new(AdderServer(Plain)), grants, Band::NORMAL)?;
        // Until the last client has gone.
        node.run_until(Mode::Adaptive, handle.idle())?;
    } else {
        let wants = Wants {
            credits: 16,
            ..Wants::default()
        };
        let client = handle.connect(&name, AdderServer::<Plain>::INTERFACE, &wants)?;
        let sum = node.run_until(Mode::Adaptive, AdderClient::new(client).add(2, 3))??;
        println!("2 + 3 = {sum}");
    }
    Ok(())
}
