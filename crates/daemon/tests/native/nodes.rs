//! Nodes as a person knows them, two and three in one process, over loopback: shares, invites, and what comes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_daemon::config::{Config, Listen};
use shoal_daemon::control::report::{
    CauseKind, DeviceStatus, Event, Happening, InviteGiven, Phase, Question, Rescanned, Restored, Role,
    ShareStatus, Shared,
};
use shoal_daemon::control::text::{Directory, Id, InviteText, Moment, Place};
use shoal_daemon::control::types::{
    AcceptIgnore, Ask, Choice, Code, Decide, Explain, GetIgnore, GetStatus, Invite, InviteTerms, Join, Leave,
    ListConflicts, ListDevices, ListHistory, ListShares, Pause, Reload, Rescan, Restore, Resume, Revoke,
    Revoked, Share, Undo, Wait,
};
use shoal_daemon::control::{Client, ClientError, Daemon, Failure, Service};
use shoal_daemon::home::{Environment, Home};
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
        let held = Home::find(Some(&home), &Environment::default()).unwrap().hold().unwrap();
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

    // A directory that is a share already gives an invite for it.
    let again =
        ana.ask(self::share(&one, Some(InviteTerms { role: Role::Reader, ..InviteTerms::default() }))).await;
    assert!(!again.is_new && again.listed.share == share && again.invite.is_some());
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
async fn what_another_device_deleted_comes_back_when_it_is_undone() {
    let (root, one, two) = folders(&[("a", "1"), ("d/b", "2"), ("d/c", "3"), ("e", "4"), ("f", "5")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    let since = Moment::at_second(0);
    fs::remove_file(two.join("d/b")).unwrap();
    fs::write(two.join("a"), "1, changed").unwrap();
    until(|| !one.join("d/b").exists() && text(one.join("a")) == "1, changed").await;
    ana.in_sync().await;

    let history = ana.ask(ListHistory { share, path: None, before: None, at_most: 1 }).await;
    assert!(history.versions.len() == 1 && history.more);
    let rest = history.versions[0].number;
    let history = ana.ask(ListHistory { share, path: None, before: Some(rest), at_most: 100 }).await;
    assert!(history.versions.len() == 1 && !history.more);

    let undo = |deleted_only, dry_run| Undo { share, path: None, since, by: None, deleted_only, dry_run };
    let paths = |undone: &shoal_daemon::control::report::Undone| -> Vec<String> {
        undone.versions.iter().map(|version| version.path.clone().unwrap().to_string()).collect()
    };
    assert_eq!(paths(&ana.ask(undo(false, true)).await), ["a", "d/b"]);
    assert!(!one.join("d/b").exists());
    assert_eq!(paths(&ana.ask(undo(true, false)).await), ["d/b"]);
    until(|| text(two.join("d/b")) == "2").await;
    assert_eq!(text(one.join("a")), "1, changed");

    // One version by its number, to another place.
    let of_a = ana.ask(ListHistory { share, path: Some(place("a")), before: None, at_most: 10 }).await;
    let number = of_a.versions[0].number;
    let restored =
        ana.ask(Restore { share, number, to: Some(place("a, as it was")), milliseconds: None }).await;
    assert_eq!(restored, Restored::Done { path: place("a, as it was") });
    until(|| text(two.join("a, as it was")) == "1").await;
    let missing = ana.refusal(Restore { share, number: 4711, to: None, milliseconds: None }).await;
    assert_eq!(missing.code, Code::NotFound);
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_removed_hears_nothing_more_and_its_files_stay() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    let DeviceStatus { devices, .. } = ana.ask(ListDevices { share }).await;
    let of = |name: &str| devices.iter().find(|device| device.name.as_deref() == Some(name)).unwrap().clone();
    assert!(of("ana").is_this && of("ana").role == Role::Admin && of("ben").peer.is_some());
    assert_eq!(of("ben").added_by, Some(of("ana").device));

    ana.until(|event| matches!(event.happening, Happening::Joined { .. }).then_some(())).await;
    let refused = ben.refusal(Revoke { share, what: Revoked::Device(of("ana").device) }).await;
    assert_eq!(refused.code, Code::NotAllowed);
    ana.ask(Revoke { share, what: Revoked::Device(of("ben").device) }).await;
    let removed = |event: &Event| {
        matches!(event.happening, Happening::Phase { phase: Phase::Removed, .. }).then_some(())
    };
    ben.until(removed).await;
    let gone = |event: &Event| match event.happening {
        Happening::Gone { device, .. } => Some(device),
        _ => None,
    };
    assert_eq!(ana.until(gone).await, of("ben").device);
    fs::write(one.join("a"), "not for ben").unwrap();
    assert!(ana.ask(Rescan { share, wait: true }).await.is_done);
    assert_eq!(ana.status(share).await.peers, []);
    assert_eq!(text(two.join("a")), "1");
    // It can still leave what it is not in any more.
    ben.ask(Leave { share }).await;
    assert_eq!((ben.ask(ListShares {}).await.len(), text(two.join("a"))), (0, "1".into()));
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_is_known_to_have_left_and_can_be_invited_again() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    ana.until(|event| matches!(event.happening, Happening::Joined { .. }).then_some(())).await;
    fs::write(two.join("of ben"), "b").unwrap();
    until(|| text(one.join("of ben")) == "b").await;
    ben.ask(Leave { share }).await;
    assert_eq!(ben.refusal(Leave { share }).await.code, Code::NoShare);
    assert_eq!(text(two.join("a")), "1");
    ana.until(|event| matches!(event.happening, Happening::Gone { .. }).then_some(())).await;
    assert_eq!(ana.ask(ListDevices { share }).await.devices.len(), 1);
    // What it published stays.
    assert_eq!(ana.status(share).await.holds.files, 2);

    let given = ana.ask(Invite { share, terms: InviteTerms::default() }).await;
    ben.join(&given.invite, &two).await;
    ben.in_sync().await;
    assert_eq!(ana.ask(ListDevices { share }).await.devices.len(), 2);
    fs::write(two.join("of ben"), "b again").unwrap();
    until(|| text(one.join("of ben")) == "b again").await;
    for machine in [ana, ben] {
        machine.close().await;
    }
}

/// Nobody could hear that it left: that comes with its next entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_while_nobody_hears_it_can_be_invited_again() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    ana.close().await;
    ben.until(|event| matches!(event.happening, Happening::Disconnected { .. }).then_some(())).await;
    ben.ask(Leave { share }).await;
    let ana = Machine::start(root.path(), "ana").await;
    let given = ana.ask(Invite { share, terms: InviteTerms::default() }).await;
    ben.join(&given.invite, &two).await;
    ben.in_sync().await;
    for machine in [ana, ben] {
        machine.close().await;
    }
}

/// I18: who was let in while the invite was good is a member, also for one who has to be told so anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i18_members_are_known_again_after_the_index_of_their_inviter_is_lost() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben) = (Machine::start(root.path(), "ana").await, Machine::start(root.path(), "ben").await);
    let terms = InviteTerms { seconds: 3, ..InviteTerms::default() };
    let given = ana.ask(share(&one, Some(terms))).await;
    let (share, invite) = (given.listed.share, given.invite.unwrap());
    ben.join(&invite.invite, &two).await;
    ben.in_sync().await;
    let home = Home::find(Some(&ana.home), &Environment::default()).unwrap();
    ana.close().await;
    until(|| Moment::now() > invite.not_after).await;
    let index = home.index_file(&share.0);
    let name = index.file_name().unwrap().to_string_lossy().into_owned();
    for entry in fs::read_dir(index.parent().unwrap()).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with(&name) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let ana = Machine::start(root.path(), "ana").await;
    fs::write(two.join("b"), "2").unwrap();
    until(|| text(one.join("b")) == "2").await;
    for machine in [&ana, &ben] {
        machine.in_sync().await;
    }
    for machine in [ana, ben] {
        machine.close().await;
    }
}

