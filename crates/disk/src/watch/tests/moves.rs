//! What is moved: within the folder, out of it, into it.

use super::*;

/// The deliveries in which both are told, in the order of happening.
fn told_together(ear: &mut Ear, from: &Hint, to: &Hint) {
    ear.hear_until(&format!("{from:?} with {to:?}"), |heard| {
        heard.iter().any(|hints| has(hints, from) && has(hints, to))
    });
    ear.deliveries.clear();
}

#[test]
fn both_ends_of_a_move_are_told_together() {
    let mut ear = Ear::on(&["a/", "b/", "a/f", "g"]);
    ear.rename("a/f", "b/f2");
    told_together(&mut ear, &at("a/f"), &at("b/f2"));
    ear.rename("g", "b/f2");
    told_together(&mut ear, &at("g"), &at("b/f2"));
}

#[test]
fn watches_follow_a_directory_that_is_moved() {
    let mut ear = Ear::on(&["a/b/c/", "x/"]);
    let before = ear.watch.status().watched;
    for (from, to) in [("a", "x/new"), ("x/new/b", "b"), ("x/new", "a")] {
        ear.rename(from, to);
        told_together(&mut ear, &at(from), &below(to));
    }
    assert_eq!(ear.watch.status().watched, before);
    ear.write("b/c/f");
    ear.wait_for(&at("b/c/f"));
    // What takes the old name is another one.
    ear.make("x/new/b/");
    ear.wait_for(&below("x/new"));
    ear.write("x/new/b/f");
    ear.wait_for(&at("x/new/b/f"));
    assert!(!ear.all().iter().any(|hint| matches!(hint, Hint::At(p) if p.is_below(&path("a")))));
}

#[test]
fn a_directory_that_takes_the_place_of_another_is_watched() {
    let mut ear = Ear::on(&["a/in/", "b/"]);
    ear.rename("a", "b");
    told_together(&mut ear, &at("a"), &below("b"));
    ear.write("b/in/f");
    ear.wait_for(&at("b/in/f"));
    ear.stands("root, b, b/in", |status| status.watched == 3);
    // Two that change places.
    ear.make("c/other/");
    ear.wait_for(&below("c"));
    let root = fs::File::open(ear.place.path()).unwrap();
    rustix::fs::renameat_with(&root, "b", &root, "c", rustix::fs::RenameFlags::EXCHANGE).unwrap();
    ear.wait_for(&below("b"));
    ear.stands("all", |status| status.watched == 5);
    for file in ["b/other/f", "c/in/g"] {
        ear.write(file);
        ear.wait_for(&at(file));
    }
}

#[test]
fn what_is_moved_out_is_not_watched_any_more_and_what_is_moved_in_is() {
    let outside = tempfile::Builder::new().tempdir().unwrap();
    let mut ear = Ear::on(&["a/b/", "f"]);
    let (away, file) = (outside.path().join("a"), outside.path().join("f"));
    fs::rename(ear.place.at("a"), &away).unwrap();
    fs::rename(ear.place.at("f"), &file).unwrap();
    ear.wait_for(&at("a"));
    ear.wait_for(&at("f"));
    ear.stands("the root alone", |status| status.watched == 1);
    ear.deliveries.clear();
    fs::write(away.join("b/g"), "").unwrap();
    assert_eq!(ear.all(), []);

    fs::rename(&away, ear.place.at("back")).unwrap();
    fs::rename(&file, ear.place.at("f")).unwrap();
    ear.wait_for(&below("back"));
    ear.wait_for(&at("f"));
    ear.write("back/b/g");
    ear.wait_for(&at("back/b/g"));
    ear.stands("root, back, back/b", |status| status.watched == 3);
}

#[test]
fn the_root_moved_or_deleted_is_told_as_a_loss() {
    for is_moved in [true, false] {
        let parent = Place::new();
        let root = parent.at("root");
        fs::create_dir(&root).unwrap();
        let (folder, _) = Folder::open(&root, &crate::FolderOptions::default()).unwrap();
        let (tell, heard) = sync_channel(64);
        let watch = folder.watch_names(move |_, hints| pass_on(&tell, hints)).unwrap();
        assert_eq!(heard.recv_timeout(SOON).unwrap(), [Hint::Lost]);
        if is_moved {
            fs::rename(&root, parent.at("elsewhere")).unwrap();
        } else {
            fs::remove_dir_all(&root).unwrap();
        }
        while heard.recv_timeout(SOON).unwrap() != [Hint::Lost] {}
        drop(watch);
    }
}

/// Folders and files that come, go and change places all the time: in the end all that is there is watched.
#[test]
fn after_much_coming_and_going_all_that_is_there_is_watched() {
    let mut ear = Ear::on(&[]);
    let mut seed = 7_u32;
    let mut draw = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % below
    };
    for _ in 0..4000 {
        let (a, b) = (draw(6), draw(6));
        let (one, other) = (ear.place.at(&format!("d{a}/e{b}")), ear.place.at(&format!("d{b}/e{a}")));
        // Many of these are impossible just then.
        let _ = match draw(5) {
            0 | 1 => fs::create_dir_all(one.join("deep")),
            2 => fs::rename(one, other),
            3 => fs::rename(ear.place.at(&format!("d{a}")), ear.place.at(&format!("d{b}"))),
            _ => fs::remove_dir_all(one),
        };
    }
    ear.all();
    let folders = folders_below(ear.place.path(), "");
    assert!(folders.len() > 6);
    let status = ear.stands("all folders", |status| status.watched == folders.len());
    assert_eq!(status.polled, 0);
    for folder in folders {
        let file = format!("{folder}f");
        ear.write(&file);
        ear.wait_for(&at(&file));
    }
}

/// The folders of a tree, each with a slash at its end, the root without a name.
fn folders_below(root: &std::path::Path, folder: &str) -> Vec<String> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("{folder}{name}");
        if name != ".shoal" && root.join(&path).is_dir() {
            found.extend(folders_below(root, &format!("{path}/")));
        }
    }
    found
}
