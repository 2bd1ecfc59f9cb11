//! The two dialects of the course protocol, and how a program's own is told.

/// How a program delimits what it sends (`docs/classic-protocol.md`).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Dialect {
    /// Nothing marks the end of a message; a file ends when its connection does.
    Classic,
    /// A newline ends every message; a file comes with its length.
    Framed,
    /// Speaks either: a Shoal peer.
    Both,
}

impl Dialect {
    /// The number that stands for it in the `dialect` key of items and entries.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Classic => 0,
            Self::Framed => 1,
            Self::Both => 2,
        }
    }

    /// The dialect that a `dialect` key names, if it is one we know.
    #[must_use]
    pub const fn from_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::Classic),
            1 => Some(Self::Framed),
            2 => Some(Self::Both),
            _ => None,
        }
    }

    /// Whether a program of this dialect can fetch a file from a source of the `other` one.
    #[must_use]
    pub fn reaches(self, other: Self) -> bool {
        self == other || self == Self::Both || other == Self::Both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_strangers_are_none() {
        for dialect in [Dialect::Classic, Dialect::Framed, Dialect::Both] {
            assert_eq!(Dialect::from_number(dialect.number().into()), Some(dialect));
        }
        assert_eq!(Dialect::from_number(3), None);
        assert_eq!(Dialect::from_number(-1), None);
    }

    #[test]
    fn only_the_two_pure_dialects_cannot_reach_each_other() {
        assert!(!Dialect::Classic.reaches(Dialect::Framed));
        assert!(!Dialect::Framed.reaches(Dialect::Classic));
        assert!(Dialect::Both.reaches(Dialect::Classic) && Dialect::Classic.reaches(Dialect::Both));
        assert!(Dialect::Framed.reaches(Dialect::Framed));
    }
}
