//! Nodes as a person knows them, two and three in one process, over loopback: shares, invites, and what comes of them.

mod contact;
mod files;
mod members;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_daemon::config::{Config, Listen};
use shoal_daemon::control::report::{Event, Happening, Phase, Rescanned, Role, ShareStatus, Shared};
use shoal_daemon::control::text::{Directory, Id, InviteText, Place};
use shoal_daemon::control::types::{
    Ask, Choice, Code, GetStatus, Invite, InviteTerms, Join, ListDevices, ListShares, Pause, Reload, Rescan,
    Resume, Share, Wait,
};
use shoal_daemon::control::{Client, ClientError, Daemon, Failure, Service};
use shoal_daemon::home::{Environment, Home, HomeError};
use shoal_daemon::native::Node;
use shoal_proto::id::ShareId;

/// Nothing that is waited for takes longer.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A device at work, with its home.
struct Machine {
    node: Arc<Node>,
    home: PathBuf,
}

impl Machine {
    async fn start(place: &Path, name: &str) -> Self {
        let home = place.join(format!("home-{name}"));
        fs::create_dir_all(&home).unwrap();
        let found = Home::find(Some(&home), &Environment::default()).unwrap();
        // What one that was closed in this process has still under way may hold the home for a moment.
        until(|| !matches!(found.hold(), Err(HomeError::Held { .. }))).await;
        let held = found.hold().unwrap();
        let config = Config {
            name: shoal_proto::roster::DeviceName::parse(name).unwrap(),
            listen: Listen::At(vec!["127.0.0.1:0".parse().unwrap()]),
            lan: false,
            ..Config::default()
        };
        Self { node: Arc::new(Node::start(held, config, None).await.unwrap()), home }
    }

    fn client(&self) -> Client {
        let service: Arc<dyn Service> = Arc::clone(&self.node) as Arc<dyn Service>;
        Client::local(service)
    }

    async fn ask<A: Ask>(&self, ask: A) -> A::Answer {
        self.client().ask(ask).await.unwrap()
    }

