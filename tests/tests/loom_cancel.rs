//! Cancel against answer: a call is dropped while its server answers, and the next call needs its credit and its slot.
//!
//! Real code: whole nodes (`rpc`, executor, inbox, registry), a thread each, both asleep whenever they have nothing to do, over lanes
//! of one slot with one credit. Properties: the second call gets the credit and its own answer, no slot is overwritten before it
//! is drained (the second request or its answer would be missing), no answer is taken for another's, the credit comes back exactly
//! once, and nobody sleeps for ever. Each test also checks that the model reached what it is about: an answer before the CANCEL
//! *and* a CANCEL before the answer.
//!
//! Bounds: two threads, two calls; at most 2 preemptions. (3 pass as well, in 50 s a test.)
//!
//! For the weakened variants, a client in this file, on a real `Link`, walks through the states of `rpc`'s tokens, one of its
//! steps left out, against a real node that serves it; with no step left out it passes. A node on weakened lanes fails, too.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p baton-tests --test loom_cancel`.
#![cfg(loom)]

mod loom_common;

use baton_inbox::layout::{HEAD_REQUESTS, TAIL_ANSWERS};
use baton_inbox::{
    Bell, InSlot, Info, Kind, LaneReader, Link, LinkParts, OwnState, Platform, Publication, Status,
    TailWord, Token, sender_fence,
};
use baton_rpc::{
    Binding, CallError, CellSize, Config, FreeCell, Interface, Mode, Node, OneWay, Request,
    Service, Started,
};
use baton_shm::{ReadSlots, Word};
use baton_trace::Ring;
use loom::thread;
use loom_common::{RelaxedInSlot, StickyBell, ends, explore};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};
use std::task::{Poll, Waker};

loom::thread_local! {
    static CURRENT: Cell<*const ()> = Cell::new(std::ptr::null());
}

/// A machine of loom's threads, without a clock.
struct LoomPlatform<U> {
    bell: StickyBell,
    publication: PhantomData<U>,
}

impl<U: Publication> Platform for LoomPlatform<U> {
    type Bell = StickyBell;
    type Publication = U;

    fn wait(&self, deadline_ns: Option<u64>) {
        assert_eq!(deadline_ns, None, "there are no timers here");
        self.bell.wait();
    }

    fn own_bell(&self) -> StickyBell {
        self.bell.clone()
    }

    fn now_ns(&self) -> u64 {
        0
    }

    fn spin_budget_ns(&self) -> u64 {
        0
    }

    fn spin_ended(&self, _spun_ns: u64, _found_work: bool) {}

    fn current() -> *const () {
        // When a model has failed, its threads unwind outside of loom.
        if std::thread::panicking() {
            return std::ptr::null();
        }
        CURRENT.with(Cell::get)
    }

    fn set_current(current: *const ()) {
        // As above.
        if !std::thread::panicking() {
            CURRENT.with(|cell| cell.set(current));
        }
    }
}

/// Answers a number with itself, after `polls` polls that were in vain.
struct Echo {
    polls: u32,
    served_first: Cell<bool>,
    last: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

impl Echo {
    async fn echo(&self, number: u64) -> u64 {
        let mut left = self.polls;
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.served_first
            .set(self.served_first.get() || number == 1);
        self.last.set(number);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        number
    }
}

impl<P: Platform> Service<P> for Echo {
    const INTERFACE: Interface = Interface {
        name: "Echo",
        hash: 0,
        methods: &["echo"],
    };

    fn serve<'a>(&'a self, request: Request<'a, P>, cell: FreeCell<'a, P>) -> Started {
        let number = request.args::<u64>().expect("a number");
        let reply = request.into_reply();
        cell.start(self.echo(number), move |number, when| {
            reply.send(number, when)
        })
    }

    const CELLS: CellSize = CellSize::NONE;

    fn notify(&self, _message: OneWay<'_, P>) {
        unreachable!("nothing is sent one way");
    }
}

/// How the first call ended in the interleavings that were explored, counted beside the model.
#[derive(Default)]
struct Ends {
    answer_first: AtomicU64,
    cancel_first: AtomicU64,
}

/// A node that is forgotten when the model fails: its end needs loom.
type Kept<U> = ManuallyDrop<Node<LoomPlatform<U>>>;

fn make_node<U: Publication>(bell: &StickyBell, state: &Word, hint: &Word) -> Kept<U> {
    let platform = LoomPlatform {
        bell: bell.clone(),
        publication: PhantomData,
    };
    let config = Config {
        tasks: 2,
        timers: 0,
        // One task a turn, so that a CANCEL can come between two polls of a handler.
        quantum: 1,
    };
    let trace = Arc::new(Ring::new(1));
    ManuallyDrop::new(Node::new(platform, state.clone(), hint.clone(), trace, config).unwrap())
}

