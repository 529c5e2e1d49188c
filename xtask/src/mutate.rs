//! `cargo xtask mutate`: does a test notice when the kernel's core is wrong?
//!
//! Each mutation is made in a copy of the sources, never in the repository, and core's tests on the host are run
//! there. One that no test notices is a failure of this command. Neighbours: [`mutations`](crate::mutations) lists them;
//! `kernel/core/tests` should notice them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::mutations::{MUTATIONS, Mutation};
use crate::process::{Workspace, run_until};

/// A kernel that goes round for ever counts as noticed after this long; building and testing take seconds.
const LIMIT_S: u64 = 120;
/// So does one that makes its tests use up the memory: the most that a program may have (KiB).
const MEMORY_KIB: u64 = 8 << 20;
/// Where the mutated sources are, in the copy and in the repository.
const SOURCES: &str = "kernel/core/src";
/// What is not copied.
const LEFT_OUT: &[&str] = &["target", ".git"];
/// How many of the tests that noticed are named.
const NAMED: usize = 3;

/// What is to be run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only these; all if there are none.
    pub only: Vec<String>,
    /// Do not run them, list them.
    pub list: bool,
}

/// The tests that noticed a mutation, each after the file it is in; none if it was missed.
type Verdict = Vec<String>;

/// Runs or lists mutations.
///
/// # Errors
/// `Check` names those that no test noticed, or that do not even compile.
pub fn mutate(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let chosen = choose(&options.only)?;
    if options.list {
        for mutation in chosen {
            println!("{:<30}{}", mutation.name, mutation.about);
        }
        return Ok(());
    }
    let copy = workspace.target.join("mutants");
    let sources = copy.join("sources");
    refresh(&workspace.root, &sources)?;
    println!("without a mutation:");
    let verdict = test(workspace, &copy)?;
    if !verdict.is_empty() {
        return Err(Error::Check(format!(
            "the tests fail without a mutation: {}",
            describe(&verdict)
        )));
    }
    let mut missed = Vec::new();
    let mut table = String::new();
    for mutation in chosen {
        println!("{}: {}", mutation.name, mutation.about);
        let file = sources.join(SOURCES).join(mutation.file);
        let original = read(&file)?;
        write(&file, &mutated(mutation, &original)?)?;
        let verdict = test(workspace, &copy);
        write(&file, &original)?;
        let verdict = verdict?;
        if verdict.is_empty() {
            missed.push(mutation.name);
        }
        table += &format!("{:<30}{}\n", mutation.name, describe(&verdict));
    }
    println!("\n{:<30}noticed by\n{table}", "mutation");
    if missed.is_empty() {
        Ok(())
    } else {
        Err(Error::Check(format!(
            "no test noticed: {}",
            missed.join(", ")
        )))
    }
}

fn choose(names: &[String]) -> Result<Vec<&'static Mutation>, Error> {
    if names.is_empty() {
        return Ok(MUTATIONS.iter().collect());
    }
    let find = |name: &String| {
        let found = MUTATIONS.iter().find(|mutation| mutation.name == name);
        found.ok_or_else(|| {
            Error::Usage(format!(
                "there is no mutation `{name}`; `mutate --list` shows them"
            ))
        })
    };
    names.iter().map(find).collect()
}

/// The file's text with the mistake in it.
fn mutated(mutation: &Mutation, original: &str) -> Result<String, Error> {
    match original.matches(mutation.from).count() {
        1 => Ok(original.replacen(mutation.from, mutation.to, 1)),
        count => Err(Error::Check(format!(
            "the mutation `{}` must change one place of {}, but finds {count}",
            mutation.name, mutation.file
        ))),
    }
}

