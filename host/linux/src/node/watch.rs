//! What the control thread can say without the executor: how far that has come, and what the trace holds.

use crate::credentials::PeerInfo;
use crate::inspect::{Answer, Outside, Question};
use baton_executor::Watch;
use baton_inbox::layout::MAX_CONNECTIONS;
use baton_trace::{Names, Requester, Ring, write_chrome_json, write_text};
use core::fmt::{self, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The executor's watch, set as soon as there is one.
#[derive(Clone, Default)]
pub(super) struct Late(Arc<OnceLock<Watch>>);

impl Late {
    pub(super) fn set(&self, watch: Watch) {
        // A node has one executor, so this is the first time.
        let _ = self.0.set(watch);
    }
}

/// Says how far the executor has come and what it polled last.
pub(super) fn outside(watch: &Late) -> Outside {
    let watch = watch.clone();
    Box::new(move || {
        let Some(watch) = watch.0.get() else {
            return "the executor has not begun".into();
        };
        let doing = if watch.is_sleeping() {
            "it sleeps"
        } else {
            "it is awake"
        };
        let task = match watch.last_polled() {
            Some(task) => format!("polled task {task} last"),
            None => "polled no task lately".into(),
        };
        format!("executor: {} turns done, {doing}, {task}", watch.turns())
    })
}

/// Whom a connection led to last.
#[derive(Clone)]
struct Label {
    name: String,
    pid: u32,
    bit: u32,
}

/// Whom each connection led to last, for the trace; events outlive the connections.
#[derive(Clone)]
pub(super) struct Labels(Arc<Mutex<[Option<Label>; MAX_CONNECTIONS]>>);

impl Default for Labels {
    fn default() -> Self {
        Labels(Arc::new(Mutex::new([const { None }; MAX_CONNECTIONS])))
    }
}

impl Labels {
    /// Connection `own_bit` leads to `peer`, where it has the number `peer_bit`.
    pub(super) fn set(&self, own_bit: u32, peer: &PeerInfo, peer_bit: u32) {
        let label = Label {
            name: peer.name.clone(),
            pid: peer.pid.unsigned_abs(),
            bit: peer_bit,
        };
        let mut labels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = labels.get_mut(own_bit as usize) {
            *place = Some(label);
        }
    }

    fn get(&self, connection: u16) -> Option<Label> {
        let labels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        labels.get(usize::from(connection))?.clone()
    }
}

/// The names in a trace: those of the peers.
struct TraceNames<'a> {
    labels: &'a Labels,
    process: &'a str,
}

impl Names for TraceNames<'_> {
    fn process(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "{} (pid {})", self.process, std::process::id())
    }

    fn connection(&self, connection: u16, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.labels.get(connection) {
            Some(peer) => write!(
                out,
                "connection {connection} to {} (pid {})",
                peer.name, peer.pid
            ),
            None => write!(out, "connection {connection}"),
        }
    }

    fn flow(&self, connection: u16, requester: Requester) -> u64 {
        let Some(peer) = self.labels.get(connection) else {
            return u64::from(connection);
        };
        let own = end(std::process::id(), u32::from(connection));
        let peers = end(peer.pid, peer.bit);
        match requester {
            Requester::ThisProcess => own << 32 | peers,
            Requester::Peer => peers << 32 | own,
        }
    }
}

/// One end of a connection, in 28 bits: process ids have 22.
fn end(pid: u32, bit: u32) -> u64 {
    u64::from(pid & 0x3f_ffff) << 6 | u64::from(bit & 0x3f)
}

/// Answers what is asked about the trace.
pub(super) fn answer(ring: &Arc<Ring>, labels: &Labels, name: Option<String>) -> Answer {
    let ring = ring.clone();
    let labels = labels.clone();
    let name = name.unwrap_or_else(|| "baton".into());
    Box::new(move |question| {
        let mut text = String::new();
        let written = match question {
            Question::Dump => return None,
            Question::TraceOn | Question::TraceOff => {
                ring.set_on(question == Question::TraceOn);
                let switch = if ring.is_on() { "on" } else { "off" };
                let (capacity, recorded) = (ring.capacity(), ring.recorded());
                writeln!(
                    text,
                    "trace {switch}; the last {capacity} events are kept, {recorded} were recorded"
                )
            }
            Question::Events => write_text(&ring.snapshot(), &mut text),
            Question::Chrome => {
                let names = TraceNames {
                    labels: &labels,
                    process: &name,
                };
                write_chrome_json(&ring.snapshot(), std::process::id(), &names, &mut text)
            }
        };
        // Writing to a string cannot fail.
        written.is_ok().then_some(text)
    })
}
