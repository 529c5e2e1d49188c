//! Letting the others have a turn.

use core::future::poll_fn;
use core::task::Poll;

/// Goes to the end of the ready queue once, so that whoever is ready is polled first.
pub async fn next_turn() {
    let mut polled = false;
    poll_fn(|context| {
        if core::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
