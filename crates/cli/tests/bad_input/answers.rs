//! Rows C7 to C9, C11 and C12: whatever a source answers, what is here stays until something better has come.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{Answer, Case, Meeting, Source, Then, bytes, cases, framed, tree};
use crate::support::{Contents, Folder};

/// So many cases share a peer: a host that fails much oftener in a row is left alone.
const CASES_PER_PEER: usize = 12;

/// A source that gives one bad answer, then good ones.
struct Fickle {
    case: Case,
    name: String,
    source: Source,
}

impl Fickle {
    fn of(case: Case, number: usize) -> Self {
        let (dialect, text) = case.text.split_once(' ').unwrap_or((case.text, ""));
        let text = text.replace("MANY", &"1".repeat(1_000_000));
        let bad = match (text.strip_suffix("RESET"), text.strip_suffix("HANG")) {
            (Some(text), _) => Answer { bytes: bytes(text), then: Then::Reset },
            (_, Some(text)) => Answer { bytes: bytes(text), then: Then::Hang },
            _ => bytes(&text).into(),
        };
        let good: Answer = if dialect == "classic" { b"good".to_vec() } else { framed(b"good") }.into();
        let is_asked = AtomicBool::new(false);
        let source = Source::start([127, 0, 0, 1], move |_| {
            if is_asked.swap(true, Ordering::Relaxed) { good.clone() } else { bad.clone() }
        });
        Self { case, name: format!("{number:02}"), source }
    }

    fn entry(&self) -> String {
        let dialect = match self.case.text.split(' ').next() {
            Some("classic") => 0,
            Some("framed") => 1,
            _ => 2,
        };
        let entry = json!({"ip": "127.0.0.1", "port": self.source.port, "mtime": 2_000, "dialect": dialect});
        format!("{:?}: {entry}", self.name)
    }
}

#[test]
fn c7_to_c9_a_bad_answer_leaves_the_old_version_and_the_next_good_one_is_taken() {
    let mut cases = cases(include_str!("cases/answers.txt")).into_iter().enumerate().peekable();
    while cases.peek().is_some() {
        let sources: Vec<Fickle> =
            cases.by_ref().take(CASES_PER_PEER).map(|(number, case)| Fickle::of(case, number)).collect();
        let outer = Folder::new();
        let ours = Folder::within(&outer);
        for Fickle { name, .. } in &sources {
            ours.write(name, 1_000, format!("old {name}").as_bytes());
        }
        let before = tree(outer.path());
        let mut meeting = Meeting::of(&ours, &["--timeout", "1"]);
        let entries: Vec<String> = sources.iter().map(Fickle::entry).collect();

        meeting.say(&entries);
        meeting.peer.wait_event("out-of-sync");
        let problems = meeting.peer.seen_of("problem");
        for Fickle { case: Case { row, text, answer }, name, .. } in &sources {
            let told: Vec<_> = problems.iter().filter(|event| event["name"] == *name).collect();
            assert_eq!(told.len(), 1, "{row}: {text}: {told:?}");
            assert!(told[0]["why"].as_str().unwrap().contains(answer), "{row}: {text}: {}", told[0]);
        }
        let mut after = tree(outer.path());
        after.remove(&ours.join(".shoal"));
        assert_eq!(after, before);
        assert_eq!((ours.staged(), ours.history().len()), (0, 0), "nothing is left of them");

        // C11: what comes is stored with the mtime of the directory, and what it replaces is kept.
        meeting.say(&entries);
        meeting.peer.wait_event("in-sync");
        let good: Contents = sources.iter().map(|it| (it.name.clone(), (2_000, b"good".to_vec()))).collect();
        assert_eq!(ours.contents(), good);
        let kept: BTreeSet<Vec<u8>> = ours.history().into_iter().collect();
        assert!(kept.into_iter().eq(sources.iter().map(|it| format!("old {}", it.name).into_bytes())));
        assert_eq!(ours.staged(), 0);
    }
}

#[test]
fn c7_c8_what_follows_the_length_is_content_and_what_follows_the_content_is_not_read() {
    let answers: [(&str, &[u8], &[u8]); 5] = [
        ("longer", b"Content-Length: 5\nhello, and more", b"hello"),
        ("two headers", b"Content-Length: 20\nContent-Length: 5\nhello", b"Content-Length: 5\nhe"),
        ("return", b"Content-Length: 5\r\nhello", b"hello"),
        ("zeros", b"Content-Length: 0000005\nhello", b"hello"),
        ("no space", b"Content-Length:5\nhello", b"hello"),
    ];
    let source = Source::start([127, 0, 0, 1], move |name: &str| {
        answers.iter().find(|(asked, ..)| *asked == name).unwrap().1.to_vec()
    });
    let ours = Folder::new();
    let mut meeting = Meeting::of(&ours, &[]);
    meeting.say(&answers.map(|(name, ..)| source.entry(name, 7)));
    meeting.peer.wait_event("in-sync");
    let expected: Contents =
        answers.iter().map(|(name, _, file)| ((*name).into(), (7, file.to_vec()))).collect();
    assert_eq!(ours.contents(), expected);
}

#[test]
fn c9_a_source_that_claims_too_much_holds_up_no_other() {
    let greedy = Source::start([127, 0, 0, 1], |_: &str| b"Content-Length: 8796093022208\nhello".to_vec());
    let source = Source::of(b"content");
    let ours = Folder::new();
    let mut meeting = Meeting::of(&ours, &[]);
    meeting.say(&[greedy.entry("a", 1)]);
    assert!(meeting.peer.wait_problem("a").contains("not enough space"));
    meeting.say(&[greedy.entry("a", 1), source.entry("b", 1)]);
    let began = std::time::Instant::now();
    meeting.peer.wait_fetched("b");
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "after {:?}", began.elapsed());
}
