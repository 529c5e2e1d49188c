//! The root tasks that `cargo xtask bench qemu` boots, and the rows that each must report. To add one, add an entry to [`PROGRAMS`].

use crate::kernel_requests::{OUTSTANDING, POLL_OUTSTANDING, SENDERS, WAYS, YIELD_SENDERS};
use crate::kernel_rows::Row;
use crate::kernel_targets::{REQUESTS, SYNC, VARIANTS, WORKLOADS};
use crate::user::{App, BENCH, REQUEST};

/// The workload that is not asked for by name.
pub const BOOT: &str = "boot";

/// A root task that measures.
pub struct Program {
    /// Which.
    pub app: App<'static>,
    /// The rows that it reports when nothing is left out.
    rows: fn(Extent) -> Vec<Wanted>,
    /// The variants that it is asked for in a quick run; all if there are none.
    pub quick: &'static [&'static str],
}

/// On which kernel, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// What kind of kernel it is.
    pub build: Build,
    /// Whether only a first impression is wanted.
    pub quick: bool,
}

/// What kind of kernel is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// The kernel as one would use it.
    Release,
    /// The same without its fast path.
    SlowOnly,
    /// The same, but it counts its entries, which are all that is reported then.
    CountTraps,
}

/// All of them.
pub const PROGRAMS: &[Program] = &[
    Program {
        app: BENCH,
        rows: system_calls,
        quick: &[],
    },
    Program {
        app: REQUEST,
        rows: requests,
        quick: &["lanes_s1", "pairs_s1", "shared_s1", "lanes_s4"],
    },
];

/// What identifies a row that must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The workload.
    pub workload: &'static str,
    variant: String,
    outstanding: u64,
}

fn wanted(workload: &'static str, variant: &str) -> Wanted {
    Wanted {
        workload,
        variant: variant.to_owned(),
        outstanding: 1,
    }
}

fn system_calls(extent: Extent) -> Vec<Wanted> {
    let variants = match extent.build {
        Build::Release => &VARIANTS[..3],
        Build::SlowOnly => &VARIANTS[..1],
        Build::CountTraps => return Vec::new(),
    };
    let calls = WORKLOADS.iter().flat_map(|workload| {
        variants
            .iter()
            .map(|variant| wanted(workload.name, variant))
    });
    let mut rows: Vec<Wanted> = calls.collect();
    if extent.build == Build::Release {
        rows.push(wanted(BOOT, "release"));
        let requests = REQUESTS
            .iter()
            .flat_map(|name| SYNC.map(|variant| wanted(name, variant)));
        rows.extend(requests);
    }
    rows
}

/// Asynchronous requests: the same plan as in `user/apps/request/src/plan.rs`.
fn requests(extent: Extent) -> Vec<Wanted> {
    let mut rows = Vec::new();
    if extent.build == Build::SlowOnly {
        return rows;
    }
    let mut add =
        |way: &str, meanwhile: &str, senders: u64, words: &[&'static str], points: &[u64]| {
            let variant = format!("{way}{meanwhile}_s{senders}");
            for &workload in words {
                rows.extend(points.iter().map(|&outstanding| Wanted {
                    workload,
                    variant: variant.clone(),
                    outstanding,
                }));
            }
        };
    for way in WAYS {
        for senders in SENDERS {
            let words = if senders == 1 { 3 } else { 1 };
            add(way, "", senders, &REQUESTS[..words], &OUTSTANDING);
        }
        for senders in YIELD_SENDERS {
            add(way, "_yield", senders, &REQUESTS[..1], &OUTSTANDING);
        }
        add(way, "_poll", 1, &REQUESTS[..1], &POLL_OUTSTANDING);
    }
    let quick = PROGRAMS.iter().find(|program| program.app == REQUEST);
    if let Some(program) = quick.filter(|_| extent.quick) {
        rows.retain(|row| program.quick.contains(&row.variant.as_str()));
    }
    rows
}

impl Program {
    /// The rows that it must report if only these workloads are asked for; all if none is.
    pub fn wanted(&self, extent: Extent, only: &[String]) -> Vec<Wanted> {
        let mut rows = (self.rows)(extent);
        rows.retain(|row| {
            row.workload == BOOT || only.is_empty() || only.iter().any(|name| name == row.workload)
        });
        rows
    }
}

/// Everything that the kernel of this repository is measured with.
const WHOLE: Extent = Extent {
    build: Build::Release,
    quick: false,
};

/// The names of all workloads that can be asked for, in the order of the results.
pub fn workloads() -> Vec<&'static str> {
    let mut names = Vec::new();
    for row in PROGRAMS.iter().flat_map(|program| (program.rows)(WHOLE)) {
        if row.workload != BOOT && !names.contains(&row.workload) {
            names.push(row.workload);
        }
    }
    names
}

/// Whether the rows are those that must be there, each once.
///
/// # Errors
/// The first that is missing or there twice.
pub fn check(rows: &[Row], wanted: &[Wanted]) -> Result<(), String> {
    for key in wanted {
        let is_it = |row: &&Row| {
            row.workload == key.workload
                && row.variant == key.variant
                && row.outstanding == key.outstanding
        };
        let count = rows.iter().filter(is_it).count();
        if count != 1 {
            let Wanted {
                workload,
                variant,
                outstanding,
            } = key;
            return Err(format!(
                "{workload} {variant} with {outstanding} outstanding has {count} rows"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &Wanted) -> Row {
        Row {
            workload: key.workload.to_owned(),
            variant: key.variant.clone(),
            outstanding: key.outstanding,
            metric: "instructions".to_owned(),
            value: 1.0,
            unit: "instructions".to_owned(),
        }
    }

    #[test]
    fn missing_row_is_named() {
        let program = &PROGRAMS[0];
        let keys = program.wanted(WHOLE, &["call".to_owned()]);
        let mut rows: Vec<Row> = keys.iter().map(row).collect();
        assert_eq!(rows.len(), 4, "three variants and the boot");
        assert_eq!(check(&rows, &keys), Ok(()));
        let last = rows.pop().expect("the boot");
        let error = check(&rows, &keys).expect_err("the boot is missing");
        assert_eq!(error, "boot release with 1 outstanding has 0 rows");
        rows.extend([last.clone(), last]);
        assert!(check(&rows, &keys).is_err(), "it is there twice");
    }

    #[test]
    fn kernel_without_fast_path_has_one_variant() {
        let keys = PROGRAMS[0].wanted(
            Extent {
                build: Build::SlowOnly,
                quick: false,
            },
            &[],
        );
        assert_eq!(keys.len(), WORKLOADS.len());
        assert!(keys.iter().all(|key| key.variant == VARIANTS[0]));
    }

    #[test]
    fn workloads_have_their_names_once() {
        let names = workloads();
        assert_eq!(names.len(), WORKLOADS.len() + REQUESTS.len());
        assert!(names.contains(&"round_trip_0") && !names.contains(&BOOT));
    }

    #[test]
    fn quick_run_has_a_part_of_the_rows() {
        let quick = Extent {
            quick: true,
            ..WHOLE
        };
        let program = PROGRAMS.iter().find(|program| program.app == REQUEST);
        let program = program.expect("the requests");
        let (few, all) = (program.wanted(quick, &[]), program.wanted(WHOLE, &[]));
        assert!(few.len() < all.len() && few.iter().all(|row| all.contains(row)));
        for variant in program.quick {
            assert!(few.iter().any(|row| row.variant == *variant), "{variant}");
        }
    }
}
