//! `spsc_futex`: the same pair of rings as `spsc_spin`, with a futex to sleep on; W1 with both sides on one core.
//!
//! Each direction has a word that the consumer sets before it sleeps. Producer: publish, fence, look at the word; only
//! if it is set, clear it and wake. Consumer: set the word, fence, look at the ring again, wait while the word is set.
//! No side spins before it sleeps, for on one core the other side cannot run meanwhile. The server sleeps for
//! each request and the client for each answer: two wakes a round trip, the least that there can be.

use std::sync::atomic::{AtomicU32, Ordering, fence};

use baton_bench_harness::{
    Calibrator, Driver, Group, HarnessError, Job, LatencyRecorder, RoleContext, RoleFn, Sample,
    Shape, SharedArea, Workload, futex_half, futex_wait, futex_wake,
};

use crate::ring::{Consumer, Message, Producer, ring_words};
use crate::spsc_spin::check;

const CAPACITY: usize = 64;
/// Distance of the two sleep words in words: a pair of cache lines each.
const SLEEP_WORDS: usize = 16;

/// The roles of this peer.
pub const ROLES: [(&str, RoleFn); 2] =
    [("spsc_futex/server", server), ("spsc_futex/client", client)];

/// The driver of this peer.
pub struct SpscFutex;

impl Driver for SpscFutex {
    fn peer(&self) -> &'static str {
        "spsc_futex"
    }

    fn shapes(&self) -> Vec<Shape> {
        vec![Shape::new(Workload::W1Asleep, 1, 1)]
    }

    fn sample(&mut self, job: &Job, calibrator: &mut Calibrator) -> Result<Sample, HarnessError> {
        let group = Group::new(*job, 2 * (ring_words(CAPACITY) + SLEEP_WORDS))?;
        group.run_server_and_clients("spsc_futex/server", "spsc_futex/client", calibrator)
    }
}

/// One end of both rings and both sleep words.
struct End<'a> {
    outgoing: Producer<'a>,
    peer_sleeps: &'a AtomicU32,
    incoming: Consumer<'a>,
    own_sleeps: &'a AtomicU32,
}

impl<'a> End<'a> {
    fn new(area: &'a SharedArea, is_server: bool) -> Self {
        let (out, back) = if is_server { (1, 0) } else { (0, 1) };
        let sleep = |ring: usize| {
            futex_half(area.workload_word(2 * ring_words(CAPACITY) + SLEEP_WORDS * ring))
        };
        Self {
            outgoing: Producer::new(area, out * ring_words(CAPACITY), CAPACITY),
            peer_sleeps: sleep(out),
            incoming: Consumer::new(area, back * ring_words(CAPACITY), CAPACITY),
            own_sleeps: sleep(back),
        }
    }

    #[inline]
    fn send(&mut self, message: &Message) {
        self.outgoing.push(message);
        // Pairs with the fence in receive: either the consumer sees the message or we see that it sleeps.
        fence(Ordering::SeqCst);
        if self.peer_sleeps.load(Ordering::Relaxed) != 0 {
            self.peer_sleeps.store(0, Ordering::Relaxed);
            futex_wake(self.peer_sleeps, 1);
        }
    }

    #[inline]
    fn receive(&mut self) -> Message {
        loop {
            if let Some(message) = self.incoming.pop() {
                return message;
            }
            self.own_sleeps.store(1, Ordering::Relaxed);
            // Pairs with the fence in send.
            fence(Ordering::SeqCst);
            if let Some(message) = self.incoming.pop() {
                self.own_sleeps.store(0, Ordering::Relaxed);
                return message;
            }
            while self.own_sleeps.load(Ordering::Relaxed) != 0 {
                futex_wait(self.own_sleeps, 1, None);
            }
        }
    }
}

fn server(context: &RoleContext) -> Result<(), HarnessError> {
    let mut end = End::new(&context.area, true);
    context.announce_ready();
    context.wait_go();
    loop {
        let message = end.receive();
        if message.token == Message::STOP {
            return Ok(());
        }
        end.send(&message);
    }
}

fn client(context: &RoleContext) -> Result<(), HarnessError> {
    let mut end = End::new(&context.area, false);
    context.announce_ready();
    context.wait_go();
    let mut recorder = LatencyRecorder::start(&context.job);
    let mut token = 0;
    loop {
        for _ in 0..recorder.batch() {
            end.send(&Message::with_token(token));
            check(&end.receive(), token)?;
            token += 1;
        }
        if !recorder.lap() {
            break;
        }
    }
    context.report(&recorder.values());
    context.finish();
    end.send(&Message::with_token(Message::STOP));
    Ok(())
}
