//! The demo as it is run: real processes, one of them killed.

#[path = "../../timeline/tests/rules/mod.rs"]
mod rules;

use baton_demos::board::Scoreboard;
use baton_demos::report::Summary;
use baton_demos::services::BoardServer;
use baton_linux::{Grants, LinuxNode, NodeConfig, ServiceName};
use baton_rpc::Band;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::rc::Rc;

/// A directory that is gone when the test is.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("kv-demo-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    /// Texts of different lengths with common and rare words, some longer than a piece.
    fn with_corpus(name: &str) -> Scratch {
        let scratch = Scratch::new(name);
        for file in 0..40 {
            let words = (0..file * 50).map(|n| format!("common w{} f{file}_{n}\n", n % 83));
            let text: String = words.chain(["last".to_owned()]).collect();
            let dir = scratch.0.join(format!("part{}", file % 3));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(format!("{file}.txt")), text).unwrap();
        }
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&str], corpus: &Path) -> (Output, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-demo"));
    command.args(arguments).arg("--corpus").arg(corpus);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

/// The cells of the line that begins with this word.
fn cells<'t>(text: &'t str, start: &str) -> Vec<&'t str> {
    let mut lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = lines.find(|cells| cells.first() == Some(&start));
    found.unwrap_or_else(|| panic!("no line {start:?} in:\n{text}"))
}

#[test]
fn all_answers_are_right_although_a_client_is_killed() {
    let corpus = Scratch::with_corpus("run");
    let trace = corpus.0.join("trace.json");
    let arguments = [
        "--quick",
        "--clients",
        "3",
        "--trace",
        trace.to_str().unwrap(),
    ];
    let (output, out, err) = run(&arguments, &corpus.0);
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(err, "");

    for phase in [
        "load", "index", "read", "find", "find-all", "quote", "count", "remove",
    ] {
        let cells = cells(&out, phase);
        let number = |place: usize| cells[place].parse::<f64>().unwrap();
        assert!(number(1) > 0.0 && number(2) > 0.0, "{out}");
        assert!(number(3) <= number(4) && number(4) <= number(5), "{out}");
        assert_eq!((cells[6], cells[7]), (cells[1], "0"), "{out}");
    }
    assert!(out.contains("client 1 was killed (SIGKILL)"), "{out}");
    for server in ["store", "index"] {
        assert_ne!(cells(&out, server)[1], "0");
        let gone = |line: &&str| line.contains(&format!("{server}: client 1 (pid"));
        assert!(
            out.lines()
                .find(gone)
                .is_some_and(|line| line.contains("the peer is gone")),
            "{out}"
        );
    }

    // Nobody is left.
    let pids = out
        .lines()
        .filter_map(|line| line.split_once("started (pid "));
    let pids: Vec<&str> = pids.map(|(_, pid)| pid.trim_end_matches(')')).collect();
    assert_eq!(pids.len(), 5);
    assert!(
        pids.iter()
            .all(|pid| !Path::new("/proc").join(pid).exists())
    );

    // A nested call goes from the client over the index to the store, and each request through its eight steps.
    let json = fs::read_to_string(&trace).unwrap();
    let checked = rules::check(&json);
    let mut processes: Vec<&String> = checked.processes.values().collect();
    processes.sort();
    assert_eq!(processes, ["client 0", "client 2", "index", "store"]);
    let from_to = |client: &str, server: &str| {
        let whole = [
            ("call", client),
            ("submit", client),
            ("drain", server),
            ("serve", server),
            ("reply", server),
            ("drain_answer", client),
            ("resume", client),
        ];
        checked.flows.keys().any(|flow| {
            let mut way = checked.way(*flow);
            way.retain(|(step, _)| *step != "ring");
            way == whole
        })
    };
    assert!(from_to("client 0", "index") || from_to("client 2", "index"));
    assert!(from_to("index", "store"));
    let picture = fs::read_to_string(trace.with_extension("svg")).unwrap();
    assert!(picture.contains("1 call") && picture.contains("8 resume"));
    let parts = fs::read_dir(&corpus.0).unwrap();
    let mut names = parts.map(|part| part.unwrap().file_name().into_string().unwrap());
    assert!(!names.any(|name| name.ends_with(".part")));
}

#[test]
fn a_missing_corpus_is_named() {
    let scratch = Scratch::new("missing");
    let missing = scratch.0.join("nowhere");
    let (output, _, err) = run(&["--quick"], &missing);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("nowhere cannot be read"), "{err}");
    let (output, _, err) = run(&["--quick"], &scratch.0);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("there are no text files below"), "{err}");
}

#[test]
fn a_trace_that_cannot_be_written_is_no_surprise_at_the_end() {
    let corpus = Scratch::with_corpus("trace");
    let trace = corpus.0.join("nowhere/trace.json");
    let (output, out, err) = run(&["--quick", "--trace", trace.to_str().unwrap()], &corpus.0);
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("cannot write the trace"), "{err}");
    assert!(!out.contains("started"), "{out}");
}

#[test]
fn a_bad_option_is_explained() {
    let (output, out, err) = run(&["--clients", "many"], Path::new("."));
    assert_eq!((output.status.code(), out.as_str()), (Some(2), ""));
    assert!(err.contains("--clients needs a whole number"), "{err}");
}

#[test]
fn a_name_in_use_is_said_with_its_holder() {
    let corpus = Scratch::with_corpus("name");
    let prefix = format!("kv-demo-test.{}", std::process::id());
    let name = ServiceName::new(&format!("{prefix}.board")).unwrap();
    let node = LinuxNode::start(NodeConfig::default()).unwrap();
    let board = Rc::new(BoardServer(Scoreboard::<Summary>::new(1)));
    let served = node
        .handle()
        .serve(&name, board, Grants::default(), Band::NORMAL);
    served.unwrap();
    let (output, _, err) = run(&["--quick", "--name", &prefix], &corpus.0);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "the name {name} is in use by process {}",
        std::process::id()
    );
    assert!(err.contains(&expected), "{err}");
}
