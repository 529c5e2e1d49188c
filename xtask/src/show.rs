//! The demos that show a request on its way: each leaves a trace for Perfetto and a picture in `target/run`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::process::{Workspace, run};

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
