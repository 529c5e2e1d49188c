//! The rows of `qemu.csv`: `workload,variant,outstanding,metric,value,unit`, and how the benchmark root task reports them.

use std::fmt::{self, Write};

use crate::error::Error;

/// The first line of the file.
pub const HEADER: &str = "workload,variant,outstanding,metric,value,unit";

/// What the variants of the kernel that ours is compared with begin with.
pub const UPSTREAM: &str = "upstream_";

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was done, such as `round_trip_0`.
    pub workload: String,
    /// On which kernel and with what, such as `fpu_off`.
    pub variant: String,
    /// Requests outstanding; 1 where that has no meaning.
    pub outstanding: u64,
    /// What was counted, such as `instructions`.
    pub metric: String,
    /// How many.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

impl Row {
    fn has_key(&self, other: &Self) -> bool {
        let key = |row: &Self| {
            (
                row.workload.clone(),
                row.variant.clone(),
                row.outstanding,
                row.metric.clone(),
            )
        };
        key(self) == key(other)
    }

    /// From the columns of the file.
    fn from_columns(columns: &[&str]) -> Result<Self, String> {
        let &[workload, variant, outstanding, metric, value, unit] = columns else {
            return Err(format!("it has {} columns", columns.len()));
        };
        let outstanding = outstanding
            .parse()
            .map_err(|_| format!("outstanding is `{outstanding}`, not a whole number"))?;
        let value = value
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite() && *value >= 0.0)
            .ok_or_else(|| format!("value is `{value}`, not a number of at least 0"))?;
        Ok(Self {
            workload: workload.to_owned(),
            variant: variant.to_owned(),
            outstanding,
            metric: metric.to_owned(),
            value,
            unit: unit.to_owned(),
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            workload,
            variant,
            outstanding,
            metric,
            value,
            unit,
        } = self;
        write!(
            f,
            "{workload},{variant},{outstanding},{metric},{value},{unit}"
        )
    }
}

/// All rows of one run.
#[derive(Debug, Default)]
pub struct Rows(Vec<Row>);

impl Rows {
    /// Adds a row.
    ///
    /// # Errors
    /// That it was there before.
    pub fn push(&mut self, row: Row) -> Result<(), String> {
        if self.0.iter().any(|other| other.has_key(&row)) {
            return Err(format!("it was there before: {row}"));
        }
        self.0.push(row);
        Ok(())
    }

    /// The figure with one outstanding, if it was measured.
    pub fn get(&self, workload: &str, variant: &str, metric: &str) -> Option<f64> {
        self.get_at(workload, variant, 1, metric)
    }

    /// The figure with so many outstanding, if it was measured.
    pub fn get_at(
        &self,
        workload: &str,
        variant: &str,
        outstanding: u64,
        metric: &str,
    ) -> Option<f64> {
        self.0
            .iter()
            .find(|row| {
                row.workload == workload
                    && row.variant == variant
                    && row.metric == metric
                    && row.outstanding == outstanding
            })
            .map(|row| row.value)
    }

    /// Whether the text is such a file.
    pub fn is_file(text: &str) -> bool {
        text.lines().next().map(str::trim) == Some(HEADER)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// `Csv` names the first line that is no row, or that counts again what an earlier one has.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut rows = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || (index == 0 && line == HEADER) {
                continue;
            }
            let columns: Vec<&str> = line.split(',').collect();
            Row::from_columns(&columns)
                .and_then(|row| rows.push(row))
                .map_err(|reason| Error::Csv {
                    line: index + 1,
                    reason,
                    expected: HEADER,
                })?;
        }
        Ok(rows)
    }

    /// The text of the file.
    pub fn to_csv(&self) -> String {
        let mut text = format!("{HEADER}\n");
        for row in &self.0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{row}");
        }
        text
    }
}

/// A row as the root task has reported it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reported {
    /// The row.
    pub row: Row,
    /// The least and the most of the samples that no timer interrupt has hit.
    pub spread: (f64, f64),
}

