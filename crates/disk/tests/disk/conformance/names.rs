//! Names: what is looked at, made, opened, linked, listed and removed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use rustix::io::Errno;
use shoal_disk::{Fs, FsDir, FsFile, Kind};

use super::{Bench, Check, Checked, os, secs};

pub(super) fn checks<F: Fs>() -> Vec<Check<F>> {
    vec![
        ("looking at names", looks),
        ("opening directories", opens_directories),
        ("handles of directories", handles_stay),
        ("entering", enters),
        ("the directory above", goes_up),
        ("making directories", makes_directories),
        ("opening files", opens_files),
        ("making files", makes_files),
        ("further names", links),
        ("symbolic links", symlinks),
        ("removing", removes),
        ("removing directories", removes_directories),
        ("listing", lists),
        ("listing what changes", lists_what_changes),
        ("long and odd names", odd_names),
        ("a directory that was removed", dead_directory),
        ("permissions of directories", modes),
        ("paths", paths),
    ]
}

fn looks<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.same("nothing", b.does("nothing", b.dir.look(os("none")))?, None)?;
    b.write(&b.dir, "file", "12345")?;
    b.make_dir(&b.dir, "folder")?;
    b.does("link", b.dir.symlink(os("nowhere"), os("link")))?;
    let look = |name: &str| Ok(b.does(name, b.dir.look(os(name)))?.map(|seen| (seen.kind, seen.stat)));
    let Some((kind, stat)) = look("file")? else { return b.holds("a file is seen", false) };
    b.same("file", (kind, stat.size, stat.nlink), (Kind::File, 5, 1))?;
    b.same("folder", look("folder")?.map(|(kind, _)| kind), Some(Kind::Folder))?;
    b.same("link", look("link")?.map(|(kind, stat)| (kind, stat.size)), Some((Kind::Symlink, 7)))?;
    let through = b.does("through", b.does("file", b.dir.open_file(os("file")))?.look_through())?;
    b.same("by name and by handle", through.stat, stat)?;
    b.same("the owner", through.uid, b.fs.user())?;
    let folder = b.does("folder", b.dir.open_dir(os("folder")))?;
    let through = b.does("through", folder.look_through())?;
    b.holds("the same folder", look("folder")?.is_some_and(|(_, stat)| stat.ino == through.stat.ino))?;
    b.holds("one device", through.stat.dev == stat.dev)?;
    b.refuses("below a file", b.dir.open_dir(os("file")).map(drop), &[Errno::NOTDIR])
}

fn opens_directories<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "file", "")?;
    b.make_dir(&b.dir, "folder")?;
    b.does("link", b.dir.symlink(os("folder"), os("link")))?;
    b.does("link", b.dir.symlink(os("none"), os("dangling")))?;
    b.refuses("nothing", b.dir.open_dir(os("none")), &[Errno::NOENT])?;
    b.refuses("a file", b.dir.open_dir(os("file")), &[Errno::NOTDIR])?;
    b.refuses("a link", b.dir.open_dir(os("link")), &LINK)?;
    b.refuses("a dangling link", b.dir.open_dir(os("dangling")), &LINK)?;
    b.refuses("a link by path", b.fs.open_path(&b.path.join("link")), &LINK)
}

/// A handle stays on what was opened however that is renamed.
fn handles_stay<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let folder = b.make_dir(&b.dir, "folder")?;
    b.does("rename", b.dir.move_over(os("folder"), &b.dir, os("moved")))?;
    b.make_dir(&b.dir, "folder")?;
    b.write(&folder, "file", "x")?;
    let moved = b.does("moved", b.dir.open_dir(os("moved")))?;
    b.same("in the moved one", b.names(&moved)?, vec!["file".into()])?;
    let other = b.does("folder", b.dir.open_dir(os("folder")))?;
    b.same("in the new one", b.names(&other)?.len(), 0)
}

