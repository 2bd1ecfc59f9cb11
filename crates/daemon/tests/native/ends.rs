//! Devices with a share, at work in one process: engine, index, disk layer and threads are those of the daemon. Only the
//! network is not there: what one end says the other hears as it is. For the tests and the benchmark.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use shoal_daemon::native::{Connected, Gate, NewShare, Outlet, Shell};
use shoal_disk::{Folder, FolderOptions, Worker};
use shoal_engine::history::Retention;
use shoal_engine::io::{Command, Conn};
use shoal_engine::status::Status;
use shoal_index::{At, Index};
use shoal_proto::frame::RequestId;
use shoal_proto::id::{DeviceId, ShareId, WriterSalt};
use shoal_proto::key::{DeviceKey, InviteSecret};
use shoal_proto::message::Message;
use shoal_proto::roster::{
    Delegation, Described, DeviceName, Entry, Founding, Joined, Offer, Role, Statement,
};
use shoal_proto::secret::{ShareSecret, Side};

/// Nothing that is waited for takes longer.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// How often is asked whether it has come.
const ASK_PAUSE_MIN: Duration = Duration::from_millis(1);
const ASK_PAUSE_MAX: Duration = Duration::from_millis(50);

/// One device with the share open.
pub(crate) struct End {
    pub(crate) shell: Arc<Shell>,
    pub(crate) share: ShareId,
    founding: Founding,
    founder: Arc<DeviceKey>,
    device: DeviceId,
}

impl End {
    /// Who founds the share.
    pub(crate) fn founder(folder: &Path, index: &Path) -> Self {
        let key = Arc::new(DeviceKey::from_seed(&[1; 32]));
        let founding = Founding { creator: key.device(), random: [2; 32], cut: 1 };
        let made = Index::create(At::File(index), founding, Arc::clone(&key), WriterSalt([1; 16])).unwrap();
        let end = Self::open(folder, made, founding, Arc::clone(&key), &key);
        end.shell.command(end.share, Command::Alone);
        end
    }

    /// Who comes to it.
    pub(crate) fn joined(giver: &Self, folder: &Path, index: &Path, number: u8) -> Self {
        let made = giver.index_of_taker(index, number);
        Self::open(folder, made, giver.founding, Arc::clone(&giver.founder), &taker())
    }

    /// Who comes to it and is not at work: its index, and who performs jobs in its folder.
    #[allow(dead_code, reason = "the tests have all at work")]
    pub(crate) fn apart(&self, folder: &Path, index: &Path, number: u8) -> (Index, Worker) {
        let (folder, _) = Folder::open(folder, &FolderOptions::default()).unwrap();
        (self.index_of_taker(index, number), Worker::new(&folder).with_threads(2))
    }

    fn index_of_taker(&self, index: &Path, number: u8) -> Index {
        let (key, salt) = (Arc::new(taker()), WriterSalt([number; 16]));
        let mut made = Index::create(At::File(index), self.founding, Arc::clone(&key), salt).unwrap();
        made.add_entries(vec![entry(&self.founder, self.share, &key)]).unwrap();
        made
    }

    /// Who has come to it before: the same device, with the index that it had.
    #[allow(dead_code, reason = "the benchmark opens nothing twice")]
    pub(crate) fn again(giver: &Self, folder: &Path, index: &Path) -> Self {
        let key = Arc::new(taker());
        let opened = Index::open(index, &giver.share, Arc::clone(&key)).unwrap();
        Self::open(folder, opened, giver.founding, Arc::clone(&giver.founder), &key)
    }

    fn open(
        folder: &Path,
        index: Index,
        founding: Founding,
        founder: Arc<DeviceKey>,
        key: &DeviceKey,
    ) -> Self {
        let (folder, recovered) = Folder::open(folder, &FolderOptions::default()).unwrap();
        assert!(recovered.problems.is_empty(), "{recovered:?}");
        let device = key.device();
        let shell = Arc::new(Shell::start(device, [5; 32], "bench").unwrap());
        let secrets = vec![ShareSecret::from_bytes([7; 32])];
        let share = shell
            .open(NewShare {
                index,
                roster: None,
                worker: Arc::new(Worker::new(&folder).with_threads(2)),
                secrets,
                retention: Retention::default(),
                asks_first: false,
            })
            .unwrap();
        Self { shell, share, founding, founder, device }
    }

    /// Waits until the share stands so.
    pub(crate) fn wait(&self, is_so: impl Fn(&Status) -> bool) {
        self.wait_until(|| self.shell.status(self.share).is_some_and(|(status, _)| is_so(&status)));
    }

    /// Waits until this is so.
    pub(crate) fn wait_until(&self, is_so: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < WAIT_MAX, "{:?}", self.shell.status(self.share));
            // The world is asked, which tells nobody when it changes; the longer it takes, the more seldom, as asking costs it
            // time.
            thread::sleep((began.elapsed() / 64).clamp(ASK_PAUSE_MIN, ASK_PAUSE_MAX));
        }
    }
}

/// The key of who comes to it.
fn taker() -> DeviceKey {
    DeviceKey::from_seed(&[3; 32])
}

/// What lets a device in.
fn entry(founder: &DeviceKey, share: ShareId, key: &DeviceKey) -> Entry {
    let invite = InviteSecret::from_seed(&[9; 32]);
    let offer = Offer { role: Role::Writer, uses: 1, not_after: u64::MAX };
    let delegation = Delegation::sign(founder, &share, invite.key(), offer, None).unwrap();
    let described = Described { name: DeviceName::parse("taker").unwrap(), box_key: key.box_key() };
    let joined = Joined::by(&invite, delegation, &share, &key.device(), described);
    Entry::sign(key, &share, None, Statement::Joined(Box::new(joined))).unwrap()
}

/// What one end says, on its way to the other.
struct Words {
    words: Sender<(RequestId, Message)>,
    waiting: Arc<AtomicUsize>,
}

impl Outlet for Words {
    fn send(&mut self, request: RequestId, message: Message) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _ = self.words.send((request, message));
    }
}

/// Connects two of them, until one of them hangs up.
pub(crate) fn connect(one: &End, other: &End, conn: Conn) {
    let mut ways = Vec::new();
    for (from, to, side) in [(one, other, Side::Listener), (other, one, Side::Dialler)] {
        let (words, said) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let outlet = Box::new(Words { words, waiting: Arc::clone(&waiting) });
        let gate = Arc::new(Gate::default());
        let (device, exporter) = (to.device, [3; 32]);
        from.shell.connect(conn, Connected { device, side, exporter, outlet, gate: Arc::clone(&gate) });
        ways.push((said, waiting, Arc::downgrade(&from.shell), gate));
    }
    // Only now both know of it, and can be told what comes.
    let hearers: Vec<_> =
        ways.iter().rev().map(|(_, _, shell, gate)| (shell.clone(), Arc::clone(gate))).collect();
    for ((said, waiting, speaker, _), (hearer, gate)) in ways.into_iter().zip(hearers) {
        thread::spawn(move || {
            for (request, message) in said {
                let (true, Some(hearer)) = (gate.pass(), hearer.upgrade()) else { return };
                hearer.received(conn, request, message);
                if waiting.fetch_sub(1, Ordering::Relaxed) == 1
                    && let Some(speaker) = speaker.upgrade()
                {
                    speaker.drained(conn);
                }
            }
            if let Some(hearer) = hearer.upgrade() {
                hearer.disconnected(conn);
            }
        });
    }
}
