//! The command line, of the parent process and of those it starts.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What `kv-demo --help` prints.
pub const HELP: &str = "\
A key-value store, a word index and several clients, each a process of its own, over Baton.

The clients store and index a corpus of real texts, ask for it in several ways with many requests under
way, and compare every answer with plain maps of their own. In the middle, one client is killed. The exit
code is 0 only if all other answers came and were right.

kv-demo [OPTIONS]

  --corpus DIR      Texts to load; by default the sources that cargo has downloaded.
  --megabytes N     How much of them (default 16).
  --clients N       Client processes, 1 to 32 (default 4). With only one, none is killed.
  --outstanding N   Requests under way in each client, 1 to 256 (default 64).
  --seconds N       Time for questions, split over their four phases (default 16).
  --quick           The same as --megabytes 1 --seconds 1.
  --trace FILE      Also write 5 ms of all processes to FILE, for ui.perfetto.dev or chrome://tracing, and a
                    picture of one request to the file of that name that ends in .svg.
  --name NAME       Prefix of the services' names (default kv-demo.PID).
  --help            This text.
";

/// Most client processes.
pub const MAX_CLIENTS: u32 = 32;
/// Most requests under way in a client.
pub const MAX_OUTSTANDING: u32 = 256;

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Starts and watches all others.
    Parent,
    /// Serves the store.
    Store,
    /// Serves the index.
    Index,
    /// Client of this number.
    Client(u32),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Parent => f.write_str("parent"),
            Role::Store => f.write_str("store"),
            Role::Index => f.write_str("index"),
            Role::Client(number) => write!(f, "client {number}"),
        }
    }
}

/// Everything that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What this process is there for.
    pub role: Role,
    /// Where the texts are; to be found when none.
    pub corpus: Option<PathBuf>,
    /// How much text to load, in units of 1 000 000 bytes.
    pub megabytes: u64,
    /// How many client processes.
    pub clients: u32,
    /// How many requests each of them has under way.
    pub outstanding: u32,
    /// How long to ask questions.
    pub seconds: u64,
    /// Where to write a trace.
    pub trace: Option<PathBuf>,
    /// How names of services begin.
    pub name: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            role: Role::Parent,
            corpus: None,
            megabytes: 16,
            clients: 4,
            outstanding: 64,
            seconds: 16,
            trace: None,
            name: format!("kv-demo.{}", std::process::id()),
        }
    }
}

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// There is no such option.
    Unknown(String),
    /// The option needs a value behind it.
    NoValue(&'static str),
    /// The value is not possible.
    BadValue {
        /// Of which option.
        option: &'static str,
        /// What stood there.
        value: String,
        /// What could stand there.
        expected: String,
    },
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::Unknown(word) => write!(f, "there is no option {word:?}")?,
            UsageError::NoValue(option) => write!(f, "{option} needs a value")?,
            UsageError::BadValue {
                option,
                value,
                expected,
            } => write!(f, "{option} needs {expected}, not {value:?}")?,
        }
        f.write_str("; --help lists all options")
    }
}

impl std::error::Error for UsageError {}

/// Understands the words of a command line; none when help was asked for.
///
/// # Errors
///
/// [`UsageError`] says which word, and what could stand there.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Option<Options>, UsageError> {
    let mut options = Options::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.to_str().unwrap_or_default() {
            "--help" | "-h" => return Ok(None),
            "--corpus" => options.corpus = Some(value("--corpus", &mut words)?.into()),
            "--trace" => options.trace = Some(trace_file(&mut words)?),
            "--name" => options.name = text("--name", &mut words)?,
            "--megabytes" => options.megabytes = number("--megabytes", &mut words, 100_000)?,
            "--seconds" => options.seconds = number("--seconds", &mut words, 100_000)?,
            "--clients" => options.clients = number("--clients", &mut words, MAX_CLIENTS)?,
            "--outstanding" => {
                options.outstanding = number("--outstanding", &mut words, MAX_OUTSTANDING)?;
            }
            "--quick" => (options.megabytes, options.seconds) = (1, 1),
            // For the parent's use.
            "--role" => options.role = role(&text("--role", &mut words)?)?,
            _ => return Err(UsageError::Unknown(word.to_string_lossy().into_owned())),
        }
    }
    Ok(Some(options))
}

