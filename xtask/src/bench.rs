//! `cargo xtask bench` and `cargo xtask plot`: measure, draw, and compare with the targets.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::kernel_bench;
use crate::kernel_rows::Rows;
use crate::plot::plot_all;
use crate::process::{Workspace, run};
use crate::results::Results;
use crate::targets;
use crate::tools::ensure;

const PEERS_MANIFEST: &str = "bench/peers/Cargo.toml";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Fewer and shorter samples.
    pub quick: bool,
    /// Measure what a user would pick instead, too.
    pub peers: bool,
}

/// Measures on Linux and writes `bench/linux.csv` and its plots into the target directory.
///
/// # Errors
/// Those of building, running and reading the results.
pub fn bench_linux(workspace: &Workspace, options: &Options) -> Result<(), Error> {
    let dir = workspace.target.join("bench");
    fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
    let csv = dir.join("linux.csv");

    let valgrind = ensure("valgrind", "valgrind", "it counts the instructions");
    let bench = workspace.build_release("baton-bench", "baton-bench")?;
    let mut command = Command::new(bench);
    command.arg("--out").arg(&csv).current_dir(&workspace.root);
    if options.quick {
        command.arg("--quick");
    }
    match &valgrind {
        Ok(path) => {
            command.arg("--valgrind").arg(path);
        }
        Err(error) => println!("{error}\nGoing on without the rows that count instructions."),
    }
    if options.peers {
        let target = workspace.target.join("peers");
        let mut build = workspace.cargo(["build", "--release", "--manifest-path", PEERS_MANIFEST]);
        run(build.env("CARGO_TARGET_DIR", &target))?;
        command
            .arg("--peers-bin")
            .arg(target.join("release").join("baton-bench-peers"));
    }
    // Figures of an earlier run must not pass for this one's.
    if csv.exists() {
        fs::remove_file(&csv).map_err(Error::file("remove", &csv))?;
    }
    let measured = run(&mut command);
    // A peer that failed costs its own rows only; what was measured is shown before that is reported.
    if csv.exists() {
        println!("{}", csv.display());
        plot(&csv, &dir)?;
    }
    measured
}

/// Draws the plots of a results file (of either kind) into `dir` and prints the targets.
///
/// # Errors
/// `File`, `Csv` or `Plot`.
pub fn plot(csv: &Path, dir: &Path) -> Result<(), Error> {
    let text = fs::read_to_string(csv).map_err(Error::file("read", csv))?;
    if Rows::is_file(&text) {
        return kernel_bench::plot(&text, dir);
    }
    let results = Results::parse(&text)?;
    plot_all(&results, dir)?;
    print!("\n{}", targets::table(&results));
    Ok(())
}
