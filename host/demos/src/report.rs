//! Results: how they are gathered, sent, added up and shown.

use crate::services::{Figures, Phase, ServerKind};
use crate::tally::{Gather, Tally};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// Longest latency that is told apart from longer ones.
const MAX_LATENCY_NS: u64 = 100_000_000_000;
/// Digits of a latency that are kept: errors stay below one percent, and a histogram fits into one message.
const DIGITS: u8 = 2;
/// Longest description of a wrong answer, in characters.
const MAX_WRONG: usize = 200;

/// How the requests of one phase went, of one client or of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// Requests that were answered.
    pub requests: u64,
    /// Answers that were not what they must be.
    pub wrong: u64,
    /// What the first of them was.
    pub first_wrong: String,
    /// How long the phase took; of several clients the longest.
    pub elapsed_ns: u64,
    latency_ns: Histogram<u64>,
}

impl Default for Results {
    fn default() -> Self {
        Results {
            requests: 0,
            wrong: 0,
            first_wrong: String::new(),
            elapsed_ns: 0,
            latency_ns: Histogram::new_with_bounds(1, MAX_LATENCY_NS, DIGITS)
                .expect("these bounds are possible"),
        }
    }
}

impl Results {
    /// Counts one answer.
    fn count_one(&mut self, latency_ns: u64, right: bool, wrong: impl FnOnce() -> String) {
        self.requests += 1;
        self.latency_ns.saturating_record(latency_ns);
        if !right {
            self.wrong += 1;
            if self.first_wrong.is_empty() {
                let described = wrong().replace(char::is_whitespace, " ");
                self.first_wrong = described.chars().take(MAX_WRONG).collect();
            }
        }
    }

    /// Adds those of another client that worked at the same time.
    pub fn merge(&mut self, other: &Results) {
        self.requests += other.requests;
        self.wrong += other.wrong;
        if self.first_wrong.is_empty() {
            self.first_wrong.clone_from(&other.first_wrong);
        }
        self.elapsed_ns = self.elapsed_ns.max(other.elapsed_ns);
        self.latency_ns += &other.latency_ns;
    }

    /// Answers that were what they must be.
    pub fn verified(&self) -> u64 {
        self.requests - self.wrong
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        match self.elapsed_ns {
            0 => 0.0,
            elapsed_ns => self.requests as f64 * 1e9 / elapsed_ns as f64,
        }
    }

    /// The latency that this share of the requests, between 0 and 1, did not exceed, in microseconds.
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency_ns.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn text(&self) -> String {
        let mut text = format!("{} {}", self.wrong, self.elapsed_ns);
        for bucket in self.latency_ns.iter_recorded() {
            let (value_ns, count) = (bucket.value_iterated_to(), bucket.count_at_value());
            // Writing to a string cannot fail.
            let _ = write!(text, " {value_ns}:{count}");
        }
        format!("{text}\n{}", self.first_wrong)
    }

    /// Reads what [`Tally::to_text`] wrote; none when it is something else, or makes no sense.
    pub fn from_text(text: &str) -> Option<Results> {
        let (numbers, first_wrong) = text.split_once('\n')?;
        let mut numbers = numbers.split(' ');
        let mut results = Results {
            wrong: numbers.next()?.parse().ok()?,
            elapsed_ns: numbers.next()?.parse().ok()?,
            first_wrong: first_wrong.to_owned(),
            ..Results::default()
        };
        for bucket in numbers {
            let (value_ns, count) = bucket.split_once(':')?;
            let count = count.parse().ok()?;
            results.requests = results.requests.checked_add(count)?;
            results
                .latency_ns
                .saturating_record_n(value_ns.parse().ok()?, count);
        }
        (results.wrong <= results.requests).then_some(results)
    }
}

impl Tally for Results {
    fn count(&mut self, latency_ns: u64, right: bool, wrong: impl FnOnce() -> String) {
        self.count_one(latency_ns, right, wrong);
    }

    fn requests(&self) -> u64 {
        self.requests
    }

    fn took(&mut self, elapsed_ns: u64) {
        self.elapsed_ns = elapsed_ns;
    }

    fn to_text(&self) -> String {
        self.text()
    }
}

impl Gather for Summary {
    fn report(&mut self, phase: Phase, text: &str) -> bool {
        match Results::from_text(text) {
            Some(results) => {
                self.phases.entry(phase).or_default().merge(&results);
                true
            }
            None => false,
        }
    }

    fn figures(&mut self, server: ServerKind, figures: Figures) {
        self.servers.insert(server, figures);
    }
}

/// Everything that is shown at the end.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Results of all clients by phase.
    pub phases: BTreeMap<Phase, Results>,
    /// What the servers did.
    pub servers: BTreeMap<ServerKind, Figures>,
}

impl Summary {
    /// Wrong answers in all.
    pub fn wrong(&self) -> u64 {
        self.phases.values().map(|results| results.wrong).sum()
    }

