//! Starts a server and its clients for one shape, and hears what they have measured.

use crate::plan::Shape;
use crate::report;
use crate::shared::{COUNTS_ENTRIES, OUTSTANDING, Taken, WORKLOADS, mode, role, said};
use alloc::vec::Vec;
use baton_broker::{Broker, End, GrantNumber, Outcome, ProcessNumber, Spawn};
use baton_counting::Arguments;
use baton_runtime::println;
use baton_runtime::sel4::abi::baton::FEATURE_KERNEL_ENTRIES;

const PROCESS: &[u8] = include_bytes!(env!(
    "BATON_REQUEST_PROCESS",
    "build with `cargo xtask bench qemu`, which builds the program of the processes first and says where it is"
));

/// Priority of all processes.
const PRIORITY: u64 = 100;
/// Requests of all clients in a sample, at least.
const REQUESTS: u64 = 256;
/// Rounds for each sample.
const ROUNDS_A_SAMPLE: u64 = 64;
/// Samples of those that never sleep.
const POLL_SAMPLES: u64 = 2;

/// Why a shape was not measured.
#[derive(Debug)]
pub enum Failed {
    /// A process or a grant could not be made.
    NotMade,
    /// A process ended otherwise than it must.
    Ended(ProcessNumber, End),
    /// A process said something that it should not.
    Said(ProcessNumber, u64),
}

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Failed::NotMade => f.write_str("something could not be made"),
            Failed::Ended(who, end) => write!(f, "process {who} {end}"),
            Failed::Said(who, what) => write!(f, "process {who} said {what:#x}"),
        }
    }
}

/// What a process did that is of interest here.
enum Heard {
    Ready,
    Taken(Taken),
    EndedWell,
}

/// Measures a shape as far as the command line wants it, and returns how many rows were reported.
///
/// # Errors
/// [`Failed`].
pub fn run(broker: &mut Broker, shape: &Shape, arguments: &Arguments<'_>) -> Result<u64, Failed> {
    let variant = shape.variant();
    let words = set(&WORKLOADS, shape.words, |&(name, _)| {
        arguments.wants_workload(name)
    });
    if words == 0 || !arguments.wants_variant(&variant) {
        return Ok(0);
    }
    let counts_entries = broker.features() & FEATURE_KERNEL_ENTRIES != 0;
    start(broker, shape, words, arguments, counts_entries)?;
    let mut rows = 0;
    // Behind their last shape clients end, each in its time.
    let mut ended = 0;
    for (_, &(name, words)) in chosen(&WORKLOADS, words) {
        for (_, &outstanding) in chosen(&OUTSTANDING, shape.outstanding) {
            let mut all = Vec::new();
            while all.len() < shape.senders as usize {
                match next(broker)? {
                    Heard::Taken(taken)
                        if (taken.words, taken.outstanding) == (words, outstanding) =>
                    {
                        all.push(taken);
                    }
                    Heard::EndedWell => ended += 1,
                    // Nobody begins with the next shape before all are done with this one.
                    _ => return Err(Failed::NotMade),
                }
            }
            report::row(name, &variant, &all, counts_entries);
            rows += 1;
        }
    }
    for _ in ended..=shape.senders {
        let Heard::EndedWell = next(broker)? else {
            return Err(Failed::NotMade);
        };
    }
    Ok(rows)
}

/// Starts the server, and the clients when it is ready.
fn start(
    broker: &mut Broker,
    shape: &Shape,
    words: u64,
    arguments: &Arguments<'_>,
    counts_entries: bool,
) -> Result<(), Failed> {
    broker.set_transport(shape.way.transport());
    let server = broker.next_process();
    let service = broker.add_service(server);
    let (way, mode) = (shape.way as u64, shape.mode);
    let serve = [role::SERVER, way, mode, service.0.into(), shape.senders];
    spawn(broker, &serve, &[])?;
    let Heard::Ready = next(broker)? else {
        return Err(Failed::NotMade);
    };
    let samples = (arguments.rounds as u64 / ROUNDS_A_SAMPLE).max(2);
    let (samples, requests) = if mode == mode::POLL {
        (POLL_SAMPLES, 1)
    } else {
        (samples, REQUESTS)
    };
    let flag = if counts_entries { COUNTS_ENTRIES } else { 0 };
    let call = [
        role::CLIENT,
        way,
        mode,
        words,
        shape.outstanding,
        samples,
        requests,
        shape.senders | flag,
    ];
    for _ in 0..shape.senders {
        let grant = broker.grant(service).map_err(|_| Failed::NotMade)?;
        spawn(broker, &call, &[grant])?;
    }
    Ok(())
}

fn spawn(broker: &mut Broker, arguments: &[u64], grants: &[GrantNumber]) -> Result<(), Failed> {
    let spawn = Spawn {
        elf: PROCESS,
        priority: PRIORITY,
        heap_bytes: 8 << 20,
        stack_pages: 16,
        arguments,
        grants,
    };
    match broker.spawn(&spawn) {
        Ok(_) => Ok(()),
        Err(error) => {
            println!("a process could not be started: {error}");
            Err(Failed::NotMade)
        }
    }
}

/// Waits for the next thing that the broker does not deal with by itself.
fn next(broker: &mut Broker) -> Result<Heard, Failed> {
    loop {
        let received = broker.listener().recv();
        match broker.handle(received) {
            Outcome::Handled => {}
            Outcome::Print(process, text) => {
                // Only when something has failed, or a report would not be one.
                for line in text.as_str().lines() {
                    println!("process {process}: {line}");
                }
            }
            Outcome::Ended(_, End::Exit(0)) => return Ok(Heard::EndedWell),
            Outcome::Ended(process, end) => return Err(Failed::Ended(process, end)),
            Outcome::Other(process, other) => match other.label() {
                said::READY => return Ok(Heard::Ready),
                said::TAKEN if other.length() == Taken::WORDS => {
                    let words = core::array::from_fn(|index| other.word(index));
                    return Ok(Heard::Taken(Taken::from_words(words)));
                }
                label => return Err(Failed::Said(process, label)),
            },
        }
    }
}

/// The items whose bits are in the set.
fn chosen<T>(items: &[T], set: u64) -> impl Iterator<Item = (usize, &T)> {
    let items = items.iter().enumerate();
    items.filter(move |(index, _)| set >> index & 1 != 0)
}

/// The set of those items of another set that are wanted.
fn set<T>(items: &[T], of: u64, wanted: impl Fn(&T) -> bool) -> u64 {
    let wanted = chosen(items, of).filter(|(_, item)| wanted(item));
    wanted.fold(0, |set, (index, _)| set | 1 << index)
}
