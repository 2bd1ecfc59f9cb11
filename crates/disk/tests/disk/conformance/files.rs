//! What is done with an open file.

use std::io::{self, Read, Write};
use std::ops::Range;

use rustix::io::Errno;
use shoal_disk::{FileTime, Fs, FsDir, FsFile};

use super::{Bench, Check, Checked, Stopped, os, secs};

pub(super) fn checks<F: Fs>() -> Vec<Check<F>> {
    vec![
        ("reading and writing", reads_and_writes),
        ("reading anywhere", reads_anywhere),
        ("appending", appends),
        ("handles for reading", reads_only),
        ("cutting and lengthening", sets_length),
        ("taking room", reserves),
        ("holes", finds_data),
        ("permissions of files", modes),
        ("times", times),
        ("times of changes", change_times),
        ("syncing files", syncs),
        ("locks", locks),
        ("open files and names", outlives),
    ]
}

fn reads_and_writes<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let mut file = b.does("make", b.dir.create_new(os("a")))?;
    b.does("write", file.write_all(b"0123456789"))?;
    let mut text = String::new();
    b.same("from its place", b.does("read", file.read_to_string(&mut text))?, 0)?;
    // Another handle has a place of its own, and sees at once what was written.
    let mut other = b.does("open", b.dir.open_file(os("a")))?;
    let mut buffer = [0; 4];
    b.does("read", other.read_exact(&mut buffer))?;
    b.does("write", file.write_all(b"abc"))?;
    b.does("read", other.read_to_string(&mut text))?;
    b.same("bytes", (&buffer, &*text), (b"0123", "456789abc"))?;
    let mut third = b.does("open", b.dir.open_or_create(os("a")))?;
    b.does("write over", third.write_all(b"xy"))?;
    b.same("bytes", b.read(&b.dir, "a")?, "xy23456789abc".into())
}

fn reads_anywhere<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let mut file = b.does("make", b.dir.create_new(os("a")))?;
    b.does("write", file.write_all(b"0123456789"))?;
    let mut buffer = [0; 4];
    b.same("in the middle", b.does("read", file.read_at(&mut buffer, 3))?, 4)?;
    b.same("bytes", &buffer, b"3456")?;
    b.same("at the end", b.does("read", file.read_at(&mut buffer, 8))?, 2)?;
    b.same("beyond", b.does("read", file.read_at(&mut buffer, 10))?, 0)?;
    b.same("far beyond", b.does("read", file.read_at(&mut buffer, 1 << 40))?, 0)?;
    b.same("nowhere", b.does("write", file.write_at(b"ab", 1))?, 2)?;
    b.does("write", file.write_all(b"!"))?;
    b.same("its place was not moved", b.read(&b.dir, "a")?, "0ab3456789!".into())?;
    b.same("a gap", b.does("write", file.write_at(b"z", 13))?, 1)?;
    b.same("of zeros", b.read(&b.dir, "a")?, "0ab3456789!\0\0z".into())?;
    b.same("no bytes", b.does("write", file.write_at(b"", 100))?, 0)?;
    b.same("lengthen nothing", b.does("look", file.look_through())?.stat.size, 14)
}

fn appends<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let mut file = b.does("make", b.dir.open_append(os("a")))?;
    let mut other = b.does("open", b.dir.open_append(os("a")))?;
    b.does("write", file.write_all(b"one "))?;
    b.does("write", other.write_all(b"two "))?;
    b.does("write", file.write_all(b"three "))?;
    // Where it says does not count.
    b.does("write", file.write_at(b"four", 0))?;
    b.same("in order", b.read(&b.dir, "a")?, "one two three four".into())
}

fn reads_only<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "a", "bytes")?;
    let mut file = b.does("open", b.dir.open_file(os("a")))?;
    b.refuses("write", file.write(b"x"), &[Errno::BADF])?;
    b.refuses("write", file.write_at(b"x", 0), &[Errno::BADF])?;
    b.refuses("cut", file.set_len(0), &[Errno::INVAL, Errno::BADF])?;
    if b.manners.sets_times {
        b.does("a time can be set", file.set_mtime(secs(5)))?;
    }
    b.does("permissions can be set", file.set_mode(0o640))?;
    b.does("it can be synced", file.sync())?;
    b.same("bytes", b.read(&b.dir, "a")?, "bytes".into())
}

fn sets_length<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "a", &"x".repeat(9_000))?;
    let file = b.does("open", b.dir.open_or_create(os("a")))?;
    b.does("cut", file.set_len(4_100))?;
    b.same("cut", b.read(&b.dir, "a")?, "x".repeat(4_100))?;
    b.does("lengthen", file.set_len(9_000))?;
    b.same("with zeros", b.read(&b.dir, "a")?, "x".repeat(4_100) + &"\0".repeat(4_900))?;
    b.does("empty", file.set_len(0))?;
    b.same("size", b.does("look", file.look_through())?.stat.size, 0)
}

