//! `cargo xtask bench qemu`: how many instructions the kernel takes for its system calls, beside upstream's.
//!
//! The benchmark root task (`user/apps/bench`) runs in QEMU on each kernel that is to be measured, the same file on all of them, and reports
//! rows on the console.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use baton_boot::command_line::{COUNT_DIGITS, COUNT_KEY};

use crate::bare::Bare;
use crate::elf_size;
use crate::error::Error;
use crate::kernel::{Flavour, build_kernel};
use crate::kernel_pages;
use crate::kernel_plot;
use crate::kernel_programs::{self, BOOT, Build, Extent, PROGRAMS, Program, Wanted, workloads};
use crate::kernel_requests;
use crate::kernel_rows::{Reported, Row, Rows, UPSTREAM, parse_report};
use crate::kernel_targets::{self, NO_FASTPATH};
use crate::process::{Workspace, capture_until, last_lines};
use crate::qemu::Machine;
use crate::user::{BENCH, image_on};

/// Rounds to warm up, and rounds to measure.
const ROUNDS: u32 = 1000;
/// The same for a first impression.
const QUICK_ROUNDS: u32 = 100;
/// A run takes about a minute, and some minutes on a machine that is busy; after this it hangs.
const LIMIT_S: u64 = 900;

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Fewer rounds, and not the kernel without fast path.
    pub quick: bool,
    /// These workloads only; all when empty.
    pub only: Vec<String>,
    /// This kernel instead of the one that is built.
    pub kernel: Option<PathBuf>,
    /// Upstream's kernel, to be measured as well.
    pub reference: Option<PathBuf>,
    /// Upstream's kernel, built without its fast path.
    pub reference_no_fastpath: Option<PathBuf>,
    /// Put the results into the pages of the repository.
    pub pages: bool,
}

impl Options {
    /// Whether everything is measured that belongs into the results.
    fn is_whole(&self) -> bool {
        !self.quick && self.only.is_empty() && self.kernel.is_none()
    }
}

/// A kernel to measure.
struct Subject {
    kernel: PathBuf,
    /// What the names of its variants begin with.
    prefix: &'static str,
    /// What kind of kernel it is.
    build: Build,
}

/// Measures, writes `bench/qemu.csv` into the target directory with its plots, and prints the figures beside upstream's.
/// What is less than everything goes to `bench/qemu-part.csv` alone.
///
/// # Errors
/// `Usage` for a workload that does not exist; those of building; that a kernel did not come through the benchmark.
pub fn bench_qemu(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let workloads = workloads();
    if let Some(unknown) = options
        .only
        .iter()
        .find(|name| !workloads.contains(&name.as_str()))
    {
        let names = workloads.join(", ");
        return Err(Error::Usage(format!(
            "there is no workload `{unknown}`; the workloads are {names}"
        )));
    }
    let compared = options.reference.is_some() && options.reference_no_fastpath.is_some();
    if options.pages && !(options.is_whole() && compared) {
        return Err(Error::Usage(
            "`--pages` needs a whole run with --reference and --reference-no-fastpath, for all figures of a page come from one run"
                .to_owned(),
        ));
    }
    let dir = workspace.target.join("bench");
    fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
    let whole = options.is_whole();
    let csv = dir.join(if whole { "qemu.csv" } else { "qemu-part.csv" });
    // Figures of an earlier run must not pass for this one's.
    if csv.exists() {
        fs::remove_file(&csv).map_err(Error::file("remove", &csv))?;
    }
    let bare = Bare::find(workspace)?;
    let mut rows = Rows::default();
    for subject in subjects(workspace, &bare, options)? {
        for row in measure(workspace, &bare, &subject, options)? {
            rows.push(row).map_err(Error::Check)?;
        }
    }
    fs::write(&csv, rows.to_csv()).map_err(Error::file("write", &csv))?;
    println!("{}", csv.display());
    if whole {
        show(&rows, &dir)?;
        if options.pages {
            kernel_pages::update(workspace, &dir, &rows)?;
        }
        return Ok(());
    }
    print!("\n{}", kernel_targets::table(&rows));
    print!("\n{}", kernel_requests::table(&rows));
    println!("This is a part of the measurement only.");
    Ok(())
}

/// Whether the benchmark comes through on the kernel of this repository, whatever it measures.
///
/// # Errors
/// As [`bench_qemu`].
pub fn comes_through(workspace: &Workspace, bare: &Bare) -> Result<(), Error> {
    let options = Options {
        quick: true,
        ..Options::default()
    };
    for subject in subjects(workspace, bare, &options)? {
        measure(workspace, bare, &subject, &options)?;
    }
    Ok(())
}

/// Draws the plot of a results file into `dir`, and prints the figures beside upstream's.
///
/// # Errors
/// `Csv` or `Plot`.
pub fn plot(text: &str, dir: &Path) -> Result<(), Error> {
    show(&Rows::parse(text)?, dir)
}

fn show(rows: &Rows, dir: &Path) -> Result<(), Error> {
    kernel_plot::plot(rows, dir)?;
    kernel_requests::plot(rows, dir)?;
    print!("\n{}", kernel_targets::table(rows));
    print!("\n{}", kernel_requests::table(rows));
    Ok(())
}

