//! The programs whose instructions are counted: both sides on one thread, node after node in turn.
//!
//! - [`Program::Request`]: `clients` nodes with `outstanding` tasks each, which call one server in a loop. Each call's payload is
//!   made from a serial number, and the next serial number from the answer. In a round each client's executor does
//!   one turn, then the server's. Executor, lanes and async handlers are those that run between processes; the bells are flags,
//!   which nobody needs to ring as nobody sleeps.
//! - [`Program::RequestIdle60`]: 60 more connections, of a node that never runs, in the server's inbox.
//! - [`Program::RequestTraced`]: all nodes write events. Reading the clock is a system call under valgrind, so
//!   the counts leave out what the kernel's own reading of it costs (`w1_awake_traced` has it).
//! - [`Program::TaskWake`]: `outstanding` tasks which wake themselves at each poll, in an executor without connections. The
//!   quantum is the number of tasks, so that a turn polls each task once, as a `poll` of embassy's raw executor does.
//!
//! A program says how often it did what is counted, so that the quotient needs no assumption about turns.

use crate::echo::{EchoClient, EchoServer, Plain};
use crate::lanes::{IDLE_CONNECTIONS, IDLE_CREDITS, PEER};
use baton_bench_harness::{HarnessError, Workload};
use baton_inbox::{Dispatched, InSlot, OneLane, OneRing, Publication, TailWord};
use baton_inprocess::{Address, Clock, InProcess, Sizes, connect, node};
use baton_rpc::{Config, Node};
use baton_trace::Ring;
use std::cell::Cell;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Who can be counted: the name in the CSV file is the program's argument.
///
/// The transports differ in how messages get across ([`baton_inbox::Publication`]) and in whether a dispatcher task stands
/// between; executor, rpc, service and clients are the same code.
pub const PEERS: &[&str] = &[
    PEER,
    "baton_lanes_dispatcher",
    "baton_lanes_tail",
    "baton_pairs",
    "baton_pairs_dispatcher",
    "baton_shared",
    "baton_shared_dispatcher",
];

const TRACE_EVENTS: usize = 4096;
/// Task entries beside those that a program needs.
const SPARE_TASKS: usize = 64;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// A request and its answer.
    Request,
    /// The same with 60 idle connections at the server.
    RequestIdle60,
    /// The same with tracing switched on.
    RequestTraced,
    /// Wake, requeue and poll of a task.
    TaskWake,
}

impl Program {
    /// The program behind a workload.
    ///
    /// # Errors
    /// `Unsupported` when instructions of that workload are not counted.
    pub fn of(workload: Workload) -> Result<Self, HarnessError> {
        match workload {
            Workload::Request => Ok(Program::Request),
            Workload::RequestIdle60 => Ok(Program::RequestIdle60),
            Workload::RequestTraced => Ok(Program::RequestTraced),
            Workload::TaskWake => Ok(Program::TaskWake),
            other => Err(HarnessError::Unsupported(format!("{other} is not counted"))),
        }
    }
}

/// How large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Client nodes.
    pub clients: usize,
    /// Tasks of each client, each with one request outstanding.
    pub outstanding: usize,
    /// Turns of every node.
    pub rounds: u64,
}

/// Runs `program` as `peer` and says how often what is counted was done.
///
/// # Errors
/// `Unsupported` for an unknown peer, `Role` when the program failed.
pub fn run(peer: &str, program: Program, load: Load) -> Result<u64, HarnessError> {
    match peer {
        PEER => run_over::<InSlot>(program, load),
        "baton_lanes_dispatcher" => run_over::<Dispatched<InSlot>>(program, load),
        "baton_lanes_tail" => run_over::<TailWord>(program, load),
        "baton_pairs" => run_over::<OneLane<InSlot>>(program, load),
        "baton_pairs_dispatcher" => run_over::<Dispatched<OneLane<InSlot>>>(program, load),
        "baton_shared" => run_over::<OneRing>(program, load),
        "baton_shared_dispatcher" => run_over::<Dispatched<OneRing>>(program, load),
        other => Err(HarnessError::Unsupported(format!(
            "{other:?} cannot be counted; known are {PEERS:?}"
        ))),
    }
}

fn run_over<U: Publication>(program: Program, load: Load) -> Result<u64, HarnessError> {
    match program {
        Program::Request => requests::<U>(load, 0, false),
        Program::RequestIdle60 => requests::<U>(load, IDLE_CONNECTIONS, false),
        Program::RequestTraced => requests::<U>(load, 0, true),
        Program::TaskWake => task_wakes::<U>(load),
    }
}

fn failed(error: impl Display) -> HarnessError {
    HarnessError::Role(error.to_string())
}

fn start<U: Publication>(
    tasks: usize,
    quantum: Option<usize>,
) -> Result<(Node<InProcess<U>>, Address), HarnessError> {
    let default = Config::default();
    let config = Config {
        tasks: tasks + SPARE_TASKS,
        quantum: quantum.map_or(Ok(default.quantum), |tasks| {
            u32::try_from(tasks).map_err(failed)
        })?,
        ..default
    };
    let ring = Arc::new(Ring::new(TRACE_EVENTS));
    Ok(node(config, Clock::Machine(Instant::now()), ring))
}