impl Options {
    /// How long each of the four phases of questions lasts.
    pub fn phase_ns(&self) -> u64 {
        self.seconds * 1_000_000_000 / 4
    }

    /// The words by which a process of another role gets the same options.
    pub fn to_words(&self, role: Role) -> Vec<OsString> {
        let role = match role {
            Role::Client(number) => number.to_string(),
            other => other.to_string(),
        };
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |option: &str, value: OsString| words.extend([option.into(), value]);
        add("--role", role.into());
        add("--name", self.name.clone().into());
        add("--megabytes", self.megabytes.to_string().into());
        add("--clients", self.clients.to_string().into());
        add("--outstanding", self.outstanding.to_string().into());
        add("--seconds", self.seconds.to_string().into());
        for (option, path) in [("--corpus", &self.corpus), ("--trace", &self.trace)] {
            if let Some(path) = path {
                add(option, path.into());
            }
        }
        words
    }
}

type Words<'w> = &'w mut dyn Iterator<Item = OsString>;

fn value(option: &'static str, words: Words<'_>) -> Result<OsString, UsageError> {
    words.next().ok_or(UsageError::NoValue(option))
}

fn text(option: &'static str, words: Words<'_>) -> Result<String, UsageError> {
    let value = value(option, words)?;
    value.into_string().map_err(|value| UsageError::BadValue {
        option,
        value: value.to_string_lossy().into_owned(),
        expected: "text in UTF-8".to_owned(),
    })
}

/// A number from 1 to `most`.
fn number<N>(option: &'static str, words: Words<'_>, most: N) -> Result<N, UsageError>
where
    N: std::str::FromStr + PartialOrd + From<u8> + fmt::Display,
{
    let value = text(option, words)?;
    let number = value.parse().ok();
    number
        .filter(|number| *number >= N::from(1) && *number <= most)
        .ok_or(UsageError::BadValue {
            option,
            value,
            expected: format!("a whole number from 1 to {most}"),
        })
}

/// Where the trace goes; the picture beside it has a name of its own.
fn trace_file(words: Words<'_>) -> Result<PathBuf, UsageError> {
    let path = PathBuf::from(value("--trace", words)?);
    if path.extension().is_some_and(|extension| extension == "svg") {
        return Err(UsageError::BadValue {
            option: "--trace",
            value: path.to_string_lossy().into_owned(),
            expected: "a file that does not end in .svg, for the picture beside it does".to_owned(),
        });
    }
    Ok(path)
}

fn role(value: &str) -> Result<Role, UsageError> {
    match value {
        "store" => Ok(Role::Store),
        "index" => Ok(Role::Index),
        number => number
            .parse()
            .map(Role::Client)
            .map_err(|_| UsageError::BadValue {
                option: "--role",
                value: value.to_owned(),
                expected: "store, index or a client's number".to_owned(),
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Option<Options>, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_survive_the_way_to_another_process() {
        let line =
            "--corpus some/where --clients 3 --outstanding 7 --name n --trace t.json --quick";
        let options = of(line).unwrap().unwrap();
        let there = parse(options.to_words(Role::Client(2))).unwrap().unwrap();
        let role = Role::Client(2);
        assert_eq!(there, Options { role, ..options });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let complaint = |line| of(line).unwrap_err().to_string();
        assert!(
            complaint("--clients 0").starts_with("--clients needs a whole number from 1 to 32")
        );
        assert!(complaint("--clients 33").contains("\"33\""));
        assert!(complaint("--megabytes").starts_with("--megabytes needs a value"));
        assert!(complaint("--trace a.svg").starts_with("--trace needs a file that does not end"));
        assert!(complaint("--speed 9").contains("no option \"--speed\""));
        assert_eq!(of("--clients 2 --help"), Ok(None));
    }
}
