//! Three devices and more that share one folder.

use std::collections::BTreeSet;
use std::fs;

use super::{AGREED, LONELY, Link, Machine, Tree, by_way_of, invite_of, wait_agreed, wait_all_agreed};
use crate::support::{Folder, eventually, tracker};

/// Three devices with a link between each two.
struct Triangle {
    machines: [Machine; 3],
    /// Each with the places of the two that it joins.
    links: [(Link, [usize; 2]); 3],
    /// Another share of the last two, by which they know where the other one is.
    _beside: [Folder; 2],
}

impl Triangle {
    fn start() -> Self {
        let machines = ["ana", "ben", "cleo"].map(Machine::start);
        let links = [[0, 1], [0, 2], [1, 2]].map(|ends| (Link::new(), ends));
        let [ana, ben, cleo] = &machines;
        for (link, [called, _]) in &links {
            link.lead_to(machines[*called].address);
        }
        let invite = ana.share(&["--uses", "2"]);
        ben.join(&by_way_of(&invite, &links[0].0), &[]);
        cleo.join(&by_way_of(&invite, &links[1].0), &[]);
        let beside = [Folder::new(), Folder::new()];
        let invite = invite_of(&ben.done(&["share", beside[0].path().to_str().unwrap()]));
        let invite = by_way_of(&invite, &links[2].0);
        cleo.done(&["join", &invite, beside[1].path().to_str().unwrap()]);
        Self { machines, links, _beside: beside }
    }

    /// These links stand, the others are cut.
    fn stand(&self, stands: [bool; 3]) {
        for ((link, _), stands) in self.links.iter().zip(stands) {
            if stands { link.heal() } else { link.cut() }
        }
    }

    fn all(&self) -> [&Machine; 3] {
        self.machines.each_ref()
    }
}

fn holds(tree: &Tree, texts: &BTreeSet<String>) -> bool {
    let held: BTreeSet<&[u8]> = tree.values().map(|bytes| &**bytes).collect();
    texts.iter().all(|text| held.contains(text.as_bytes()))
}

/// Waits until all of these show the same, which is this, and say that they are in sync. Before that they may show the same
/// for a moment: a conflict of which the copies are still to be made.
fn settled(machines: &[&Machine], is_it: impl Fn(&Tree) -> bool) -> Tree {
    let mut tree = Tree::new();
    eventually("all agree", AGREED, || {
        let are_in_sync = machines.iter().all(|machine| machine.share_status()["is_in_sync"] == true);
        tree = machines[0].tree();
        are_in_sync && is_it(&tree) && machines[1..].iter().all(|machine| machine.tree() == tree)
    });
    tree
}

#[test]
fn i1_i3_i4_three_that_edit_while_links_are_cut_in_turn_end_equal_and_lose_no_edit() {
    let triangle = Triangle::start();
    let [ana, ben, cleo] = triangle.all();
    ana.write("plan", b"the plan");
    (0..3).for_each(|round| ana.write(&format!("old/{round}"), b"old"));
    wait_all_agreed(&triangle.all(), |tree| tree.len() == 5);
    // What nobody has replaced who saw it.
    let mut owed = BTreeSet::new();
    for (round, (_, [one, other])) in triangle.links.iter().enumerate() {
        // Nothing moves while users write: so it is known what each of them saw.
        triangle.stand([false; 3]);
        for machine in triangle.all() {
            let name = machine.name;
            let seen = String::from_utf8(machine.tree()["plan"].clone()).unwrap();
            owed.remove(&seen);
            for path in ["plan".to_owned(), format!("of {name}/{round}")] {
                let text = format!("{path} by {name}, round {round}");
                machine.write(&path, text.as_bytes());
                owed.insert(text);
            }
        }
        let edited = format!("edited in round {round}");
        fs::remove_file(ana.folder.join(&format!("old/{round}"))).unwrap();
        cleo.write(&format!("old/{round}"), edited.as_bytes());
        owed.insert(edited);
        triangle.stand([round == 0, round == 1, round == 2]);
        let two = [&triangle.machines[*one], &triangle.machines[*other]];
        let own = two.map(|machine| format!("of {}/{round}", machine.name));
        settled(&two, |tree| own.iter().all(|path| tree.contains_key(path)));
    }
    triangle.stand([true; 3]);
    let tree = settled(&triangle.all(), |tree| holds(tree, &owed));
    let files = tree.keys().filter(|path| !path.ends_with('/') && !path.starts_with("plan"));
    assert_eq!(files.count(), 3 * 3 + 3, "{:?}", tree.keys());
    let conflicts = |machine: &Machine| machine.done(&["conflicts", machine.folder.path().to_str().unwrap()]);
    let listed = conflicts(ana);
    assert!(!listed.is_empty() && listed.iter().any(|conflict| conflict["path"] == "plan"), "{listed:?}");
    assert_eq!(listed, conflicts(ben));
    assert_eq!(listed, conflicts(cleo));
}

