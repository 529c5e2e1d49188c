//! Worlds one after the other, until so many calls have been made; what fails is made short before it is shown.

use crate::caps::Cap;
use crate::generate;
use crate::random::Random;
use crate::world::{Step, World};
use baton_sel4_abi::{Error, Label, MessageInfo, Syscall};
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Calls of a run that says nothing else.
pub const SHORT_CALLS: u64 = if cfg!(debug_assertions) {
    5_000
} else {
    50_000
};
/// The most steps of one world; then another begins.
const STEPS_A_WORLD: u64 = 2_000;
/// After so many steps page tables are compared as well, which are large, and memory is looked through.
const STEPS_BETWEEN_DEEP: u64 = 64;
/// After so many steps the kernel's own check looks at its records; the model has looked at nearly all of them each time.
const STEPS_BETWEEN_CHECKS: u64 = 8;
/// Calls between two lines of progress.
const CALLS_A_LINE: u64 = 500_000;
/// The most tries to make a failing sequence shorter.
const TRIES: u32 = 3_000;

/// What worlds came to.
#[derive(Default)]
struct Went {
    /// For each kind of call how many there were, and how many of them were refused or faulted.
    kinds: BTreeMap<String, (u64, u64)>,
    /// How often an operation was interrupted.
    interrupted: u64,
}

impl Went {
    fn calls(&self) -> u64 {
        self.kinds.values().map(|&(calls, _)| calls).sum()
    }

    fn add(&mut self, kind: String, (calls, refused): (u64, u64)) {
        let sum = self.kinds.entry(kind).or_default();
        *sum = (sum.0 + calls, sum.1 + refused);
    }
}

/// A world that went wrong.
struct Wrong {
    text: String,
    steps: Vec<Step>,
}