fn enters<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "file", "")?;
    let folder = b.make_dir(&b.dir, "folder")?;
    b.does("link", b.dir.symlink(os("folder"), os("link")))?;
    let entered = b.does("folder", b.dir.enter(os("folder")))?;
    let (one, other) = (b.does("look", entered.look_through())?, b.does("look", folder.look_through())?);
    b.holds("the same folder", one.is_same_thing(&other))?;
    b.write(&entered, "x", "")?;
    b.refuses("nothing", b.dir.enter(os("none")), &[Errno::NOENT])?;
    b.refuses("a file", b.dir.enter(os("file")), &[Errno::NOTDIR])?;
    b.refuses("a link", b.dir.enter(os("link")), &LINK)?;
    if let Some(mounted) = b.manners.mounted {
        let root = b.does("above", b.dir.parent())?;
        // A handle of the parent may be good for looking alone.
        let path = b.path.parent().map(|path| b.fs.open_path(path));
        let Some(Ok(above)) = path else { return b.holds("the folder can be opened", false) };
        b.holds("something is mounted", b.does("look", root.look(os(mounted)))?.is_some())?;
        b.does("a mount can be opened", above.open_dir(os(mounted)))?;
        b.refuses("a mount", above.enter(os(mounted)), &[Errno::XDEV])?;
        if b.manners.tells_mounts {
            b.refuses("the same mounted again", above.enter(os("again")), &[Errno::XDEV])?;
        }
    }
    Ok(())
}

fn goes_up<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let folder = b.make_dir(&b.dir, "folder")?;
    let above = b.does("above", folder.parent())?;
    let (above, dir) = (b.does("look", above.look_through())?, b.does("look", b.dir.look_through())?);
    b.holds("the one above", above.is_same_thing(&dir))?;
    let above = b.does("above", folder.parent())?;
    b.holds("names can be looked at", b.does("look", above.look(os("folder")))?.is_some())
}

fn makes_directories<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.does("a folder", b.dir.make_dir_with(os("folder"), 0o777))?;
    b.does("a private folder", b.dir.make_dir(os("private")))?;
    b.write(&b.dir, "file", "")?;
    b.does("link", b.dir.symlink(os("nowhere"), os("link")))?;
    for taken in ["folder", "file", "link"] {
        b.refuses(taken, b.dir.make_dir(os(taken)), &[Errno::EXIST])?;
    }
    b.same("the link leads nowhere still", b.does("look", b.dir.look(os("nowhere")))?, None)?;
    if b.manners.keeps_modes {
        let mode = |name: &str| Ok(b.does(name, b.dir.look(os(name)))?.map(|seen| seen.stat.mode & 0o777));
        b.same("as wished", mode("folder")?, Some(0o777 & !b.mask))?;
        b.same("for nobody but us", mode("private")?, Some(0o700 & !b.mask))?;
    }
    Ok(())
}

fn opens_files<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "file", "bytes")?;
    b.make_dir(&b.dir, "folder")?;
    b.does("link", b.dir.symlink(os("file"), os("link")))?;
    b.does("link", b.dir.symlink(os("made through it"), os("dangling")))?;
    b.refuses("nothing", b.dir.open_file(os("none")), &[Errno::NOENT])?;
    b.same("a file", b.read(&b.dir, "file")?, "bytes".to_owned())?;
    b.holds("it may be read", b.dir.may_read(os("file")))?;
    b.holds("what is not there may not", !b.dir.may_read(os("none")))?;
    for link in ["link", "dangling"] {
        b.refuses(link, b.dir.open_file(os(link)), &[Errno::LOOP])?;
        b.refuses(link, b.dir.open_or_create(os(link)), &[Errno::LOOP])?;
        b.refuses(link, b.dir.open_append(os(link)), &[Errno::LOOP])?;
    }
    b.same("nothing came through a link", b.does("look", b.dir.look(os("made through it")))?, None)?;
    b.refuses("writing to a folder", b.dir.open_or_create(os("folder")), &[Errno::ISDIR])?;
    b.refuses("appending to a folder", b.dir.open_append(os("folder")), &[Errno::ISDIR])?;
    // A system may open it for reading; the caller looks through the handle.
    if let Ok(folder) = b.dir.open_file(os("folder")) {
        b.same("seen through", b.does("look", folder.look_through())?.kind, Kind::Folder)?;
        b.refuses("reading a folder", folder.read_at(&mut [0; 8], 0), &[Errno::ISDIR])?;
    }
    b.does("what is there", b.dir.open_or_create(os("file")))?;
    b.same("is left as it is", b.read(&b.dir, "file")?, "bytes".to_owned())
}

fn makes_files<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.does("new", b.dir.create_new_with(os("new"), 0o777))?;
    b.does("private", b.dir.create_new(os("private")))?;
    b.does("made", b.dir.open_or_create(os("made")))?;
    b.does("appended", b.dir.open_append(os("appended")))?;
    b.make_dir(&b.dir, "folder")?;
    b.does("link", b.dir.symlink(os("nowhere"), os("link")))?;
    for taken in ["new", "folder", "link"] {
        b.refuses(taken, b.dir.create_new(os(taken)), &[Errno::EXIST])?;
    }
    if b.manners.keeps_modes {
        for (name, wished) in [("new", 0o777), ("private", 0o600), ("made", 0o600), ("appended", 0o600)] {
            let seen = b.does(name, b.dir.look(os(name)))?;
            b.same(name, seen.map(|seen| seen.stat.mode), Some(wished & !b.mask))?;
        }
    }
    Ok(())
}

