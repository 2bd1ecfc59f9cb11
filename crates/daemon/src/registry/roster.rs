//! What is known of who belongs to a share, kept beside its index: the signed entries of its roster, in a file of their own.
//!
//! Promise: a device that has lost its index knows who was removed, and what it has signed itself, before it speaks with
//! anybody (I18, I26). The file is old or new, never half. Of one that is damaged nothing counts, since a part of a roster may
//! have the entry by which a device came in and not the one that removed it. Begin at [`RosterFile`]; while its share is
//! at work a [`RosterKeeper`] has it.
//!
//! ```text
//! "shoal roster" 0 0 0 · form, 1 byte · share, 32 · the entries' hash, 32 · how many, 4 · of each: length, 4, and its bytes
//! ```
//!
//! Numbers are little-endian.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_proto::limits::{ROSTER_BYTES_MAX, ROSTER_ENTRIES_MAX};
use shoal_proto::roster::{Entries, Entry, Founding};

use crate::control::Diary;
use crate::control::report::Happening;
use crate::home::Home;
use crate::private::{self, PrivateError, shown};

/// The longest file.
const FILE_BYTES_MAX: u64 = (HEAD_BYTES + 4 * ROSTER_ENTRIES_MAX + ROSTER_BYTES_MAX) as u64;

/// What begins each file.
const MAGIC: [u8; 15] = *b"shoal roster\0\0\0";

/// The version of the form of the files.
const FORM: u8 = 1;

const HEAD_BYTES: usize = MAGIC.len() + 1 + 32 + 32 + 4;

/// After a file could not be written, so long passes before it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The file of one share.
#[derive(Clone, Debug)]
pub struct RosterFile {
    path: PathBuf,
    founding: Founding,
}

/// What a file holds.
#[derive(Debug)]
pub enum Kept {
    /// There is none.
    Nothing,
    /// Just what is known.
    Same,
    /// These.
    Other(Entries),
}

/// Keeps a file the same as what an index knows.
#[derive(Debug)]
pub struct RosterKeeper {
    file: RosterFile,
    /// Where it is told that this cannot be done.
    diary: Arc<Diary>,
    /// How many entries the file has, and their bytes: an index lets go of none.
    kept: Option<(usize, usize)>,
    /// When it could not be written.
    failed: Option<Instant>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RosterFileError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// A later Shoal wrote it.
    #[error("{path} has form {form}, and this Shoal reads form {FORM}: use the later one that wrote it")]
    Later {
        /// The file.
        path: String,
        /// Its form.
        form: u8,
    },
    /// Not what was written there.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
}

impl RosterFile {
    /// That of the share that was founded so.
    #[must_use]
    pub fn of(home: &Home, founding: Founding) -> Self {
        Self { path: home.roster_file(&founding.share()), founding }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds beside what is known. All signatures of what may be new are checked.
    ///
    /// # Errors
    /// When it cannot be read, or is not just what was written: then nothing of it counts.
    pub fn read(&self, known: &Entries) -> Result<Kept, RosterFileError> {
        let Some(bytes) = private::read(&self.path, FILE_BYTES_MAX)? else { return Ok(Kept::Nothing) };
        if *bytes == self.form(known) {
            return Ok(Kept::Same);
        }
        // Its share and its entries are where that Shoal says, so nothing more is looked at.
        if let Some(form) = bytes.strip_prefix(&MAGIC).and_then(<[u8]>::first).filter(|form| **form > FORM) {
            return Err(RosterFileError::Later { path: shown(&self.path), form: *form });
        }
        let damaged = |what| RosterFileError::Damaged { path: shown(&self.path), what };
        self.entries(&bytes).map(Kept::Other).map_err(damaged)
    }

    /// Has it hold these entries, durably.
    ///
    /// # Errors
    /// When it cannot be written; then what was there before still is.
    pub fn write(&self, entries: &Entries) -> Result<(), RosterFileError> {
        Ok(private::write(&self.path, &self.form(entries))?)
    }

    fn form(&self, entries: &Entries) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + 4 * entries.len() + entries.bytes());
        bytes.extend(MAGIC);
        bytes.push(FORM);
        bytes.extend(self.founding.share().as_bytes());
        bytes.extend(entries.hash());
        bytes.extend(small(entries.len()).to_le_bytes());
        for entry in entries.iter().map(Entry::encode) {
            bytes.extend(small(entry.len()).to_le_bytes());
            bytes.extend(entry);
        }
        bytes
    }

    fn entries(&self, bytes: &[u8]) -> Result<Entries, String> {
        let mut bytes = Cut(bytes);
        let share = self.founding.share();
        if bytes.take()? != MAGIC {
            return Err("it does not begin as such a file does".into());
        }
        match bytes.take()? {
            [FORM] => {}
            [form] => return Err(format!("there is no form {form}")),
        }
        if bytes.take()? != *share.as_bytes() {
            return Err("it is of another share".into());
        }
        let (hash, count): ([u8; 32], u32) = (bytes.take()?, u32::from_le_bytes(bytes.take()?));
        let mut entries = Entries::new(self.founding);
        for number in 0..count {
            let length = u32::from_le_bytes(bytes.take()?) as usize;
            let entry = Entry::decode(bytes.split(length)?, &share)
                .map_err(|error| format!("number {number} is {error}"))?;
            entries.insert(entry).map_err(|error| error.to_string())?;
        }
        if entries.hash() != hash || !bytes.0.is_empty() {
            return Err("what it holds is not what was written".into());
        }
        Ok(entries)
    }
}

