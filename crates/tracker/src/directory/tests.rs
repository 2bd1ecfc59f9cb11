//! The rules of `docs/classic-protocol.md §5`, one by one, and all together against a model.

mod model;

use std::time::Duration;

use shoal_classic::directory::Directory as Parsed;
use shoal_classic::message::Announcement;

use super::*;

const PORT: u16 = 8001;

/// A directory with a clock that tests turn.
struct World {
    directory: Directory,
    now: Time,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut DirectoryLimits)) -> Self {
        let mut limits = DirectoryLimits::default();
        change(&mut limits);
        Self { directory: Directory::new(limits), now: Time::START }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    /// Somebody of another machine, who reached us at 10.0.0.1.
    fn connect(&mut self, ip: &str) -> PeerId {
        self.connect_to(ip, "10.0.0.1")
    }

    fn connect_to(&mut self, ip: &str, our_address: &str) -> PeerId {
        self.directory.connected(ip.parse().unwrap(), our_address.parse().unwrap(), self.now)
    }

    fn announce(&mut self, id: PeerId, files: &[(&str, i64)]) -> Taken {
        self.announce_at(id, PORT, files)
    }

    fn announce_at(&mut self, id: PeerId, port: u16, files: &[(&str, i64)]) -> Taken {
        self.directory.announce(id, port, announcement(files), self.now)
    }

    /// Somebody who connects and announces.
    fn join(&mut self, ip: &str, dialect: Dialect, files: &[(&str, i64)]) -> PeerId {
        let id = self.connect(ip);
        self.directory.dialect(id, dialect);
        self.announce(id, files);
        id
    }

    fn keep_alive(&mut self, id: PeerId) -> PeerId {
        self.directory.keep_alive(id, PORT, self.now)
    }

    fn close(&mut self, id: PeerId) {
        self.directory.closed(id, self.now);
    }

    fn answer(&mut self, id: PeerId) -> Answer {
        self.directory.answer(id, self.now)
    }

    /// What that peer is told, as `name mtime@ip:port`.
    fn told(&mut self, id: PeerId) -> Vec<String> {
        let parsed = Parsed::parse(&self.answer(id).bytes).unwrap();
        assert_eq!(parsed.refusals.count, 0);
        parsed
            .files
            .iter()
            .map(|(name, listed)| format!("{name} {}@{}", listed.mtime, listed.source))
            .collect()
    }
}

fn announcement(files: &[(&str, i64)]) -> Announcement {
    let parse = |(name, mtime): &(&str, i64)| (FileName::parse(name).unwrap(), *mtime);
    Announcement { files: files.iter().map(parse).collect(), ..Announcement::default() }
}

const NOTHING: [&str; 0] = [];

#[test]
fn golden_bytes_of_an_answer() {
    let mut world = World::new();
    let asker = world.connect("10.0.0.9");
    assert_eq!(world.answer(asker).bytes, "{}\n");
    world.join("10.0.0.2", Dialect::Both, &[("b", -7), ("é", 5)]);
    assert_eq!(
        world.answer(asker).bytes,
        "{\"b\": {\"ip\": \"10.0.0.2\", \"mtime\": -7, \"port\": 8001, \"dialect\": 2}, \
         \"\\u00e9\": {\"ip\": \"10.0.0.2\", \"mtime\": 5, \"port\": 8001, \"dialect\": 2}}\n"
    );
}

#[test]
fn the_newest_counts_and_of_equal_ones_the_first_stays() {
    let mut world = World::new();
    let first = world.join("10.0.0.2", Dialect::Classic, &[("old", 1), ("same", 5), ("new", 8)]);
    world.join("10.0.0.3", Dialect::Classic, &[("old", 2), ("same", 5), ("new", 7)]);
    let expected = ["new 8@10.0.0.2:8001", "old 2@10.0.0.3:8001", "same 5@10.0.0.2:8001"];
    assert_eq!(world.told(first), expected, "with the asker's own files");
    world.announce(first, &[("same", 5)]);
    assert_eq!(world.told(first), expected, "announcing again what is known keeps its place");
}

