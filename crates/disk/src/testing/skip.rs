//! What cannot be tested on this machine: said, counted, and not allowed where it must not be.
//!
//! The integration tests of this crate and of others take this file as a module of theirs.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that a test, or a part of one, cannot be done here. It goes past the capturing of the test harness, and into the
/// file that `SHOAL_SKIPS` names, from which `cargo xtask ci` counts.
///
/// # Panics
/// If `SHOAL_NO_SKIPS` is set, which says that everything can be tested here.
pub(crate) fn skip(what: &str, why: &str) {
    let line = format!("{what}: {}\n", why.trim().lines().next().unwrap_or_default());
    let _ = write!(std::io::stderr(), "skipped: {line}");
    if let Some(path) = std::env::var_os("SHOAL_SKIPS") {
        let file = OpenOptions::new().append(true).open(path);
        assert!(file.and_then(|mut file| file.write_all(line.as_bytes())).is_ok(), "cannot count: {line}");
    }
    assert!(std::env::var_os("SHOAL_NO_SKIPS").is_none(), "must not be skipped here: {line}");
}
