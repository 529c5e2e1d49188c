//! Starting other programs: what is run is printed, and a hang ends with an error.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// How often a running program is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Where the repository and its build products are.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The directory with the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Where cargo puts what it builds.
    pub target: PathBuf,
}

impl Workspace {
    /// Finds the repository that this program was built from.
    ///
    /// # Errors
    /// `Check` when it has been moved since.
    pub fn find() -> Result<Self, Error> {
        // `cargo run` sets the variable; the built-in path serves a binary started by hand.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| OsStr::new(env!("CARGO_MANIFEST_DIR")).to_owned());
        let root = Path::new(&manifest)
            .parent()
            .filter(|root| root.join("Cargo.toml").is_file())
            .ok_or_else(|| {
                Error::Check("the repository was not found; run `cargo xtask` inside it".to_owned())
            })?
            .to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => std::path::absolute(&dir).map_err(Error::file("find", Path::new(&dir)))?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// `cargo` of the pinned toolchain, to be run in the repository.
    pub fn cargo<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.cargo_at("cargo", args)
    }

    /// The `cargo` at that path, to be run in the repository.
    pub fn cargo_at<S: AsRef<OsStr>>(
        &self,
        cargo: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(cargo);
        // Left by the cargo that runs this program; they must not leak into builds.
        for (name, _) in std::env::vars_os() {
            if name == "CARGO" || name.to_string_lossy().starts_with("CARGO_PKG_") {
                command.env_remove(name);
            }
        }
        command
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("CARGO_MANIFEST_PATH")
            .args(args)
            .current_dir(&self.root)
            .stdin(Stdio::null());
        command
    }

    /// Builds one binary with the release profile and returns where it is.
    ///
    /// # Errors
    /// Those of [`run`].
    pub fn build_release(&self, package: &str, binary: &str) -> Result<PathBuf, Error> {
        run(&mut self.cargo(["build", "--release", "--package", package, "--bin", binary]))?;
        Ok(self.target.join("release").join(binary))
    }
}

/// The command as one would type it, with the variables it sets.
pub fn describe(command: &Command) -> String {
    // The search path is long and says little.
    let set = command.get_envs().filter(|(name, _)| *name != "PATH");
    let variables = set.filter_map(|(name, value)| {
        value.map(|value| format!("{}={}", name.to_string_lossy(), quoted(value)))
    });
    variables
        .chain([quoted(command.get_program())])
        .chain(command.get_args().map(quoted))
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains([' ', '*', '"', '$']) {
        format!("'{word}'")
    } else {
        word.into_owned()
    }
}

/// Prints the command, runs it and waits for it.
///
/// # Errors
/// `Start` when it cannot be started, `Failed` when it reports failure.
pub fn run(command: &mut Command) -> Result<(), Error> {
    println!("$ {}", describe(command));
    let status = command.status().map_err(|source| Error::Start {
        command: describe(command),
        source,
    })?;
    succeeded(command, status)
}

/// Like [`run`], but kills the command and everything it started at `deadline`.
///
/// # Errors
/// Those of [`run`], and `Hung`.
pub fn run_until(command: &mut Command, deadline: Instant, limit_s: u64) -> Result<(), Error> {
    println!("$ {}", describe(command));
    let mut child = command.spawn().map_err(not_started(command))?;
    let status = wait_until(&mut child, command, deadline, limit_s)?;
    succeeded(command, status)
}

/// Like [`run_until`], but returns what the command printed; what it prints on standard error goes where this program's does.
/// When it fails or hangs, the last lines of that are shown.
///
/// # Errors
/// Those of [`run_until`].
pub fn capture_until(
    command: &mut Command,
    deadline: Instant,
    limit_s: u64,
) -> Result<String, Error> {
    println!("$ {}", describe(command));
    let spawned = command.stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(not_started(command))?;
    // Read while it runs, or it would stop when the pipe is full.
    let reader = child.stdout.take().map(|mut pipe| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).map(|_| bytes)
        })
    });
    let ended = wait_until(&mut child, command, deadline, limit_s);
    let bytes = match reader.map(thread::JoinHandle::join) {
        Some(Ok(Ok(bytes))) => bytes,
        Some(Ok(Err(source))) => return Err(not_started(command)(source)),
        Some(Err(_)) | None => Vec::new(),
    };
    let text = String::from_utf8_lossy(&bytes).replace('\r', "");
    match ended.and_then(|status| succeeded(command, status)) {
        Ok(()) => Ok(text),
        Err(error) => {
            eprintln!("The last that it printed:\n{}", last_lines(&text, 12));
            Err(error)
        }
    }
}

/// Like [`run`], but returns those lines that the command prints for which `keep` says so, and prints the others as they come.
///
/// # Errors
/// Those of [`run`].
pub fn run_and_keep(command: &mut Command, keep: impl Fn(&str) -> bool) -> Result<String, Error> {
    println!("$ {}", describe(command));
    let spawned = command.stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(not_started(command))?;
    let mut kept = String::new();
    if let Some(pipe) = child.stdout.take() {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        // A line ends with the console's two bytes, or with the output.
        while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).replace('\r', "");
            if keep(&text) {
                kept.push_str(&text);
            } else {
                print!("{text}");
            }
            line.clear();
        }
    }
    let status = child.wait().map_err(not_started(command))?;
    succeeded(command, status).map(|()| kept)
}