/// Serves until the second call has been answered, asleep whenever there is nothing to do.
fn serve<U: Publication>(node: Kept<U>, parts: LinkParts<StickyBell>, polls: u32, ends: &Ends) {
    let echo = Rc::new(Echo {
        polls,
        served_first: Cell::new(false),
        last: Cell::new(0),
        waker: RefCell::new(None),
    });
    let back = node.bind(parts, Binding::default(), echo.clone()).unwrap();
    let until_second = poll_fn(|context| {
        if echo.last.get() >= 2 {
            return Poll::Ready(());
        }
        echo.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    });
    node.run_until(Mode::Park, until_second).unwrap();
    assert_eq!(back.connection().failure(), None);
    let late = back.connection().counters().late_cancels.get();
    if late != 0 {
        ends.answer_first.fetch_add(1, Relaxed);
    } else if !echo.served_first.get() {
        ends.cancel_first.fetch_add(1, Relaxed);
    }
    drop(back);
    drop(ManuallyDrop::into_inner(node));
}

/// The client's node: `turns` turns between its first call and the end of that call.
fn call<U: Publication>(node: Kept<U>, parts: LinkParts<StickyBell>, turns: u32) {
    let client = node.bind_client(parts, Binding::default()).unwrap();
    let dropped = client.call::<u64, u64>(0, 1);
    for _ in 0..turns {
        node.turn().unwrap();
    }
    drop(dropped);
    let second = client.call::<u64, u64>(0, 2);
    let answer: Result<u64, CallError> = node.run_until(Mode::Park, second).unwrap();
    assert_eq!(answer, Ok(2));
    assert_eq!(client.connection().failure(), None);
    assert_eq!(client.connection().counters().stale_answers.get(), 0);
    let third = client.try_call::<u64, u64>(0, 3);
    assert!(third.is_ok(), "the credit is lost");
    let fourth = client.try_call::<u64, u64>(0, 4);
    assert!(fourth.is_err(), "the credit came back twice");
    drop((third, fourth));
    drop(client);
    drop(ManuallyDrop::into_inner(node));
}

fn nodes<U: Publication>(turns: u32, polls: u32) -> Arc<Ends> {
    let counts = Arc::new(Ends::default());
    let result = counts.clone();
    explore(2, move || {
        let bells = [StickyBell::new(1), StickyBell::new(1)];
        let ends = ends(1, &bells);
        let [to_server, to_client] = ends.parts;
        let node = make_node::<U>(&bells[0], &ends.states[0], &ends.hints[0]);
        let (bell, clients_bell) = (bells[1].clone(), bells[0].clone());
        let ([_, state], [_, hint]) = (ends.states, ends.hints);
        let counts = counts.clone();
        thread::spawn(move || {
            let node = make_node::<U>(&bell, &state, &hint);
            serve::<U>(node, to_client, polls, &counts);
            clients_bell.finish();
        });
        call::<U>(node, to_server, turns);
        bells[1].finish();
        bells[0].wait_for_the_end();
    });
    result
}

#[test]
fn a_call_dropped_after_a_turn_leaves_nothing_behind() {
    let ends = nodes::<InSlot>(1, 1);
    assert_ne!(ends.answer_first.load(Relaxed), 0);
    assert_ne!(ends.cancel_first.load(Relaxed), 0);
}

#[test]
fn a_call_dropped_after_two_turns_leaves_nothing_behind() {
    let ends = nodes::<InSlot>(2, 1);
    assert_ne!(ends.answer_first.load(Relaxed), 0);
    assert_ne!(ends.cancel_first.load(Relaxed), 0);
}

#[test]
fn a_call_dropped_at_once_leaves_nothing_behind() {
    // Its handler finishes in its first poll: the CANCEL is always late, or not sent at all.
    let ends = nodes::<InSlot>(0, 0);
    assert_eq!(ends.cancel_first.load(Relaxed), 0);
}

#[test]
fn lanes_with_a_tail_word_do_the_same() {
    let ends = nodes::<TailWord>(1, 1);
    assert_ne!(ends.answer_first.load(Relaxed), 0);
    assert_ne!(ends.cancel_first.load(Relaxed), 0);
}

#[test]
#[should_panic(expected = "sleeps for ever")]
fn nodes_on_lanes_with_relaxed_publication_fail() {
    nodes::<RelaxedInSlot>(1, 1);
}

/// What the client in this file leaves out.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    /// CANCEL is sent before its request's slot is drained.
    HeadOfRequest,
    /// The answer gives the credit back although CANCEL is still in its slot.
    HeadOfCancel,
    /// The head gives the credit back although the answer is still out.
    Answer,
}

