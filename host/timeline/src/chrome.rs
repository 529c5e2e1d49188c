//! A timeline in the JSON format of Chrome's trace events, which Perfetto opens.
//!
//! One group of tracks a process: one for the executor, one a task, two a connection. Each event is a slice, and a request's slices
//! are joined by a flow of its own number: it starts at its first, passes through all others in the order of the steps, and ends at
//! its last. What the kernel does on a request's behalf nobody records; of that a track of its own shows when the process was in
//! there, from its bell or its sleep until it went on.

use crate::join::{Place, Point, Request, Timeline};
use crate::recording::Process;
use baton_trace::{Event, Step, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An event takes no time that anybody knows. So that it can be seen, its slice lasts until the process's next event, and so many
/// units at most.
const VISIBLE: u64 = 1_000;
/// What a process has more in the viewer as long as its own number is taken.
const NUMBER_TAKEN: u32 = 1 << 24;
/// The viewer's number of the kernel, unless a process has it. Perfetto reads numbers of 32 bits.
const KERNEL: u32 = u32::MAX >> 1;

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

    fn name(self, process: &Process) -> String {
        let connection = |number| match process.connection(number) {
            Some(connection) if !connection.name.is_empty() => connection.name.clone(),
            _ => format!("connection {number}"),
        };
        match self {
            Track::Executor => "executor".to_owned(),
            // Events outside any task.
            Track::Task(u16::MAX) => "no task".to_owned(),
            Track::Task(task) => format!("task {task}"),
            Track::Requests(number) => format!("{}: requests", connection(number)),
            Track::Answers(number) => format!("{}: answers", connection(number)),
        }
    }
}

/// Text between the quotes of a JSON string.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(f, "\\{c}"),
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c)),
            c => write!(f, "{c}"),
        })
    }
}

