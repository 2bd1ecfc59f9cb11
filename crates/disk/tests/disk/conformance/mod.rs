//! One suite for everything that implements [`Fs`]: each promise of `fs.rs` is a check that runs on this machine's file
//! systems and on the disk in memory, so that what is shown on the one holds on the other.
//!
//! The checks stand in [`names`], [`renames`], [`files`] and [`room`]; where they run, in [`places`]. A check gets a
//! folder of its own and says with `?` that it cannot go on; what it found wrong is noted, so that one run tells all.

mod files;
mod names;
mod places;
mod renames;
mod room;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use shoal_disk::{Durability, FileTime, Fs, FsDir};

/// How a place is, as far as it is not free to be otherwise.
#[derive(Clone, Debug)]
struct Manners {
    renames_with_flags: bool,
    links: bool,
    keeps_modes: bool,
    sets_times: bool,
    folds_case: bool,
    syncs_directories: bool,
    /// Times in these seconds, in steps of so many nanoseconds, are kept as they are.
    times: (i64, i64, u64),
    durability: Option<Durability>,
    /// A name in the folder on which another file system is mounted.
    mounted: Option<&'static str>,
    /// There are at most some MiB, all for the suite.
    is_small: bool,
    /// Whether a file system mounted a second time is told from the first.
    tells_mounts: bool,
    /// Lets time go by until what changes from then on gets a later time; `None` if that takes too long.
    tick: Option<Tick>,
}

/// See [`Manners::tick`]; it may make files in the folder, which is nobody's.
type Tick = fn(&dyn Any, &Path);

impl Default for Manners {
    /// As ext4 with large inodes.
    fn default() -> Self {
        Self {
            renames_with_flags: true,
            links: true,
            keeps_modes: true,
            sets_times: true,
            folds_case: false,
            syncs_directories: true,
            times: (-(1 << 31), (1 << 34) - (1 << 31) - 1, 1),
            durability: Some(Durability::WholeFileSystem),
            mounted: None,
            is_small: false,
            tells_mounts: true,
            tick: Some(tick_of_this_machine),
        }
    }
}

/// A check could not go on; why is noted.
#[derive(Debug)]
struct Stopped;

type Checked = Result<(), Stopped>;

/// A check and what it is of.
type Check<F> = (&'static str, fn(&Bench<'_, F>) -> Checked);

/// What a check works with.
struct Bench<'a, F: Fs> {
    fs: &'a F,
    dir: F::Dir,
    path: PathBuf,
    manners: &'a Manners,
    /// Permissions that a new file does not get.
    mask: u32,
    counted: Cell<u32>,
    wrong: RefCell<Vec<String>>,
}

impl<F: Fs> Bench<'_, F> {
    fn count(&self, holds: bool, what: impl FnOnce() -> String) -> Checked {
        self.counted.set(self.counted.get() + 1);
        if holds {
            return Ok(());
        }
        self.wrong.borrow_mut().push(what());
        Err(Stopped)
    }

    /// Something that must go well.
    fn does<T>(&self, what: &str, result: io::Result<T>) -> Result<T, Stopped> {
        match result {
            Ok(value) => self.count(true, String::new).map(|()| value),
            Err(error) => self.count(false, || format!("{what}: {error}")).and(Err(Stopped)),
        }
    }

    /// Something that must be refused with one of these.
    fn refuses<T>(&self, what: &str, result: io::Result<T>, with: &[Errno]) -> Checked {
        let found = result.as_ref().err().and_then(Errno::from_io_error);
        let holds = found.is_some_and(|found| with.contains(&found));
        self.count(holds, || match result {
            Ok(_) => format!("{what}: was not refused, but should be with {with:?}"),
            Err(error) => format!("{what}: {error}, not {with:?}"),
        })
    }

    #[expect(clippy::needless_pass_by_value, reason = "what is compared is often made for it")]
    fn same<T: Debug + PartialEq>(&self, what: &str, found: T, wanted: T) -> Checked {
        let holds = found == wanted;
        self.count(holds, || format!("{what}: {found:?}, not {wanted:?}"))
    }

    fn holds(&self, what: &str, holds: bool) -> Checked {
        self.count(holds, || what.to_owned())
    }

    /// A new file with these bytes.
    fn write(&self, dir: &F::Dir, name: &str, bytes: &str) -> Checked {
        use std::io::Write;
        let mut file = self.does(name, dir.create_new_with(os(name), 0o644))?;
        self.does(name, file.write_all(bytes.as_bytes()))
    }

    fn make_dir(&self, dir: &F::Dir, name: &str) -> Result<F::Dir, Stopped> {
        self.does(name, dir.make_dir(os(name)))?;
        self.does(name, dir.open_dir(os(name)))
    }

    /// The bytes of a file.
    fn read(&self, dir: &F::Dir, name: &str) -> Result<String, Stopped> {
        let file = self.does(name, dir.open_file(os(name)))?;
        self.does(name, io::read_to_string(file))
    }

    /// All names in a folder, in order.
    fn names(&self, dir: &F::Dir) -> Result<Vec<String>, Stopped> {
        let mut names = Vec::new();
        self.does("listing", dir.for_each(|name, _| names.push(name.to_string_lossy().into_owned())))?;
        names.sort();
        Ok(names)
    }
}

