//! The rows that `baton-bench` writes: `workload,peer,clients,outstanding,metric,value,unit`.

use std::collections::BTreeSet;

use crate::error::Error;

const HEADER: &str = "workload,peer,clients,outstanding,metric,value,unit";

/// What identifies a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// What was run, such as `w1_awake`.
    pub workload: &'a str,
    /// Who ran it, such as `baton_lanes`.
    pub peer: &'a str,
    /// How many clients; 1 where that has no meaning.
    pub clients: u64,
    /// How many requests each client kept outstanding; 1 where that has no meaning.
    pub outstanding: u64,
    /// What was measured: `p50`, `p99`, `rate` or `instructions`.
    pub metric: &'a str,
}

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Key {
            workload,
            peer,
            clients,
            outstanding,
            metric,
        } = self;
        write!(f, "{workload},{peer},{clients},{outstanding},{metric}")
    }
}

#[derive(Debug)]
struct Row {
    workload: String,
    peer: String,
    clients: u64,
    outstanding: u64,
    metric: String,
    value: f64,
}

impl Row {
    fn key(&self) -> Key<'_> {
        Key {
            workload: &self.workload,
            peer: &self.peer,
            clients: self.clients,
            outstanding: self.outstanding,
            metric: &self.metric,
        }
    }
}

/// All rows of one run.
#[derive(Debug, Default)]
pub struct Results {
    rows: Vec<Row>,
}

impl Results {
    /// Reads the rows from the text of a file. Columns may be quoted; none contains a comma.
    ///
    /// # Errors
    /// `Csv` names the first line that is not a row, or that measures again what an earlier one has.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut results = Self::default();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line == HEADER {
                continue;
            }
            let row = parse_row(line).map_err(|reason| Error::Csv {
                line: i + 1,
                reason,
                expected: HEADER,
            })?;
            if results.get(row.key()).is_some() {
                let reason = format!("{} was there before", row.key());
                return Err(Error::Csv {
                    line: i + 1,
                    reason,
                    expected: HEADER,
                });
            }
            results.rows.push(row);
        }
        Ok(results)
    }

    /// The value of a row, if it was measured.
    pub fn get(&self, key: Key<'_>) -> Option<f64> {
        self.rows
            .iter()
            .find(|row| row.key() == key)
            .map(|row| row.value)
    }

    /// The rows of a workload and metric, in the file's order.
    pub fn rows<'a>(
        &'a self,
        workload: &'a str,
        metric: &'a str,
    ) -> impl Iterator<Item = (Key<'a>, f64)> {
        self.rows
            .iter()
            .filter(move |row| row.workload == workload && row.metric == metric)
            .map(|row| (row.key(), row.value))
    }

    /// The numbers of clients that a workload was measured with, ascending.
    pub fn clients(&self, workload: &str, metric: &str) -> BTreeSet<u64> {
        self.rows(workload, metric)
            .map(|(key, _)| key.clients)
            .collect()
    }
}

fn parse_row(line: &str) -> Result<Row, String> {
    let columns: Vec<&str> = line
        .split(',')
        .map(|c| c.trim().trim_matches('"'))
        .collect();
    let &[workload, peer, clients, outstanding, metric, value, _unit] = columns.as_slice() else {
        return Err(format!("it has {} columns", columns.len()));
    };
    let whole = |name: &str, text: &str| {
        text.parse::<u64>()
            .map_err(|_| format!("{name} is `{text}`, not a whole number"))
    };
    let value = value
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite() && *value >= 0.0)
        .ok_or_else(|| format!("value is `{value}`, not a number of at least 0"))?;
    Ok(Row {
        workload: workload.to_owned(),
        peer: peer.to_owned(),
        clients: whole("clients", clients)?,
        outstanding: whole("outstanding", outstanding)?,
        metric: metric.to_owned(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "workload,peer,clients,outstanding,metric,value,unit\n\
        w2,baton_lanes,4,256,rate,1500000.5,requests/s\n\
        w2,tarpc,1,256,rate,7e4,requests/s\r\n\n";

    #[test]
    fn rows_are_read_and_found() {
        let results = Results::parse(TEXT).expect("well-formed");
        let key = Key {
            workload: "w2",
            peer: "baton_lanes",
            clients: 4,
            outstanding: 256,
            metric: "rate",
        };
        assert_eq!(results.get(key), Some(1500000.5));
        assert_eq!(
            results.get(Key {
                outstanding: 64,
                ..key
            }),
            None
        );
        assert_eq!(results.clients("w2", "rate"), BTreeSet::from([1, 4]));
        assert_eq!(results.rows("w2", "p50").count(), 0);
    }

    #[test]
    fn bad_lines_are_named() {
        let twice = format!("{TEXT}w2,tarpc,1,256,rate,1,requests/s\n");
        for (text, line) in [
            ("w2,tarpc,1,256,rate,1", 1),
            ("\nw2,tarpc,one,256,rate,1,x", 2),
            ("w2,tarpc,1,256,rate,NaN,x", 1),
            ("w2,tarpc,1,256,rate,-1,x", 1),
            (&twice, 5),
        ] {
            let error = Results::parse(text).expect_err(text);
            assert!(
                matches!(error, Error::Csv { line: l, .. } if l == line),
                "{text}: {error}"
            );
        }
    }
}