#[test]
fn when_a_holder_goes_the_next_and_then_the_next_newest_is_listed() {
    let mut world = World::new();
    let asker = world.connect("10.0.0.9");
    let gone: Vec<PeerId> = [("10.0.0.2", 8), ("10.0.0.3", 8), ("10.0.0.4", 7)]
        .map(|(ip, mtime)| world.join(ip, Dialect::Classic, &[("a", mtime)]))
        .into();
    for (id, expected) in
        gone.into_iter().zip([&["a 8@10.0.0.3:8001"][..], &["a 7@10.0.0.4:8001"][..], &NOTHING[..]])
    {
        world.close(id);
        world.wait(5);
        assert_eq!(world.told(asker), expected);
    }
    assert_eq!(world.directory.tally(), Tally { views: 1, ..Tally::default() }, "nothing is left behind");
    assert!(world.directory.sources.is_empty() && world.directory.deadlines.is_empty());
}

#[test]
fn b12_a_further_initial_adds_and_updates_and_removes_nothing() {
    let mut world = World::new();
    let id = world.join("10.0.0.2", Dialect::Classic, &[("a", 1), ("b", 9)]);
    assert_eq!(world.announce(id, &[("b", 3), ("c", 4)]).files, 3);
    assert_eq!(world.told(id), ["a 1@10.0.0.2:8001", "b 3@10.0.0.2:8001", "c 4@10.0.0.2:8001"]);
    world.announce_at(id, 9000, &[]);
    assert_eq!(world.told(id), ["a 1@10.0.0.2:9000", "b 3@10.0.0.2:9000", "c 4@10.0.0.2:9000"]);
}

#[test]
fn who_is_silent_for_too_long_is_not_listed_until_it_speaks_again() {
    let mut world = World::new();
    let asker = world.connect("10.0.0.9");
    let id = world.join("10.0.0.2", Dialect::Classic, &[("a", 1)]);
    world.wait(100);
    assert_eq!(world.keep_alive(id), id);
    world.wait(179);
    assert_eq!(world.told(asker), ["a 1@10.0.0.2:8001"], "any message refreshes");
    world.wait(1);
    assert_eq!(world.told(asker), NOTHING);
    assert_eq!(world.directory.tally().expired, 1);
    world.wait(300);
    assert_eq!(world.keep_alive(id), id);
    assert_eq!(world.told(asker), ["a 1@10.0.0.2:8001"]);
    world.wait(180);
    world.directory.expire(world.now);
    world.close(id);
    assert_eq!(world.directory.tally().announcements, 0, "closed while silent: forgotten at once");
}

#[test]
fn who_has_left_stays_listed_for_a_moment() {
    let mut world = World::new();
    let asker = world.connect("10.0.0.9");
    let id = world.join("10.0.0.2", Dialect::Classic, &[("a", 1)]);
    world.close(id);
    assert_eq!(world.directory.next_expiry(), Some(world.now + Duration::from_secs(5)));
    world.wait(4);
    assert_eq!(world.told(asker), ["a 1@10.0.0.2:8001"]);
    world.wait(1);
    assert_eq!(world.told(asker), NOTHING);
    assert_eq!(world.directory.next_expiry(), None);
    world.close(asker);
    assert!(world.directory.peers.is_empty(), "who announced nothing leaves nothing");
}

#[test]
fn a_new_initial_takes_the_place_of_a_peer_that_left() {
    let mut world = World::new();
    let former = world.join("10.0.0.2", Dialect::Classic, &[("a", 1), ("b", 1)]);
    world.close(former);
    let other_port = world.connect("10.0.0.2");
    world.announce_at(other_port, 8002, &[("c", 1)]);
    assert_eq!(world.told(other_port).len(), 3, "another port is another peer");
    let newcomer = world.join("10.0.0.2", Dialect::Classic, &[("a", 1)]);
    assert_eq!(world.told(newcomer), ["a 1@10.0.0.2:8001", "c 1@10.0.0.2:8002"]);
}

