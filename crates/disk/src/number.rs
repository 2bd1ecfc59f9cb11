//! The numbers under which files live in `.shoal/`.
//!
//! Promise: one counter serves staging, batches and history of a folder, and gives out no number twice while the folder
//! is open. So a displaced file keeps its number when it moves from staging to history, and what a crash leaves behind
//! can be told apart by number alone. Names made from numbers have a fixed length, whatever the file is called (B17).

use std::ffi::OsStr;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The number of a file in staging or history.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub(crate) struct Number(pub(crate) u64);

impl Number {
    /// The name of the numbered file.
    pub(crate) fn file_name(self) -> String {
        self.to_string()
    }

    /// The name of the list of a batch with this number.
    pub(crate) fn list_name(self) -> String {
        format!("{self}{LIST_SUFFIX}")
    }

    /// The number in its usual form; nothing but what [`Self::file_name`] gives is accepted.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let digits = text.len() == DIGITS && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$x}", self.0)
    }
}

/// What a name in staging stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StagingName {
    Slot(Number),
    List(Number),
}

impl StagingName {
    pub(crate) fn parse(name: &OsStr) -> Option<Self> {
        let name = name.as_encoded_bytes();
        match name.strip_suffix(LIST_SUFFIX.as_bytes()) {
            Some(number) => Number::parse(number).map(Self::List),
            None => Number::parse(name).map(Self::Slot),
        }
    }
}

/// Gives out numbers.
#[derive(Debug, Default)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    /// A number that nobody has had.
    pub(crate) fn draw(&self) -> Number {
        Number(self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    /// Never gives out this number or a smaller one again.
    pub(crate) fn skip(&self, taken: Number) {
        self.0.fetch_max(taken.0, Ordering::Relaxed);
    }
}

const DIGITS: usize = 16;
const LIST_SUFFIX: &str = ".list";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_numbers_and_nothing_else_does() {
        let number = Number(0x2a);
        assert_eq!(number.file_name(), "000000000000002a");
        assert_eq!(StagingName::parse(number.file_name().as_ref()), Some(StagingName::Slot(number)));
        assert_eq!(StagingName::parse(number.list_name().as_ref()), Some(StagingName::List(number)));
        for name in ["", "2a", "000000000000002A", "+00000000000002a", "000000000000002a.tmp", ".list"] {
            assert_eq!(StagingName::parse(name.as_ref()), None, "{name}");
        }
    }

    #[test]
    fn no_number_is_given_out_twice() {
        let numbers = Numbers::default();
        assert_eq!((numbers.draw(), numbers.draw()), (Number(1), Number(2)));
        numbers.skip(Number(9));
        numbers.skip(Number(3));
        assert_eq!(numbers.draw(), Number(10));
    }
}
