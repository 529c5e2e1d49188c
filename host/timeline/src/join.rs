//! Which events belong to one request.
//!
//! A request's events are those with its token on its connection. Both processes record; the requester knows the connection by
//! one number and the server by another, and each says where it leads. So the request's name is: the requester's end, the server's
//! end, the token. A ring has no token: it belongs to the requests that were written before it and were not drained by then.

use crate::recording::{Process, Recording};
use baton_trace::{End, Event, Peer, Step, Unit};
use std::collections::BTreeMap;
use std::fmt;

/// A place on a request's way, in order. The eight steps are numbered; if the requester sleeps, the sixth has a ring of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// Step 1: the task made the call.
    Call,
    /// Step 2: the request was written.
    Submit,
    /// Step 3: the server was rung, for it slept.
    Ring,
    /// Step 4: the server popped the request.
    Drain,
    /// Step 5: the handler began.
    Serve,
    /// Step 6: the answer was written.
    Reply,
    /// Still step 6: the requester was rung, for it slept.
    RingBack,
    /// Step 7: the requester popped the answer.
    DrainAnswer,
    /// Step 8: the task went on.
    Resume,
}

impl Point {
    /// All, in order.
    pub const ALL: [Point; 9] = [
        Point::Call,
        Point::Submit,
        Point::Ring,
        Point::Drain,
        Point::Serve,
        Point::Reply,
        Point::RingBack,
        Point::DrainAnswer,
        Point::Resume,
    ];

    /// The number of the step, 1 to 8.
    pub const fn number(self) -> usize {
        match self {
            Point::Call => 1,
            Point::Submit => 2,
            Point::Ring => 3,
            Point::Drain => 4,
            Point::Serve => 5,
            Point::Reply | Point::RingBack => 6,
            Point::DrainAnswer => 7,
            Point::Resume => 8,
        }
    }

    /// The step that is recorded there.
    pub const fn step(self) -> Step {
        match self {
            Point::Call => Step::Call,
            Point::Submit => Step::Submit,
            Point::Ring | Point::RingBack => Step::Ring,
            Point::Drain => Step::Drain,
            Point::Serve => Step::Serve,
            Point::Reply => Step::Reply,
            Point::DrainAnswer => Step::DrainAnswer,
            Point::Resume => Step::Resume,
        }
    }

    /// The point of a step that bears a request's token, and whether the requester records it.
    fn of(step: Step) -> Option<(Point, Side)> {
        match step {
            Step::Call => Some((Point::Call, Side::Requester)),
            Step::Submit => Some((Point::Submit, Side::Requester)),
            Step::Drain => Some((Point::Drain, Side::Server)),
            Step::Serve => Some((Point::Serve, Side::Server)),
            Step::Reply => Some((Point::Reply, Side::Server)),
            Step::DrainAnswer => Some((Point::DrainAnswer, Side::Requester)),
            Step::Resume => Some((Point::Resume, Side::Requester)),
            _ => None,
        }
    }

    /// Whether a request that went its whole way has this point.
    const fn is_needed(self, from_kernel: bool) -> bool {
        match self {
            Point::Ring | Point::RingBack => false,
            // The kernel records nothing.
            Point::Drain | Point::Serve | Point::Reply => !from_kernel,
            Point::Call | Point::Submit | Point::DrainAnswer | Point::Resume => true,
        }
    }
}

/// Who records an event.
#[derive(Clone, Copy)]
enum Side {
    Requester,
    Server,
}

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The index of the process.
    pub process: usize,
    /// The index of the event in the process's recording.
    pub event: usize,
}

/// One request: where its events stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    points: [Option<Place>; Point::ALL.len()],
    /// Whether the kernel serves it.
    to_kernel: bool,
    /// Whether an event was recorded twice, so that it cannot be said which belongs to which.
    ambiguous: bool,
    /// Whether its events are in the order of the steps, by their times.
    in_order: bool,
}

impl Request {
    fn new(to_kernel: bool) -> Self {
        Request {
            points: [None; Point::ALL.len()],
            to_kernel,
            ambiguous: false,
            in_order: true,
        }
    }

