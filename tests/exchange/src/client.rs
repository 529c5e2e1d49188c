//! What a client does, checking all that comes back.

use crate::desk::ExchangeClient;
use crate::wrong::{Wrong, same};
use alloc::vec::Vec;
use baton_rpc::{CallError, DeadlineError, Failure, Handle, Platform, TryCallError};
use core::cell::Cell;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The client's number, by which its notes are kept apart.
    pub client: u64,
    /// Requests under way at once; at most the credits.
    pub outstanding: u64,
    /// Requests in all.
    pub requests: u64,
}

/// Makes every call that there is; returns how many answers were right.
///
/// `bulk_bytes` is the size of both bulk buffers.
///
/// # Errors
/// The first thing that was [`Wrong`].
pub async fn everything<P: Platform>(
    handle: &Handle<P>,
    desk: &ExchangeClient<P>,
    load: Load,
    bulk_bytes: usize,
) -> Result<u64, Wrong> {
    let mut right = 0;
    right += sums(handle, desk, load).await?;
    right += one_ways(desk, load).await?;
    right += bulk(desk, bulk_bytes).await?;
    right += cancels(desk, load).await?;
    right += too_many(desk).await?;
    right += deadlines(handle, desk, load).await?;
    right += sums(handle, desk, load).await?;
    Ok(right)
}

/// Asks for sums and mixtures, always so many at once.
///
/// # Errors
/// [`Wrong`].
pub async fn sums<P: Platform>(
    handle: &Handle<P>,
    desk: &ExchangeClient<P>,
    load: Load,
) -> Result<u64, Wrong> {
    let workers = load.outstanding.min(load.requests).max(1);
    let mut under_way = Vec::with_capacity(workers as usize);
    for worker in 0..workers {
        let desk = desk.clone();
        let mine = (worker..load.requests).step_by(workers as usize);
        let task = handle.spawn(async move {
            let mut right = 0;
            for number in mine {
                let left = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ load.client;
                if number % 4 == 3 {
                    let (x, y) = desk.mix(left, number, 7, load.client).await?;
                    same("the first mixture", left.wrapping_mul(3) ^ 7, x)?;
                    same("the second", number.wrapping_mul(5) ^ load.client, y)?;
                } else {
                    let sum = desk.add(left, number).await?;
                    same("a sum", left.wrapping_add(number), sum)?;
                }
                right += 1;
            }
            Ok::<u64, Wrong>(right)
        });
        under_way.push(task.map_err(|_| Wrong::Tasks)?);
    }
    let mut right = 0;
    for task in under_way {
        right += task.await.map_err(|_| Wrong::Tasks)??;
    }
    same("sums that were right", load.requests, right)?;
    Ok(right)
}

/// Sends notes one way, more than there are credits, and asks what came.
///
/// # Errors
/// [`Wrong`].
pub async fn one_ways<P: Platform>(desk: &ExchangeClient<P>, load: Load) -> Result<u64, Wrong> {
    let mut sum = 0_u64;
    for value in 0..load.requests {
        desk.send_note(load.client, value).await?;
        sum = sum.wrapping_add(value);
    }
    let notes = desk.noted(load.client).await?;
    same("the notes that came", load.requests, notes.count)?;
    same("their sum", sum, notes.sum)?;
    Ok(load.requests)
}

/// Sends payloads of all kinds of lengths, which come back turned round.
///
/// # Errors
/// [`Wrong`].
pub async fn bulk<P: Platform>(desk: &ExchangeClient<P>, bulk_bytes: usize) -> Result<u64, Wrong> {
    let mut right = 0;
    for length in [0, 1, 7, 8, 9, 63, 64, 65, bulk_bytes / 2, bulk_bytes] {
        if length > bulk_bytes {
            continue;
        }
        let bytes: Vec<u8> = (0..length).map(|at| (at * 31 + length) as u8).collect();
        let mut buffer = desk.client().buffer().await?;
        buffer.write(&bytes)?;
        let answer = desk.turned(buffer).await?;
        same("the payload's length", length as u64, answer.value)?;
        if !answer.to_vec().iter().rev().eq(bytes.iter()) {
            return Err(Wrong::Payload { length });
        }
        right += 1;
    }
    Ok(right)
}

/// Drops calls that are under way: their handlers are dropped, and the credits come back.
///
/// # Errors
/// [`Wrong`].
pub async fn cancels<P: Platform>(desk: &ExchangeClient<P>, load: Load) -> Result<u64, Wrong> {
    let credits = desk.client().connection().credits() as u64;
    // One credit stays for asking.
    let held = load.outstanding.min(credits.saturating_sub(1));
    let calls: Vec<_> = (0..held)
        .map(|value| desk.held(load.client, value))
        .collect();
    // Answered after the requests before it have been begun: a lane is first come, first served.
    let waiting = desk.waiting(load.client).await?;
    same("handlers that wait", held, waiting)?;
    drop(calls);
    // A credit is back when its handler has been dropped.
    all_credits(desk, credits).await?;
    let waiting = desk.waiting(load.client).await?;
    same("handlers that wait after all were dropped", 0, waiting)?;
    Ok(held)
}

