//! The list of a batch: for each number that is about to be exchanged with a user's file, what to make of it later.
//!
//! Promise: a list is durable before anything on it is exchanged and is removed only after all of it is settled. So
//! whoever finds one knows of every number on it whether it still holds our file, by inode, size and time, or the
//! user's, and under which name to keep that. A list without its end was never acted upon.
//!
//! Only what takes something of the user's away is listed: a file that gets a free name displaces nothing. The device is left out on purpose,
//! because it can have another number after a restart of the machine, and a batch never leaves its file system.

use std::io::{self, Read, Write};
use std::str::FromStr;

use shoal_proto::limits::PATH_BYTES_MAX;

use crate::commit::BATCH_FILES_MAX;
use crate::escape::{Escaped, unescape};
use crate::folder::Shared;
use crate::fs::{Fs, FsDir, FsFile};
use crate::number::Number;
use crate::path::TreePath;
use crate::stat::{FileTime, Stat};

/// What one deed of a batch takes away.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Listed {
    pub(crate) number: Number,
    /// By what our own thing in the slot is known; `None` if a file or link in the slot can only be the user's.
    pub(crate) ours: Option<Identity>,
    pub(crate) by: String,
    pub(crate) path: TreePath,
}

/// By what our own file is known again, also after a rename or a restart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    ino: u64,
    size: u64,
    mtime: FileTime,
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self { ino: stat.ino, size: stat.size, mtime: stat.mtime }
    }
}

/// A list on disk.
#[derive(Debug)]
pub(crate) struct ListFile<F: Fs> {
    number: Number,
    file: F::File,
    /// When it was written, in seconds since 1970 by the file system's clock.
    pub(crate) written: i64,
}