    /// Where the event of this point stands, if it was recorded.
    pub fn place(&self, point: Point) -> Option<Place> {
        self.points.get(point as usize).copied().flatten()
    }

    /// The points that were recorded, in the order of the steps.
    pub fn points(&self) -> impl Iterator<Item = (Point, Place)> + '_ {
        Point::ALL
            .into_iter()
            .filter_map(|point| Some((point, self.place(point)?)))
    }

    /// Whether the kernel serves it.
    pub fn is_to_kernel(&self) -> bool {
        self.to_kernel
    }

    /// Whether all was recorded that a request has on its whole way, with nothing doubtful.
    pub fn is_complete(&self) -> bool {
        self.missing().next().is_none() && self.is_certain()
    }

    /// Whether its events surely are of one request, and their times are in the order of the steps.
    pub fn is_certain(&self) -> bool {
        self.in_order && !self.ambiguous
    }

    /// The steps that it should have and that were not recorded, or whose process is not known to have served it.
    pub fn missing(&self) -> impl Iterator<Item = Step> + '_ {
        Point::ALL
            .into_iter()
            .filter(|point| point.is_needed(self.to_kernel) && self.place(*point).is_none())
            .map(Point::step)
    }
}

/// Recordings whose requests are known.
#[derive(Clone, Debug)]
pub struct Timeline {
    processes: Vec<Process>,
    requests: Vec<Request>,
    /// For each event of each process its time since the first of all, so that no two of a process have the same.
    times: Vec<Vec<u64>>,
    unit: Unit,
}

/// Why recordings cannot be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinError {
    /// Nothing was recorded.
    Empty,
    /// These two count time in different units.
    Units(String, String),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Empty => f.write_str("there is no recording; is tracing switched on?"),
            JoinError::Units(one, other) => write!(
                f,
                "{one} and {other} count time differently; record all processes by one clock"
            ),
        }
    }
}

impl std::error::Error for JoinError {}

/// The name of a request.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    requester: Option<End>,
    server: Option<End>,
    /// 0 for the connection that has its number last; earlier ones have other numbers.
    era: usize,
    token: u64,
}

/// For each event the number of connections that have had its connection's number and had ended by the time it was given out again.
///
/// Only of the last is it known where it leads.
fn eras(process: &Process) -> Vec<usize> {
    let mut later: BTreeMap<u16, (usize, bool)> = BTreeMap::new();
    let mut eras: Vec<usize> = process
        .events
        .iter()
        .rev()
        .map(|(_, event)| {
            let (era, bound) = later.entry(event.connection).or_default();
            match event.step {
                Step::Bound => *bound = true,
                Step::Unbound if *bound => {
                    *era += 1;
                    *bound = false;
                }
                _ => {}
            }
            *era
        })
        .collect();
    eras.reverse();
    eras
}

impl Timeline {
    /// Finds out which events belong to one request.
    ///
    /// # Errors
    ///
    /// [`JoinError`].
    pub fn new(recording: Recording) -> Result<Timeline, JoinError> {
        let processes = recording.processes;
        let first = processes.first().ok_or(JoinError::Empty)?;
        let unit = first.unit;
        if let Some(other) = processes.iter().find(|process| process.unit != unit) {
            return Err(JoinError::Units(first.name.clone(), other.name.clone()));
        }
        let mut timeline = Timeline {
            times: times(&processes),
            requests: join(&processes),
            unit,
            processes,
        };
        timeline.find_rings();
        timeline.check_order();
        Ok(timeline)
    }

    /// The processes.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The requests, in no particular order. Each event of a request is in one of them at most.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// What times count.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// When that happened, since the first event of all.
    ///
    /// An event with the time of the one before it in the same process is taken to be one unit later: clocks are coarse.
    pub fn time(&self, place: Place) -> u64 {
        let times = self.times.get(place.process);
        times
            .and_then(|times| times.get(place.event))
            .copied()
            .unwrap_or(0)
    }

    /// What happened there.
    pub(crate) fn event(&self, place: Place) -> Option<(u64, Event)> {
        self.processes
            .get(place.process)?
            .events
            .get(place.event)
            .copied()
    }

