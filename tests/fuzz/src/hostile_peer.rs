//! A server, called by two honest clients and one hostile one, which it calls as well.
//!
//! What must hold, whatever the input: nothing panics, no turn is endless; the honest clients get right answers and all their
//! credits back; and when the hostile connection has ended, all calls over it have.

use crate::desk::{BULK_BYTES, DeskServer, Gate, Gated, Honest, Named, Order, Side, TURNED};
use crate::desk::{ended, settle};
use crate::hostile::Hostile;
use crate::input::Input;
use baton_inbox::{InSlot, Publication, TailWord};
use baton_inprocess::InProcess;
use baton_rpc::{Binding, Buffer, Client, JoinHandle, Start, Wire};
use std::rc::Rc;

/// The first byte chooses how lanes are published and where positions begin; then come operations.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let first: u8 = input.get();
    let start = if first & 2 == 0 { 0 } else { u32::MAX - 2 };
    if first & 1 == 0 {
        Scene::<InSlot>::new(start).play(&mut input);
    } else {
        Scene::<TailWord>::new(start).play(&mut input);
    }
}

/// Task entries of the hostile peer's node, which never runs: none.
const NO_TASKS: usize = 0;
/// Calls of the victim's that may be under way at the same time, waiting for credits included.
const MOST_CALLS: usize = 24;

struct Scene<U: Publication> {
    victim: Side<U>,
    honest: [Honest<U>; 2],
    /// Its address is the hostile peer's; it is never turned.
    nobody: Side<U>,
    hostile: Hostile,
    gate: Rc<Gate>,
    to_hostile: Option<Client<InProcess<U>>>,
    buffers: Vec<Buffer<InProcess<U>>>,
    calls: Vec<JoinHandle<InProcess<U>, bool>>,
    start: u32,
}

impl<U: Publication> Scene<U> {
    fn new(start: u32) -> Self {
        let victim = Side::new(128);
        let honest = [
            Honest::new(&victim, Side::new(32), 3),
            Honest::new(&victim, Side::new(32), 1),
        ];
        let nobody = Side::new(NO_TASKS);
        let index = victim.node.free_index().expect("the inbox has room");
        let (hostile, _) = Hostile::new(&nobody.at, &victim, index, start);
        let mut scene = Scene {
            victim,
            honest,
            nobody,
            hostile,
            gate: Rc::default(),
            to_hostile: None,
            buffers: Vec::new(),
            calls: Vec::new(),
            start,
        };
        scene.bind();
        scene
    }

    /// A new connection to the hostile peer, if there is none.
    fn bind(&mut self) {
        let Ok(index) = self.victim.node.free_index() else {
            return;
        };
        let (hostile, parts) = Hostile::new(&self.nobody.at, &self.victim, index, self.start);
        let binding = Binding {
            index: Some(index),
            name: "hostile".to_string(),
            start: Start {
                position: self.start,
                generation: u64::from(self.start) << 16 | 0xffff,
            },
            ..Binding::default()
        };
        let service = Rc::new(DeskServer(Gated(self.gate.clone())));
        // Handlers of the connection before may still hold their entries.
        if let Ok(client) = self.victim.node.bind(parts, binding, service) {
            self.hostile = hostile;
            self.to_hostile = Some(client);
        }
    }

