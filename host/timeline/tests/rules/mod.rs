//! The rules that a file of trace events must keep, so that a viewer shows all of it; for the tests of all that write one.
//!
//! They are those of Chrome's trace-event format and of Perfetto's reader of it: slices of a track nest; a flow has one start, which
//! comes first, and one end, which comes last; each of its parts lies in a slice of its own track.
#![allow(dead_code, reason = "each test uses a part")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    pub name: String,
    pub track: (u64, u64),
    pub start: u64,
    pub end: u64,
    pub args: Value,
}

/// A part of a flow: its phase, time and track.
type Part<'a> = (&'a str, u64, (u64, u64));

/// A file that keeps the rules.
pub struct Trace {
    pub slices: Vec<Slice>,
    /// By number: the indices of the slices that the flow leads through, in order.
    pub flows: BTreeMap<u64, Vec<usize>>,
    /// Names of processes by number.
    pub processes: BTreeMap<u64, String>,
    /// Names of tracks by process and number.
    pub tracks: BTreeMap<(u64, u64), String>,
}

fn number(event: &Value, field: &str) -> u64 {
    let value = &event[field];
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{field} in {event}"))
}

/// A time in thousandths of the file's unit, which it must be a whole number of.
fn time(event: &Value, field: &str) -> u64 {
    let value = event[field].as_f64();
    let value = value.unwrap_or_else(|| panic!("{field} in {event}")) * 1000.0;
    assert!(value >= 0.0 && (value - value.round()).abs() < 0.01);
    value.round() as u64
}

fn track(event: &Value) -> (u64, u64) {
    let track = (number(event, "pid"), number(event, "tid"));
    // Perfetto reads 32 bits, and takes 0 for what runs when nothing does.
    let fits = |number| (1..=u64::from(u32::MAX)).contains(&number);
    assert!(fits(track.0) && fits(track.1), "{event}");
    track
}

/// Reads a file and checks it.
pub fn check(json: &str) -> Trace {
    let file: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}"));
    let events = file["traceEvents"]
        .as_array()
        .expect("an array of trace events");
    let mut trace = Trace {
        slices: Vec::new(),
        flows: BTreeMap::new(),
        processes: BTreeMap::new(),
        tracks: BTreeMap::new(),
    };
    let mut parts: BTreeMap<u64, Vec<Part>> = BTreeMap::new();
    for event in events {
        match event["ph"].as_str().expect("a phase") {
            "M" => {
                let name = event["args"]["name"].as_str().expect("a name").to_owned();
                let old = match event["name"].as_str() {
                    Some("process_name") => trace.processes.insert(number(event, "pid"), name),
                    Some("thread_name") => trace.tracks.insert(track(event), name),
                    other => panic!("what is {other:?}?"),
                };
                assert_eq!(old, None, "named twice: {event}");
            }
            "X" => {
                let start = time(event, "ts");
                let duration = time(event, "dur");
                assert!(duration > 0, "{event}");
                trace.slices.push(Slice {
                    name: event["name"].as_str().expect("a name").to_owned(),
                    track: track(event),
                    start,
                    end: start + duration,
                    args: event["args"].clone(),
                });
            }
            phase @ ("s" | "t" | "f") => {
                // Without this, the end would belong to the next slice.
                assert_eq!(event["bp"].as_str(), (phase == "f").then_some("e"));
                let flow = parts.entry(number(event, "id")).or_default();
                flow.push((phase, time(event, "ts"), track(event)));
            }
            other => panic!("a phase {other:?}"),
        }
    }
    let used: BTreeSet<_> = trace.slices.iter().map(|slice| slice.track).collect();
    let named: BTreeSet<_> = trace.tracks.keys().copied().collect();
    assert_eq!(used, named, "each track is named, and no other");
    assert!(
        used.iter()
            .all(|(process, _)| trace.processes.contains_key(process))
    );
    slices_nest(&trace.slices);
    let mut at: BTreeMap<((u64, u64), u64), usize> = BTreeMap::new();
    for (index, slice) in trace.slices.iter().enumerate() {
        let old = at.insert((slice.track, slice.start), index);
        assert_eq!(old, None, "two slices of a track begin at once: {slice:?}");
    }
    for (id, mut flow) in parts {
        // In the order of time, as a viewer goes through them; the sort keeps the order in the file among equals.
        flow.sort_by_key(|(_, time, _)| *time);
        let phases: String = flow.iter().map(|(phase, ..)| *phase).collect();
        let inner = phases.strip_prefix('s').and_then(|p| p.strip_suffix('f'));
        let inner = inner.unwrap_or_else(|| panic!("flow {id} goes {phases}"));
        assert!(
            inner.chars().all(|phase| phase == 't'),
            "flow {id}: {phases}"
        );
        let slices = flow.iter().map(|(_, time, track)| {
            // Each part of ours begins with its slice.
            let slice = at.get(&(*track, *time));
            *slice.unwrap_or_else(|| panic!("flow {id} meets no slice at {time} on {track:?}"))
        });
        trace.flows.insert(id, slices.collect());
    }
    trace
}

/// Of two slices of a track one contains the other, or they do not meet.
fn slices_nest(slices: &[Slice]) {
    let mut tracks: BTreeMap<(u64, u64), Vec<&Slice>> = BTreeMap::new();
    for slice in slices {
        tracks.entry(slice.track).or_default().push(slice);
    }
    for slices in tracks.values_mut() {
        slices.sort_by_key(|slice| (slice.start, u64::MAX - slice.end));
        let mut open: Vec<&Slice> = Vec::new();
        for slice in slices.iter() {
            while open.last().is_some_and(|outer| outer.end <= slice.start) {
                open.pop();
            }
            if let Some(outer) = open.last() {
                assert!(slice.end <= outer.end, "{slice:?} leaves {outer:?}");
            }
            open.push(slice);
        }
    }
}

impl Trace {
    /// The names of the slices of a flow, each with the name of its process.
    pub fn way(&self, flow: u64) -> Vec<(&str, &str)> {
        self.flows[&flow]
            .iter()
            .map(|index| {
                let slice = &self.slices[*index];
                (slice.name.as_str(), self.processes[&slice.track.0].as_str())
            })
            .collect()
    }
}