/// Runs core's tests in the copy, and says which failed, or that they did not end.
fn test(workspace: &Workspace, copy: &Path) -> Result<Verdict, Error> {
    let log = copy.join("tests.log");
    let target = copy.join("target");
    let file = |doing| Error::file(doing, &log);
    let output = fs::File::create(&log).map_err(file("write"))?;
    let errors = output.try_clone().map_err(file("write"))?;
    let script = format!("ulimit -v {MEMORY_KIB}; exec \"$@\"");
    let cargo = "cargo test --package baton-kernel-core --no-fail-fast".split(' ');
    let words = ["-c", &script, "sh"].into_iter().chain(cargo);
    let mut tests = workspace.cargo_at("sh", words);
    tests
        .current_dir(copy.join("sources"))
        .env("CARGO_TARGET_DIR", &target)
        // Mistakes are made on purpose: warnings about them do not matter.
        .env("RUSTFLAGS", "--cap-lints=warn")
        .env("RUST_BACKTRACE", "0")
        // Linking is most of the work.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(errors));
    let deadline = Instant::now() + Duration::from_secs(LIMIT_S);
    let hung = match run_until(&mut tests, deadline, LIMIT_S) {
        Ok(()) => return Ok(Vec::new()),
        Err(Error::Hung { .. }) => true,
        Err(Error::Failed { .. }) => false,
        Err(error) => return Err(error),
    };
    let mut failed = failed_tests(&read(&log)?);
    if hung {
        failed.push("the time limit".to_owned());
    }
    if failed.is_empty() {
        return Err(Error::Check(format!(
            "the tests did not run, see {}; does the mutation compile?",
            log.display()
        )));
    }
    Ok(failed)
}

/// The failed tests in what `cargo test` printed, each after the file it is in.
fn failed_tests(output: &str) -> Vec<String> {
    let mut file = "";
    let mut failed = Vec::new();
    for line in output.lines() {
        let line = line.trim();
        if let Some(running) = line.strip_prefix("Running ") {
            let path = running.trim_start_matches("unittests ");
            let path = path.split_whitespace().next().unwrap_or_default();
            file = path.rsplit('/').next().unwrap_or(path);
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            failed.push(format!("{file}: {name}"));
        } else if line.starts_with("process didn't exit successfully") {
            // A test has taken the whole program with it.
            failed.push(format!("{file}: ended"));
        }
    }
    failed
}

fn describe(tests: &[String]) -> String {
    if tests.is_empty() {
        return "NOBODY".to_owned();
    }
    let named: Vec<&str> = tests.iter().take(NAMED).map(String::as_str).collect();
    let more = match tests.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    named.join("; ") + &more
}

/// Makes the copy like the repository. What was there and is the same keeps its time stamp, so that cargo need not
/// build it again; what is not in the repository any more goes.
fn refresh(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::file("create", to))?;
    let wanted = entries(from)?;
    for there in entries(to)? {
        let name = there.file_name().unwrap_or_default();
        if !wanted.iter().any(|path| path.file_name() == Some(name)) {
            let removed = if there.is_dir() {
                fs::remove_dir_all(&there)
            } else {
                fs::remove_file(&there)
            };
            removed.map_err(Error::file("remove", &there))?;
        }
    }
    for path in wanted {
        let name = path.file_name().unwrap_or_default();
        if LEFT_OUT.iter().any(|out| name == *out) {
            continue;
        }
        let copy = to.join(name);
        if path.is_dir() {
            refresh(&path, &copy)?;
        } else {
            let new = fs::read(&path).map_err(Error::file("read", &path))?;
            if fs::read(&copy).is_ok_and(|old| old == new) {
                continue;
            }
            fs::write(&copy, new).map_err(Error::file("write", &copy))?;
        }
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = fs::read_dir(dir).map_err(Error::file("read", dir))?;
    let mut paths = Vec::new();
    for entry in read {
        let entry = entry.map_err(Error::file("read", dir))?;
        let kind = entry.file_type().map_err(Error::file("read", dir))?;
        // Links lead out of the copy, or into what is copied anyway.
        if !kind.is_symlink() {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::file("read", path))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mutation_changes_one_place_and_has_a_name_of_its_own() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(SOURCES);
        for (index, mutation) in MUTATIONS.iter().enumerate() {
            let text = read(&sources.join(mutation.file)).expect(mutation.name);
            if let Err(error) = mutated(mutation, &text) {
                panic!("{error}");
            }
            let others = &MUTATIONS[..index];
            assert!(others.iter().all(|other| other.name != mutation.name));
        }
    }

    #[test]
    fn failed_tests_are_found_with_their_files() {
        let output = "\
     Running unittests src/lib.rs (target/debug/deps/a-1)
test cap::tests::fine ... ok
     Running tests/ipc.rs (target/debug/deps/ipc-2)
test a_call ... FAILED
test another ... ok
  process didn't exit successfully: `ipc` (signal: 6, SIGABRT)
";
        assert_eq!(failed_tests(output), ["ipc.rs: a_call", "ipc.rs: ended"]);
        assert!(failed_tests("error: could not compile").is_empty());
    }
}
