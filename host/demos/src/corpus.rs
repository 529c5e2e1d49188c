//! The corpus: real text from this machine, always in the same order.
//!
//! Several processes read the same directory, each its share. They agree without talking because files are taken in the order
//! of their paths, up to a limit, and dealt out by number.

pub use crate::expected::Document;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest path, relative to the corpus, in bytes. Files with longer ones are left out.
pub const MAX_PATH_BYTES: usize = 1024;

/// A file of the corpus that has not been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path, relative to the corpus.
    pub path: String,
    /// How much of it to read, at most.
    pub len_bytes: u64,
}

/// Why there is no corpus.
#[derive(Debug)]
pub enum CorpusError {
    /// The directory cannot be read: name another.
    Unreadable(PathBuf, io::Error),
    /// There is no text in it: name another.
    Empty(PathBuf),
    /// Nothing was found where corpora usually are: name one.
    NoneFound,
}

impl fmt::Display for CorpusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CorpusError::Unreadable(dir, error) => {
                write!(f, "the corpus {} cannot be read: {error}", dir.display())
            }
            CorpusError::Empty(dir) => {
                write!(f, "there are no text files below {}", dir.display())
            }
            CorpusError::NoneFound => f.write_str(
                "found neither downloaded sources of cargo, nor the standard library's, nor a project here; \
                 name a directory of texts with --corpus",
            ),
        }
    }
}

impl std::error::Error for CorpusError {}

/// Where a corpus was found, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub dir: PathBuf,
    /// What it holds, for people.
    pub what: &'static str,
}

/// Looks for a corpus: the sources that cargo has downloaded, else the standard library's, else those of the project in
/// the current directory.
///
/// # Errors
///
/// [`CorpusError::NoneFound`].
pub fn locate() -> Result<Place, CorpusError> {
    let candidates = [
        (
            cargo_sources as fn() -> Option<PathBuf>,
            "the sources that cargo has downloaded",
        ),
        (
            library_sources,
            "the standard library's sources (cargo has downloaded none)",
        ),
        (
            project_sources,
            "this project's own sources (found neither cargo's downloads nor the standard library)",
        ),
    ];
    candidates
        .into_iter()
        .find_map(|(find, what)| {
            let dir = find().filter(|dir| list(dir, 1).is_ok())?;
            Some(Place { dir, what })
        })
        .ok_or(CorpusError::NoneFound)
}

fn cargo_sources() -> Option<PathBuf> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir()?.join(".cargo"),
    };
    Some(home.join("registry").join("src"))
}

fn library_sources() -> Option<PathBuf> {
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = String::from_utf8(rustc.ok()?.stdout).ok()?;
    Some(Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library"))
}

fn project_sources() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let is_project = |dir: &&Path| dir.join("Cargo.lock").exists();
    here.ancestors().find(is_project).map(Path::to_owned)
}

/// The text files below `dir` in the order of their paths, until they have `limit_bytes` in all; the last is cut short.
///
/// # Errors
///
/// [`CorpusError`] when `dir` cannot be read or has no texts. What cannot be read further down is left out.
pub fn list(dir: &Path, limit_bytes: u64) -> Result<Vec<Listed>, CorpusError> {
    let mut files = Vec::new();
    let mut left_bytes = limit_bytes;
    let mut names = names(dir).map_err(|error| CorpusError::Unreadable(dir.to_owned(), error))?;
    // Depth first; the names still to visit are a stack, and so the first is last.
    names.reverse();
    while left_bytes > 0
        && let Some(name) = names.pop()
    {
        let path = dir.join(&name);
        let Ok(about) = fs::symlink_metadata(&path) else {
            continue;
        };
        if about.is_dir() {
            let below = self::names(&path).unwrap_or_default();
            names.extend(below.iter().rev().map(|below| format!("{name}/{below}")));
        } else if about.is_file()
            && name.len() <= MAX_PATH_BYTES
            && about.len() > 0
            && is_text(&path)
        {
            let len_bytes = about.len().min(left_bytes);
            left_bytes -= len_bytes;
            files.push(Listed {
                path: name,
                len_bytes,
            });
        }
    }
    match files.is_empty() {
        true => Err(CorpusError::Empty(dir.to_owned())),
        false => Ok(files),
    }
}

/// The names in a directory in order; hidden ones and build output are left out, and names that are no text.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Whether a file looks like text: what is none has a zero byte early on.
fn is_text(path: &Path) -> bool {
    let mut start = [0; 512];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut start));
    matches!(read, Ok(len) if !start.iter().take(len).any(|byte| *byte == 0))
}

/// Reads one share of `shares` of what was listed.
pub fn read_share(dir: &Path, files: &[Listed], share: usize, shares: usize) -> Vec<Document> {
    let dealt = files.iter().skip(share).step_by(shares.max(1));
    dealt
        .filter_map(|file| {
            let mut contents = Vec::new();
            let opened = fs::File::open(dir.join(&file.path)).ok()?;
            opened
                .take(file.len_bytes)
                .read_to_end(&mut contents)
                .ok()?;
            Some(Document {
                path: file.path.clone(),
                contents,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is gone when the test is.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let dir =
                std::env::temp_dir().join(format!("baton-corpus-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Scratch(dir)
        }

        fn write(&self, path: &str, contents: &[u8]) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn sample(name: &str) -> Scratch {
        let scratch = Scratch::new(name);
        scratch.write("b.rs", b"bbbb");
        scratch.write("a/z.rs", b"zz");
        scratch.write("a/c/d.md", b"ddd");
        scratch.write("picture", b"\x7f\0\0");
        scratch.write("empty", b"");
        scratch.write(".hidden", b"h");
        scratch.write("target/out", b"t");
        scratch
    }

    fn paths(files: &[Listed]) -> Vec<(&str, u64)> {
        files
            .iter()
            .map(|f| (f.path.as_str(), f.len_bytes))
            .collect()
    }

    #[test]
    fn texts_come_in_the_order_of_their_paths() {
        let scratch = sample("order");
        let files = list(&scratch.0, 1000).unwrap();
        assert_eq!(paths(&files), [("a/c/d.md", 3), ("a/z.rs", 2), ("b.rs", 4)]);
    }

    #[test]
    fn the_limit_cuts_the_last_file() {
        let scratch = sample("limit");
        let files = list(&scratch.0, 6).unwrap();
        assert_eq!(paths(&files), [("a/c/d.md", 3), ("a/z.rs", 2), ("b.rs", 1)]);
        let files = list(&scratch.0, 3).unwrap();
        assert_eq!(paths(&files), [("a/c/d.md", 3)]);
    }

    #[test]
    fn shares_are_disjoint_and_make_the_whole() {
        let scratch = sample("shares");
        let files = list(&scratch.0, 6).unwrap();
        let mut all: Vec<Document> = (0..2)
            .flat_map(|share| read_share(&scratch.0, &files, share, 2))
            .collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        let contents: Vec<&[u8]> = all.iter().map(|d| d.contents.as_slice()).collect();
        assert_eq!(contents, [&b"ddd"[..], b"zz", b"b"]);
    }

    #[test]
    fn what_is_missing_or_empty_is_named() {
        let scratch = Scratch::new("missing");
        let missing = scratch.0.join("nowhere");
        assert!(
            matches!(list(&missing, 1), Err(CorpusError::Unreadable(dir, _)) if dir == missing)
        );
        assert!(matches!(list(&scratch.0, 1), Err(CorpusError::Empty(_))));
    }
}