/// A time in units, written in thousands of them (for nanoseconds the microseconds of the format) without loss.
struct Thousands(u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Where a slice stands in the viewer.
#[derive(Clone, Copy)]
struct Slice {
    process: u32,
    thread: u32,
    start: u64,
    duration: u64,
}

/// What passes through a slice: requests by number, each with the phase of its flow.
type Flows<K> = BTreeMap<K, Vec<(usize, &'static str)>>;

impl Request {
    /// The event with which the process went into the kernel and came back with this request's answer, if that shows: it rang the
    /// kernel, or went to sleep, which empties its lane.
    fn kernel_visit(&self, timeline: &Timeline) -> Option<Place> {
        if !self.is_to_kernel() {
            return None;
        }
        let submit = self.place(Point::Submit)?;
        let answer = self.place(Point::DrainAnswer)?;
        let (_, of_answer) = timeline.event(answer)?;
        let goes_in = |place: &Place| {
            timeline
                .event(*place)
                .is_some_and(|(_, event)| match event.step {
                    Step::Ring => event.connection == of_answer.connection,
                    Step::Sleep => true,
                    _ => false,
                })
        };
        (submit.event..answer.event)
            .rev()
            .map(|event| Place {
                process: answer.process,
                event,
            })
            .find(goes_in)
    }
}

/// One after the other in an array.
struct Array<'a, W> {
    out: &'a mut W,
    separator: &'static str,
}

impl<W: fmt::Write> Array<'_, W> {
    fn item(&mut self, item: fmt::Arguments<'_>) -> fmt::Result {
        self.out.write_str(self.separator)?;
        self.separator = ",\n";
        self.out.write_fmt(item)
    }

    fn name(&mut self, what: &str, process: u32, thread: Option<u32>, name: &str) -> fmt::Result {
        let name = Escaped(name);
        match thread {
            None => self.item(format_args!(
                "{{\"name\":\"{what}\",\"ph\":\"M\",\"pid\":{process},\"args\":{{\"name\":\"{name}\"}}}}"
            )),
            Some(thread) => self.item(format_args!(
                "{{\"name\":\"{what}\",\"ph\":\"M\",\"pid\":{process},\"tid\":{thread},\"args\":{{\"name\":\"{name}\"}}}}"
            )),
        }
    }

    fn slice(&mut self, slice: Slice, name: &str, args: fmt::Arguments<'_>) -> fmt::Result {
        self.item(format_args!(
            "{{\"name\":\"{name}\",\"cat\":\"baton\",\"ph\":\"X\",\"ts\":{},\"dur\":{},\"pid\":{},\"tid\":{},\"args\":{{{args}}}}}",
            Thousands(slice.start),
            Thousands(slice.duration),
            slice.process,
            slice.thread,
        ))
    }

    /// One part of each of the flows that pass through the slice.
    fn flows(&mut self, slice: Slice, flows: Option<&Vec<(usize, &'static str)>>) -> fmt::Result {
        for (request, phase) in flows.into_iter().flatten() {
            // An arrow's end belongs to the slice around it, not to the next one.
            let bind = if *phase == "f" { ",\"bp\":\"e\"" } else { "" };
            self.item(format_args!(
                "{{\"name\":\"request\",\"cat\":\"request\",\"ph\":\"{phase}\"{bind},\"id\":{request},\"ts\":{},\"pid\":{},\
                 \"tid\":{}}}",
                Thousands(slice.start),
                slice.process,
                slice.thread,
            ))?;
        }
        Ok(())
    }
}

/// Handlers that begin in a task in which another has begun and not replied, and those others. Of a correct process there are none; slices
/// of a track must nest, so these are shown as short as other events are.
fn crossing_handlers(process: &Process) -> BTreeSet<usize> {
    let mut crossing = BTreeSet::new();
    let mut serving: BTreeMap<u16, BTreeMap<(u16, u64), usize>> = BTreeMap::new();
    for (at, (_, event)) in process.events.iter().enumerate() {
        let request = (event.connection, event.token);
        match event.step {
            Step::Serve => {
                let others = serving.entry(event.task).or_default();
                if !others.is_empty() {
                    crossing.extend(others.values());
                    crossing.insert(at);
                }
                others.insert(request, at);
            }
            Step::Reply => serving.values_mut().for_each(|serving| {
                serving.remove(&request);
            }),
            _ => {}
        }
    }
    crossing
}

/// The number of a request in the file, from 1.
fn number_of(index: usize) -> usize {
    index + 1
}

impl Timeline {
    /// Writes the timeline as a JSON object of Chrome trace events.
    ///
    /// Times begin at 0. An event that belongs to a request has the request's number, which is also that of its arrows, among its
    /// arguments. Where not all steps of a request were recorded, its events have what is `missing`; where its events cannot be told
    /// apart from another's, or clocks disagree about their order, they are marked `doubtful` and there are no arrows.
    ///
    /// # Errors
    ///
    /// Whatever `out` says.
    pub fn write_chrome(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let clock = match self.unit() {
            Unit::Nanoseconds => "nanoseconds",
            Unit::Instructions => "instructions retired; one is shown as a nanosecond",
        };
        write!(
            out,
            "{{\"displayTimeUnit\":\"ns\",\"otherData\":{{\"clock\":\"{clock}\"}},\"traceEvents\":["
        )?;
        let (of_event, flows, visits) = self.arrows();
        let mut array = Array {
            out,
            separator: "\n",
        };
        for (index, number) in self.viewer_numbers().into_iter().enumerate() {
            match self.processes().get(index) {
                Some(_) => self.write_process(index, number, &of_event, &flows, &mut array)?,
                None => self.write_kernel(number, &visits, &mut array)?,
            }
        }
        out.write_str("\n]}\n")
    }

    /// The request of each event, and the flows through each event and through each visit to the kernel.
    fn arrows(&self) -> (BTreeMap<Place, usize>, Flows<Place>, Flows<Place>) {
        let mut of_event = BTreeMap::new();
        let mut flows = Flows::new();
        let mut visits = Flows::new();
        for (index, request) in self.requests().iter().enumerate() {
            let mut way: Vec<(Place, bool)> = Vec::new();
            let visit = request.kernel_visit(self);
            for (point, place) in request.points() {
                if !matches!(point, Point::Ring | Point::RingBack) {
                    of_event.insert(place, index);
                }
                if point == Point::DrainAnswer {
                    way.extend(visit.map(|visit| (visit, true)));
                }
                way.push((place, false));
            }
            if !request.is_certain() || way.len() < 2 {
                continue;
            }
            let last = way.len() - 1;
            for (at, (place, in_kernel)) in way.into_iter().enumerate() {
                let phase = match at {
                    0 => "s",
                    at if at == last => "f",
                    _ => "t",
                };
                let flows = if in_kernel { &mut visits } else { &mut flows };
                let through = flows.entry(place).or_insert_with(Vec::new);
                through.push((number_of(index), phase));
            }
        }
        (of_event, flows, visits)
    }

    /// The viewer's numbers of the processes, and of the kernel behind them: their own where nobody before has the same. None is 0,
    /// which viewers take for the idle process.
    fn viewer_numbers(&self) -> Vec<u32> {
        let mut taken = BTreeSet::from([0]);
        let numbers = self.processes().iter().map(|process| process.number);
        numbers
            .chain([KERNEL])
            .map(|mut number| {
                while !taken.insert(number) {
                    number = number.wrapping_add(NUMBER_TAKEN);
                }
                number
            })
            .collect()
    }

    fn slice(&self, process: u32, place: Place, thread: u32, end: Option<u64>) -> Slice {
        let start = self.time(place);
        let next = self.next_time(place).unwrap_or(start.saturating_add(1));
        let end = end.unwrap_or_else(|| next.min(start.saturating_add(VISIBLE)));
        Slice {
            process,
            thread,
            start,
            duration: end.saturating_sub(start).max(1),
        }
    }

    fn write_process(
        &self,
        index: usize,
        number: u32,
        of_event: &BTreeMap<Place, usize>,
        flows: &Flows<Place>,
        array: &mut Array<'_, impl fmt::Write>,
    ) -> fmt::Result {
        let Some(process) = self.processes().get(index) else {
            return Ok(());
        };
        let cut_off = if process.whole { "" } else { " (cut off)" };
        let name = format!("{}{cut_off}", process.name);
        array.name("process_name", number, None, &name)?;
        let tracks: BTreeSet<Track> = process.events.iter().map(|(_, e)| Track::of(e)).collect();
        for track in tracks {
            let name = track.name(process);
            array.name("thread_name", number, Some(track.thread()), &name)?;
        }
        let crossing = crossing_handlers(process);
        for (at, (sequence, event)) in process.events.iter().enumerate() {
            let place = Place {
                process: index,
                event: at,
            };
            let request = of_event.get(&place);
            let thread = Track::of(event).thread();
            let end = match crossing.contains(&at) {
                true => None,
                false => self.end(place, request),
            };
            let slice = self.slice(number, place, thread, end);
            let about = About {
                timeline: self,
                event,
                request: request.copied(),
            };
            array.slice(
                slice,
                event.step.name(),
                format_args!("\"sequence\":{sequence},{about}"),
            )?;
            array.flows(slice, flows.get(&place))?;
        }
        Ok(())
    }

    /// When that ended, where it is known: a handler at its reply, sleep when the process woke.
    fn end(&self, place: Place, request: Option<&usize>) -> Option<u64> {
        match self.event(place)?.1.step {
            Step::Serve => {
                let request = self.requests().get(*request?)?;
                let reply = request.place(Point::Reply)?;
                (reply.process == place.process && reply.event > place.event)
                    .then(|| self.time(reply))
            }
            Step::Sleep => self.next_time(place),
            _ => None,
        }
    }

    fn write_kernel(
        &self,
        number: u32,
        visits: &Flows<Place>,
        array: &mut Array<'_, impl fmt::Write>,
    ) -> fmt::Result {
        if visits.is_empty() {
            return Ok(());
        }
        array.name(
            "process_name",
            number,
            None,
            "kernel, as its callers see it",
        )?;
        let callers: BTreeSet<usize> = visits.keys().map(|place| place.process).collect();
        for caller in callers {
            if let Some(process) = self.processes().get(caller) {
                let name = format!("for {}", process.name);
                array.name("thread_name", number, Some(caller as u32 + 1), &name)?;
            }
        }
        for (place, requests) in visits {
            let thread = place.process as u32 + 1;
            let slice = self.slice(number, *place, thread, self.next_time(*place));
            let count = requests.len();
            let args = format_args!("\"answers that came out of it\":{count}");
            array.slice(slice, "in the kernel", args)?;
            array.flows(slice, Some(requests))?;
        }
        Ok(())
    }
}

/// The arguments of an event's slice.
struct About<'a> {
    timeline: &'a Timeline,
    event: &'a Event,
    request: Option<usize>,
}

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.event;
        write!(
            f,
            "\"task\":{},\"connection\":{},\"token\":\"{:016x}\",\"detail\":{}",
            event.task, event.connection, event.token, event.detail
        )?;
        let Some(index) = self.request else {
            return Ok(());
        };
        write!(f, ",\"request\":{}", number_of(index))?;
        let Some(request) = self.timeline.requests().get(index) else {
            return Ok(());
        };
        let missing: Vec<&str> = request.missing().map(Step::name).collect();
        if !missing.is_empty() {
            write!(f, ",\"missing\":\"{}\"", missing.join(", "))?;
        }
        if !request.is_certain() {
            f.write_str(",\"doubtful\":true")?;
        }
        Ok(())
    }
}
