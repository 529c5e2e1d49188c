//! Whether what the pages name still exists: linked files, headings, and functions named by path.
//!
//! Checked in `README.md` and everything under `docs/`, outside code blocks:
//! - `[text](file)`: the file exists; the line number in `file#L10` is free, another fragment must be a heading;
//! - ``[`name`](file.rs)``: the file defines or names the last part of `name`;
//! - `` `crates/x/src/y.rs::name` `` and `` `baton_x::y::name` ``: the file, or the crate, has every part.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::stages::package_name;

/// What a check found.
#[derive(Debug, Default)]
pub struct Report {
    /// Pages read.
    pub pages: usize,
    /// References looked up.
    pub references: usize,
    /// One line for each that leads nowhere.
    pub broken: Vec<String>,
}

/// One reference in a page.
#[derive(Debug, PartialEq, Eq)]
enum Reference<'a> {
    /// A link to something in the repository.
    Link { text: &'a str, target: &'a str },
    /// A function or type named by path in a code span.
    Item { path: &'a str },
}

/// Checks all pages of the repository.
///
/// # Errors
/// `File` when a page or source cannot be read.
pub fn check(root: &Path) -> Result<Report, Error> {
    let mut pages = vec![root.join("README.md")];
    files_below(&root.join("docs"), "md", &mut pages)?;
    let sources = crate_sources(root)?;
    let mut report = Report {
        pages: pages.len(),
        ..Report::default()
    };
    for page in &pages {
        let text = fs::read_to_string(page).map_err(Error::file("read", page))?;
        for (line, reference) in references(&text) {
            report.references += 1;
            if let Err(reason) = look_up(root, page, &sources, &reference) {
                let name = page.strip_prefix(root).unwrap_or(page).display();
                report.broken.push(format!("{name}:{line}: {reason}"));
            }
        }
    }
    Ok(report)
}

fn files_below(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    if !dir.is_dir() {
        return Ok(());
    }
    let entries = fs::read_dir(dir).map_err(Error::file("list", dir))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files_below(&path, extension, found)?;
        } else if path.extension().is_some_and(|is| is == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// The source text of each of our packages, by the name that Rust code uses for it.
fn crate_sources(root: &Path) -> Result<Vec<(String, String)>, Error> {
    let mut dirs = vec![root.join("bench"), root.join("tests")];
    for group in ["crates", "host"] {
        if let Ok(entries) = fs::read_dir(root.join(group)) {
            dirs.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    let mut sources = Vec::new();
    for dir in dirs {
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        if let Some(name) = package_name(&manifest) {
            let mut files = Vec::new();
            files_below(&dir.join("src"), "rs", &mut files)?;
            let mut text = String::new();
            for file in files {
                // A module is named by its file, not in it.
                text += &format!("mod {};\n", file.file_stem().unwrap_or_default().display());
                text += &fs::read_to_string(&file).map_err(Error::file("read", &file))?;
            }
            sources.push((name.replace('-', "_"), text));
        }
    }
    Ok(sources)
}

/// The references of a page with their lines, code blocks left out.
fn references(page: &str) -> Vec<(usize, Reference<'_>)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (i, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let of_line = links_in(line).into_iter().chain(items_in(line));
            found.extend(of_line.map(|reference| (i + 1, reference)));
        }
    }
    found
}

fn links_in(line: &str) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((target, behind)) = after.split_once(')') else {
            break;
        };
        let text = before.rsplit_once('[').map_or("", |(_, text)| text);
        // A title may follow the target.
        let target = target.split_whitespace().next().unwrap_or_default();
        let elsewhere = ["http://", "https://", "mailto:"];
        if !elsewhere.iter().any(|scheme| target.starts_with(scheme)) {
            found.push(Reference::Link { text, target });
        }
        rest = behind;
    }
    found
}

fn items_in(line: &str) -> Vec<Reference<'_>> {
    // Every second piece between backquotes is a code span.
    let spans = line.split('`').skip(1).step_by(2);
    spans
        .filter(|span| span.starts_with("baton_") || span.contains(".rs::"))
        .filter(|span| span.contains("::") && !span.contains([' ', '*', '{']))
        .map(|span| Reference::Item {
            path: span.trim_end_matches("()"),
        })
        .collect()
}

fn look_up(
    root: &Path,
    page: &Path,
    sources: &[(String, String)],
    reference: &Reference<'_>,
) -> Result<(), String> {
    match *reference {
        Reference::Link { text, target } => look_up_link(root, page, text, target),
        Reference::Item { path } => match path.split_once(".rs::") {
            Some((file, names)) => {
                let source = fs::read_to_string(root.join(file).with_extension("rs"))
                    .map_err(|_| format!("`{path}`: there is no file {file}.rs"))?;
                has_all(&source, names, path)
            }
            None => {
                let (name, names) = path.split_once("::").unwrap_or((path, ""));
                let (_, source) = sources
                    .iter()
                    .find(|(of, _)| of == name)
                    .ok_or_else(|| format!("`{path}`: there is no crate {name}"))?;
                has_all(source, names, path)
            }
        },
    }
}