/// Makes calls until there were enough.
///
/// # Panics
/// If kernel and model part, with the shortest sequence of steps that was found to bring it about.
pub fn run(first_seed: u64, calls: u64) {
    println!("seed {first_seed}, {calls} calls");
    let started = Instant::now();
    let mut total = Went::default();
    let (mut seed, mut next_line) = (first_seed, CALLS_A_LINE);
    while total.calls() < calls {
        match world(seed) {
            Ok(went) => {
                total.interrupted += went.interrupted;
                for (kind, counts) in went.kinds {
                    total.add(kind, counts);
                }
            }
            Err(wrong) => fail(seed, wrong),
        }
        seed += 1;
        if total.calls() >= next_line {
            next_line += CALLS_A_LINE;
            println!("{} calls, next seed {seed}", total.calls());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{:<36}{:>10}{:>10}", "call", "made", "refused");
    for (kind, (calls, refused)) in &total.kinds {
        println!("{kind:<36}{calls:>10}{refused:>10}");
    }
    println!(
        "{} calls in {} worlds (seeds {first_seed} to {}), {} times interrupted, {:.0} calls/s",
        total.calls(),
        seed - first_seed,
        seed - 1,
        total.interrupted,
        total.calls() as f64 / seconds
    );
}

/// Takes generated steps in a new world.
fn world(seed: u64) -> Result<Went, Wrong> {
    let steps = RefCell::new(Vec::new());
    let went = RefCell::new(Went::default());
    let result = guarded(|| {
        let mut random = Random::new(seed);
        let mut world = World::new()?;
        for number in 0..STEPS_A_WORLD {
            let Some(step) = generate::next(&world.model, &mut random) else {
                break;
            };
            steps.borrow_mut().push(step.clone());
            let kind = kind(&world, &step);
            let before = world
                .model
                .running
                .map(|caller| (caller, faulted(&world, caller)));
            if !world.step(&step) {
                return Ok(());
            }
            look(&world, number)?;
            if let Some(kind) = kind {
                let is_refused = before.is_some_and(|(caller, had_faulted)| {
                    was_answered_with_error(&world, caller)
                        || (!had_faulted && faulted(&world, caller))
                });
                went.borrow_mut().add(kind, (1, u64::from(is_refused)));
            }
        }
        went.borrow_mut().interrupted = world.interrupted;
        world.compare(true)
    });
    match result {
        Ok(()) => Ok(went.into_inner()),
        Err(text) => Err(Wrong {
            text,
            steps: steps.into_inner(),
        }),
    }
}

/// What kind of call a step is: the system call, and what it is to do with which object.
fn kind(world: &World, step: &Step) -> Option<String> {
    let Step::Call(call) = step else {
        return None;
    };
    let model = &world.model;
    let Some(syscall) = Syscall::from_number(call.number as i64) else {
        return Some("an unknown system call".to_owned());
    };
    let caller = model.running?;
    let place = model.lookup(caller, call.pointer).ok();
    let Some(cap) = place.and_then(|place| model.cap(place)) else {
        return Some(format!("{syscall:?}"));
    };
    let object = match cap {
        Cap::Endpoint { .. } => "an endpoint",
        Cap::Notification { .. } => "a notification",
        Cap::Reply { .. } => "a reply capability",
        _ if syscall == Syscall::Call => {
            let label = Label::from_number(MessageInfo::from_word(call.info).label());
            return Some(match label {
                Some(label) => format!("{label:?}"),
                None => "an unknown label".to_owned(),
            });
        }
        _ => "something else",
    };
    match syscall {
        Syscall::Yield | Syscall::Reply => Some(format!("{syscall:?}")),
        _ => Some(format!("{syscall:?} with {object}")),
    }
}

/// Whether the caller runs on, with an error as its answer.
fn was_answered_with_error(world: &World, caller: u64) -> bool {
    let runs = world.model.running == Some(caller);
    runs && Error::from_label(world.model.message_info(caller).label()).is_some()
}

fn faulted(world: &World, thread: u64) -> bool {
    let thread = world.model.threads.get(&thread);
    thread.is_some_and(|thread| thread.fault.is_some())
}

fn look(world: &World, number: u64) -> Result<(), String> {
    let deep = number.is_multiple_of(STEPS_BETWEEN_DEEP);
    world.compare(deep)?;
    if deep {
        world.fake.kernel().check()
    } else if number.is_multiple_of(STEPS_BETWEEN_CHECKS) {
        world.fake.kernel().check_records()
    } else {
        Ok(())
    }
}

/// Takes these steps in a new world; what goes wrong, if anything does.
fn replay(steps: &[Step]) -> Option<String> {
    let replayed = guarded(|| {
        let mut world = World::new()?;
        for step in steps {
            if !world.step(step) {
                break;
            }
            look(&world, 0)?;
        }
        Ok(())
    });
    replayed.err()
}

/// A panic is an error as well.
fn guarded(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => Err(format!("a panic: {}", said(payload.as_ref()))),
    }
}

fn said(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else {
        "without words".to_owned()
    }
}

fn fail(seed: u64, wrong: Wrong) -> ! {
    println!("seed {seed}, step {}: {}", wrong.steps.len(), wrong.text);
    // Each try that fails again would print its panic.
    std::panic::set_hook(Box::new(|_| {}));
    let (steps, text) = shrink(wrong.steps, wrong.text);
    drop(std::panic::take_hook());
    let mut list = String::new();
    for (number, step) in steps.iter().enumerate() {
        list += &format!("{number:>4} {step:x?}\n");
    }
    panic!(
        "kernel and model part (BATON_SEED={seed}), after {} steps: {text}\n{list}",
        steps.len()
    );
}

/// Leaves out steps as long as something still goes wrong: many at once first, then fewer.
fn shrink(mut steps: Vec<Step>, mut text: String) -> (Vec<Step>, String) {
    let mut tries = 0;
    let mut piece = steps.len().div_ceil(2);
    while piece > 0 {
        let mut end = steps.len();
        let mut shorter = false;
        while end > 0 && tries < TRIES {
            let start = end.saturating_sub(piece);
            let fewer = [&steps[..start], &steps[end..]].concat();
            tries += 1;
            if let Some(other) = replay(&fewer) {
                (steps, text, shorter) = (fewer, other, true);
            }
            end = start;
        }
        if piece > 1 || !shorter {
            piece /= 2;
        }
    }
    (steps, text)
}
