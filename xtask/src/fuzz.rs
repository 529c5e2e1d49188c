//! The fuzzing stage: every target in `tests/fuzz`, the time divided evenly between them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::process::{Workspace, output_of};
use crate::stages::{Context, Outcome};
use crate::tools::{Nightly, ensure, ensure_cargo_fuzz};

const FUZZ_DIR: &str = "tests/fuzz";
const SHORT_TOTAL_S: u64 = 60;
const LONG_TOTAL_S: u64 = 3600;
const ENDLESS_S: u64 = 20;

/// Runs all fuzz targets under the address sanitizer.
///
/// # Errors
/// Those of setting up and of [`Context::run`]; `Check` when there is no target.
pub fn fuzz(context: &Context) -> Result<Outcome, Error> {
    let nightly = match Nightly::find() {
        Ok(nightly) => nightly,
        Err(reason) => return Ok(Outcome::NotRun(reason)),
    };
    if let Err(reason) = nightly.has_sanitizer("asan") {
        return Ok(Outcome::NotRun(reason));
    }
    let workspace = &context.workspace;
    if !workspace.root.join(FUZZ_DIR).join("Cargo.toml").is_file() {
        return Err(Error::Check(format!("{FUZZ_DIR} is not there")));
    }
    ensure("c++", "g++", "libFuzzer is compiled with it")?;
    let tools = ensure_cargo_fuzz(workspace)?;
    let path = search_path(&tools)?;

    let list = output_of(
        workspace
            .cargo(["+nightly", "fuzz", "list", "--fuzz-dir", FUZZ_DIR])
            .env("PATH", &path),
    );
    let targets = targets_in(list.as_deref().unwrap_or_default());
    if targets.is_empty() {
        return Err(Error::Check(format!(
            "`cargo fuzz list` names no target in {FUZZ_DIR}"
        )));
    }
    let total_s = if context.long {
        LONG_TOTAL_S
    } else {
        SHORT_TOTAL_S
    };
    let each_s = seconds_each(total_s, targets.len());
    println!("{} targets, {each_s} s each", targets.len());
    for target in targets {
        fuzz_one(context, target, each_s, &path)?;
    }
    Ok(Outcome::Passed)
}

fn fuzz_one(context: &Context, target: &str, seconds: u64, path: &OsStr) -> Result<(), Error> {
    let Workspace {
        root,
        target: built,
    } = &context.workspace;
    // What is found lands in the target directory; seeds in the repository are only read.
    let found = built.join("fuzz").join("corpus").join(target);
    let crashes = built.join("fuzz").join("crashes").join(target);
    for dir in [&found, &crashes] {
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
    }
    let mut command = context
        .workspace
        .cargo(["+nightly", "fuzz", "run", "--fuzz-dir", FUZZ_DIR]);
    command
        .args(["--sanitizer", "address", "--target-dir"])
        .arg(built.join("fuzz"))
        .arg(target)
        .arg(found);
    let seeds = root.join(FUZZ_DIR).join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        // Inputs are sequences of steps: short ones, with which the fuzzer would spend its first minutes, reach little.
        .arg("-len_control=0")
        // An input takes microseconds; one that takes this long has found an endless loop.
        .arg(format!("-timeout={ENDLESS_S}"))
        .arg(format!("-seed={}", libfuzzer_seed(context.seed)))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg("-print_final_stats=1")
        .env("PATH", path);
    context.run(&mut command)
}

fn search_path(first: &Path) -> Result<OsString, Error> {
    let rest = env::var_os("PATH").unwrap_or_default();
    let dirs = [first.to_owned()]
        .into_iter()
        .chain(env::split_paths(&rest));
    env::join_paths(dirs).map_err(|_| {
        Error::Check(format!(
            "{} contains a colon; move the target directory",
            first.display()
        ))
    })
}

fn targets_in(list: &str) -> Vec<&str> {
    list.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect()
}

/// libFuzzer would take 0 as "none", which means no limit and a seed of its own.
fn seconds_each(total_s: u64, targets: usize) -> u64 {
    (total_s / targets.max(1) as u64).max(1)
}

fn libfuzzer_seed(seed: u64) -> u64 {
    (seed & 0x7fff_ffff).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_divided_and_never_endless() {
        assert_eq!(seconds_each(60, 4), 15);
        assert_eq!(seconds_each(60, 100), 1);
    }

    #[test]
    fn seed_is_one_that_libfuzzer_takes() {
        assert_eq!(libfuzzer_seed(7), 7);
        assert_eq!(libfuzzer_seed(1 << 40), 1);
    }

    #[test]
    fn list_is_split_in_lines() {
        assert_eq!(targets_in("inbox\n rpc \n\n"), ["inbox", "rpc"]);
    }
}