#[test]
fn b11_a_new_initial_takes_the_place_of_a_silent_peer_only() {
    let mut world = World::new();
    let former = world.join("10.0.0.2", Dialect::Classic, &[("a", 1)]);
    world.wait(10);
    let twin = world.join("10.0.0.2", Dialect::Classic, &[("b", 1)]);
    assert_eq!(world.told(twin).len(), 2, "two missed keep-alives are no proof");
    let _ = world.keep_alive(twin);
    world.wait(1);
    let newcomer = world.join("10.0.0.2", Dialect::Classic, &[("c", 1)]);
    assert_eq!(world.told(newcomer), ["b 1@10.0.0.2:8001", "c 1@10.0.0.2:8001"]);
    let _ = world.keep_alive(former);
    assert_eq!(world.told(former).len(), 3, "it was there after all");
}

#[test]
fn a_keep_alive_from_where_a_peer_left_is_that_peer() {
    let mut world = World::new();
    let former = world.join("10.0.0.2", Dialect::Framed, &[("a", 1)]);
    world.close(former);
    world.wait(4);
    let newcomer = world.connect("10.0.0.2");
    world.directory.dialect(newcomer, Dialect::Framed);
    assert_eq!(world.keep_alive(newcomer), former);
    world.wait(100);
    assert_eq!(world.told(former), ["a 1@10.0.0.2:8001"], "the grace is over, and it is here");
    world.close(former);
    world.wait(5);
    world.directory.expire(world.now);
    assert_eq!(world.directory.tally(), Tally { views: 1, ..Tally::default() });
    assert!(world.directory.peers.is_empty());
}

#[test]
fn b11_a_keep_alive_takes_nothing_from_others() {
    let mut world = World::new();
    let here = world.join("10.0.0.2", Dialect::Classic, &[("a", 1)]);
    let left = world.join("10.0.0.3", Dialect::Classic, &[("b", 1)]);
    world.close(left);
    let stranger = world.connect("10.0.0.2");
    assert_eq!(world.keep_alive(stranger), stranger, "that peer is here");
    assert_eq!(world.directory.keep_alive(stranger, 180, world.now), stranger, "nobody had that port");
    let elsewhere = world.connect("10.0.0.4");
    assert_eq!(world.keep_alive(elsewhere), elsewhere, "that port was another address's");
    let own = world.join("10.0.0.3", Dialect::Classic, &[]);
    assert_eq!(world.keep_alive(own), own, "who has announced is somebody already");
    world.wait(179);
    assert_eq!(world.directory.keep_alive(here, 180, world.now), here);
    world.wait(2);
    assert_eq!(world.told(here), ["a 1@10.0.0.2:8001"], "a wrong port refreshes, and changes nothing");
}

#[test]
fn each_dialect_is_told_what_it_can_fetch() {
    let mut world = World::new();
    let classic = world.join("10.0.0.2", Dialect::Classic, &[("c", 1), ("newer framed", 1), ("all", 1)]);
    let framed = world.join("10.0.0.3", Dialect::Framed, &[("f", 1), ("newer framed", 2), ("all", 1)]);
    let shoal = world.connect("10.0.0.9");
    world.directory.dialect(shoal, Dialect::Both);
    assert_eq!(world.told(classic), ["all 1@10.0.0.2:8001", "c 1@10.0.0.2:8001"]);
    let framed_view = ["all 1@10.0.0.3:8001", "f 1@10.0.0.3:8001", "newer framed 2@10.0.0.3:8001"];
    assert_eq!(world.told(framed), framed_view);
    assert_eq!(world.told(shoal).len(), 4);
    // The Shoal peer has carried everything across.
    world.announce(shoal, &[("c", 1), ("f", 1), ("newer framed", 2), ("all", 1)]);
    let carried =
        ["all 1@10.0.0.9:8001", "c 1@10.0.0.9:8001", "f 1@10.0.0.9:8001", "newer framed 2@10.0.0.9:8001"];
    for asker in [classic, framed, shoal] {
        assert_eq!(world.told(asker), carried);
    }
    // A peer whose newline came late is listed to the others from then on.
    world.directory.dialect(classic, Dialect::Framed);
    world.close(shoal);
    world.wait(5);
    assert_eq!(world.told(framed).len(), 4);
}

