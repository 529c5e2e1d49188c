//! Asynchronous requests between processes on the kernel: what was measured, whether it reaches what it must, and its plots.
//!
//! Targets are parts of what the same request takes synchronously, on whichever of the two kernels takes less, and of what it takes over
//! pairs of rings with dispatchers.

use std::fmt::Write;
use std::path::Path;

use crate::error::Error;
use crate::kernel_rows::{Rows, UPSTREAM};
use crate::plot::{Line, draw_lines};

/// The ways to get messages across, as the variants' names begin.
pub const WAYS: [&str; 6] = [
    "lanes",
    "lanes_dispatcher",
    "pairs",
    "pairs_direct",
    "shared",
    "shared_dispatcher",
];
/// Processes that send.
pub const SENDERS: [u64; 5] = [1, 2, 4, 8, 16];
/// Those of them that are measured while executors give up the core before they sleep.
pub const YIELD_SENDERS: [u64; 2] = [1, 16];
/// Requests that each has outstanding.
pub const OUTSTANDING: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Those of them that are measured with executors that never sleep.
pub const POLL_OUTSTANDING: [u64; 3] = [1, 32, 256];

const WORKLOAD: &str = "request";
const INSTRUCTIONS: &str = "instructions";
const TRAPS: &str = "traps";

/// What a figure is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reference {
    /// The same request made synchronously, on the kernel on which that takes less.
    Synchronous,
    /// The same over that variant.
    Variant(&'static str),
    /// Nothing: the bound is a number.
    Nothing,
}

/// A figure that is to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Target {
    variant: &'static str,
    outstanding: u64,
    metric: &'static str,
    reference: Reference,
    /// At most so many times the reference.
    bound: f64,
    /// What is aimed at.
    aim: Option<f64>,
}

/// What upstream's synchronous round trip takes, from which the bounds below were made: 819, 655, 546, 220 and 200 instructions.
const FOUNDING_ROUND_TRIP: f64 = 546.0;

const fn synchronous(variant: &'static str, outstanding: u64, bound: f64) -> Target {
    Target {
        variant,
        outstanding,
        metric: INSTRUCTIONS,
        reference: Reference::Synchronous,
        bound: bound / FOUNDING_ROUND_TRIP,
        aim: None,
    }
}

const fn in_bulk(outstanding: u64) -> Target {
    Target {
        aim: Some(200.0 / FOUNDING_ROUND_TRIP),
        ..synchronous("lanes_s1", outstanding, 220.0)
    }
}

const fn against_pairs(
    variant: &'static str,
    pairs: &'static str,
    outstanding: u64,
    bound: f64,
) -> Target {
    Target {
        variant,
        outstanding,
        metric: INSTRUCTIONS,
        reference: Reference::Variant(pairs),
        bound,
        aim: None,
    }
}

const fn traps(outstanding: u64, bound: f64) -> Target {
    Target {
        variant: "lanes_s1",
        outstanding,
        metric: TRAPS,
        reference: Reference::Nothing,
        bound,
        aim: None,
    }
}

const TARGETS: [Target; 18] = [
    synchronous("lanes_s1", 1, 819.0),
    synchronous("adaptive_s1", 1, 655.0),
    synchronous("lanes_s1", 2, FOUNDING_ROUND_TRIP),
    in_bulk(32),
    in_bulk(64),
    in_bulk(128),
    in_bulk(256),
    against_pairs("lanes_s1", "pairs_s1", 1, 0.70),
    against_pairs("lanes_s1", "pairs_s1", 2, 0.75),
    against_pairs("lanes_s1", "pairs_s1", 32, 0.85),
    against_pairs("lanes_s4", "pairs_s4", 1, 0.70),
    against_pairs("lanes_s4", "pairs_s4", 2, 0.75),
    against_pairs("lanes_s4", "pairs_s4", 32, 0.85),
    against_pairs("lanes_s16", "pairs_s16", 1, 0.70),
    against_pairs("lanes_s16", "pairs_s16", 2, 0.75),
    against_pairs("lanes_s16", "pairs_s16", 32, 0.85),
    traps(32, 0.07),
    traps(256, 0.01),
];

/// The synchronous request that takes least.
fn synchronous_request(rows: &Rows) -> Option<f64> {
    let of = |prefix: &str| rows.get(WORKLOAD, &format!("{prefix}sync_s1"), INSTRUCTIONS);
    let (ours, theirs) = (of(""), of(UPSTREAM).unwrap_or(FOUNDING_ROUND_TRIP));
    ours.map(|ours| ours.min(theirs))
}

/// How a target stands.
struct Standing {
    target: Target,
    figure: f64,
    reference: Option<f64>,
}

impl Standing {
    fn of(rows: &Rows, target: Target) -> Option<Self> {
        let at = |variant| rows.get_at(WORKLOAD, variant, target.outstanding, target.metric);
        let reference = match target.reference {
            Reference::Synchronous => synchronous_request(rows),
            Reference::Variant(variant) => at(variant),
            Reference::Nothing => Some(1.0),
        };
        Some(Self {
            target,
            figure: at(target.variant)?,
            reference: reference.filter(|reference| *reference > 0.0),
        })
    }