impl<F: Fs> ListFile<F> {
    /// Writes the list of a batch; not durable yet.
    pub(crate) fn write(folder: &Shared<F>, listed: &[Listed]) -> io::Result<Self> {
        let number = folder.numbers.draw();
        let mut file = folder.staging.create_new(number.list_name().as_ref())?;
        let written = file.write_all(encode(listed).as_bytes()).and_then(|()| file.look_through());
        match written {
            Ok(seen) => Ok(Self { number, file, written: seen.stat.mtime.secs }),
            Err(error) => {
                // Without its end it means nothing, should it stay.
                let _ = folder.staging.remove(number.list_name().as_ref());
                Err(error)
            }
        }
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Removes the list. If the system refuses, the next start does it.
    pub(crate) fn remove(self, folder: &Shared<F>) {
        let _ = folder.staging.remove(self.number.list_name().as_ref());
    }
}

/// Reads a list that was left behind, with the second in which it was written; `None` if it has no end.
pub(crate) fn read<F: Fs>(folder: &Shared<F>, number: Number) -> io::Result<Option<(i64, Vec<Listed>)>> {
    let mut file = folder.staging.open_file(number.list_name().as_ref())?;
    let Stat { size, mtime, .. } = file.look_through()?.stat;
    if size > LIST_BYTES_MAX {
        // Not one of ours, but who knows what it names: it must not pass for one without an end.
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(decode(&bytes).map(|listed| (mtime.secs, listed)))
}

fn encode(listed: &[Listed]) -> String {
    let mut text = format!("{HEADER}\n");
    for Listed { number, ours, by, path } in listed {
        let ours = match ours {
            Some(Identity { ino, size, mtime: FileTime { secs, nanos } }) => {
                format!("{ino}\t{size}\t{secs}\t{nanos}")
            }
            None => NOTHING_OF_OURS.into(),
        };
        let by = Escaped(by.as_bytes());
        text.push_str(&format!("{number}\t{ours}\t{by}\t{path}\n"));
    }
    text.push_str(&format!("end {}\n", listed.len()));
    text
}

fn decode(bytes: &[u8]) -> Option<Vec<Listed>> {
    let text = bytes.strip_suffix(b"\n")?;
    let mut lines = text.split(|byte| *byte == b'\n');
    let header = lines.next()?;
    if header != HEADER.as_bytes() && header != FLAT_HEADER.as_bytes() {
        return None;
    }
    let end = lines.next_back()?.strip_prefix(b"end ")?;
    let listed: Vec<_> = lines.map(decode_line).collect::<Option<_>>()?;
    (number_in::<usize>(end)? == listed.len()).then_some(listed)
}

fn decode_line(line: &[u8]) -> Option<Listed> {
    let fields: Vec<_> = line.split(|byte| *byte == b'\t').collect();
    let [number, ino, size, secs, nanos, by, path] = fields[..] else { return None };
    let ours = match [ino, size, secs, nanos] {
        [b"-", b"-", b"-", b"-"] => None,
        _ => Some(Identity {
            ino: number_in(ino)?,
            size: number_in(size)?,
            mtime: FileTime { secs: number_in(secs)?, nanos: number_in(nanos)? },
        }),
    };
    let path = TreePath::parse(&unescape(path)?).ok()?;
    Some(Listed { number: Number::parse(number)?, ours, by: text_in(by)?, path })
}

/// A decimal number in a field of one of our files.
pub(crate) fn number_in<T: FromStr>(field: &[u8]) -> Option<T> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// An escaped text in a field of one of our files.
pub(crate) fn text_in(field: &[u8]) -> Option<String> {
    String::from_utf8(unescape(field)?).ok()
}

const HEADER: &str = "shoal batch 2";

/// The lists of batches that knew no folders: one name for a path, and always something of ours. They are read as well.
const FLAT_HEADER: &str = "shoal batch 1";

const NOTHING_OF_OURS: &str = "-\t-\t-\t-";

/// A sender is cut to so many bytes, so that a list stays within its bounds.
pub(crate) const SENDER_BYTES_MAX: usize = 255;

const LIST_BYTES_MAX: u64 = 32 << 20;

/// Each byte of a path or a sender takes at most four when escaped; the numbers of a line fit into 128 bytes.
const _: () = assert!(
    LIST_BYTES_MAX > (BATCH_FILES_MAX * (4 * (PATH_BYTES_MAX + SENDER_BYTES_MAX) + 128)) as u64,
    "a list must hold a full batch"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(number: u64, name: &[u8]) -> Listed {
        let stat = Stat {
            dev: 1,
            ino: 77,
            size: 5,
            mtime: FileTime { secs: -3, nanos: 999_999_999 },
            ctime: FileTime::default(),
            mode: 0o644,
            nlink: 1,
        };
        Listed {
            number: Number(number),
            ours: Some((&stat).into()),
            by: "192.0.2.1:80\t".into(),
            path: TreePath::parse(name).unwrap(),
        }
    }

    #[test]
    fn a_list_reads_as_it_was_written() {
        let nothing_of_ours = Listed { ours: None, ..listed(3, b"folder/below/it") };
        for list in [vec![], vec![listed(1, b"a\tb\nc\\"), listed(u64::MAX, &[0xff; 255]), nothing_of_ours]] {
            assert_eq!(decode(encode(&list).as_bytes()), Some(list));
        }
    }

    #[test]
    fn a_list_from_before_there_were_folders_is_read() {
        let text = b"shoal batch 1\n\
            0000000000000001\t77\t5\t-3\t999999999\t192.0.2.1:80\\x09\ta\\x09b\n\
            end 1\n";
        assert_eq!(decode(text), Some(vec![listed(1, b"a\tb")]));
    }

    #[test]
    fn a_list_cut_anywhere_is_no_list() {
        let text = encode(&[listed(1, b"one"), listed(2, b"two")]);
        for length in 0..text.len() {
            assert_eq!(decode(&text.as_bytes()[..length]), None, "{length}");
        }
        assert_eq!(decode((text + "x\n").as_bytes()), None);
    }
}