fn look_up_link(root: &Path, page: &Path, text: &str, target: &str) -> Result<(), String> {
    let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
    let path = match (file.is_empty(), file.strip_prefix('/')) {
        (true, _) => page.to_owned(),
        (false, Some(from_root)) => root.join(from_root),
        (false, None) => page.parent().unwrap_or(root).join(file),
    };
    if !path.exists() {
        return Err(format!("({target}): there is no such file"));
    }
    let extension = path.extension().unwrap_or_default();
    if extension == "rs" {
        let source = fs::read_to_string(&path).map_err(|error| format!("({target}): {error}"))?;
        let code = text
            .strip_prefix('`')
            .and_then(|text| text.strip_suffix('`'));
        let name = code.map(|code| {
            code.trim_end_matches("()")
                .rsplit("::")
                .next()
                .unwrap_or(code)
        });
        if let Some(name) = name.filter(|name| name.bytes().all(is_word_byte)) {
            return has_all(&source, name, target);
        }
    } else if extension == "md" && !fragment.is_empty() && !is_line(fragment) {
        let page = fs::read_to_string(&path).map_err(|error| format!("({target}): {error}"))?;
        if !page
            .lines()
            .any(|line| line.starts_with('#') && anchor(line) == fragment)
        {
            return Err(format!("({target}): there is no such heading"));
        }
    }
    Ok(())
}

fn is_line(fragment: &str) -> bool {
    let number = fragment.strip_prefix('L').unwrap_or_default();
    number.starts_with(|c: char| c.is_ascii_digit())
}

/// The fragment by which the usual renderers link to a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn has_all(source: &str, names: &str, path: &str) -> Result<(), String> {
    match names.split("::").find(|name| !has(source, name)) {
        Some(name) => Err(format!("`{path}`: nothing is called {name} there")),
        None => Ok(()),
    }
}

/// Whether the source defines the name. Functions and fields must be defined there; types may be re-exported.
fn has(source: &str, name: &str) -> bool {
    let is_type = name.starts_with(|c: char| c.is_ascii_uppercase());
    let defining = [
        "fn",
        "mod",
        "macro_rules!",
        "use",
        "trait",
        "const",
        "static",
        "macro",
    ];
    source.match_indices(name).any(|(at, _)| {
        let (before, after) = (&source[..at], &source[at + name.len()..]);
        let whole = !before.bytes().next_back().is_some_and(is_word_byte)
            && !after.bytes().next().is_some_and(is_word_byte);
        let keyword = before.split_whitespace().next_back().unwrap_or_default();
        let is_field = after.starts_with(':') && !after.starts_with("::");
        whole && (is_type || is_field || defining.contains(&keyword))
    })
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# Title\n\nSee [the code](src/a.rs#L3), [`A::push()`](src/a.rs) and [web](https://x.y/z).\n\
        ```\n[not a link](nowhere)\n```\n`src/a.rs::push` or `baton_a::A::push`; [top](#title)\n";

    fn repository() -> PathBuf {
        let id = format!(
            "baton-links-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        );
        let root = std::env::temp_dir().join(id);
        fs::create_dir_all(root.join("src")).expect("temporary directory");
        fs::create_dir_all(root.join("crates/a/src")).expect("temporary directory");
        let source = "pub struct A;\nimpl A { pub fn push(&self) { self.pop() } }\n";
        for file in ["src/a.rs", "crates/a/src/lib.rs"] {
            fs::write(root.join(file), source).expect("temporary file");
        }
        let manifest = "[package]\nname = \"baton-a\"\n";
        fs::write(root.join("crates/a/Cargo.toml"), manifest).expect("temporary file");
        root
    }

    fn broken_in(page: &str) -> Vec<String> {
        let root = repository();
        fs::write(root.join("README.md"), page).expect("temporary file");
        let report = check(&root);
        fs::remove_dir_all(&root).expect("temporary directory");
        report.expect("readable").broken
    }

    #[test]
    fn references_are_found_outside_code_blocks() {
        let found: Vec<_> = references(PAGE).into_iter().map(|(line, _)| line).collect();
        assert_eq!(found, [3, 3, 7, 7, 7]);
    }

    #[test]
    fn whole_page_is_accepted() {
        assert_eq!(broken_in(PAGE), Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_broken_reference_is_found() {
        for page in [
            "[a](src/missing.rs)",
            "[`A::pop`](src/a.rs)",
            "[b](#no-such-heading)",
            "`src/missing.rs::push`",
            "`src/a.rs::pus`",
            "`baton_a::A::pop`",
            "`baton_missing::A`",
        ] {
            assert_eq!(broken_in(page).len(), 1, "{page}");
        }
    }

    #[test]
    fn missing_readme_is_an_error() {
        let root = repository();
        let report = check(&root);
        fs::remove_dir_all(&root).expect("temporary directory");
        assert!(matches!(report, Err(Error::File { .. })));
    }

    #[test]
    fn headings_become_anchors() {
        assert_eq!(
            anchor("## The `Call` future, again"),
            "the-call-future-again"
        );
    }
}
