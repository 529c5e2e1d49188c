//! What undoes requests that were dropped half-way.

use crate::machine::Machine;
use crate::server::Shared;
use crate::service::RegionNumber;
use crate::session::InUse;
use alloc::rc::Rc;
use core::future::poll_fn;
use core::task::Poll;

/// What becomes of the region of a request that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// It is freed: nobody knows its number yet, or wants it any more.
    Free,
    /// It is unmapped.
    Unmap,
}

/// A region to be put in order.
pub(crate) struct Job<M> {
    pub(crate) client: InUse<M>,
    pub(crate) region: RegionNumber,
    pub(crate) undo: Undo,
}

/// See [`Server::janitor`](crate::Server::janitor).
pub struct Janitor<M>(pub(crate) Rc<Shared<M>>);

impl<M: Machine> Janitor<M> {
    /// Undoes what comes, for ever.
    pub async fn run(self) {
        loop {
            let job = self.next().await;
            let session = job.client.session();
            match job.undo {
                Undo::Free => {
                    session.free_region(job.region).await;
                }
                Undo::Unmap => {
                    session.unmap_region(job.region).await;
                }
            }
            self.0.undone.set(self.0.undone.get() + 1);
        }
    }

    async fn next(&self) -> Job<M> {
        poll_fn(|context| {
            let job = self.0.jobs.borrow_mut().pop_front();
            match job {
                Some(job) => Poll::Ready(job),
                None => {
                    self.0.janitor.set(Some(context.waker().clone()));
                    Poll::Pending
                }
            }
        })
        .await
    }
}
