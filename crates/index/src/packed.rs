//! What was last seen on this disk, as a row keeps it: packed into one column, since each column of a statement costs.
//!
//! Promise: what was packed is unpacked as it was, or the index is said to be damaged. `schema/1.sql` says what stands
//! where.

use rusqlite::Row as SqlRow;
use shoal_proto::hash::ContentId;
use shoal_proto::here::Here;
use shoal_proto::record::{Kind, Mode, Timestamp, Version};

use crate::error::IndexError;

const LINK: u8 = 1;
const FILE: u8 = 2;
const FOLDER: u8 = 3;

/// Puts what is here, packed, in place of what was in the buffer.
pub(crate) fn pack(here: &Here, bytes: &mut Vec<u8>) {
    let Here { version: Version { kind, mtime, mode }, inode, ctime } = here;
    bytes.clear();
    bytes.push(match kind {
        Kind::Symlink { .. } => LINK,
        Kind::File { .. } => FILE,
        // Nothing that is gone is ever here.
        Kind::Directory | Kind::Gone { .. } => FOLDER,
    });
    for time in [mtime, ctime] {
        bytes.extend_from_slice(&time.seconds.to_be_bytes());
        bytes.extend_from_slice(&time.nanos().to_be_bytes());
    }
    bytes.extend_from_slice(&inode.to_be_bytes());
    bytes.extend_from_slice(&mode.bits().to_be_bytes());
    match kind {
        Kind::Symlink { target } => bytes.extend_from_slice(target),
        Kind::File { size, content } => {
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(content.as_bytes());
        }
        Kind::Directory | Kind::Gone { .. } => {}
    }
}

/// What is here, at this column; `None` where nothing is.
pub(crate) fn here_in(sql: &SqlRow<'_>, at: usize) -> Result<Option<Here>, IndexError> {
    column(sql, at)?.map(|bytes| unpack(bytes).ok_or_else(damaged)).transpose()
}

/// As [`here_in`], without times and mode.
pub(crate) fn kind_in(sql: &SqlRow<'_>, at: usize) -> Result<Option<Kind>, IndexError> {
    let kind = |bytes: &[u8]| kind(*bytes.first()?, bytes.get(KIND_AT..)?);
    column(sql, at)?.map(|bytes| kind(bytes).ok_or_else(damaged)).transpose()
}

/// Where what only some kinds have begins.
const KIND_AT: usize = 1 + 12 + 12 + 8 + 2;

fn unpack(bytes: &[u8]) -> Option<Here> {
    let (&which, rest) = bytes.split_first()?;
    let (mtime, rest) = time(rest)?;
    let (ctime, rest) = time(rest)?;
    let (inode, rest) = rest.split_first_chunk()?;
    let (mode, rest) = rest.split_first_chunk()?;
    let mode = Mode::from_bits(u16::from_be_bytes(*mode).into());
    let version = Version::new(kind(which, rest)?, mtime, mode);
    Some(Here { version, inode: u64::from_be_bytes(*inode), ctime })
}

fn kind(which: u8, rest: &[u8]) -> Option<Kind> {
    match which {
        LINK => Some(Kind::Symlink { target: rest.into() }),
        FILE => {
            let (size, content) = rest.split_first_chunk()?;
            let content = ContentId::from_bytes(content.try_into().ok()?);
            Some(Kind::File { size: u64::from_be_bytes(*size), content })
        }
        FOLDER => rest.is_empty().then_some(Kind::Directory),
        _ => None,
    }
}

fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (seconds, rest) = bytes.split_first_chunk()?;
    let (nanos, rest) = rest.split_first_chunk()?;
    Some((Timestamp::new(i64::from_be_bytes(*seconds), u32::from_be_bytes(*nanos))?, rest))
}

fn column<'a>(sql: &'a SqlRow<'_>, at: usize) -> Result<Option<&'a [u8]>, IndexError> {
    let value = sql.get_ref(at).map_err(IndexError::database("read what was here"))?;
    value.as_blob_or_null().map_err(IndexError::damaged)
}

fn damaged() -> IndexError {
    IndexError::damaged("what was here in a form that there is not")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_proto::arb;

    use super::*;

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked_and_no_part_of_it_is_anything(
            record in arb::record(), inode: u64, seconds: i64, nanos in 0..1_000_000_000_u32
        ) {
            prop_assume!(!record.version.kind.is_gone());
            let here =
                Here { version: record.version, inode, ctime: Timestamp::new(seconds, nanos).unwrap() };
            let mut bytes = vec![7; 3];
            pack(&here, &mut bytes);
            prop_assert_eq!(kind(bytes[0], &bytes[KIND_AT..]), Some(here.version.kind.clone()));
            prop_assert_eq!(unpack(&bytes), Some(here.clone()));
            let is_link = matches!(here.version.kind, Kind::Symlink { .. });
            let fixed = if is_link { KIND_AT } else { bytes.len() };
            for length in 0..fixed {
                prop_assert_eq!(unpack(&bytes[..length]), None);
            }
            bytes[0] = 9;
            prop_assert_eq!(unpack(&bytes), None);
        }
    }
}
