//! What is measured, in what order, and what is said meanwhile.
//!
//! Workloads that are divided by each other are interleaved as one group: all of `w1_awake*`, `w1_asleep`, and each load of `w2`.
//! Every peer, Baton included, runs behind the line protocol in a driver process of its own, so all are treated alike. Then
//! instructions are counted. Rows are written as soon as they are known.
//!
//! A row without one steady sample is left out and named; so is one whose peer failed, and then the whole run ends with an
//! error after everything else has been measured.

use crate::{counting, lanes};
use baton_bench_harness::{
    HarnessError, Metric, Plan, RemoteDriver, Row, Sampler, Series, Shape, TOLERANCE, Workload,
    interleave,
};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The hidden command that serves the line protocol for one peer.
pub const DRIVE: &str = "drive";

/// The peers that this binary drives itself.
const OWN: &[&str] = &["cache_line", "spsc_spin", "spsc_futex", lanes::PEER];
/// The peers of `baton-bench-peers` that run between processes.
const FOREIGN: &[&str] = &["iceoryx2", "tokio_uds", "tarpc"];
/// The one that only counts instructions.
const FOREIGN_EXECUTOR: &str = "embassy";

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The file to be written.
    pub out: PathBuf,
    /// Few and short samples.
    pub quick: bool,
    /// The binary with the peers; none are measured without it.
    pub peers_bin: Option<PathBuf>,
    /// Where valgrind is; no instructions are counted without it.
    pub valgrind: Option<PathBuf>,
}

/// Shapes that are measured in turns with each other.
struct Stage {
    shapes: Vec<Shape>,
    /// Who the others are divided by on stderr.
    reference: &'static str,
}

fn stages() -> Vec<Stage> {
    let awake = [
        Workload::W1Awake,
        Workload::W1AwakeIdle60,
        Workload::W1AwakeTraced,
        Workload::W1Awake256,
        Workload::W1Awake4096,
    ];
    let stage = |shapes, reference| Stage { shapes, reference };
    let w2 = |clients, outstanding| vec![Shape::new(Workload::W2, clients, outstanding)];
    vec![
        stage(
            awake.map(|workload| Shape::new(workload, 1, 1)).into(),
            "cache_line",
        ),
        stage(vec![Shape::new(Workload::W1Asleep, 1, 1)], "spsc_futex"),
        stage(w2(1, 64), "spsc_spin"),
        stage(w2(1, 256), "spsc_spin"),
        stage(w2(4, 64), "tokio_uds"),
        stage(w2(4, 256), "tokio_uds"),
    ]
}

/// The results file, and what could not be measured.
struct Report {
    file: File,
    path: PathBuf,
    faults: usize,
    since: Instant,
}

impl Report {
    fn create(path: &Path) -> Result<Self, HarnessError> {
        let file = File::create(path)
            .map_err(|source| HarnessError::os("creation of the results file", source))?;
        let mut report = Self {
            file,
            path: path.to_owned(),
            faults: 0,
            since: Instant::now(),
        };
        report.line(Row::HEADER)?;
        Ok(report)
    }

    fn line(&mut self, line: &str) -> Result<(), HarnessError> {
        writeln!(self.file, "{line}")
            .map_err(|source| HarnessError::os("write of the results file", source))
    }

    fn row(&mut self, row: &Row) -> Result<(), HarnessError> {
        self.line(&row.to_csv())
    }

    fn fault(&mut self, peer: &str, shape: Shape, error: &HarnessError) {
        self.faults += 1;
        eprintln!("  {shape} {peer}: FAILED, left out: {error}");
    }

    fn heading(&self, text: &str) {
        eprintln!("[{:5.1} s] {text}", self.since.elapsed().as_secs_f64());
    }

    fn finish(self) -> Result<(), HarnessError> {
        self.heading("done");
        match self.faults {
            0 => Ok(()),
            n => Err(HarnessError::Role(format!(
                "{n} rows could not be measured, see above; the others are in {}",
                self.path.display()
            ))),
        }
    }
}

/// Measures everything and writes the results file.
///
/// # Errors
/// `Os` when the file or a driver cannot be had; `Role` at the end when a peer failed.
pub fn measure(options: &Options) -> Result<(), HarnessError> {
    let mut report = Report::create(&options.out)?;
    let (samples, duration_ms) = if options.quick { (5, 20) } else { (15, 80) };
    let plan = Plan::new(samples, Duration::from_millis(duration_ms));
    let mut drivers = start_drivers(options)?;
    for stage in stages() {
        measure_stage(&mut report, &mut drivers, &stage, &plan)?;
    }
    // Ends their processes.
    drop(drivers);
    match &options.valgrind {
        Some(valgrind) => count_instructions(&mut report, options, valgrind)?,
        None => eprintln!("No --valgrind: instructions are not counted."),
    }
    report.finish()
}

