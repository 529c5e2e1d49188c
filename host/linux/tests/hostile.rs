//! Handshakes of hostile clients and servers: nobody panics, waits for ever, or keeps a descriptor or an index.
//!
//! One test only, because it counts the descriptors of the whole process.

mod common;

use baton_inbox::MAX_CONNECTIONS;
use baton_linux::control::MAX_PENDING;
use baton_linux::{ConnectError, ControlEvent, Host, ServiceName};
use common::*;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;

const MAGIC: u64 = u64::from_le_bytes(*b"batonhs\0");

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Written down once more, so that the format cannot change unnoticed.
fn hello(credits: u64) -> Vec<u8> {
    bytes(&[MAGIC, 1 | 1 << 32, INTERFACE, 0, credits, 0, 0, 0, 0, 0])
}

fn bind(bit: u64) -> Vec<u8> {
    bytes(&[MAGIC, 1 | 4 << 32, bit])
}

fn address(name: &ServiceName) -> SocketAddrUnix {
    let uid = rustix::process::geteuid().as_raw();
    SocketAddrUnix::new_abstract_name(format!("baton/{uid}/{name}").as_bytes()).unwrap()
}

fn socket() -> OwnedFd {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap()
}

fn raw_client(name: &ServiceName) -> OwnedFd {
    let fd = socket();
    rustix::net::connect(&fd, &address(name)).unwrap();
    fd
}

