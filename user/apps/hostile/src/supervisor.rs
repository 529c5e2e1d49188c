//! The supervisor: the initial thread, of highest priority. It wakes at the end of each of the client's laps, and when a hostile process
//! faults; it looks whether the others are as they should be, and starts hostile processes again.

use crate::honest::{self, LAP, lower_rounds, mint, woken};
use crate::pair::{Outside, Pair};
use baton_runtime::process::SpawnError;
use baton_runtime::protocol::Event;
use baton_runtime::sel4::{Capability, Endpoint, IrqHandler, Message, Page, Received};
use baton_runtime::{Allocator, Arena, ObjectSource, Root, Window, println};
use core::fmt;

/// The program of all processes, built before this one.
pub const PROCESS: &[u8] = include_bytes!(env!(
    "BATON_HOSTILE_PROCESS",
    "build with `cargo xtask run hostile`, which builds the processes' program first and says where it is"
));

/// By whom a message comes.
pub mod badge {
    /// The first hostile process.
    pub const FIRST: u64 = 1;
    /// The second.
    pub const SECOND: u64 = 2;
    /// The thread of lower priority, and faults of both threads of this program.
    pub const LOWER: u64 = 3;
    /// Plus the role: server, client.
    pub const HONEST: u64 = 10;
    /// The client.
    pub const CLIENT: u64 = HONEST + 2;
}

/// Memory and slots of the hostile processes.
const ARENA_BITS: u64 = 20;
const ARENA_SLOTS: u64 = 300;
/// Calls after which both are taken away and made anew.
const CALLS_A_LIFE: u64 = 2_000;
/// Laps of the client at the end, when the hostile processes are gone.
const LAPS_AFTERWARDS: u64 = 10;
/// A source of interrupts at which nothing is.
const UNUSED_IRQ: u64 = 60;
/// Words of a page of this program that nobody else may reach, and what stands there.
const CANARY_WORDS: u64 = 512;
const CANARY: u64 = 0xb1ad_e5a2_0c0f_fee5;

/// What went wrong.
#[derive(Clone, Copy, Debug)]
pub enum Error {
    /// Something that is needed was not made.
    Spawn(SpawnError),
    /// A message that should not have come: the sender's badge, and its label.
    Message(u64, u64),
    /// The thread of lower priority has run.
    LowerRan(u64),
    /// The thread of higher priority has not woken as often as it was signalled: times woken, laps.
    NotWoken(u64, u64),
    /// The client has counted its laps differently: its count, ours.
    Laps(u64, u64),
    /// A word of memory that should be zero, or as it was, is not: its offset in the page, and what it is.
    Word(u64, u64),
}

impl<E: Into<SpawnError>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Spawn(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn(error) => write!(f, "the kernel refuses what must go well: {error}"),
            Self::Message(badge, label) => {
                write!(f, "a message of label {label:#x} from sender {badge}")
            }
            Self::LowerRan(rounds) => {
                write!(f, "the thread of lower priority has made {rounds} rounds")
            }
            Self::NotWoken(woken, laps) => {
                write!(
                    f,
                    "the thread of higher priority has woken {woken} times in {laps} laps"
                )
            }
            Self::Laps(theirs, ours) => write!(f, "the client is in lap {theirs}, not {ours}"),
            Self::Word(offset, word) => write!(f, "{word:#x} stands at {offset:#x} of a page"),
        }
    }
}

/// What the supervisor has seen.
#[derive(Default)]
struct Seen {
    laps: u64,
    client_calls: u64,
    hostile_calls: u64,
    done: u64,
    revived: u64,
    lives: u64,
}

