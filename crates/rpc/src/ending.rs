//! The end of a peer: what it sent before is drained first, and then the connection fails.
//!
//! Neighbours: platforms call this when they notice a death; `connection` has the failure itself.

use crate::connection::Connection;
use crate::error::Failure;
use crate::node::NodeHandle;
use crate::port::LANE_QUANTUM;
use alloc::rc::Rc;
use baton_executor::next_turn;
use baton_inbox::Platform;

impl<P: Platform> NodeHandle<P> {
    /// The peer of `connection` writes no more. What it sent before is drained, in turns of its own band; then the connection fails with
    /// [`Failure::PeerDied`].
    pub fn peer_died(&self, connection: &Rc<Connection<P>>) {
        // An honest peer has no more messages out than credits; whoever goes on writing gets no more turns than that.
        let messages = connection.credits().max(connection.granted()) as u32;
        let turns = messages.div_ceil(LANE_QUANTUM) + 1;
        let failed = connection.clone();
        let watch = self.executor().watch();
        let last_look = async move {
            // Counted in turns, each of which drains the band's lanes once, and not in polls: a turn may poll a task often.
            let end = watch.turns() + u64::from(turns);
            while watch.turns() < end {
                next_turn().await;
            }
            failed.fail(Failure::PeerDied);
        };
        let spawned = self
            .executor()
            .spawn_in(connection.band(), "last look", last_look);
        if spawned.is_err() {
            connection.fail(Failure::PeerDied);
        }
    }
}
