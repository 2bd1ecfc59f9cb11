//! Stories that must come out well.

mod contact;
mod content;
mod copies;
mod daily;
mod deletions;
mod durable;
mod forgotten;
mod guards;
mod joiners;
mod large;
mod lives;
mod members;
mod past;
mod promises;
mod quarrels;
mod roster;
mod stops;
mod versions;

use crate::world::World;

#[test]
fn i1_one_content_at_two_paths_comes_to_both() {
    let mut w = World::seeded(7).peers(["ana", "ben"]).share("notes");
    w.settle();
    w.on("ana").write("plan.txt", "v1").write("d/y", "v1");
    w.settle().assert_all();
}
