//! Files: opened, refused, damaged, put aside.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

fn made(folder: &TempDir) -> std::path::PathBuf {
    let file_of = folder.path().join("index");
    let mut ana = Index::create(At::File(&file_of), founding(), key(1), WriterSalt([1; 16])).unwrap();
    for number in 0..40 {
        see(&mut ana, &format!("d{}/f{number}", number % 3), Some(file(1 + number, 10)));
    }
    ana.close().unwrap();
    file_of
}

fn open(path: &Path) -> Result<Index, IndexError> {
    Index::open(path, &share(), key(1))
}

/// I17: whatever was answered is there after a stop without warning, in the file and what SQLite keeps beside it.
#[test]
fn i17_what_was_answered_is_there_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path_of = folder.path().join("index");
    let mut ana = Index::create(At::File(&path_of), founding(), key(1), WriterSalt([1; 16])).unwrap();
    for number in 0..10 {
        see(&mut ana, &format!("f{number}"), Some(file(1 + number, 10)));
        let copy = folder.path().join(format!("copy {number}"));
        fs::copy(&path_of, &copy).unwrap();
        fs::copy(folder.path().join("index-wal"), folder.path().join(format!("copy {number}-wal"))).unwrap();
        let again = open(&copy).unwrap();
        assert_eq!(again.memory.digests, ana.memory.digests);
        assert_eq!((*again.life(), again.counts()), (*ana.life(), ana.counts()));
        check(&again);
    }
    drop(ana);
    let mut again = open(&path_of).unwrap();
    assert_eq!(see(&mut again, "f3", Some(file(4, 10))).0, Outcome::Unchanged);
    assert_eq!(see(&mut again, "f3", Some(file(99, 10))).0, Outcome::Published);
    assert_eq!(again.life().counter, 11);
}

#[test]
fn i34_a_newer_schema_is_refused_and_left() {
    let folder = tempfile::tempdir().unwrap();
    let path_of = made(&folder);
    let set = |name, value: i64| {
        rusqlite::Connection::open(&path_of).unwrap().pragma_update(None, name, value).unwrap();
    };
    set("user_version", 2);
    assert!(matches!(open(&path_of), Err(IndexError::Newer { found: 2, known: 1 })));
    set("user_version", 1);
    assert!(open(&path_of).is_ok());
    set("application_id", 7);
    assert!(matches!(open(&path_of), Err(IndexError::NotOurs)));
}

#[test]
fn the_index_of_another_share_or_device_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path_of = made(&folder);
    let other = ShareId::from_bytes([9; 32]);
    assert!(matches!(Index::open(&path_of, &other, key(1)), Err(IndexError::OtherShare { .. })));
    assert!(matches!(Index::open(&path_of, &share(), key(2)), Err(IndexError::OtherDevice)));
    let create = Index::create(At::File(&path_of), founding(), key(1), WriterSalt([1; 16]));
    assert!(matches!(create, Err(IndexError::Exists)));
    assert!(matches!(open(&folder.path().join("none")), Err(IndexError::Database { .. })));
    let held = open(&path_of).unwrap();
    assert!(open(&path_of).is_err(), "one at a time");
    drop(held);
}

/// I18: a damaged file is refused or found out, never a panic; what is put aside is all still there.
#[test]
fn i18_a_damaged_file_never_panics_and_is_put_aside_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path_of = made(&folder);
    let sound = fs::read(&path_of).unwrap();
    let mut broken = 0;
    let page = 4096;
    let cuts = (0..=sound.len() / page).map(|pages| sound[..pages * page / 2].to_vec());
    let flips = (0..sound.len()).step_by(397).map(|at| {
        let mut flipped = sound.clone();
        flipped[at] ^= 0x5a;
        flipped
    });
    for bytes in cuts.chain(flips) {
        let damaged = folder.path().join("damaged");
        fs::write(&damaged, &bytes).unwrap();
        if let Err(_error) = use_all(&damaged) {
            broken += 1;
        }
        let aside = put_aside(&damaged).unwrap();
        assert!(!damaged.exists() && aside.exists());
        fs::remove_file(aside).unwrap();
        let _ = fs::remove_file(folder.path().join("damaged.broken-1-wal"));
    }
    assert!(broken > 20, "{broken}");
}

/// Reads all there is, and writes.
fn use_all(path_of: &Path) -> Result<(), IndexError> {
    let mut index = open(path_of)?;
    index.check()?;
    index.paths_below(None, None, usize::MAX)?;
    index.diverging(None, usize::MAX)?;
    for batch in index.everything(None, usize::MAX)?.batches {
        batch.verify(&share()).map_err(IndexError::damaged)?;
    }
    index.history(&listing(None, None, 9))?;
    index.last_publication(index.life().writer)?;
    let at = path("d1/f1");
    let compared = index.triple(&at)?.and_then(|triple| triple.here);
    index.observe(vec![Observed { path: at, compared, found: Some(file(77, 77)) }], &[])?;
    index.close()
}

#[test]
fn put_aside_takes_a_name_that_is_free_and_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("index");
    for (suffix, bytes) in [("", "one"), ("-wal", "two"), (".broken-1-wal", "old")] {
        fs::write(folder.path().join(format!("index{suffix}")), bytes).unwrap();
    }
    let aside = put_aside(&name).unwrap();
    assert_eq!(aside, folder.path().join("index.broken-2"));
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(
        (read("index.broken-2"), read("index.broken-2-wal"), read("index.broken-1-wal")),
        ("one".into(), "two".into(), "old".into())
    );
    assert!(!name.exists());
}

/// A copy is the index as it was, and goes its own way.
#[test]
fn i18_a_copy_of_an_index_is_what_it_was_then() {
    let mut ana = index(1);
    see(&mut ana, "a", Some(file(1, 10)));
    let mut then = ana.fork().unwrap();
    assert_eq!((then.life(), then.digests().root()), (ana.life(), ana.digests().root()));
    assert_eq!(then.paths_below(None, None, 9).unwrap(), ana.paths_below(None, None, 9).unwrap());
    check(&then);
    see(&mut ana, "b", Some(file(2, 10)));
    assert_eq!(then.triple(&path("b")).unwrap(), None);
    see(&mut then, "c", Some(file(3, 10)));
    assert_eq!(ana.triple(&path("c")).unwrap(), None);
    check(&then);
}
