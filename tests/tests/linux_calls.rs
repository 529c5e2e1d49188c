//! Calls between real processes: in circles, from many, to many, asleep and awake, and when one of them is killed.
#![cfg(not(loom))]

use baton_linux::{
    ConnectError, Grants, Linux, LinuxHandle, LinuxNode, NodeConfig, ServiceName, Wants,
};
use baton_rpc::{Band, CallError, Client, DeadlineError, Failure, Mode, SendError, service};
use baton_tests::process::{Owned, PATIENCE, end_with_parent, role, test_command, watchdog};
use baton_tests::random::Random;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

#[service]
trait Peer {
    /// The number plus one.
    async fn next(&self, number: u64) -> u64;
    /// Never answers.
    async fn never(&self);
    /// Counts one.
    fn note(&self);
    /// What was counted.
    async fn noted(&self) -> u64;
}

struct Counting(Cell<u64>);

impl Peer for Counting {
    async fn next(&self, number: u64) -> u64 {
        number.wrapping_add(1)
    }

    async fn never(&self) {
        std::future::pending().await
    }

    fn note(&self) {
        self.0.set(self.0.get() + 1);
    }

    async fn noted(&self) -> u64 {
        self.0.get()
    }
}

type Server = PeerServer<Counting>;

fn served() -> Rc<Server> {
    Rc::new(PeerServer(Counting(Cell::new(0))))
}

fn unique_name() -> ServiceName {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    ServiceName::new(&format!("calls-{}-{number}", std::process::id())).unwrap()
}

fn start() -> LinuxNode {
    LinuxNode::start(NodeConfig::default()).unwrap()
}

fn grants(credits: u32) -> Grants {
    Grants {
        max_credits: credits,
        want_back_credits: credits,
        back_interface: Server::INTERFACE.hash,
        ..Grants::default()
    }
}

fn wants(credits: u32) -> Wants {
    Wants {
        credits,
        offer_credits: credits,
        ..Wants::default()
    }
}

/// What the test binary does as a second process: `role:credits` or `role:mode`.
#[test]
fn second_process() {
    let Some((role, name)) = role() else {
        return;
    };
    end_with_parent();
    let name = ServiceName::new(&name).unwrap();
    let (role, more) = role.split_once(':').unwrap();
    let node = start();
    let handle = node.handle();
    match role {
        "serve" => {
            let offered = handle.serve(&name, served(), grants(16), Band::NORMAL);
            offered.unwrap();
            let mode = mode(more);
            node.run_until(mode, std::future::pending::<()>()).unwrap();
        }
        "circle" => {
            let credits = more.parse().unwrap();
            let client =
                handle.connect_and_serve(&name, Server::INTERFACE, &wants(credits), served());
            let client = PeerClient::new(client.unwrap());
            let work = circle(handle.clone(), client, 2);
            node.run_until(Mode::Park, work).unwrap();
            // Until the other side has had enough as well.
            node.run_until(Mode::Park, handle.idle()).unwrap();
        }
        "client" => {
            let client = PeerClient::new(connect(&node, &name));
            let seed: u64 = more.parse().unwrap();
            let mode = [Mode::Park, Mode::Adaptive, Mode::Poll][seed as usize % 3];
            node.run_until(mode, ask(client, 400)).unwrap();
        }
        "asleep" => {
            // Connected, and then nothing to do until it is killed.
            let _client = connect(&node, &name);
            node.run_until(Mode::Park, std::future::pending::<()>())
                .unwrap();
        }
        other => panic!("no role {other}"),
    }
}

fn mode(name: &str) -> Mode {
    match name {
        "park" => Mode::Park,
        "adaptive" => Mode::Adaptive,
        _ => Mode::Poll,
    }
}

fn second(role: &str, name: &ServiceName) -> Owned {
    Owned(test_command(role, name.as_str()).spawn().unwrap())
}

/// Connects, as soon as the service is there.
fn connect(node: &LinuxNode, name: &ServiceName) -> Client<Linux> {
    let handle = node.handle();
    let work = async {
        loop {
            match handle.connect(name, Server::INTERFACE, &wants(8)) {
                Ok(client) => return client,
                Err(ConnectError::NotListening { .. } | ConnectError::HungUp) => {}
                Err(error) => panic!("{error}"),
            }
            handle.executor().sleep(1_000_000).await.unwrap();
        }
    };
    node.run_until(Mode::Park, work).unwrap()
}

async fn ask(client: PeerClient<Linux>, calls: u64) {
    for number in 0..calls {
        assert_eq!(client.next(number).await, Ok(number + 1));
    }
}

