//! A QR code of half blocks, for a terminal.

use std::fmt::Write;

use fast_qr::{ECL, QRBuilder};

/// White modules around a code, as its standard asks.
const QUIET: isize = 2;

/// The code of a text, two of its rows in each line; `None`: the text is too long for one, or the code too wide.
///
/// An invite has small letters and digits; in capitals, which an invite may have as well, a code of it is a third smaller.
pub(crate) fn code(invite: &str, columns: usize) -> Option<String> {
    let code = QRBuilder::new(invite.to_ascii_uppercase()).ecl(ECL::L).build().ok()?;
    let size = isize::try_from(code.size).ok()?;
    if code.size + 2 * QUIET.unsigned_abs() > columns {
        return None;
    }
    let is_dark = |row: isize, column: isize| {
        let inside = (0..size).contains(&row) && (0..size).contains(&column);
        inside && code[row.unsigned_abs()][column.unsigned_abs()].value()
    };
    let mut text = String::new();
    // Dark on light whatever the terminal's colours are: most readers want that.
    for row in (-QUIET..size + QUIET).step_by(2) {
        text.push_str("\x1b[30;107m");
        for column in -QUIET..size + QUIET {
            text.push(match (is_dark(row, column), is_dark(row + 1, column)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        let _ = writeln!(text, "\x1b[0m");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_square_with_a_margin_and_only_as_wide_as_the_terminal() {
        let invite = format!("shoal1{}", "abc2".repeat(100));
        let text = code(&invite, 200).unwrap();
        let rows: Vec<&str> = text.lines().map(|line| &line["\x1b[30;107m".len()..line.len() - 4]).collect();
        let width = rows[0].chars().count();
        assert!(rows.iter().all(|row| row.chars().count() == width));
        assert_eq!(rows.len(), width.div_ceil(2));
        assert!(rows[0].chars().all(|module| module == ' '));
        assert!(rows.iter().all(|row| row.starts_with("  ") && row.ends_with("  ")));
        // The upper left mark: seven dark modules wide, in its second row a frame.
        assert!(rows[1].starts_with("  █▀▀▀▀▀█ "), "{:?}", rows[1]);
        // The one module that is always dark, left of the middle and low: the picture is not mirrored.
        let (size, quiet) = (width - 4, 2);
        let (row, column) = (quiet + size - 8, quiet + 8);
        let module = rows[row / 2].chars().nth(column).unwrap();
        let halves = if row % 2 == 0 { ['█', '▀'] } else { ['█', '▄'] };
        assert!(halves.contains(&module), "{module:?}");
        assert!(code(&invite, width).is_some());
        assert!(code(&invite, width - 1).is_none());
        assert!(code(&"a".repeat(30_000), 10_000).is_none());
    }
}