fn start_drivers(options: &Options) -> Result<Vec<RemoteDriver>, HarnessError> {
    let own = std::env::current_exe()
        .map_err(|source| HarnessError::os("path of this binary", source))?;
    let start = |binary: &Path, peer: &str| {
        let mut command = Command::new(binary);
        command.args([DRIVE, peer]);
        RemoteDriver::start(peer, command)
    };
    let mut drivers = Vec::new();
    for peer in OWN {
        drivers.push(start(&own, peer)?);
    }
    if let Some(binary) = &options.peers_bin {
        for peer in FOREIGN {
            drivers.push(start(binary, peer)?);
        }
    }
    Ok(drivers)
}

fn measure_stage(
    report: &mut Report,
    drivers: &mut [RemoteDriver],
    stage: &Stage,
    plan: &Plan,
) -> Result<(), HarnessError> {
    let names: Vec<String> = stage.shapes.iter().map(Shape::to_string).collect();
    report.heading(&names.join(", "));
    let mut samplers: Vec<&mut dyn Sampler> = drivers
        .iter_mut()
        .map(|driver| driver as &mut dyn Sampler)
        .collect();
    eprint!("  ");
    let all = interleave(&mut samplers, &stage.shapes, plan, |_, sample| {
        eprint!(
            "{}",
            if sample.is_steady(TOLERANCE) {
                '.'
            } else {
                'x'
            }
        );
    })?;
    eprintln!();
    let reference = all.iter().find(|one| one.peer == stage.reference);
    for series in &all {
        if let Some(error) = &series.fault {
            report.fault(&series.peer, series.shape, error);
        } else if series.kept.is_empty() {
            eprintln!(
                "  {} {}: left out, the machine was not steady during one of {} samples",
                series.shape, series.peer, series.discarded
            );
        } else {
            describe(series, reference);
            for row in series.rows() {
                report.row(&row)?;
            }
        }
    }
    Ok(())
}

fn describe(series: &Series, reference: Option<&Series>) {
    let metric = match series.shape.workload {
        Workload::W2 => Metric::Rate,
        _ => Metric::P50,
    };
    let ratio = reference.and_then(|reference| series.paired_ratio(reference, metric));
    let against = reference.map_or("", |reference| reference.peer.as_str());
    eprintln!(
        "  {:<24} {:<12} {metric} {:>12.1} {:<10} kept {:>2} of {:>2}{}",
        series.shape.to_string(),
        series.peer,
        series.median(metric).unwrap_or(f64::NAN),
        metric.unit(),
        series.kept.len(),
        series.kept.len() + series.discarded,
        ratio.map_or(String::new(), |ratio| format!(
            "  {ratio:.3} of {against} in pairs"
        )),
    );
}

fn count_instructions(
    report: &mut Report,
    options: &Options,
    valgrind: &Path,
) -> Result<(), HarnessError> {
    report.heading("instructions");
    let rows = counting::count_all(valgrind, options.quick, |peer, shape, row| match row {
        Ok(row) => eprintln!("  {:<24} {peer:<12} {:>8.1}", shape.to_string(), row.value),
        Err(error) => eprintln!("  {shape} {peer}: FAILED, left out: {error}"),
    });
    for row in rows {
        match row {
            Ok(row) => report.row(&row)?,
            Err(_) => report.faults += 1,
        }
    }
    if let Some(binary) = &options.peers_bin {
        let mut command = Command::new(binary);
        command.args([DRIVE, FOREIGN_EXECUTOR]);
        let mut driver = RemoteDriver::start(FOREIGN_EXECUTOR, command)?;
        let shapes = driver.shapes()?;
        let once = Plan {
            samples: 1,
            max_rounds: 1,
            duration: Duration::ZERO,
        };
        for series in interleave(&mut [&mut driver], &shapes, &once, |_, _| {})? {
            if let Some(error) = &series.fault {
                report.fault(&series.peer, series.shape, error);
            }
            for row in series.rows() {
                let shape = row.shape.to_string();
                eprintln!("  {shape:<24} {:<12} {:>8.1}", row.peer, row.value);
                report.row(&row)?;
            }
        }
    }
    Ok(())
}
