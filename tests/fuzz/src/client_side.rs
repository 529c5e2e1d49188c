//! A client of two servers, one honest and one hostile, with the same token numbers at both.
//!
//! What must hold, whatever the input: an answer that the hostile server writes completes none but its own calls; a value that
//! a call brings is one that the hostile server has written for that very token; and all calls end with the connection.

use crate::desk::{Honest, Order, Side, ended, settle};
use crate::hostile::Hostile;
use crate::input::Input;
use baton_inbox::{InSlot, Publication, TailWord};
use baton_inprocess::InProcess;
use baton_rpc::{Binding, CallError, Client, JoinHandle, Start, Wire};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// The first byte chooses how lanes are published and where positions begin; then come operations.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let first: u8 = input.get();
    let start = if first & 2 == 0 { 0 } else { u32::MAX - 1 };
    if first & 1 == 0 {
        Scene::<InSlot>::new(start).play(&mut input);
    } else {
        Scene::<TailWord>::new(start).play(&mut input);
    }
}

/// Calls to the hostile server that may be under way at the same time.
const MOST_CALLS: usize = 24;

struct Scene<U: Publication> {
    server: Side<U>,
    /// The victim: an honest client of `server`.
    victim: Honest<U>,
    hostile: Hostile,
    client: Client<InProcess<U>>,
    calls: Vec<JoinHandle<InProcess<U>, bool>>,
    /// What tasks that wait for one of two events wait for beside an answer.
    nudges: Rc<Cell<u32>>,
}

impl<U: Publication> Scene<U> {
    fn new(start: u32) -> Self {
        let server = Side::new(32);
        let victim = Honest::new(&server, Side::new(64), 3);
        let nobody = Side::<U>::new(0);
        let index = victim.side.node.free_index().expect("the inbox has room");
        let (hostile, parts) = Hostile::new(&nobody.at, &victim.side, index, start);
        let binding = Binding {
            index: Some(index),
            name: "hostile".to_string(),
            start: Start {
                position: start,
                generation: u64::from(start) << 16 | 0xffff,
            },
            ..Binding::default()
        };
        let client = victim.side.node.bind_client(parts, binding);
        Scene {
            server,
            victim,
            hostile,
            client: client.expect("there is room for it"),
            calls: Vec::new(),
            nudges: Rc::default(),
        }
    }

    fn play(mut self, input: &mut Input<'_>) {
        while !input.is_empty() {
            self.step(input);
        }
        self.end();
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let what: u8 = input.get();
        match what % 12 {
            0..=3 => self.hostile.act(input),
            4 => {
                self.victim.side.turn();
            }
            5 => {
                self.server.turn();
            }
            6 => self.victim.call(input.get(), input.get()),
            7 => self.victim.set_open(input.get()),
            8 | 9 => self.call_hostile(input),
            10 => {
                if !self.calls.is_empty() {
                    let which = input.below(self.calls.len());
                    self.calls[which].cancel();
                }
            }
            _ => {
                self.nudges.set(self.nudges.get() + 1);
                settle(&[&self.victim.side, &self.server]);
            }
        }
    }

    fn spawn(&mut self, call: impl Future<Output = bool> + 'static) {
        self.calls.retain(|call| !call.is_finished());
        if self.calls.len() < MOST_CALLS
            && let Ok(task) = self.victim.side.node.executor().spawn(call)
        {
            self.calls.push(task);
        }
    }

    fn typed<T: Wire + 'static>(&mut self, method: u16) {
        let client = self.client.clone();
        self.spawn(async move { ended(client.call::<(), T>(method, ()).await) });
    }

    fn call_hostile(&mut self, input: &mut Input<'_>) {
        let method = u16::from(input.get::<u8>());
        let client = self.client.clone();
        match input.get::<u8>() % 16 {
            0 => self.typed::<u64>(method),
            1 => self.typed::<u8>(method),
            2 => self.typed::<bool>(method),
            3 => self.typed::<char>(method),
            4 => self.typed::<Option<bool>>(method),
            5 => self.typed::<Result<char, u16>>(method),
            6 => self.typed::<(i8, i16, i32)>(method),
            7 => self.typed::<[u8; 43]>(method),
            8 => self.typed::<Order>(method),
            9 => self.typed::<(f32, Option<i128>)>(method),
            10 => self.typed::<()>(method),
            11 => self.spawn(async move {
                let Ok(buffer) = client.buffer().await else {
                    return false;
                };
                let call = client.call_bulk::<(), Result<u8, bool>>(method, (), buffer);
                match call.await {
                    Ok(answer) => answer.to_vec().len() <= answer.into_buffer().capacity_bytes(),
                    Err(error) => ended::<()>(Err(error)),
                }
            }),
            12 => {
                // Whichever comes first; the call that loses is dropped, perhaps with its answer.
                let (nudges, seen) = (self.nudges.clone(), self.nudges.get());
                self.spawn(async move {
                    let mut call = pin!(client.call::<(), u64>(method, ()));
                    let first = poll_fn(|context| {
                        if nudges.get() != seen {
                            return Poll::Ready(Err(CallError::Cancelled));
                        }
                        call.as_mut().poll(context)
                    });
                    ended(first.await)
                });
            }
            13 => {
                // A waker of somebody else's, and calls that are moved from task to task.
                let first = client.try_call::<_, u64>(method, (1u8,));
                drop(first);
            }
            14 => drop(client.try_send(method, (method,))),
            _ => self.spawn(async move {
                let calls: [_; 4] =
                    std::array::from_fn(|_| client.call::<(), Option<u32>>(method, ()));
                let mut all = true;
                for call in calls.into_iter().rev() {
                    all &= ended(call.await);
                }
                all
            }),
        }
    }

    fn end(self) {
        self.victim.set_open(true);
        settle(&[&self.victim.side, &self.server]);
        let index = self.client.connection().index();
        self.victim.side.node.unbind(u32::from(index));
        settle(&[&self.victim.side, &self.server]);
        for call in &self.calls {
            assert!(call.is_finished(), "a call outlives its connection");
        }
        self.victim.check(&self.server);
    }
}