fn links<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "file", "bytes")?;
    if !b.manners.links {
        b.refuses("a link", b.dir.link(os("file"), &b.dir, os("other")), &[Errno::PERM, Errno::OPNOTSUPP])?;
        return b.same("nothing was made", b.does("look", b.dir.look(os("other")))?, None);
    }
    let folder = b.make_dir(&b.dir, "folder")?;
    b.does("symlink", b.dir.symlink(os("file"), os("symlink")))?;
    b.does("a link", b.dir.link(os("file"), &folder, os("other")))?;
    let (one, other) = (b.dir.look(os("file")), folder.look(os("other")));
    let (Some(one), Some(other)) = (b.does("look", one)?, b.does("look", other)?) else {
        return b.holds("both are there", false);
    };
    b.holds("the same file", one.is_same_thing(&other))?;
    b.same("names", other.stat.nlink, 2)?;
    b.refuses("a taken name", b.dir.link(os("file"), &folder, os("other")), &[Errno::EXIST])?;
    b.refuses("nothing", b.dir.link(os("none"), &b.dir, os("x")), &[Errno::NOENT])?;
    b.refuses("a folder", b.dir.link(os("folder"), &b.dir, os("x")), &[Errno::PERM])?;
    // Not every system can; one that does must not follow it.
    if b.dir.link(os("symlink"), &b.dir, os("x")).is_ok() {
        let seen = b.does("look", b.dir.look(os("x")))?;
        b.same("a link's second name", seen.map(|seen| seen.kind), Some(Kind::Symlink))?;
    }
    Ok(())
}

fn symlinks<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "file", "bytes")?;
    let target = OsString::from_vec(b"../caf\xe9 \n//".to_vec());
    // A disk that folds case may want its names to be text; a target is no name.
    b.does("any target", b.dir.symlink(&target, os("odd")))?;
    b.same("what it says", b.does("odd", b.dir.read_link(os("odd")))?, target)?;
    b.does("link", b.dir.symlink(os("file"), os("link")))?;
    b.same("what it says", b.does("link", b.dir.read_link(os("link")))?, "file".into())?;
    b.refuses("a taken name", b.dir.symlink(os("x"), os("link")), &[Errno::EXIST])?;
    b.refuses("a taken name", b.dir.symlink(os("x"), os("file")), &[Errno::EXIST])?;
    b.refuses("no target", b.dir.symlink(os(""), os("empty")), &[Errno::NOENT])?;
    b.refuses("too long a target", b.dir.symlink(os(&"x".repeat(4096)), os("y")), &[Errno::NAMETOOLONG])?;
    b.refuses("what a file says", b.dir.read_link(os("file")), &[Errno::INVAL])?;
    b.refuses("what nothing says", b.dir.read_link(os("none")), &[Errno::NOENT])?;
    if b.manners.sets_times {
        b.refuses("the time of nothing", b.dir.set_link_mtime(os("none"), secs(5)), &[Errno::NOENT])?;
        b.does("time", b.does("file", b.dir.open_file(os("file")))?.set_mtime(secs(1_000)))?;
        b.does("its time", b.dir.set_link_mtime(os("link"), secs(2_000)))?;
        let mtime = |name: &str| Ok(b.does(name, b.dir.look(os(name)))?.map(|seen| seen.stat.mtime));
        b.same("the time of the link", mtime("link")?, Some(secs(2_000)))?;
        b.same("not that of the file", mtime("file")?, Some(secs(1_000)))?;
    }
    Ok(())
}

fn removes<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.write(&b.dir, "file", "bytes")?;
    b.make_dir(&b.dir, "folder")?;
    b.does("link", b.dir.symlink(os("file"), os("link")))?;
    b.does("link", b.dir.symlink(os("folder"), os("to folder")))?;
    b.does("what is gone already", b.dir.remove(os("none")))?;
    b.does("a link", b.dir.remove(os("link")))?;
    b.does("a link to a folder", b.dir.remove(os("to folder")))?;
    b.refuses("a folder", b.dir.remove(os("folder")), &[Errno::ISDIR])?;
    b.same("left", b.names(&b.dir)?, vec!["file".into(), "folder".into()])?;
    let open = b.does("file", b.dir.open_file(os("file")))?;
    b.does("a file", b.dir.remove(os("file")))?;
    b.same("left", b.names(&b.dir)?, vec!["folder".into()])?;
    b.same("an open one has no name", b.does("look", open.look_through())?.stat.nlink, 0)?;
    b.same("and its bytes", b.does("read", std::io::read_to_string(open))?, "bytes".to_owned())
}