/// Reads what the benchmark root task has printed: rows between a line that begins and one that ends and counts them. Behind the columns of
/// a row stand the least and the most of its samples, how many were kept and dropped, and how many timer interrupts can have changed.
///
/// # Errors
/// What is missing or wrong; then no row is to be believed.
pub fn parse_report(output: &str) -> Result<Vec<Reported>, String> {
    let mut lines = output.lines().map(str::trim);
    if !lines.any(|line| line == "report begins") {
        return Err("it has not reported anything".to_owned());
    }
    let mut rows = Vec::new();
    for line in lines {
        let columns: Vec<&str> = line.split(',').collect();
        match columns.as_slice() {
            ["row", row @ .., least, most, kept, dropped, explained] => {
                let row = Row::from_columns(row).map_err(|reason| format!("`{line}`: {reason}"))?;
                let spread = repeats(&row, [least, most, kept, dropped, explained])
                    .map_err(|reason| format!("`{line}`: {reason}"))?;
                rows.push(Reported { row, spread });
            }
            ["report ends", count] => {
                return if count.parse() == Ok(rows.len()) {
                    Ok(rows)
                } else {
                    Err(format!(
                        "it says {count} rows, but {} have arrived",
                        rows.len()
                    ))
                };
            }
            _ => return Err(format!("`{line}` among the rows")),
        }
    }
    Err(format!(
        "its report ends in the middle, after {} rows",
        rows.len()
    ))
}

/// Whether the samples behind a row repeat, and the least and the most of them. A sample that a timer interrupt has hit differs from the others and was dropped, so no more can have been
/// dropped than interrupts explain.
fn repeats(row: &Row, columns: [&&str; 5]) -> Result<(f64, f64), String> {
    let [least, most, kept, dropped, explained] = columns.map(|column| column.parse::<f64>());
    let (Ok(least), Ok(most), Ok(kept), Ok(dropped), Ok(explained)) =
        (least, most, kept, dropped, explained)
    else {
        return Err("its samples are not in numbers".to_owned());
    };
    if kept < 1.0 {
        return Err("no sample is left".to_owned());
    }
    if dropped > explained {
        return Err(format!(
            "{dropped} samples differ from the others, but timer interrupts can have changed only {explained}: it does not repeat"
        ));
    }
    if !(least..=most).contains(&row.value) {
        return Err("the median is not among the samples".to_owned());
    }
    Ok((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "OpenSBI\nreport begins\n\
        row,call,fpu_off,1,instructions,250,instructions,250,251,999,1,1\n\
        row,round_trip_0,fpu_off,1,instructions,546.5,instructions,546,550,995,5,6\nreport ends,2\n";

    #[test]
    fn whole_report_is_read() {
        let rows = parse_report(REPORT).expect("whole");
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows[1].row.to_string(),
            "round_trip_0,fpu_off,1,instructions,546.5,instructions"
        );
        assert_eq!(rows[1].spread, (546.0, 550.0));
    }

    #[test]
    fn report_that_is_not_whole_is_refused() {
        for (from, to, reason) in [
            ("report begins\n", "", "not reported anything"),
            ("report ends,2\n", "", "in the middle, after 2 rows"),
            ("report ends,2", "report ends,3", "3 rows, but 2"),
            ("report ends", "panic: report ends", "among the rows"),
            (",999,1,1", ",999,1", "5 columns"),
            (",999,1,1", ",0,1,1", "no sample"),
            (",999,1,1", ",997,3,1", "does not repeat"),
            (",250,instr", ",249,instr", "not among the samples"),
            (",250,instr", ",x,instr", "not a number"),
        ] {
            let error = parse_report(&REPORT.replacen(from, to, 1)).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn file_is_written_and_read() {
        let mut rows = Rows::default();
        for Reported { row, .. } in parse_report(REPORT).expect("whole") {
            rows.push(row.clone()).expect("new");
            rows.push(row).expect_err("there before");
        }
        let text = rows.to_csv();
        assert!(Rows::is_file(&text) && !Rows::is_file("workload,peer\n"));
        let again = Rows::parse(&text).expect("a file");
        assert_eq!(again.get("call", "fpu_off", "instructions"), Some(250.0));
        assert_eq!(again.get("call", "fpu_on", "instructions"), None);
        assert_eq!(again.to_csv(), text);
    }

    #[test]
    fn bad_line_is_named() {
        let text = format!("{HEADER}\ncall,fpu_off,1,instructions,250,instructions\n\ncall,x,y\n");
        let error = Rows::parse(&text).expect_err("three columns");
        assert!(matches!(error, Error::Csv { line: 4, .. }), "{error}");
    }
}
