//! What a user keeps out of a share: lines as in a `.gitignore`, in `.shoalignore` in the root of the share.
//!
//! Promise: rules are understood whole or refused with the number of the line (F4), matching takes time linear in the
//! path, and what is below an ignored folder is ignored, whatever the rules say of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use shoal_proto::path::RelPath;

use crate::watch::Ignores;

/// Most bytes of the rules.
pub const IGNORE_BYTES_MAX: usize = 1 << 20;

/// Most lines of them that say something.
pub const IGNORE_RULES_MAX: usize = 10_000;

/// Most bytes of one line.
pub const IGNORE_LINE_BYTES_MAX: usize = 4 << 10;

/// Rules that can be asked about paths.
#[derive(Debug)]
pub(super) struct Rules(Gitignore);

/// What is at a path, as far as the rules care.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Of {
    /// A folder: rules that end with a slash are for it too.
    Folder,
    /// Something else.
    Other,
    /// That is not known, or nothing is there: it counts as ignored if it is so as either.
    Either,
}

impl Default for Rules {
    /// No rules: nothing is ignored.
    fn default() -> Self {
        Self(Gitignore::empty())
    }
}

impl Rules {
    /// The rules of this text; the error is for a person, and names the line.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > IGNORE_BYTES_MAX {
            return Err(format!("it has more than {IGNORE_BYTES_MAX} bytes"));
        }
        let mut builder = GitignoreBuilder::new(".");
        builder.allow_unclosed_class(false);
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let mut rules = 0;
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let wrong = |what: &dyn std::fmt::Display| format!("line {}: {what}", at + 1);
            if line.len() > IGNORE_LINE_BYTES_MAX {
                return Err(wrong(&format_args!("more than {IGNORE_LINE_BYTES_MAX} bytes")));
            }
            let line = std::str::from_utf8(line).map_err(|_| wrong(&"it is not UTF-8"))?;
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            rules += 1;
            if rules > IGNORE_RULES_MAX {
                return Err(wrong(&format_args!("more than {IGNORE_RULES_MAX} rules")));
            }
            builder.add_line(None, line).map_err(|error| wrong(&error))?;
        }
        builder.build().map(Self).map_err(|error| error.to_string())
    }

    /// Whether the path, or a folder above it, is ignored.
    pub(super) fn ignore(&self, path: &RelPath, what: Of) -> bool {
        self.ignored_at(path, what).is_some()
    }

    /// The path itself, or the first folder on the way to it, that is ignored.
    pub(super) fn ignored_at(&self, path: &RelPath, what: Of) -> Option<RelPath> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = path.as_bytes();
        let slashes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut above = slashes.map(|end| &bytes[..end]);
        if let Some(folder) = above.find(|folder| self.matches(folder, true)) {
            return RelPath::parse(folder).ok();
        }
        self.ignore_itself(path, what).then(|| path.clone())
    }

    /// Whether a path is ignored by itself, for who knows that nothing above it is.
    pub(super) fn ignore_itself(&self, path: &RelPath, what: Of) -> bool {
        let is_ignored = |is_folder| self.matches(path.as_bytes(), is_folder);
        match what {
            Of::Folder => is_ignored(true),
            Of::Other => is_ignored(false),
            Of::Either => is_ignored(true) || is_ignored(false),
        }
    }

    fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        self.0.matched(Path::new(OsStr::from_bytes(path)), is_folder).is_ignore()
    }
}

impl Ignores for Rules {
    fn ignores(&self, path: &RelPath, is_folder: bool) -> bool {
        self.ignore_itself(path, if is_folder { Of::Folder } else { Of::Other })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        Rules::parse(text.as_bytes()).unwrap()
    }

    fn is_ignored(rules: &Rules, path: &[u8], what: Of) -> bool {
        rules.ignore(&RelPath::parse(path).unwrap(), what)
    }

    #[test]
    fn paths_are_matched_as_git_matches_them() {
        let rules = rules(
            "\u{feff}# a comment\r\n\n*.o\r\n!keep.o\n/top\ntarget/\ndoc/*.txt\n\\#odd\nsp ace \n**/deep/*.x\n",
        );
        for (path, what, ignored) in [
            ("a.o", Of::Other, true),
            ("d/a.o", Of::Other, true),
            ("d/keep.o", Of::Other, false),
            ("top", Of::Other, true),
            ("d/top", Of::Other, false),
            ("target", Of::Folder, true),
            ("target", Of::Other, false),
            ("target", Of::Either, true),
            ("a/target/debug/x", Of::Other, true),
            ("a/target/keep.o", Of::Other, true),
            ("doc/a.txt", Of::Other, true),
            ("doc/sub/a.txt", Of::Other, false),
            ("#odd", Of::Other, true),
            ("sp ace", Of::Other, true),
            ("a/deep/b.x", Of::Other, true),
            ("plain", Of::Either, false),
        ] {
            assert_eq!(is_ignored(&rules, path.as_bytes(), what), ignored, "{path} {what:?}");
        }
        assert!(is_ignored(&rules, b"\xff.o", Of::Other));
        assert_eq!(
            rules.ignored_at(&RelPath::parse(b"a/target/x").unwrap(), Of::Other).unwrap().as_bytes(),
            b"a/target"
        );
    }

    // F4
    #[test]
    fn f4_rules_that_cannot_be_understood_are_refused_with_their_line() {
        let many = "x\n".repeat(IGNORE_RULES_MAX + 1);
        let long = "x".repeat(IGNORE_LINE_BYTES_MAX + 1);
        let huge = "\n".repeat(IGNORE_BYTES_MAX + 1);
        for (text, begin) in [
            (&b"ok\n\xff\n"[..], "line 2: it is not UTF-8"),
            (b"a\nb\n[z", "line 3: "),
            (b"a{b", "line 1: "),
            (many.as_bytes(), "line 10001: more than 10000 rules"),
            (long.as_bytes(), "line 1: more than 4096 bytes"),
            (huge.as_bytes(), "it has more than"),
        ] {
            let error = Rules::parse(text).unwrap_err();
            assert!(error.starts_with(begin), "{error}");
        }
        assert!(!is_ignored(&rules("!only\n"), b"only", Of::Other));
        // What takes others exponential time.
        let tower = rules(&format!("{}x\n", "**/".repeat(400)));
        assert!(is_ignored(&tower, format!("{}x", "a/".repeat(100)).as_bytes(), Of::Other));
        assert!(!is_ignored(&tower, format!("{}y", "a/".repeat(100)).as_bytes(), Of::Other));
    }
}