/// Who calls is known by its name as soon as it was met once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_and_goes_is_told_by_its_name() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, _) = pair(root.path(), &one, &two).await;
    ben.close().await;
    let gone = |event: &Event| match &event.happening {
        Happening::Disconnected { name, .. } => Some(name.clone()),
        _ => None,
    };
    assert_eq!(ana.until(gone).await.as_deref(), Some("ben"));
    let ben = Machine::start(root.path(), "ben").await;
    let came = |event: &Event| match &event.happening {
        Happening::Connected { name: Some(name), .. } => Some(name.clone()),
        _ => None,
    };
    assert_eq!((ana.until(came).await, ben.until(came).await), ("ben".to_owned(), "ana".to_owned()));
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
async fn invites_that_cannot_be_used_say_so() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    let cleo = Machine::start(root.path(), "cleo").await;
    let three = root.path().join("three");

    let nonsense = cleo.refusal(join(&InviteText::new("shoal1nonsense".into()), &three)).await;
    assert_eq!(nonsense.code, Code::Invite);
    let expired =
        ana.ask(Invite { share, terms: InviteTerms { seconds: 0, ..InviteTerms::default() } }).await;
    let refused = cleo.refusal(join(&expired.invite, &three)).await;
    assert!(refused.code == Code::Invite && refused.message.contains("expired"), "{refused}");
    for terms in [
        InviteTerms { uses: 0, ..InviteTerms::default() },
        InviteTerms { role: Role::Admin, ..InviteTerms::default() },
    ] {
        assert_eq!(ana.refusal(Invite { share, terms }).await.code, Code::BadCall);
    }
    let given = ana.ask(Invite { share, terms: InviteTerms::default() }).await;
    assert_eq!(ana.refusal(join(&given.invite, &three)).await.code, Code::Invite);
    assert_eq!(ben.refusal(join(&given.invite, &three)).await.code, Code::Invite);
    assert!(!three.exists(), "nothing is made for an invite that cannot be used");

    // Taken back.
    let InviteGiven { invite, key, .. } = given;
    let open = ana.ask(ListDevices { share }).await.invites;
    assert_eq!(open.iter().map(|open| open.key).collect::<Vec<_>>(), [key]);
    ana.ask(Revoke { share, what: Revoked::Invite(key) }).await;
    assert_eq!(ana.ask(ListDevices { share }).await.invites, []);
    cleo.join(&invite, &three).await;
    let dan = Machine::start(root.path(), "dan").await;
    let other = ana.ask(Invite { share, terms: InviteTerms::default() }).await;
    dan.join(&other.invite, &root.path().join("four")).await;
    dan.in_sync().await;
    assert!(!three.join("a").exists(), "who holds a revoked invite comes in nowhere");
    assert_eq!(ana.ask(ListDevices { share }).await.devices.len(), 3);
    for machine in [ana, ben, cleo, dan] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_is_listed_and_settled_by_keeping_one_side() {
    use shoal_daemon::control::types::{Keep, Resolve};
    let (root, one, two) = folders(&[("plan.txt", "1"), ("x", "2"), ("y", "3")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    for machine in [&ana, &ben] {
        machine.ask(Pause { share }).await;
    }
    fs::write(one.join("plan.txt"), "by ana").unwrap();
    fs::write(two.join("plan.txt"), "by ben, later").unwrap();
    for machine in [&ana, &ben] {
        machine.ask(Resume { share }).await;
    }
    let copies = |folder: &Path| -> Vec<PathBuf> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.to_string_lossy().contains("conflict")).collect()
    };
    until(|| copies(&one).len() == 1 && copies(&two).len() == 1).await;
    ana.in_sync().await;
    let conflicts = ana.ask(ListConflicts { share }).await;
    assert_eq!((conflicts.len(), conflicts[0].copies.len(), conflicts[0].is_open), (1, 1, false));
    assert_eq!(conflicts[0].path, place("plan.txt"));
    let copy = conflicts[0].copies[0].path.clone();
    let of_copy = text(one.join(String::from_utf8_lossy(copy.0.as_bytes()).as_ref()));
    assert_ne!(of_copy, text(one.join("plan.txt")));

    let wrong = ana.refusal(Resolve { share, path: place("x"), keep: Keep::Current }).await;
    assert_eq!(wrong.code, Code::NotFound);
    ana.ask(Resolve { share, path: place("plan.txt"), keep: Keep::Copy(copy) }).await;
    until(|| text(two.join("plan.txt")) == of_copy && copies(&two).is_empty()).await;
    ana.in_sync().await;
    assert_eq!(ana.ask(ListConflicts { share }).await, []);
    let why = ana.ask(Explain { share, path: place("plan.txt") }).await;
    assert!(why.is_settled && why.lacking.is_empty() && why.heads.len() == 1, "{why:?}");
    let history =
        ana.ask(ListHistory { share, path: Some(place("plan.txt")), before: None, at_most: 10 }).await;
    assert!(!history.versions.is_empty(), "what was not kept is in the history");
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

/// A machine that joins with so many files of its own, at whose directory they stand.
async fn joins_with_own(
    files: usize,
    choice: Option<Choice>,
) -> (tempfile::TempDir, Machine, Machine, Id<ShareId>) {
    let (root, one, two) = folders(&[("same", "s"), ("theirs", "t")]);
    fs::write(two.join("same"), "s").unwrap();
    fs::write(two.join("only here"), "o").unwrap();
    for number in 0..files {
        fs::write(one.join(format!("f{number}")), "of ana").unwrap();
        fs::write(two.join(format!("f{number}")), "of ben, older").unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        fs::File::open(two.join(format!("f{number}"))).unwrap().set_modified(old).unwrap();
    }
    let (ana, ben) = (Machine::start(root.path(), "ana").await, Machine::start(root.path(), "ben").await);
    let (share, invite) = ana.share(&one, InviteTerms::default()).await;
    ben.ask(Join { choice, ..join(&invite, &two) }).await;
    (root, ana, ben, share)
}

fn asked(event: &Event) -> Option<Question> {
    match event.happening {
        Happening::Asked { question } => Some(question),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_with_many_other_files_is_asked_before_anything_is_done() {
    let (root, ana, ben, share) = joins_with_own(25, None).await;
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    let question = Question::FirstContact { equal: 1, differ: 25, only_here: 1 };
    assert_eq!(ben.until(asked).await, question);
    let status = ben.status(share).await;
    assert_eq!((status.phase, status.question), (Phase::FirstContact, Some(question)));
    assert!(!status.is_in_sync);
    // Over a restart, too.
    ben.close().await;
    let ben = Machine::start(root.path(), "ben").await;
    assert_eq!(ben.until(asked).await, question);
    assert!(!two.join("theirs").exists() && !one.join("only here").exists());
    assert_eq!(text(two.join("f3")), "of ben, older");

    ben.ask(Decide { share, choice: Choice::Theirs }).await;
    until(|| text(two.join("theirs")) == "t" && text(one.join("only here")) == "o").await;
    ben.in_sync().await;
    for number in 0..25 {
        assert_eq!(text(two.join(format!("f{number}"))), "of ana");
        assert_eq!(text(one.join(format!("f{number}"))), "of ana");
    }
    let history = ben.ask(ListHistory { share, path: None, before: None, at_most: 100 }).await;
    assert_eq!(history.versions.len(), 25);
    assert_eq!(ana.ask(ListConflicts { share }).await, []);
    assert_eq!(ben.refusal(Decide { share, choice: Choice::Both }).await.code, Code::NotNow);
    // What differs from now on is a conflict like any other.
    for machine in [&ana, &ben] {
        machine.ask(Pause { share }).await;
    }
    fs::write(one.join("at once"), "ana").unwrap();
    fs::write(two.join("at once"), "ben, too").unwrap();
    for machine in [&ana, &ben] {
        machine.ask(Resume { share }).await;
    }
    until(|| fs::read_dir(&one).unwrap().count() == fs::read_dir(&two).unwrap().count()).await;
    let is_copy =
        |entry: Result<fs::DirEntry, _>| entry.unwrap().file_name().to_string_lossy().contains("conflict");
    until(|| [&one, &two].into_iter().all(|folder| fs::read_dir(folder).unwrap().any(is_copy))).await;
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_said_so_before_leaves_again_and_nothing_is_changed() {
    let (root, ana, ben, share) = joins_with_own(21, Some(Choice::Stop)).await;
    ben.until(|event| (event.happening == Happening::Left).then_some(())).await;
    assert_eq!(ben.ask(ListShares {}).await, []);
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    assert!(!two.join("theirs").exists() && !one.join("only here").exists());
    assert_eq!(text(two.join("f3")), "of ben, older");
    assert_eq!(ana.status(share).await.members, 1);
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_files_that_differ_are_no_reason_to_ask() {
    let (root, ana, ben, share) = joins_with_own(3, Some(Choice::Stop)).await;
    ben.in_sync().await;
    ana.in_sync().await;
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    assert_eq!(text(two.join("f1")), "of ana");
    assert_eq!(ana.ask(ListConflicts { share }).await.len(), 3);
    assert_eq!(fs::read_dir(&one).unwrap().count(), fs::read_dir(&two).unwrap().count());
    for machine in [ana, ben] {
        machine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_rules_of_another_device_are_offered_and_count_once_they_are_accepted() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    fs::write(two.join(".shoalignore"), "*.tmp\n").unwrap();
    until(|| text(one.join(".shoalignore")) == "*.tmp\n").await;
    let offered = ana.ask(GetIgnore { share }).await;
    assert_eq!((offered.is_offered, offered.rules), (true, None));
    assert_eq!(offered.offered.as_deref(), Some("*.tmp\n"));
    let own = ben.ask(GetIgnore { share }).await;
    assert_eq!((own.is_offered, own.rules.as_deref(), own.offered), (false, Some("*.tmp\n"), None));

    ana.ask(AcceptIgnore { share }).await;
    let accepted = ana.ask(GetIgnore { share }).await;
    assert_eq!((accepted.is_offered, accepted.rules.as_deref()), (false, Some("*.tmp\n")));
    fs::write(one.join("x.tmp"), "x").unwrap();
    fs::write(one.join("y"), "y").unwrap();
    until(|| text(two.join("y")) == "y").await;
    assert!(!two.join("x.tmp").exists());
    let why = ana.ask(Explain { share, path: place("x.tmp") }).await;
    assert_eq!((why.cause.map(|cause| cause.cause), why.is_settled), (Some(CauseKind::Ignored), true));
    let why = ana.ask(Explain { share, path: place("never there") }).await;
    assert_eq!((why.cause, why.is_settled), (None, true));
    for machine in [ana, ben] {
        machine.close().await;
    }
}
