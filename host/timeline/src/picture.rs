//! One request as a picture: its steps, one beside the other, and the same to scale among all that went on meanwhile.

use crate::join::{Place, Point, Request, Timeline};
use baton_trace::{Step, Unit};
use std::collections::BTreeMap;
use std::fmt;

const WIDTH: f64 = 1200.0;
/// Left of it stand the names of the processes.
const LEFT: f64 = 180.0;
const RIGHT: f64 = WIDTH - 30.0;
/// Height of a process's line among the steps.
const STEP_LANE: f64 = 130.0;
/// Height of a process's line to scale.
const SCALE_LANE: f64 = 62.0;
const STEPS_TOP: f64 = 64.0;
const BOX_WIDTH: f64 = 96.0;
const BOX_HEIGHT: f64 = 46.0;
/// Processes that are shown to scale, at most: the two of the request, and others that did something meanwhile.
const MOST_PROCESSES: usize = 8;

/// Text in an XML element or attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            c => write!(f, "{c}"),
        })
    }
}

fn colour(step: Step) -> &'static str {
    match step {
        Step::Call | Step::Resume => "#4e79a7",
        Step::Submit | Step::Reply => "#59a14f",
        Step::Ring => "#e15759",
        Step::Drain | Step::DrainAnswer => "#f28e2b",
        Step::Serve => "#b07aa1",
        _ => "#9c9c9c",
    }
}

fn title(point: Point) -> &'static str {
    match point {
        Point::Call => "1 call",
        Point::Submit => "2 submit",
        Point::Ring => "3 ring",
        Point::Drain => "4 drain",
        Point::Serve => "5 serve",
        Point::Reply => "6 reply",
        Point::RingBack => "6 ring",
        Point::DrainAnswer => "7 drain",
        Point::Resume => "8 resume",
    }
}

/// A length of time, for people.
struct Length(u64, Unit);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.1, self.0) {
            (Unit::Instructions, n) => write!(f, "{n} instr."),
            (Unit::Nanoseconds, n @ 0..10_000) => write!(f, "{n} ns"),
            (Unit::Nanoseconds, n @ 10_000..10_000_000) => {
                write!(f, "{:.1} µs", n as f64 / 1e3)
            }
            (Unit::Nanoseconds, n) => write!(f, "{:.1} ms", n as f64 / 1e6),
        }
    }
}

/// A stretch of time, and where it stands in the picture.
#[derive(Clone, Copy)]
struct Scale {
    start: u64,
    end: u64,
}

impl Scale {
    fn x(self, time: u64) -> f64 {
        let length = (self.end - self.start).max(1) as f64;
        let share = time.saturating_sub(self.start) as f64 / length;
        LEFT + share.min(1.0) * (RIGHT - LEFT)
    }

    fn meets(self, start: u64, end: u64) -> bool {
        start <= self.end && end >= self.start
    }
}

impl Timeline {
    /// The request to show to somebody: a complete one between processes, rung for if there is such, that took neither long nor short.
    pub fn typical(&self) -> Option<&Request> {
        let rung = |request: &Request| {
            request.place(Point::Ring).is_some() as u8
                + request.place(Point::RingBack).is_some() as u8
        };
        let complete = || {
            let all = self.requests().iter();
            all.filter(|request| request.is_complete() && !request.is_to_kernel())
        };
        let most = complete().map(rung).max()?;
        let mut like: Vec<&Request> = complete().filter(|r| rung(r) == most).collect();
        like.sort_by_key(|request| self.length(request));
        like.get(like.len() / 2).copied()
    }

    /// From the first to the last event of a request.
    pub fn length(&self, request: &Request) -> u64 {
        self.span(request).map_or(0, |(start, end)| end - start)
    }

    /// When the first and the last event of a request happened; they need not be in the order of the steps.
    fn span(&self, request: &Request) -> Option<(u64, u64)> {
        let times = || request.points().map(|(_, place)| self.time(place));
        Some((times().min()?, times().max()?))
    }

