//! What happened, in order.
//!
//! Promise: the hash is of all that happened, whether the lines are kept or not; lines cost nothing where nobody reads
//! them.

use core::fmt::Write;

use shoal_engine::time::Time;

/// Most lines that are kept: the last ones.
const LINES_MAX: usize = 40_000;

/// The story of a world.
#[derive(Debug)]
pub struct Trace {
    hasher: blake3::Hasher,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace; `is_read`: its lines are kept.
    #[must_use]
    pub fn new(is_read: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), lines: is_read.then(Vec::new) }
    }

    /// Something happened: of which sort it was, to whom, and what else tells it apart.
    pub fn note(&mut self, now: Time, sort: u8, who: usize, bytes: &[u8]) {
        self.hasher.update(&now.0.to_be_bytes());
        self.hasher.update(&[sort, u8::try_from(who).unwrap_or(u8::MAX)]);
        self.hasher.update(bytes);
    }

    /// The same in words, which are made only if somebody reads them.
    pub fn say(&mut self, now: Time, words: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES_MAX {
                lines.drain(..LINES_MAX / 2);
            }
            let (seconds, micros) = (now.0 / 1_000_000_000, now.0 / 1000 % 1_000_000);
            let mut line = String::new();
            // Writing to a string never fails.
            let _ = write!(line, "{seconds:>7}.{micros:06}  {}", words());
            lines.push(line);
        }
    }

    /// Whether lines are kept.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.lines.is_some()
    }

    /// The hash of all that happened so far.
    #[must_use]
    pub fn hash(&self) -> blake3::Hash {
        self.hasher.finalize()
    }

    /// The last lines, if they are kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