    /// Verified answers in all.
    pub fn verified(&self) -> u64 {
        self.phases.values().map(Results::verified).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10} {:>10} {:>11} {:>9} {:>9} {:>9} {:>10} {:>6}",
            "phase", "requests", "requests/s", "p50 us", "p99 us", "p99.9 us", "verified", "wrong"
        )?;
        for (phase, results) in &self.phases {
            writeln!(
                f,
                "{:<10} {:>10} {:>11.0} {:>9.1} {:>9.1} {:>9.1} {:>10} {:>6}",
                phase.name(),
                results.requests,
                results.rate(),
                results.latency_us(0.5),
                results.latency_us(0.99),
                results.latency_us(0.999),
                results.verified(),
                results.wrong
            )?;
        }
        writeln!(
            f,
            "{:<10} {:>10} {:>52} {:>6}",
            "all",
            self.verified() + self.wrong(),
            self.verified(),
            self.wrong()
        )?;
        if !self.servers.is_empty() {
            writeln!(
                f,
                "\n{:<10} {:>10} {:>11} {:>20} {:>10}",
                "server", "requests", "sleeps", "sleeps/1000 requests", "cpu ms"
            )?;
        }
        for (server, figures) in &self.servers {
            let per_thousand = figures.sleeps as f64 * 1000.0 / figures.requests.max(1) as f64;
            writeln!(
                f,
                "{:<10} {:>10} {:>11} {:>20.1} {:>10}",
                server.name(),
                figures.requests,
                figures.sleeps,
                per_thousand,
                figures.cpu_ms
            )?;
        }
        for (phase, results) in &self.phases {
            if !results.first_wrong.is_empty() {
                writeln!(f, "wrong in {}: {}", phase.name(), results.first_wrong)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Results {
        let mut results = Results::default();
        for latency_us in 1..=1000 {
            results.count(latency_us * 1000, latency_us != 7, || {
                "seven\nis wrong".into()
            });
        }
        results.elapsed_ns = 500_000_000;
        results
    }

    fn about(actual: f64, expected: f64) -> bool {
        (actual - expected).abs() <= expected / 100.0
    }

    #[test]
    fn rates_and_quantiles_are_those_of_what_was_counted() {
        let results = sample();
        assert_eq!((results.requests, results.verified()), (1000, 999));
        assert!(about(results.rate(), 2000.0));
        assert!(about(results.latency_us(0.5), 500.0));
        assert!(about(results.latency_us(0.99), 990.0));
    }

    #[test]
    fn results_survive_the_journey_as_text() {
        let text = sample().to_text();
        let back = Results::from_text(&text).unwrap();
        assert_eq!(back.to_text(), text);
        assert_eq!(back.requests, 1000);
        assert_eq!(back.first_wrong, "seven is wrong");
        assert!(about(back.latency_us(0.99), 990.0));
    }

    #[test]
    fn text_that_is_no_result_is_refused() {
        for text in ["", "1 2", "x 2\n", "1 2 3\n", "1 2 3:x\n", "2 5 10:1\n"] {
            assert_eq!(Results::from_text(text), None, "{text:?}");
        }
        assert!(Results::from_text("1 5 10:1\nwrong").is_some());
    }

    #[test]
    fn merging_adds_requests_and_keeps_the_longest_time() {
        let mut all = sample();
        let mut other = sample();
        other.elapsed_ns = 2_000_000_000;
        all.merge(&other);
        assert_eq!((all.requests, all.wrong), (2000, 2));
        assert!(about(all.rate(), 1000.0));
    }

    #[test]
    fn the_table_has_a_line_a_phase_and_names_what_is_wrong() {
        let mut summary = Summary::default();
        summary.phases.insert(Phase::Find, sample());
        let figures = Figures {
            requests: 1000,
            sleeps: 20,
            cpu_ms: 5,
        };
        summary.servers.insert(ServerKind::Store, figures);
        let table = summary.to_string();
        let line = |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap();
        let cells = |start| line(start).split_whitespace().collect::<Vec<_>>();
        assert_eq!(cells("find")[1..3], ["1000", "2000"]);
        assert_eq!(cells("find")[6..], ["999", "1"]);
        assert_eq!(cells("all"), ["all", "1000", "999", "1"]);
        assert_eq!(cells("store"), ["store", "1000", "20", "20.0", "5"]);
        assert_eq!(line("wrong in"), "wrong in find: seven is wrong");
    }

    #[test]
    fn the_largest_histogram_fits_into_a_message() {
        let mut results = Results::default();
        let mut latency_ns = 1;
        while latency_ns < 10_000_000_000 {
            results.count(latency_ns, true, String::new);
            latency_ns += 1 + latency_ns / 256;
        }
        assert!(results.to_text().len() < crate::client::RESULT_BYTES as usize);
    }
}
