//! Who belongs to a share: by which invites they come, how they go, and by which name they are known.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use shoal_daemon::control::report::{DeviceStatus, Event, Happening, InviteGiven, Phase, Role};
use shoal_daemon::control::text::{Id, InviteText, Moment};
use shoal_daemon::control::types::{
    Code, Invite, InviteTerms, Leave, ListDevices, ListShares, Rescan, Revoke, Revoked, Share,
};
use shoal_daemon::home::{Environment, Home};
use shoal_daemon::registry::{Kept, Registry, RosterFile};
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::roster::Entries;

use super::{Machine, folders, join, pair, share, text, until};

/// The index of a share is gone, and what SQLite keeps beside it.
fn lose_index(home: &Home, share: Id<ShareId>) {
    let index = home.index_file(&share.0);
    let name = index.file_name().unwrap().to_string_lossy().into_owned();
    for entry in fs::read_dir(index.parent().unwrap()).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with(&name) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

impl Machine {
    fn files(&self) -> Home {
        Home::find(Some(&self.home), &Environment::default()).unwrap()
    }

    async fn device_named(&self, name: &str, share: Id<ShareId>) -> Id<DeviceId> {
        let DeviceStatus { devices, .. } = self.ask(ListDevices { share }).await;
        devices.iter().find(|device| device.name.as_deref() == Some(name)).unwrap().device
    }
}

/// The numbers of what a device has signed, as the roster kept in this home has it.
fn signed(home: &Home, share: Id<ShareId>, device: Id<DeviceId>) -> Vec<u64> {
    let (registry, _) = Registry::load(&home.clone().hold().unwrap()).unwrap();
    let founding = registry.get(&share.0).unwrap().founding;
    let kept = RosterFile::of(home, founding).read(&Entries::new(founding)).unwrap();
    let Kept::Other(entries) = kept else { panic!("{kept:?}") };
    let own = entries.iter().filter(|entry| *entry.signer() == device.0);
    own.map(|entry| entry.place().sequence).collect()
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

    ben.comes_again(&ana, share, &two).await;
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
    ben.comes_again(&ana, share, &two).await;
    for machine in [ana, ben] {
        machine.close().await;
    }
}

/// It has met nobody since its index was made anew, but what it signed before that was heard: a second entry in the place of
/// one that others have is a chain of which less counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i26_who_lost_its_index_and_is_out_can_be_invited_again_and_signs_on_where_it_was() {
    for is_removed in [false, true] {
        let (root, one, two) = folders(&[("a", "1")]);
        let (ana, ben, share) = pair(root.path(), &one, &two).await;
        let (device, home) = (ana.device_named("ben", share).await, ben.files());
        ben.close().await;
        lose_index(&home, share);
        let (ana, ben) = if is_removed {
            ana.ask(Revoke { share, what: Revoked::Device(device) }).await;
            let ben = Machine::start(root.path(), "ben").await;
            let refused = |event: &Event| {
                matches!(event.happening, Happening::Phase { phase: Phase::Refused, .. }).then_some(())
            };
            ben.until(refused).await;
            (ana, ben)
        } else {
            ana.close().await;
            let ben = Machine::start(root.path(), "ben").await;
            ben.ask(Leave { share }).await;
            (Machine::start(root.path(), "ana").await, ben)
        };
        ben.comes_again(&ana, share, &two).await;
        fs::write(one.join("b"), "2").unwrap();
        until(|| text(two.join("b")) == "2").await;
        let home = ana.files();
        for machine in [ana, ben] {
            machine.close().await;
        }
        let numbers = signed(&home, share, device);
        assert!(numbers.len() >= 2 && numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
    }
}

/// Nobody will ever come to tell it what became of the share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i18_a_founder_of_one_whose_index_is_lost_is_told_how_to_go_on() {
    let (root, one, _) = folders(&[("a", "1")]);
    let ana = Machine::start(root.path(), "ana").await;
    let (share, _) = ana.share(&one, InviteTerms::default()).await;
    let live =
        |event: &Event| matches!(event.happening, Happening::Phase { phase: Phase::Live, .. }).then_some(());
    ana.until(live).await;
    assert_eq!(ana.status(share).await.why, None);
    let home = ana.files();
    ana.close().await;
    lose_index(&home, share);
    let ana = Machine::start(root.path(), "ana").await;
    let told = |event: &Event| match &event.happening {
        Happening::Phase { phase: Phase::FirstContact, why } => why.clone(),
        _ => None,
    };
    let why = ana.until(told).await;
    assert!(why.contains(&format!("`shoal share {} --alone`", one.display())), "{why}");
    assert!(!why.contains("leave") && !why.contains("is known here"), "its roster is whole: {why}");
    ana.ask(Share { alone: true, ..super::share(&one, None) }).await;
    ana.until(live).await;
    assert_eq!(ana.status(share).await.why, None);
    ana.close().await;
}

