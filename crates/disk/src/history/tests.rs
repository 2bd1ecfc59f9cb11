//! Versions that are listed, read and pruned, also after the table has suffered.

use std::fs;
use std::time::Duration;

use super::*;
use crate::testing::{Place, commit_one, placement, versions};

/// Replaces a file so that the content it has now goes to history.
fn replace(place: &Place, folder: &crate::Folder, file: &str, content: &str) {
    if !place.at(file).exists() {
        place.write(file, "first");
    }
    let outcome = commit_one(folder, placement(folder, file, content));
    assert!(matches!(outcome, crate::Outcome::Placed { kept: Some(_), .. }), "{outcome:?}");
}

fn kept(number: u64, name: &str, filed: i64, size: u64) -> Kept {
    let name = Some(TreePath::from(&crate::testing::name(name))).filter(|path| path.as_bytes() != b"?");
    let mtime = FileTime::default();
    Kept { number, name, kind: Kind::File, by: String::new(), filed, size, mtime, late_edit: false }
}

fn pair(name: &str, content: &str) -> (String, String) {
    (name.into(), content.into())
}

#[test]
fn every_replaced_version_is_listed_with_its_story() {
    let place = Place::new();
    let folder = place.open();
    replace(&place, &folder, "a", "second");
    replace(&place, &folder, "tab\tname", "2");
    replace(&place, &folder, "a", "third");
    let expected = [pair("a", "first"), pair("tab\\x09name", "first"), pair("a", "second")];
    assert_eq!(versions(&folder), expected);
    let listed = folder.history().list().unwrap();
    let now = seconds(SystemTime::now());
    assert!(listed.iter().all(|kept| kept.by == "192.0.2.7:9001" && !kept.late_edit));
    assert!(listed.iter().all(|kept| (now - 60..=now + 1).contains(&kept.filed)));
    assert_eq!((listed[2].size, listed[2].mtime.secs), (6, 1_700_000_000));
    drop(folder);
    assert_eq!(versions(&place.open()), expected, "also after a restart");
}

#[test]
fn numbers_go_on_after_a_restart() {
    let place = Place::new();
    replace(&place, &place.open(), "a", "second");
    replace(&place, &place.open(), "a", "third");
    let numbers: Vec<_> = place.open().history().list().unwrap().iter().map(|kept| kept.number).collect();
    assert!(numbers.len() == 2 && numbers[0] < numbers[1]);
}

#[test]
fn a_version_without_its_line_is_listed_under_no_name() {
    let place = Place::new();
    let folder = place.open();
    replace(&place, &folder, "a", "second");
    fs::remove_file(place.at(".shoal/history/table.tsv")).unwrap();
    assert_eq!(versions(&folder), [pair("?", "first")]);
}

#[test]
fn a_torn_last_line_is_cut_and_the_next_one_is_whole() {
    let place = Place::new();
    replace(&place, &place.open(), "a", "second");
    let table = place.at(".shoal/history/table.tsv");
    let whole = fs::read_to_string(&table).unwrap();
    for length in 0..whole.len() {
        fs::write(&table, whole.clone() + &whole[..length]).unwrap();
        drop(place.open());
        assert_eq!(fs::read_to_string(&table).unwrap(), whole, "{length}");
    }
    fs::write(&table, "not a line\n\n".to_owned() + &whole).unwrap();
    replace(&place, &place.open(), "a", "third");
    assert_eq!(versions(&place.open()), [pair("a", "first"), pair("a", "second")]);
}

#[test]
fn rows_read_as_they_were_written() {
    let row = Row {
        number: Number(7),
        filed: -5,
        size: u64::MAX,
        mtime: FileTime { secs: i64::MIN, nanos: 999_999_999 },
        by: "a\tb\n\u{202e}".into(),
        path: TreePath::parse(&[0xff; 255]).unwrap(),
    };
    let line = row.encode();
    assert_eq!(Row::decode(line.trim_end_matches('\n').as_bytes()), Some(row));
}

#[test]
fn old_versions_go_by_age() {
    let place = Place::new();
    let folder = place.open();
    replace(&place, &folder, "a", "second");
    replace(&place, &folder, "a", "third");
    let history = folder.history();
    let retention = Retention::default();
    let soon = SystemTime::now() + HISTORY_KEEP - Duration::from_secs(60);
    assert_eq!(history.prune(soon, &retention).unwrap(), Pruned::default());
    let late = SystemTime::now() + HISTORY_KEEP + Duration::from_secs(60);
    assert_eq!(history.prune(late, &retention).unwrap(), Pruned { versions: 2, bytes: 11 });
    assert_eq!(versions(&folder), []);
    let table = fs::read_to_string(place.at(".shoal/history/table.tsv")).unwrap();
    assert!(table.lines().count() == 1, "the last number stays taken: {table}");
    assert_eq!(place.read("a"), "third");
}

#[test]
fn pruning_keeps_the_table_of_what_stays() {
    let place = Place::new();
    let folder = place.open();
    for content in ["one", "two", "three"] {
        replace(&place, &folder, "a", content);
    }
    let retention = Retention { bytes_max: 6, ..Retention::default() };
    let pruned = folder.history().prune(SystemTime::now(), &retention).unwrap();
    assert_eq!(pruned, Pruned { versions: 1, bytes: 5 });
    assert_eq!(versions(&folder), [pair("a", "one"), pair("a", "two")]);
    replace(&place, &folder, "a", "four");
    assert_eq!(versions(&folder), [pair("a", "one"), pair("a", "two"), pair("a", "three")]);
}

#[test]
fn size_takes_from_the_name_with_most_and_the_last_version_last() {
    let history = [
        kept(1, "small", 10, 5),
        kept(2, "big", 20, 40),
        kept(3, "big", 30, 40),
        kept(4, "one huge", 40, 100),
        kept(5, "small", 50, 5),
        kept(6, "?", 60, 50),
        kept(7, "?", 70, 60),
    ];
    let order = |bytes_max| {
        let retention = Retention { bytes_max, ..Retention::default() };
        choose_doomed(&history, 100, &retention).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(order(300), [] as [u64; 0]);
    assert_eq!(order(299), [2], "the oldest of the name with most among those with several");
    assert_eq!(order(259), [1, 2], "then of the next");
    assert_eq!(order(254), [1, 2, 4], "only then a last version");
    assert_eq!(order(154), [1, 2, 4, 7], "files without a name do not count as versions of one another");
    assert_eq!(order(0), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn age_counts_before_size() {
    let history = [kept(1, "a", 0, 100), kept(2, "a", 99, 10), kept(3, "a", 100, 10)];
    let retention = Retention { keep: Duration::from_secs(10), bytes_max: 20 };
    assert_eq!(choose_doomed(&history, 100, &retention), BTreeSet::from([1]));
    assert_eq!(choose_doomed(&history, i64::MAX, &retention), BTreeSet::from([1, 2, 3]));
    assert_eq!(choose_doomed(&history, i64::MIN, &retention), BTreeSet::from([1]), "by size");
}

#[test]
fn opening_a_version_that_is_gone_says_so() {
    let place = Place::new();
    let error = place.open().history().open(3).unwrap_err();
    assert_eq!(error.to_string(), "there is no version 3 in the history; list it to see which there are");
}
