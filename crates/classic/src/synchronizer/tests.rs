//! Whole peers, played from both sides: what they are told, therefore what they do.

use std::time::Duration;

use super::*;

/// A peer with a script: what it wants done, as short words.
struct Played {
    peer: Synchronizer,
    now: Now,
    jobs: Vec<Job>,
    said: Vec<String>,
}

const TRACKER: &str = "10.0.0.1";

fn name(text: &str) -> FileName {
    FileName::parse(text).unwrap()
}

fn entry(name: &str, source: &str, mtime: i64) -> String {
    let (ip, port) = source.rsplit_once(':').unwrap();
    format!("\"{name}\": {{\"ip\": \"{ip}\", \"port\": {port}, \"mtime\": {mtime}}}")
}

impl Played {
    /// A connected peer with these files.
    fn with(options: Options, files: &[(&str, i64)]) -> Self {
        let folder = files.iter().map(|(text, mtime)| (name(text), Here::File { mtime: *mtime })).collect();
        let own = vec!["10.0.0.2:7".parse().unwrap()];
        let peer = Synchronizer::new(options, own, folder);
        let now = Now { time: Time::START, unix: 1_000_000 };
        let mut played = Self { peer, now, jobs: Vec::new(), said: Vec::new() };
        played.give(Input::TrackerConnected {
            tracker: TRACKER.parse().unwrap(),
            local: "10.0.0.2".parse().unwrap(),
        });
        played.said.clear();
        played
    }

