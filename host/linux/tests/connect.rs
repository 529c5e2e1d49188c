//! Connecting, refusing and hanging up, with both roles in one process.

mod common;

use baton_inbox::Bell as _;
use baton_inbox::Platform as _;
use baton_linux::{
    ConnectError, ControlEvent, Grants, HostConfig, ListenError, PeerLink, Role, Wants,
};
use common::*;
use std::sync::atomic::Ordering;

fn arrival(host: &baton_linux::Host) -> Box<PeerLink> {
    match next_event(host) {
        ControlEvent::Connected(link, _) => link,
        other => panic!("an arrival was expected, not {other:?}"),
    }
}

#[test]
fn both_sides_get_what_was_agreed_on() {
    let server = start();
    let client = start_with(HostConfig {
        name: Some("the client".into()),
        ..HostConfig::default()
    });
    let name = unique_name("agreed");
    let listener = server.host.listen(&name, INTERFACE, grants()).unwrap();
    let ours = client
        .host
        .connect(&name, INTERFACE, &wants(), TIMEOUT_NS)
        .unwrap();
    let ControlEvent::Connected(theirs, by) = next_event(&server.host) else {
        panic!("the first event is the arrival");
    };
    assert_eq!(by, listener);
    assert_eq!((ours.role, theirs.role), (Role::Client, Role::Server));
    assert_eq!((ours.credits, ours.granted), (16, 4));
    assert_eq!((theirs.credits, theirs.granted), (4, 16));
    assert_eq!(ours.out_layout, theirs.in_layout);
    assert_eq!(ours.in_layout, theirs.out_layout);
    assert_eq!(ours.out_layout.request_bits(), 4);
    assert_eq!(ours.out_layout.answer_bits(), 2);
    assert_eq!(ours.out_layout.request_bulk_bytes(), 1024);
    assert_eq!(ours.out_layout.answer_bulk_bytes(), 8192);
    assert_eq!(ours.peer_hint_bit, theirs.connection.own_bit());
    assert_eq!(theirs.peer_hint_bit, ours.connection.own_bit());
    assert_eq!(theirs.peer.name, "the client");
    for peer in [&ours.peer, &theirs.peer] {
        assert_eq!(peer.pid as u32, std::process::id());
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    }
    // The regions are crossed rightly.
    for (a, b) in [(&ours, &*theirs), (&*theirs, &ours)] {
        let last = a.out_layout.words() - 1;
        a.outgoing.word(last).unwrap().store(99, Ordering::Relaxed);
        assert_eq!(b.incoming.word(last).unwrap().load(Ordering::Relaxed), 99);
    }
    // So are the pages.
    server.s_page.word(0).unwrap().store(7, Ordering::Relaxed);
    assert_eq!(ours.peer_state.load(Ordering::Relaxed), 7);
    theirs.peer_hint.fetch_or(2, Ordering::Relaxed);
    assert_eq!(client.hint_page.word(0).unwrap().load(Ordering::Relaxed), 2);
    // And the bells: each of these waits would never end otherwise.
    ours.bell.ring();
    server.platform.wait(None);
    theirs.bell.ring();
    client.platform.wait(None);
}

#[test]
fn an_inbox_can_bind_what_was_agreed_on() {
    let server = start();
    let client = start();
    let name = unique_name("bind");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let ours = client
        .host
        .connect(&name, INTERFACE, &wants(), TIMEOUT_NS)
        .unwrap();
    let theirs = arrival(&server.host);
    for link in [ours, *theirs] {
        let (parts, _peer, _connection) = link.into_parts();
        let bound = baton_inbox::Link::<baton_inbox::InSlot>::new(&parts, 0);
        assert!(bound.is_ok(), "{:?}", bound.err());
    }
}

#[test]
fn who_does_not_call_back_gets_no_credits_for_it() {
    let server = start();
    let client = start();
    let name = unique_name("no-back");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let wants = Wants {
        back_interface: 0,
        ..wants()
    };
    let link = client
        .host
        .connect(&name, INTERFACE, &wants, TIMEOUT_NS)
        .unwrap();
    assert_eq!(link.granted, 0);
    assert_eq!(arrival(&server.host).credits, 0);
}

#[test]
fn refusals_say_why() {
    let server = start_with(HostConfig {
        capacity: 1,
        ..HostConfig::default()
    });
    let client = start();
    let name = unique_name("refusals");
    let connect = |interface, wants: &Wants| {
        client
            .host
            .connect(&name, interface, wants, TIMEOUT_NS)
            .map(|link| link.credits)
    };
    let own_uid = rustix::process::geteuid().as_raw();
    assert_eq!(
        connect(INTERFACE, &wants()),
        Err(ConnectError::NotListening {
            name: name.clone(),
            uid: own_uid
        })
    );
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    assert_eq!(
        connect(5, &wants()),
        Err(ConnectError::Interface {
            ours: 5,
            theirs: INTERFACE
        })
    );
    let wrong_back = Wants {
        back_interface: 1,
        ..wants()
    };
    assert_eq!(
        connect(INTERFACE, &wrong_back),
        Err(ConnectError::BackInterface {
            ours: 1,
            theirs: 0xbac
        })
    );
    let too_much = Wants {
        credits: u32::MAX,
        ..wants()
    };
    assert!(matches!(
        connect(INTERFACE, &too_much),
        Err(ConnectError::TooMuch(_))
    ));
    let someone_elses = Wants {
        server_uid: Some(own_uid + 1),
        ..wants()
    };
    assert!(matches!(
        connect(INTERFACE, &someone_elses),
        Err(ConnectError::NotListening { .. })
    ));
    assert_eq!(server.host.connections(), 0, "refusals keep no index");
    let link = client
        .host
        .connect(&name, INTERFACE, &wants(), TIMEOUT_NS)
        .unwrap();
    let held = arrival(&server.host);
    assert_eq!(
        connect(INTERFACE, &wants()),
        Err(ConnectError::ServerFull { capacity: 1 })
    );
    // Room again as soon as the server has unbound, whatever the client does.
    drop(held);
    assert_eq!(connect(INTERFACE, &wants()), Ok(16));
    drop(link);
}

