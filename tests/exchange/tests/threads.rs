//! The bodies between two threads: in one process, and over Linux's memory and doorbells.

use baton_exchange::{Desk, ExchangeClient, ExchangeServer, Load, everything};
use baton_inbox::{InSlot, Publication, TailWord};
use baton_inprocess::{Clock, Sizes, connection, node};
use baton_linux::{Grants, LinuxNode, NodeConfig, ServiceName, Wants};
use baton_rpc::{Band, Binding, Config, Mode};
use baton_trace::Ring;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Instant;

const BULK_BYTES: u32 = 4096;
const CREDITS: u32 = 256;

fn loads(client: u64) -> impl Iterator<Item = Load> {
    [1, 2, 16, 256].into_iter().map(move |outstanding| Load {
        client,
        outstanding,
        requests: 500,
    })
}

fn in_one_process<U: Publication>(mode: Mode) {
    let clock = Clock::Machine(Instant::now());
    let (at_server, from_server) = mpsc::channel();
    let (at_client, from_client) = mpsc::channel();
    let (finished, is_finished) = mpsc::channel();
    let at_server_clock = clock.clone();
    let server = std::thread::spawn(move || {
        let (node, address) =
            node::<U>(Config::default(), at_server_clock, Arc::new(Ring::new(64)));
        at_server.send(address).expect("the client waits");
        let parts = from_client.recv().expect("the client connects");
        let desk = Desk::new();
        let binding = Binding {
            index: Some(0),
            ..Binding::default()
        };
        let client = node
            .bind(parts, binding, Rc::new(ExchangeServer(desk.clone())))
            .expect("there is room");
        let ended = client.connection().ended();
        let until: std::thread::JoinHandle<()> = std::thread::spawn(move || {
            let _ = is_finished.recv();
        });
        // The client says by a flag that it is done; a waker from its thread would be another test.
        while !until.is_finished() {
            let _ = node.turn();
        }
        drop(ended);
        desk.served()
    });
    let (node, address) = node::<U>(Config::default(), clock, Arc::new(Ring::new(64)));
    let server_address = from_server.recv().expect("the server starts");
    let sizes = Sizes {
        credits: CREDITS,
        back_credits: 0,
        request_bulk_bytes: BULK_BYTES,
        answer_bulk_bytes: BULK_BYTES,
    };
    let (mine, theirs) = connection(&address, &server_address, sizes, (0, 0));
    at_client.send(theirs).expect("the server waits");
    let binding = Binding {
        index: Some(0),
        ..Binding::default()
    };
    let desk = ExchangeClient::new(node.bind_client(mine, binding).expect("there is room"));
    for load in loads(1) {
        let body = everything(node.executor(), &desk, load, BULK_BYTES as usize);
        node.run_until(mode, body)
            .expect("it runs")
            .expect("all is right");
    }
    finished.send(()).expect("the server waits");
    assert!(server.join().expect("the server ends") > 2000);
}

#[test]
fn in_the_slot() {
    in_one_process::<InSlot>(Mode::Adaptive);
}

#[test]
fn in_a_tail_word() {
    in_one_process::<TailWord>(Mode::Adaptive);
}

#[test]
fn between_nodes_of_linux() {
    let name = ServiceName::new(&format!("exchange-{}", std::process::id())).expect("a name");
    let (ready, is_ready) = mpsc::channel();
    let served_as = name.clone();
    let server = std::thread::spawn(move || {
        let node = LinuxNode::start(NodeConfig::default()).expect("a node");
        let handle = node.handle();
        let grants = Grants {
            max_credits: CREDITS,
            max_request_bulk_bytes: BULK_BYTES,
            max_answer_bulk_bytes: BULK_BYTES,
            ..Grants::default()
        };
        let desk = Desk::new();
        let service = Rc::new(ExchangeServer(desk.clone()));
        handle
            .serve(&served_as, service, grants, Band::NORMAL)
            .expect("the name is free");
        ready.send(()).expect("the clients wait");
        node.run_until(Mode::Park, handle.idle()).expect("it runs");
        desk.served()
    });
    is_ready.recv().expect("the server starts");
    let node = LinuxNode::start(NodeConfig::default()).expect("a node");
    let handle = node.handle();
    let wants = Wants {
        credits: CREDITS,
        request_bulk_bytes: BULK_BYTES,
        answer_bulk_bytes: BULK_BYTES,
        ..Wants::default()
    };
    let interface = ExchangeServer::<Rc<Desk>>::INTERFACE;
    let client = handle
        .connect(&name, interface, &wants)
        .expect("it connects");
    let desk = ExchangeClient::new(client);
    for load in loads(2) {
        let body = everything(handle.executor(), &desk, load, BULK_BYTES as usize);
        node.run_until(Mode::Park, body)
            .expect("it runs")
            .expect("all is right");
    }
    handle.disconnect(desk.client());
    drop(node);
    assert!(server.join().expect("the server ends") > 2000);
}
