//! What is cited by its number exists: rows of bad input (`B15`), invariants (`I8`), threats (`T4`), traces (`F12`) and
//! points of the classic protocol (`§5.3`).

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Source, find};

const ROWS: [&str; 3] = ["docs/bad-input.md", "docs/invariants.md", "docs/design/traces.md"];
const PROTOCOL: &str = "docs/classic-protocol.md";

/// Letters that rows begin with: A to F bad input, F traces too, I invariants, T threats.
const LETTERS: &str = "ABCDEFIT";

pub(super) fn check(sources: &[Source]) -> Result<Vec<String>> {
    let mut known = points(&find(sources, PROTOCOL)?.text);
    for page in ROWS {
        known.extend(rows(&find(sources, page)?.text));
    }
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| !source.is("toml")) {
        for (number, line) in source.lines() {
            let cited = cited_rows(line).into_iter().chain(cited_points(line));
            for citation in cited.filter(|citation| !known.contains(citation)) {
                findings
                    .push(format!("{}:{number}: {citation} is cited, and nowhere to be found", source.path));
            }
        }
    }
    Ok(findings)
}

/// The rows of a page's tables, and those that it keeps free: "D1 to D20 come with native Shoal".
fn rows(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in page.lines() {
        let id = line.strip_prefix("| ").and_then(|rest| rest.split_whitespace().next());
        found.extend(id.filter(|id| is_row(id)).map(str::to_owned));
        if let [first, "to", last, ..] = line.split(' ').collect::<Vec<_>>().as_slice()
            && is_row(first)
            && is_row(last)
        {
            let number = |id: &str| id[1..].parse::<u8>().unwrap_or(0);
            found.extend((number(first)..=number(last)).map(|number| format!("{}{number}", &first[..1])));
        }
    }
    found
}

/// The sections and numbered points of the protocol's page.
fn points(page: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut section = String::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## §") {
            section = format!("§{}", digits(heading));
            found.insert(section.clone());
        } else if let Some((number, _)) = line.split_once(". ")
            && !section.is_empty()
            && digits(number) == number
        {
            found.insert(format!("{section}.{number}"));
        }
    }
    found
}

/// Rows that a line names, as words of their own or at the beginning of a test's name (`fn b4_b12_several_messages`).
fn cited_rows(line: &str) -> Vec<String> {
    let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut cited: Vec<String> = words.filter(|word| is_row(word)).map(str::to_owned).collect();
    if let Some(name) = line.trim_start().strip_prefix("fn ") {
        let parts = name.split(['_', '(']).map(str::to_uppercase);
        cited.extend(parts.take_while(|part| is_row(part)));
    }
    cited
}

/// Points that a line names.
fn cited_points(line: &str) -> Vec<String> {
    let mut cited = Vec::new();
    for rest in line.split('§').skip(1) {
        let section = digits(rest);
        let point = rest[section.len()..].strip_prefix('.').map(digits).filter(|point| !point.is_empty());
        if !section.is_empty() {
            cited.push(point.map_or_else(|| format!("§{section}"), |point| format!("§{section}.{point}")));
        }
    }
    cited
}

/// A letter of a table and a number without a leading zero.
fn is_row(word: &str) -> bool {
    let mut chars = word.chars();
    let has_letter = chars.next().is_some_and(|letter| LETTERS.contains(letter));
    let number = chars.as_str();
    has_letter && (1..=2).contains(&number.len()) && digits(number) == number && !number.starts_with('0')
}

/// The digits at the beginning.
fn digits(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_digit).count()]
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn what_is_cited_must_exist() {
        let code = "//! As B1 and `I2` say (§1.2), not X9 nor B1x nor 0xB1 nor B100 nor B01.\n\
                    //! But B7, T4, D3, D4, F12, F13, §1.3 and §2 do not.\n\
                    fn b1_i2_fine() {}\n    fn b2_a_case() {}\n";
        let sources = [
            source("docs/bad-input.md", "| B1 | x | y |\nD1 to D3 come later.\n"),
            source("docs/invariants.md", "| I2 Termination | yes | It ends. |\n"),
            source("docs/design/traces.md", "| F12 | x | y |\n"),
            source("docs/classic-protocol.md", "# P\n## §1 The parts\n1. One.\n2. Two.\n"),
            source("a/src/lib.rs", code),
        ];
        let findings = check(&sources).unwrap();
        let cited: Vec<&str> = findings.iter().filter_map(|finding| finding.split(' ').nth(1)).collect();
        assert_eq!(cited, ["B7", "T4", "D4", "F13", "§1.3", "§2", "B2"]);
        assert!(findings[0].starts_with("a/src/lib.rs:2: "), "{findings:?}");
    }
}