fn reserves<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "a", "bytes")?;
    let file = b.does("open", b.dir.open_or_create(os("a")))?;
    match file.reserve(100_000) {
        // A file system that cannot says so.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => {}
        result => b.does("take room", result)?,
    }
    b.same("not lengthened", b.does("look", file.look_through())?.stat.size, 5)?;
    b.same("bytes", b.read(&b.dir, "a")?, "bytes".into())?;
    b.does("no room", file.reserve(0))?;
    b.does("write", file.write_at(&[0; 8_192], 100))?;
    file.release(4_096..8_192);
    file.release(1 << 40..1 << 41);
    let bytes = b.read(&b.dir, "a")?;
    let zeros = bytes.chars().filter(|byte| *byte == '\0').count();
    b.same("zeros given back are zeros", (&bytes[..5], zeros, bytes.len()), ("bytes", 8_287, 8_292))?;
    b.refuses("too much", file.reserve(1 << 60), &[Errno::NOSPC, Errno::FBIG, Errno::OPNOTSUPP])
}

fn finds_data<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let step = 256 << 10;
    let file = b.does("make", b.dir.create_new(os("a")))?;
    b.same("an empty file", data(b, &file)?, vec![])?;
    b.does("lengthen", file.set_len(3 * step + 5))?;
    b.does("write", file.write_at(&[7; 10], step))?;
    b.does("write", file.write_at(&[7; 10], 2 * step + 1))?;
    let found = data(b, &file)?;
    let holds = |from: u64| found.iter().any(|range| range.start <= from && from + 10 <= range.end);
    b.holds("what was written is data", holds(step) && holds(2 * step + 1))?;
    let end = found.last().map(|range| range.end);
    b.holds("and nothing beyond the end", end.is_some_and(|end| end <= 3 * step + 5))?;
    // From the middle of data on, what is left of it.
    if let Some(next) = b.next(&file, step + 3)? {
        b.same("from the middle", next.map(|next| next.start), Some(step + 3))?;
        b.same("from the end", b.next(&file, 3 * step + 5)?, Some(None))?;
        b.same("from beyond", b.next(&file, 1 << 40)?, Some(None))?;
    }
    let mut bytes = Vec::new();
    b.does("read", b.does("open", b.dir.open_file(os("a")))?.read_to_end(&mut bytes))?;
    let written = bytes.iter().filter(|byte| **byte == 7).count();
    b.same("holes are read as zeros", (bytes.len() as u64, written), (3 * step + 5, 20))
}

/// Everything that is no hole; everything at all where that cannot be told.
fn data<F: Fs>(b: &Bench<'_, F>, file: &F::File) -> Result<Vec<Range<u64>>, Stopped> {
    let (mut found, mut from) = (Vec::<Range<u64>>::new(), 0);
    loop {
        match b.next(file, from)? {
            None => {
                let size = b.does("look", file.look_through())?.stat.size;
                return Ok((size > 0).then_some(0..size).into_iter().collect());
            }
            Some(None) => return Ok(found),
            Some(Some(range)) => {
                b.holds("forwards, and not empty", from <= range.start && range.start < range.end)?;
                from = range.end;
                found.push(range);
            }
        }
    }
}

impl<F: Fs> Bench<'_, F> {
    /// The next run of data; nothing at all if the file system does not tell.
    #[expect(clippy::option_option, reason = "no answer, or that there is none")]
    fn next(&self, file: &F::File, from: u64) -> Result<Option<Option<Range<u64>>>, Stopped> {
        match file.next_data(from) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(None),
            result => self.does("next data", result).map(Some),
        }
    }
}

fn modes<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "a", "bytes")?;
    let file = b.does("open", b.dir.open_file(os("a")))?;
    for mode in [0o640, 0o4755, 0o0, 0o600] {
        b.does("set", file.set_mode(mode))?;
        if b.manners.keeps_modes {
            b.same("kept", b.does("look", file.look_through())?.stat.mode, mode)?;
        }
    }
    Ok(())
}

// E10
fn times<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "a", "bytes")?;
    let file = b.does("open", b.dir.open_file(os("a")))?;
    let mtime = || Ok(b.does("look", file.look_through())?.stat.mtime);
    if !b.manners.sets_times {
        let before = mtime()?;
        b.refuses("a time", file.set_mtime(secs(5)), &[Errno::PERM])?;
        return b.same("as it was", mtime()?, before);
    }
    let (first, last, step) = b.manners.times;
    let end_of_9999 = 253_402_300_799;
    for secs in [0, 1, -1, 1_700_000_001, -2_208_988_800, 2_147_483_648, 15_032_385_535, end_of_9999] {
        for nanos in [0, 1, 500_000_100, 999_999_999] {
            let wished = FileTime { secs, nanos };
            b.does("set", file.set_mtime(wished))?;
            let kept = mtime()?;
            if secs > first && secs < last && step == 1 {
                b.same("kept", kept, wished)?;
            }
            b.holds("never later than asked for, in its range", kept <= wished || secs < first)?;
            // What was read back can be set and stays: no circles.
            b.does("set again", file.set_mtime(kept))?;
            b.same("stays", mtime()?, kept)?;
        }
    }
    Ok(())
}

