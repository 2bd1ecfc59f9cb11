//! Stories of several wishes for one content.

use super::*;

/// Of equal contents one is asked for; the others are copied once it stands in the folder, all in one go.
#[test]
fn equal_contents_are_asked_for_once_and_copied() {
    for bytes in [random(7, 3000), random(8, MIB), several()] {
        let mut world = World::honest(2);
        let content = world.peers[1].store.add("a", bytes.clone());
        let stages: Vec<_> = (0..100).map(|_| world.want(0, goal(content, bytes.len()))).collect();
        assert_eq!(stages.iter().collect::<BTreeSet<_>>().len(), stages.len());
        world.settle();
        assert_eq!(world.peers[0].done, [stages[0]]);
        let came = world.peers[0].from[&1];
        world.peers[0].store.add("a", bytes.clone());
        world.peers[0].fetch.taken(stages[0]);
        world.settle();
        assert_eq!(
            world.peers[0].done.iter().copied().collect::<BTreeSet<_>>(),
            stages.into_iter().collect()
        );
        assert_eq!(world.peers[0].from[&1], came, "copies are made here");
    }
}

/// Who waits for an equal content goes on when that is given up.
#[test]
fn what_waits_for_an_equal_content_goes_on_without_it() {
    let mut world = World::honest(2);
    let bytes = random(9, 3000);
    let content = world.peers[1].store.add("a", bytes.clone());
    world.says(0, 1, &content, Has::No);
    let stages = [0; 3].map(|_| world.want(0, goal(content, bytes.len())));
    world.settle();
    let ana = &world.peers[0];
    assert!(stages.iter().all(|stage| ana.fetch.progress(*stage, &ana.said) == Some(Progress::NoSource)));
    world.peers[0].fetch.forget(stages[0]);
    world.settle();
    world.says(0, 1, &content, Has::Yes);
    world.settle();
    assert_eq!(world.peers[0].done, [stages[1]]);
    world.peers[0].fetch.forget(stages[1]);
    world.settle();
    assert_eq!(world.peers[0].done, [stages[1], stages[2]]);
}
