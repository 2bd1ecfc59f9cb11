//! How commands print: aligned text for people, an object a line for programs.
//!
//! Promise: data goes to stdout, talk to stderr; what another device or an invite has written is escaped before a terminal
//! sees it, and an object of `--json` is one line of visible characters whatever names are in it (`T13`, `F11`).

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use anyhow::Context;
use indicatif::HumanBytes;
use serde::Serialize;
use shoal_daemon::control::report::Amount;
use shoal_daemon::control::text::{Escaped, Moment};

use crate::ui::Style;

/// Whoever read stdout has seen enough, as `head` does.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads stdout any more")]
pub(crate) struct NobodyReads;

/// Prints a line of data.
pub(crate) fn line(text: impl fmt::Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    written(writeln!(out, "{text}").and_then(|()| out.flush()))
}

/// Prints several lines of data, each with its own end.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn written(done: io::Result<()>) -> anyhow::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(NobodyReads.into()),
        done => done.context("cannot write to stdout"),
    }
}

/// Prints a line of talk. When nobody listens, data is printed all the same.
pub(crate) fn talk(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a value as an object.
pub(crate) fn object(value: &impl Serialize) -> anyhow::Result<()> {
    line(as_line(value)?)
}

/// Prints what was done: as an object, or in words.
pub(crate) fn done(style: Style, word: &str, share: &str, words: impl fmt::Display) -> anyhow::Result<()> {
    match style {
        Style::Json => object(&serde_json::json!({ "done": word, "share": share })),
        Style::Human => {
            talk(words);
            Ok(())
        }
    }
}

/// A value as JSON in which nothing hides: JSON itself escapes what ASCII has of that.
pub(crate) fn as_line(value: &impl Serialize) -> anyhow::Result<String> {
    let json = serde_json::to_string(value).context("cannot write JSON")?;
    let mut line = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter == '\u{7f}' || (!letter.is_ascii() && letter.escape_debug().len() > 1) {
            // Outside of strings JSON is ASCII, so this stands in one.
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(line, "\\u{unit:04x}").context("cannot write JSON")?;
            }
        } else {
            line.push(letter);
        }
    }
    Ok(line)
}

/// Text of another device, on one line, showing all that is in it.
pub(crate) fn shown(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

/// A time as people read it.
pub(crate) fn time(moment: Moment) -> String {
    moment.to_the_second()
}

/// A size as people read it.
pub(crate) fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// So many things.
pub(crate) fn count(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// A number as people read it.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Files and their bytes.
pub(crate) fn amount(amount: Amount) -> String {
    format!("{}, {}", count(amount.files, "file", "files"), bytes(amount.bytes))
}

/// Lines whose columns stand below each other, two spaces apart; the last column is as long as it likes.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(at) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t13_f11_nothing_that_others_wrote_moves_a_cursor() {
        let name = "a\u{1b}[2J\u{9b}2J\u{202e}\u{7f}é\n\u{1f41f}";
        let line = as_line(&serde_json::json!({ "name": name })).unwrap();
        assert_eq!(line, "{\"name\":\"a\\u001b[2J\\u009b2J\\u202e\\u007fé\\n\u{1f41f}\"}");
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["name"], name);
        assert!(shown(name).chars().all(|letter| !letter.is_control() && letter != '\u{202e}'));
    }

    #[test]
    fn numbers_and_columns_for_people() {
        assert_eq!(count(1, "file", "files"), "1 file");
        assert_eq!(count(1_234_567, "file", "files"), "1,234,567 files");
        assert_eq!(count(123, "file", "files"), "123 files");
        let rows = [["a", "b", "c"], ["long", "", ""], ["é", "xx", "the rest"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "a     b   c\nlong\né     xx  the rest\n");
        assert_eq!(time(Moment::at_second(5)), "1970-01-01 00:00:05Z");
    }
}