fn removes_directories<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let full = b.make_dir(&b.dir, "full")?;
    b.make_dir(&full, "inside")?;
    b.write(&b.dir, "file", "bytes")?;
    b.does("link", b.dir.symlink(os("full"), os("link")))?;
    b.refuses("one that is not empty", b.dir.remove_dir(os("full")), &[Errno::NOTEMPTY])?;
    b.refuses("a file", b.dir.remove_dir(os("file")), &[Errno::NOTDIR])?;
    b.refuses("a link", b.dir.remove_dir(os("link")), &[Errno::NOTDIR])?;
    b.refuses("nothing", b.dir.remove_dir(os("none")), &[Errno::NOENT])?;
    b.does("an empty one", full.remove_dir(os("inside")))?;
    b.does("an empty one", b.dir.remove_dir(os("full")))?;
    b.same("left", b.names(&b.dir)?, vec!["file".into(), "link".into()])
}

fn lists<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.same("nothing", b.names(&b.dir)?.len(), 0)?;
    let many = if b.manners.is_small { 30 } else { 1_500 };
    let mut wanted = BTreeMap::new();
    for number in 0..many {
        // Long, so that they do not fit into one buffer.
        let name = format!("{number:05} {}", "x".repeat(number % 100));
        let kind = match number % 3 {
            0 => b.does(&name, b.dir.create_new(os(&name)).map(|_| Kind::File))?,
            1 => b.does(&name, b.dir.make_dir(os(&name)).map(|()| Kind::Folder))?,
            _ => b.does(&name, b.dir.symlink(os("x"), os(&name)).map(|()| Kind::Symlink))?,
        };
        wanted.insert(name, kind);
    }
    for _ in 0..2 {
        let mut found = BTreeMap::new();
        let mut count = 0;
        let listed = b.dir.for_each(|name, kind| {
            count += 1;
            found.insert(name.to_string_lossy().into_owned(), kind);
        });
        b.does("many", listed)?;
        b.same("each once", count, many)?;
        b.holds("all names", found.keys().eq(wanted.keys()))?;
        let fits = found.iter().all(|(name, kind)| *kind == Kind::Unknown || wanted.get(name) == Some(kind));
        b.holds("of their kind, if it is told", fits)?;
    }
    Ok(())
}

/// What stands there all the time is told once, whatever comes and goes meanwhile.
fn lists_what_changes<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let many = if b.manners.is_small { 20 } else { 500 };
    for number in 0..many {
        b.does("stays", b.dir.create_new(os(&format!("stays {number}"))))?;
        b.does("goes", b.dir.create_new(os(&format!("goes {number}"))))?;
    }
    let (mut stayed, mut at) = (Vec::new(), 0);
    let listed = b.dir.for_each(|name, _| {
        let name = name.to_string_lossy();
        if name.starts_with("stays") {
            stayed.push(name.into_owned());
        }
        let _ = b.dir.remove(os(&format!("goes {at}")));
        let _ = b.dir.create_new(os(&format!("comes {}", at % 10)));
        let _ = b.dir.remove(os(&format!("comes {}", (at + 5) % 10)));
        at += 1;
    });
    b.does("while it changes", listed)?;
    stayed.sort();
    let count = stayed.len();
    stayed.dedup();
    b.same("what stays, once", (count, stayed.len()), (many, many))
}

fn odd_names<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let longest = "n".repeat(255);
    let too_long = "n".repeat(256);
    b.write(&b.dir, &longest, "x")?;
    let names = [" ", "-rf", "a\nb", "\u{1b}[31m", "💾", "\u{202e}", "..."];
    for name in names {
        b.write(&b.dir, name, name)?;
        b.same(name, b.read(&b.dir, name)?, name.to_owned())?;
    }
    b.same("all are listed", b.names(&b.dir)?.len(), names.len() + 1)?;
    let latin = OsString::from_vec(b"caf\xe9".to_vec());
    if b.manners.folds_case {
        b.refuses("no text", b.dir.create_new(&latin), &[Errno::ILSEQ, Errno::INVAL])?;
        b.refuses("in other letters", b.dir.create_new(os(&longest.to_uppercase())), &[Errno::EXIST])?;
    } else {
        b.does("no text", b.dir.create_new(&latin))?;
        b.does("in other letters", b.dir.create_new(os("N")))?;
        b.does("in other letters", b.dir.create_new(os("n")))?;
    }
    let (dir, long) = (&b.dir, os(&too_long));
    let refused = [
        ("look", dir.look(long).map(drop)),
        ("open a directory", dir.open_dir(long).map(drop)),
        ("enter", dir.enter(long).map(drop)),
        ("open", dir.open_file(long).map(drop)),
        ("make", dir.create_new(long).map(drop)),
        ("make a folder", dir.make_dir(long)),
        ("link", dir.symlink(os("x"), long)),
        ("rename", dir.move_over(os(" "), dir, long)),
        ("remove", dir.remove(long)),
        ("remove a folder", dir.remove_dir(long)),
    ];
    for (what, result) in refused {
        b.refuses(what, result, &[Errno::NAMETOOLONG])?;
    }
    Ok(())
}

