//! What the measurements must reach, and whether they do.
//!
//! `baton-bench` has already taken the medians of its calibrated samples; here rows are only divided or
//! subtracted. A missed target is printed, it fails nothing: no test asserts a time.

use std::fmt::Write;

use crate::results::{Key, Results};

/// One promise about the figures.
struct Target {
    name: &'static str,
    measure: Measure,
    bound: Bound,
}

/// How a figure comes from rows.
enum Measure {
    Value(Key<'static>),
    Ratio(Key<'static>, Key<'static>),
    Difference(Key<'static>, Key<'static>),
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};
use Measure::{Difference, Ratio, Value};

const fn row(
    workload: &'static str,
    peer: &'static str,
    clients: u64,
    outstanding: u64,
    metric: &'static str,
) -> Key<'static> {
    Key {
        workload,
        peer,
        clients,
        outstanding,
        metric,
    }
}

const fn p50(workload: &'static str, peer: &'static str) -> Key<'static> {
    row(workload, peer, 1, 1, "p50")
}

const fn w2(peer: &'static str, clients: u64, outstanding: u64) -> Key<'static> {
    row("w2", peer, clients, outstanding, "rate")
}

const fn instructions(peer: &'static str, clients: u64, outstanding: u64) -> Key<'static> {
    row("request", peer, clients, outstanding, "instructions")
}

const fn target(name: &'static str, measure: Measure, bound: Bound) -> Target {
    Target {
        name,
        measure,
        bound,
    }
}

/// `lanes` against `pairs` with its dispatcher.
const fn founding(name: &'static str, clients: u64, outstanding: u64, bound: f64) -> Target {
    let lanes = instructions("baton_lanes", clients, outstanding);
    let pairs = instructions("baton_pairs_dispatcher", clients, outstanding);
    target(name, Ratio(lanes, pairs), AtMost(bound))
}

const TARGETS: &[Target] = &[
    target(
        "ping-pong awake / cache-line round trip",
        Ratio(
            p50("w1_awake", "baton_lanes"),
            p50("w1_awake", "cache_line"),
        ),
        AtMost(2.0),
    ),
    target(
        "ping-pong asleep / SPSC ring with futex",
        Ratio(
            p50("w1_asleep", "baton_lanes"),
            p50("w1_asleep", "spsc_futex"),
        ),
        AtMost(1.1),
    ),
    target(
        "rate, 1 client, 64: / SPSC spin echo",
        Ratio(w2("baton_lanes", 1, 64), w2("spsc_spin", 1, 64)),
        AtLeast(0.9),
    ),
    target(
        "rate, 1 client, 64: / iceoryx2",
        Ratio(w2("baton_lanes", 1, 64), w2("iceoryx2", 1, 64)),
        AtLeast(20.0),
    ),
    target(
        "rate, 1 client, 64: / tokio, Unix socket",
        Ratio(w2("baton_lanes", 1, 64), w2("tokio_uds", 1, 64)),
        AtLeast(12.0),
    ),
    target(
        "rate, 4 clients, 256: / tokio, Unix socket",
        Ratio(w2("baton_lanes", 4, 256), w2("tokio_uds", 4, 256)),
        AtLeast(4.0),
    ),
    target(
        "wake, requeue, poll: instructions - embassy",
        Difference(
            row("task_wake", "baton_lanes", 1, 1, "instructions"),
            row("task_wake", "embassy", 1, 1, "instructions"),
        ),
        AtMost(3.0),
    ),
    target(
        "ping-pong awake, 60 idle lanes / none",
        Ratio(
            p50("w1_awake_idle60", "baton_lanes"),
            p50("w1_awake", "baton_lanes"),
        ),
        AtMost(1.1),
    ),
    target(
        "instructions at 1, 60 idle lanes / none",
        Ratio(
            row("request_idle60", "baton_lanes", 1, 1, "instructions"),
            instructions("baton_lanes", 1, 1),
        ),
        AtMost(1.1),
    ),
    founding("instructions lanes / pairs, 1 peer, at 1", 1, 1, 0.70),
    founding("instructions lanes / pairs, 1 peer, at 2", 1, 2, 0.75),
    founding("instructions lanes / pairs, 1 peer, at 32", 1, 32, 0.85),
    founding("instructions lanes / pairs, 4 peers, at 1", 4, 1, 0.70),
    founding("instructions lanes / pairs, 4 peers, at 2", 4, 2, 0.75),
    founding("instructions lanes / pairs, 4 peers, at 32", 4, 32, 0.85),
    founding("instructions lanes / pairs, 16 peers, at 1", 16, 1, 0.70),
    founding("instructions lanes / pairs, 16 peers, at 2", 16, 2, 0.75),
    founding("instructions lanes / pairs, 16 peers, at 32", 16, 32, 0.85),
    target(
        "instructions a request, at 1",
        Value(instructions("baton_lanes", 1, 1)),
        AtMost(390.0),
    ),
    target(
        "instructions a request, at 32",
        Value(instructions("baton_lanes", 1, 32)),
        AtMost(230.0),
    ),
];

impl Measure {
    /// The figure, or the row that is missing for it.
    fn of(&self, results: &Results) -> Result<f64, String> {
        let get = |key: &Key<'static>| results.get(*key).ok_or_else(|| format!("no row {key}"));
        match self {
            Value(key) => get(key),
            Difference(a, b) => Ok(get(a)? - get(b)?),
            Ratio(a, b) => match (get(a)?, get(b)?) {
                (_, 0.0) => Err(format!("row {b} is 0")),
                (a, b) => Ok(a / b),
            },
        }
    }
}

impl Bound {
    fn holds(&self, figure: f64) -> bool {
        match *self {
            AtMost(bound) => figure <= bound,
            AtLeast(bound) => figure >= bound,
        }
    }
}

/// The table of all targets, and a last line that counts them.
pub fn table(results: &Results) -> String {
    let mut text = String::new();
    let (mut met, mut missed, mut unknown) = (0, 0, 0);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:<46} {:>10} {:>10}", "target", "bound", "measured");
    for target in TARGETS {
        let bound = match target.bound {
            AtMost(bound) => format!("<= {bound}"),
            AtLeast(bound) => format!(">= {bound}"),
        };
        let (figure, verdict) = match target.measure.of(results) {
            Err(missing) => {
                unknown += 1;
                ("-".to_owned(), format!("not measured: {missing}"))
            }
            Ok(figure) if target.bound.holds(figure) => {
                met += 1;
                (format!("{figure:.2}"), "met".to_owned())
            }
            Ok(figure) => {
                missed += 1;
                (format!("{figure:.2}"), "MISSED".to_owned())
            }
        };
        let _ = writeln!(
            text,
            "{:<46} {bound:>10} {figure:>10}  {verdict}",
            target.name
        );
    }
    let _ = writeln!(
        text,
        "targets: {met} met, {missed} MISSED, {unknown} not measured"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(rows: &str) -> Results {
        Results::parse(rows).expect("well-formed rows")
    }

    fn line<'a>(table: &'a str, name: &str) -> &'a str {
        table
            .lines()
            .find(|line| line.starts_with(name))
            .expect("a target of that name")
    }

    #[test]
    fn ratios_and_differences_are_judged_by_their_bounds() {
        let table = table(&results(
            "w1_awake,baton_lanes,1,1,p50,190,ns\nw1_awake,cache_line,1,1,p50,100,ns\n\
             w2,baton_lanes,1,64,rate,80,requests/s\nw2,spsc_spin,1,64,rate,100,requests/s\n\
             task_wake,baton_lanes,1,1,instructions,40,instructions\n\
             task_wake,embassy,1,1,instructions,38,instructions\n\
             request,baton_lanes,1,1,instructions,391,instructions\n",
        ));
        assert!(
            line(&table, "ping-pong awake / cache").ends_with("1.90  met"),
            "{table}"
        );
        assert!(
            line(&table, "rate, 1 client, 64: / SPSC").ends_with("0.80  MISSED"),
            "{table}"
        );
        assert!(
            line(&table, "wake, requeue").ends_with("2.00  met"),
            "{table}"
        );
        assert!(
            line(&table, "instructions a request, at 1").ends_with("MISSED"),
            "{table}"
        );
        assert!(table.contains("targets: 2 met, 2 MISSED"), "{table}");
    }

    #[test]
    fn missing_row_is_named_and_never_met() {
        let table = table(&results("w1_awake,baton_lanes,1,1,p50,190,ns\n"));
        let line = line(&table, "ping-pong awake / cache");
        assert!(
            line.ends_with("not measured: no row w1_awake,cache_line,1,1,p50"),
            "{line}"
        );
        assert!(
            table.contains("targets: 0 met, 0 MISSED, 20 not measured"),
            "{table}"
        );
    }

    #[test]
    fn division_by_zero_is_not_a_figure() {
        let results = results("w2,baton_lanes,1,64,rate,80,r/s\nw2,spsc_spin,1,64,rate,0,r/s\n");
        let ratio = Ratio(w2("baton_lanes", 1, 64), w2("spsc_spin", 1, 64));
        assert!(ratio.of(&results).is_err());
    }
}