#[test]
fn a_holder_that_has_left_gives_way_at_once_to_one_that_is_here() {
    let mut world = World::new();
    let first = world.join("10.0.0.2", Dialect::Both, &[("a", 1), ("only", 1)]);
    let second = world.join("10.0.0.3", Dialect::Classic, &[("a", 1)]);
    assert_eq!(world.told(second), ["a 1@10.0.0.2:8001", "only 1@10.0.0.2:8001"]);
    world.close(first);
    assert_eq!(world.told(second), ["a 1@10.0.0.3:8001", "only 1@10.0.0.2:8001"]);
    world.wait(5);
    assert_eq!(world.told(second), ["a 1@10.0.0.3:8001"]);
}

#[test]
fn holders_on_our_own_machine_are_told_by_the_address_that_the_asker_knows() {
    let mut world = World::new();
    let local = world.connect_to("127.0.0.1", "127.0.0.1");
    world.announce(local, &[("a", 1)]);
    let neighbour = world.connect_to("127.0.0.5", "127.0.0.1");
    assert_eq!(world.told(neighbour), ["a 1@127.0.0.1:8001"]);
    let by_lan = world.connect_to("10.0.0.9", "10.0.0.1");
    let by_mapped = world.connect_to("::ffff:192.168.0.9", "::ffff:192.168.0.1");
    let by_v6 = world.connect_to("2001:db8::9", "2001:db8::1");
    let local_v6 = world.connect_to("::1", "::1");
    assert_eq!(world.told(by_lan), ["a 1@10.0.0.1:8001"]);
    assert_eq!(world.told(by_mapped), ["a 1@192.168.0.1:8001"]);
    assert_eq!(world.told(by_v6), ["a 1@[2001:db8::1]:8001"]);
    assert_eq!(world.told(local_v6), ["a 1@127.0.0.1:8001"]);
}

#[test]
fn askers_without_ipv6_are_not_told_of_it() {
    let mut world = World::new();
    let v6 = world.connect_to("2001:db8::2", "2001:db8::1");
    world.announce(v6, &[("a", 2), ("b", 1)]);
    let mapped = world.connect_to("::ffff:10.0.0.2", "::ffff:10.0.0.1");
    world.announce(mapped, &[("a", 1), ("b", 1)]);
    assert_eq!(world.told(mapped), ["b 1@10.0.0.2:8001"], "and not of an older version either");
    assert_eq!(world.told(v6), ["a 2@[2001:db8::2]:8001", "b 1@[2001:db8::2]:8001"]);
}

#[test]
fn i30_t5_one_address_cannot_fill_the_directory() {
    let mut world = World::with(|limits| limits.announcements_per_address_max = 3);
    let first = world.connect("10.0.0.2");
    assert_eq!(world.announce(first, &[("a", 1), ("b", 1)]).beyond_total, 0);
    let second = world.connect("10.0.0.2");
    assert_eq!(
        world.announce(second, &[("c", 1), ("d", 1)]),
        Taken { files: 1, beyond_peer: 0, beyond_total: 1 }
    );
    let elsewhere = world.connect("10.0.0.3");
    assert_eq!(world.announce(elsewhere, &[("e", 1), ("f", 1)]).files, 2);
    world.close(first);
    world.wait(5);
    world.directory.expire(world.now);
    assert_eq!(world.announce(second, &[("c", 1), ("d", 1)]).files, 2, "room comes back");
}

