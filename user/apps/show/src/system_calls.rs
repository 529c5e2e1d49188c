//! What a trace says of system calls; a module of both programs.

use baton_trace::{Event, Step};

/// How often the process rang or slept between the first and the last event of a request: each is one system call.
pub fn system_calls(events: &[(u64, Event)]) -> u64 {
    let of_request = |(_, event): &(u64, Event)| {
        matches!(
            event.step,
            Step::Call | Step::Drain | Step::Reply | Step::Resume
        )
    };
    let first = events.iter().position(of_request).unwrap_or(0);
    let last = events.iter().rposition(of_request).unwrap_or(0);
    let between = events.get(first..=last).unwrap_or_default();
    between
        .iter()
        .filter(|(_, event)| matches!(event.step, Step::Ring | Step::Sleep))
        .count() as u64
}
