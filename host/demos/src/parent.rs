//! The parent process: starts all others, serves the board, shows progress, kills one client, and sums up.

use crate::args::{Options, Role};
use crate::board::Scoreboard;
use crate::client::RESULT_BYTES;
use crate::corpus::{self, Place};
use crate::processes::{BOARD_CREDITS, ProcessError, service_name};
use crate::progress::Progress;
use crate::report::Summary;
use crate::services::{BoardServer, Phase, ServerKind};
use crate::trace;
use baton_linux::{Grants, LinuxHandle, LinuxNode, NodeConfig};
use baton_rpc::{Band, Mode, Platform};
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;

/// Between two looks at the processes.
const TICK_NS: u64 = 20_000_000;
/// After so many looks at which nothing had happened, something hangs.
const PATIENCE_TICKS: u32 = 3000;
/// The client that is killed has asked so many questions before.
const KILL_AFTER: u64 = 512;
/// What `kill -9` sends.
const SIGKILL: i32 = 9;

/// Why the demo failed.
#[derive(Debug)]
pub enum DemoError {
    /// The parent's own part failed.
    Process(ProcessError),
    /// A process could not be started.
    Spawn(Role, io::Error),
    /// A process ended before its time; it has said why on its standard error.
    Ended(Role, ExitStatus),
    /// Nothing has happened for a long time.
    Stuck(Vec<(Role, u32)>),
    /// Not every answer was right, or not every phase was gone through.
    Wrong {
        /// Wrong answers.
        wrong: u64,
        /// A phase without any requests.
        empty: Option<Phase>,
    },
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DemoError::Process(error) => error.fmt(f),
            DemoError::Spawn(role, error) => write!(f, "cannot start {role}: {error}"),
            DemoError::Ended(role, status) => write!(f, "{role} ended before its time: {status}"),
            DemoError::Stuck(processes) => {
                f.write_str("nothing has happened for a minute; what was still running:")?;
                processes
                    .iter()
                    .try_for_each(|(role, pid)| write!(f, " {role} (pid {pid})"))
            }
            DemoError::Wrong {
                empty: Some(phase), ..
            } => write!(f, "there were no requests in phase {}", phase.name()),
            DemoError::Wrong { wrong, .. } => write!(f, "{wrong} answers were wrong"),
        }
    }
}

impl std::error::Error for DemoError {}

impl From<ProcessError> for DemoError {
    fn from(error: ProcessError) -> Self {
        DemoError::Process(error)
    }
}

/// Runs the demo, and prints how it went.
///
/// # Errors
///
/// [`DemoError`].
pub fn run(mut options: Options) -> Result<(), DemoError> {
    let place = find_corpus(&options)?;
    let limit_bytes = options.megabytes * 1_000_000;
    let files = corpus::list(&place.dir, limit_bytes).map_err(ProcessError::Corpus)?;
    let bytes: u64 = files.iter().map(|file| file.len_bytes).sum();
    println!(
        "corpus: {:.1} MB in {} files of {} ({})",
        bytes as f64 / 1e6,
        files.len(),
        place.dir.display(),
        place.what
    );
    if let Some(path) = &options.trace {
        trace::prepare(path)?;
    }
    // So that all processes take the same.
    options.corpus = Some(place.dir);

    let node = LinuxNode::start(NodeConfig {
        name: Some(options.role.to_string()),
        ..NodeConfig::default()
    })
    .map_err(ProcessError::Start)?;
    let board = Rc::new(BoardServer(Scoreboard::<Summary>::new(options.clients)));
    let grants = Grants {
        max_credits: BOARD_CREDITS,
        max_request_bulk_bytes: RESULT_BYTES,
        ..Grants::default()
    };
    let handle = node.handle();
    handle
        .serve(
            &service_name(&options, "board")?,
            board.clone(),
            grants,
            Band::NORMAL,
        )
        .map_err(ProcessError::Serve)?;
    let mut troupe = Troupe {
        options: &options,
        board: &board.0,
        handle,
        children: Vec::new(),
        progress: Progress::new(),
        idle_ticks: 0,
    };
    // Ticks are all that happens here, so there is nothing to spin for.
    let done = node.run_until(Mode::Park, troupe.perform());
    done.map_err(ProcessError::Run)??;

    let summary = board.0.summary();
    println!("\n{summary}");
    println!(
        "{} answers were verified, {} were wrong",
        summary.verified(),
        summary.wrong()
    );
    if let Some(path) = &options.trace {
        let roles = troupe.children.iter().map(|child| child.role);
        println!("{}", trace::join(path, roles)?);
    }
    verdict(&summary)
}

fn find_corpus(options: &Options) -> Result<Place, ProcessError> {
    match &options.corpus {
        Some(dir) => Ok(Place {
            dir: dir.clone(),
            what: "as asked for",
        }),
        None => corpus::locate().map_err(ProcessError::Corpus),
    }
}

/// Only what was asked and answered rightly in every phase passes.
fn verdict(summary: &Summary) -> Result<(), DemoError> {
    let requests = |phase: &Phase| summary.phases.get(phase).map_or(0, |r| r.requests);
    let empty = Phase::WORK.into_iter().find(|phase| requests(phase) == 0);
    match (summary.wrong(), empty) {
        (0, None) => Ok(()),
        (wrong, empty) => Err(DemoError::Wrong { wrong, empty }),
    }
}