#[test]
fn b21_i30_announcements_are_bounded_per_peer_and_in_all() {
    let mut world = World::with(|limits| {
        limits.entries_per_peer_max = 2;
        limits.announcements_max = 3;
    });
    let first = world.connect("10.0.0.2");
    let taken = world.announce(first, &[("a", 1), ("b", 1), ("c", 1)]);
    assert_eq!(taken, Taken { files: 2, beyond_peer: 1, beyond_total: 0 });
    let second = world.connect("10.0.0.3");
    let taken = world.announce(second, &[("a", 2), ("b", 2)]);
    assert_eq!(taken, Taken { files: 1, beyond_peer: 0, beyond_total: 1 });
    assert_eq!(world.announce(first, &[("a", 3), ("b", 3)]).beyond_total, 0, "updates need no room");
    assert_eq!(world.told(second), ["a 3@10.0.0.2:8001", "b 3@10.0.0.2:8001"]);
    world.close(first);
    world.wait(5);
    world.directory.expire(world.now);
    assert_eq!(world.announce(second, &[("a", 2), ("b", 2)]).files, 2, "room comes back");
}

#[test]
fn b5_an_answer_has_a_greatest_length() {
    let mut world = World::with(|limits| limits.answer_bytes_max = 10_000);
    let id = world.connect("10.0.0.2");
    let names: Vec<String> = (100..400).map(|number| format!("file {number}")).collect();
    let files: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    world.announce(id, &files);
    let answer = world.answer(id);
    let listed = Parsed::parse(&answer.bytes).unwrap().files.len();
    assert!(answer.bytes.len() <= 10_000 && listed > 80, "{listed}");
    assert_eq!(world.directory.tally().unlisted, 300 - listed);
}

#[test]
fn answers_are_shared_bytes_until_something_listed_changes() {
    let mut world = World::new();
    let first = world.join("10.0.0.2", Dialect::Classic, &[("a", 5)]);
    let second = world.join("10.0.0.3", Dialect::Classic, &[]);
    let before = world.answer(first);
    assert_eq!(world.answer(second).bytes.as_ptr(), before.bytes.as_ptr());
    let _ = world.keep_alive(second);
    world.announce(first, &[("a", 5)]);
    world.announce(second, &[("a", 4)]);
    let silent = world.connect("10.0.0.4");
    world.close(silent);
    assert_eq!(world.answer(second).serial, before.serial, "none of this is to be seen");
    world.announce(second, &[("a", 5)]);
    assert!(world.answer(second).serial > before.serial, "a further holder may be to some askers");
}

#[test]
fn i30_encoding_a_large_directory_again_is_paced() {
    let mut world = World::new();
    let id = world.connect("10.0.0.2");
    let names: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    let files: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    world.announce(id, &files);
    let first = world.answer(id);
    world.announce(id, &[("0", 2)]);
    assert_eq!(world.answer(id).serial, first.serial, "older bytes meanwhile");
    world.now = world.now + Duration::from_millis(10);
    assert_eq!(world.told(id)[0], "0 2@10.0.0.2:8001");
}

#[test]
fn i30_views_are_bounded_in_number() {
    let mut world = World::with(|limits| limits.views_max = 3);
    for last in 1..=10 {
        let asker = world.connect_to("10.0.0.9", &format!("10.0.0.{last}"));
        world.answer(asker);
        assert!(world.directory.tally().views <= 3);
        world.wait(1);
    }
    world.wait(180);
    let asker = world.connect_to("127.0.0.1", "127.0.0.1");
    world.answer(asker);
    assert_eq!(world.directory.tally().views, 1, "views that nobody asks for are dropped");
}
