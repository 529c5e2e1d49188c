//! Counts the instructions of the programs in [`counted`], two at a time: other work does not change a count.

use crate::counted::{self, Load, Program};
use baton_bench_harness::{
    Counting, HarnessError, Metric, Row, Shape, Workload, total_instructions,
};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The hidden command that runs a counted program: clients, outstanding, rounds, workload, peer.
pub const COMMAND: &str = "count";

/// Rounds are a multiple of this, so that what an executor does every so many turns is in each run alike.
const ROUNDS_UNIT: u64 = 64;
/// What a turn takes from one lane at most, for the estimate of rounds only.
const LANE_QUANTUM: usize = 32;
const WORKERS: usize = 2;

/// All that can be counted of one peer; a quick run has every program and few points.
#[must_use]
pub fn shapes(quick: bool) -> Vec<Shape> {
    let outstanding: &[usize] = if quick {
        &[1, 2, 32]
    } else {
        &[1, 2, 4, 8, 16, 32, 64, 128, 256]
    };
    let mut shapes = Vec::new();
    for clients in [1, 4, 16] {
        shapes.extend(
            outstanding
                .iter()
                .map(|&n| Shape::new(Workload::Request, clients, n)),
        );
    }
    for workload in [Workload::RequestIdle60, Workload::RequestTraced] {
        shapes.extend([1, 32].map(|outstanding| Shape::new(workload, 1, outstanding)));
    }
    shapes.extend([1, 64].map(|tasks| Shape::new(Workload::TaskWake, 1, tasks)));
    shapes
}

/// Counts `shape` of `peer` with the valgrind at `valgrind`: the difference of a run with as many rounds again.
///
/// # Errors
/// `Callgrind` when it cannot be counted, `Role` when the program does not go on.
pub fn count(valgrind: &Path, peer: &str, shape: Shape, quick: bool) -> Result<Row, HarnessError> {
    let program = Program::of(shape.workload)?;
    let rounds = rounds(shape, quick);
    let binary = std::env::current_exe()
        .map_err(|source| HarnessError::os("path of this binary", source))?;
    let counting = Counting {
        valgrind: Some(valgrind),
        ..Counting::default()
    };
    let run = |rounds: u64| {
        let load = Load {
            clients: shape.clients,
            outstanding: shape.outstanding,
            rounds,
        };
        // Programs are deterministic: what one does here is what it does under valgrind.
        let done = counted::run(peer, program, load)?;
        let sizes = [shape.clients as u64, shape.outstanding as u64, rounds];
        let mut arguments = vec![COMMAND.to_owned()];
        arguments.extend(sizes.map(|size| size.to_string()));
        arguments.extend([shape.workload.to_string(), peer.to_owned()]);
        let instructions = total_instructions(&binary, &counting, &arguments)?;
        Ok::<_, HarnessError>((instructions as f64, done as f64))
    };
    let (once, done_once) = run(rounds)?;
    let (twice, done_twice) = run(2 * rounds)?;
    if done_twice <= done_once {
        return Err(HarnessError::Role(format!(
            "{peer} at {shape} stands still"
        )));
    }
    Ok(Row {
        peer: peer.to_owned(),
        shape,
        metric: Metric::Instructions,
        value: (twice - once) / (done_twice - done_once),
    })
}

/// Whether `shape` is counted of `peer`: the other transports on requests only, and in a quick run, but for the one that the
/// targets name, with one client only.
fn is_counted(peer: &str, shape: Shape, quick: bool) -> bool {
    let with_target = peer == "baton_pairs_dispatcher";
    let of_transport =
        shape.workload == Workload::Request && (!quick || with_target || shape.clients == 1);
    peer == crate::lanes::PEER || of_transport
}

fn rounds(shape: Shape, quick: bool) -> u64 {
    // Counts do not scatter, so a few whole units say as much as many.
    let (requests, least) = if quick { (4_000, 1) } else { (12_000, 2) };
    let a_round = shape.clients * shape.outstanding.min(LANE_QUANTUM);
    let rounds = (requests / a_round as u64).max(least * ROUNDS_UNIT);
    rounds.next_multiple_of(ROUNDS_UNIT)
}

/// Counts all shapes of all peers, and hands each row or failure to `note` as it comes; rows are returned in order.
pub fn count_all(
    valgrind: &Path,
    quick: bool,
    note: impl Fn(&str, Shape, &Result<Row, HarnessError>) + Sync,
) -> Vec<Result<Row, HarnessError>> {
    let work: Vec<(&str, Shape)> = counted::PEERS
        .iter()
        .flat_map(|peer| {
            let shapes = shapes(quick).into_iter();
            let counted = move |shape: &Shape| is_counted(peer, *shape, quick);
            shapes.filter(counted).map(|shape| (*peer, shape))
        })
        .collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                // Only hands out places; nothing is ordered by it.
                while let Some((place, (peer, shape))) = {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    work.get(place).map(|item| (place, *item))
                } {
                    let row = count(valgrind, peer, shape, quick);
                    note(peer, shape, &row);
                    done.lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((place, row));
                }
            });
        }
    });
    let mut rows = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_in_the_quick_run_too() {
        for (workload, clients, outstanding) in [
            (Workload::Request, 1, 1),
            (Workload::Request, 1, 32),
            (Workload::Request, 16, 2),
            (Workload::RequestIdle60, 1, 1),
            (Workload::TaskWake, 1, 1),
        ] {
            for quick in [true, false] {
                assert!(shapes(quick).contains(&Shape::new(workload, clients, outstanding)));
            }
        }
    }

    #[test]
    fn rounds_come_in_whole_units() {
        for quick in [true, false] {
            for shape in shapes(quick) {
                let rounds = rounds(shape, quick);
                assert!(rounds >= ROUNDS_UNIT && rounds.is_multiple_of(ROUNDS_UNIT));
            }
        }
    }
}
