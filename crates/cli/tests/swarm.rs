//! Swarms of several kinds of peers: what one has, all have in the end.

use std::time::{Duration, Instant};

use crate::support::{Contents, Folder, contents, eventually, python_peer, sync, tracker};

/// Waits until all folders have the same files, and these are the expected ones.
fn assert_converge(folders: &[&Folder], expected: &Contents, limit: Duration) {
    eventually("all folders are equal", limit, || {
        folders.iter().all(|folder| folder.contents() == *expected)
    });
}

#[test]
fn a_shoal_peer_carries_files_between_a_classic_and_a_framed_one() {
    let (_tracker, port) = tracker(&[]);
    let ours = Folder::with(&[("ours.txt", 1_000, "ours"), ("common.txt", 2_000, "second")]);
    let classic = Folder::with(&[("classic.txt", 1_001, "classic"), ("common.txt", 3_000, "third, newest")]);
    let framed = Folder::with(&[("framed.txt", 1_002, "framed"), ("common.txt", 1_000, "first")]);
    let expected = contents(&[
        ("ours.txt", 1_000, "ours"),
        ("classic.txt", 1_001, "classic"),
        ("framed.txt", 1_002, "framed"),
        ("common.txt", 3_000, "third, newest"),
    ]);

    let began = Instant::now();
    let _ours = sync("ours", port, &ours, &[]);
    let _classic = python_peer(port, &classic, "classic", "plain", &[]);
    let _framed = python_peer(port, &framed, "framed", "plain", &[]);
    assert_converge(&[&ours, &classic, &framed], &expected, Duration::from_secs(15));
    assert!(began.elapsed() < Duration::from_secs(15));
    assert_eq!(ours.history(), [b"second"], "what was replaced is kept");
}