/// The last `count` lines.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(count);
    lines.get(skipped..).unwrap_or_default().join("\n")
}

fn not_started(command: &Command) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let command = describe(command);
    |source| Error::Start { command, source }
}

/// Waits for a child, and kills it with everything it started at `deadline`.
fn wait_until(
    child: &mut Child,
    command: &Command,
    deadline: Instant,
    limit_s: u64,
) -> Result<ExitStatus, Error> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL_INTERVAL),
            Ok(None) => {
                kill_tree(child.id());
                // Reaps it; the hang is what is reported, whatever its status.
                let _ = child.wait();
                return Err(Error::Hung {
                    command: describe(command),
                    limit_s,
                });
            }
            Err(source) => return Err(not_started(command)(source)),
        }
    }
}

/// What the command printed, without running noise; `None` when it cannot be run or fails.
pub fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<(), Error> {
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed {
            command: describe(command),
            status: status.to_string(),
        })
    }
}

/// Kills a process and its descendants. Process groups would be simpler, but a group of its own would
/// take the child away from the terminal's Ctrl-C.
fn kill_tree(root: u32) {
    let mut doomed = vec![root];
    // Stopped first and looked at again, or a child that is started meanwhile would be missed.
    loop {
        let known = doomed.len();
        signal("-STOP", &doomed);
        let parents = parents_of_all();
        let mut next = 0;
        while let Some(&parent) = doomed.get(next) {
            next += 1;
            for &(child, of) in &parents {
                if of == parent && !doomed.contains(&child) {
                    doomed.push(child);
                }
            }
        }
        if doomed.len() == known {
            break;
        }
    }
    signal("-KILL", &doomed);
}

fn signal(name: &str, pids: &[u32]) {
    let sent = Command::new("kill")
        .arg(name)
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status();
    if sent.is_err() {
        eprintln!("the program `kill` is missing; still running: {pids:?}");
    }
}

/// Every process with its parent, as /proc shows them.
fn parents_of_all() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, parent_in_stat(&stat)?))
        })
        .collect()
}

/// The parent in a line of /proc/PID/stat. The name before it may itself contain blanks and brackets.
fn parent_in_stat(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_is_found_behind_an_awkward_name() {
        assert_eq!(parent_in_stat("7 (a) b (c)) S 42 7 7"), Some(42));
        assert_eq!(parent_in_stat("7 nonsense"), None);
    }

    #[test]
    fn failure_and_missing_program_are_told_apart() {
        let failed = run(&mut Command::new("false"));
        assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
        let missing = run(&mut Command::new("baton-no-such-program"));
        assert!(matches!(missing, Err(Error::Start { .. })), "{missing:?}");
    }

    #[test]
    fn hang_is_ended() {
        // The deadline has passed already, so nothing here waits for time to pass.
        let mut command = Command::new("sleep");
        let hung = run_until(command.arg("1000"), Instant::now(), 0);
        assert!(matches!(hung, Err(Error::Hung { .. })), "{hung:?}");
        let hung = capture_until(&mut command, Instant::now(), 0);
        assert!(matches!(hung, Err(Error::Hung { .. })), "{hung:?}");
    }

    #[test]
    fn what_a_command_prints_is_returned_unless_it_fails() {
        let later = Instant::now() + Duration::from_secs(600);
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            capture_until(&mut command, later, 600)
        };
        assert_eq!(shell("printf 'a\\r\\nb\\n'").expect("a shell"), "a\nb\n");
        let failed = shell("echo a; exit 3");
        assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }

    #[test]
    fn lines_are_kept_and_others_shown() {
        let mut command = Command::new("printf");
        command.arg("a\\r\\n@b\\r\\nc\\n@d");
        let kept = run_and_keep(&mut command, |line| line.contains('@'));
        assert_eq!(kept.expect("a program that prints"), "@b\n@d");
        let failed = run_and_keep(&mut Command::new("false"), |_| true);
        assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
    }

    #[test]
    fn descendants_are_killed_too() {
        let mut command = Command::new("sh");
        command
            .args(["-c", "sleep 1000 & echo started; wait"])
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("readable");
        assert_eq!(line, "started\n");
        kill_tree(child.id());
        child.wait().expect("a child");
        // The pipe ends only when the last process that can write to it is gone.
        assert_eq!(output.read_line(&mut line).expect("readable"), 0);
    }

    #[test]
    fn description_can_be_typed() {
        let mut command = Command::new("cargo");
        command.args(["test", "--test", "loom_*"]).env("A", "b c");
        assert_eq!(describe(&command), "A='b c' cargo test --test 'loom_*'");
    }
}