    fn verdict(&self) -> &'static str {
        match self.reference.map(|reference| self.figure / reference) {
            None => "nothing to compare with",
            Some(ratio) if self.target.aim.is_some_and(|aim| ratio <= aim) => "met, aim reached",
            Some(ratio) if ratio <= self.target.bound => "met",
            Some(_) => "MISSED",
        }
    }
}

/// All targets whose figures were measured, and those figures that are compared with one another.
pub fn table(rows: &Rows) -> String {
    let standings: Vec<Standing> = TARGETS
        .iter()
        .filter_map(|&target| Standing::of(rows, target))
        .collect();
    let mut text = String::new();
    if standings.is_empty() {
        return text;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:<12} {:>11} {:<12} {:>9} {:>9} {:>6} {:>6}",
        "request", "outstanding", "metric", "figure", "reference", "ratio", "bound"
    );
    for standing in &standings {
        let Standing {
            target,
            figure,
            reference,
        } = standing;
        let ratio = reference.map_or(f64::NAN, |reference| figure / reference);
        let _ = writeln!(
            text,
            "{:<12} {:>11} {:<12} {figure:>9} {:>9} {ratio:>6.3} {:>6.3}  {}",
            target.variant,
            target.outstanding,
            target.metric,
            reference.map_or_else(|| "-".to_owned(), |reference| reference.to_string()),
            target.bound,
            standing.verdict(),
        );
    }
    let missed = standings.iter().filter(|s| s.verdict() == "MISSED").count();
    let _ = writeln!(
        text,
        "Of {} figures of requests, {missed} MISS what they must reach.",
        standings.len()
    );
    text
}

/// The same as a table for a page.
pub fn markdown(rows: &Rows) -> String {
    let mut text = String::from(
        "| variant | outstanding | figure | compared with | ratio | bound | |\n| --- | ---: | ---: | --- | ---: | ---: | --- |\n",
    );
    for standing in TARGETS.iter().filter_map(|&t| Standing::of(rows, t)) {
        let target = standing.target;
        let with = match target.reference {
            Reference::Synchronous => "synchronous".to_owned(),
            Reference::Variant(variant) => format!("`{variant}`"),
            Reference::Nothing => "kernel entries".to_owned(),
        };
        let ratio = standing
            .reference
            .map_or_else(String::new, |r| format!("{:.3}", standing.figure / r));
        let reference = match target.reference {
            Reference::Nothing => String::new(),
            _ => standing
                .reference
                .map_or_else(String::new, |r| format!(", {r}")),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {with}{reference} | {ratio} | {:.3} | {} |",
            target.variant,
            target.outstanding,
            standing.figure,
            target.bound,
            standing.verdict()
        );
    }
    text
}

/// The instructions of one request over each way, with so many processes that send, as a table for a page.
pub fn markdown_ways(rows: &Rows, senders: u64) -> String {
    let mut text = String::from("| outstanding |");
    for way in WAYS {
        let _ = write!(text, " `{way}_s{senders}` |");
    }
    text += "\n| ---: |";
    text += &" ---: |".repeat(WAYS.len());
    text.push('\n');
    for outstanding in OUTSTANDING {
        let _ = write!(text, "| {outstanding} |");
        for way in WAYS {
            let variant = format!("{way}_s{senders}");
            let figure = rows.get_at(WORKLOAD, &variant, outstanding, INSTRUCTIONS);
            let _ = write!(
                text,
                " {} |",
                figure.map_or_else(String::new, |f| f.to_string())
            );
        }
        text.push('\n');
    }
    text
}

/// What executors do meanwhile, with one process that sends, as a table for a page: instructions of a request.
pub fn markdown_meanwhile(rows: &Rows) -> String {
    let mut text = String::from("| variant | 1 | 32 | 256 |\n| --- | ---: | ---: | ---: |\n");
    for way in WAYS {
        for meanwhile in ["", "_yield", "_poll"] {
            let variant = format!("{way}{meanwhile}_s1");
            let _ = write!(text, "| `{variant}` |");
            for outstanding in POLL_OUTSTANDING {
                text += &cell(rows, WORKLOAD, &variant, outstanding, INSTRUCTIONS);
            }
            text.push('\n');
        }
    }
    text
}

/// The kernel's entries a request, as a table for a page.
pub fn markdown_traps(rows: &Rows) -> String {
    let variants = [
        "lanes_s1",
        "lanes_s16",
        "pairs_s1",
        "shared_s1",
        "lanes_yield_s1",
    ];
    let mut text = String::from("| outstanding |");
    for variant in variants {
        let _ = write!(text, " `traps`, `{variant}` |");
    }
    text += "\n| ---: |";
    text += &" ---: |".repeat(variants.len());
    text.push('\n');
    for outstanding in OUTSTANDING {
        let _ = write!(text, "| {outstanding} |");
        for variant in variants {
            text += &cell(rows, WORKLOAD, variant, outstanding, TRAPS);
        }
        text.push('\n');
    }
    text
}

