//! What the kernel's figures are compared with, and whether they reach it.

use std::fmt::Write;

use crate::kernel_rows::{Rows, UPSTREAM};

/// What each figure must be at most, as a part of upstream's.
const BOUND: f64 = 1.0;
/// What is aimed at.
const AIM: f64 = 0.8;

/// What is measured without floating point, with it enabled, with both sides using it, and on a kernel without fast path.
pub const VARIANTS: [&str; 4] = ["fpu_off", "fpu_on", "fpu_used", NO_FASTPATH];
/// The variant of a kernel that was built without its fast path.
pub const NO_FASTPATH: &str = "no_fastpath";

/// A workload, with what upstream's kernel (version 16, release) took for it in an earlier measurement by the same method: without
/// floating point, with it enabled, and without fast path. Those figures include up to 27 instructions of user mode around the system call,
/// so a measurement in the same run goes before them.
#[derive(Debug)]
pub struct Workload {
    /// Its name in the results.
    pub name: &'static str,
    recorded: [Option<u32>; 3],
}

const fn workload(name: &'static str, off: u32, on: u32, without: u32) -> Workload {
    const fn known(figure: u32) -> Option<u32> {
        if figure == 0 { None } else { Some(figure) }
    }
    Workload {
        name,
        recorded: [known(off), known(on), known(without)],
    }
}

/// All workloads, in the order of the results; 0 is a figure that was not recorded.
pub const WORKLOADS: [Workload; 15] = [
    workload("call", 249, 335, 871),
    workload("reply_recv", 289, 373, 860),
    workload("round_trip_0", 546, 719, 1730),
    workload("round_trip_4", 592, 765, 0),
    workload("round_trip_5", 1832, 2004, 0),
    workload("round_trip_8", 1868, 2040, 0),
    workload("round_trip_16", 1964, 2136, 0),
    workload("round_trip_120", 3212, 3384, 0),
    workload("signal", 434, 436, 0),
    workload("signal_wait", 1965, 2141, 0),
    workload("yield_pair", 849, 1021, 0),
    workload("set_tls_base", 803, 808, 0),
    workload("set_tls_base_other", 0, 0, 0),
    workload("page_map", 746, 0, 0),
    workload("copy_delete", 1746, 1750, 0),
];

/// Where upstream's figure comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reference {
    /// The same run.
    Measured(f64),
    /// An earlier measurement.
    Recorded(f64),
}

impl Reference {
    /// The figure.
    pub fn value(self) -> f64 {
        match self {
            Self::Measured(value) | Self::Recorded(value) => value,
        }
    }
}

impl Workload {
    /// What upstream's kernel takes.
    pub fn reference(&self, rows: &Rows, variant: &str) -> Option<Reference> {
        let measured = rows.get(self.name, &format!("{UPSTREAM}{variant}"), "instructions");
        if let Some(value) = measured {
            return Some(Reference::Measured(value));
        }
        // Upstream's kernel switches floating-point registers whenever a thread may use them, so using them costs it nothing more.
        let recorded = match variant {
            "fpu_off" => self.recorded[0],
            "fpu_on" | "fpu_used" => self.recorded[1],
            NO_FASTPATH => self.recorded[2],
            _ => None,
        };
        recorded.map(|value| Reference::Recorded(value.into()))
    }
}

/// How a figure stands to upstream's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// At most the aim.
    Aimed,
    /// At most upstream's.
    Met,
    /// More.
    Missed,
    /// There is nothing to compare with.
    Unknown,
}

impl Verdict {
    fn of(ours: f64, reference: Option<Reference>) -> Self {
        match reference.map(|reference| ours / reference.value()) {
            None => Self::Unknown,
            Some(ratio) if ratio <= AIM => Self::Aimed,
            Some(ratio) if ratio <= BOUND => Self::Met,
            Some(_) => Self::Missed,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Aimed => "met, aim reached",
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::Unknown => "nothing to compare with",
        }
    }
}

/// A figure of ours with what it is compared with.
struct Figure {
    workload: &'static str,
    variant: &'static str,
    ours: f64,
    reference: Option<Reference>,
    verdict: Verdict,
}