/// Runs until that many calls are made, at random from `seed` on, and looks whether all is as it was.
pub fn run(
    root: &Root,
    mut allocator: Allocator,
    mut window: Window,
    calls: u64,
    seed: u64,
) -> Result<(), Error> {
    let listener = allocator.make::<Endpoint>()?;
    let parents = [
        mint(&mut allocator, listener, badge::FIRST)?,
        mint(&mut allocator, listener, badge::SECOND)?,
    ];
    let mut frame = || -> Result<_, Error> {
        let page = allocator.make::<Page>()?;
        Ok((page, window.map(&mut allocator, page, 12)?))
    };
    let frames = [frame()?, frame()?];
    let (_, canary) = frame()?;
    for index in 0..CANARY_WORDS {
        canary.write(index * 8, CANARY ^ index);
    }
    let irq = allocator.slot()?;
    let irq_slot = root.cnode.slot(irq);
    root.irq_control.handler(UNUSED_IRQ, irq_slot)?;
    let outside = Outside {
        root,
        parents,
        frames,
        irq: IrqHandler::from_cptr(irq),
    };
    let mut arena = allocator.arena(ARENA_BITS, ARENA_SLOTS)?;
    honest::start(root, &mut allocator, &mut window, listener)?;

    let mut seen = Seen::default();
    let mut lap = None;
    while seen.hostile_calls < calls {
        seen.lives += 1;
        // One life's addresses are used again in the next.
        let mut life_window = Window::new(root.vspace, LIFE_WINDOW, 1 << 30);
        let seed = seed.wrapping_mul(1 << 20).wrapping_add(seen.lives);
        let mut pair = Pair::make(&outside, &mut arena, &mut life_window, seed)?;
        while pair.calls() < CALLS_A_LIFE && seen.hostile_calls < calls {
            let received = next(listener, &mut lap);
            match received.badge {
                badge::FIRST | badge::SECOND => {
                    seen.revived += 1;
                    pair.revive((received.badge - badge::FIRST) as usize, root)?;
                }
                _ => {
                    lap = Some(check_lap(&mut seen, received)?);
                    seen.hostile_calls += pair.lap(root)?;
                }
            }
        }
        seen.done += pair.done();
        arena.reset()?;
        if seen.lives.is_multiple_of(10) {
            println!("{} calls in {} lives", seen.hostile_calls, seen.lives);
        }
    }
    check_memory(&mut arena, root)?;
    for index in 0..CANARY_WORDS {
        let word = canary.read(index * 8);
        if word != CANARY ^ index {
            return Err(Error::Word(index * 8, word));
        }
    }
    let until = seen.laps + LAPS_AFTERWARDS;
    while seen.laps < until {
        let received = next(listener, &mut lap);
        // What the hostile processes had sent is still in the queue, at most.
        if received.badge >= badge::LOWER {
            lap = Some(check_lap(&mut seen, received)?);
        }
    }
    println!(
        "{} hostile calls, {} of them invocations that were done; {} lives, {} faults and messages of theirs",
        seen.hostile_calls, seen.done, seen.lives, seen.revived
    );
    println!(
        "{} calls of the client in {} laps, all answers right; the higher thread has woken {} times, the lower has not run",
        seen.client_calls,
        seen.laps,
        woken()
    );
    Ok(())
}

/// Where the pages of one life are filled.
const LIFE_WINDOW: u64 = Window::BASE + (8 << 30);

/// Lets the client go on that has ended a lap, if one has, and waits for the next message.
fn next(listener: Endpoint, lap: &mut Option<()>) -> Received {
    match lap.take() {
        Some(()) => listener.reply_recv(&Message::new(0, &[])),
        None => listener.recv(),
    }
}

/// Whether this is the end of a lap of the client, and all honest threads are where they should be.
fn check_lap(seen: &mut Seen, received: Received) -> Result<(), Error> {
    if received.badge != badge::CLIENT || received.label() != LAP {
        let (badge, label) = (received.badge, received.label());
        if let Event::Panic(text) = Event::from_message(received) {
            println!("sender {badge} has panicked: {}", text.as_str());
        }
        return Err(Error::Message(badge, label));
    }
    seen.laps += 1;
    seen.client_calls = received.word(1);
    if received.word(0) != seen.laps {
        return Err(Error::Laps(received.word(0), seen.laps));
    }
    match (woken(), lower_rounds()) {
        (woken, _) if woken != seen.laps => Err(Error::NotWoken(woken, seen.laps)),
        (_, rounds) if rounds != 0 => Err(Error::LowerRan(rounds)),
        _ => Ok(()),
    }
}

/// All memory of the hostile processes can be used again, and nothing of theirs is in it.
fn check_memory(arena: &mut Arena, root: &Root) -> Result<(), Error> {
    for _ in 0..2 {
        arena.make_untyped(ARENA_BITS - 1)?;
    }
    arena.reset()?;
    let mut window = Window::new(root.vspace, LIFE_WINDOW, 1 << 30);
    for _ in 0..ARENA_SLOTS - 50 {
        let Ok(page) = arena.make::<Page>() else {
            break;
        };
        let Ok(frame) = window.map(arena, page, 12) else {
            break;
        };
        let words = (0..512).map(|index| index * 8);
        if let Some(offset) = words.clone().find(|&offset| frame.read(offset) != 0) {
            return Err(Error::Word(offset, frame.read(offset)));
        }
    }
    arena.reset()?;
    Ok(())
}
