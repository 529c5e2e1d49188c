//! Events for a trace viewer: the JSON array format of Chrome's trace events, which Perfetto opens.
//!
//! One track a task, one a lane and one for the executor itself. A request's submit, drain, reply and drain of the
//! answer are joined by arrows, across processes too once their arrays are joined by [`join_chrome_json`]: times are
//! absolute, so both must have used the same clock.

use crate::{Event, Step};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

/// Which side of a connection asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// The process whose events these are.
    ThisProcess,
    /// The other end of the connection.
    Peer,
}

/// How processes, tasks and connections are called in a trace.
pub trait Names {
    /// Writes the name of the process.
    ///
    /// # Errors
    ///
    /// Whatever `out` says.
    fn process(&self, out: &mut dyn fmt::Write) -> fmt::Result;

    /// Writes the name of a task.
    ///
    /// # Errors
    ///
    /// Whatever `out` says.
    fn task(&self, task: u16, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "task {task}")
    }

    /// Writes the name of a connection.
    ///
    /// # Errors
    ///
    /// Whatever `out` says.
    fn connection(&self, connection: u16, out: &mut dyn fmt::Write) -> fmt::Result {
        write!(out, "connection {connection}")
    }

    /// A number that both ends agree on for the requests that `requester` sends on this connection.
    ///
    /// Arrows lead from one process to another where these numbers and the tokens are equal. The number given here is
    /// enough where one side asks and both give the connection the same number.
    fn flow(&self, connection: u16, requester: Requester) -> u64 {
        let _ = requester;
        u64::from(connection)
    }
}

/// Names made of the numbers alone, for a process of this name.
#[derive(Clone, Copy, Debug)]
pub struct NumberedNames<'a>(pub &'a str);

impl Names for NumberedNames<'_> {
    fn process(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(self.0)
    }
}

/// The line of the picture on which an event stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Track {
    Executor,
    Task(u16),
    Requests(u16),
    Answers(u16),
}

impl Track {
    fn of(event: &Event) -> Track {
        match event.step {
            Step::Call
            | Step::Submit
            | Step::Serve
            | Step::Reply
            | Step::Resume
            | Step::Wake
            | Step::Cancel
            | Step::Timer
            | Step::OneWay
            | Step::CreditWait => Track::Task(event.task),
            Step::Drain => Track::Requests(event.connection),
            Step::DrainAnswer => Track::Answers(event.connection),
            Step::Ring
            | Step::Sleep
            | Step::Woken
            | Step::PeerDied
            | Step::PeerCorrupt
            | Step::Bound
            | Step::Unbound => Track::Executor,
        }
    }

    /// The viewer's thread number; the ranges do not meet, and none is 0, which viewers take for the idle thread.
    fn thread(self) -> u32 {
        match self {
            Track::Executor => 1,
            Track::Task(task) => 100_000 + u32::from(task),
            Track::Requests(connection) => 200_000 + 2 * u32::from(connection),
            Track::Answers(connection) => 200_001 + 2 * u32::from(connection),
        }
    }

    fn write_name(self, names: &impl Names, out: &mut dyn fmt::Write) -> fmt::Result {
        match self {
            Track::Executor => out.write_str("executor"),
            Track::Task(task) => names.task(task, out),
            Track::Requests(connection) => {
                names.connection(connection, out)?;
                out.write_str(": requests")
            }
            Track::Answers(connection) => {
                names.connection(connection, out)?;
                out.write_str(": answers")
            }
        }
    }
}

/// Lets through what may stand between the quotes of a JSON string, and escapes the rest.
struct Escaped<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' | '\\' => write!(self.0, "\\{c}")?,
                c if c < ' ' => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A time in nanoseconds, written in the microseconds of the format without loss.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// How long each event lasts: a handler until its reply, sleep until it ends, all others a nanosecond.
fn durations_ns(events: &[(u64, Event)]) -> Vec<u64> {
    let mut replies = BTreeMap::new();
    let mut woken = None;
    let mut durations: Vec<u64> = events
        .iter()
        .rev()
        .map(|(_, event)| {
            let request = (event.connection, event.token);
            let end = match event.step {
                Step::Reply => {
                    replies.insert(request, event.time_ns);
                    None
                }
                Step::Woken => {
                    woken = Some(event.time_ns);
                    None
                }
                Step::Serve => replies.remove(&request),
                Step::Sleep => woken.take(),
                _ => None,
            };
            end.map_or(1, |end: u64| end.saturating_sub(event.time_ns).max(1))
        })
        .collect();
    durations.reverse();
    durations
}