/// All figures that were measured, workload by workload.
fn figures(rows: &Rows) -> Vec<Figure> {
    let mut figures = Vec::new();
    for workload in &WORKLOADS {
        for variant in VARIANTS {
            if let Some(ours) = rows.get(workload.name, variant, "instructions") {
                let reference = workload.reference(rows, variant);
                figures.push(Figure {
                    workload: workload.name,
                    variant,
                    ours,
                    reference,
                    verdict: Verdict::of(ours, reference),
                });
            }
        }
    }
    figures
}

/// The table of all figures beside upstream's, and a last line that counts.
pub fn table(rows: &Rows) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{:<18} {:<12} {:>9} {:>9} {:<9} {:>6}",
        "workload", "variant", "Baton", "upstream", "", "ratio"
    );
    let figures = figures(rows);
    for figure in &figures {
        let Figure {
            workload,
            variant,
            ours,
            reference,
            verdict,
        } = figure;
        let _ = write!(text, "{workload:<18} {variant:<12} {ours:>9}");
        let (theirs, source, ratio) = match reference {
            None => ("-".to_owned(), "", "-".to_owned()),
            Some(reference) => {
                let source = match reference {
                    Reference::Measured(_) => "",
                    Reference::Recorded(_) => "recorded",
                };
                let theirs = reference.value();
                (theirs.to_string(), source, format!("{:.2}", ours / theirs))
            }
        };
        let _ = writeln!(
            text,
            " {theirs:>9} {source:<9} {ratio:>6}  {}",
            verdict.words()
        );
    }
    let requests = REQUESTS
        .iter()
        .flat_map(|&workload| SYNC.map(|variant| (workload, variant, "instructions", variant)));
    let sizes = SIZES.iter().flat_map(|&(workload, metrics)| {
        metrics
            .iter()
            .map(move |&metric| (workload, "release", metric, metric))
    });
    for (workload, variant, metric, shown) in requests.chain(sizes) {
        let Some(ours) = rows.get(workload, variant, metric) else {
            continue;
        };
        let theirs = rows.get(workload, &format!("{UPSTREAM}{variant}"), metric);
        let _ = write!(text, "{workload:<18} {shown:<12} {ours:>9}");
        let _ = match theirs {
            Some(theirs) if theirs > 0.0 => {
                writeln!(text, " {theirs:>9} {:<9} {:>6.2}", "", ours / theirs)
            }
            _ => writeln!(text, " {:>9}", "-"),
        };
    }
    let _ = writeln!(text, "{}", count(&figures));
    text
}

/// How many figures reach their target.
fn count(figures: &[Figure]) -> String {
    let of = |verdict| figures.iter().filter(|f| f.verdict == verdict).count();
    let aimed = of(Verdict::Aimed);
    format!(
        "Of {} figures, {} are at most seL4's, {aimed} of them at most {AIM} of it; {} MISSED that; {} have nothing to compare with.",
        figures.len(),
        aimed + of(Verdict::Met),
        of(Verdict::Missed),
        of(Verdict::Unknown),
    )
}

/// The same figures as a table for a page: for each variant ours, upstream's and the ratio.
pub fn markdown(rows: &Rows) -> String {
    let mut text = String::from("| workload |");
    for variant in VARIANTS {
        // Writing to a String cannot fail.
        let _ = write!(text, " `{variant}` | seL4 | ratio |");
    }
    text += "\n| --- |";
    text += &" ---: | ---: | ---: |".repeat(VARIANTS.len());
    text.push('\n');
    for workload in &WORKLOADS {
        let _ = write!(text, "| `{}` |", workload.name);
        for variant in VARIANTS {
            let ours = rows.get(workload.name, variant, "instructions");
            let theirs = workload.reference(rows, variant).map(Reference::value);
            let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
            let ratio = ratio.map(|ratio| format!("{ratio:.2}"));
            for cell in [
                ours.map(|n| n.to_string()),
                theirs.map(|n| n.to_string()),
                ratio,
            ] {
                let _ = write!(text, " {} |", cell.unwrap_or_default());
            }
        }
        text.push('\n');
    }
    text
}

/// How many figures reach their target, as a sentence for a page.
pub fn markdown_count(rows: &Rows) -> String {
    count(&figures(rows))
}

/// Requests of several processes as a table for a page.
pub fn markdown_requests(rows: &Rows) -> String {
    let mut text = String::from("| workload |");
    for variant in SYNC {
        let _ = write!(text, " `{variant}` | seL4 | ratio |");
    }
    text += "\n| --- |";
    text += &" ---: | ---: | ---: |".repeat(SYNC.len());
    text.push('\n');
    for workload in REQUESTS {
        let _ = write!(text, "| `{workload}` |");
        for variant in SYNC {
            text += &cells(rows, workload, variant, "instructions");
        }
        text.push('\n');
    }
    text
}

