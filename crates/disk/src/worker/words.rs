//! The engine's words for what is on a disk, and ours.
//!
//! Promise: every conversion stands here, once, and what cannot be said in the other words is told with its reason.

use std::error::Error;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use shoal_engine::disk::{self as asked, Seen, SeenKind, Unknown};
use shoal_engine::history::Why;
use shoal_proto::id::DeviceId;
use shoal_proto::limits::SYMLINK_TARGET_BYTES_MAX;
use shoal_proto::path::RelPath;
use shoal_proto::record::{Mode, Timestamp};

use crate::stat::{Expected, FileTime, Kind, Look, Stat};
use crate::sweep::{Entry, Left, Shown, Swept, Unswept};
use crate::walk::{Barred, WalkError};

/// What a deed is to be planned against here, of what the engine saw.
pub(super) fn expected(seen: &Seen) -> Expected {
    let (kind, size) = match &seen.kind {
        SeenKind::File { size } => (Kind::File, *size),
        SeenKind::Directory => (Kind::Folder, 0),
        SeenKind::Symlink { target } => (Kind::Symlink, target.len() as u64),
    };
    Expected {
        kind,
        ino: seen.inode,
        size,
        mtime: seen.mtime.into(),
        ctime: seen.ctime.into(),
        mode: u32::from(seen.mode.bits()),
    }
}

/// What was looked at, in the engine's words; `target` is what a link says. `None` for what has no place in a share.
pub(super) fn seen(look: &Look, target: Option<&[u8]>) -> Option<Seen> {
    let Stat { ino, size, mtime, ctime, mode, .. } = look.stat;
    let mode = Mode::from_bits(mode);
    let seen = |kind, mtime: FileTime, mode, ctime: FileTime| {
        Some(Seen { kind, mtime: mtime.into(), mode, inode: ino, ctime: ctime.into() })
    };
    match look.kind {
        Kind::File => seen(SeenKind::File { size }, mtime, mode, ctime),
        Kind::Folder => seen(SeenKind::Directory, FileTime::default(), mode, FileTime::default()),
        Kind::Symlink => {
            seen(SeenKind::Symlink { target: target.unwrap_or_default().into() }, mtime, Mode::ZERO, ctime)
        }
        Kind::Fifo | Kind::Socket | Kind::Device | Kind::Unknown => None,
    }
}

/// What a sweep came across, for the engine. `Err`: no path can say where it was.
pub(super) fn swept(swept: Swept) -> Result<(RelPath, asked::Look), Left> {
    match swept {
        Swept::Entry(Entry { path, seen, target }) => Ok((path, looked(&seen, target.as_deref()))),
        Swept::Left(left) => match RelPath::parse(&left.path) {
            Ok(path) => Ok((path, asked::Look::Unknown(unknown(left.why)))),
            Err(_) => Err(left),
        },
    }
}

/// What one name shows, for the engine.
pub(super) fn shown(shown: Shown) -> asked::Look {
    match shown {
        Ok((seen, target)) => looked(&seen, target.as_deref()),
        Err(why) => asked::Look::Unknown(unknown(why)),
    }
}

fn looked(look: &Look, target: Option<&OsStr>) -> asked::Look {
    let target = target.map(OsStr::as_bytes);
    let is_target = |target: &[u8]| (1..=SYMLINK_TARGET_BYTES_MAX).contains(&target.len());
    if look.kind == Kind::Symlink && !target.is_some_and(is_target) {
        let text = format!("a link of more than {SYMLINK_TARGET_BYTES_MAX} bytes, or of none");
        return asked::Look::Unknown(Unknown::NoPath(text));
    }
    seen(look, target).map_or(asked::Look::Unknown(Unknown::Special), asked::Look::Seen)
}

fn unknown(why: Unswept) -> Unknown {
    match why {
        Unswept::Special(_) => Unknown::Special,
        Unswept::Unreadable => Unknown::Unreadable,
        Unswept::OtherFileSystem => Unknown::OtherFileSystem,
        Unswept::NoPath(error) => Unknown::NoPath(error.to_string()),
        Unswept::Failed(_) => Unknown::Failed(why.to_string()),
    }
}

/// What is at a path to which there is no way: nothing, if what stands on the way can have nothing below it.
pub(super) fn beyond(error: &WalkError) -> asked::Look {
    let unknown = |why| asked::Look::Unknown(why);
    match &error.why {
        Barred::Gone | Barred::Link | Barred::NotAFolder(Kind::File | Kind::Symlink) => asked::Look::Nothing,
        Barred::NotAFolder(Kind::Fifo | Kind::Socket | Kind::Device) => unknown(Unknown::Special),
        Barred::OtherFileSystem => unknown(Unknown::OtherFileSystem),
        Barred::NotPermitted => unknown(Unknown::Unreadable),
        Barred::Reserved => unknown(Unknown::NoPath(error.to_string())),
        Barred::NotAFolder(Kind::Folder | Kind::Unknown) | Barred::Failed(_) => {
            unknown(Unknown::Failed(error.to_string()))
        }
    }
}

/// Whose record displaced something, and why, in the line of a history's table: a device, and a word.
pub(super) fn who(by: Option<DeviceId>, why: Why) -> String {
    let word = WHYS.iter().find(|(of, _)| *of == why).map_or("", |(_, word)| word);
    let by = by.map_or_else(String::new, |by| by.to_string());
    [by.as_str(), word].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What [`who`] has written, as far as it can be read.
pub(super) fn who_of(text: &str) -> (Option<DeviceId>, Why) {
    let by = text.split(' ').find_map(DeviceId::parse);
    let why = text.split(' ').find_map(|part| WHYS.iter().find(|(_, word)| *word == part));
    (by, why.map_or(Why::Unknown, |(why, _)| *why))
}

const WHYS: [(Why, &str); 4] = [
    (Why::Replaced, "replaced"),
    (Why::Deleted, "deleted"),
    (Why::Conflict, "conflict"),
    (Why::Difference, "difference"),
];

/// A whole second as the engine has it.
pub(super) fn second(seconds: i64) -> Timestamp {
    FileTime { secs: seconds, nanos: 0 }.into()
}

/// An error with all that it rests on, in one line.
pub(super) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut under = error.source();
    while let Some(error) = under {
        let more = error.to_string();
        // Some say what they rest on already.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        under = error.source();
    }
    text
}