/// The part of an arrow that starts, passes or ends at this event: its phase, and who asked.
fn arrow(step: Step) -> Option<(&'static str, Requester)> {
    match step {
        Step::Submit => Some(("s", Requester::ThisProcess)),
        Step::Drain | Step::Reply => Some(("t", Requester::Peer)),
        Step::DrainAnswer => Some(("f", Requester::ThisProcess)),
        _ => None,
    }
}

/// The number of an arrow: for one connection no two tokens have the same, and those of others lie far apart.
fn arrow_id(token: u64, flow: u64) -> u64 {
    token.wrapping_add(flow.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Writes the events of one process as a JSON array of Chrome trace events.
///
/// # Errors
///
/// Whatever `out` says.
pub fn write_chrome_json(
    events: &[(u64, Event)],
    pid: u32,
    names: &impl Names,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    write!(
        out,
        "[\n{{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":{pid},\"args\":{{\"name\":\""
    )?;
    names.process(&mut Escaped(out))?;
    out.write_str("\"}}")?;
    let tracks: BTreeSet<Track> = events.iter().map(|(_, event)| Track::of(event)).collect();
    for track in tracks {
        let tid = track.thread();
        write!(
            out,
            ",\n{{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":{pid},\"tid\":{tid},\"args\":{{\"name\":\""
        )?;
        track.write_name(names, &mut Escaped(out))?;
        out.write_str("\"}}")?;
    }
    for ((sequence, event), duration_ns) in events.iter().zip(durations_ns(events)) {
        let tid = Track::of(event).thread();
        let ts = Micros(event.time_ns);
        write!(
            out,
            ",\n{{\"name\":\"{}\",\"cat\":\"baton\",\"ph\":\"X\",\"ts\":{ts},\"dur\":{},\"pid\":{pid},\"tid\":{tid},\
             \"args\":{{\"sequence\":{sequence},\"task\":{},\"connection\":{},\"token\":\"{:016x}\",\"detail\":{}}}}}",
            event.step.name(),
            Micros(duration_ns),
            event.task,
            event.connection,
            event.token,
            event.detail,
        )?;
        let Some((phase, requester)) = arrow(event.step) else {
            continue;
        };
        let id = arrow_id(event.token, names.flow(event.connection, requester));
        // An arrow's end belongs to the slice around it, not to the next one.
        let bind = if phase == "f" { ",\"bp\":\"e\"" } else { "" };
        write!(
            out,
            ",\n{{\"name\":\"request\",\"cat\":\"baton\",\"ph\":\"{phase}\"{bind},\"id\":\"0x{id:016x}\",\"ts\":{ts},\
             \"pid\":{pid},\"tid\":{tid}}}"
        )?;
    }
    out.write_str("\n]\n")
}

/// Why traces could not be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// This part, counted from 0, is no JSON array; pass what [`write_chrome_json`] wrote.
    NotAnArray(usize),
    /// The writer refused the text.
    Write,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::NotAnArray(part) => {
                write!(f, "part {part} is no JSON array of trace events")
            }
            JoinError::Write => f.write_str("the joined trace could not be written"),
        }
    }
}

impl core::error::Error for JoinError {}

impl From<fmt::Error> for JoinError {
    fn from(_: fmt::Error) -> Self {
        JoinError::Write
    }
}

/// Writes one JSON array that holds the events of all parts, so that a request is followed between processes.
///
/// # Errors
///
/// [`JoinError::NotAnArray`] when a part does not stand in brackets; [`JoinError::Write`] when `out` refuses.
pub fn join_chrome_json(parts: &[&str], out: &mut impl fmt::Write) -> Result<(), JoinError> {
    out.write_str("[")?;
    let mut separator = "\n";
    for (number, part) in parts.iter().enumerate() {
        let inside = part
            .trim()
            .strip_prefix('[')
            .and_then(|part| part.strip_suffix(']'))
            .ok_or(JoinError::NotAnArray(number))?
            .trim();
        if !inside.is_empty() {
            out.write_str(separator)?;
            out.write_str(inside)?;
            separator = ",\n";
        }
    }
    out.write_str("\n]\n")?;
    Ok(())
}
