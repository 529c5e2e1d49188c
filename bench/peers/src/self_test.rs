//! The self-test: every peer for a short moment, interleaved, as a table of values and ratios.
//!
//! W1 awake and W2 are set against `cache_line`, W1 asleep against `spsc_futex`, throughput against `spsc_spin`.
//! Every peer runs behind the line protocol in a process of its own, as `baton-bench` runs it.

use std::process::Command;
use std::time::Duration;

use baton_bench_harness::{
    Driver, HarnessError, Metric, Plan, RemoteDriver, Row, Sampler, Series, Shape, Workload,
    interleave,
};

/// Runs all shapes of all drivers; `arguments` are the time of a sample in ms and the number of samples.
pub fn run(drivers: Vec<Box<dyn Driver>>, arguments: &[&str]) -> Result<(), HarnessError> {
    let number = |index: usize, default: u64| {
        arguments.get(index).map_or(Ok(default), |text| {
            text.parse()
                .map_err(|_| HarnessError::Unsupported(format!("{text:?} is not a number")))
        })
    };
    let duration = Duration::from_millis(number(0, 50)?);
    let plan = Plan::new(usize::try_from(number(1, 5)?).unwrap_or(5), duration);
    let mut shapes: Vec<Shape> = Vec::new();
    let mut remotes = Vec::new();
    let binary = std::env::current_exe()
        .map_err(|source| HarnessError::os("path of this binary", source))?;
    for driver in &drivers {
        let new: Vec<Shape> = driver
            .shapes()
            .into_iter()
            .filter(|shape| !shapes.contains(shape))
            .collect();
        shapes.extend(new);
        let mut command = Command::new(&binary);
        command.args(["drive", driver.peer()]);
        remotes.push(RemoteDriver::start(driver.peer(), command)?);
    }
    println!(
        "{} {:>10} {:>9} {:>10}",
        Row::HEADER,
        "round trips",
        "of ref.",
        "kept/lost"
    );
    for shape in shapes {
        let mut samplers: Vec<&mut dyn Sampler> = remotes
            .iter_mut()
            .map(|remote| remote as &mut dyn Sampler)
            .collect();
        let all = interleave(&mut samplers, &[shape], &plan, |_, _| {})?;
        for series in &all {
            if let Some(fault) = &series.fault {
                println!("{shape} {}: {fault}", series.peer);
            }
            print_series(series, reference(&all, shape));
        }
    }
    Ok(())
}

/// What the rows of a shape are divided by.
fn reference(all: &[Series], shape: Shape) -> Option<&Series> {
    let name = match shape.workload {
        Workload::W1Asleep => "spsc_futex",
        Workload::W2 if shape.clients == 1 => "spsc_spin",
        Workload::W2 => "tokio_uds",
        _ => "cache_line",
    };
    all.iter().find(|series| series.peer == name)
}

fn print_series(series: &Series, reference: Option<&Series>) {
    for row in series.rows() {
        let is_time = matches!(row.metric, Metric::P50 | Metric::P99);
        let round_trips = series.in_round_trips(row.metric).filter(|_| is_time);
        let ratio = reference.and_then(|reference| series.paired_ratio(reference, row.metric));
        let column =
            |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.3}"));
        println!(
            "{:<60} {:>10} {:>9} {:>5}/{}",
            row.to_csv(),
            column(round_trips),
            column(ratio),
            series.kept.len(),
            series.discarded
        );
    }
}
