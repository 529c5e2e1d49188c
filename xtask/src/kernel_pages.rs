//! Puts the results of a run into the pages that show them, so that pages and results cannot differ.
//!
//! On the page each table begins with its header and ends with an empty line; in the README each row is known by its first cell.

use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::kernel_requests;
use crate::kernel_rows::{Rows, UPSTREAM};
use crate::kernel_targets::{markdown, markdown_count, markdown_requests, markdown_sizes};
use crate::process::Workspace;

/// Where the results stand.
const DIR: &str = "docs/bench";
/// The files that are copied there.
const FILES: [&str; 7] = [
    "qemu.csv",
    "kernel.svg",
    "kernel-fpu.svg",
    "kernel-request-1.svg",
    "kernel-request-4.svg",
    "kernel-request-16.svg",
    "kernel-request-traps.svg",
];

/// What the rows of the README's table show, all with floating point disabled.
const README_ROWS: [(&str, &str); 6] = [
    (
        "Call and its answer, no words, floating point disabled",
        "round_trip_0",
    ),
    ("the same with 5 words", "round_trip_5"),
    ("Signal, nobody waits", "signal"),
    ("Yield to another thread and back", "yield_pair"),
    (
        "the cheapest invocation (SetTLSBase of a waiting thread)",
        "set_tls_base_other",
    ),
    ("map a page", "page_map"),
];

/// Copies the files of a run from `results`, and replaces the figures in the pages.
///
/// # Errors
/// `File`, and `Check` if a page has no place for a figure.
pub fn update(workspace: &Workspace, results: &Path, rows: &Rows) -> Result<(), Error> {
    let dir = workspace.root.join(DIR);
    for name in FILES {
        let from = results.join(name);
        fs::copy(&from, dir.join(name)).map_err(Error::file("copy", &from))?;
    }
    change(&dir.join("kernel.md"), |text| page(text, rows))?;
    change(&dir.join("kernel-inbox.md"), |text| inbox_page(text, rows))?;
    change(&workspace.root.join("README.md"), |text| readme(text, rows))
}

fn change(path: &Path, with: impl FnOnce(&str) -> Result<String, String>) -> Result<(), Error> {
    let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
    let changed =
        with(&text).map_err(|reason| Error::Check(format!("{}: {reason}", path.display())))?;
    fs::write(path, changed).map_err(Error::file("write", path))?;
    println!("{}", path.display());
    Ok(())
}

/// The page with the tables of these rows.
fn page(text: &str, rows: &Rows) -> Result<String, String> {
    let blocks = [
        ("| workload | `fpu_off`", markdown(rows)),
        ("Of ", markdown_count(rows)),
        ("| | Baton | seL4 |", markdown_sizes(rows)),
        ("| workload | `sync_s1`", markdown_requests(rows)),
    ];
    with_blocks(text, &blocks)
}

/// The page about asynchronous requests with the tables of these rows.
fn inbox_page(text: &str, rows: &Rows) -> Result<String, String> {
    let ways = |senders| kernel_requests::markdown_ways(rows, senders);
    let blocks = [
        ("| variant | outstanding |", kernel_requests::markdown(rows)),
        ("| outstanding | `lanes_s1`", ways(1)),
        ("| outstanding | `lanes_s4`", ways(4)),
        ("| outstanding | `lanes_s16`", ways(16)),
        (
            "| variant | 1 | 32 | 256 |",
            kernel_requests::markdown_meanwhile(rows),
        ),
        (
            "| outstanding | `traps`",
            kernel_requests::markdown_traps(rows),
        ),
        (
            "| words | `lanes_s1`",
            kernel_requests::markdown_words(rows),
        ),
    ];
    with_blocks(text, &blocks)
}

/// The text with its paragraphs that begin so replaced.
fn with_blocks(text: &str, blocks: &[(&str, String)]) -> Result<String, String> {
    blocks
        .iter()
        .try_fold(text.to_owned(), |text, (begin, block)| {
            let place = text.find(&format!("\n\n{begin}"));
            let start = place.ok_or_else(|| format!("no paragraph begins with `{begin}`"))? + 2;
            let end = text[start..]
                .find("\n\n")
                .map_or(text.len(), |length| start + length);
            Ok(format!(
                "{}{}{}",
                &text[..start],
                block.trim_end(),
                &text[end..]
            ))
        })
}

/// The README with the figures of these rows.
fn readme(text: &str, rows: &Rows) -> Result<String, String> {
    README_ROWS
        .iter()
        .try_fold(text.to_owned(), |text, (label, workload)| {
            let get = |variant: &str| {
                rows.get(workload, variant, "instructions")
                    .ok_or_else(|| format!("{workload} {variant} was not measured"))
            };
            let (ours, theirs) = (get("fpu_off")?, get(&format!("{UPSTREAM}fpu_off"))?);
            let begin = format!("\n| {label} |");
            let start = text
                .find(&begin)
                .ok_or_else(|| format!("there is no row `{label}`"))?;
            let start = start + begin.len();
            let end = text[start..]
                .find('\n')
                .map_or(text.len(), |length| start + length);
            let figures = format!(" {ours} | {theirs} | {:.2} |", ours / theirs);
            Ok(format!("{}{figures}{}", &text[..start], &text[end..]))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn committed() -> Rows {
        let csv = fs::read_to_string(root().join(DIR).join("qemu.csv")).expect("the results");
        Rows::parse(&csv).expect("rows")
    }

    /// The pages must not fall behind the results beside them.
    #[test]
    fn pages_show_the_committed_results() {
        let rows = committed();
        let text = fs::read_to_string(root().join(DIR).join("kernel.md")).expect("the page");
        // The texts are too long to be shown beside each other.
        let same = "the pages show other figures; `cargo xtask bench qemu --pages` renews them";
        assert!(page(&text, &rows).as_ref() == Ok(&text), "{same}");
        let text = fs::read_to_string(root().join("README.md")).expect("the README");
        assert!(readme(&text, &rows).as_ref() == Ok(&text), "{same}");
        let text = fs::read_to_string(root().join(DIR).join("kernel-inbox.md")).expect("the page");
        assert!(inbox_page(&text, &rows).as_ref() == Ok(&text), "{same}");
    }

    #[test]
    fn figures_are_replaced_and_the_rest_stays() {
        let rows = committed();
        let text = "# Page\n\n| workload | `fpu_off` | old |\n| - |\n\nOf 0\n\nmore\n\n| | Baton | seL4 | old\n\n| workload | `sync_s1`\n\nend\n";
        let page = page(text, &rows).expect("a page with places");
        assert!(
            page.starts_with("# Page\n\n| workload | `fpu_off` | seL4 |"),
            "{page}"
        );
        assert!(!page.contains("old") && !page.contains("Of 0\n"), "{page}");
        assert!(
            page.contains("\n\nmore\n\n| | Baton | seL4 | ratio |\n"),
            "{page}"
        );
        assert!(page.ends_with("|\n\nend\n"), "{page}");
    }

    #[test]
    fn page_without_a_place_is_refused() {
        let error = page("# Page\n", &committed()).expect_err("no table");
        assert!(error.contains("| workload |"), "{error}");
        let error = readme("# Readme\n", &Rows::default()).expect_err("no row");
        assert_eq!(error, "round_trip_0 fpu_off was not measured");
    }
}
