//! Calls between two nodes on one thread.

use baton_inprocess::{Clock, Sizes, connect, node};
use baton_rpc::{Config, Mode, service};
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

#[test]
fn an_echo_comes_back() {
    let trace = || Arc::new(Ring::new(64));
    let clock = || Clock::Machine(Instant::now());
    let (a, at_a) = node::<baton_inbox::InSlot>(Config::default(), clock(), trace());
    let (b, at_b) = node::<baton_inbox::InSlot>(Config::default(), clock(), trace());
    let sizes = Sizes {
        credits: 4,
        back_credits: 0,
        request_bulk_bytes: 0,
        answer_bulk_bytes: 0,
    };
    let client = connect((&a, &at_a), (&b, &at_b), sizes, Rc::new(EchoServer(Plain))).unwrap();
    let client = EchoClient::new(client);
    let call = a
        .executor()
        .spawn(async move { client.echo([1, 2, 3, 4, 5, 6]).await })
        .unwrap();
    for _ in 0..4 {
        a.turn().unwrap();
        b.turn().unwrap();
    }
    assert_eq!(call.try_take().unwrap().unwrap(), Ok([1, 2, 3, 4, 5, 6]));
    let _ = Mode::Poll;
}