/// Sends, if the other side still listens.
fn send(fd: &OwnedFd, message: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    let _ = rustix::net::sendmsg(
        fd,
        &[IoSlice::new(message)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
}

/// Receives one message and its descriptors; an empty one when the other side has hung up.
fn receive(fd: &OwnedFd) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut buffer = vec![0; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let len = rustix::net::recvmsg(
        fd,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_or(0, |message| message.bytes);
    buffer.truncate(len);
    let fds = control
        .drain()
        .filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    (buffer, fds)
}

/// Waits until the other side has hung up.
fn until_hang_up(fd: &OwnedFd) {
    while !receive(fd).0.is_empty() {}
}

/// An honest client gets through.
fn honest(server: &Host, client: &Host, name: &ServiceName) {
    let link = client
        .connect(name, INTERFACE, &wants(), TIMEOUT_NS)
        .expect("an honest client gets through");
    match next_event(server) {
        ControlEvent::Connected(theirs, _) => drop(theirs),
        other => panic!("an arrival was expected, not {other:?}"),
    }
    match next_event(client) {
        ControlEvent::Died { id, .. } => assert_eq!(id, link.connection.id()),
        other => panic!("a death was expected, not {other:?}"),
    }
}

/// A generator whose sequence is the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

fn hostile_first_messages(name: &ServiceName, some: &OwnedFd) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let good = hello(4);
    for round in 0..400 {
        let client = raw_client(name);
        let message = match round % 4 {
            0 => random.bytes(round % 300 + 1),
            1 => good[..random.next() as usize % good.len()].to_vec(),
            2 => [good.clone(), random.bytes(round % 9 + 1)].concat(),
            // The right length and magic, the rest at random.
            _ => [&good[..8], &random.bytes(72)[..]].concat(),
        };
        send(&client, &message, &[]);
        until_hang_up(&client);
    }
    // A good message, but with descriptors where none belong.
    for count in [1, 4, 64] {
        let client = raw_client(name);
        send(&client, &good, &vec![some.as_fd(); count]);
        until_hang_up(&client);
    }
    // An empty message, and a client that is gone at once.
    let client = raw_client(name);
    send(&client, &[], &[]);
    until_hang_up(&client);
    drop(raw_client(name));
}

fn hostile_last_messages(name: &ServiceName, some: &OwnedFd) {
    let offered = || {
        let client = raw_client(name);
        send(&client, &hello(4), &[]);
        let (message, fds) = receive(&client);
        assert_eq!((message.len(), fds.len()), (72, 4));
        (client, fds)
    };
    // Wrong numbers of descriptors.
    for count in [0, 1, 3, 5, 6, 64] {
        let (client, _fds) = offered();
        send(&client, &bind(0), &vec![some.as_fd(); count]);
        until_hang_up(&client);
    }
    // Four that are rubbish; the server's own, given back (the region's layout and header are the mirrored ones).
    let (client, _fds) = offered();
    send(&client, &bind(0), &[some.as_fd(); 4]);
    until_hang_up(&client);
    let (client, fds) = offered();
    let back: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    send(&client, &bind(0), &back);
    until_hang_up(&client);
    // An index beyond any inbox, a message out of turn, a random one.
    for message in [
        bind(MAX_CONNECTIONS as u64),
        bind(u64::MAX),
        hello(4),
        vec![7; 24],
        vec![1],
    ] {
        let (client, fds) = offered();
        let back: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        send(&client, &message, &back);
        until_hang_up(&client);
    }
    // Gone after the offer, and gone without having taken it.
    drop(offered());
    let client = raw_client(name);
    send(&client, &hello(4), &[]);
    drop(client);
}

fn silent_clients_are_pushed_out(server: &Host, client: &Host, name: &ServiceName) {
    let silent: Vec<_> = (0..3 * MAX_PENDING).map(|_| raw_client(name)).collect();
    honest(server, client, name);
    // The oldest was pushed out by then.
    if let Some(oldest) = silent.first() {
        until_hang_up(oldest);
    }
}

/// Answers one client with `message` and `fds`, whatever it asked for.
fn hostile_server(
    name: &ServiceName,
    message: Vec<u8>,
    fds: Vec<OwnedFd>,
) -> std::thread::JoinHandle<()> {
    let listener = socket();
    rustix::net::bind(&listener, &address(name)).unwrap();
    rustix::net::listen(&listener, 1).unwrap();
    std::thread::spawn(move || {
        let client = rustix::net::accept(&listener).unwrap();
        drop(listener);
        receive(&client);
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        send(&client, &message, &fds);
        receive(&client);
    })
}

fn hostile_servers(client: &Host) {
    let mut random = Random(42);
    let offer = |granted: u64| bytes(&[MAGIC, 1 | 2 << 32, granted, 0, 3, 0, 0, 0, 0]);
    let eventfd = || rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let cases = [
        (random.bytes(72), 0),
        (vec![], 0),
        (offer(4)[..71].to_vec(), 4),
        (offer(4), 0),
        (offer(4), 3),
        (offer(4), 4),
        (offer(4), 5),
        (offer(1 << 20), 4),
        (offer(4 | 99 << 32), 4),
        (bytes(&[MAGIC, 1 | 3 << 32, 999, 1]), 0),
        (bytes(&[MAGIC, 1 | 3 << 32, 999, 1]), 4),
    ];
    for (message, fds) in cases {
        let name = unique_name("hostile-server");
        let server = hostile_server(&name, message, (0..fds).map(|_| eventfd()).collect());
        let error = client
            .connect(&name, INTERFACE, &wants(), TIMEOUT_NS)
            .unwrap_err();
        assert!(
            matches!(
                error,
                ConnectError::ServerFault(_)
                    | ConnectError::HungUp
                    | ConnectError::Refused { reason: 999, .. }
            ),
            "{error:?}"
        );
        server.join().unwrap();
    }
}

#[test]
fn hostile_handshakes_harm_nobody() {
    let server = start();
    let client = start();
    let name = unique_name("hostile");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let (some, _other) = rustix::pipe::pipe().unwrap();
    honest(&server.host, &client.host, &name);
    let before = open_descriptors();
    hostile_first_messages(&name, &some);
    honest(&server.host, &client.host, &name);
    hostile_last_messages(&name, &some);
    honest(&server.host, &client.host, &name);
    silent_clients_are_pushed_out(&server.host, &client.host, &name);
    hostile_servers(&client.host);
    // The messages before this client's are all dealt with, once it is through: there is one control thread.
    honest(&server.host, &client.host, &name);
    // A hang-up of the silent ones and of those who left is dealt with in no order that we know: wait for it.
    while server.host.connections() > 0 || open_descriptors() > before {
        std::thread::yield_now();
    }
    assert_eq!(client.host.connections(), 0);
    assert!(server.host.try_next_event().is_none());
    assert!(client.host.try_next_event().is_none());
}