    /// Draws a request as an SVG.
    ///
    /// Above, its steps in order, each with the time since the call; below, the same to scale, with everything else that its two
    /// processes and others did meanwhile.
    ///
    /// # Errors
    ///
    /// Whatever `out` says.
    pub fn write_picture(&self, request: &Request, out: &mut impl fmt::Write) -> fmt::Result {
        let places: Vec<(Point, Place)> = request.points().collect();
        let Some((start, end)) = self.span(request) else {
            return Ok(());
        };
        let mut lanes: Vec<usize> = Vec::new();
        for (_, place) in &places {
            if !lanes.contains(&place.process) {
                lanes.push(place.process);
            }
        }
        let margin = ((end - start) / 20).max(1);
        let scale = Scale {
            start: start.saturating_sub(margin),
            end: end.saturating_add(margin),
        };
        let scale_top = STEPS_TOP + STEP_LANE * lanes.len() as f64 + 50.0;
        let shown = self.shown(&lanes, scale);
        let height = scale_top + SCALE_LANE * shown.len() as f64 + 76.0;
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
             <path d=\"M0 0 8 4 0 8z\" fill=\"#333\"/></marker></defs>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
             <text x=\"14\" y=\"28\" font-size=\"19\">One request, {} from call to resume</text>",
            Length(end - start, self.unit())
        )?;
        self.write_steps(&places, &lanes, start, out)?;
        self.write_scale(request, &shown, scale, scale_top, out)?;
        out.write_str("</svg>\n")
    }

    fn name(&self, process: usize) -> &str {
        let process = self.processes().get(process);
        process.map_or("", |process| process.name.as_str())
    }

    fn write_steps(
        &self,
        places: &[(Point, Place)],
        lanes: &[usize],
        start: u64,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        for (lane, process) in lanes.iter().enumerate() {
            let y = STEPS_TOP + lane as f64 * STEP_LANE;
            let fill = if lane % 2 == 0 { "#f3f6fa" } else { "#faf6f0" };
            writeln!(
                out,
                "<rect x=\"10\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"{fill}\"/>\n\
                 <text x=\"18\" y=\"{}\" font-size=\"15\">{}</text>",
                WIDTH - 20.0,
                STEP_LANE - 6.0,
                y + STEP_LANE / 2.0,
                Escaped(self.name(*process)),
            )?;
        }
        let step = (RIGHT - LEFT) / places.len().max(1) as f64;
        let mut before: Option<(f64, f64)> = None;
        for (column, (point, place)) in places.iter().enumerate() {
            let lane = lanes.iter().position(|lane| *lane == place.process);
            let x = LEFT + step * (column as f64 + 0.5);
            let y = STEPS_TOP + lane.unwrap_or(0) as f64 * STEP_LANE + STEP_LANE / 2.0 - 8.0;
            if let Some((from_x, from_y)) = before {
                // From the side of one box to that of the next, or from edge to edge where they stand in different lines.
                let (x1, y1, x2, y2) = if from_y == y {
                    (from_x + BOX_WIDTH / 2.0, y, x - BOX_WIDTH / 2.0, y)
                } else {
                    let away = BOX_HEIGHT / 2.0 * (y - from_y).signum();
                    (from_x, from_y + away, x - BOX_WIDTH / 2.0, y)
                };
                writeln!(
                    out,
                    "<path d=\"M{x1:.1} {y1:.1} L{x2:.1} {y2:.1}\" stroke=\"#333\" fill=\"none\" marker-end=\"url(#head)\"/>"
                )?;
            }
            // Arrows leave the first line downwards, and all others upwards.
            let time_y = match lane {
                Some(0) | None => y - BOX_HEIGHT / 2.0 - 7.0,
                Some(_) => y + BOX_HEIGHT / 2.0 + 17.0,
            };
            writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"6\" fill=\"{}\"/>\n\
                 <text x=\"{x:.1}\" y=\"{:.1}\" fill=\"white\" font-size=\"15\" text-anchor=\"middle\">{}</text>\n\
                 <text x=\"{x:.1}\" y=\"{time_y:.1}\" text-anchor=\"middle\">+{}</text>",
                x - BOX_WIDTH / 2.0,
                y - BOX_HEIGHT / 2.0,
                colour(point.step()),
                y + 5.0,
                title(*point),
                Length(self.time(*place) - start, self.unit()),
            )?;
            before = Some((x, y));
        }
        Ok(())
    }

    /// The processes to show to scale: those of the request, then those with the most events meanwhile.
    fn shown(&self, lanes: &[usize], scale: Scale) -> Vec<usize> {
        let mut busy: BTreeMap<usize, usize> = BTreeMap::new();
        for process in 0..self.processes().len() {
            let events = self.meanwhile(process, scale).count();
            if events > 0 && !lanes.contains(&process) {
                busy.insert(process, events);
            }
        }
        let mut others: Vec<(usize, usize)> = busy.into_iter().collect();
        others.sort_by_key(|(_, events)| core::cmp::Reverse(*events));
        let others = others.into_iter().map(|(process, _)| process);
        let all = lanes.iter().copied().chain(others);
        all.take(MOST_PROCESSES).collect()
    }

    /// The events of a process that meet the stretch of time.
    fn meanwhile(&self, process: usize, scale: Scale) -> impl Iterator<Item = (Place, Step)> + '_ {
        let events = self.processes().get(process);
        let events = events.into_iter().flat_map(|process| &process.events);
        events
            .enumerate()
            .map(move |(event, (_, what))| (Place { process, event }, what.step))
            .filter(move |(place, step)| {
                let start = self.time(*place);
                let end = match step {
                    Step::Sleep => self.next_time(*place).unwrap_or(start),
                    _ => start,
                };
                scale.meets(start, end)
            })
    }

    fn write_scale(
        &self,
        request: &Request,
        shown: &[usize],
        scale: Scale,
        top: f64,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        writeln!(
            out,
            "<text x=\"14\" y=\"{:.1}\" font-size=\"15\">The same to scale, with all that went on meanwhile (grey: asleep)</text>",
            top - 14.0
        )?;
        for (lane, process) in shown.iter().enumerate() {
            let y = top + lane as f64 * SCALE_LANE;
            writeln!(
                out,
                "<text x=\"18\" y=\"{:.1}\">{}</text>\n\
                 <path d=\"M{LEFT} {:.1}H{RIGHT}\" stroke=\"#ddd\"/>",
                y + 46.0,
                Escaped(self.name(*process)),
                y + 52.0,
            )?;
            for (place, step) in self.meanwhile(*process, scale) {
                let x = scale.x(self.time(place));
                let bar = y + 32.0;
                if step == Step::Sleep {
                    let end = scale.x(self.next_time(place).unwrap_or(scale.end));
                    let width = end - x;
                    writeln!(
                        out,
                        "<rect x=\"{x:.1}\" y=\"{bar:.1}\" width=\"{width:.1}\" height=\"20\" fill=\"#e2e2e2\"/>"
                    )?;
                } else {
                    writeln!(
                        out,
                        "<rect x=\"{x:.1}\" y=\"{bar:.1}\" width=\"1.5\" height=\"20\" fill=\"{}\"><title>{}</title></rect>",
                        colour(step),
                        step.name()
                    )?;
                }
            }
        }
        self.write_points(request, shown, scale, top, out)?;
        let first = self.span(request).map_or(0, |(start, _)| start);
        let bottom = top + shown.len() as f64 * SCALE_LANE + 8.0;
        self.write_axis(scale, first, self.length(request), bottom, out)
    }

    /// The request's own steps, by their numbers, above the bars.
    fn write_points(
        &self,
        request: &Request,
        shown: &[usize],
        scale: Scale,
        top: f64,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        let mut free: BTreeMap<usize, f64> = BTreeMap::new();
        for (point, place) in request.points() {
            let Some(lane) = shown.iter().position(|process| *process == place.process) else {
                continue;
            };
            let y = top + lane as f64 * SCALE_LANE;
            let at = scale.x(self.time(place));
            // Numbers that would cover one another stand side by side.
            let x = at.max(free.get(&lane).copied().unwrap_or(0.0));
            free.insert(lane, x + 15.0);
            writeln!(
                out,
                "<path d=\"M{x:.1} {:.1}L{at:.1} {:.1}\" stroke=\"{c}\"/>\n\
                 <circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"7.5\" fill=\"{c}\"/>\n\
                 <text x=\"{x:.1}\" y=\"{:.1}\" fill=\"white\" font-size=\"11\" text-anchor=\"middle\">{}</text>",
                y + 18.0,
                y + 32.0,
                y + 12.0,
                y + 16.0,
                point.number(),
                c = colour(point.step()),
            )?;
        }
        Ok(())
    }

    /// Marks from the request's first event to its last.
    fn write_axis(
        &self,
        scale: Scale,
        first: u64,
        length: u64,
        y: f64,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        const MARKS: u64 = 5;
        for mark in 0..=MARKS {
            // Of a length that leaves no room for the product, the marks stand a little to the left.
            let since = length
                .checked_mul(mark)
                .map_or(length / MARKS * mark, |l| l / MARKS);
            let x = scale.x(first + since);
            writeln!(
                out,
                "<path d=\"M{x:.1} {y:.1}v6\" stroke=\"#333\"/>\n\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                y + 22.0,
                Length(since, self.unit()),
            )?;
        }
        Ok(())
    }
}