/// Our figure, upstream's, and the ratio, as cells of a table.
fn cells(rows: &Rows, workload: &str, variant: &str, metric: &str) -> String {
    let ours = rows.get(workload, variant, metric);
    let theirs = rows.get(workload, &format!("{UPSTREAM}{variant}"), metric);
    let ratio = ours.zip(theirs).filter(|(_, theirs)| *theirs > 0.0);
    let ratio = ratio.map(|(ours, theirs)| format!("{:.2}", ours / theirs));
    let number = |value: Option<f64>| value.map(|value| value.to_string());
    [number(ours), number(theirs), ratio]
        .map(|cell| format!(" {} |", cell.unwrap_or_default()))
        .concat()
}

/// Sizes and boot as a table for a page.
pub fn markdown_sizes(rows: &Rows) -> String {
    let mut text = String::from("| | Baton | seL4 | ratio |\n| --- | ---: | ---: | ---: |\n");
    for (workload, metrics) in SIZES {
        for metric in metrics {
            let _ = write!(text, "| `{workload}`, {metric} |");
            text += &cells(rows, workload, "release", metric);
            text.push('\n');
        }
    }
    text
}

/// Requests of several processes to one.
pub const REQUESTS: [&str; 3] = ["request", "request_4", "request_6"];
/// Their variants.
pub const SYNC: [&str; 5] = ["sync_s1", "sync_s2", "sync_s4", "sync_s8", "sync_s16"];

/// What is compared without a target.
const SIZES: [(&str, &[&str]); 2] = [
    ("boot", &["instructions"]),
    ("image", &["text", "data", "bss", "loaded"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn figures_are_judged_by_upstreams() {
        let rows = Rows::parse(
            "call,fpu_off,1,instructions,250,instructions\n\
             call,upstream_fpu_off,1,instructions,250,instructions\n\
             call,fpu_used,1,instructions,200,instructions\n\
             round_trip_4,no_fastpath,1,instructions,1200,instructions\n\
             page_map,fpu_on,1,instructions,1200,instructions\n\
             signal,fpu_on,1,instructions,437,instructions\n\
             image,release,1,text,100,bytes\n",
        )
        .expect("rows");
        let table = table(&rows);
        let line = |start: &str| {
            let mut lines = table.lines();
            lines
                .find(|line| line.starts_with(start))
                .expect(start)
                .to_owned()
        };
        assert!(
            line("call               fpu_off").ends_with("1.00  met"),
            "{table}"
        );
        assert!(
            line("call               fpu_used").ends_with("recorded    0.60  met, aim reached"),
            "{table}"
        );
        assert!(line("signal").ends_with("1.00  MISSED"), "{table}");
        assert!(
            line("round_trip_4").ends_with("nothing to compare with"),
            "{table}"
        );
        assert!(line("image").ends_with('-'), "{table}");
        assert!(
line("Of 5 figures").starts_with("Of 5 figures, 2 are at most seL4's, 1 of them at most 0.8 of it; 1 MISSED that; 2 have"),
            "{table}"
        );
    }

    /// The root task has the same workloads.
    #[test]
    fn workloads_are_those_of_the_root_task() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let path = root.join("user/apps/bench/src/workloads.rs");
        let source = fs::read_to_string(path).expect("the workloads");
        let (_, list) = source.split_once("pub const WORKLOADS").expect("the list");
        let (list, _) = list.split_once("];").expect("its end");
        let theirs: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        assert_eq!(theirs, WORKLOADS.map(|workload| workload.name));

        let source = fs::read_to_string(root.join("user/apps/bench/src/senders.rs"));
        let source = source.expect("the senders");
        let list = |begin: &str| {
            let (_, list) = source.split_once(begin).expect("the list");
            let (list, _) = list.split_once("];\n").expect("its end");
            let (_, list) = list.split_once(" = [").expect("its beginning");
            let names = list.split('"').skip(1).step_by(2);
            names.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(list("pub const REQUESTS"), REQUESTS);
        assert_eq!(list("pub const VARIANTS"), SYNC);
    }
}
