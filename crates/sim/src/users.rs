//! What users do to their folders: edits, saves as programs make them, renames, deletions, modes, times, links.
//!
//! Promise: a user works in the share's folder alone, by what it shows at that moment: what cannot be done there is left
//! undone, as a person would. Begin at [`draw_steps`] and [`perform`].

use core::time::Duration;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use shoal_disk::mem::{MemDisk, Seen};
use shoal_disk::{FileTime, Kind};

use crate::draw::Draw;
use crate::performers::FOLDER;

/// What users write to. Folders are in it twice: as such, and as what others make files of.
const PATHS: [&str; 12] =
    ["a", "b", "plan.txt", "d/x", "d/y", "d/e/z", "f/g", "photo.jpg", "d", "f", "big.bin", "Übung.md"];

/// Largest file that a user makes, in bytes: more than one segment of the greatest usual size takes.
const BYTES_MAX: usize = 620 << 10;

/// One thing that a user does. Paths are from the share's folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Writes a file, made if it is not there, else cut and written anew. Folders above it are made.
    Write(String, Bytes),
    /// The same, with these bytes.
    Save(String, Vec<u8>),
    /// Writes the first half of a file, and goes on later.
    Begin(String, Bytes),
    /// Renames over whatever is there.
    Rename(String, String),
    /// Deletes a file or link.
    Remove(String),
    /// Deletes a folder and all that is in it.
    RemoveAll(String),
    /// Makes a folder, and those above it.
    MakeFolder(String),
    /// Sets permissions.
    Mode(String, u32),
    /// Sets a time, in seconds since 1970.
    Touch(String, i64),
    /// Makes a symbolic link that says this.
    Link(String, String),
    /// Copies a file with its time and permissions.
    Copy(String, String),
}

/// Bytes of a file, told by a few numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bytes {
    /// Equal numbers give equal bytes.
    pub number: u64,
    /// How many.
    pub size: usize,
    /// Which small change is made to them; 0: none.
    pub edit: u64,
}

impl Bytes {
    /// The bytes themselves.
    #[must_use]
    pub fn make(self) -> Vec<u8> {
        let mut bytes = vec![0; self.size];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.number.to_be_bytes());
        hasher.finalize_xof().fill(&mut bytes);
        if self.edit > 0 {
            let place = usize::try_from(self.edit % (self.size as u64 + 1)).unwrap_or_default();
            bytes.splice(place..place, self.edit.to_be_bytes());
        }
        bytes
    }
}

/// Draws one thing that a user does, as the steps of it, each with when it comes after the first.
pub fn draw_steps(draw: &mut Draw, number: usize) -> Vec<(Duration, Step)> {
    let path = PATHS[draw.below(PATHS.len())].to_owned();
    let bytes = draw_bytes(draw, number as u64 + 1);
    let beside = |end: &str| format!("{path}{end}");
    let steps = match draw.below(20) {
        0..=5 => vec![Step::Write(path, bytes)],
        // As most editors save.
        6 => vec![Step::Write(beside(".tmp"), bytes), Step::Rename(beside(".tmp"), path)],
        // In two steps, half of it in between.
        7 => vec![Step::Begin(path.clone(), bytes), Step::Write(path, bytes)],
        // With a backup beside it.
        8 => vec![Step::Rename(path.clone(), beside("~")), Step::Write(path, bytes)],
        9 | 10 => vec![Step::Rename(path, PATHS[draw.below(PATHS.len())].to_owned())],
        11 | 12 => vec![Step::Remove(path)],
        13 => vec![Step::RemoveAll(["d", "f", "d/e"][draw.below(3)].to_owned())],
        14 => vec![Step::MakeFolder(["d", "f", "d/e", "new"][draw.below(4)].to_owned())],
        15 => vec![Step::Mode(path, [0o600, 0o644, 0o755, 0o4755][draw.below(4)])],
        16 => vec![Step::Touch(path, i64::try_from(draw.below(2_000_000_000)).unwrap_or_default())],
        17 => {
            vec![Step::Link(["b", "../../outside", "/etc/passwd", "d"][draw.below(4)].to_owned(), path)]
        }
        18 => vec![Step::Copy(path, PATHS[draw.below(PATHS.len())].to_owned())],
        _ => vec![Step::Write(path, bytes), Step::Write(PATHS[draw.below(PATHS.len())].to_owned(), bytes)],
    };
    let gap = [0, 5, 400, 3000][draw.below(4)];
    let when = |place: usize| Duration::from_millis(place as u64 * gap);
    steps.into_iter().enumerate().map(|(place, step)| (when(place), step)).collect()
}