fn sizes(credits: usize) -> Result<Sizes, HarnessError> {
    Ok(Sizes {
        credits: u32::try_from(credits).map_err(failed)?,
        back_credits: 0,
        request_bulk_bytes: 0,
        answer_bulk_bytes: 0,
    })
}

fn requests<U: Publication>(load: Load, idle: usize, traced: bool) -> Result<u64, HarnessError> {
    let handlers = load.clients * load.outstanding + idle * IDLE_CREDITS;
    let (server, at_server) = start::<U>(handlers, None)?;
    let service = Rc::new(EchoServer(Plain));
    let (idle_node, at_idle) = start::<U>(0, None)?;
    for _ in 0..idle {
        let (idler, server) = ((&idle_node, &at_idle), (&server, &at_server));
        connect(idler, server, sizes(IDLE_CREDITS)?, service.clone()).map_err(failed)?;
    }
    let mut nodes = Vec::with_capacity(load.clients);
    let mut serials = Vec::with_capacity(load.clients * load.outstanding);
    for _ in 0..load.clients {
        let (node, address) = start::<U>(load.outstanding, None)?;
        let (this, server) = ((&node, &address), (&server, &at_server));
        let client = connect(this, server, sizes(load.outstanding)?, service.clone());
        let client = EchoClient::new(client.map_err(failed)?);
        for _ in 0..load.outstanding {
            let serial = Rc::new(Cell::new(0));
            serials.push(serial.clone());
            let calls = call_for_ever(client.clone(), serial);
            node.executor().spawn(calls).map_err(failed)?;
        }
        node.set_tracing(traced);
        nodes.push(node);
    }
    server.set_tracing(traced);
    let drives: Result<Vec<_>, _> = nodes.iter().map(Node::drive).collect();
    let mut drives = drives.map_err(failed)?;
    let mut server_drive = server.drive().map_err(failed)?;
    for _ in 0..load.rounds {
        for drive in &mut drives {
            drive.turn();
        }
        server_drive.turn();
    }
    Ok(serials.iter().map(|serial| serial.get()).sum())
}

/// One call after the other; `serial` is the number of answers that came.
async fn call_for_ever<U: Publication>(client: EchoClient<InProcess<U>>, serial: Rc<Cell<u64>>) {
    // Ends when a call fails; then the count stands still, which the driver sees.
    while let Ok([echoed, ..]) = client.echo([serial.get(), 2, 3, 4, 5, 6]).await {
        serial.set(echoed + 1);
    }
}

/// Wakes itself at each poll and never ends.
struct WakesItself;

impl Future for WakesItself {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

fn task_wakes<U: Publication>(load: Load) -> Result<u64, HarnessError> {
    let tasks = load.outstanding;
    let (node, _) = start::<U>(tasks, Some(tasks))?;
    for _ in 0..tasks {
        node.executor().spawn(WakesItself).map_err(failed)?;
    }
    let mut turns = node.executor().turns().map_err(failed)?;
    let mut polls = 0;
    for _ in 0..load.rounds {
        polls += u64::from(turns.turn(&(), &mut ()));
    }
    Ok(polls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(clients: usize, outstanding: usize, rounds: u64) -> Load {
        Load {
            clients,
            outstanding,
            rounds,
        }
    }

    #[test]
    fn every_transport_carries_requests() {
        for peer in PEERS {
            for (clients, outstanding) in [(1, 1), (4, 2), (3, 64)] {
                let done = run(peer, Program::Request, load(clients, outstanding, 64));
                let done = done.expect("it runs");
                assert!(
                    done >= (clients * outstanding * 16) as u64,
                    "{peer}: {done}"
                );
            }
        }
    }

    #[test]
    fn every_program_makes_progress_in_proportion() {
        for program in [
            Program::Request,
            Program::RequestIdle60,
            Program::RequestTraced,
            Program::TaskWake,
        ] {
            let once = run(PEER, program, load(1, 4, 64)).expect("it runs");
            let twice = run(PEER, program, load(1, 4, 128)).expect("it runs");
            // A round more or less at either end.
            assert!(
                twice - once >= 63 * 4 && twice - once <= 65 * 4,
                "{program:?}"
            );
        }
    }

    #[test]
    fn a_turn_polls_each_task_once() {
        assert_eq!(
            run(PEER, Program::TaskWake, load(1, 1, 100)).ok(),
            Some(100)
        );
        assert_eq!(
            run(PEER, Program::TaskWake, load(1, 64, 100)).ok(),
            Some(6400)
        );
    }

    #[test]
    fn unknown_peer_is_refused() {
        let refused = run("nobody", Program::Request, load(1, 1, 1));
        assert!(matches!(refused, Err(HarnessError::Unsupported(_))));
    }
}
