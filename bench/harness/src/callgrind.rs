//! Counting instructions: the same program under callgrind for n and for 2n rounds; the difference is n rounds.
//!
//! Start-up, set-up and end cancel. The count is of the instructions that ran in user space, on all threads.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::HarnessError;

/// What to count, and how.
#[derive(Clone, Debug, Default)]
pub struct Counting<'a> {
    /// Where valgrind is; the one on the search path where it is `None`.
    pub valgrind: Option<&'a Path>,
    /// Also counts the processes that the program starts, and adds them up.
    pub trace_children: bool,
    /// More arguments for callgrind, such as `--toggle-collect=<function>`.
    pub extra_arguments: &'a [&'a str],
}

/// Instructions per round of `program`, whose arguments for a number of rounds are made by `arguments`.
///
/// # Errors
/// `Callgrind` when valgrind is not there, the program fails under it, or no total is found.
pub fn instructions_per_round(
    program: &Path,
    rounds: u64,
    counting: &Counting<'_>,
    arguments: impl Fn(u64) -> Vec<String>,
) -> Result<f64, HarnessError> {
    let once = total_instructions(program, counting, &arguments(rounds))?;
    let twice = total_instructions(program, counting, &arguments(2 * rounds))?;
    Ok((twice as f64 - once as f64) / rounds as f64)
}

/// All instructions of one run of `program`.
///
/// # Errors
/// As [`instructions_per_round`].
pub fn total_instructions(
    program: &Path,
    counting: &Counting<'_>,
    arguments: &[String],
) -> Result<u64, HarnessError> {
    let directory = ScratchDirectory::create()?;
    let output = directory.0.join("count.%p");
    let valgrind = counting.valgrind.unwrap_or(Path::new("valgrind"));
    let mut command = Command::new(valgrind);
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(format!(
            "--trace-children={}",
            if counting.trace_children { "yes" } else { "no" }
        ))
        .arg("--quiet")
        .args(counting.extra_arguments)
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let result = command
        .output()
        .map_err(|source| HarnessError::Callgrind(format!("valgrind: {source}")))?;
    if !result.status.success() {
        let text = String::from_utf8_lossy(&result.stderr);
        return Err(HarnessError::Callgrind(format!(
            "{}: {}",
            result.status,
            text.trim()
        )));
    }
    let files = std::fs::read_dir(&directory.0)
        .map_err(|source| HarnessError::os("read of counts", source))?;
    let mut total = 0;
    let mut found = false;
    for file in files.flatten() {
        let text = std::fs::read_to_string(file.path())
            .map_err(|source| HarnessError::os("read of a count", source))?;
        for count in text.lines().filter_map(parse_total) {
            total += count;
            found = true;
        }
    }
    if found {
        Ok(total)
    } else {
        Err(HarnessError::Callgrind("no total was written".into()))
    }
}

fn parse_total(line: &str) -> Option<u64> {
    line.strip_prefix("totals:")
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
}

struct ScratchDirectory(std::path::PathBuf);

impl ScratchDirectory {
    fn create() -> Result<Self, HarnessError> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Only makes names differ; nothing is ordered by it.
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("baton-callgrind-{}-{serial}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|source| HarnessError::os("scratch directory", source))?;
        Ok(Self(path))
    }
}

impl Drop for ScratchDirectory {
    fn drop(&mut self) {
        // Left behind in the temporary directory at worst.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::parse_total;

    #[test]
    fn total_is_found() {
        assert_eq!(parse_total("totals: 1234"), Some(1234));
        assert_eq!(parse_total("summary: 99"), None);
        assert_eq!(parse_total("totals: x"), None);
    }
}
