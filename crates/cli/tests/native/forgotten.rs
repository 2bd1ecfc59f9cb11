//! Devices whose index is gone, or whatever else they kept of a share, and who was removed before that.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use shoal_daemon::control::text::Id;
use shoal_daemon::home::{Environment, Home};
use shoal_proto::id::ShareId;

use super::{Machine, clocks, invite_of, wait_agreed, wait_all_agreed};
use crate::support::{Folder, SOON, eventually, skip};

impl Machine {
    fn files(&self) -> Home {
        Home::find(Some(self.home.path()), &Environment::default()).unwrap()
    }

    fn share_id(&self) -> Id<ShareId> {
        serde_json::from_value(self.share_status()["share"].take()).unwrap()
    }

    fn is_removed(&self) -> bool {
        self.share_status()["phase"] == "removed"
    }

    /// The devices that it knows as members.
    fn members(&self) -> BTreeSet<String> {
        let path = self.folder.path().to_str().unwrap();
        let devices = self.done(&["devices", path]);
        devices.iter().filter_map(|device| Some(device["device"].as_str()?.to_owned())).collect()
    }
}

/// What is in the folder of a file and begins with its name: an index, and what SQLite keeps beside it.
fn beside(file: &Path) -> Vec<PathBuf> {
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let all = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&name)).collect()
}

fn remove(file: &Path) {
    let found = beside(file);
    assert!(!found.is_empty(), "{file:?}");
    found.iter().for_each(|path| fs::remove_file(path).unwrap());
}

/// Ana removes cleo while that one is away, and loses its index; it is started again within what is given. Then cleo comes
/// first, and ben later.
fn the_removed_one_comes_first(ana_within: Vec<String>) {
    let (mut ana, mut ben, mut cleo) = (Machine::start("ana"), Machine::start("ben"), Machine::start("cleo"));
    ana.write("a", b"a");
    let invite = ana.share(&["--uses", "2"]);
    [&ben, &cleo].iter().for_each(|machine| machine.join(&invite, &[]));
    wait_all_agreed(&[&ana, &ben, &cleo], |tree| tree.contains_key("a"));
    let (share, members) = (ana.share_id(), BTreeSet::from([ana.device.clone(), ben.device.clone()]));
    cleo.kill();
    ana.done(&["revoke", "cleo", "--yes"]);
    ana.write("b", b"not for cleo");
    wait_agreed(&ana, &ben, |tree| tree.contains_key("b"));
    ben.kill();
    ana.kill();
    remove(&ana.files().index_file(&share.0));
    ana.within = ana_within;
    ana.up();
    cleo.write("of cleo", b"not for ana");
    cleo.up();
    eventually("cleo is refused", SOON, || cleo.is_removed());
    let (at_ana, at_cleo) = (clocks::clock_of(&mut ana), clocks::clock_of(&mut cleo));
    assert!(ana.within.is_empty() || at_ana[..4] > at_cleo[..4], "{at_ana} {at_cleo}");
    assert!(!cleo.tree().contains_key("b") && !ana.tree().contains_key("of cleo"));
    assert_eq!(ana.members(), members);
    ben.up();
    ben.write("c", b"by ben");
    let tree = wait_agreed(&ana, &ben, |tree| tree.contains_key("c"));
    assert!(!tree.contains_key("of cleo") && !cleo.tree().contains_key("b"));
    assert_eq!((ana.members(), ben.members()), (members.clone(), members));
}

#[test]
fn i26_a_founder_whose_index_is_gone_lets_in_nobody_that_it_removed() {
    the_removed_one_comes_first(Vec::new());
}

/// By the clock of the founder, which alone judges that.
#[test]
fn i26_a_founder_whose_index_is_gone_knows_its_members_when_all_invites_are_over() {
    let Some(turner) = clocks::turner() else { return skip("I26: invites over", "there is no libfaketime") };
    the_removed_one_comes_first(clocks::turned(&turner, "+366d"));
}

