//! The path of a name from the root of a folder.
//!
//! Promise: a [`TreePath`] is made of names alone, each a single component (I10, I11), so that whoever goes along it one
//! handle after the other stays below the root. It serves lists, tables and messages of both generations: in a flat folder
//! it is one name, in a share it is a [`RelPath`].

use std::fmt;

use shoal_proto::path::RelPath;

use crate::escape::Escaped;
use crate::name::{Name, NameError};

/// One or more names with `/` between them: bytes as on disk. Shown escaped.
#[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct TreePath(Box<[u8]>);

impl TreePath {
    /// The path with these bytes, or what is wrong with the first bad name in them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        bytes.split(|byte| *byte == b'/').try_for_each(|name| Name::parse(name).map(drop))?;
        Ok(Self(bytes.into()))
    }

    /// What something is called that has a number and no path yet; `what` is a name.
    pub(crate) fn of_number(what: &str, number: u64) -> Self {
        Self(format!("{what} {number}").into_bytes().into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names in it, from the root downwards.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/')
    }

    /// The name that the path is, if it is of something in the root itself, as all of a flat folder is.
    pub fn flat_name(&self) -> Option<Name> {
        Name::parse(&self.0).ok()
    }

    /// The path as one of a share; `None` for one that a share does not have, which only a flat folder can bring.
    pub fn rel_path(&self) -> Option<RelPath> {
        RelPath::parse(&self.0).ok()
    }

    /// The path up to and with the name that is `depth` names below the root, counted from 0.
    pub(crate) fn up_to(&self, depth: usize) -> Self {
        let end = self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/').nth(depth);
        Self(self.0[..end.map_or(self.0.len(), |(at, _)| at)].into())
    }

    /// Whether it is somewhere below `folder`.
    pub(crate) fn is_below(&self, folder: &Self) -> bool {
        self.0.strip_prefix(&*folder.0).is_some_and(|rest| rest.first() == Some(&b'/'))
    }
}

impl From<&Name> for TreePath {
    fn from(name: &Name) -> Self {
        Self(name.as_bytes().into())
    }
}

impl From<&RelPath> for TreePath {
    fn from(path: &RelPath) -> Self {
        Self(path.as_bytes().into())
    }
}

impl PartialEq<Name> for TreePath {
    fn eq(&self, name: &Name) -> bool {
        &*self.0 == name.as_bytes()
    }
}

impl fmt::Display for TreePath {
    /// Escaped: one line, no control characters; see [`Escaped`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_of_names() {
        let path = TreePath::parse(b"a/b c/d").unwrap();
        assert_eq!(path.names().collect::<Vec<_>>(), [&b"a"[..], b"b c", b"d"]);
        let up_to: Vec<_> = (0..4).map(|depth| path.up_to(depth).to_string()).collect();
        assert_eq!(up_to, ["a", "a/b c", "a/b c/d", "a/b c/d"]);
        assert!(path.is_below(&path.up_to(1)) && !path.is_below(&path));
        assert!(!TreePath::parse(b"ab").unwrap().is_below(&path.up_to(0)));
        for (bytes, error) in [
            (&b""[..], NameError::Empty),
            (b"/a", NameError::Empty),
            (b"a//b", NameError::Empty),
            (b"a/../b", NameError::Dots),
            (b"a/b\0", NameError::Nul),
        ] {
            assert_eq!(TreePath::parse(bytes), Err(error));
        }
    }
}
