//! Renames of all kinds.

use rustix::io::Errno;
use shoal_disk::{Fs, FsDir, Kind};

use super::{Bench, Check, Checked, os};

pub(super) fn checks<F: Fs>() -> Vec<Check<F>> {
    vec![
        ("moving to a free name", moves_to_free),
        ("moving over", moves_over),
        ("moving folders over", moves_folders_over),
        ("exchanging", exchanges),
        ("moving below itself", moves_into_itself),
        ("what lacks flags changes nothing", lacks_flags),
    ]
}

/// What is there, by its first byte: a file's text, `/` for a folder, `>` and what a link says.
fn what<F: Fs>(b: &Bench<'_, F>, dir: &F::Dir, name: &str) -> Result<String, super::Stopped> {
    Ok(match b.does(name, dir.look(os(name)))?.map(|seen| seen.kind) {
        None => String::new(),
        Some(Kind::Folder) => "/".into(),
        Some(Kind::Symlink) => {
            format!(">{}", b.does(name, dir.read_link(os(name)))?.to_string_lossy())
        }
        Some(_) => b.read(dir, name)?,
    })
}

fn moves_to_free<F: Fs>(b: &Bench<'_, F>) -> Checked {
    if !b.manners.renames_with_flags {
        return Ok(());
    }
    let d = &b.dir;
    let folder = b.make_dir(d, "folder")?;
    b.write(d, "a", "a")?;
    b.write(d, "b", "b")?;
    b.does("link", d.symlink(os("nowhere"), os("link")))?;
    for taken in ["b", "folder", "link", "a"] {
        b.refuses(taken, d.move_to_free(os("a"), d, os(taken)), &[Errno::EXIST])?;
    }
    b.refuses("a folder to a file", d.move_to_free(os("folder"), d, os("b")), &[Errno::EXIST])?;
    b.refuses("nothing", d.move_to_free(os("none"), d, os("c")), &[Errno::NOENT])?;
    b.same("as it was", what(b, d, "a")? + &what(b, d, "b")? + &what(b, d, "link")?, "ab>nowhere".into())?;
    b.does("to another folder", d.move_to_free(os("a"), &folder, os("c")))?;
    b.same("moved", what(b, d, "a")? + &what(b, &folder, "c")?, "a".into())?;
    b.does("a link", d.move_to_free(os("link"), &folder, os("link")))?;
    b.same("itself", what(b, &folder, "link")?, ">nowhere".into())?;
    b.does("a folder", d.move_to_free(os("folder"), d, os("other")))?;
    let other = b.does("other", d.open_dir(os("other")))?;
    b.same("with what is in it", b.names(&other)?, vec!["c".into(), "link".into()])
}

fn moves_over<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let d = &b.dir;
    let folder = b.make_dir(d, "folder")?;
    b.write(d, "a", "a")?;
    b.write(d, "b", "b")?;
    b.write(&folder, "c", "c")?;
    b.does("over a file", d.move_over(os("a"), d, os("b")))?;
    b.same("moved", what(b, d, "a")? + &what(b, d, "b")?, "a".into())?;
    b.does("over a file elsewhere", d.move_over(os("b"), &folder, os("c")))?;
    b.same("moved", what(b, d, "b")? + &what(b, &folder, "c")?, "a".into())?;
    b.does("to a free name", folder.move_over(os("c"), d, os("a")))?;
    b.does("link", d.symlink(os("a"), os("link")))?;
    b.write(d, "b", "b")?;
    b.does("over a link", d.move_over(os("b"), d, os("link")))?;
    b.same("the link is gone, not its target", what(b, d, "link")? + &what(b, d, "a")?, "ba".into())?;
    b.does("link", d.symlink(os("a"), os("other")))?;
    b.does("a link", d.move_over(os("other"), d, os("link")))?;
    b.same("the link itself", what(b, d, "link")? + &what(b, d, "other")?, ">a".into())?;
    b.refuses("nothing", d.move_over(os("none"), d, os("a")), &[Errno::NOENT])?;
    b.refuses("a file over a folder", d.move_over(os("a"), d, os("folder")), &[Errno::ISDIR])?;
    b.does("onto itself", d.move_over(os("a"), d, os("a")))?;
    b.same("nothing happened", what(b, d, "a")?, "a".into())?;
    if b.manners.links {
        b.does("second name", d.link(os("a"), d, os("b")))?;
        b.does("over its own second name", d.move_over(os("a"), d, os("b")))?;
        b.same("both stay", what(b, d, "a")? + &what(b, d, "b")?, "aa".into())?;
    }
    if b.manners.folds_case {
        b.does("to other letters", d.move_over(os("a"), d, os("A")))?;
        b.holds("shown so", b.names(d)?.contains(&"A".to_owned()))?;
    }
    Ok(())
}

