//! Peers that answer what nobody asked, and publish what cannot be.

use baton_inbox::{InSlot, Info, Kind, Link, LinkParts, Publication, Status, TailWord, Token};
use baton_inprocess::{Address, Clock, FlagBell, InProcess, Sizes, connection, node};
use baton_rpc::{Binding, CallError, Client, Config, Failure, JoinHandle, Node, Violation};
use baton_trace::Ring;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

type Answered = Result<u64, CallError>;

fn quiet<U: Publication>() -> (Node<InProcess<U>>, Address) {
    let clock = Clock::Manual(Arc::new(Mutex::new(0)));
    node(Config::default(), clock, Arc::new(Ring::new(8)))
}

/// A client node, and the other end of its connection in the hands of the test.
struct Scene<U: Publication> {
    victim: Node<InProcess<U>>,
    client: Client<InProcess<U>>,
    liar: Link<U>,
    raw: LinkParts<FlagBell>,
    _elsewhere: Node<InProcess<U>>,
}

fn scene<U: Publication>() -> Scene<U> {
    let (victim, at_victim) = quiet::<U>();
    let (elsewhere, at_elsewhere) = quiet::<U>();
    let sizes = Sizes {
        credits: 4,
        back_credits: 4,
        request_bulk_bytes: 0,
        answer_bulk_bytes: 0,
    };
    let (own, raw) = connection(&at_victim, &at_elsewhere, sizes, (0, 0));
    let binding = Binding {
        index: Some(0),
        ..Binding::default()
    };
    let client = victim.bind_client(own, binding).unwrap();
    victim.turn().unwrap();
    Scene {
        victim,
        client,
        liar: Link::new(&raw, 0).unwrap(),
        raw,
        _elsewhere: elsewhere,
    }
}

impl<U: Publication> Scene<U> {
    fn call(&self) -> JoinHandle<InProcess<U>, Answered> {
        let client = self.client.clone();
        let call = async move { client.call::<(u64,), u64>(0, (7,)).await };
        let task = self.victim.executor().spawn(call).unwrap();
        self.victim.turn().unwrap();
        task
    }

    fn answer(&self, token: Token, value: u64) {
        let info = Info::new(Kind::Answer, Status::Done as u16, 1);
        self.liar
            .answers_out()
            .push(info, token, |out| out.word(value));
        self.liar.answers_out().flush();
        self.victim.turn().unwrap();
    }

    fn stale(&self) -> u64 {
        self.client.connection().counters().stale_answers.get()
    }
}

#[test]
fn forged_and_repeated_answers_are_counted_and_dropped() {
    let scene = scene::<InSlot>();
    let task = scene.call();
    let asked = scene.liar.requests_in.peek().unwrap().unwrap().token();
    let forged = [
        // Of a generation to come, of a credit that waits for nothing, beyond the table, and no token at all.
        Token::new(asked.index(), asked.generation().wrapping_add(1)),
        Token::new(asked.index() + 1, 0),
        Token::new(1000, 0),
        Token::NONE,
    ];
    for (count, token) in (1..).zip(forged) {
        scene.answer(token, 666);
        assert!(!task.is_finished(), "{token:?} was taken for the answer");
        assert_eq!(scene.stale(), count);
    }
    scene.answer(asked, 8);
    assert_eq!(task.try_take().unwrap().unwrap(), Ok(8));
    scene.answer(asked, 666);
    assert_eq!(scene.stale(), 5);
    assert_eq!(scene.client.connection().failure(), None);
}

#[test]
fn an_answer_by_another_peers_lane_is_not_accepted() {
    let (one, other) = (scene::<InSlot>(), scene::<InSlot>());
    let task = one.call();
    let asked = one.liar.requests_in.peek().unwrap().unwrap().token();
    other.answer(asked, 666);
    one.victim.turn().unwrap();
    assert!(!task.is_finished());
    assert_eq!((one.stale(), other.stale()), (0, 1));
}

#[test]
fn a_message_of_another_kind_is_no_answer() {
    let scene = scene::<InSlot>();
    let task = scene.call();
    let asked = scene.liar.requests_in.peek().unwrap().unwrap().token();
    let info = Info::new(Kind::Request, Status::Done as u16, 1);
    scene
        .liar
        .answers_out()
        .push(info, asked, |out| out.word(666));
    scene.victim.turn().unwrap();
    let answer = task.try_take().unwrap().unwrap();
    assert_eq!(answer, Err(CallError::BadAnswer));
}

#[test]
fn a_tail_that_jumps_or_runs_backwards_is_quarantined() {
    for tail in [5, u64::from(u32::MAX), 1 << 20] {
        let scene = scene::<TailWord>();
        let task = scene.call();
        let word = scene
            .raw
            .outgoing
            .word(baton_inbox::layout::TAIL_ANSWERS)
            .unwrap();
        // Release: pairs with the Acquire load in `TailWord::peek`.
        word.store(tail, Ordering::Release);
        for _ in 0..2 {
            scene.victim.turn().unwrap();
        }
        let corrupt = Failure::PeerCorrupt(Violation::Tail);
        assert_eq!(scene.client.connection().failure(), Some(corrupt));
        let answer = task.try_take().unwrap().unwrap();
        assert_eq!(answer, Err(CallError::Failed(corrupt)), "tail {tail:#x}");
    }
}