impl RosterKeeper {
    /// Keeps this file, which holds these entries; `None`: what it holds is not known.
    #[must_use]
    pub fn new(file: RosterFile, diary: Arc<Diary>, holds: Option<&Entries>) -> Self {
        Self { file, diary, kept: holds.map(amount), failed: None }
    }

    /// Has the file hold what is known now, durably, if it may have changed. Where that cannot be done it is told, and tried
    /// again when this is called later: the index knows it.
    pub fn keep(&mut self, entries: &Entries) {
        if self.failed.is_none_or(|failed| failed.elapsed() >= AGAIN_AFTER) {
            self.keep_at_last(entries);
        }
    }

    /// The same, however short ago it could not be done: what is to be kept is about to be closed.
    pub fn keep_at_last(&mut self, entries: &Entries) {
        let now = amount(entries);
        if self.kept == Some(now) {
            return;
        }
        match self.file.write(entries) {
            Ok(()) => (self.kept, self.failed) = (Some(now), None),
            Err(error) => {
                if self.failed.replace(Instant::now()).is_none() {
                    self.warn(&error);
                }
            }
        }
    }

    fn warn(&self, error: &RosterFileError) {
        let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        let message = format!(
            "who belongs to this share stands in its index alone until this is over: {error}: {source}"
        );
        tracing::warn!("{message}");
        self.diary.note(Some(self.file.founding.share()), Happening::Warning { message });
    }
}

fn amount(entries: &Entries) -> (usize, usize) {
    (entries.len(), entries.bytes())
}

/// Of a bounded set all numbers fit.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

const _: () = assert!(ROSTER_BYTES_MAX < u32::MAX as usize);