fn moves_folders_over<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let d = &b.dir;
    let full = b.make_dir(d, "full")?;
    b.write(&full, "x", "x")?;
    b.make_dir(d, "empty")?;
    b.write(d, "file", "f")?;
    b.refuses("over a file", d.move_over(os("empty"), d, os("file")), &[Errno::NOTDIR])?;
    b.refuses("over a full one", d.move_over(os("empty"), d, os("full")), &FULL)?;
    b.does("over an empty one", d.move_over(os("full"), d, os("empty")))?;
    let moved = b.does("moved", d.open_dir(os("empty")))?;
    b.same("with what is in it", b.names(&moved)?, vec!["x".into()])?;
    b.same("gone", what(b, d, "full")?, String::new())
}

fn exchanges<F: Fs>(b: &Bench<'_, F>) -> Checked {
    if !b.manners.renames_with_flags {
        return Ok(());
    }
    let d = &b.dir;
    let folder = b.make_dir(d, "folder")?;
    b.write(d, "a", "a")?;
    b.write(&folder, "b", "b")?;
    b.does("link", d.symlink(os("nowhere"), os("link")))?;
    let stats = || Ok((b.does("a", d.look(os("a")))?, b.does("b", folder.look(os("b")))?));
    let before = stats()?;
    b.does("files", d.exchange(os("a"), &folder, os("b")))?;
    b.same("exchanged", what(b, d, "a")? + &what(b, &folder, "b")?, "ba".into())?;
    if let ((Some(a), Some(_)), (Some(_), Some(now_b))) = (before, stats()?) {
        b.holds("each keeps its number", a.is_same_thing(&now_b))?;
        b.same("and its time", now_b.stat.mtime, a.stat.mtime)?;
    }
    b.does("a file and a link", d.exchange(os("a"), d, os("link")))?;
    b.same("exchanged", what(b, d, "a")? + &what(b, d, "link")?, ">nowhereb".into())?;
    b.does("a file and a folder", d.exchange(os("link"), d, os("folder")))?;
    b.same("exchanged", what(b, d, "link")? + &what(b, d, "folder")?, "/b".into())?;
    b.same("the handle stays on it", what(b, &folder, "b")?, "a".into())?;
    b.refuses("with nothing", d.exchange(os("a"), d, os("none")), &[Errno::NOENT])?;
    b.refuses("nothing", d.exchange(os("none"), d, os("a")), &[Errno::NOENT])?;
    b.does("with itself", d.exchange(os("a"), d, os("a")))?;
    b.same("as it was", what(b, d, "a")?, ">nowhere".into())
}

fn moves_into_itself<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let d = &b.dir;
    let folder = b.make_dir(d, "folder")?;
    let inside = b.make_dir(&folder, "inside")?;
    b.write(&folder, "file", "f")?;
    b.refuses("below itself", d.move_over(os("folder"), &folder, os("x")), &[Errno::INVAL])?;
    b.refuses("far below itself", d.move_over(os("folder"), &inside, os("x")), &[Errno::INVAL])?;
    b.refuses("over what is below", d.move_over(os("folder"), &folder, os("inside")), &[Errno::INVAL])?;
    b.refuses("over what is above", folder.move_over(os("inside"), d, os("folder")), &FULL)?;
    b.refuses("a file over its folder", folder.move_over(os("file"), d, os("folder")), &ABOVE)?;
    if b.manners.renames_with_flags {
        b.refuses("below itself", d.move_to_free(os("folder"), &folder, os("x")), &[Errno::INVAL])?;
        b.refuses("with one below", d.exchange(os("folder"), &folder, os("inside")), &[Errno::INVAL])?;
        b.refuses("with one above", folder.exchange(os("inside"), d, os("folder")), &[Errno::INVAL])?;
        b.refuses("a taken name above", folder.move_to_free(os("file"), d, os("folder")), &[Errno::EXIST])?;
    }
    b.same("as it was", b.names(&folder)?, vec!["file".into(), "inside".into()])
}

fn lacks_flags<F: Fs>(b: &Bench<'_, F>) -> Checked {
    if b.manners.renames_with_flags {
        return Ok(());
    }
    let d = &b.dir;
    b.write(d, "a", "a")?;
    b.write(d, "b", "b")?;
    b.refuses("to a free name", d.move_to_free(os("a"), d, os("c")), &LACKING)?;
    b.refuses("to a taken name", d.move_to_free(os("a"), d, os("b")), &LACKING)?;
    b.refuses("an exchange", d.exchange(os("a"), d, os("b")), &LACKING)?;
    b.same("as it was", what(b, d, "a")? + &what(b, d, "b")? + &what(b, d, "c")?, "ab".into())
}

/// What is said of a folder that has something in it.
const FULL: [Errno; 2] = [Errno::NOTEMPTY, Errno::EXIST];

/// The same, where what is moved is no folder.
const ABOVE: [Errno; 3] = [Errno::NOTEMPTY, Errno::EXIST, Errno::ISDIR];

/// What is said of flags that are not known.
const LACKING: [Errno; 3] = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