/// A process that was started. It does not outlive its parent's interest.
struct Process {
    role: Role,
    child: Child,
    ended: bool,
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            // It may have ended by itself meanwhile.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// All processes, and what is known about them.
struct Troupe<'o> {
    options: &'o Options,
    board: &'o Scoreboard<Summary>,
    handle: LinuxHandle,
    children: Vec<Process>,
    progress: Progress,
    idle_ticks: u32,
}

impl Troupe<'_> {
    async fn perform(&mut self) -> Result<(), DemoError> {
        for (role, kind) in [
            (Role::Store, ServerKind::Store),
            (Role::Index, ServerKind::Index),
        ] {
            self.start(role)?;
            // Who comes next connects to it at once.
            while !self.board.is_ready(kind) {
                self.tick().await?;
            }
        }
        for number in 0..self.options.clients {
            self.start(Role::Client(number))?;
        }
        if self.options.clients > 1 {
            self.kill_in_the_middle(self.options.clients / 2).await?;
        } else {
            self.progress
                .line("there is only one client; none is killed");
        }
        while self.children.iter().any(|child| !child.ended) {
            self.tick().await?;
        }
        self.progress.end();
        Ok(())
    }

    fn start(&mut self, role: Role) -> Result<(), DemoError> {
        let spawned = std::env::current_exe().and_then(|program| {
            let mut command = Command::new(program);
            command.args(self.options.to_words(role));
            command.stdin(Stdio::null()).spawn()
        });
        let child = spawned.map_err(|error| DemoError::Spawn(role, error))?;
        self.progress
            .line(&format!("{role} started (pid {})", child.id()));
        self.children.push(Process {
            role,
            child,
            ended: false,
        });
        Ok(())
    }

    /// Waits a little, and sees how things stand.
    async fn tick(&mut self) -> Result<(), DemoError> {
        // Where no timer is free, ticks come faster.
        let _ = self.handle.executor().sleep(TICK_NS).await;
        for process in self.children.iter_mut().filter(|child| !child.ended) {
            let role = process.role;
            let ended = process
                .child
                .try_wait()
                .map_err(|error| DemoError::Spawn(role, error))?;
            if let Some(status) = ended {
                process.ended = true;
                self.idle_ticks = 0;
                if !status.success() {
                    return Err(DemoError::Ended(role, status));
                }
            }
        }
        // At the end all connections end, and there is nothing to say about that.
        for line in self.board.take_lines() {
            if !self.board.all_at(Phase::Done) {
                self.progress.line(&line);
            }
        }
        let moved = self.progress.show(&self.board.members());
        self.idle_ticks = if moved { 0 } else { self.idle_ticks + 1 };
        if self.idle_ticks < PATIENCE_TICKS {
            return Ok(());
        }
        let running = self.children.iter().filter(|child| !child.ended);
        let running = running.map(|child| (child.role, child.child.id()));
        Err(DemoError::Stuck(running.collect()))
    }

    /// Waits until a client is well into its questions, with requests under way at the index, and kills it.
    async fn kill_in_the_middle(&mut self, number: u32) -> Result<(), DemoError> {
        // It must not slip away into a later phase, however late we look.
        self.board.hold_at(Some(Phase::Find));
        while !self.has_asked(number, KILL_AFTER) {
            self.tick().await?;
        }
        let executor = self.handle.executor().clone();
        let now_ns = || executor.platform().now_ns();
        let middle_ns = now_ns() + self.options.phase_ns() / 2;
        while now_ns() < middle_ns {
            self.tick().await?;
        }
        self.kill(number)?;
        self.board.hold_at(None);
        Ok(())
    }

    fn has_asked(&self, number: u32, questions: u64) -> bool {
        let members = self.board.members();
        let member = members.get(number as usize);
        member.is_some_and(|member| match member.phase {
            Some(Phase::Find) => member.done >= questions,
            // It was so quick that it waits for the next phase already.
            phase => phase > Some(Phase::Find),
        })
    }

    /// Kills a client as `kill -9` does, and lets the others know that it will not come.
    fn kill(&mut self, number: u32) -> Result<(), DemoError> {
        let role = Role::Client(number);
        let mut children = self.children.iter_mut();
        let Some(process) = children.find(|child| child.role == role) else {
            return Ok(());
        };
        let killed = process.child.kill().and_then(|()| process.child.wait());
        let status = killed.map_err(|error| DemoError::Spawn(role, error))?;
        process.ended = true;
        if status.signal() != Some(SIGKILL) {
            return Err(DemoError::Ended(role, status));
        }
        self.progress
            .line(&format!("{role} was killed (SIGKILL); the others go on"));
        self.board.bury(number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Results;
    use crate::tally::Tally;

    #[test]
    fn one_wrong_answer_or_one_empty_phase_is_a_failure() {
        let mut right = Results::default();
        right.count(1, true, String::new);
        let mut summary = Summary::default();
        for phase in Phase::WORK {
            summary.phases.insert(phase, right.clone());
        }
        assert!(verdict(&summary).is_ok());

        let mut wrong = summary.clone();
        let quote = wrong.phases.get_mut(&Phase::Quote).unwrap();
        quote.count(1, false, String::new);
        let error = verdict(&wrong).unwrap_err().to_string();
        assert_eq!(error, "1 answers were wrong");

        summary.phases.remove(&Phase::Remove);
        let error = verdict(&summary).unwrap_err().to_string();
        assert_eq!(error, "there were no requests in phase remove");
    }
}