    /// When the next event of the same process happened.
    pub(crate) fn next_time(&self, place: Place) -> Option<u64> {
        self.times.get(place.process)?.get(place.event + 1).copied()
    }

    /// Rings: the first after a message was written that came before the message was drained.
    fn find_rings(&mut self) {
        let mut rings: BTreeMap<(usize, u16), Vec<usize>> = BTreeMap::new();
        for (number, process) in self.processes.iter().enumerate() {
            for (at, (_, event)) in process.events.iter().enumerate() {
                if event.step == Step::Ring {
                    let place = rings.entry((number, event.connection)).or_default();
                    place.push(at);
                }
            }
        }
        let ring = |written: Option<Place>, drained: Option<Place>| {
            let (written, drained) = (written?, drained?);
            let (_, event) = self.event(written)?;
            let rings = rings.get(&(written.process, event.connection))?;
            let next = rings.partition_point(|at| *at < written.event);
            let ring = Place {
                process: written.process,
                event: *rings.get(next)?,
            };
            (self.time(ring) <= self.time(drained)).then_some(ring)
        };
        let found: Vec<_> = self
            .requests
            .iter()
            .map(|request| {
                let drained = if request.to_kernel {
                    request.place(Point::DrainAnswer)
                } else {
                    request.place(Point::Drain)
                };
                let back = if request.to_kernel {
                    None
                } else {
                    ring(
                        request.place(Point::Reply),
                        request.place(Point::DrainAnswer),
                    )
                };
                (ring(request.place(Point::Submit), drained), back)
            })
            .collect();
        for (request, (ring, back)) in self.requests.iter_mut().zip(found) {
            request.points[Point::Ring as usize] = ring;
            request.points[Point::RingBack as usize] = back;
        }
    }

    fn check_order(&mut self) {
        let in_order: Vec<bool> = self
            .requests
            .iter()
            .map(|request| {
                request
                    .points()
                    .map(|(_, place)| self.time(place))
                    .is_sorted()
            })
            .collect();
        for (request, in_order) in self.requests.iter_mut().zip(in_order) {
            request.in_order = in_order;
        }
    }
}

fn times(processes: &[Process]) -> Vec<Vec<u64>> {
    let all = processes.iter().flat_map(|process| &process.events);
    let first = all.map(|(_, event)| event.time_ns).min().unwrap_or(0);
    let increasing = |process: &Process| {
        let mut least = 0;
        let events = process.events.iter();
        events
            .map(|(_, event)| {
                let time = (event.time_ns - first).max(least);
                least = time.saturating_add(1);
                time
            })
            .collect()
    };
    processes.iter().map(increasing).collect()
}

fn join(processes: &[Process]) -> Vec<Request> {
    let mut numbers: BTreeMap<Name, usize> = BTreeMap::new();
    let mut requests: Vec<Request> = Vec::new();
    for (number, process) in processes.iter().enumerate() {
        let eras = eras(process);
        for ((at, (_, event)), era) in process.events.iter().enumerate().zip(eras) {
            let Some((point, side)) = Point::of(event.step) else {
                continue;
            };
            let own = Some(End {
                process: process.number,
                connection: event.connection,
            });
            let peer = match process.connection(event.connection) {
                Some(connection) if era == 0 => connection.peer,
                _ => Peer::Unknown,
            };
            let other = match peer {
                Peer::Process(end) => Some(end),
                Peer::Kernel | Peer::Unknown => None,
            };
            let (requester, server) = match side {
                Side::Requester => (own, other),
                Side::Server => (other, own),
            };
            let name = Name {
                requester,
                server,
                era,
                token: event.token,
            };
            let index = *numbers.entry(name).or_insert_with(|| {
                requests.push(Request::new(peer == Peer::Kernel));
                requests.len() - 1
            });
            if let Some(request) = requests.get_mut(index)
                && let Some(slot) = request.points.get_mut(point as usize)
            {
                match slot {
                    Some(_) => request.ambiguous = true,
                    None => {
                        *slot = Some(Place {
                            process: number,
                            event: at,
                        });
                    }
                }
            }
        }
    }
    requests
}
