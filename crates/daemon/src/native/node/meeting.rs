//! Who is called: the members of all shares, at the places that invites, earlier meetings, trackers and the local network name.
//!
//! Promise: what anybody says of a place is a hint, and says nothing of whom we belong to; only a key that proves itself
//! counts. Looked at again when somebody belongs to a share, or is told of, who was not before; and when this device is
//! somewhere else. Else the engine is not asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use shoal_engine::Engine;
use shoal_engine::io::Belonging;
use shoal_net::{Candidate, Heard, Lan, NamedBy};
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::invite::Address;
use shoal_proto::limits::{INVITE_ADDRESSES_MAX, INVITE_TRACKERS_MAX};
use shoal_proto::secret::{Pseudonym, ShareSecret, Topic};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};

use super::{Core, Found, Opened, Trackers, Wishes, lock, unix_seconds};
use crate::control::report::Happening;
use crate::control::text::Id;
use crate::native::peers::{Met, Places};
use crate::native::trackers::Interest;
use crate::registry::Registered;

/// Whether this device has moved to another network is looked at so often: the system tells nobody.
const ADDRESSES_PAUSE: Duration = Duration::from_secs(30);

/// So often all is said again to the local network: its names change each day.
const DAILY: Duration = Duration::from_secs(60 * 60);

/// Most members whose places trackers name.
const FINDS_MAX: usize = 16_384;

/// Where trackers have found others.
#[derive(Debug, Default)]
pub(super) struct Finds(BTreeMap<(Topic, Pseudonym), Vec<Candidate>>);

impl Finds {
    pub(super) fn note(&mut self, found: Found) {
        let key = (found.topic, found.pseudonym);
        if found.addresses.is_empty() {
            self.0.remove(&key);
        } else if self.0.len() < FINDS_MAX || self.0.contains_key(&key) {
            self.0.insert(key, found.addresses);
        }
    }
}

/// By what members of a share are recognised.
#[derive(Debug, Default)]
pub(super) struct MetBy {
    topics: BTreeSet<Topic>,
    /// The other ones.
    members: BTreeSet<DeviceId>,
}

/// What is needed to meet the members of a share.
struct Meeting {
    registered: Registered,
    secrets: Vec<ShareSecret>,
    members: BTreeSet<DeviceId>,
}

/// Sees to it that whoever is to be met is called, as long as there is a node.
pub(super) async fn attend(core: Weak<Core>, to_meet: Arc<Notify>, mut belongs: watch::Receiver<u64>) {
    let mut told = Instant::now();
    loop {
        let Some(strong) = core.upgrade() else { return };
        let addresses = strong.waiting(|core| Ok(core.meet())).await.unwrap_or_default();
        drop(strong);
        loop {
            tokio::select! {
                () = to_meet.notified() => break,
                changed = belongs.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                () = sleep(ADDRESSES_PAUSE) => {}
            }
            let Some(strong) = core.upgrade() else { return };
            let are_others = strong.own_addresses() != addresses;
            if are_others || told.elapsed() >= DAILY {
                told = Instant::now();
                break;
            }
        }
    }
}

/// Tells of connections that came or went, in their order.
pub(super) async fn tell(core: Weak<Core>, mut told: mpsc::Receiver<Met>) {
    while let Some(met) = told.recv().await {
        let Some(core) = core.upgrade() else { return };
        let _ = core
            .waiting(move |core| {
                core.met(met);
                Ok(())
            })
            .await;
    }
}

impl Core {
    /// Begins to ask trackers and the local network.
    pub(super) fn begin_to_meet(self: &Arc<Self>, port: u16) {
        let core = Arc::downgrade(self);
        let found = move |found| {
            if let Some(core) = core.upgrade() {
                core.was_found(found);
            }
        };
        *lock(&self.trackers) = Some(Trackers::start(Wishes::default(), found));
        if self.config().lan {
            let core = Arc::downgrade(self);
            let heard = move |heard| {
                if let Some(core) = core.upgrade() {
                    core.was_heard(&heard);
                }
            };
            *lock(&self.lan) = Some(Lan::start(port, heard));
        }
        self.to_meet.notify_one();
    }

