//! The demos that show a request on its way: each leaves a trace for Perfetto and a picture in `target/run`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use baton_timeline::{Recording, Timeline};

use crate::bare::Bare;
use crate::error::Error;
use crate::image;
use crate::kernel::Flavour;
use crate::process::{Workspace, capture_until, run, run_and_keep, run_until};
use crate::qemu::{MEMORY_MIB, Machine};
use crate::user::{App, SHOW, STORE, image_of};

/// Its processes read the counter of instructions, which repeats only so.
const MACHINE: Machine = Machine {
    memory_mib: MEMORY_MIB,
    count_instructions: true,
    wait_for_debugger: false,
};
/// What is shown, and the file that its trace goes to.
const SHOWN: [(App<'_>, &str); 2] = [(SHOW, "qemu.json"), (STORE, "store.json")];
/// Where the files go, in the target directory.
const DIR: &str = "run";

/// Where a file of a demo goes; its directory is made.
fn output(workspace: &Workspace, file: &str) -> Result<PathBuf, Error> {
    let dir = workspace.target.join(DIR);
    fs::create_dir_all(&dir).map_err(Error::file("make", &dir))?;
    Ok(dir.join(file))
}

/// Runs the demo on Linux with these arguments; it writes its trace to where they say, or to `target/run`.
///
/// # Errors
/// That it does not build, or that something went wrong in it.
pub fn linux(workspace: &Workspace, args: &[String]) -> Result<(), Error> {
    let demo = workspace.build_release("baton-demos", "kv-demo")?;
    let mut command = Command::new(demo);
    command.args(args);
    if !args.iter().any(|arg| arg == "--trace" || arg == "--help") {
        command.arg("--trace").arg(output(workspace, "linux.json")?);
    }
    run(&mut command)
}

/// Boots the root task that shows what a request takes, and then one with real services and clients, on Baton's kernel or that of the
/// options; from what their processes print of their traces, makes a file for Perfetto and a picture of each.
///
/// # Errors
/// That something does not build, that something went wrong in the machine, or that there is no trace.
pub fn qemu(workspace: &Workspace, options: &image::Options) -> Result<(), Error> {
    for (app, file) in SHOWN {
        let options = image::Options {
            root_task: PathBuf::from(app.0),
            ..options.clone()
        };
        let image = image::make(workspace, &options)?;
        let lines = run_and_keep(&mut MACHINE.boot(&image)?, is_of_trace)?;
        write(&lines, &output(workspace, file)?)?;
    }
    Ok(())
}

/// Sees whether [`qemu`] goes well, for the tests: all processes end well, and their traces can be joined to a file that keeps the
/// rules of trace files.
///
/// # Errors
/// As [`qemu`], and that the machine has not ended by the deadline.
pub fn comes_through(
    workspace: &Workspace,
    bare: &Bare,
    deadline: Instant,
    limit_s: u64,
) -> Result<(), Error> {
    for (app, file) in SHOWN {
        let (image, _) = image_of(workspace, bare, app, Flavour::Release)?;
        let console = capture_until(&mut MACHINE.boot(&image)?, deadline, limit_s)?;
        let others: Vec<&str> = console.lines().filter(|line| !is_of_trace(line)).collect();
        println!("{}", others.join("\n"));
        let trace = output(workspace, file)?;
        write(&console, &trace)?;
        let rules = [
            "test",
            "--package",
            "baton-timeline",
            "--test",
            "file",
            "--",
            "--ignored",
            "--nocapture",
        ];
        let mut check = workspace.cargo(rules);
        run_until(check.env("BATON_TRACE_FILE", &trace), deadline, limit_s)?;
    }
    Ok(())
}

/// Whether a line of the console belongs to a trace, and so is not for people.
fn is_of_trace(line: &str) -> bool {
    line.contains(baton_trace::MARK)
}

/// Joins the recordings in these lines, and writes the trace to that file and the picture beside it.
///
/// # Errors
/// That the lines are no recordings, that no request went its whole way, or that a file cannot be written.
fn write(lines: &str, trace: &Path) -> Result<(), Error> {
    let unreadable = |reason: String| Error::Check(format!("the trace cannot be made: {reason}"));
    let recording = Recording::read(lines).map_err(|error| unreadable(error.to_string()))?;
    let timeline = Timeline::new(recording).map_err(|error| unreadable(error.to_string()))?;
    let request = timeline.typical();
    let request = request.ok_or_else(|| {
        unreadable("of no request all steps from call to resume were recorded".to_owned())
    })?;
    let (mut json, mut svg) = (String::new(), String::new());
    // Writing to a string cannot fail.
    let _ = timeline.write_chrome(&mut json);
    let _ = timeline.write_picture(request, &mut svg);
    let picture = trace.with_extension("svg");
    for (path, text) in [(trace, json), (&picture, svg)] {
        fs::write(path, text).map_err(Error::file("write", path))?;
    }
    let requests = timeline.requests();
    let complete = requests.iter().filter(|r| r.is_complete()).count();
    println!(
        "trace of {} processes, {} requests, {complete} of them from call to resume: {} (open it in ui.perfetto.dev)",
        timeline.processes().len(),
        requests.len(),
        trace.display()
    );
    println!("one request as a picture: {}", picture.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a console shows of two processes and one request.
    const CONSOLE: &str = "booting\n\
        @trace begins,1,instructions,server\n@trace connection,1,0,2,0,client\n\
        @trace event,1,0,300,drain,0,1,a,0\n@trace event,1,1,310,serve,0,1,a,0\n@trace event,1,2,350,reply,0,1,a,0\n\
        client: what it says\n\
        @trace ends,1,3\n\
        @trace begins,2,instructions,client\n@trace connection,2,0,1,0,server\n\
        @trace event,2,0,100,call,0,7,a,0\n@trace event,2,1,150,submit,0,7,a,0\n\
        @trace event,2,2,400,drain_answer,0,7,a,0\n@trace event,2,3,410,resume,0,7,a,0\n@trace ends,2,4\n";

    #[test]
    fn a_console_becomes_a_trace_and_a_picture() {
        let dir = std::env::temp_dir().join(format!("baton-show-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        let trace = dir.join("t.json");
        let written = write(CONSOLE, &trace);
        let json = fs::read_to_string(&trace);
        let svg = fs::read_to_string(dir.join("t.svg"));
        let nothing = write("no line of a trace", &trace);
        let incomplete = write(
            CONSOLE.split("@trace begins,2").next().unwrap_or(""),
            &trace,
        );
        fs::remove_dir_all(&dir).expect("a temporary directory");
        written.expect("a whole request");
        assert!(json.expect("a trace").contains("instructions retired"));
        assert!(
            svg.expect("a picture")
                .contains("310 instr. from call to resume")
        );
        let why = |result: Result<(), Error>| result.expect_err("no request").to_string();
        assert!(why(nothing).contains("there is no recording"));
        assert!(why(incomplete).contains("of no request all steps"));
    }
}