/// Calls, sends and cancels from more tasks than there are credits.
async fn circle(handle: LinuxHandle, client: PeerClient<Linux>, seed: u64) {
    const TASKS: u64 = 6;
    const STEPS: u64 = 500;
    let credits = client.client().connection().credits();
    assert!(credits > 0 && credits < TASKS as usize);
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let work = steps(handle.clone(), client.clone(), seed * TASKS + task, STEPS);
            handle.executor().spawn(work).unwrap()
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // The other side's part is over when it has hung up, or has as much behind it.
    handle.disconnect(client.client());
}

async fn steps(handle: LinuxHandle, client: PeerClient<Linux>, seed: u64, steps: u64) {
    let mut random = Random::new(seed);
    let executor = handle.executor();
    for number in 0..steps {
        let ended = match random.below(4) {
            0..=1 => match client.next(number).await {
                Ok(found) => {
                    assert_eq!(found, number + 1);
                    false
                }
                Err(error) => is_end(error),
            },
            2 => match client.send_note().await {
                Ok(()) => false,
                Err(SendError::Failed(failure)) => is_end(CallError::Failed(failure)),
                Err(error) => panic!("{error}"),
            },
            _ => {
                let deadline_ns = baton_linux::platform::monotonic_ns() + random.below(20_000);
                match executor.before(deadline_ns, client.never()).await {
                    Err(DeadlineError::Passed) => false,
                    Ok(Err(error)) => is_end(error),
                    other => panic!("{other:?}"),
                }
            }
        };
        if ended {
            // The other side has done its part and has gone.
            return;
        }
    }
}

fn is_end(error: CallError) -> bool {
    match error {
        CallError::Failed(Failure::PeerDied) => true,
        error => panic!("{error}"),
    }
}

#[test]
fn two_processes_that_call_each_other_with_all_credits_out_never_stop() {
    watchdog("the circle");
    // Lanes of one slot, of two, and of four.
    for credits in [1, 2, 4] {
        let name = unique_name();
        let node = start();
        let handle = node.handle();
        let back = Rc::new(Cell::new(None));
        let connected = back.clone();
        let offered = handle.serve_and_call(
            &name,
            served(),
            grants(credits),
            Band::NORMAL,
            move |client, _| connected.set(Some(client)),
        );
        offered.unwrap();
        let mut other = second(&format!("circle:{credits}"), &name);
        let work = async {
            let client = loop {
                match back.take() {
                    Some(client) => break client,
                    None => handle.executor().sleep(1_000_000).await.unwrap(),
                }
            };
            circle(handle.clone(), PeerClient::new(client), 1).await;
        };
        node.run_until(Mode::Park, work).unwrap();
        node.run_until(Mode::Park, handle.idle()).unwrap();
        assert!(other.0.wait().unwrap().success());
    }
}

#[test]
fn many_clients_call_one_server_in_all_modes() {
    watchdog("many clients");
    let name = unique_name();
    let node = start();
    let handle = node.handle();
    let offered = handle.serve(&name, served(), grants(8), Band::NORMAL);
    offered.unwrap();
    let mut clients: Vec<Owned> = (0..9)
        .map(|seed| second(&format!("client:{seed}"), &name))
        .collect();
    let all_gone = async {
        loop {
            handle.executor().sleep(2_000_000).await.unwrap();
            if clients.iter_mut().all(|client| client.ended().is_some()) {
                return;
            }
        }
    };
    node.run_until(Mode::Adaptive, all_gone).unwrap();
    for client in &mut clients {
        assert!(client.0.wait().unwrap().success());
    }
}

#[test]
fn one_client_calls_many_servers_in_all_modes() {
    watchdog("many servers");
    let servers: Vec<_> = ["park", "adaptive", "poll", "park"]
        .map(|mode| {
            let name = unique_name();
            let server = second(&format!("serve:{mode}"), &name);
            (name, server)
        })
        .into();
    for mode in [Mode::Park, Mode::Adaptive, Mode::Poll] {
        let node = start();
        let handle = node.handle();
        let calls: Vec<_> = servers
            .iter()
            .map(|(name, _)| {
                let client = PeerClient::new(connect(&node, name));
                handle.executor().spawn(ask(client, 200)).unwrap()
            })
            .collect();
        let all = async {
            for call in calls {
                call.await.unwrap();
            }
        };
        node.run_until(mode, all).unwrap();
    }
}