/// Messages of more words, as a table for a page: instructions of a request with 1 and with 32 outstanding.
pub fn markdown_words(rows: &Rows) -> String {
    let mut text = String::from(
        "| words | `lanes_s1`, 1 | `lanes_s1`, 32 | `pairs_s1`, 1 | `pairs_s1`, 32 | `sync_s1` |\n| ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (words, workload) in [(2, "request"), (4, "request_4"), (6, "request_6")] {
        let _ = write!(text, "| {words} |");
        for (variant, outstanding) in [
            ("lanes_s1", 1),
            ("lanes_s1", 32),
            ("pairs_s1", 1),
            ("pairs_s1", 32),
            ("sync_s1", 1),
        ] {
            text += &cell(rows, workload, variant, outstanding, INSTRUCTIONS);
        }
        text.push('\n');
    }
    text
}

fn cell(rows: &Rows, workload: &str, variant: &str, outstanding: u64, metric: &str) -> String {
    let figure = rows.get_at(workload, variant, outstanding, metric);
    format!(" {} |", figure.map_or_else(String::new, |f| f.to_string()))
}

/// Draws the instructions of a request over the number outstanding, a file for each number of processes that send, and the kernel's
/// entries.
///
/// # Errors
/// `Plot` when a file cannot be written.
pub fn plot(rows: &Rows, dir: &Path) -> Result<(), Error> {
    for senders in PLOTTED_SENDERS {
        let file = dir.join(format!("kernel-request-{senders}.svg"));
        let title = match senders {
            1 => "Instructions a request and answer, 1 process sends".to_owned(),
            many => format!("Instructions a request and answer, {many} processes send"),
        };
        let mut lines: Vec<Line> = WAYS
            .map(|way| line(rows, way, &format!("{way}_s{senders}"), INSTRUCTIONS))
            .into();
        let synchronous = rows.get(WORKLOAD, &format!("sync_s{senders}"), INSTRUCTIONS);
        lines.extend(synchronous.map(|figure| {
            Line {
                label: "synchronous".to_owned(),
                points: OUTSTANDING
                    .map(|outstanding| (outstanding as f64, figure))
                    .to_vec(),
            }
        }));
        draw_lines(&file, &title, INSTRUCTIONS, lines)?;
    }
    let lines = ["lanes", "pairs", "shared"]
        .map(|way| line(rows, way, &format!("{way}_s1"), TRAPS))
        .into();
    let file = dir.join("kernel-request-traps.svg");
    draw_lines(
        &file,
        "Kernel entries a request, 1 process sends",
        "entries",
        lines,
    )
}

/// Numbers of processes that have a plot each.
pub const PLOTTED_SENDERS: [u64; 3] = [1, 4, 16];

fn line(rows: &Rows, label: &str, variant: &str, metric: &str) -> Line {
    let figure = |outstanding| {
        let figure = rows.get_at(WORKLOAD, variant, outstanding, metric)?;
        Some((outstanding as f64, figure))
    };
    Line {
        label: label.to_owned(),
        points: OUTSTANDING.into_iter().filter_map(figure).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn ratios_are_against_the_smaller_reference() {
        let text = "request,sync_s1,1,instructions,400,instructions\n\
             request,upstream_sync_s1,1,instructions,570,instructions\n\
             request,lanes_s1,1,instructions,600,instructions\n\
             request,lanes_s1,2,instructions,500,instructions\n\
             request,lanes_s1,32,instructions,140,instructions\n\
             request,pairs_s1,1,instructions,700,instructions\n\
             request,lanes_s1,256,traps,0.005,entries\n";
        let table = table(&Rows::parse(text).expect("rows"));
        let verdicts: Vec<&str> = table
            .lines()
            .skip(1)
            .map(|line| line.rsplit("  ").next().unwrap_or(line))
            .collect();
        let expected = ["met", "MISSED", "met, aim reached", "MISSED", "met"];
        // The second with pairs has none to compare with, and the last line counts.
        assert_eq!(&verdicts[..4], &expected[..4], "{table}");
        assert_eq!(verdicts[4], "nothing to compare with", "{table}");
        assert!(table.contains("0.005"), "{table}");
    }

    #[test]
    fn plan_is_that_of_the_root_task() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../user/apps/request/src");
        let shared = fs::read_to_string(root.join("shared.rs")).expect("what is shared");
        for way in WAYS {
            assert!(shared.contains(&format!("=> \"{way}\",")), "{way}");
        }
        assert!(shared.contains(&format!("= {OUTSTANDING:?};")));
        let plan = fs::read_to_string(root.join("plan.rs")).expect("the plan");
        assert!(plan.contains(&format!("const SENDERS: [u64; 5] = {SENDERS:?};")));
        assert!(plan.contains(&format!("= {YIELD_SENDERS:?};")));
    }
}
