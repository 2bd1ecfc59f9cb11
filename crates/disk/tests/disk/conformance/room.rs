//! Room, and the lack of it.

use std::io::Write;

use rustix::io::Errno;
use shoal_disk::{Fs, FsDir, FsFile};

use super::{Bench, Check, Checked, os};

pub(super) fn checks<F: Fs>() -> Vec<Check<F>> {
    vec![
        ("space", tells_space),
        ("a full disk", fills),
        ("no room to be taken", refuses_reservation),
        ("no room for names", fills_with_names),
    ]
}

fn tells_space<F: Fs>(b: &Bench<'_, F>) -> Checked {
    let space = b.does("space", b.dir.space())?;
    b.holds("some", space.total > 0)?;
    b.holds("no more than all", space.free <= space.total)?;
    if b.manners.is_small {
        let mut file = b.does("make", b.dir.create_new(os("a")))?;
        b.does("write", file.write_all(&[1; 200_000]))?;
        b.does("sync", file.sync())?;
        let less = b.does("space", b.dir.space())?;
        b.holds("what is written is missing", less.free + 200_000 <= space.free)?;
    }
    Ok(())
}

// I20
fn fills<F: Fs>(b: &Bench<'_, F>) -> Checked {
    if !b.manners.is_small {
        return Ok(());
    }
    let mut file = b.does("make", b.dir.create_new(os("a")))?;
    let block = [1; 65_536];
    let mut written = 0_u64;
    let error = loop {
        match file.write(&block) {
            Ok(taken) => written += taken as u64,
            Err(error) => break error,
        }
        b.holds("it ends", written < 64 << 20)?;
    };
    b.refuses("when full", Err::<(), _>(error), &[Errno::NOSPC])?;
    b.same("what was taken is there", b.does("look", file.look_through())?.stat.size, written)?;
    let mut last = [0; 1];
    b.does("read", file.read_at(&mut last, written - 1))?;
    b.same("to its end", last, [1])?;
    drop(file);
    b.does("remove", b.dir.remove(os("a")))?;
    // Some take a moment, or a sync, to have it back.
    b.does("sync", b.dir.sync_file_system())?;
    b.write(&b.dir, "b", &"x".repeat(100_000))
}

fn refuses_reservation<F: Fs>(b: &Bench<'_, F>) -> Checked {
    if !b.manners.is_small {
        return Ok(());
    }
    let file = b.does("make", b.dir.create_new(os("a")))?;
    let space = b.does("space", b.dir.space())?;
    let refused = [Errno::NOSPC, Errno::OPNOTSUPP];
    b.refuses("more than there is", file.reserve(space.total * 2), &refused)?;
    b.same("not lengthened", b.does("look", file.look_through())?.stat.size, 0)
}

fn fills_with_names<F: Fs>(b: &Bench<'_, F>) -> Checked {
    if !b.manners.is_small {
        return Ok(());
    }
    let made = |number: u32| b.dir.create_new(os(&format!("{number:0200}")));
    let Some((count, error)) = (0..100_000).find_map(|number| Some((number, made(number).err()?))) else {
        return b.holds("it ends", false);
    };
    b.refuses("when full", Err::<(), _>(error), &[Errno::NOSPC])?;
    b.same("what was made is there", b.names(&b.dir)?.len(), count as usize)?;
    b.refuses("a folder", b.dir.make_dir(os("folder")), &[Errno::NOSPC])?;
    b.does("remove", b.dir.remove(os(&format!("{:0200}", 0))))?;
    b.does("sync", b.dir.sync_file_system())?;
    b.does("make", b.dir.create_new(os("again")).map(drop))
}