/// Nothing comes into a directory that has no name any more.
fn dead_directory<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let dead = b.make_dir(&b.dir, "folder")?;
    b.write(&b.dir, "file", "bytes")?;
    b.does("remove", b.dir.remove_dir(os("folder")))?;
    b.same("looking", b.does("look", dead.look(os("x")))?, None)?;
    b.refuses("a file", dead.create_new(os("x")), &[Errno::NOENT])?;
    b.refuses("a folder", dead.make_dir(os("x")), &[Errno::NOENT])?;
    b.refuses("a link", dead.symlink(os("x"), os("y")), &[Errno::NOENT])?;
    b.refuses("a move", b.dir.move_over(os("file"), &dead, os("x")), &[Errno::NOENT])?;
    b.does("looking through it", dead.look_through())?;
    let mut names = 0;
    // Some say that it is gone, others that it is empty.
    match dead.for_each(|_, _| names += 1) {
        Ok(()) => {}
        result => b.refuses("listing", result, &[Errno::NOENT])?,
    }
    b.same("nothing in it", names, 0)?;
    b.same("the file is where it was", b.read(&b.dir, "file")?, "bytes".to_owned())
}

fn modes<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let folder = b.make_dir(&b.dir, "folder")?;
    for mode in [0o750, 0o1777, 0o700] {
        b.does("permissions", folder.set_mode(mode))?;
        if b.manners.keeps_modes {
            b.same("are kept", b.does("look", folder.look_through())?.stat.mode, mode)?;
        }
    }
    match b.manners.syncs_directories {
        true => b.does("sync", folder.sync())?,
        false => b.refuses("sync", folder.sync(), &[Errno::INVAL])?,
    }
    b.does("sync all", b.dir.sync_file_system())?;
    let durability = b.does("durability", b.dir.durability())?;
    b.same("durability", durability, b.manners.durability.unwrap_or(durability))
}

fn paths<F: Fs>(b: &Bench<'_, F>) -> Checked {
    b.make_dir(&b.dir, "folder")?;
    b.write(&b.dir, "file", "bytes")?;
    b.does("link", b.dir.symlink(os("folder"), os("link")))?;
    let resolved = b.does("resolve", b.fs.resolve(&b.path.join("link")))?;
    b.holds("without links", resolved.ends_with("folder"))?;
    let (by_path, by_name) = (b.fs.look_path(&b.path.join("link")), b.dir.look(os("folder")));
    let by_name = b.does("look", by_name)?;
    let by_path = b.does("look", by_path)?;
    b.holds("links are followed", by_name.is_some_and(|seen| seen.is_same_thing(&by_path)))?;
    let opened = b.does("open", b.fs.open_path(&resolved))?;
    b.holds("the same", b.does("look", opened.look_through())?.is_same_thing(&by_path))?;
    b.refuses("nothing", b.fs.open_path(&b.path.join("none")), &[Errno::NOENT])?;
    b.refuses("nothing", b.fs.look_path(&b.path.join("none")), &[Errno::NOENT])?;
    b.refuses("nothing", b.fs.resolve(&b.path.join("none")), &[Errno::NOENT])?;
    b.refuses("a file", b.fs.open_path(&b.path.join("file")), &[Errno::NOTDIR])?;
    b.refuses("below a file", b.fs.look_path(&b.path.join("file/x")), &[Errno::NOTDIR])?;
    b.does("loop", b.dir.symlink(os("loop"), os("loop")))?;
    b.refuses("a loop", b.fs.resolve(&b.path.join("loop")), &[Errno::LOOP])
}

/// What is said of a link that is not followed.
const LINK: [Errno; 2] = [Errno::LOOP, Errno::NOTDIR];
