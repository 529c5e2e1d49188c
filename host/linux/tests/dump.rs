//! The command on running processes: who waits for whom, and the trace.

mod common;
#[path = "../../timeline/tests/rules/mod.rs"]
mod rules;

use baton_linux::{Grants, LinuxNode, NodeConfig, ServiceName, Wants};
use baton_rpc::{Band, Mode, service};
use common::*;
use std::process::{Child, Command};
use std::rc::Rc;

#[service]
trait Slow {
    /// Never answers 0; everything else at once.
    async fn ask(&self, number: u64) -> u64;
}

struct Plain;

impl Slow for Plain {
    async fn ask(&self, number: u64) -> u64 {
        match number {
            0 => std::future::pending().await,
            // The executor hangs in this task.
            1 => loop {
                std::thread::yield_now();
            },
            number => number,
        }
    }
}

fn start(name: &str) -> LinuxNode {
    LinuxNode::start(NodeConfig {
        name: Some(name.into()),
        ..NodeConfig::default()
    })
    .unwrap()
}

/// What this test binary does when it is started as the second process; by itself, nothing.
#[test]
fn second_process_entry() {
    let Ok(role) = std::env::var("BATON_TEST_ROLE") else {
        return;
    };
    let name = ServiceName::new(&std::env::var("BATON_TEST_NAME").unwrap()).unwrap();
    if role == "serve" {
        let node = start("slow server");
        let grants = Grants {
            max_credits: 4,
            ..Grants::default()
        };
        let service = Rc::new(SlowServer(Plain));
        let offered = node.handle().serve(&name, service, grants, Band::NORMAL);
        offered.unwrap();
        println!("ready");
        node.run_until(Mode::Park, std::future::pending::<()>())
            .unwrap();
    }
}

fn baton_dump(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_baton-dump"))
        .args(args)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A client in this process, on a thread of its own, that asks for `number` and waits.
fn ask(name: &ServiceName, number: u64) -> std::thread::JoinHandle<()> {
    let name = name.clone();
    let (started, is_started) = std::sync::mpsc::channel();
    let client = std::thread::spawn(move || {
        let node = start("waiting client");
        // Before that, this process runs no Baton, and a dump of it is refused.
        started.send(()).unwrap();
        let wants = Wants {
            credits: 4,
            ..Wants::default()
        };
        let interface = SlowServer::<Plain>::INTERFACE;
        let client = node.handle().connect(&name, interface, &wants).unwrap();
        let slow = SlowClient::new(client);
        let work = async {
            assert_eq!(slow.ask(7).await, Ok(7));
            // It ends with the server.
            slow.ask(number).await.unwrap_err();
        };
        node.run_until(Mode::Park, work).unwrap();
    });
    is_started.recv().unwrap();
    client
}

fn until(pids: &[&str], all: &[&str]) -> String {
    loop {
        let text = baton_dump(pids);
        if all.iter().all(|part| text.contains(part)) {
            return text;
        }
    }
}

fn end(mut server: Child, client: std::thread::JoinHandle<()>) {
    server.kill().unwrap();
    server.wait().unwrap();
    client.join().unwrap();
}

#[test]
fn two_dumps_say_who_waits_for_whom_and_the_trace_can_be_switched() {
    let name = unique_name("dump");
    let (server, mut out) = second_process("serve", name.as_str());
    wait_for_line(&mut out, "ready");
    let pid = server.id().to_string();
    assert!(baton_dump(&["--trace", "on", &pid]).contains("trace on"));
    let client = ask(&name, 0);
    let own = std::process::id();
    let own_pid = own.to_string();
    let to_server = format!("to \"slow server (pid {pid})\"");
    let to_client = format!("to \"waiting client (pid {own})\"");
    let parts = [
        to_server.as_str(),
        "waits for the answer to",
        &to_client,
        "serves the peer's credit",
        "events:",
    ];
    until(&[&own_pid, &pid], &parts);
    let events = baton_dump(&["--events", &pid]);
    for step in ["bound", "drain", "serve", "reply"] {
        assert!(events.contains(step), "{step} in {events}");
    }
    let chrome = baton_dump(&["--chrome", &own_pid, &pid]);
    let trace = rules::check(&chrome);
    let names: Vec<&String> = trace.processes.values().collect();
    assert!(names.iter().any(|name| name.starts_with("slow server")));
    assert!(names.iter().any(|name| name.starts_with("waiting client")));
    assert!(baton_dump(&["--trace", "off", &pid]).contains("trace off"));
    assert!(!baton_dump(&[&pid]).contains("events:"));
    end(server, client);
}

#[test]
fn a_server_that_hangs_in_one_task_is_explained_from_outside() {
    let name = unique_name("hang");
    let (server, mut out) = second_process("serve", name.as_str());
    wait_for_line(&mut out, "ready");
    let pid = server.id().to_string();
    let client = ask(&name, 1);
    let text = until(&[&pid], &["did not answer"]);
    let turns: Vec<_> = text
        .lines()
        .filter(|l| l.starts_with("executor:"))
        .collect();
    assert_eq!(turns.len(), 2, "{text}");
    assert_eq!(turns[0], turns[1], "the turns stand still: {text}");
    assert!(turns[0].contains("awake"), "{text}");
    end(server, client);
}
