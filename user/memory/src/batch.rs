//! Calls that are under way together.

use crate::machine::Refused;
use crate::pool::BLOCK_PAGES;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;

/// As many as most requests have need no memory of the heap.
const FEW: usize = BLOCK_PAGES as usize;

/// Calls that have been made. A call is waited for in its turn, but all of them go on meanwhile.
pub(crate) struct Batch<F> {
    few: [Option<F>; FEW],
    more: Vec<F>,
}

impl<F: Future<Output = Result<(), Refused>> + Unpin> Batch<F> {
    /// Makes all of `calls`.
    #[inline(always)]
    pub(crate) fn of(mut calls: impl Iterator<Item = F>) -> Self {
        let mut few = [const { None }; FEW];
        let mut more = Vec::new();
        for place in &mut few {
            *place = calls.next();
            if place.is_none() {
                break;
            }
        }
        // Asked again only if there may be more.
        if few[FEW - 1].is_some() {
            more.extend(calls);
        }
        Batch { few, more }
    }

    /// Waits for all of them, and tells the places and reasons of those that failed.
    // By reference: calls are waited for where they stand.
    #[inline]
    pub(crate) async fn failures(&mut self) -> Vec<(usize, Refused)> {
        let mut failures = Vec::new();
        let few = self.few.iter_mut().map_while(Option::as_mut);
        for (place, call) in few.chain(&mut self.more).enumerate() {
            if let Err(refused) = call.await {
                failures.push((place, refused));
            }
        }
        failures
    }
}

/// As [`Batch`], for calls that are made when they are first polled; says whether all of them succeeded.
pub(crate) async fn all<F>(mut calls: impl Iterator<Item = F>) -> bool
where
    F: Future<Output = Result<(), Refused>>,
{
    let Some(first) = calls.next() else {
        return true;
    };
    let Some(second) = calls.next() else {
        return first.await.is_ok();
    };
    let calls = [first, second].into_iter().chain(calls);
    let mut waiting: Vec<Pin<Box<F>>> = calls.map(Box::pin).collect();
    let mut succeeded = true;
    poll_fn(|context| {
        waiting.retain_mut(|call| match call.as_mut().poll(context) {
            Poll::Ready(result) => {
                succeeded &= result.is_ok();
                false
            }
            Poll::Pending => true,
        });
        if waiting.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    succeeded
}
