//! Second processes: started from this very program, watched, counted, and never left behind.

use std::fs;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that must happen. Only a failure ever waits that long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What went wrong, in words.
pub type Fault = String;

/// This program's command for the role `role`. It ends when its parent does, if it calls [`end_with_parent`].
pub fn command(role: &str, args: &[String]) -> Command {
    // By the kernel's link, because another user may not be able to reach the path.
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("--role")
        .arg(role)
        .args(args)
        .stdin(Stdio::piped());
    command
}

/// A test binary's command for the role `role`: it runs its test `second_process`, which asks for [`role`].
pub fn test_command(role: &str, name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", "second_process", "--nocapture", "-q"])
        .env("BATON_TEST_ROLE", role)
        .env("BATON_TEST_NAME", name)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    command
}

/// The role and the name that a second process of a test was given.
pub fn role() -> Option<(String, String)> {
    let role = std::env::var("BATON_TEST_ROLE").ok()?;
    Some((role, std::env::var("BATON_TEST_NAME").ok()?))
}

/// Ends the process with an error if it is still there after ten times [`PATIENCE`]; only a failing test ever is.
pub fn watchdog(name: &'static str) {
    std::thread::spawn(move || {
        std::thread::sleep(10 * PATIENCE);
        eprintln!("{name} hangs:\n{}", dumps([std::process::id() as i32]));
        std::process::abort();
    });
}

/// Ends this process when its standard input is closed: when its parent has ended, or has closed the pipe.
pub fn end_with_parent() {
    std::thread::spawn(|| {
        let mut nothing = [0; 1];
        while matches!(io::stdin().read(&mut nothing), Ok(1..)) {}
        std::process::exit(0);
    });
}

/// A process that is killed with this value.
#[derive(Debug)]
pub struct Owned(pub Child);

impl Owned {
    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it had ended by itself, which none of ours does.
    pub fn kill(&mut self) -> Result<(), Fault> {
        if let Ok(Some(status)) = self.0.try_wait() {
            return Err(format!("process {} ended by itself: {status}", self.pid()));
        }
        let killed = self.0.kill().and_then(|()| self.0.wait());
        killed
            .map(|_| ())
            .map_err(|error| format!("cannot kill {}: {error}", self.pid()))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        match self.0.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("process {} ended: {status}", self.pid())),
            Err(error) => Some(format!("process {}: {error}", self.pid())),
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process holds of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Open descriptors.
    pub descriptors: usize,
    /// Mappings of Baton's memory.
    pub mappings: usize,
}

/// Counts what process `pid` holds.
///
/// # Errors
///
/// When it is gone.
pub fn held(pid: i32) -> Result<Held, Fault> {
    let fault = |error| format!("cannot look into process {pid}: {error}");
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))
        .map_err(fault)?
        .count();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(fault)?;
    let mappings = maps.lines().filter(|l| l.contains("memfd:baton")).count();
    Ok(Held {
        descriptors,
        mappings,
    })
}

/// Abstract socket names of Baton's in use, those that contain `part`.
///
/// # Errors
///
/// When `/proc` does not say.
pub fn names_in_use(part: &str) -> Result<Vec<String>, Fault> {
    let table = fs::read_to_string("/proc/net/unix").map_err(|error| error.to_string())?;
    let found = table.lines().filter_map(|line| line.split_once('@'));
    Ok(found
        .map(|(_, name)| name.trim_end().to_owned())
        .filter(|name| name.starts_with("baton") && name.contains(part))
        .collect())
}

/// Looks until `done` says yes, and gives up after [`PATIENCE`] with what `why` says.
///
/// # Errors
///
/// That, or what `done` finds wrong.
pub fn until(
    mut done: impl FnMut() -> Result<bool, Fault>,
    why: impl FnOnce() -> Fault,
) -> Result<(), Fault> {
    let end = Instant::now() + PATIENCE;
    loop {
        if done()? {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(why());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// The dumps of these processes, as far as they answer.
pub fn dumps(pids: impl IntoIterator<Item = i32>) -> String {
    use baton_linux::inspect::{PATIENCE_NS, Question, inspect};
    let mut all = String::new();
    for pid in pids {
        match inspect(pid, Question::Dump, 2 * PATIENCE_NS) {
            Ok(dumps) => all.extend(dumps),
            Err(error) => all.push_str(&format!("process {pid}: {error}\n")),
        }
    }
    all
}

/// The word after `--name` on the command line, as a number.
///
/// # Errors
///
/// When it is none.
pub fn number(args: &[String], name: &str, default: u64) -> Result<u64, Fault> {
    match text(args, name) {
        None => Ok(default),
        Some(word) => word
            .replace('_', "")
            .parse()
            .map_err(|_| format!("{name} {word:?} is no number")),
    }
}

/// The word after `--name` on the command line.
pub fn text<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let at = args.iter().position(|arg| arg == name)?;
    args.get(at + 1).map(String::as_str)
}
