//! Files on their way in: private, whole or refused, and a disk that is never filled to its last bytes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::testing::{Mount, Place, name, secs, stage};
use crate::{Folder, FolderOptions};

#[test]
fn a_file_being_written_is_private_and_numbered() {
    let place = Place::new();
    let folder = place.open();
    let longest = name(&"\u{1f600}x".repeat(51));
    let mut file = folder.staging().create(&longest, None).unwrap();
    file.write_all(b"abc").unwrap();
    assert_eq!((file.written(), file.name()), (3, &(&longest).into()));
    let staged = place.staged();
    assert_eq!((staged.len(), staged[0].len()), (1, 16));
    let seen = fs::metadata(place.at(".shoal/staging").join(&staged[0])).unwrap();
    assert_eq!(seen.permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing but our state");
}

#[test]
fn what_is_dropped_is_removed() {
    let place = Place::new();
    let folder = place.open();
    drop(folder.staging().create(&name("a"), Some(10)).unwrap());
    drop(stage(&folder, "b", "content", None));
    assert!(place.staged().is_empty());
}

// I9, C8
#[test]
fn a_length_other_than_announced_is_refused() {
    let place = Place::new();
    let folder = place.open();
    let mut file = folder.staging().create(&name("a"), Some(3)).unwrap();
    file.write_all(b"ab").unwrap();
    let error = file.write_all(b"cd").unwrap_err();
    assert_eq!(error.to_string(), "a has 4 bytes, 3 were announced; not kept");
    let error = file.finish(secs(1), None).unwrap_err();
    assert!(matches!(error, StageError::WrongLength { announced: 3, written: 2, .. }));
    assert!(place.staged().is_empty());
}

// I12
#[test]
fn gets_the_permissions_of_what_it_replaces_but_never_special_ones() {
    let place = Place::new();
    place.write("tool", "old");
    fs::set_permissions(place.at("tool"), fs::Permissions::from_mode(0o4751)).unwrap();
    let folder = place.open();
    let present = folder.stat(&name("tool")).unwrap().unwrap();
    assert_eq!(present.mode, 0o4751);
    assert_eq!(stage(&folder, "tool", "new", Some(&present)).stat().mode, 0o751);
    let new = stage(&folder, "another", "new", None).stat().mode;
    fs::write(place.at("by the user"), "").unwrap();
    assert_eq!(new, folder.stat(&name("by the user")).unwrap().unwrap().mode);
}

// E10, B13
#[test]
fn the_time_that_the_disk_made_of_it_is_reported() {
    let place = Place::new();
    let folder = place.open();
    let asked =
        [0, -1, -2_000_000_000, 1_700_000_000, 4_102_444_800, i64::from(u32::MAX), i64::MAX, i64::MIN];
    for asked in asked {
        let mut file = folder.staging().create(&name("a"), Some(1)).unwrap();
        file.write_all(b"x").unwrap();
        let finished = file.finish(secs(asked), None).unwrap();
        let told = finished.stat().mtime;
        let staged = place.at(".shoal/staging").join(&place.staged()[0]);
        let real = std::os::unix::fs::MetadataExt::mtime(&fs::metadata(staged).unwrap());
        assert_eq!(told, secs(real));
        if (-2_000_000_000..=4_102_444_800).contains(&asked) {
            assert_eq!(told.secs, asked);
        }
    }
}

#[test]
fn a_large_file_is_written_out_behind_and_complete() {
    let place = Place::new();
    let folder = place.open();
    let piece = vec![7; WRITE_BYTES];
    let total = 2 * WRITE_OUT_BYTES + 1;
    let mut file = folder.staging().create(&name("large"), Some(total)).unwrap();
    while file.written() < total {
        let length = usize::try_from(total - file.written()).unwrap().min(WRITE_BYTES);
        file.write_all(&piece[..length]).unwrap();
    }
    let finished = file.finish(secs(1), None).unwrap();
    assert_eq!(finished.stat().size, total);
}

#[test]
fn reserved_names_are_not_staged() {
    let place = Place::new();
    let staged = place.open().staging().create(&name(".SHOAL"), None);
    assert!(matches!(staged, Err(StageError::Reserved { .. })));
}

// C9
#[test]
fn more_than_fits_is_refused_before_a_byte_is_written() {
    let place = Place::new();
    let error = place.open().staging().create(&name("huge"), Some(1 << 50)).unwrap_err();
    assert!(
        matches!(error, StageError::NoSpace { needed, .. } if needed == 1 << 50) && error.is_out_of_space()
    );
    assert!(place.staged().is_empty());
}

// E19, I20
#[test]
fn a_disk_that_is_filling_up_keeps_its_reserve_and_recovers() {
    let Some(mount) = Mount::tmpfs("E19: a disk that fills up", "size=96m") else { return };
    let (folder, _) = Folder::open(mount.path(), &FolderOptions::default()).unwrap();
    let staging = folder.staging();
    let out_of_space = |result: Result<(), StageError>| result.unwrap_err().is_out_of_space();
    assert!(out_of_space(staging.create(&name("announced"), Some(33 << 20)).map(drop)));

    let mut endless = staging.create(&name("endless"), None).unwrap();
    let piece = vec![7; 1 << 20];
    let mut write = || endless.write_all(&piece);
    assert!(out_of_space(std::iter::repeat_with(&mut write).find(Result::is_err).unwrap()));
    assert!(folder.free_space().unwrap() > SPACE_KEPT_FREE - WRITE_OUT_BYTES - (1 << 20));
    drop(endless);

    // Somebody else takes everything: now the system itself says so.
    let mut file = staging.create(&name("a"), None).unwrap();
    let mut other = fs::File::create(mount.path().join("other")).unwrap();
    while other.write_all(&piece).is_ok() {}
    assert!(out_of_space(file.write_all(&piece)));
    drop(file);
    assert!(out_of_space(staging.create(&name("b"), Some(0)).map(drop)));
    fs::remove_file(mount.path().join("other")).unwrap();
    drop(other);
    stage(&folder, "c", "fits", None);
}

// B24
#[test]
fn compares_with_the_present_file_byte_by_byte() {
    let place = Place::new();
    let folder = place.open();
    let content = "x".repeat(WRITE_BYTES) + "end";
    let finished = stage(&folder, "a", &content, None);
    let same = || folder.staging().same_content(&finished).unwrap();
    assert_eq!(same(), None, "absent");
    place.write("a", &content);
    assert_eq!(same(), folder.stat(&name("a")).unwrap());
    place.write("a", &(content.clone() + "more"));
    assert_eq!(same(), None, "longer");
    place.write("a", &content.replace("end", "eNd"));
    assert_eq!(same(), None, "of the same length");
    fs::remove_file(place.at("a")).unwrap();
    place.write("other", &content);
    symlink("other", place.at("a")).unwrap();
    assert_eq!(same(), None, "a link");
}

#[test]
fn full_quota_and_largest_file_count_as_no_space() {
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
        assert!(is_out_of_space(&errno.into()));
    }
    assert!(!is_out_of_space(&Errno::IO.into()));
}

#[test]
fn many_threads_stage_at_once() {
    let place = Place::new();
    let folder = place.open();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let folder = &folder;
            scope.spawn(move || {
                let files: Vec<_> =
                    (0..50).map(|n| stage(folder, &format!("{thread}-{n}"), "content", None)).collect();
                assert!(files.iter().all(|file| file.stat().size == 7));
            });
        }
    });
    assert!(place.staged().is_empty());
}