    /// Looks at who belongs to which share, and at what is known of where they are; where this device is itself.
    fn meet(&self) -> Vec<SocketAddr> {
        let addresses = self.own_addresses();
        let meetings: Vec<Meeting> = self.meetings();
        let mut wanted: BTreeMap<DeviceId, Places> = BTreeMap::new();
        let mut wishes = Wishes { addresses: addresses.clone(), ..Wishes::default() };
        wishes.port = self.listening.first().map_or(0, SocketAddr::port);
        wishes.trackers.extend(self.config().trackers);
        let mut topics = Vec::new();
        for Meeting { registered, secrets, members } in &meetings {
            wishes.trackers.extend(registered.trackers.iter().cloned());
            for (age, secret) in secrets.iter().enumerate() {
                let interest =
                    Interest { pseudonym: secret.pseudonym(&self.device()), is_announced: age == 0 };
                // One secret may be known twice, by the invite and by the roster.
                wishes.topics.entry(secret.topic()).or_insert(interest);
                topics.push(secret.topic());
            }
            for member in members {
                let places = wanted.entry(*member).or_default();
                self.add_places(places, *member, registered, secrets);
            }
        }
        self.peers.want(wanted);
        if let Some(lan) = &*lock(&self.lan) {
            lan.announce(&topics, unix_seconds());
        }
        if let Some(trackers) = &*lock(&self.trackers) {
            trackers.wish(wishes);
        }
        addresses
    }

    /// All shares that are open, with who belongs to them now. Those that this device is out of are none: it would be refused again
    /// each time, so nobody is called for them until a restart, and whoever lets it in again calls.
    fn meetings(&self) -> Vec<Meeting> {
        let belonging = self.shell.with_engine(Engine::belonging).unwrap_or_default();
        let mut meetings = Vec::new();
        for (share, Belonging { secrets, members }) in belonging {
            let Some(registered) = self.registry().get(&share).cloned() else { continue };
            let mut members: BTreeSet<DeviceId> = members.into_keys().collect();
            members.remove(&self.device());
            // Who comes in knows nobody yet but who invited it.
            members.extend(registered.invited_by.iter().map(|by| by.device.0));
            let topics = secrets.iter().map(ShareSecret::topic).collect();
            if let Some(Opened::Open { met_by, .. }) = self.shares().get_mut(&share) {
                *met_by = MetBy { topics, members: members.clone() };
            }
            if !secrets.is_empty() {
                meetings.push(Meeting { registered, secrets, members });
            }
        }
        meetings
    }

    /// Whether this device is no member of a share, or was not let in.
    pub(super) fn is_out(&self, share: ShareId) -> bool {
        self.shell.with_engine(move |engine| engine.is_out(&share)) == Some(true)
    }

    /// A connection stands, or is over.
    fn met(&self, met: Met) {
        match met {
            Met::Connected { device, seen, at } => {
                if let Some(at) = at {
                    self.was_met_at(device, at);
                }
                let (name, device) = (self.name_of(device), Id(device));
                self.diary.note(None, Happening::Connected { device, name, address: Some(seen) });
            }
            Met::Disconnected { device } => {
                let (name, device) = (self.name_of(device), Id(device));
                self.diary.note(None, Happening::Disconnected { device, name });
                // It may have moved within its network, and have said so while it was thought to be where it was.
                if let Some(lan) = &*lock(&self.lan) {
                    lan.tell_again();
                }
            }
        }
    }