/// What is left to be read.
struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn split(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.0.split_at_checked(length).ok_or("it is cut short")?;
        self.0 = rest;
        Ok(head)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, rest) = self.0.split_first_chunk().ok_or("it is cut short")?;
        self.0 = rest;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use shoal_proto::key::DeviceKey;
    use shoal_proto::roster::{Described, DeviceName, Statement};

    use super::*;
    use crate::home::Environment;

    /// A file of a share in this folder, and its founder's entries, so many of them.
    fn kept(folder: &tempfile::TempDir, count: usize) -> (RosterFile, Entries) {
        let home = Home::find(Some(folder.path()), &Environment::default()).unwrap();
        home.hold().unwrap();
        let key = DeviceKey::from_seed(&[1; 32]);
        let founding = Founding { creator: key.device(), random: [2; 32], cut: 1 };
        let mut entries = Entries::new(founding);
        for number in 0..count {
            let name = DeviceName::parse(&format!("ana {number}")).unwrap();
            let said = Statement::Device(Described { name, box_key: key.box_key() });
            let after = entries.roster().last_entry(&key.device());
            entries.insert(Entry::sign(&key, &founding.share(), after, said).unwrap()).unwrap();
        }
        (RosterFile::of(&home, founding), entries)
    }

    fn read(file: &RosterFile) -> Result<Kept, RosterFileError> {
        file.read(&Entries::new(file.founding))
    }

    #[test]
    fn what_is_written_is_read_again_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let (file, entries) = kept(&folder, 3);
        assert!(matches!(read(&file), Ok(Kept::Nothing)));
        file.write(&entries).unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(file.read(&entries), Ok(Kept::Same)));
        let Ok(Kept::Other(again)) = read(&file) else { panic!() };
        assert_eq!((again.hash(), again.len()), (entries.hash(), 3));
        file.write(&Entries::new(file.founding)).unwrap();
        assert!(matches!(read(&file), Ok(Kept::Same)), "of nothing, too");
    }

    /// What the file looks like stays: others were written before.
    #[test]
    fn the_form_is_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (file, entries) = kept(&folder, 1);
        let form = file.form(&entries);
        let hash = *blake3::hash(&form).as_bytes();
        let hash = data_encoding::HEXLOWER.encode(&hash[..8]);
        assert_eq!(
            (form.len(), &form[..16], &*hash),
            (256, &b"shoal roster\0\0\0\x01"[..], "915e6389364a89b3")
        );
    }

    #[test]
    fn i26_of_a_damaged_file_nothing_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (file, entries) = kept(&folder, 2);
        let whole = file.form(&entries);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            for bytes in [&bytes[..], &whole[..at]] {
                fs::write(file.path(), bytes).unwrap();
                fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
                let error = read(&file).unwrap_err();
                assert!(error.to_string().contains("is damaged"), "{at}: {error}");
                assert_eq!(fs::read(file.path()).unwrap(), bytes, "it is left as it is");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let (file, entries) = kept(&folder, 2);
        let whole = file.form(&entries);
        let with = |at: usize, byte: u8| [&whole[..at], &[byte], &whole[at + 1..]].concat();
        let all = [&whole[..], b"!"].concat();
        // The same entry twice, and so one less than is counted.
        let one = &whole[HEAD_BYTES..HEAD_BYTES + (whole.len() - HEAD_BYTES) / 2];
        let twice = [&whole[..HEAD_BYTES], one, one].concat();
        for (bytes, what) in [
            (with(0, b'S'), "does not begin"),
            (with(15, 0), "is damaged: there is no form 0"),
            (with(15, 2), "has form 2, and this Shoal reads form 1"),
            (with(16, !whole[16]), "another share"),
            (whole[..whole.len() - 1].to_vec(), "cut short"),
            (Vec::new(), "cut short"),
            (all, "not what was written"),
            (twice, "not what was written"),
        ] {
            fs::write(file.path(), bytes).unwrap();
            fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
            let error = read(&file).unwrap_err().to_string();
            assert!(error.contains(what), "{what}: {error}");
        }
        let sparse = fs::File::create(file.path()).unwrap();
        sparse.set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("longer than it can be"));
        fs::set_permissions(file.path(), Permissions::from_mode(0o644)).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("open to others"));
    }

    #[test]
    fn a_keeper_writes_what_is_new_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (file, entries) = kept(&folder, 2);
        let mut keeper = RosterKeeper::new(file.clone(), Arc::new(Diary::new(1)), None);
        keeper.keep(&entries);
        assert!(matches!(file.read(&entries), Ok(Kept::Same)));
        let inode = || fs::metadata(file.path()).unwrap().ino();
        let (before, held) = (inode(), fs::File::open(file.path()).unwrap());
        keeper.keep(&entries);
        assert_eq!(inode(), before);
        let (_, more) = kept(&folder, 3);
        keeper.keep(&more);
        assert_ne!(inode(), before);
        drop(held);
        assert!(matches!(file.read(&more), Ok(Kept::Same)));
    }

    #[test]
    fn a_keeper_that_cannot_write_tries_again_later() {
        let folder = tempfile::tempdir().unwrap();
        let (file, entries) = kept(&folder, 2);
        let diary = Arc::new(Diary::new(1));
        let mut keeper = RosterKeeper::new(file.clone(), Arc::clone(&diary), None);
        let long_ago =
            |keeper: &mut RosterKeeper| keeper.failed = keeper.failed.unwrap().checked_sub(AGAIN_AFTER);
        fs::create_dir(file.path()).unwrap();
        keeper.keep(&entries);
        long_ago(&mut keeper);
        keeper.keep(&entries);
        assert_eq!(diary.position().sequence, 1, "it is told, and once");
        fs::remove_dir(file.path()).unwrap();
        keeper.keep(&entries);
        assert!(!file.path().exists(), "so soon");
        long_ago(&mut keeper);
        keeper.keep(&entries);
        assert!(matches!(file.read(&entries), Ok(Kept::Same)));

        let (_, more) = kept(&folder, 3);
        fs::remove_file(file.path()).unwrap();
        fs::create_dir(file.path()).unwrap();
        keeper.keep(&more);
        assert_eq!(diary.position().sequence, 2);
        fs::remove_dir(file.path()).unwrap();
        keeper.keep_at_last(&more);
        assert!(matches!(file.read(&more), Ok(Kept::Same)));
    }
}
