//! Does a fixed number of requests on one thread, both sides in turn, for callgrind to count.
use baton_inbox::InSlot;
use baton_inprocess::{Clock, Sizes, connect, node};
use baton_rpc::{Config, service};
use baton_trace::Ring;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

#[service]
trait Echo {
    async fn echo(&self, words: [u64; 6]) -> [u64; 6];
}

struct Plain;

impl Echo for Plain {
    async fn echo(&self, words: [u64; 6]) -> [u64; 6] {
        words
    }
}

fn main() {
    let args: Vec<u32> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let (clients, outstanding, rounds) = (args[0], args[1], args[2]);
    let trace = || Arc::new(Ring::new(64));
    let clock = || Clock::Machine(Instant::now());
    let (server, at_server) = node::<InSlot>(Config { tasks: 8192, ..Config::default() }, clock(), trace());
    let sizes = Sizes { credits: outstanding, back_credits: 0, request_bulk_bytes: 0, answer_bulk_bytes: 0 };
    let service = Rc::new(EchoServer(Plain));
    let mut nodes = Vec::new();
    for _ in 0..clients {
        let (a, at_a) = node::<InSlot>(Config::default(), clock(), trace());
        let client = EchoClient::new(connect((&a, &at_a), (&server, &at_server), sizes, service.clone()).unwrap());
        for _ in 0..outstanding {
            let client = client.clone();
            a.executor().spawn(async move {
                let mut n = 1;
                loop {
                    let [next, ..] = client.echo([n, 2, 3, 4, 5, 6]).await.unwrap();
                    n = next + 1;
                }
            }).unwrap();
        }
        nodes.push(a);
    }
    let mut done = 0u64;
    let mut client_drives: Vec<_> = nodes.iter().map(|node| node.drive().unwrap()).collect();
    let mut server_drive = server.drive().unwrap();
    for _ in 0..rounds {
        for drive in &mut client_drives {
            done += u64::from(drive.turn());
        }
        done += u64::from(server_drive.turn());
    }
    println!("{done}");
}
