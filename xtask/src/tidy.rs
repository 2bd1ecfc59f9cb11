//! `cargo xtask tidy`: the rules of this repository that no other tool knows.
//!
//! Promise: it only reads; each finding names its file (and line), and what to do. One function for each rule;
//! to add a rule, write another and call it in [`run`].

mod citations;
mod dependencies;
mod links;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A text file of the repository.
pub(crate) struct Source {
    /// Relative to the root.
    path: String,
    text: String,
}

/// Where a module ends, at the latest: what follows are its tests.
const TESTS: &str = "#[cfg(test)]\nmod tests {";

/// Past this many lines look for the second noun in a module (STYLE.md, habit 7).
const MODULE_LINES_MAX: usize = 600;

const WANTED: [&str; 4] = ["md", "py", "rs", "toml"];
const UNWANTED_FOLDERS: [&str; 4] = ["target", ".git", ".shoal", "__pycache__"];

pub(crate) fn run() -> Result<()> {
    let mut sources = Vec::new();
    collect(Path::new("."), &mut sources).context("cannot read the repository")?;
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    ensure!(find(&sources, "Cargo.toml").is_ok(), "this is not the root of the repository");
    let findings = [
        promises(&sources),
        lengths(&sources),
        reminders(&sources),
        citations::check(&sources)?,
        links::check(&sources, |path| Path::new(path).exists()),
        dependencies::check(&sources)?,
    ]
    .concat();
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "{} findings, see above", findings.len());
    println!("Tidy: {} files, nothing found.", sources.len());
    Ok(())
}

fn collect(folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !UNWANTED_FOLDERS.contains(&&*name) {
                collect(&path, sources)?;
            }
        } else if path.extension().is_some_and(|found| WANTED.iter().any(|wanted| found == *wanted)) {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let path = path.strip_prefix(".").unwrap_or(&path).to_string_lossy().into_owned();
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

fn find<'a>(sources: &'a [Source], path: &str) -> Result<&'a Source> {
    sources.iter().find(|source| source.path == path).with_context(|| format!("there is no {path}"))
}

impl Source {
    fn is(&self, extension: &str) -> bool {
        self.path.rsplit('.').next() == Some(extension)
    }

    /// The lines with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Every module opens with its promise.
fn promises(sources: &[Source]) -> Vec<String> {
    let silent = sources.iter().filter(|source| source.is("rs") && !source.text.starts_with("//!"));
    silent.map(|source| format!("{}: no module doc; begin it with `//!`", source.path)).collect()
}

/// No module is too long, not counting its tests.
fn lengths(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is("rs") && !is_all_tests(&source.path)) {
        let code = source.text.split(TESTS).next().unwrap_or_default();
        let lines = code.lines().count();
        if lines > MODULE_LINES_MAX {
            findings.push(format!(
                "{}: {lines} lines before its tests; more than {MODULE_LINES_MAX}, so look for its second noun",
                source.path
            ));
        }
    }
    findings
}

fn is_all_tests(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// What is still to be done is an issue, not a comment.
fn reminders(sources: &[Source]) -> Vec<String> {
    // Written so that this file passes.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut findings = Vec::new();
    for source in sources {
        for (number, line) in source.lines() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                findings.push(format!("{}:{number}: {word}; do it, or open an issue", source.path));
            }
        }
    }
    findings
}

#[cfg(test)]
fn source(path: &str, text: &str) -> Source {
    Source { path: path.into(), text: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_needs_a_promise_and_a_limit() {
        let long = format!("//! Promise.\n{}", "\n".repeat(700));
        let tested = format!("//! Promise.\n{TESTS}{}", "\n".repeat(700));
        let sources = [
            source("a/src/silent.rs", "fn main() {}\n"),
            source("a/src/long.rs", &long),
            source("a/src/tests.rs", &long),
            source("a/src/tested.rs", &tested),
        ];
        assert_eq!(promises(&sources), ["a/src/silent.rs: no module doc; begin it with `//!`"]);
        let lengths = lengths(&sources);
        assert!(lengths.len() == 1 && lengths[0].starts_with("a/src/long.rs: 701 lines"), "{lengths:?}");
    }

    #[test]
    fn reminders_are_found_with_their_line() {
        let text = format!("fine\n// {}DO: later\n", "TO");
        let findings = reminders(&[source("a.rs", &text), source("b.toml", "todo = \"warn\"\n")]);
        assert_eq!(findings, [format!("a.rs:2: {}DO; do it, or open an issue", "TO")]);
    }
}