fn draw_bytes(draw: &mut Draw, number: u64) -> Bytes {
    let size = match draw.below(24) {
        0 => 0,
        1..=16 => 1 + draw.below(200),
        17..=21 => draw.below(20_000),
        22 => draw.below(120 << 10),
        _ => draw.below(BYTES_MAX),
    };
    // A large file is mostly an earlier one with a small change.
    if size > 60 << 10 && !draw.one_in(3) {
        return Bytes { number: 0, size: 500 << 10, edit: number };
    }
    // Short contents of different acts would else be equal by chance.
    let size = if size > 0 { size + 16 } else { 0 };
    Bytes { number, size, edit: 0 }
}

/// The files of a folder that a user sees, by their paths from it; without our own state.
pub type Tree = BTreeMap<Vec<u8>, Seen>;

/// What a user sees of the share on a disk. Empty, if the folder is not there.
#[must_use]
pub fn tree(disk: &MemDisk) -> Tree {
    let all = disk.user().tree(FOLDER).unwrap_or_default();
    let pairs = all.into_iter().map(|(path, seen)| (path.as_os_str().as_bytes().to_vec(), seen));
    pairs.filter(|(path, _)| path != b".shoal" && !path.starts_with(b".shoal/")).collect()
}

/// The user of a disk does this; the paths that it touched, if it could be done.
pub fn perform(disk: &MemDisk, step: &Step) -> Vec<String> {
    try_to(disk, step).unwrap_or_default()
}

fn try_to(disk: &MemDisk, step: &Step) -> Option<Vec<String>> {
    let user = disk.user();
    let shown = tree(disk);
    let is_at = |path: &str| shown.get(path.as_bytes());
    match step {
        Step::Write(path, bytes) => write(disk, &shown, path, &bytes.make()),
        Step::Save(path, bytes) => write(disk, &shown, path, bytes),
        Step::Begin(path, bytes) => {
            let bytes = bytes.make();
            write(disk, &shown, path, &bytes[..bytes.len() / 2])
        }
        Step::Rename(from, to) => {
            let kind = is_at(from)?.kind;
            if kind == Kind::Folder && (is_at(to).is_some() || is_in(to, from)) || is_in(from, to) {
                return None;
            }
            if kind != Kind::Folder && is_at(to).is_some_and(|seen| seen.kind == Kind::Folder) {
                return None;
            }
            let mut touched = make_folders_above(disk, &shown, to)?;
            user.rename(&full(from), &full(to)).ok()?;
            touched.extend([from.clone(), to.clone()]);
            Some(touched)
        }
        Step::Remove(path) => {
            (is_at(path)?.kind != Kind::Folder).then_some(())?;
            user.remove(&full(path)).ok()?;
            Some(vec![path.clone()])
        }
        Step::RemoveAll(path) => remove_all(disk, &shown, path),
        Step::MakeFolder(path) => {
            let mut touched = make_folders_above(disk, &shown, path)?;
            user.make_dir(&full(path)).ok()?;
            touched.push(path.clone());
            Some(touched)
        }
        Step::Mode(path, mode) => {
            let is_link = is_at(path)?.kind == Kind::Symlink;
            (!is_link).then_some(())?;
            user.set_mode(&full(path), *mode).ok()?;
            Some(vec![path.clone()])
        }
        Step::Touch(path, seconds) => {
            (is_at(path)?.kind == Kind::File).then_some(())?;
            user.touch(&full(path), FileTime { secs: *seconds, nanos: 0 }).ok()?;
            Some(vec![path.clone()])
        }
        Step::Link(target, path) => {
            let mut touched = make_folders_above(disk, &shown, path)?;
            user.symlink(target, &full(path)).ok()?;
            touched.push(path.clone());
            Some(touched)
        }
        Step::Copy(from, to) => {
            let Seen { kind: Kind::File, bytes, mode, mtime } = is_at(from)? else { return None };
            is_free_or(is_at(to), Kind::File)?;
            (from != to).then_some(())?;
            let mut touched = make_folders_above(disk, &shown, to)?;
            user.write(&full(to), bytes).ok()?;
            user.set_mode(&full(to), *mode).ok()?;
            user.touch(&full(to), *mtime).ok()?;
            touched.push(to.clone());
            Some(touched)
        }
    }
}

