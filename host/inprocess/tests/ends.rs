//! What begins or ends at an unusual moment: a call after its connection's end, a call in the turn that binds its connection,
//! and nodes whose turns end in another order than they began.

mod common;

use baton_inbox::layout::HEAD_REQUESTS;
use baton_inbox::{InSlot, Platform, TailWord};
use baton_inprocess::connection;
use baton_rpc::{Binding, CallError, Failure, Handle, SendError, Violation};
use baton_trace::Ring;
use common::{
    DeskClient, Held, Here, Join, Side, connection_of, credits, free_credits, settle, side, small,
};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

#[test]
fn a_bulk_call_with_a_buffer_from_before_the_end_fails() {
    let (a, b) = (side(), side());
    let (client, _) = Join::of(credits(1, 0)).connect(&a, &b, Held::new().server());
    let buffer = client.try_buffer().unwrap();
    connection_of(&client).fail(Failure::PeerDied);
    let call = client.call_bulk::<(), u64>(2, (), buffer);
    let task = a.node.executor().spawn(call).unwrap();
    settle(&[&a, &b], 50);
    let result = task.try_take().expect("the call ended");
    let error = result.unwrap().err();
    assert_eq!(error, Some(CallError::Failed(Failure::PeerDied)));
    assert_eq!(free_credits(&client), 0);
}

#[test]
fn a_call_in_the_turn_that_binds_its_connection_goes_out() {
    let side = || Side::<TailWord>::new(small(), Arc::new(Ring::new(16)));
    let (a, b) = (side(), side());
    let (ours, theirs) = connection(&a.at, &b.at, credits(2, 0), (0, 0));
    let served = b
        .node
        .bind(theirs, Binding::default(), Held::new().server());
    served.unwrap();
    let node = baton_rpc::NodeHandle::clone(&a.node);
    let call = async move {
        let client = node.bind_client(ours, Binding::default()).unwrap();
        DeskClient::new(client).echo(7).await
    };
    let task = a.node.executor().spawn(call).unwrap();
    settle(&[&a, &b], 50);
    assert_eq!(task.try_take(), Some(Ok(Ok(7))));
}

#[test]
fn nodes_may_be_let_go_in_any_order() {
    let (a, b, c) = (side(), side(), side());
    let first = a.node.drive().unwrap();
    let second = b.node.drive().unwrap();
    let third = c.node.drive().unwrap();
    drop(first);
    drop(second);
    drop((a, b));
    assert!(!Here::current().is_null(), "the third is still driven");
    drop(third);
    assert!(Here::current().is_null(), "a node that is gone is current");
}

#[test]
fn a_node_that_was_never_let_go_is_not_current_when_it_is_gone() {
    let (a, b) = (side(), side());
    std::mem::forget(a.node.drive().unwrap());
    let second = b.node.drive().unwrap();
    drop(a);
    drop(second);
    assert!(Here::current().is_null(), "a node that is gone is current");
}

#[test]
fn whoever_finds_the_peer_corrupt_while_asking_for_a_credit_is_told() {
    let (a, nobody) = (side(), side());
    let (ours, theirs) = connection(&a.at, &nobody.at, credits(1, 0), (0, 0));
    let client = a.node.bind_client(ours, Binding::default()).unwrap();
    client.try_send(3, (1u64,)).unwrap();
    // The peer says that it has drained more than was sent.
    let head = theirs.outgoing.word(HEAD_REQUESTS).unwrap();
    head.store(9, Ordering::Release);
    let send = async move { client.send(3, (2u64,)).await };
    let task = a.node.executor().spawn(send).unwrap();
    settle(&[&a], 50);
    let corrupt = Failure::PeerCorrupt(Violation::Head);
    assert_eq!(task.try_take(), Some(Ok(Err(SendError::Failed(corrupt)))));
}

#[test]
fn what_is_spawned_while_a_node_ends_is_dropped_with_it() {
    struct SpawnsAtItsEnd(Handle<Here>, Rc<()>);
    impl Drop for SpawnsAtItsEnd {
        fn drop(&mut self) {
            let (sleep, alive) = (self.0.sleep(1), self.1.clone());
            // It holds its executor's memory, and the memory would hold it.
            let late = self.0.spawn(async move {
                let _alive = alive;
                sleep.await
            });
            assert!(late.is_ok(), "there is a free entry");
        }
    }
    let mut config = small();
    config.tasks = 2;
    let a = Side::<InSlot>::new(config, Arc::new(Ring::new(16)));
    let alive = Rc::new(());
    let executor = a.node.executor();
    // The first entry is free again when the second one's task spawns at its end.
    executor.spawn(async {}).unwrap();
    let spawns = SpawnsAtItsEnd(executor.clone(), alive.clone());
    let waits = async move {
        let _spawns = spawns;
        std::future::pending::<()>().await;
    };
    executor.spawn(waits).unwrap();
    settle(&[&a], 10);
    drop(a);
    assert_eq!(Rc::strong_count(&alive), 1);
}