/// What is kept of the roster is not lost where it cannot be read just now: a home was put back with other modes, for instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i26_a_roster_that_cannot_be_read_just_now_is_left_alone_and_its_share_closed() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    let home = ana.files();
    let (file, index) = (home.roster_file(&share.0), home.index_file(&share.0));
    let away = root.path().join("away");
    for machine in [ana, ben] {
        machine.close().await;
    }
    lose_index(&home, share);
    let whole = fs::read(&file).unwrap();
    let refuses = async |what: &str| {
        let ana = Machine::start(root.path(), "ana").await;
        let why = ana.status(share).await.why.unwrap();
        assert!(why.contains(what) && why.contains(file.to_str().unwrap()), "{what}: {why}");
        ana.close().await;
        let names = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<_> = names.collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().contains("broken")), "{names:?}");
    };
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    refuses("open to others").await;
    assert_eq!(fs::read(&file).unwrap(), whole);

    fs::rename(&file, &away).unwrap();
    fs::create_dir(&file).unwrap();
    refuses("no plain file").await;
    fs::remove_dir(&file).unwrap();

    let mut later = whole.clone();
    later[15] = 2;
    fs::write(&file, &later).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    refuses("has form 2").await;
    assert_eq!(fs::read(&file).unwrap(), later);

    fs::rename(&away, &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(index.exists());
    let ana = Machine::start(root.path(), "ana").await;
    assert_eq!(ana.ask(ListDevices { share }).await.devices.len(), 2);
    ana.close().await;
}

/// A share that does not open is no trap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_whose_roster_cannot_be_read_can_be_left_and_it_is_said_what_stays() {
    let (root, one, two) = folders(&[("a", "1")]);
    let (ana, ben, share) = pair(root.path(), &one, &two).await;
    let file = ben.files().roster_file(&share.0);
    ben.close().await;
    fs::remove_file(&file).unwrap();
    fs::create_dir_all(file.join("deep")).unwrap();
    let ben = Machine::start(root.path(), "ben").await;
    assert_eq!(ben.status(share).await.phase, Phase::Failed);

    let remains = ben.ask(Leave { share }).await.remains;
    let about = format!("cannot remove {}: ", file.display());
    assert!(remains.len() == 1 && remains[0].starts_with(&about), "{remains:?}");
    let is_warned = |event: &Event| match &event.happening {
        Happening::Warning { message } => message.starts_with(&about).then_some(()),
        _ => None,
    };
    ben.until(is_warned).await;
    assert_eq!((ben.ask(ListShares {}).await.len(), text(two.join("a"))), (0, "1".into()));
    ben.close().await;
    let ben = Machine::start(root.path(), "ben").await;
    assert_eq!(ben.ask(ListShares {}).await, []);

    // Once it is gone, the way back is the usual one.
    fs::remove_dir_all(&file).unwrap();
    ben.comes_again(&ana, share, &two).await;
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
    let home = ana.files();
    ana.close().await;
    until(|| Moment::now() > invite.not_after).await;
    lose_index(&home, share);
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
