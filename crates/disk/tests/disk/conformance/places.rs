//! Where the suite runs: the folder for temporary files, file systems that are mounted for it, and disks in memory.

use std::any::Any;
use std::fs;
use std::path::Path;
use std::process::Command;

use shoal_disk::mem::{MemDisk, Quirks};
use shoal_disk::{Durability, FileTime, Os, PortableOs};

use super::{Manners, conform};
use crate::own_mounts::{self, mount};

#[test]
fn this_machine_keeps_the_promises_of_the_seam() {
    let folder = tempfile::tempdir().unwrap();
    conform("temporary folder", &Os, folder.path(), &Manners { durability: None, ..Manners::default() });
}

#[test]
fn what_every_unix_has_keeps_the_promises_of_the_seam() {
    let folder = tempfile::tempdir().unwrap();
    conform("temporary folder, portably", &PortableOs, folder.path(), &portable(&Manners::default()));
}

#[test]
fn the_disk_in_memory_keeps_the_promises_of_the_seam() {
    let whole = Quirks::default();
    let each = Quirks { durability: Durability::EachFile, ..whole.clone() };
    let plain = Quirks { renames_with_flags: false, ..each.clone() };
    let disks = [
        ("like ext4", whole.clone()),
        ("with plain renames", plain),
        ("with times of 100 ns", Quirks { time_step: 100, ..whole.clone() }),
        ("with times of 1901 to 2038", Quirks { time_range: (-(1 << 31), (1 << 31) - 1), ..whole.clone() }),
        ("without times", Quirks { sets_times: false, ..whole.clone() }),
        ("with numbers reused", Quirks { reuses_numbers: true, ..whole }),
        ("with names durable at once", Quirks { syncs_directories: false, ..each }),
        ("like FAT", Quirks::like_fat()),
    ];
    for (name, quirks) in disks {
        let manners = Manners {
            renames_with_flags: quirks.renames_with_flags,
            links: quirks.links,
            keeps_modes: quirks.keeps_modes,
            sets_times: quirks.sets_times,
            folds_case: quirks.folds_case,
            syncs_directories: quirks.syncs_directories,
            times: (quirks.time_range.0, quirks.time_range.1, quirks.time_step),
            durability: Some(quirks.durability),
            tick: Some(tick_in_memory),
            ..Manners::default()
        };
        conform(&format!("memory, {name}"), &MemDisk::new(quirks), Path::new("/"), &manners);
    }
}

fn tick_in_memory(fs: &dyn Any, _at: &Path) {
    let Some(disk) = fs.downcast_ref::<MemDisk>() else { return };
    // As coarse as any of them.
    disk.set_time(FileTime { secs: disk.time().secs + 2, nanos: 0 });
}

/// Runs [`where_it_may_mount`] where its mounts are nobody else's and end with it.
#[test]
fn file_systems_that_are_mounted_for_it_keep_the_promises_of_the_seam() {
    if let Some(said) = own_mounts::run(WHAT, "conformance::places::where_it_may_mount") {
        said.lines().filter(|line| line.starts_with("conforms: ")).for_each(|line| println!("{line}"));
    }
}

const WHAT: &str = "the conformance suite on tmpfs, ext4 and overlayfs";

/// Not a test by itself: what the test above runs where it may mount.
#[test]
fn where_it_may_mount() {
    let Some(place) = own_mounts::place() else { return };
    let place = &*place;
    let tmpfs = "the conformance suite on tmpfs";
    if let Some(at) = mount(place, "tmpfs", tmpfs, &["-t", "tmpfs", "none"]) {
        let above = place.join("tmpfs/other");
        let is_mounted = mount_inside(&at);
        let manners = Manners {
            mounted: is_mounted.then_some("other"),
            times: (i64::MIN, i64::MAX, 1),
            ..Manners::default()
        };
        assert_eq!(above.exists(), is_mounted);
        conform("tmpfs", &Os, &at, &manners);
        conform("tmpfs, portably", &PortableOs, &again(&at), &portable(&manners));
    }
    if let Some(at) = mount(place, "small", tmpfs, &["-t", "tmpfs", "-o", "size=2m,nr_inodes=200", "none"]) {
        let manners = Manners { is_small: true, times: (i64::MIN, i64::MAX, 1), ..Manners::default() };
        conform("tmpfs of 2 MiB", &Os, &at, &manners);
        conform("tmpfs of 2 MiB, portably", &PortableOs, &again(&at), &portable(&manners));
    }
    ext4(place, "ext4", &["-I", "256", "-b", "4096"], &Manners { is_small: true, ..Manners::default() });
    let old = Manners {
        tick: None,
        is_small: true,
        times: (-(1 << 31), (1 << 31) - 1, 1_000_000_000),
        ..Manners::default()
    };
    ext4(place, "ext4 of old", &["-I", "128", "-b", "1024", "-O", "^has_journal"], &old);
    overlay(place);
}

/// A small image, by a loop device.
fn ext4(place: &Path, name: &str, options: &[&str], manners: &Manners) {
    let what = format!("the conformance suite on {name}");
    let options = [&["-N", "256"], options].concat();
    if let Some(at) = own_mounts::mount_ext4(place, name, &what, 12 << 20, &options) {
        conform(name, &Os, &at, manners);
        conform(&format!("{name}, portably"), &PortableOs, &again(&at), &portable(manners));
        own_mounts::unmount(&at);
    }
}

fn overlay(place: &Path) {
    let what = "the conformance suite on overlayfs";
    let Some(at) = mount(place, "layers", what, &["-t", "tmpfs", "none"]) else { return };
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| at.join(name));
    [&lower, &upper, &work].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let options = [&lower, &upper, &work].map(|dir| dir.to_str().unwrap());
    let options = format!("lowerdir={},upperdir={},workdir={}", options[0], options[1], options[2]);
    if let Some(at) = mount(place, "overlay", what, &["-t", "overlay", "-o", &options, "none"]) {
        let manners = Manners {
            durability: Some(Durability::EachFile),
            times: (i64::MIN, i64::MAX, 1),
            ..Manners::default()
        };
        conform("overlayfs", &Os, &at, &manners);
    }
}

/// Mounts another file system, and a part of the same one, in a folder.
fn mount_inside(at: &Path) -> bool {
    let [other, part, again] = ["other", "part", "again"].map(|name| at.join(name));
    [&other, &part, &again].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
    let tmpfs = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&other).status();
    let bind = Command::new("mount").arg("--bind").args([&part, &again]).status();
    tmpfs.unwrap().success() && bind.unwrap().success()
}

/// The folder for another run over the same place.
fn again(at: &Path) -> std::path::PathBuf {
    for entry in fs::read_dir(at).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("check") {
            fs::remove_dir(entry.path()).unwrap();
        }
    }
    at.to_owned()
}

/// What is otherwise where nothing but what every Unix has is used.
fn portable(manners: &Manners) -> Manners {
    Manners {
        renames_with_flags: cfg!(target_vendor = "apple"),
        durability: Some(Durability::EachFile),
        tells_mounts: false,
        ..manners.clone()
    }
}