fn write(disk: &MemDisk, shown: &Tree, path: &str, bytes: &[u8]) -> Option<Vec<String>> {
    let mut touched = make_folders_above(disk, shown, path)?;
    is_free_or(shown.get(path.as_bytes()), Kind::File)?;
    disk.user().write(&full(path), bytes).ok()?;
    touched.push(path.to_owned());
    Some(touched)
}

fn is_free_or(seen: Option<&Seen>, kind: Kind) -> Option<()> {
    seen.is_none_or(|seen| seen.kind == kind).then_some(())
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `None` where a file or link is in the way: a user never writes through a link here.
fn make_folders_above(disk: &MemDisk, shown: &Tree, path: &str) -> Option<Vec<String>> {
    let mut made = Vec::new();
    for (slash, _) in path.match_indices('/') {
        let above = &path[..slash];
        match shown.get(above.as_bytes()) {
            Some(seen) if seen.kind == Kind::Folder => {}
            Some(_) => return None,
            None => {
                disk.user().make_dir(&full(above)).ok()?;
                made.push(above.to_owned());
            }
        }
    }
    Some(made)
}

fn remove_all(disk: &MemDisk, shown: &Tree, path: &str) -> Option<Vec<String>> {
    (shown.get(path.as_bytes())?.kind == Kind::Folder).then_some(())?;
    let mut touched = Vec::new();
    // What is deeper comes later in the order of paths.
    for (below, seen) in shown.iter().rev() {
        let Ok(below) = std::str::from_utf8(below) else { continue };
        if is_in(below, path) {
            match seen.kind {
                Kind::Folder => disk.user().remove_dir(&full(below)).ok()?,
                _ => disk.user().remove(&full(below)).ok()?,
            }
            touched.push(below.to_owned());
        }
    }
    Some(touched)
}

/// A path of the share as one of the disk.
#[must_use]
pub fn full(path: &str) -> String {
    format!("{FOLDER}/{path}")
}

#[cfg(test)]
mod tests {
    use shoal_disk::mem::Quirks;

    use super::*;

    fn disk() -> MemDisk {
        let disk = MemDisk::new(Quirks::default());
        disk.user().make_dir("/home").unwrap();
        disk.user().make_dir(FOLDER).unwrap();
        disk
    }

    fn bytes(number: u64) -> Bytes {
        Bytes { number, size: 20, edit: 0 }
    }

    #[test]
    fn a_user_does_what_can_be_done() {
        let disk = disk();
        let write = |path: &str, number| perform(&disk, &Step::Write(path.to_owned(), bytes(number)));
        assert_eq!(write("d/e/z", 1), ["d", "d/e", "d/e/z"]);
        assert_eq!(write("d", 2), [""; 0], "a folder is no file");
        assert_eq!(perform(&disk, &Step::Link("../..".to_owned(), "l".to_owned())), ["l"]);
        assert_eq!(write("l/x", 3), [""; 0], "nobody steps through a link");
        assert_eq!(perform(&disk, &Step::Rename("d".to_owned(), "d/e/f".to_owned())), [""; 0]);
        assert_eq!(perform(&disk, &Step::Rename("d".to_owned(), "f".to_owned())), ["d", "f"]);
        assert_eq!(perform(&disk, &Step::Begin("f/e/z".to_owned(), bytes(4))), ["f/e/z"]);
        assert_eq!(tree(&disk)[&b"f/e/z"[..]].bytes, bytes(4).make()[..10]);
        assert_eq!(perform(&disk, &Step::RemoveAll("f".to_owned())), ["f/e/z", "f/e", "f"]);
        assert_eq!(tree(&disk).len(), 1);
    }

    #[test]
    fn bytes_with_an_edit_differ_in_one_place() {
        let (plain, edited) = (bytes(3).make(), Bytes { edit: 9, ..bytes(3) }.make());
        assert_eq!(edited.len(), plain.len() + 8);
        assert_eq!([&edited[..9], &edited[17..]].concat(), plain);
    }
}
