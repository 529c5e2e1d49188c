//! Two real processes: killed services, names free again, deaths noticed, dumps from outside.

mod common;

use baton_inbox::{Bell as _, MAX_CONNECTIONS, Platform as _};
use baton_linux::{ControlEvent, DeathReason, Host, HostConfig, ServiceName, Wants};
use common::*;
use std::io::{BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::atomic::Ordering;

/// What this test binary does when it is started as the second process; by itself, nothing.
#[test]
fn second_process_entry() {
    let Ok(role) = std::env::var("BATON_TEST_ROLE") else {
        return;
    };
    let name = ServiceName::new(&std::env::var("BATON_TEST_NAME").unwrap()).unwrap();
    match role.as_str() {
        "serve" => serve(&name),
        "try-to-write" => try_to_write(&name),
        "deaf" => deaf(),
        "leave-a-child" => leave_a_child(&name),
        "stranger" => stranger(&name),
        other => panic!("no role {other}"),
    }
}

/// Ends the process's own part when the first process closes the pipe (or dies).
fn until_told() {
    let mut all = Vec::new();
    std::io::stdin().read_to_end(&mut all).unwrap();
}

fn say(what: &str) {
    println!("{what}");
    std::io::stdout().flush().unwrap();
}

/// Listens, tells that a client has come, echoes one word, answers inspections.
fn serve(name: &ServiceName) {
    let started = start();
    started.host.listen(name, INTERFACE, grants()).unwrap();
    say("ready");
    loop {
        match next_event(&started.host) {
            ControlEvent::Connected(link, _) => {
                while link.incoming.word(64).unwrap().load(Ordering::Acquire) == 0 {
                    started.platform.wait(None);
                }
                let word = link.incoming.word(64).unwrap().load(Ordering::Acquire);
                link.outgoing
                    .word(64)
                    .unwrap()
                    .store(word + 1, Ordering::Release);
                link.bell.ring();
                // The peer is to see us die with the connection open.
                std::mem::forget(link);
                say("served");
            }
            ControlEvent::Inspect { reply } => reply.send("all is well".into()),
            ControlEvent::Died { .. } => say("client died"),
        }
    }
}

/// Connects, and tries with its own descriptors what a hostile client would.
fn try_to_write(name: &ServiceName) {
    let started = start();
    let link = started
        .host
        .connect(name, INTERFACE, &wants(), TIMEOUT_NS)
        .unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    // Ours and the peer's region, S page and hint page.
    let of = |what: &str, rights: &str| {
        let mark = format!("memfd:{what}");
        maps.lines()
            .filter(|line| line.contains(&mark) && line.contains(rights))
            .count()
    };
    say(&format!(
        "mapped {} {} {} {} {}",
        of("baton-lanes", "rw-s"),
        of("baton-lanes", "r--s"),
        of("baton-state", "rw-s"),
        of("baton-state", "r--s"),
        of("baton-hint", "rw-s")
    ));
    let range = maps
        .lines()
        .find(|line| line.contains("memfd:baton-lanes") && line.contains("r--s"))
        .and_then(|line| line.split_once(' '))
        .map(|(range, _)| range)
        .unwrap();
    let (from, to) = range.split_once('-').unwrap();
    let from = usize::from_str_radix(from, 16).unwrap();
    let to = usize::from_str_radix(to, 16).unwrap();
    // SAFETY: it fails, which is what is tested; should it succeed, the mapping only gains a right.
    let result = unsafe {
        rustix::mm::mprotect(
            std::ptr::without_provenance_mut(from),
            to - from,
            rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::WRITE,
        )
    };
    say(&format!("mprotect {result:?}"));
    drop(link);
}

/// A host whose executor never answers.
fn deaf() {
    let _started = baton_linux::Host::start(HostConfig {
        outside: Box::new(|| "the caller's words".into()),
        ..HostConfig::default()
    })
    .unwrap();
    say("ready");
    until_told();
}

/// Connects, forks a child that keeps all descriptors, and ends.
fn leave_a_child(name: &ServiceName) {
    let started = start();
    let _link = started
        .host
        .connect(name, INTERFACE, &wants(), TIMEOUT_NS)
        .unwrap();
    // SAFETY: the child calls nothing but `read` and `_exit`, which may be called after a fork.
    unsafe {
        if libc::fork() == 0 {
            let mut byte = 0u8;
            while libc::read(0, (&raw mut byte).cast(), 1) > 0 {}
        }
        libc::_exit(0);
    }
}

/// Wants a service of root.
fn stranger(name: &ServiceName) {
    let started = start();
    let wants = Wants {
        server_uid: Some(0),
        ..wants()
    };
    let refused = started
        .host
        .connect(name, INTERFACE, &wants, TIMEOUT_NS)
        .unwrap_err();
    say(&format!("refused {refused}"));
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Connects to the second process and has it echo a word.
fn connect(host: &baton_linux::Started, name: &ServiceName) -> baton_linux::PeerLink {
    let link = host
        .host
        .connect(name, INTERFACE, &wants(), TIMEOUT_NS)
        .unwrap();
    link.outgoing.word(64).unwrap().store(41, Ordering::Release);
    link.bell.ring();
    while link.incoming.word(64).unwrap().load(Ordering::Acquire) == 0 {
        host.platform.wait(None);
    }
    assert_eq!(link.incoming.word(64).unwrap().load(Ordering::Acquire), 42);
    link
}

fn await_death(host: &Host, id: u64) {
    match next_event(host) {
        ControlEvent::Died { id: died, .. } => assert_eq!(died, id),
        other => panic!("a death was expected, not {other:?}"),
    }
}

#[test]
fn a_killed_service_is_noticed_and_its_name_is_free_at_once() {
    let client = start();
    let name = unique_name("kill");
    for _ in 0..5 {
        let (child, mut out) = second_process("serve", name.as_str());
        wait_for_line(&mut out, "ready");
        let link = connect(&client, &name);
        assert_eq!(link.peer.pid as u32, child.id());
        kill(child);
        await_death(&client.host, link.connection.id());
        // What it published before its death can still be read.
        assert_eq!(link.incoming.word(64).unwrap().load(Ordering::Acquire), 42);
    }
    let own = client.host.listen(&name, INTERFACE, grants());
    assert!(own.is_ok(), "{own:?}");
    let ps = std::fs::read_to_string("/proc/net/unix").unwrap();
    let listening = ps
        .lines()
        .filter(|line| line.ends_with(name.as_str()) && line.contains("00010000"))
        .count();
    assert_eq!(listening, 1, "nobody but us has the name");
}

#[test]
fn a_name_held_by_another_process_names_that() {
    let own = start();
    let name = unique_name("held");
    let (child, mut out) = second_process("serve", name.as_str());
    wait_for_line(&mut out, "ready");
    let taken = own.host.listen(&name, INTERFACE, grants()).unwrap_err();
    assert_eq!(
        taken.to_string(),
        format!("the name {name} is in use by process {}", child.id())
    );
    kill(child);
}

#[test]
fn another_process_gets_no_more_than_the_right_to_read() {
    let server = start();
    let name = unique_name("rights");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let (mut child, mut out) = second_process("try-to-write", name.as_str());
    assert_eq!(wait_for_line(&mut out, "mapped "), "1 1 1 1 2");
    assert_eq!(
        wait_for_line(&mut out, "mprotect "),
        "Err(Os { code: 13, kind: PermissionDenied, message: \"Permission denied\" })"
    );
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_killed_client_is_noticed_by_the_service() {
    let server = start();
    let name = unique_name("client");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let (child, mut out) = second_process("try-to-write", name.as_str());
    wait_for_line(&mut out, "mapped ");
    kill(child);
    let ControlEvent::Connected(link, _) = next_event(&server.host) else {
        panic!("the first event is the arrival");
    };
    await_death(&server.host, link.connection.id());
}

#[test]
fn a_process_that_ends_is_noticed_though_a_child_of_it_holds_the_connection() {
    let server = start();
    let name = unique_name("orphan");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let (mut child, _out) = second_process("leave-a-child", name.as_str());
    let stdin = child.stdin.take();
    let ControlEvent::Connected(link, _) = next_event(&server.host) else {
        panic!("the first event is the arrival");
    };
    let expected = if link.connection.watches_process() {
        DeathReason::Exited
    } else {
        // Before Linux 6.5 the connection must end first.
        drop(stdin);
        DeathReason::HungUp
    };
    match next_event(&server.host) {
        ControlEvent::Died { why, .. } => assert_eq!(why, expected),
        other => panic!("a death was expected, not {other:?}"),
    }
    child.wait().unwrap();
}

#[test]
fn a_stranger_is_not_let_in() {
    let server = start();
    let name = unique_name("stranger");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let mut command = second_command("stranger", name.as_str());
    // Only root can play two users; anybody else has no service that could be meant.
    let expected = if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
        "the service does not let user 65534 in".to_owned()
    } else {
        format!("no service {name} of user 0 is running")
    };
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(wait_for_line(&mut out, "refused "), expected);
    assert!(child.wait().unwrap().success());
    assert_eq!(server.host.connections(), 0);
}

fn dump(pid: &str) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_baton-dump"))
        .arg(pid)
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_running_process_can_be_inspected() {
    let name = unique_name("inspect");
    let (child, mut out) = second_process("serve", name.as_str());
    wait_for_line(&mut out, "ready");
    for _ in 0..20 {
        let (good, text, _) = dump(&child.id().to_string());
        assert!(good && text.contains("all is well"), "{text}");
    }
    kill(child);
}

#[test]
fn a_hanging_process_can_be_inspected_from_outside() {
    let (child, mut out) = second_process("deaf", "unused");
    wait_for_line(&mut out, "ready");
    let (good, text, _) = dump(&child.id().to_string());
    assert!(good && text.contains("did not answer"), "{text}");
    let connections = format!("connections: 0 of {MAX_CONNECTIONS}\n");
    assert!(
        text.contains(&connections) && text.contains("the caller's words"),
        "{text}"
    );
    kill(child);
}

#[test]
fn what_cannot_be_inspected_is_said_why() {
    let mut no_baton = Command::new("sleep").arg("1000").spawn().unwrap();
    let (good, _, error) = dump(&no_baton.id().to_string());
    assert!(!good && error.contains("runs no Baton"), "{error}");
    no_baton.kill().unwrap();
    let gone = no_baton.id().to_string();
    no_baton.wait().unwrap();
    let (good, _, error) = dump(&gone);
    assert!(!good && error.contains("no such process"), "{error}");
    let (good, _, error) = dump("kv");
    assert!(!good && error.contains("is no process id"), "{error}");
}