    /// A device was called there, and answered: it is known where to call it after a restart.
    fn was_met_at(&self, device: DeviceId, at: SocketAddr) {
        let is_of = |opened: &Opened| match opened {
            Opened::Open { met_by, .. } => met_by.members.contains(&device),
            Opened::Failed(_) => false,
        };
        let of_it: Vec<ShareId> = {
            let shares = self.shares();
            shares.iter().filter(|(_, opened)| is_of(opened)).map(|(share, _)| *share).collect()
        };
        let now = unix_seconds();
        for share in &of_it {
            let noted = self.registry().change(share, |share| share.met(device, at.to_string(), now));
            if let Err(error) = noted {
                tracing::warn!("where a member was met cannot be noted: {error}");
            }
        }
        self.to_meet.notify_one();
    }

    /// What a device calls itself, in a share that both are in.
    fn name_of(&self, device: DeviceId) -> Option<String> {
        let belonging = self.shell.with_engine(Engine::belonging)?;
        let name = belonging.values().find_map(|share| share.members.get(&device)?.as_ref());
        name.map(|name| name.as_str().to_owned())
    }

    fn add_places(
        &self,
        places: &mut Places,
        member: DeviceId,
        registered: &Registered,
        secrets: &[ShareSecret],
    ) {
        for known in registered.known.iter().filter(|known| known.device.0 == member) {
            if let Ok(address) = known.address.parse() {
                places.candidates.insert(Candidate { named_by: NamedBy::Before, address });
            }
        }
        for by in registered.invited_by.iter().filter(|by| by.device.0 == member) {
            places.named.extend(by.addresses.iter().filter_map(|address| Address::parse(address).ok()));
        }
        let finds = lock(&self.found);
        for secret in secrets {
            let found = finds.0.get(&(secret.topic(), secret.pseudonym(&member)));
            places.candidates.extend(found.into_iter().flatten().copied());
        }
    }

    /// Somebody of a share is in the same network.
    fn was_heard(&self, heard: &Heard) {
        let members = |opened: &Opened| match opened {
            Opened::Open { met_by, .. } if met_by.topics.contains(&heard.topic) => {
                Some(met_by.members.clone())
            }
            _ => None,
        };
        let of_shares: Vec<BTreeSet<DeviceId>> = self.shares().values().filter_map(members).collect();
        for members in of_shares {
            self.peers.heard(members, heard.addresses.clone());
        }
    }

    /// Where this device can be called, the best first: those of its interfaces that are not the machine's own; if there are
    /// none, those.
    pub(super) fn own_addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for listening in &self.listening {
            if listening.ip().is_unspecified() {
                let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
                let ips = interfaces.iter().map(if_addrs::Interface::ip);
                let is_heard = |ip: &std::net::IpAddr| ip.is_ipv4() || listening.is_ipv6();
                addresses.extend(ips.filter(is_heard).map(|ip| SocketAddr::new(ip, listening.port())));
            } else {
                addresses.push(*listening);
            }
        }
        let is_link_local = |at: &SocketAddr| match at.ip() {
            std::net::IpAddr::V4(ip) => ip.is_link_local(),
            std::net::IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        addresses.retain(|at| !is_link_local(at));
        if addresses.iter().any(|at| !at.ip().is_loopback()) {
            addresses.retain(|at| !at.ip().is_loopback());
        }
        addresses.sort_by_key(|at| (at.is_ipv6(), *at));
        addresses.dedup();
        addresses
    }

    /// What an invite says of where this device is, and which trackers know.
    pub(super) fn told_places(&self, registered: &Registered) -> (Vec<Address>, Vec<Address>) {
        let addresses =
            self.own_addresses().into_iter().filter_map(|at| Address::parse(&at.to_string()).ok());
        let trackers: BTreeSet<Address> =
            self.config().trackers.into_iter().chain(registered.trackers.iter().cloned()).collect();
        (
            addresses.take(INVITE_ADDRESSES_MAX).collect(),
            trackers.into_iter().take(INVITE_TRACKERS_MAX).collect(),
        )
    }
}
