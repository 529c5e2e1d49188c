//! Asks running Baton processes what they are doing: `baton-dump [--trace on|off | --events | --chrome] PID...`.
//!
//! Without an option it prints their dumps: with the pids of two processes that call each other, who waits for whom.
#![forbid(unsafe_code)]

use baton_linux::Question;
use baton_linux::inspect::{PATIENCE_NS, inspect};
use baton_timeline::{Recording, Timeline};
use std::error::Error;
use std::process::ExitCode;

const USAGE: &str = "usage: baton-dump [--trace on|off | --events | --chrome] PID...";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (question, pids) = match words.as_slice() {
        ["--trace", "on", pids @ ..] => (Question::TraceOn, pids),
        ["--trace", "off", pids @ ..] => (Question::TraceOff, pids),
        ["--events", pids @ ..] => (Question::Events, pids),
        ["--chrome", pids @ ..] => (Question::Recording, pids),
        pids => (Question::Dump, pids),
    };
    if pids.is_empty() || pids.iter().any(|pid| pid.starts_with('-')) {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let mut failed = false;
    let mut recording = String::new();
    for pid in pids {
        match ask(pid, question) {
            Ok(answers) => {
                for (host, answer) in answers.into_iter().enumerate() {
                    if question == Question::Recording {
                        recording.push_str(&answer);
                    } else {
                        println!("--- process {pid}, host {host}");
                        println!("{}", answer.trim_end());
                    }
                }
            }
            Err(error) => {
                eprintln!("baton-dump: {error}");
                failed = true;
            }
        }
    }
    if question == Question::Recording {
        failed |= !print_timeline(&recording);
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn ask(pid: &str, question: Question) -> Result<Vec<String>, String> {
    let number = pid.parse::<i32>().ok().filter(|pid| *pid > 0);
    let number = number.ok_or_else(|| format!("{pid:?} is no process id"))?;
    // Twice the time that the process takes to answer for a hanging executor.
    inspect(number, question, 2 * PATIENCE_NS).map_err(|error| format!("process {number}: {error}"))
}

/// Prints the events of all processes for a trace viewer; whether that went well.
fn print_timeline(recording: &str) -> bool {
    let write = || -> Result<String, Box<dyn Error>> {
        let timeline = Timeline::new(Recording::read(recording)?)?;
        let mut json = String::new();
        timeline.write_chrome(&mut json)?;
        Ok(json)
    };
    match write() {
        Ok(json) => {
            println!("{json}");
            true
        }
        Err(error) => {
            eprintln!("baton-dump: {error}");
            false
        }
    }
}
