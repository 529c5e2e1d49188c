//! The control task: takes what the control thread has noticed over to the executor's thread.

use super::LinuxHandle;
use crate::control::{ControlEvent, ListenerId};
use crate::link::PeerLink;
use core::fmt::Write;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};

/// Events shown with a dump while tracing is on.
const RECENT_EVENTS: usize = 64;

/// Runs as long as the node does.
pub(super) fn task(handle: LinuxHandle) -> impl Future<Output = ()> {
    poll_fn(move |context| {
        let inner = &handle.0;
        inner.control.set(Some(context.waker().clone()));
        while let Some(event) = next_event(&handle, context) {
            match event {
                ControlEvent::Connected(link, listener) => connected(&handle, *link, listener),
                ControlEvent::Died { own_bit, id, .. } => {
                    if let Some(connection) = inner.peers.connection(own_bit, id) {
                        inner.node.peer_died(&connection);
                    }
                }
                ControlEvent::Inspect { reply } => reply.send(text(&handle)),
            }
        }
        if inner.peers.sweep(&inner.node, context.waker()) {
            // The lanes leave the scan when the next turn begins.
            context.waker().wake_by_ref();
        }
        if inner.peers.is_empty() {
            inner.wake_idlers();
        }
        Poll::Pending
    })
}

fn next_event(handle: &LinuxHandle, context: &mut Context<'_>) -> Option<ControlEvent> {
    let host = handle.host()?;
    match pin!(host.next_event()).poll(context) {
        Poll::Ready(event) => Some(event),
        Poll::Pending => None,
    }
}

/// A client has come to one of our names.
fn connected(handle: &LinuxHandle, link: PeerLink, listener: ListenerId) {
    let inner = &handle.0;
    let offer = inner
        .offers
        .borrow()
        .get(&listener)
        .map(|offer| (offer.band, offer.bind.clone()));
    // It came while the name was given up: dropping the link tells it.
    let Some((band, bind)) = offer else {
        return;
    };
    match handle.bind(link, band, |node, parts, binding, peer| {
        bind(node, parts, binding, peer)
    }) {
        Ok(_) => inner.accepted.set(inner.accepted.get() + 1),
        Err(error) => {
            inner.turned_away.set(inner.turned_away.get() + 1);
            inner.last_refusal.set(Some(error));
        }
    }
}

/// The dump, with what happened last if that is recorded.
fn text(handle: &LinuxHandle) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = handle.dump(&mut text);
    let ring = handle.executor().trace();
    if ring.is_on() {
        let events = ring.snapshot();
        let recent = events.len().saturating_sub(RECENT_EVENTS);
        let recent = events.get(recent..).unwrap_or_default();
        let _ = writeln!(text, "last {} of {} events:", recent.len(), ring.recorded());
        let _ = baton_trace::write_text(recent, &mut text);
    }
    text
}
