//! Files of all sizes, under all names, and many of them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::support::{Folder, PlayedPeer, eventually, python_peer, set_mtime, skip, sync, tracker};

/// For transfers that keep a slow disk busy.
const LONG: Duration = Duration::from_secs(300);

/// Bytes in which no piece is like another.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 16).to_le_bytes()
    });
    let mut bytes: Vec<u8> = words.by_ref().take(length.div_ceil(8)).flatten().collect();
    bytes.truncate(length);
    bytes
}

#[test]
fn large_and_empty_files_and_all_names_pass_between_all_kinds_of_peers() {
    let (_tracker, port) = tracker(&[]);
    let folders = [Folder::new(), Folder::new(), Folder::new(), Folder::new()];
    for (folder, owner) in folders.iter().zip(["1", "2", "3", "4"]) {
        let longest = format!("{owner}{}x", "名".repeat(84)) + "y";
        assert_eq!(longest.len(), 255);
        let names = [
            longest,
            format!("{owner} Grüße, 名前, e\u{301}, 🐟"),
            format!(" {owner} spaces  around "),
            format!("-{owner}"),
            format!("'{owner}' \"quoted\" $HOME %20 *?"),
            format!("{owner}\ttab"),
            format!("{owner}: {{\"json\": [1]}}"),
        ];
        for name in &names {
            folder.write(name, 1_000, name.as_bytes());
        }
        folder.write(&format!("{owner} empty"), 1_001, b"");
        folder.write(&format!("{owner} is 20 MiB"), 1_002, &noise(20 << 20, u64::from(owner.as_bytes()[0])));
        folder.write(&format!("{owner} is a round 8 KiB"), 1_003, &noise(8_192, 7));
    }
    let mut expected = folders[0].contents();
    folders[1..].iter().for_each(|folder| expected.extend(folder.contents()));
    let listing = expected.iter().map(|(name, (mtime, bytes))| (name.clone(), (*mtime, bytes.len() as u64)));
    let listing = listing.collect();

    let often = ["--interval", "0.5"];
    let (mut classic, _) = python_peer(port, &folders[0], "classic", "plain", &often);
    let (mut framed, _) = python_peer(port, &folders[1], "framed", "plain", &often);
    classic.wait_event("directory");
    framed.wait_event("directory");
    let _peers = [sync("one", port, &folders[2], &[]), sync("another", port, &folders[3], &[])];
    eventually("all is everywhere", LONG, || folders.iter().all(|folder| folder.listing() == listing));
    for folder in &folders {
        assert!(folder.contents() == expected, "the bytes are the same");
    }
}

#[test]
fn ten_thousand_files_pass_between_shoal_peers() {
    let (_tracker, port) = tracker(&[]);
    let (theirs, ours) = (Folder::new(), Folder::new());
    for number in 0..10_000 {
        let bytes = noise(number % 1_000, u64::try_from(number).unwrap());
        theirs.write(&format!("file {number}"), 1_000_000 + bytes.len() as u64, &bytes);
    }
    let mut source = sync("the source", port, &theirs, &[]);
    assert_eq!(source.wait_event("connected")["announced"], 10_000);
    source.wait_event("in-sync");
    let mut shoal = sync("ours", port, &ours, &["--once"]);
    shoal.wait_within(LONG, "in sync", |event| event["event"] == "in-sync");
    assert_eq!(shoal.outcome().code, Some(0));
    assert!(ours.contents() == theirs.contents());
    assert_eq!(ours.staged(), 0);
}

#[test]
fn a_file_of_two_gigabytes_passes_between_shoal_peers() {
    const LENGTH: u64 = 2 << 30;
    let (theirs, ours) = (Folder::new(), Folder::new());
    let disk = rustix::fs::statvfs(ours.path()).unwrap();
    let free = disk.f_bavail * disk.f_frsize;
    if free < 2 * LENGTH {
        return skip("a file of 2 GiB", &format!("{free} bytes are free, {} are needed", 2 * LENGTH));
    }
    let path = theirs.join("big");
    let file = File::create(&path).unwrap();
    file.set_len(LENGTH).unwrap();
    // Not at the edges of any block, and behind what 31 bits can count.
    for offset in [0, 777_777, (1 << 30) + 3, (1 << 31) - 1_000] {
        file.write_all_at(&noise(999, offset), offset).unwrap();
    }
    set_mtime(&path, 1_000);

    let (_tracker, port) = tracker(&[]);
    let mut source = sync("the source", port, &theirs, &[]);
    source.wait_event("in-sync");
    let mut shoal = sync("ours", port, &ours, &["--once"]);
    shoal.wait_within(LONG, "the file", |event| event["event"] == "fetched");
    assert_eq!(shoal.outcome().code, Some(0));
    assert_eq!(ours.listing(), theirs.listing());
    assert!(are_equal(&path, &ours.join("big")));
}

/// Compares two files piece by piece.
fn are_equal(one: &Path, other: &Path) -> bool {
    let open = |path| BufReader::with_capacity(1 << 20, File::open(path).unwrap());
    let (mut one, mut other) = (open(one), open(other));
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let length = one.read(&mut left).unwrap();
        if length == 0 {
            return other.read(&mut right).unwrap() == 0;
        }
        other.read_exact(&mut right[..length]).unwrap();
        if left[..length] != right[..length] {
            return false;
        }
    }
}

#[test]
fn a_file_that_trickles_in_is_waited_for_as_long_as_no_pause_is_too_long() {
    let (_tracker, port) = tracker(&[]);
    let source = PlayedPeer::announce(port, &[("slow", 1_000)]);
    let ours = Folder::new();
    let mut shoal = sync("ours", port, &ours, &["--timeout", "2"]);
    let (mut line, _) = source.request();
    line.write(b"Content-Length: 8\n");
    for byte in b"trickles" {
        // Each pause is shorter than the timeout, all of them together are longer.
        std::thread::sleep(Duration::from_millis(300));
        line.write(&[*byte]);
    }
    assert_eq!(shoal.wait_fetched("slow")["bytes"], 8);
}