/// Whoever writes to a file changes its change time, and nobody else seems to: on that rests what an edit is known by.
fn change_times<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let Some(tick) = b.manners.tick else { return Ok(()) };
    b.make_dir(&b.dir, "folder")?;
    let folder = b.does("folder", b.dir.open_dir(os("folder")))?;
    b.write(&folder, "a", "bytes")?;
    let file = b.does("open", folder.open_or_create(os("a")))?;
    let seen = || b.does("look", file.look_through()).map(|seen| seen.stat);
    let after = |deed: &dyn Fn() -> io::Result<()>, what: &str| {
        tick(b.fs, &b.path);
        let before = seen()?;
        b.does(what, deed())?;
        Ok((before, seen()?))
    };
    let write = || file.write_at(b"B", 0).map(drop);
    type Deed<'a> = (&'static str, &'a dyn Fn() -> io::Result<()>);
    let contents: [Deed<'_>; 2] = [("a write", &write), ("a cut", &|| file.set_len(4))];
    for (what, deed) in contents {
        let (before, now) = after(deed, what)?;
        b.holds(what, now.mtime > before.mtime && now.ctime > before.ctime && now.ino == before.ino)?;
        b.holds(what, !now.same_version(&before))?;
    }
    let (before, now) = after(&|| file.set_mode(0o640), "permissions")?;
    b.holds("permissions: the change time alone", now.ctime > before.ctime && now.mtime == before.mtime)?;
    if b.manners.sets_times {
        let (before, now) = after(&|| file.set_mtime(secs(1_000)), "a time")?;
        b.holds("a time that was set does not hide itself", now.ctime > before.ctime)?;
    }
    let read = || file.read_at(&mut [0; 4], 0).map(drop);
    let rename = || folder.move_over(os("a"), &folder, os("b"));
    let nothings: [Deed<'_>; 3] =
        [("reading", &read), ("syncing", &|| file.sync()), ("looking", &|| folder.look(os("a")).map(drop))];
    for (what, deed) in nothings {
        let (before, now) = after(deed, what)?;
        b.same(what, now, before)?;
    }
    let (before, now) = after(&rename, "a rename")?;
    b.same("a rename", (now.ino, now.size, now.mtime), (before.ino, before.size, before.mtime))?;
    tick(b.fs, &b.path);
    let before = b.does("look", folder.look_through())?.stat.mtime;
    b.write(&folder, "c", "")?;
    b.holds("a new name changes its folder", b.does("look", folder.look_through())?.stat.mtime > before)
}

fn syncs<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let mut file = b.does("make", b.dir.create_new(os("a")))?;
    b.does("write", file.write_all(&[1; 100_000]))?;
    file.start_write_out(0, 50_000);
    file.start_write_out(1 << 40, 1);
    b.does("sync", file.sync())?;
    b.does("sync again", file.sync())?;
    b.same("bytes", b.does("look", file.look_through())?.stat.size, 100_000)
}

fn locks<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let one = b.does("open", b.dir.open_or_create(os("a")))?;
    let other = b.does("open", b.dir.open_or_create(os("a")))?;
    let elsewhere = b.does("open", b.dir.open_or_create(os("b")))?;
    b.does("lock", one.lock())?;
    b.does("lock again", one.lock())?;
    let kind = other.lock().err().map(|error| error.kind());
    b.same("another handle", kind, Some(std::io::ErrorKind::WouldBlock))?;
    b.does("another file", elsewhere.lock())?;
    b.does("rename", b.dir.move_over(os("a"), &b.dir, os("c")))?;
    b.refuses("under another name", other.lock(), &[Errno::WOULDBLOCK])?;
    drop(one);
    b.does("when it is closed", other.lock())
}

fn outlives<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "a", "old")?;
    b.write(&b.dir, "b", "new")?;
    let open = b.does("open", b.dir.open_or_create(os("a")))?;
    b.does("replace", b.dir.move_over(os("b"), &b.dir, os("a")))?;
    b.same("write", b.does("write", open.write_at(b"OLD", 0))?, 3)?;
    b.same("not written to", b.read(&b.dir, "a")?, "new".into())?;
    let mut bytes = [0; 3];
    b.does("read", open.read_at(&mut bytes, 0))?;
    b.same("still there", &bytes, b"OLD")
}
