//! The dump of a pair that waits for itself says who waits for whom, word for word.

mod common;

use baton_rpc::service;
use common::{DeskClient, Held, Here, Join, Side, credits, free_credits, settle, side};
use std::cell::OnceCell;
use std::rc::Rc;

#[service]
trait Ask {
    async fn ask(&self, depth: u64) -> u64;
}

/// Answers by asking the other side, which does the same, until the credits are out.
struct AskBack(OnceCell<AskClient<Here>>);

impl Ask for Rc<AskBack> {
    async fn ask(&self, depth: u64) -> u64 {
        let other = self.0.get().expect("it was set before the first call");
        other.ask(depth + 1).await.unwrap_or(0)
    }
}

fn dump(side: &Side) -> String {
    let mut text = String::new();
    side.node.dump(&mut text).unwrap();
    text
}

#[test]
fn a_deadlocked_pair_explains_itself() {
    let (a, b) = (side(), side());
    let at_a = Rc::new(AskBack(OnceCell::new()));
    let at_b = Rc::new(AskBack(OnceCell::new()));
    let (to_b, to_a) = Join::of(credits(1, 1)).numbered(3, 5).connect_both(
        &a,
        &b,
        Rc::new(AskServer(at_a.clone())),
        Rc::new(AskServer(at_b.clone())),
    );
    at_a.0.set(AskClient::new(to_b.clone())).ok().unwrap();
    at_b.0.set(AskClient::new(to_a)).ok().unwrap();
    let client = AskClient::new(to_b);
    let asks = async move { client.ask(0).await };
    let task = a
        .node
        .executor()
        .spawn_in(baton_rpc::Band::NORMAL, "asks", asks);
    settle(&[&a, &b], 50);
    assert!(!task.unwrap().is_finished());
    assert_eq!(
        dump(&a),
        r#"inbox: epoch 0, awake
tasks:
  task 0 "handler" band 4: waiting
  task 1 "asks" band 4: waiting
connection 3 to "second": band 4, peer awake
  requests out: 1 sent, 0 not drained; answers in: 0 drained
  requests in: 1 drained; answers out: 0 sent
  dropped: 0 stale answers, 0 bad one-way sends, 0 late cancels
  credit 0: task 1 waits for the answer to the message at position 0 (token 0.0)
  task 0 waits for a credit
  task 0 serves the peer's credit 0 (token 0.0)
"#
    );
    // Its handler waits for the answer of a handler that waits for the only credit, which is out for this one.
    assert_eq!(
        dump(&b),
        r#"inbox: epoch 0, awake
tasks:
  task 0 "handler" band 4: waiting
connection 5 to "first": band 4, peer awake
  requests out: 1 sent, 0 not drained; answers in: 0 drained
  requests in: 1 drained; answers out: 0 sent
  dropped: 0 stale answers, 0 bad one-way sends, 0 late cancels
  credit 0: task 0 waits for the answer to the message at position 0 (token 0.0)
  task 0 serves the peer's credit 0 (token 0.0)
"#
    );
}

#[test]
fn what_is_over_is_not_in_the_dump() {
    let (a, b) = (side(), side());
    let held = Held::new();
    let (client, _) = Join::of(credits(2, 0)).connect(&a, &b, held.server());
    let client = DeskClient::new(client);
    let of_task = client.clone();
    let task = async move { of_task.held(1).await };
    let task = a.node.executor().spawn(task).unwrap();
    settle(&[&a, &b], 50);
    assert!(dump(&b).ends_with("  task 0 serves the peer's credit 0 (token 0.0)\n"));
    held.answer(1);
    settle(&[&a, &b], 50);
    assert!(task.is_finished());
    client.note(2).unwrap();
    let drained = "  dropped: 0 stale answers, 0 bad one-way sends, 0 late cancels\n";
    assert!(dump(&b).ends_with(drained), "{}", dump(&b));
    // A credit that a task once used, used by nobody's one-way send.
    let sent = "  credit 0: somebody has sent, one way, the message at position 1 (token 0.1)\n";
    assert!(dump(&a).ends_with(sent), "{}", dump(&a));
    settle(&[&a, &b], 50);
    assert_eq!(*held.notes.borrow(), [2]);
    assert_eq!(free_credits(client.client()), 2);
    a.node.unbind(0);
    let ended = dump(&a);
    assert!(
        ended.contains("peer awake, ended\n  ended: this side disconnected\n"),
        "{ended}"
    );
    a.turn();
    assert_eq!(dump(&a), "inbox: epoch 0, awake\ntasks:\n");
}