fn os(name: &str) -> &OsStr {
    OsStr::new(name)
}

fn secs(secs: i64) -> FileTime {
    FileTime { secs, nanos: 0 }
}

/// Runs every check in the folder at `path`, which is empty or holds what is mounted there.
fn conform<F: Fs>(place: &str, fs: &F, path: &Path, manners: &Manners) {
    let root = fs.open_path(path).unwrap();
    let mask = new_file_mask(&root);
    let (mut counted, mut wrong) = (0, Vec::new());
    let checks = [names::checks(), renames::checks(), files::checks(), room::checks()].concat();
    for (number, (name, check)) in checks.iter().enumerate() {
        let folder = format!("check {number}");
        root.make_dir_with(os(&folder), 0o755).unwrap();
        let bench = Bench {
            fs,
            dir: root.open_dir(os(&folder)).unwrap(),
            path: path.join(&folder),
            manners,
            mask,
            counted: Cell::new(0),
            wrong: RefCell::default(),
        };
        let stopped = check(&bench).is_err();
        counted += bench.counted.get();
        let found = bench.wrong.into_inner();
        assert_eq!(stopped, !found.is_empty(), "{place}, {name}: stopped without a word");
        wrong.extend(found.into_iter().map(|found| format!("{name}: {found}")));
        clear(&bench.dir);
    }
    assert!(wrong.is_empty(), "{place}: {} of {counted} answers:\n{}", wrong.len(), wrong.join("\n"));
    println!("conforms: {place}: {} checks, {counted} answers", checks.len());
}

/// Waits for the clock of a file system.
fn tick_of_this_machine(_fs: &dyn Any, at: &Path) {
    use std::os::unix::fs::MetadataExt;
    let probe = at.join("tick");
    let now = || {
        std::fs::write(&probe, "x").unwrap();
        let seen = std::fs::metadata(&probe).unwrap();
        (seen.ctime(), seen.ctime_nsec())
    };
    let began = now();
    while now() == began {}
    std::fs::remove_file(probe).unwrap();
}

/// Empties a folder, so that small places have room for the next check.
fn clear<D: FsDir>(dir: &D) {
    let mut names = Vec::new();
    dir.for_each(|name, _| names.push(name.to_owned())).unwrap();
    for name in names {
        if dir.remove(&name).is_err() {
            clear(&dir.open_dir(&name).unwrap());
            dir.remove_dir(&name).unwrap();
        }
    }
}

fn new_file_mask<D: FsDir>(dir: &D) -> u32 {
    use shoal_disk::FsFile;
    let probe = dir.create_new_with(os("probe"), 0o777).unwrap();
    dir.remove(os("probe")).unwrap();
    0o777 & !probe.look_through().unwrap().stat.mode
}