    fn unbind(&mut self) {
        if let Some(client) = self.to_hostile.take() {
            let index = client.connection().index();
            self.victim.node.unbind(u32::from(index));
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
        match what % 16 {
            // More often than anything else, so that inputs of random bytes get somewhere.
            0..=5 => self.hostile.act(input),
            6 => {
                self.victim.turn();
            }
            7 => {
                self.honest[input.below(2)].side.turn();
            }
            8 => {
                let which = input.below(2);
                self.honest[which].call(input.get(), input.get());
            }
            9 => {
                let which = input.below(2);
                self.honest[which].cancel(input.below(256));
            }
            10 => {
                let open = input.get::<u8>();
                self.gate.set_open(open & 1 != 0);
                self.honest[0].set_open(open & 2 != 0);
                self.honest[1].set_open(open & 4 != 0);
            }
            11 | 12 => self.call_hostile(input),
            13 => {
                if !self.calls.is_empty() {
                    let which = input.below(self.calls.len());
                    self.calls[which].cancel();
                }
            }
            14 => match input.get::<u8>() % 4 {
                0 => self.unbind(),
                1 => {
                    self.unbind();
                    self.bind();
                }
                2 => {
                    self.unbind();
                    self.victim.turn();
                    self.bind();
                }
                _ => {
                    self.buffers.pop();
                }
            },
            _ => {
                for _ in 0..input.get::<u8>() % 4 + 1 {
                    self.victim.turn();
                    self.honest[0].side.turn();
                    self.honest[1].side.turn();
                }
            }
        }
    }

    fn spawn(&mut self, call: impl Future<Output = bool> + 'static) {
        self.calls.retain(|call| !call.is_finished());
        if self.calls.len() < MOST_CALLS
            && let Ok(task) = self.victim.node.executor().spawn(call)
        {
            self.calls.push(task);
        }
    }

    fn spawn_call<A: Wire + 'static, T: Wire + 'static>(&mut self, method: u16, args: A) {
        let Some(client) = self.to_hostile.clone() else {
            return;
        };
        self.spawn(async move { ended(client.call::<A, T>(method, args).await) });
    }

    fn call_hostile(&mut self, input: &mut Input<'_>) {
        let Some(client) = self.to_hostile.clone() else {
            return;
        };
        match input.get::<u8>() % 12 {
            0 => self.spawn_call::<(u64,), u64>(0, (1,)),
            1 => self.spawn_call::<(Order,), Order>(4, (Order::Nothing,)),
            2 => self.spawn_call::<(), Named>(5, ()),
            3 => self.spawn_call::<(), (bool, Option<char>)>(6, ()),
            4 => self.spawn_call::<(), Result<(u8, i8), [u8; 3]>>(7, ()),
            5 => self.spawn(async move {
                let first = client.call::<(u64,), bool>(0, (1,));
                let second = client.call::<(u64,), char>(1, (2,));
                // The second is awaited first, so that an answer to the first is saved.
                ended(second.await) && ended(first.await)
            }),
            6 => {
                let value = input.get::<u16>();
                if let Ok(call) = client.try_call::<_, u64>(0, (value,)) {
                    drop(call);
                }
            }
            7 => drop(client.try_send(3, (input.get::<u32>(),))),
            8 => self.spawn(async move { client.send(3, (7u64,)).await.is_ok() }),
            9 => {
                if let Ok(mut buffer) = client.try_buffer() {
                    let bytes = [input.get::<u8>(); BULK_BYTES as usize];
                    let written = buffer.write(&bytes);
                    written.expect("the buffer is as long as agreed");
                    self.buffers.push(buffer);
                }
            }
            10 => {
                // The buffer may be one of a connection that has ended.
                if let Some(buffer) = self.buffers.pop() {
                    let twice = input.get::<bool>();
                    self.spawn(call_bulk(client, buffer, twice));
                }
            }
            _ => self.spawn(async move {
                match client.buffer().await {
                    Ok(buffer) => call_bulk(client, buffer, true).await,
                    Err(error) => !error.to_string().is_empty(),
                }
            }),
        }
    }

    fn end(mut self) {
        self.gate.set_open(true);
        // Still with the hostile peer there: everybody comes to rest.
        settle(&[&self.victim, &self.honest[0].side, &self.honest[1].side]);
        self.unbind();
        settle(&[&self.victim]);
        for call in &self.calls {
            assert!(call.is_finished(), "a call outlives its connection");
        }
        let [first, second] = self.honest;
        first.check(&self.victim);
        second.check(&self.victim);
        assert_eq!(self.victim.node.connections().count(), 2);
    }
}

async fn call_bulk<U: Publication>(
    client: Client<InProcess<U>>,
    buffer: Buffer<InProcess<U>>,
    twice: bool,
) -> bool {
    let answer = client.call_bulk::<(u64,), Option<bool>>(TURNED, (1,), buffer);
    match answer.await {
        Ok(answer) => {
            assert!(answer.bytes().len() <= BULK_BYTES as usize);
            assert_eq!(answer.to_vec().len(), answer.bytes().len());
            if twice {
                let again = client.call_bulk::<(), u64>(TURNED, (), answer.into_buffer());
                ended(again.await)
            } else {
                true
            }
        }
        Err(error) => !error.to_string().is_empty(),
    }
}