#[test]
fn the_connection_after_the_last_is_refused_clearly() {
    watchdog("the limit");
    let name = unique_name();
    let _server = second("serve:park", &name);
    let node = start();
    let first = connect(&node, &name);
    let handle = node.handle();
    let wants = Wants {
        credits: 1,
        ..Wants::default()
    };
    let rest: Vec<_> = (1..64)
        .map(|_| handle.connect(&name, Server::INTERFACE, &wants).unwrap())
        .collect();
    let refused = handle.connect(&name, Server::INTERFACE, &wants).err();
    assert_eq!(refused, Some(ConnectError::OwnFull { capacity: 64 }));
    let other = start();
    let refused = other.handle().connect(&name, Server::INTERFACE, &wants);
    assert_eq!(
        refused.err(),
        Some(ConnectError::ServerFull { capacity: 64 })
    );
    // All 64 work, and one that goes makes room.
    let clients = rest.into_iter().chain([first]);
    let work = async {
        for client in clients {
            let client = PeerClient::new(client);
            assert_eq!(client.next(7).await, Ok(8));
            handle.disconnect(client.client());
        }
    };
    node.run_until(Mode::Adaptive, work).unwrap();
    let again = async {
        loop {
            match other.handle().connect(&name, Server::INTERFACE, &wants) {
                Ok(client) => return PeerClient::new(client).next(1).await,
                Err(ConnectError::ServerFull { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            other.handle().executor().sleep(1_000_000).await.unwrap();
        }
    };
    assert_eq!(other.run_until(Mode::Park, again).unwrap(), Ok(2));
}

#[test]
fn a_server_that_is_killed_asleep_ends_its_calls_and_its_successor_serves() {
    watchdog("the killed server");
    let name = unique_name();
    let node = start();
    for _ in 0..5 {
        let mut server = second("serve:park", &name);
        let client = PeerClient::new(connect(&node, &name));
        let calls = async {
            assert_eq!(client.next(1).await, Ok(2));
            // More than there are credits: those under way and those that wait.
            let calls: Vec<_> = (0..12)
                .map(|_| {
                    let client = client.clone();
                    let call = async move { client.never().await };
                    node.handle().executor().spawn(call).unwrap()
                })
                .collect();
            node.handle().executor().sleep(1_000_000).await.unwrap();
            server.kill().unwrap();
            for call in calls {
                let ended = call.await.unwrap();
                assert_eq!(ended, Err(CallError::Failed(Failure::PeerDied)));
            }
        };
        node.run_until(Mode::Park, calls).unwrap();
    }
    let handle = node.handle();
    let gone = async {
        while handle.peers() != 0 {
            handle.executor().sleep(1_000_000).await.unwrap();
        }
    };
    node.run_until(Mode::Park, gone).unwrap();
}

#[test]
fn a_client_that_is_killed_asleep_is_let_go_of() {
    watchdog("the killed client");
    let name = unique_name();
    let node = start();
    let handle = node.handle();
    let offered = handle.serve(&name, served(), grants(8), Band::NORMAL);
    offered.unwrap();
    let mut client = second("asleep:", &name);
    let work = async {
        while handle.peers() == 0 {
            handle.executor().sleep(1_000_000).await.unwrap();
        }
        client.kill().unwrap();
        while handle.peers() != 0 {
            handle.executor().sleep(1_000_000).await.unwrap();
        }
    };
    node.run_until(Mode::Park, work).unwrap();
    // And the others are served.
    let mut other = second("client:0", &name);
    let served = async {
        while other.ended().is_none() {
            handle.executor().sleep(1_000_000).await.unwrap();
        }
    };
    node.run_until(Mode::Park, served).unwrap();
    assert!(other.0.wait().unwrap().success());
}

#[test]
fn what_was_sent_before_hanging_up_is_delivered() {
    watchdog("the last sends");
    let name = unique_name();
    let node = start();
    let handle = node.handle();
    let service = served();
    let offered = handle.serve(&name, service.clone(), grants(64), Band::NORMAL);
    offered.unwrap();
    let at_client = name.clone();
    let client = std::thread::spawn(move || {
        let node = start();
        let handle = node.handle();
        let wants = wants(64);
        let client = handle
            .connect(&at_client, Server::INTERFACE, &wants)
            .unwrap();
        let client = PeerClient::new(client);
        for _ in 0..64 {
            client.note().unwrap();
        }
        // Gone with the node, before the server has looked.
    });
    client.join().unwrap();
    node.run_until(Mode::Park, handle.idle()).unwrap();
    assert_eq!(service.0.0.get(), 64);
}

#[test]
fn a_call_in_the_very_turn_of_its_connect_wakes_a_sleeping_server() {
    let name = unique_name();
    let _server = second("serve:park", &name);
    let node = start();
    drop(connect(&node, &name));
    let handle = node.handle();
    let work = async {
        let client = handle.connect(&name, Server::INTERFACE, &wants(8)).unwrap();
        // Still in the same poll: the server binds the connection and goes to sleep.
        loop {
            let mut dump = String::new();
            handle.dump(&mut dump).unwrap();
            if dump.matches("peer asleep").count() == 2 {
                break;
            }
            std::thread::yield_now();
        }
        let deadline_ns = baton_linux::platform::monotonic_ns() + PATIENCE.as_nanos() as u64;
        let call = PeerClient::new(client);
        let answer = handle.executor().before(deadline_ns, call.next(1)).await;
        assert_eq!(answer, Ok(Ok(2)));
    };
    node.run_until(Mode::Park, work).unwrap();
}
