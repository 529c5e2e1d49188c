//! Measures Baton: typed calls between Linux processes, and their instructions on one thread.
//!
//! Purpose: the programs behind the rows of `linux.csv` (`lanes` and `counted`), the order in which they are measured
//! (`plan`), and the commands of both binaries (`command`). The file's columns and peers are described where they are made.
//!
//! Neighbours: `baton-bench-harness` starts, pins, interleaves and counts; `baton-bench-references` has what Baton's figures are
//! divided by; `baton-bench-peers`, a package of its own, has what one would use instead. `xtask` builds, runs and plots.
#![forbid(unsafe_code)]

pub mod command;
pub mod counted;
pub mod counting;
pub mod echo;
pub mod lanes;
pub mod plan;