#[test]
fn i1_what_two_have_that_never_meet_goes_by_a_third() {
    let [mut ana, ben, cleo] = ["ana", "ben", "cleo"].map(Machine::start);
    let links = [Link::new(), Link::new()];
    let invite = ben.share(&["--uses", "2"]);
    for (machine, link) in [&ana, &cleo].into_iter().zip(&links) {
        link.lead_to(ben.address);
        machine.join(&by_way_of(&invite, link), &[]);
    }
    ana.write("d/of ana", b"1");
    wait_all_agreed(&[&ana, &ben, &cleo], |tree| tree.contains_key("d/of ana"));
    cleo.write("d/of ana", b"1, edited by cleo");
    let of_cleo = |tree: &Tree| tree.get("d/of ana").is_some_and(|bytes| bytes == b"1, edited by cleo");
    wait_all_agreed(&[&ana, &ben, &cleo], of_cleo);
    let peers: Vec<usize> =
        [&ana, &ben, &cleo].map(|machine| machine.share_status()["peers"].as_array().unwrap().len()).to_vec();
    assert_eq!(peers, [1, 2, 1], "ana and cleo never meet");

    // Not even at the same time: what one leaves with the third, the other finds there.
    links[1].cut();
    ana.write("left", b"with ben");
    wait_agreed(&ana, &ben, |tree| tree.contains_key("left"));
    ana.kill();
    links[1].heal();
    wait_agreed(&ben, &cleo, |tree| tree.contains_key("left"));
}

#[test]
fn i1_sixteen_devices_have_what_any_of_them_does() {
    const NAMES: [&str; 16] = [
        "ana", "ben", "cleo", "dan", "eva", "finn", "gus", "hana", "ida", "jan", "kim", "leo", "mia", "nik",
        "ole", "pia",
    ];
    let (_tracker, port) = tracker(&[]);
    let config = format!("{LONELY}trackers = [\"127.0.0.1:{port}\"]\n");
    let machines = NAMES.map(|name| {
        let mut machine = Machine::new(name, &config);
        machine.up();
        machine
    });
    let (first, last) = (&machines[0], &machines[15]);
    (0..12).for_each(|number| first.write(&format!("d{}/{number}", number % 3), &[number; 100]));
    let invite = first.share(&["--uses", "15"]);
    machines[1..].iter().for_each(|machine| machine.join(&invite, &[]));
    let all: Vec<&Machine> = machines.iter().collect();
    wait_all_agreed(&all, |tree| tree.len() == 15);
    last.write("d0/0", b"by the last");
    last.write("new", b"by the last");
    fs::remove_file(machines[7].folder.join("d1/1")).unwrap();
    let tree = wait_all_agreed(&all, |tree| tree.contains_key("new") && !tree.contains_key("d1/1"));
    assert_eq!((tree.len(), &*tree["d0/0"]), (15, &b"by the last"[..]));
    for machine in &machines {
        let status = machine.share_status();
        assert_eq!(status["members"], 16, "{}", machine.name);
        assert_eq!(status["is_in_sync"], true, "{}", machine.name);
    }
}
