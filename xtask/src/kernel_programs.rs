//! The root tasks that `cargo xtask bench qemu` boots, and the rows that each must report. To add one, add an entry to [`PROGRAMS`].

use crate::kernel_rows::Row;
use crate::kernel_targets::{REQUESTS, SYNC, VARIANTS, WORKLOADS};
use crate::user::{App, BENCH};

/// The workload that is not asked for by name.
pub const BOOT: &str = "boot";

/// A root task that measures.
pub struct Program {
    /// Which.
    pub app: App<'static>,
    /// The rows that it reports when nothing is left out; of a kernel without fast path if that is so.
    rows: fn(bool) -> Vec<Wanted>,
}

/// All of them.
pub const PROGRAMS: &[Program] = &[Program {
    app: BENCH,
    rows: system_calls,
}];

/// What identifies a row that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The workload.
    pub workload: &'static str,
    variant: &'static str,
    outstanding: u64,
}

const fn wanted(workload: &'static str, variant: &'static str) -> Wanted {
    Wanted {
        workload,
        variant,
        outstanding: 1,
    }
}

fn system_calls(slow_only: bool) -> Vec<Wanted> {
    let variants = if slow_only {
        &VARIANTS[..1]
    } else {
        &VARIANTS[..3]
    };
    let calls = WORKLOADS.iter().flat_map(|workload| {
        variants
            .iter()
            .map(|variant| wanted(workload.name, variant))
    });
    let mut rows: Vec<Wanted> = calls.collect();
    if !slow_only {
        rows.push(wanted(BOOT, "release"));
        let requests = REQUESTS
            .iter()
            .flat_map(|name| SYNC.map(|variant| wanted(name, variant)));
        rows.extend(requests);
    }
    rows
}

impl Program {
    /// The rows that it must report if only these workloads are asked for; all if none is.
    pub fn wanted(&self, slow_only: bool, only: &[String]) -> Vec<Wanted> {
        let mut rows = (self.rows)(slow_only);
        rows.retain(|row| {
            row.workload == BOOT || only.is_empty() || only.iter().any(|name| name == row.workload)
        });
        rows
    }
}

/// The names of all workloads that can be asked for, in the order of the results.
pub fn workloads() -> Vec<&'static str> {
    let mut names = Vec::new();
    for row in PROGRAMS.iter().flat_map(|program| (program.rows)(false)) {
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
            variant: key.variant.to_owned(),
            outstanding: key.outstanding,
            metric: "instructions".to_owned(),
            value: 1.0,
            unit: "instructions".to_owned(),
        }
    }

    #[test]
    fn missing_row_is_named() {
        let program = &PROGRAMS[0];
        let keys = program.wanted(false, &["call".to_owned()]);
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
        let keys = PROGRAMS[0].wanted(true, &[]);
        assert_eq!(keys.len(), WORKLOADS.len());
        assert!(keys.iter().all(|key| key.variant == VARIANTS[0]));
    }

    #[test]
    fn workloads_have_their_names_once() {
        let names = workloads();
        assert_eq!(names.len(), WORKLOADS.len() + REQUESTS.len());
        assert!(names.contains(&"round_trip_0") && !names.contains(&BOOT));
    }
}
