//! Baton's build tool, called as `cargo xtask`.
//!
//! Purpose: one command each for running the demo, the tests and the measurements, set-up included.
//! Invariant: what could not be run is said and never counted as passed. Neighbours: the binaries of
//! `host/demos`, `host/linux`, `tests` and `bench`, which this tool builds and starts.
#![forbid(unsafe_code)]

mod bare;
mod bench;
mod cli;
mod elf_size;
mod error;
mod fuzz;
mod image;
mod kernel;
mod kernel_bench;
mod kernel_latency;
mod kernel_pages;
mod kernel_plot;
mod kernel_programs;
mod kernel_requests;
mod kernel_rows;
mod kernel_targets;
mod links;
mod mutate;
mod mutations;
mod plot;
mod process;
mod qemu;
mod results;
mod show;
mod stages;
mod targets;
mod test;
mod tools;
mod user;

use std::path::Path;
use std::process::{Command, ExitCode};

use cli::Action;
use error::Error;
use process::{Workspace, run};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match cli::parse(&words).and_then(act) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ Error::Usage(_)) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> Result<(), Error> {
    if action == Action::Help {
        print!("{}", cli::HELP);
        return Ok(());
    }
    let workspace = Workspace::find()?;
    match action {
        Action::Help => Ok(()),
        Action::Run(options) => image::boot(&workspace, &options),
        Action::Show(options) => show::qemu(&workspace, &options),
        Action::RunLinux(rest) => show::linux(&workspace, &rest),
        Action::Test(options) => test::test(&workspace, &options),
        Action::BenchLinux(options) => bench::bench_linux(&workspace, &options),
        Action::BenchLatency(options) => kernel_latency::bench_latency(&workspace, &options),
        Action::BenchQemu(options) => kernel_bench::bench_qemu(&workspace, &options),
        Action::Kernel => image::kernels(&workspace),
        Action::Image(options) => image::image(&workspace, &options),
        Action::Gdb(root_task) => image::debug(&workspace, root_task.as_deref()),
        Action::Mutate(options) => mutate::mutate(&workspace, &options),
        Action::Dump(pids) => {
            let dump = workspace.build_release("baton-linux", "baton-dump")?;
            run(Command::new(dump).args(pids.iter().map(u32::to_string)))
        }
        Action::Plot(csv) => {
            let csv = Path::new(&csv);
            let dir = csv.parent().filter(|dir| !dir.as_os_str().is_empty());
            bench::plot(csv, dir.unwrap_or(Path::new(".")))
        }
    }
}