    /// Why this is refused.
    async fn refusal<A: Ask>(&self, ask: A) -> Failure
    where
        A::Answer: std::fmt::Debug,
    {
        match self.client().ask(ask).await {
            Err(ClientError::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }

    async fn share(&self, directory: &Path, terms: InviteTerms) -> (Id<ShareId>, InviteText) {
        let shared = self.ask(share(directory, Some(terms))).await;
        (shared.listed.share, shared.invite.unwrap().invite)
    }

    async fn join(&self, invite: &InviteText, directory: &Path) -> Shared {
        self.ask(join(invite, directory)).await
    }

    /// Comes into a share by another invite.
    async fn comes_again(&self, inviter: &Self, share: Id<ShareId>, folder: &Path) {
        let given = inviter.ask(Invite { share, terms: InviteTerms::default() }).await;
        self.join(&given.invite, folder).await;
        self.in_sync().await;
    }

    async fn in_sync(&self) {
        let waited = self.ask(Wait { shares: Vec::new(), milliseconds: Some(60_000) }).await;
        assert!(waited.is_in_sync, "{:#?}", self.ask(GetStatus::default()).await);
    }

    async fn status(&self, share: Id<ShareId>) -> ShareStatus {
        self.ask(GetStatus { share: Some(share) }).await.shares.remove(0)
    }

    /// Comes back with what is noted first of which this is so, from the beginning.
    async fn until<T>(&self, found: impl Fn(&Event) -> Option<T>) -> T {
        let start = self.node.diary().position();
        let first = shoal_daemon::control::report::Position { sequence: 0, ..start };
        let (_, mut cursor) = self.node.diary().follow(Some(first));
        let looking = async {
            loop {
                let events = self.node.diary().next(&mut cursor).await;
                if let Some(found) = events.iter().find_map(&found) {
                    return found;
                }
            }
        };
        match tokio::time::timeout(WAIT_MAX, looking).await {
            Ok(found) => found,
            Err(_) => {
                let (_, mut cursor) = self.node.diary().follow(Some(first));
                panic!("it was not told: {:#?}", self.node.diary().next(&mut cursor).await)
            }
        }
    }

    async fn close(self) {
        self.node.close().await;
    }
}

fn share(directory: &Path, invite: Option<InviteTerms>) -> Share {
    let directory = Directory(directory.to_path_buf());
    Share { directory, name: None, broad: false, alone: false, invite }
}

fn join(invite: &InviteText, directory: &Path) -> Join {
    let directory = Directory(directory.to_path_buf());
    Join { invite: invite.clone(), directory, name: None, broad: false, choice: Some(Choice::Both) }
}

/// Waits until this is so of the disk, which tells nobody.
async fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WAIT_MAX);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn place(path: &str) -> Place {
    Place::parse(path.as_bytes()).unwrap()
}

/// Folders `one` and `two`, of which the first has these files.
fn folders(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    for folder in [&one, &two] {
        fs::create_dir(folder).unwrap();
    }
    for (path, text) in files {
        fs::create_dir_all(one.join(path).parent().unwrap()).unwrap();
        fs::write(one.join(path), text).unwrap();
    }
    (root, one, two)
}

/// Two machines with one share between them, in sync.
async fn pair(root: &Path, one: &Path, two: &Path) -> (Machine, Machine, Id<ShareId>) {
    let (ana, ben) = (Machine::start(root, "ana").await, Machine::start(root, "ben").await);
    let (share, invite) = ana.share(one, InviteTerms::default()).await;
    ben.join(&invite, two).await;
    ben.in_sync().await;
    ana.in_sync().await;
    (ana, ben, share)
}

fn text(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_comes_over_by_an_invite_and_goes_on_both_ways() {
    let (root, one, two) = folders(&[("a", "1"), ("d/b", "2"), ("d/c", "3")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    assert_eq!((text(two.join("a")), text(two.join("d/b"))), ("1".into(), "2".into()));

    let status = ben.status(share).await;
    assert_eq!((status.phase, status.is_in_sync, status.members), (Phase::Live, true, 2));
    assert_eq!((status.holds.files, status.holds.bytes, status.to_go.files), (3, 3, 0));
    assert_eq!((status.listed.role, status.peers.len()), (Some(Role::Writer), 1));
    assert_eq!(status.peers[0].name.as_deref(), Some("ana"));
    assert_eq!(ana.ask(ListShares {}).await[0].role, Some(Role::Admin));

    fs::write(two.join("a"), "edited by ben").unwrap();
    until(|| text(one.join("a")) == "edited by ben").await;
    fs::remove_file(one.join("d/c")).unwrap();
    fs::write(one.join("new"), "n").unwrap();
    until(|| !two.join("d/c").exists() && text(two.join("new")) == "n").await;

    // What was told on the way.
    let phase = |event: &Event| match &event.happening {
        Happening::Phase { phase: Phase::Live, .. } => event.share,
        _ => None,
    };
    assert_eq!(ben.until(phase).await, share);
    ben.until(|event| (event.happening == Happening::InSync).then_some(())).await;
    let joined = |event: &Event| match &event.happening {
        Happening::Joined { name, role, .. } => Some((name.clone(), *role)),
        _ => None,
    };
    assert_eq!(ana.until(joined).await, (Some("ben".to_owned()), Role::Writer));

    // A folder that is a share already gives an invite for it.
    let again =
        ana.ask(self::share(&one, Some(InviteTerms { role: Role::Reader, ..InviteTerms::default() }))).await;
    assert!(!again.is_new && again.listed.share == share && again.invite.is_some());
    // It is called otherwise if that is said, and keeps its name if not.
    for (name, called) in [(Some("plans"), "plans"), (None, "plans")] {
        let named = Share { name: name.map(Into::into), ..self::share(&one, None) };
        assert_eq!(ana.ask(named).await.listed.name, called);
        assert_eq!(ana.ask(ListShares {}).await[0].name, called);
    }
    assert_eq!(ben.ask(ListShares {}).await[0].name, "two", "a name is of one device");
    // And who is no admin gives none.
    let refused = ben.refusal(Invite { share, terms: InviteTerms::default() }).await;
    assert_eq!(refused.code, Code::NotAllowed);
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_started_again_has_all_that_it_had() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    let before = ben.ask(ListShares {}).await;
    ben.ask(Pause { share }).await;
    ben.close().await;
    fs::write(one.join("a"), "2, meanwhile").unwrap();
    fs::write(two.join("mine"), "of ben, meanwhile").unwrap();

    // It listens where it did, and knows where it met the other.
    let ben = Machine::start(root.path(), "ben").await;
    let listed = ben.ask(ListShares {}).await;
    assert!(listed[0].is_paused && listed[0].directory == before[0].directory && listed.len() == 1);
    assert_eq!(ben.status(share).await.phase, Phase::Paused);
    ben.ask(Resume { share }).await;
    until(|| text(two.join("a")) == "2, meanwhile" && text(one.join("mine")) == "of ben, meanwhile").await;
    ben.in_sync().await;
    assert!(!ben.ask(ListShares {}).await[0].is_paused);
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_cannot_be_made_leaves_no_folder() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, _) = pair(root.path(), &one, &two).await;
    let inside = ana.refusal(share(&one.join("new/deep"), None)).await;
    assert!(inside.code == Code::Directory && inside.message.contains("inside"), "{inside}");
    assert!(!one.join("new").exists());
    let elsewhere = root.path().join("three");
    for name in ["", " \t", "two\nlines", &"x".repeat(256)] {
        let named = Share { name: Some(name.to_owned()), ..share(&elsewhere, None) };
        for wish in [Share { directory: Directory(one.clone()), ..named.clone() }, named] {
            assert_eq!(ana.refusal(wish).await.code, Code::BadCall, "{name:?}");
        }
    }
    assert_eq!(ana.ask(ListShares {}).await[0].name, "one");
    assert!(!elsewhere.exists());
    // Some folders on the way can be made, and the last cannot.
    let too_long = ana.refusal(share(&elsewhere.join("four").join("x".repeat(300)), None)).await;
    assert!(too_long.code == Code::Directory && too_long.message.contains("cannot make"), "{too_long}");
    assert!(!elsewhere.exists());
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_at_everything_says_what_it_found_or_why_it_did_not_look() {
    let (root, one, two) = folders(&[("a", "1"), ("d/b", "2")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    let looked = ana.ask(Rescan { share, wait: true }).await;
    assert_eq!(looked, Rescanned { is_done: true, looked: 3, changed: 0 });
    let at_once = ana.ask(Rescan { share, wait: false }).await;
    assert_eq!(at_once, Rescanned::default());
    ana.ask(Pause { share }).await;
    let refused = ana.refusal(Rescan { share, wait: true }).await;
    assert!(refused.code == Code::NotNow && refused.message.contains("paused"), "{refused}");
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_read_again_counts_and_a_wrong_one_changes_nothing() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    let config = ben.home.join("config.toml");
    fs::write(
        &config,
        "name = \"benny\"\nlan = false\nlisten = [\"127.0.0.1:0\"]\n[history]\nkeep = \"7d\"\n",
    )
    .unwrap();
    assert_eq!(ben.ask(Reload {}).await.changed, ["name", "history"]);
    let is_known = async || {
        let devices = ana.ask(ListDevices { share }).await.devices;
        devices.iter().any(|device| device.name.as_deref() == Some("benny"))
    };
    let began = Instant::now();
    while !is_known().await {
        assert!(began.elapsed() < WAIT_MAX);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fs::write(&config, "nam = 1").unwrap();
    assert_eq!(ben.refusal(Reload {}).await.code, Code::Config);
    for machine in [ana, ben] {
        machine.close().await;
    }
}