    fn give(&mut self, input: Input<'_>) {
        self.peer.handle(input, self.now);
        while let Some(action) = self.peer.poll_action() {
            let word = match action {
                Action::Connect => "connect".into(),
                Action::Send(bytes) => format!("send {}", String::from_utf8(bytes).unwrap().trim_end()),
                Action::Disconnect => "disconnect".into(),
                Action::Fetch(job) => {
                    self.jobs.push(job);
                    continue;
                }
                Action::Flush => "flush".into(),
                Action::Serve(shelf) => format!("serve {}", shelf.len()),
                Action::Report(Event::Started { .. } | Event::Dropped { .. } | Event::Planned { .. }) => {
                    continue;
                }
                Action::Report(Event::Problem { name, why }) => format!("{name}: {why}"),
                Action::Report(event) => format!("{event:?}"),
                Action::Finish(finish) => format!("{finish:?}"),
            };
            self.said.push(word);
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now.time = self.now.time + Duration::from_millis(millis);
        self.give(Input::Tick);
    }

    /// A directory comes, a while after the last one.
    fn directory(&mut self, entries: &[String]) {
        self.pass(1_000);
        let text = format!("{{{}}}\n", entries.join(", "));
        self.give(Input::TrackerReceived(text.as_bytes()));
    }

    /// The names of the jobs that were started since the last call.
    fn started(&mut self) -> Vec<(String, JobId)> {
        self.jobs.drain(..).map(|job| (job.name.to_string(), job.id)).collect()
    }

    fn end(&mut self, job: JobId, fetched: Fetched) {
        self.give(Input::Fetched(job, fetched));
    }

    fn said(&mut self) -> Vec<String> {
        let said = std::mem::take(&mut self.said);
        said.into_iter().filter(|word| word != "send {\"port\": 7}").collect()
    }
}

fn placed() -> Fetched {
    Fetched::Placed { answer: Answer::Classic, bytes: 3, replaced: false }
}

#[test]
fn fetches_what_is_newer_then_announces_once_and_is_in_sync() {
    let mut peer = Played::with(Options::default(), &[("old", 1), ("same", 5), ("mine", 9)]);
    peer.directory(&[
        entry("old", "10.0.0.3:1", 2),
        entry("same", "10.0.0.3:1", 5),
        entry("mine", "10.0.0.3:1", 8),
        entry("new", "10.0.0.3:1", 2),
        entry("echo", "10.0.0.2:7", 99),
    ]);
    let jobs = peer.started();
    assert_eq!(jobs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["new", "old"]);
    peer.end(jobs[0].1, placed());
    assert!(!peer.said().iter().any(|word| word.starts_with("send")), "the round is not over");
    peer.end(jobs[1].1, placed());
    let said = peer.said();
    assert_eq!(said[1], "serve 4");
    assert!(
        said[2].starts_with("send {\"port\": 7, \"files\": [") && said[2].contains("\"new\""),
        "{said:?}"
    );
    assert_eq!(said[3..], ["InSync { files: 5 }"]);
}

#[test]
fn no_more_jobs_than_allowed_and_one_stuck_source_holds_nothing_up() {
    let mut peer = Played::with(Options { jobs: 2, ..Options::default() }, &[]);
    let files = [entry("a", "10.0.0.3:1", 1), entry("b", "10.0.0.4:1", 1), entry("c", "10.0.0.4:1", 1)];
    peer.directory(&files);
    let jobs = peer.started();
    assert_eq!(jobs.len(), 2);
    peer.end(jobs[1].1, placed());
    let third = peer.started();
    assert_eq!(third[0].0, "c");
    peer.end(third[0].1, placed());
    peer.said();
    // "a" is stuck; the next directory ends the round for the others.
    peer.directory(&files);
    assert!(peer.said().iter().any(|word| word.starts_with("send {\"port\": 7, \"files\"")));
    assert_eq!(peer.started(), [], "what runs is not started again");
}

#[test]
fn a_stuck_source_with_many_files_leaves_places_to_others() {
    let mut peer = Played::with(Options { jobs: 8, ..Options::default() }, &[]);
    let mut files: Vec<String> = (0..50).map(|i| entry(&format!("a{i}"), "10.0.0.3:1", 1)).collect();
    peer.directory(&files);
    assert_eq!(peer.started().len(), 6);
    files.push(entry("z", "10.0.0.4:1", 1));
    peer.directory(&files);
    assert_eq!(peer.started()[0].0, "z");
}

#[test]
fn a_file_that_came_makes_room_for_the_next_and_the_last_one_is_flushed() {
    let mut peer = Played::with(Options { jobs: 1, ..Options::default() }, &[]);
    peer.directory(&[entry("a", "10.0.0.3:1", 1), entry("b", "10.0.0.3:1", 1)]);
    assert_eq!(peer.started(), [("a".into(), 0)]);
    peer.give(Input::Received(0));
    assert_eq!(peer.started(), [("b".into(), 1)]);
    assert_eq!(peer.said(), [""; 0]);
    peer.give(Input::Received(1));
    assert_eq!(peer.said(), ["flush"]);
    peer.end(0, placed());
    peer.said();
    peer.end(1, placed());
    assert_eq!(peer.said().last().unwrap(), "InSync { files: 2 }");
}

#[test]
fn keep_alives_go_on_while_files_are_fetched() {
    let mut peer = Played::with(Options::default(), &[]);
    peer.directory(&[entry("a", "10.0.0.3:1", 1)]);
    peer.said.clear();
    for _ in 0..16 {
        peer.pass(1_000);
    }
    assert_eq!(peer.said.iter().filter(|word| *word == "send {\"port\": 7}").count(), 3);
}

#[test]
fn i31_every_problem_is_told_once_and_ends_with_its_cause() {
    let mut peer = Played::with(Options::default(), &[]);
    let bad = [
        entry("../up", "10.0.0.3:1", 1),
        entry("future", "10.0.0.3:1", 10_000_000),
        entry("victim", "127.0.0.1:80", 1),
        entry("a", "10.0.0.3:1", 1),
    ];
    peer.directory(&bad);
    let jobs = peer.started();
    assert_eq!(jobs.len(), 1);
    peer.end(jobs[0].1, Fetched::BadSource("refused".into()));
    let said = peer.said();
    assert_eq!(said.len(), 5, "{said:?}");
    assert_eq!(said[3..], ["a: refused", "OutOfSync { missing: 4 }"]);
    peer.directory(&bad);
    let jobs = peer.started();
    peer.end(jobs[0].1, Fetched::BadSource("refused".into()));
    assert_eq!(peer.said(), [""; 0], "nothing new, nothing said");
    peer.directory(&bad[3..]);
    let jobs = peer.started();
    peer.end(jobs[0].1, placed());
    assert_eq!(peer.said().last().unwrap(), "InSync { files: 1 }");
}

#[test]
fn b25_a_directory_that_lists_nothing_deletes_nothing() {
    let mut peer = Played::with(Options::default(), &[("mine", 9)]);
    peer.directory(&[]);
    assert_eq!(peer.said(), ["InSync { files: 0 }"]);
}

#[test]
fn an_uncertain_answer_counts_when_it_comes_again() {
    let mut peer = Played::with(Options::default(), &[]);
    let files = [entry("a", "10.0.0.3:1", 1)];
    let uncertain = Uncertain { bytes: 3, digest: 42 };
    peer.directory(&files);
    let first = peer.jobs.remove(0);
    assert_eq!(first.confirms, None);
    peer.end(first.id, Fetched::Uncertain(uncertain, Answer::Unclosed));
    let said = peer.said();
    assert!(said[0].contains("to be sure") && said[1..] == ["OutOfSync { missing: 1 }"], "{said:?}");
    assert!(peer.jobs.is_empty(), "not before the next directory");
    peer.directory(&files);
    let second = peer.jobs.remove(0);
    assert_eq!(second.confirms, Some(uncertain));
    peer.end(second.id, placed());
    assert_eq!(peer.said().last().unwrap(), "InSync { files: 1 }");
}

#[test]
fn once_ends_in_sync_or_says_what_is_missing() {
    let once = Options { once: true, ..Options::default() };
    let mut peer = Played::with(once.clone(), &[("a", 1)]);
    peer.directory(&[entry("a", "10.0.0.3:1", 1)]);
    assert_eq!(peer.said().last().unwrap(), "InSync");

    let peer = Played::with(once.clone(), &[]);
    assert_eq!(peer.peer.standing(), Finish::OutOfSync(0), "nothing is known yet");

    let mut peer = Played::with(once.clone(), &[]);
    peer.directory(&[entry("a", "10.0.0.3:1", 1), entry("b", "10.0.0.3:1", 1)]);
    let jobs = peer.started();
    peer.end(jobs[0].1, Fetched::Uncertain(Uncertain { bytes: 0, digest: 0 }, Answer::ClassicEmpty));
    let again = peer.started();
    assert_eq!(again[0].0, "a", "there is no next directory to wait for");
    peer.end(again[0].1, placed());
    peer.end(jobs[1].1, Fetched::BadSource("refused".into()));
    assert_eq!(peer.said().last().unwrap(), "OutOfSync(1)");

    let mut peer = Played::with(once, &[]);
    peer.give(Input::TrackerLost("closed".into()));
    assert_eq!(peer.said(), ["Failed(\"closed\")"]);
}

#[test]
fn strict_sends_one_initial_only() {
    let mut peer = Played::with(Options { strict: true, ..Options::default() }, &[]);
    peer.directory(&[entry("a", "10.0.0.3:1", 1)]);
    let jobs = peer.started();
    peer.end(jobs[0].1, placed());
    assert!(!peer.said().iter().any(|word| word.starts_with("send")));
}

#[test]
fn a_dead_source_is_left_alone_and_then_doubted() {
    let mut peer = Played::with(Options { jobs: 1, ..Options::default() }, &[]);
    let files: Vec<String> = (0..9).map(|i| entry(&format!("f{i}"), "10.0.0.3:1", 1)).collect();
    peer.directory(&files);
    let mut tried = 0;
    while let Some(job) = peer.jobs.pop() {
        assert_eq!(job.dialect.is_none(), tried > 0, "what was thought of its dialect may be wrong");
        tried += 1;
        peer.end(job.id, Fetched::BadSource("refused".into()));
    }
    assert_eq!(tried, 3);
    assert_eq!(peer.said().last().unwrap(), "OutOfSync { missing: 9 }");
    for _ in 0..10 {
        peer.directory(&files);
    }
    assert_eq!(peer.jobs.len(), 1, "after its rest it is tried again");
}

#[test]
fn names_that_a_source_no_longer_has_cost_it_none_of_its_other_files() {
    let mut peer = Played::with(Options { once: true, jobs: 2, ..Options::default() }, &[]);
    let files: Vec<String> = (0..20).map(|i| entry(&format!("f{i:02}"), "10.0.0.3:1", 1)).collect();
    peer.directory(&files);
    let mut placed_files = 0;
    while let Some(job) = peer.jobs.pop() {
        let is_gone = job.name.as_str() < "f06";
        placed_files += usize::from(!is_gone);
        peer.end(job.id, if is_gone { Fetched::Refused("gone".into()) } else { placed() });
    }
    assert_eq!(placed_files, 14);
    assert_eq!(peer.said().last().unwrap(), "OutOfSync(6)");
}

#[test]
fn what_cannot_be_put_in_place_is_fetched_again_after_growing_pauses() {
    let mut peer = Played::with(Options::default(), &[]);
    let mut fetches = Vec::new();
    for second in 1..=100 {
        let mtime = if second < 90 { 1 } else { 2 };
        peer.directory(&[entry("a", "10.0.0.3:1", mtime)]);
        if let Some(job) = peer.jobs.pop() {
            fetches.push(second);
            peer.end(job.id, Fetched::BadHere("immutable".into()));
        }
    }
    assert_eq!(fetches, [1, 2, 12, 32, 72, 90, 91], "a newer version is tried at once");
}

#[test]
fn i30_no_more_is_announced_than_one_message_may_hold() {
    let files =
        (0..100_000).map(|i| (name(&format!("{i:06}{}", "\u{e9}".repeat(120))), Here::File { mtime: 1 }));
    let own = vec!["10.0.0.2:7".parse().unwrap()];
    let mut peer = Synchronizer::new(Options::default(), own, files.collect());
    let (tracker, local) = (TRACKER.parse().unwrap(), "10.0.0.2".parse().unwrap());
    let now = Now { time: Time::START, unix: 0 };
    peer.handle(Input::TrackerConnected { tracker, local }, now);
    let actions: Vec<Action> = std::iter::from_fn(|| peer.poll_action()).collect();
    let sent = actions.iter().find_map(|action| match action {
        Action::Send(bytes) => Some(bytes.len()),
        _ => None,
    });
    assert!(
        sent.is_some_and(|bytes| bytes > MESSAGE_BYTES_MAX / 2 && bytes <= MESSAGE_BYTES_MAX),
        "{sent:?}"
    );
    let is_told = |action: &Action| match action {
        Action::Report(Event::Warning(text)) => text.contains("not announced"),
        _ => false,
    };
    assert_eq!(actions.iter().filter(|action| is_told(action)).count(), 1);
}

#[test]
fn i19_i20_nothing_is_fetched_without_the_folder_or_space() {
    let mut peer = Played::with(Options { jobs: 1, ..Options::default() }, &[]);
    let files = [entry("a", "10.0.0.3:1", 1), entry("b", "10.0.0.3:1", 1)];
    peer.give(Input::RootLost("the folder is gone".into()));
    peer.directory(&files);
    assert!(peer.jobs.is_empty());
    peer.give(Input::RootFound);
    let job = peer.jobs.remove(0);
    peer.end(job.id, Fetched::NoSpace("full".into()));
    assert!(peer.jobs.is_empty(), "the other one would not fit either");
    for _ in 0..29 {
        peer.directory(&files);
    }
    assert!(peer.jobs.is_empty());
    peer.pass(1_000);
    assert_eq!(peer.jobs.len(), 1, "it recovers alone");
}

#[test]
fn c12_two_sources_that_outbid_each_other_do_not_keep_us_busy() {
    let mut peer = Played::with(Options::default(), &[]);
    let mut fetched = 0;
    for mtime in 1..=30 {
        peer.directory(&[entry("a", &format!("10.0.0.3:{}", 1 + mtime % 2), mtime)]);
        for job in std::mem::take(&mut peer.jobs) {
            fetched += 1;
            peer.end(job.id, placed());
        }
    }
    assert_eq!(fetched, crate::limits::REPLACEMENTS_MAX);
    assert!(peer.said().iter().any(|word| word.contains("changes too often")));
}

#[test]
fn live_changes_are_announced_and_removals_only_no_longer_served() {
    let mut peer = Played::with(Options::default(), &[("a", 1), ("skip.py", 1)]);
    let file = |mtime| Here::File { mtime };
    peer.give(Input::Scanned([(name("a"), file(2)), (name("skip.py"), file(3))].into()));
    let said = peer.said();
    assert_eq!(said[0], "serve 1");
    assert!(said[1].starts_with("send {\"port\": 7, \"files\": [{\"mtime\": 2, \"name\": \"a\""), "{said:?}");
    peer.give(Input::Scanned([(name("skip.py"), file(4))].into()));
    assert_eq!(peer.said(), ["serve 0"]);
    peer.give(Input::Scanned([(name("skip.py"), file(5))].into()));
    assert_eq!(peer.said(), [""; 0]);
}

#[test]
fn the_trackers_word_on_dialects_comes_first_then_experience_then_habit() {
    let mut peer = Played::with(Options::default(), &[]);
    peer.directory(&[entry("a", "10.0.0.3:1", 1)]);
    assert_eq!(peer.jobs[0].dialect, Some(Dialect::Framed), "this tracker ends its lines");
    let job = peer.jobs.remove(0);
    peer.end(job.id, placed());
    peer.directory(&[entry("b", "10.0.0.3:1", 1)]);
    assert_eq!(peer.jobs.remove(0).dialect, Some(Dialect::Classic), "as it has shown");
    let told = "{\"c\": {\"ip\": \"10.0.0.3\", \"port\": 1, \"mtime\": 1, \"dialect\": 2}, \
                \"d\": {\"ip\": \"10.0.0.9\", \"port\": 1, \"mtime\": 1}}\n";
    peer.pass(1_000);
    peer.give(Input::TrackerReceived(told.as_bytes()));
    let dialects: Vec<Option<Dialect>> = peer.jobs.iter().map(|job| job.dialect).collect();
    assert_eq!(dialects, [Some(Dialect::Both), None]);
}