/// Waits until every credit is free, by holding all of them at once.
async fn all_credits<P: Platform>(desk: &ExchangeClient<P>, credits: u64) -> Result<(), Wrong> {
    let mut buffers = Vec::new();
    for _ in 0..credits {
        buffers.push(desk.client().buffer().await?);
    }
    Ok(())
}

/// Uses up all credits: what does not wait is refused, what waits gets its turn.
///
/// # Errors
/// [`Wrong`].
pub async fn too_many<P: Platform>(desk: &ExchangeClient<P>) -> Result<u64, Wrong> {
    let credits = desk.client().connection().credits() as u64;
    let mut buffers = Vec::new();
    for _ in 0..credits {
        buffers.push(desk.client().buffer().await?);
    }
    match desk.try_add(1, 2) {
        Err(TryCallError::Full(_)) => {}
        Err(TryCallError::Failed(_, failure)) => return Err(Wrong::Ended(failure)),
        Ok(_) => {
            return Err(Wrong::Value {
                what: "credits beyond the last",
                expected: 0,
                actual: 1,
            });
        }
    }
    let mut waiting = pin!(desk.add(40, 2));
    poll_fn(|context| match waiting.as_mut().poll(context) {
        Poll::Pending => Poll::Ready(Ok(())),
        Poll::Ready(_) => Poll::Ready(Err(Wrong::InTime)),
    })
    .await?;
    drop(buffers);
    same("a sum that waited for its credit", 42, waiting.await?)?;
    Ok(1)
}

/// Lets deadlines pass, and lets calls end before theirs.
///
/// # Errors
/// [`Wrong`].
pub async fn deadlines<P: Platform>(
    handle: &Handle<P>,
    desk: &ExchangeClient<P>,
    load: Load,
) -> Result<u64, Wrong> {
    const SHORT_NS: u64 = 2_000_000;
    const LONG_NS: u64 = 3_600_000_000_000;
    let now_ns = || handle.platform().now_ns();
    let mut right = 0;
    for value in 0..load.outstanding.min(4) {
        let deadline_ns = now_ns() + SHORT_NS;
        match handle
            .before(deadline_ns, desk.held(load.client, value))
            .await
        {
            Err(DeadlineError::Passed) if now_ns() >= deadline_ns => right += 1,
            Ok(Err(error)) => return Err(error.into()),
            _ => return Err(Wrong::InTime),
        }
        let sum = handle.before(now_ns() + LONG_NS, desk.add(value, 1)).await;
        match sum {
            Ok(sum) => same("a sum before its deadline", value + 1, sum?)?,
            Err(_) => return Err(Wrong::Tasks),
        }
        right += 1;
    }
    let since_ns = now_ns();
    if handle.sleep(SHORT_NS).await.is_err() {
        return Err(Wrong::Tasks);
    }
    if now_ns() - since_ns < SHORT_NS {
        return Err(Wrong::InTime);
    }
    all_credits(desk, desk.client().connection().credits() as u64).await?;
    Ok(right + 1)
}

/// Asks for sums, so many at once, until the connection ends; `progress` hears of every right answer.
///
/// Returns how it ended: all calls under way end the same way.
///
/// # Errors
/// [`Wrong`].
pub async fn until_ended<P: Platform>(
    handle: &Handle<P>,
    desk: &ExchangeClient<P>,
    outstanding: u64,
    progress: impl Fn(u64) + Clone + 'static,
) -> Result<Failure, Wrong> {
    let right = alloc::rc::Rc::new(Cell::new(0_u64));
    let mut under_way = Vec::new();
    for worker in 0..outstanding.max(1) {
        let (desk, right, progress) = (desk.clone(), right.clone(), progress.clone());
        let task = handle.spawn(async move {
            let mut number = worker;
            loop {
                match desk.add(number, worker).await {
                    Ok(sum) => same("a sum", number.wrapping_add(worker), sum)?,
                    Err(CallError::Failed(failure)) => return Ok(failure),
                    Err(error) => return Err(Wrong::Call(error)),
                }
                right.set(right.get() + 1);
                progress(right.get());
                number = number.wrapping_add(0x1_0001);
            }
        });
        under_way.push(task.map_err(|_| Wrong::Tasks)?);
    }
    let mut ended = None;
    for task in under_way {
        let failure = task.await.map_err(|_| Wrong::Tasks)??;
        if *ended.get_or_insert(failure) != failure {
            return Err(Wrong::Ended(failure));
        }
    }
    ended.ok_or(Wrong::Tasks)
}
