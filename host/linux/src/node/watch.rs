//! What the control thread can say without the executor: how far that has come, and what the trace holds.

use crate::credentials::PeerInfo;
use crate::inspect::{Answer, Outside, Question};
use baton_executor::{Polled, Watch};
use baton_inbox::layout::MAX_CONNECTIONS;
use baton_trace::{End, Peer, Ring, Unit, write_lines, write_text};
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
            Some(Polled::Task(task)) => format!("polled task {task} last"),
            Some(Polled::NewHandlers(first)) => {
                format!("started handlers last, whose tasks begin at {first}")
            }
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

    /// Writes what `ring` holds as the recording of this process, under that name.
    pub(super) fn write_recording(
        &self,
        ring: &Ring,
        name: &str,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        let labels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = labels.clone();
        let connections = labels.iter().zip(0..).filter_map(|(label, number)| {
            let label = label.as_ref()?;
            let end = End {
                process: label.pid,
                connection: u16::try_from(label.bit).ok()?,
            };
            Some((number, Peer::Process(end), label.name.as_str()))
        });
        let events = ring.snapshot();
        let own = std::process::id();
        write_lines(own, Unit::Nanoseconds, name, connections, &events, out)
    }
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
            Question::Recording => {
                let name = format!("{name} (pid {})", std::process::id());
                labels.write_recording(&ring, &name, &mut text)
            }
        };
        // Writing to a string cannot fail.
        written.is_ok().then_some(text)
    })
}