/// Where the one credit is; the names are those of `rpc`'s token states.
#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Free,
    Abandoned,
    Cancelling,
    CancelSent,
    CancelOnly,
}

/// WEAKENED copy of the client's half of a cancelled call, and a second call on the same credit.
fn call_by_hand(
    parts: &LinkParts<StickyBell>,
    own: &OwnState,
    bell: &StickyBell,
    without: Without,
) {
    let link = Link::<InSlot>::new(parts, 0).unwrap();
    let (region, layout) = (&parts.incoming, &parts.in_layout);
    let slots = ReadSlots::new(region, layout.answer_slots(), layout.answer_bits()).unwrap();
    let answers_in = LaneReader::<InSlot>::new(slots, region.word(TAIL_ANSWERS).unwrap(), 0);
    let head_of_requests = parts.incoming.word(HEAD_REQUESTS).unwrap();
    let flush = || {
        sender_fence();
        link.peer_hint.raise();
        if link.peer_state.must_ring() {
            parts.bell.ring();
        }
    };
    let push = |kind, generation, number| {
        let words = usize::from(kind == Kind::Request);
        let token = Token::new(0, generation);
        link.requests_out
            .push(Info::new(kind, 0, words), token, |out| {
                if words != 0 {
                    out.word(number);
                }
            });
        link.requests_out.flush();
        flush();
    };
    let answer = || {
        let found = answers_in.peek().unwrap()?;
        let answer = (
            found.token().generation(),
            found.info().method(),
            found.payload().word(),
        );
        answers_in.advance();
        Some(answer)
    };
    // Steps until `step` says that it is done, asleep whenever it says that nothing has changed.
    let until = |step: &mut dyn FnMut() -> Option<bool>| {
        loop {
            while let Some(done) = step() {
                if done {
                    return;
                }
            }
            own.announce_sleep();
            link.set_want_space(true);
            sender_fence();
            match step() {
                Some(true) => return,
                Some(false) => {}
                None => bell.wait(),
            }
            own.awake();
        }
    };
    push(Kind::Request, 0, 1);
    // Dropped at once.
    let mut state = State::Abandoned;
    until(&mut || {
        // Unchecked, so that what breaks is the protocol and not the check in `Link::peer_head`.
        let head = head_of_requests.load(Acquire) as u32; // pairs with `publish_request_head`
        let next = match state {
            State::Abandoned if without == Without::HeadOfRequest || head == 1 => {
                push(Kind::Cancel, 0, 0);
                State::Cancelling
            }
            State::Cancelling if head == 2 && without == Without::Answer => State::Free,
            State::Cancelling if head == 2 => State::CancelSent,
            State::CancelOnly if head == 2 => State::Free,
            _ => {
                let (generation, _, _) = answer()?;
                assert_eq!(generation, 0);
                match state {
                    State::Cancelling if without != Without::HeadOfCancel => State::CancelOnly,
                    _ => State::Free,
                }
            }
        };
        state = next;
        Some(state == State::Free)
    });
    push(Kind::Request, 1, 2);
    until(&mut || {
        let (generation, status, number) = answer()?;
        assert_eq!(
            (generation, status, number),
            (1, Status::Done as u16, 2),
            "a wrong answer"
        );
        Some(true)
    });
}

fn client_by_hand(without: Without) {
    explore(2, move || {
        let bells = [StickyBell::new(1), StickyBell::new(1)];
        let ends = ends(1, &bells);
        let [to_server, to_client] = ends.parts;
        let node = make_node::<InSlot>(&bells[1], &ends.states[1], &ends.hints[1]);
        let own = OwnState::new(ends.states[0].clone());
        let bell = bells[0].clone();
        let servers_bell = bells[1].clone();
        thread::spawn(move || {
            call_by_hand(&to_server, &own, &bell, without);
            servers_bell.finish();
        });
        serve::<InSlot>(node, to_client, 1, &Ends::default());
        bells[0].finish();
        bells[1].wait_for_the_end();
    });
}

#[test]
fn a_client_by_hand_passes() {
    client_by_hand(Without::Nothing);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_cancel_sent_before_its_request_is_drained_overwrites_it() {
    client_by_hand(Without::HeadOfRequest);
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_credit_that_does_not_wait_for_the_cancels_slot_overwrites_it() {
    client_by_hand(Without::HeadOfCancel);
}

#[test]
#[should_panic(expected = "a wrong answer")]
fn a_credit_that_does_not_wait_for_the_answer_is_used_twice() {
    client_by_hand(Without::Answer);
}
