//! Events of several nodes in one ring, as lines.

use baton_inbox::Token;
use baton_rpc::{Node, Platform};
use baton_trace::Ring;
use std::sync::Arc;

/// A ring for all nodes of a test.
pub fn shared_ring() -> Arc<Ring> {
    Arc::new(Ring::new(256))
}

/// The connections come into the scan first; from then on everything is recorded.
pub fn begin<P: Platform>(nodes: &[&Node<P>]) {
    for node in nodes {
        node.turn().unwrap();
    }
    for node in nodes {
        node.set_tracing(true);
    }
}

/// What happened since the last call: `time connection step task token detail`, with `-` for no task and no token.
///
/// The connection's number says whose event it is: in these tests, no two ends of connections have the same.
pub fn happened(ring: &Ring, since: &mut u64) -> Vec<String> {
    let from = std::mem::replace(since, ring.recorded());
    let events = ring.snapshot().into_iter();
    events
        .filter(|(number, _)| *number >= from)
        .map(|(_, event)| {
            let task = match event.task {
                u16::MAX => "-".to_string(),
                task => format!("t{task}"),
            };
            let token = match Token::from_raw(event.token) {
                Token::NONE => "-".to_string(),
                token => format!("{token:?}"),
            };
            let (time_ns, on) = (event.time_ns, event.connection);
            let (step, detail) = (event.step.name(), event.detail);
            format!("{time_ns} c{on} {step} {task} {token} {detail}")
        })
        .collect()
}