/// Who was removed knows it, and a member that has not founded the share knows it of others, without the index.
#[test]
fn i26_members_and_the_removed_one_whose_indexes_are_rubbish_know_who_was_removed() {
    let (mut ana, mut ben, mut cleo, mut dan) =
        (Machine::start("ana"), Machine::start("ben"), Machine::start("cleo"), Machine::start("dan"));
    ana.write("a", b"a");
    let invite = ana.share(&["--uses", "3"]);
    [&ben, &cleo, &dan].iter().for_each(|machine| machine.join(&invite, &[]));
    // Another share, by which cleo knows where ben is.
    let other = [Folder::new(), Folder::new()];
    let invite = invite_of(&ben.done(&["share", other[0].path().to_str().unwrap()]));
    cleo.done(&["join", &invite, other[1].path().to_str().unwrap()]);
    wait_all_agreed(&[&ana, &ben, &cleo, &dan], |tree| tree.contains_key("a"));
    let (share, members) = (ana.share_id(), BTreeSet::from([ana.device.clone(), ben.device.clone()]));
    cleo.kill();
    ana.done(&["revoke", "cleo", "--yes"]);
    ana.done(&["revoke", "dan", "--yes"]);
    eventually("dan is told", SOON, || dan.is_removed());
    ana.write("b", b"not for cleo");
    wait_agreed(&ana, &ben, |tree| tree.contains_key("b"));
    ana.kill();
    for machine in [&mut ben, &mut dan] {
        machine.kill();
        let index = machine.files().index_file(&share.0);
        remove(&index);
        fs::write(&index, b"rubbish ".repeat(1 << 12)).unwrap();
        machine.up();
        assert!(beside(&index).iter().any(|path| path.to_str().unwrap().ends_with(".broken-1")));
    }
    // Nobody is there who could tell it.
    eventually("dan knows it", SOON, || dan.is_removed());
    assert!(dan.share_status()["why"].as_str().unwrap().starts_with("ana ("));
    cleo.up();
    fs::write(other[0].join("o"), "o").unwrap();
    eventually("ben and cleo have met", SOON, || other[1].join("o").exists());
    assert_eq!(ben.members(), members);
    ana.up();
    ben.write("c", b"by ben");
    wait_agreed(&ana, &ben, |tree| tree.contains_key("c"));
    eventually("cleo is told", SOON, || cleo.is_removed());
    assert!(!cleo.tree().contains_key("b") && !dan.tree().contains_key("b"));
    assert_eq!(ben.members(), members);
}

/// What is kept of the roster beside the index is made anew where it is damaged or missing, as in a home of an earlier Shoal.
/// Where both are gone, what there is to be done is said.
#[test]
fn i18_what_is_kept_beside_the_index_is_made_anew_and_gone_after_leaving() {
    let (mut ana, ben) = (Machine::start("ana"), Machine::start("ben"));
    ana.write("a", b"a");
    let invite = ana.share(&[]);
    ben.join(&invite, &[]);
    wait_agreed(&ana, &ben, |tree| tree.contains_key("a"));
    let share = ana.share_id();
    let (index, file) = (ana.files().index_file(&share.0), ana.files().roster_file(&share.0));
    let whole = fs::read(&file).unwrap();

    // Cut short: it is told, put aside, and the share is as it was.
    ana.kill();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    ana.up();
    assert_eq!(fs::read(&file).unwrap(), whole);
    assert_eq!(
        beside(&file).iter().map(|path| fs::read(path).unwrap().len()).sum::<usize>(),
        2 * whole.len() - 1
    );
    ana.write("b", b"b");
    wait_agreed(&ana, &ben, |tree| tree.contains_key("b"));

    let (_, told) = ana.daemon.take().unwrap().stop(Signal::TERM);
    assert!(told.contains("is damaged: it is cut short") && told.contains(".roster.broken-1"), "{told}");

    // Missing.
    remove(&file);
    ana.up();
    eventually("it is made anew", SOON, || fs::read(&file).is_ok_and(|bytes| bytes == whole));

    // All is gone. The invite is still good, so ben is known again; until then nobody is.
    ana.kill();
    let mut ben = ben;
    ben.kill();
    [&file, &index].into_iter().for_each(|path| remove(path));
    ana.up();
    let why = || ana.share_status()["why"].as_str().unwrap_or_default().to_owned();
    eventually("it says so", SOON, || why().contains("No member of this share is known here"));
    assert!(
        why().contains("--alone")
            && why().contains(file.to_str().unwrap())
            && why().contains("share the folder anew"),
        "{}",
        why()
    );
    ben.up();
    ben.write("c", b"c");
    wait_agreed(&ana, &ben, |tree| tree.contains_key("c"));
    assert_eq!(ana.share_status()["why"], Value::Null);

    ana.done(&["leave", ana.folder.path().to_str().unwrap(), "--yes"]);
    assert!(!file.exists());
}
