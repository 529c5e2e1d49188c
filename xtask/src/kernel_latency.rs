//! `cargo xtask bench latency`: how long an interrupt waits while the kernel does something long, beside seL4's kernel.
//!
//! The root task `user/apps/latency` runs in QEMU, where one instruction is one nanosecond, with the machine's clock on the same time.
//! It reports rows as the benchmark root task does: for each operation and size how long it takes undisturbed (`duration`), and the
//! longest that an interrupt has waited meanwhile (`latency`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::bare::Bare;
use crate::error::Error;
use crate::kernel::{Flavour, build_kernel};
use crate::kernel_rows::{Row, Rows, UPSTREAM, parse_report};
use crate::process::{Workspace, capture_until, last_lines};
use crate::qemu::Machine;
use crate::user::{LATENCY, image_on};

/// A run takes about a minute; after this it hangs.
const LIMIT_S: u64 = 900;
/// What is counted: how long an operation takes, and how long an interrupt waits.
const DURATION: &str = "duration";
const WAITED: &str = "latency";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// This kernel instead of the one that is built.
    pub kernel: Option<PathBuf>,
    /// Upstream's kernel, to be measured as well.
    pub reference: Option<PathBuf>,
}

/// Measures, writes `bench/latency.csv` into the target directory, and prints the table for the page.
///
/// # Errors
/// Those of building; that a kernel did not come through.
pub fn bench_latency(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let dir = workspace.target.join("bench");
    fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
    let csv = dir.join("latency.csv");
    // Figures of an earlier run must not pass for this one's.
    if csv.exists() {
        fs::remove_file(&csv).map_err(Error::file("remove", &csv))?;
    }
    let bare = Bare::find(workspace)?;
    let kernel = match &options.kernel {
        Some(kernel) => kernel.clone(),
        None => build_kernel(workspace, &bare, Flavour::Release)?,
    };
    let ours = measure(workspace, &bare, &kernel, "")?;
    let theirs = match &options.reference {
        Some(kernel) => measure(workspace, &bare, kernel, UPSTREAM)?,
        None => Vec::new(),
    };
    let table = table(&ours, &theirs);
    let mut rows = Rows::default();
    for row in ours {
        rows.push(row).map_err(Error::Check)?;
    }
    for mut row in theirs {
        row.variant.insert_str(0, UPSTREAM);
        rows.push(row).map_err(Error::Check)?;
    }
    fs::write(&csv, rows.to_csv()).map_err(Error::file("write", &csv))?;
    println!("{}\n\n{table}", csv.display());
    Ok(())
}

/// Measures one kernel. The variants of its rows are sizes.
fn measure(
    workspace: &Workspace,
    bare: &Bare,
    kernel: &Path,
    prefix: &str,
) -> Result<Vec<Row>, Error> {
    let name = format!("latency-{prefix}release.elf");
    let (image, machine) = image_on(workspace, bare, LATENCY, kernel, &name)?;
    let machine = Machine {
        count_instructions: true,
        ..machine
    };
    let mut boot = machine.boot(&image)?;
    // Without this, the clock would show the host's time.
    boot.args(["-rtc", "clock=vm"]);
    let deadline = Instant::now() + Duration::from_secs(LIMIT_S);
    let output = capture_until(&mut boot, deadline, LIMIT_S)?;
    rows(&output).map_err(|reason| {
        Error::Check(format!(
            "{} did not come through: {reason}. The last that was printed:\n{}",
            kernel.display(),
            last_lines(&output, 12)
        ))
    })
}

/// The rows of a report.
fn rows(output: &str) -> Result<Vec<Row>, String> {
    let reported = parse_report(output)?;
    Ok(reported.into_iter().map(|reported| reported.row).collect())
}

/// The figures of one operation and size.
#[derive(Default)]
struct Line {
    ours: BTreeMap<String, f64>,
    theirs: BTreeMap<String, f64>,
}

/// A table for people: an operation and size a line.
fn table(ours: &[Row], theirs: &[Row]) -> String {
    let mut order: Vec<(&str, &str)> = Vec::new();
    let mut lines: BTreeMap<(&str, &str), Line> = BTreeMap::new();
    for (rows, is_ours) in [(ours, true), (theirs, false)] {
        for row in rows {
            let key = (row.workload.as_str(), row.variant.as_str());
            if !lines.contains_key(&key) {
                order.push(key);
            }
            let line = lines.entry(key).or_default();
            let columns = if is_ours {
                &mut line.ours
            } else {
                &mut line.theirs
            };
            columns.insert(row.metric.clone(), row.value);
        }
    }
    let mut text = String::from(
        "| operation | size | takes | an interrupt waits | upstream: takes | an interrupt waits |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    let shown = |figures: &BTreeMap<String, f64>, metric: &str| {
        figures
            .get(metric)
            .map_or_else(|| "-".to_owned(), f64::to_string)
    };
    for key in order {
        let Some(line) = lines.get(&key) else {
            continue;
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} |",
            key.0,
            key.1,
            shown(&line.ours, DURATION),
            shown(&line.ours, WAITED),
            shown(&line.theirs, DURATION),
            shown(&line.theirs, WAITED),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "report begins\n\
        row,tick,1,1,latency,1049,instructions,370,1049,150,0,0\n\
        row,revoke,64,1,duration,20000,instructions,20000,20001,3,0,0\n\
        row,revoke,64,1,latency,919,instructions,362,919,1330,0,0\nreport ends,3\n";

    #[test]
    fn figures_stand_in_their_columns() {
        let ours = rows(REPORT).expect("whole");
        let mut theirs = ours.clone();
        theirs[2].value = 40_000.0;
        let text = table(&ours, &theirs);
        assert!(
            text.contains("| `tick` | 1 | - | 1049 | - | 1049 |"),
            "{text}"
        );
        assert!(
            text.contains("| `revoke` | 64 | 20000 | 919 | 20000 | 40000 |"),
            "{text}"
        );
        let alone = table(&ours, &[]);
        assert!(
            alone.contains("| `tick` | 1 | - | 1049 | - | - |"),
            "{alone}"
        );
    }
}