/// The kernels to measure.
fn subjects(workspace: &Workspace, bare: &Bare, options: &Options) -> Result<Vec<Subject>, Error> {
    let mut subjects = Vec::new();
    let mut add = |kernel, prefix, build| {
        subjects.push(Subject {
            kernel,
            prefix,
            build,
        });
    };
    match &options.kernel {
        Some(kernel) => add(kernel.clone(), "", Build::Release),
        None => {
            let mut ours = |flavour, build| {
                build_kernel(workspace, bare, flavour).map(|kernel| add(kernel, "", build))
            };
            ours(Flavour::Release, Build::Release)?;
            if !options.quick {
                ours(Flavour::SlowOnly, Build::SlowOnly)?;
                ours(Flavour::CountTraps, Build::CountTraps)?;
            }
        }
    }
    if let Some(kernel) = &options.reference {
        add(kernel.clone(), UPSTREAM, Build::Release);
    }
    if let Some(kernel) = &options.reference_no_fastpath {
        add(kernel.clone(), UPSTREAM, Build::SlowOnly);
    }
    Ok(subjects)
}

/// Measures one kernel with every program that has a workload that was asked for.
fn measure(
    workspace: &Workspace,
    bare: &Bare,
    subject: &Subject,
    options: &Options,
) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for program in PROGRAMS {
        let extent = Extent {
            build: subject.build,
            quick: options.quick,
        };
        let wanted = program.wanted(extent, &options.only);
        if wanted.iter().any(|row| row.workload != BOOT) {
            rows.extend(run(workspace, bare, subject, options, program, &wanted)?);
        }
    }
    if subject.build == Build::Release {
        rows.extend(size_of(&subject.kernel, subject.prefix)?);
    }
    Ok(rows)
}

/// Boots one program on a kernel, and returns its rows.
fn run(
    workspace: &Workspace,
    bare: &Bare,
    subject: &Subject,
    options: &Options,
    program: &Program,
    wanted: &[Wanted],
) -> Result<Vec<Row>, Error> {
    let Subject {
        kernel,
        prefix,
        build,
    } = subject;
    let flavour = match build {
        Build::Release => "release",
        Build::SlowOnly => NO_FASTPATH,
        Build::CountTraps => "count_traps",
    };
    let app = program.app;
    let name = format!("{}-{prefix}{flavour}.elf", app.0);
    let (image, machine) = image_on(workspace, bare, app, kernel, &name)?;
    let machine = Machine {
        count_instructions: true,
        ..machine
    };
    let mut boot = machine.boot(&image)?;
    boot.arg("-append")
        .arg(command_line(subject, options, program));
    let deadline = Instant::now() + Duration::from_secs(LIMIT_S);
    let output = capture_until(&mut boot, deadline, LIMIT_S)?;
    let refused = |reason: String| {
        Error::Check(format!(
            "{} did not come through the benchmark: {reason}. The last that was printed:\n{}",
            kernel.display(),
            last_lines(&output, 12)
        ))
    };
    let reported = parse_report(&output).map_err(refused)?;
    for Reported { row, spread } in &reported {
        // Samples of asynchronous requests have timer interrupts in them.
        if spread.0 < spread.1 && app == BENCH {
            println!(
                "not all samples are equal: {row} has {} to {}",
                spread.0, spread.1
            );
        }
    }
    let mut rows: Vec<Row> = reported.into_iter().map(|reported| reported.row).collect();
    kernel_programs::check(&rows, wanted).map_err(refused)?;
    for row in &mut rows {
        if *build == Build::SlowOnly {
            row.variant = NO_FASTPATH.to_owned();
        }
        row.variant.insert_str(0, prefix);
    }
    Ok(rows)
}

/// What the root task is told.
fn command_line(subject: &Subject, options: &Options, program: &Program) -> String {
    let rounds = if options.quick { QUICK_ROUNDS } else { ROUNDS };
    let mut line = format!("rounds={rounds}");
    if subject.build == Build::SlowOnly {
        // The fast path's own comparison is without floating point.
        line += " variants=fpu_off";
    } else {
        line = format!("{line} {COUNT_KEY}{}", "0".repeat(COUNT_DIGITS));
    }
    if options.quick && !program.quick.is_empty() {
        line += " variants=";
        line += &program.quick.join(",");
    }
    if !options.only.is_empty() {
        line += " workloads=";
        line += &options.only.join(",");
    }
    line
}

/// Rows for the size of a kernel.
fn size_of(kernel: &Path, prefix: &str) -> Result<Vec<Row>, Error> {
    let file = fs::read(kernel).map_err(Error::file("read", kernel))?;
    let size = elf_size::size(&file).ok_or_else(|| {
        Error::Check(format!(
            "{} has no sections whose sizes could be told",
            kernel.display()
        ))
    })?;
    let row = |(metric, bytes): (&str, u64)| Row {
        workload: "image".to_owned(),
        variant: format!("{prefix}release"),
        outstanding: 1,
        metric: metric.to_owned(),
        value: bytes as f64,
        unit: "bytes".to_owned(),
    };
    let metrics = [
        ("text", size.text),
        ("data", size.data),
        ("bss", size.bss),
        ("loaded", size.loaded),
    ];
    Ok(metrics.map(row).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_task_is_told_what_was_asked_for() {
        let options = Options {
            quick: true,
            only: vec!["call".to_owned(), "signal".to_owned()],
            ..Options::default()
        };
        let subject = |build| Subject {
            kernel: PathBuf::new(),
            prefix: "",
            build,
        };
        let calls = &PROGRAMS[0];
        assert_eq!(
            command_line(&subject(Build::SlowOnly), &options, calls),
            "rounds=100 variants=fpu_off workloads=call,signal"
        );
        assert_eq!(
            command_line(&subject(Build::Release), &Options::default(), calls),
            "rounds=1000 kernel-entered-at=0000000000000000"
        );
        assert!(!options.is_whole() && Options::default().is_whole());
    }
}