#[test]
fn a_full_inbox_of_ones_own_is_said_too() {
    let server = start();
    let client = start_with(HostConfig {
        capacity: 2,
        ..HostConfig::default()
    });
    let name = unique_name("own-full");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let connect = || client.host.connect(&name, INTERFACE, &wants(), TIMEOUT_NS);
    let _held = [connect().unwrap(), connect().unwrap()];
    assert_eq!(
        connect().unwrap_err(),
        ConnectError::OwnFull { capacity: 2 }
    );
}

#[test]
fn as_many_connections_as_an_inbox_holds() {
    let server = start();
    let client = start();
    let name = unique_name("many");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let small = Wants {
        credits: 1,
        ..Wants::default()
    };
    let mut held = Vec::new();
    let capacity = server.host.capacity();
    for n in 0..capacity {
        let link = client
            .host
            .connect(&name, INTERFACE, &small, TIMEOUT_NS)
            .unwrap();
        assert_eq!(link.connection.own_bit(), n);
        held.push((link, arrival(&server.host)));
    }
    assert!(capacity >= 60);
    assert_eq!(server.host.connections(), capacity);
    drop(held);
    assert_eq!(server.host.connections(), 0);
    assert_eq!(client.host.connections(), 0);
}

#[test]
fn a_name_in_use_names_its_holder() {
    let one = start();
    let other = start();
    let name = unique_name("in-use");
    let listener = one.host.listen(&name, INTERFACE, grants()).unwrap();
    let taken = other.host.listen(&name, INTERFACE, grants()).unwrap_err();
    assert_eq!(
        taken,
        ListenError::NameInUse {
            name: name.clone(),
            holder_pid: Some(std::process::id() as i32)
        }
    );
    assert!(one.host.unlisten(listener));
    assert!(!one.host.unlisten(listener));
}

#[test]
fn impossible_grants_are_refused_when_listening() {
    let server = start();
    let grants = Grants {
        max_credits: u32::MAX,
        ..grants()
    };
    assert!(matches!(
        server
            .host
            .listen(&unique_name("grants"), INTERFACE, grants),
        Err(ListenError::TooMuch(_))
    ));
}

#[test]
fn a_hang_up_is_noticed_once_on_either_side() {
    let server = start();
    let client = start();
    let name = unique_name("hang-up");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let connect = || {
        let ours = client
            .host
            .connect(&name, INTERFACE, &wants(), TIMEOUT_NS)
            .unwrap();
        (ours, arrival(&server.host))
    };
    let (ours, theirs) = connect();
    let (bit, id) = (theirs.connection.own_bit(), theirs.connection.id());
    drop(ours);
    match next_event(&server.host) {
        ControlEvent::Died {
            own_bit, id: died, ..
        } => assert_eq!((own_bit, died), (bit, id)),
        other => panic!("a death was expected, not {other:?}"),
    }
    assert_eq!(
        server.host.connections(),
        1,
        "the index stays taken until the executor has unbound it"
    );
    drop(theirs);
    assert_eq!(server.host.connections(), 0);
    let (ours, theirs) = connect();
    drop(theirs);
    assert!(matches!(
        next_event(&client.host),
        ControlEvent::Died { id, .. } if id == ours.connection.id()
    ));
    assert!(server.host.try_next_event().is_none());
    assert!(client.host.try_next_event().is_none());
}

#[test]
fn a_death_is_not_told_after_the_connection_was_dropped() {
    let server = start();
    let client = start();
    let name = unique_name("forgotten");
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let connect = || {
        client
            .host
            .connect(&name, INTERFACE, &wants(), TIMEOUT_NS)
            .unwrap()
    };
    let first = connect();
    let theirs = arrival(&server.host);
    drop(first);
    // The control thread has seen the hang-up before it could answer this one.
    let _second = connect();
    drop(theirs);
    let second = arrival(&server.host);
    assert_eq!(second.connection.own_bit(), 1);
    assert!(server.host.try_next_event().is_none());
}

#[test]
fn the_last_handle_ends_the_control_thread_and_closes_everything() {
    let name = unique_name("end");
    let server = start();
    server.host.listen(&name, INTERFACE, grants()).unwrap();
    let client = start();
    let link = client
        .host
        .connect(&name, INTERFACE, &wants(), TIMEOUT_NS)
        .unwrap();
    // The arrival lies in the queue, unfetched.
    drop(server);
    assert!(matches!(
        next_event(&client.host),
        ControlEvent::Died { id, .. } if id == link.connection.id()
    ));
    let again = start();
    again.host.listen(&name, INTERFACE, grants()).unwrap();
}
