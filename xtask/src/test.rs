//! `cargo xtask test`: runs the stages one after the other and says what came of each.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::process::Workspace;
use crate::stages::{Context, Outcome, STAGES, Stage};

/// The seed of short runs, so that they repeat.
const SHORT_SEED: u64 = 1;
/// A stage that takes longer than this hangs; far above what a slow machine needs.
const SHORT_LIMIT_S: u64 = 15 * 60;
/// The same with `--long`.
const LONG_LIMIT_S: u64 = 24 * 3600;

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Run the long versions.
    pub long: bool,
    /// Only these stages; all when empty.
    pub only: Vec<String>,
    /// Only list the stages.
    pub list: bool,
    /// Where the pseudo-random stages start.
    pub seed: Option<u64>,
}

struct Report {
    name: &'static str,
    result: Result<Outcome, Error>,
    took: Duration,
}

/// Runs the stages asked for.
///
/// # Errors
/// `Usage` for a name that no stage has, `Tests` when a stage failed.
pub fn test(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let stages = selected(&options.only)?;
    if options.list {
        for stage in stages {
            println!("{:<18} {}", stage.name, stage.about);
        }
        return Ok(());
    }
    let seed = options.seed.unwrap_or_else(|| {
        if options.long {
            seed_from_clock()
        } else {
            SHORT_SEED
        }
    });
    let length = if options.long { "long" } else { "short" };
    println!("{} stages, {length} versions, seed {seed}", stages.len());

    let started = Instant::now();
    let mut reports = Vec::new();
    for (i, stage) in stages.iter().enumerate() {
        println!(
            "\n=== stage {} of {}: {} ({}); {:.0} s so far",
            i + 1,
            stages.len(),
            stage.name,
            stage.about,
            started.elapsed().as_secs_f64()
        );
        let report = run_stage(stage, workspace, options.long, seed);
        println!(
            "=== {}: {}, {:.1} s",
            stage.name,
            outcome(&report),
            report.took.as_secs_f64()
        );
        reports.push(report);
    }
    print!("\n{}", summary(&reports, seed));
    match count(&reports).failed {
        0 => Ok(()),
        failed => Err(Error::Tests { failed }),
    }
}

fn selected(only: &[String]) -> Result<Vec<&'static Stage>, Error> {
    if let Some(unknown) = only
        .iter()
        .find(|name| STAGES.iter().all(|stage| stage.name != **name))
    {
        let names: Vec<_> = STAGES.iter().map(|stage| stage.name).collect();
        return Err(Error::Usage(format!(
            "there is no stage `{unknown}`; the stages are {}",
            names.join(", ")
        )));
    }
    Ok(STAGES
        .iter()
        .filter(|stage| only.is_empty() || only.iter().any(|name| name == stage.name))
        .collect())
}

fn seed_from_clock() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(SHORT_SEED, |since| since.as_secs())
}

fn run_stage(stage: &Stage, workspace: &Workspace, long: bool, seed: u64) -> Report {
    let started = Instant::now();
    let limit_s = if long { LONG_LIMIT_S } else { SHORT_LIMIT_S };
    let context = Context {
        workspace: workspace.clone(),
        long,
        seed,
        deadline: started + Duration::from_secs(limit_s),
        limit_s,
    };
    let result = (stage.work)(&context);
    Report {
        name: stage.name,
        result,
        took: started.elapsed(),
    }
}

fn outcome(report: &Report) -> String {
    match &report.result {
        Ok(Outcome::Passed) => "pass".to_owned(),
        Ok(Outcome::NotRun(reason)) => format!("not run: {reason}"),
        Err(error) => format!("FAIL: {error}"),
    }
}

struct Count {
    passed: usize,
    failed: usize,
    not_run: usize,
}

fn count(reports: &[Report]) -> Count {
    let mut count = Count {
        passed: 0,
        failed: 0,
        not_run: 0,
    };
    for report in reports {
        match report.result {
            Ok(Outcome::Passed) => count.passed += 1,
            Ok(Outcome::NotRun(_)) => count.not_run += 1,
            Err(_) => count.failed += 1,
        }
    }
    count
}

fn summary(reports: &[Report], seed: u64) -> String {
    let mut text = format!("{:<18} {:>9}  outcome (seed {seed})\n", "stage", "seconds");
    for report in reports {
        let seconds = report.took.as_secs_f64();
        text += &format!("{:<18} {seconds:>9.1}  {}\n", report.name, outcome(report));
    }
    let Count {
        passed,
        failed,
        not_run,
    } = count(reports);
    text + &format!("{passed} passed, {failed} failed, {not_run} skipped\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &'static str, result: Result<Outcome, Error>) -> Report {
        Report {
            name,
            result,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn not_run_is_never_counted_as_passed() {
        let reports = [
            report("a", Ok(Outcome::Passed)),
            report("b", Ok(Outcome::NotRun("no nightly".to_owned()))),
            report("c", Err(Error::Check("broken".to_owned()))),
        ];
        let text = summary(&reports, 3);
        assert!(
            text.ends_with("\n1 passed, 1 failed, 1 skipped\n"),
            "{text}"
        );
        assert!(text.contains("not run: no nightly"), "{text}");
        assert!(text.contains("FAIL: broken"), "{text}");
    }

    #[test]
    fn unknown_stage_is_refused_and_known_ones_keep_their_order() {
        assert!(matches!(
            selected(&["nonsense".to_owned()]),
            Err(Error::Usage(_))
        ));
        let two = selected(&["links".to_owned(), "fmt".to_owned()]).expect("both exist");
        assert_eq!(
            two.iter().map(|s| s.name).collect::<Vec<_>>(),
            ["fmt", "links"]
        );
        assert_eq!(selected(&[]).expect("all").len(), STAGES.len());
    }
}
