//! Finding others on the local network (mDNS, RFC 6762).
//!
//! Promise: what is announced is a port, under a random name, and for each topic a hash that only who knows the topic can
//! tell, another one each day; no name, no share, no key. What is heard is a hint: an address where somebody of a topic may
//! be, who has to prove a key like anybody. What others announce costs bounded memory (I30).
//!
//! The responder is the crate `mdns-sd`, in a thread of its own; it answers on all networks but the machine's own.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV6};
use std::sync::Arc;

use mdns_sd::{IfKind, Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use shoal_proto::secret::{LanName, Topic};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::limits::{
    LAN_ADDRESSES_MAX, LAN_CHECK, LAN_OTHERS_MAX, LAN_RECORDS_MAX, LAN_TOPICS_MAX, LAN_TOPICS_PER_NAME,
};
use crate::reach::{NamedBy, may_call};
use crate::tls::random;

/// The type of our service. Who browses for it learns that Shoal runs here, and no more.
const SERVICE: &str = "_shoal._tcp.local.";

/// Seconds of a day.
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Somebody of a topic may be there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Heard {
    /// Of which.
    pub topic: Topic,
    /// Where; at most [`LAN_ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
}

/// Announces this device on the local network, and listens for others, until it is dropped.
#[derive(Debug)]
pub struct Lan {
    wanted: watch::Sender<Wanted>,
    again: Arc<Notify>,
}

/// What is announced and listened for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Wanted {
    topics: Arc<[Topic]>,
    day: u64,
}

/// Who is told.
type Tell = Box<dyn Fn(Heard) + Send + Sync>;

impl Lan {
    /// Begins to listen. `port` is where this device is called; whoever is heard is told, again whenever it announces
    /// something else. Where there is no local network nothing is heard, and it is tried again now and then.
    ///
    /// # Panics
    /// Outside of a runtime: a task of its own listens.
    #[must_use]
    pub fn start(port: u16, heard: impl Fn(Heard) + Send + Sync + 'static) -> Self {
        let (wanted, wants) = watch::channel(Wanted::default());
        let again = Arc::new(Notify::new());
        tokio::spawn(run(port, wants, Arc::clone(&again), Box::new(heard)));
        Self { wanted, again }
    }

    /// Has all told once more that are there now. Who is connected needs nobody's word of where a device is; once it is not,
    /// that word may have come long ago.
    pub fn tell_again(&self) {
        self.again.notify_one();
    }

    /// Announces these topics, and listens for them, instead of those before; at most [`LAN_TOPICS_MAX`]. To be called
    /// when they change, and some time each day; the time is seconds since 1970. A clock that is wrong by a day is found
    /// all the same.
    pub fn announce(&self, topics: &[Topic], unix_seconds: u64) {
        let topics = topics.iter().take(LAN_TOPICS_MAX).copied().collect();
        let wanted = Wanted { topics, day: unix_seconds / DAY_SECONDS };
        self.wanted.send_if_modified(|before| {
            let is_new = *before != wanted;
            *before = wanted;
            is_new
        });
    }
}

async fn run(port: u16, mut wants: watch::Receiver<Wanted>, again: Arc<Notify>, tell: Tell) {
    loop {
        match Listener::start(port) {
            Ok(mut listener) => {
                let is_over = listener.listen(&mut wants, &again, &tell).await;
                // Waits until those who heard us are told that we leave.
                if let Ok(over) = listener.daemon.shutdown() {
                    let _ = timeout(LAN_CHECK, over.recv_async()).await;
                }
                if is_over {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "no local network"),
        }
        tokio::select! {
            () = sleep(LAN_CHECK) => {}
            () = ended(&mut wants) => return,
        }
    }
}

/// Waits until nobody wants to hear any more.
async fn ended(wants: &mut watch::Receiver<Wanted>) {
    while wants.changed().await.is_ok() {}
}

/// One life of the responder.
struct Listener {
    port: u16,
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    neighbours: Neighbours,
}

/// Who announces what.
#[derive(Debug, Default)]
struct Neighbours {
    /// Our own announcements, by their full names.
    own: Vec<String>,
    others: BTreeMap<String, Other>,
    /// What our topics are called these days.
    names: BTreeMap<LanName, Topic>,
}

/// What another one announces.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Other {
    names: Vec<LanName>,
    addresses: Vec<SocketAddr>,
}

impl Listener {
    fn start(port: u16) -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        let events = daemon.browse(SERVICE)?;
        Ok(Self { port, daemon, events, neighbours: Neighbours::default() })
    }

    /// Listens until nobody wants to hear any more (`true`), or until it must begin anew.
    async fn listen(&mut self, wants: &mut watch::Receiver<Wanted>, again: &Notify, tell: &Tell) -> bool {
        let mut check = interval(LAN_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        wants.mark_changed();
        loop {
            tokio::select! {
                changed = wants.changed() => {
                    if changed.is_err() {
                        return true;
                    }
                    let wanted = wants.borrow_and_update().clone();
                    self.announce(&wanted, tell);
                }
                () = again.notified() => self.neighbours.tell_of_all(tell),
                event = self.events.recv_async() => match event {
                    Ok(event) => self.neighbours.hear(event, tell),
                    Err(_) => return false,
                },
                _ = check.tick() => if self.is_flooded().await {
                    tracing::warn!("the local network is flooded with announcements; listening anew");
                    return false;
                }
            }
        }
    }

    fn announce(&mut self, wanted: &Wanted, tell: &Tell) {
        for name in self.neighbours.own.drain(..) {
            let _ = self.daemon.unregister(&name);
        }
        for topics in wanted.topics.chunks(LAN_TOPICS_PER_NAME) {
            let names: Vec<LanName> = topics.iter().map(|topic| topic.on_lan(wanted.day)).collect();
            match self.register(&names) {
                Ok(name) => self.neighbours.own.push(name),
                Err(error) => tracing::debug!(%error, "cannot announce on the local network"),
            }
        }
        self.neighbours.listen_for(wanted, tell);
    }

    /// Announces some names under a random one.
    fn register(&self, names: &[LanName]) -> Result<String, mdns_sd::Error> {
        let mut label = LanName::from_bytes(random()).to_string();
        label.truncate(16);
        let texts: Vec<(String, String)> =
            names.iter().enumerate().map(|(at, name)| (format!("n{at}"), name.to_string())).collect();
        let host = format!("{label}.local.");
        let mut info =
            ServiceInfo::new(SERVICE, &label, &host, "", self.port, &texts[..])?.enable_addr_auto();
        // A random name of 80 bits is nobody's.
        info.set_requires_probe(false);
        let name = info.get_fullname().to_owned();
        self.daemon.register(info)?;
        Ok(name)
    }

    /// Whether more is kept of the local network than should be.
    async fn is_flooded(&self) -> bool {
        let Ok(metrics) = self.daemon.get_metrics() else { return false };
        let Ok(Ok(metrics)) = timeout(LAN_CHECK, metrics.recv_async()).await else { return false };
        let kept: i64 =
            metrics.iter().filter(|(name, _)| name.starts_with("cached-")).map(|(_, count)| *count).sum();
        kept > LAN_RECORDS_MAX
    }
}

impl Neighbours {
    /// Listens for other topics; whoever was heard already is told of.
    fn listen_for(&mut self, wanted: &Wanted, tell: &Tell) {
        let days = wanted.day.saturating_sub(1)..=wanted.day.saturating_add(1);
        let named = |topic: &Topic| days.clone().map(|day| (topic.on_lan(day), *topic)).collect::<Vec<_>>();
        self.names = wanted.topics.iter().flat_map(named).collect();
        self.tell_of_all(tell);
    }

    fn hear(&mut self, event: ServiceEvent, tell: &Tell) {
        match event {
            ServiceEvent::ServiceResolved(service) if !self.own.contains(&service.fullname) => {
                let other = Other::read(&service);
                let is_known = self.others.get(&service.fullname) == Some(&other);
                let has_room =
                    self.others.len() < LAN_OTHERS_MAX || self.others.contains_key(&service.fullname);
                if !is_known {
                    self.tell_of(&other, tell);
                }
                if has_room {
                    self.others.insert(service.fullname, other);
                }
            }
            ServiceEvent::ServiceRemoved(_, name) => {
                self.others.remove(&name);
            }
            _ => {}
        }
    }

    fn tell_of_all(&self, tell: &Tell) {
        self.others.values().for_each(|other| self.tell_of(other, tell));
    }

    fn tell_of(&self, other: &Other, tell: &Tell) {
        if other.addresses.is_empty() {
            return;
        }
        let topics: std::collections::BTreeSet<Topic> =
            other.names.iter().filter_map(|name| self.names.get(name).copied()).collect();
        for topic in topics {
            tell(Heard { topic, addresses: other.addresses.clone() });
        }
    }
}

impl Other {
    /// What a service says, within bounds; what is not ours in it is passed over.
    fn read(service: &ResolvedService) -> Self {
        let texts = service.txt_properties.iter().filter_map(|text| LanName::parse(text.val_str()));
        let names = texts.take(LAN_TOPICS_PER_NAME).collect();
        let addresses = service.addresses.iter().filter_map(|ip| address(ip, service.port));
        let mut addresses: Vec<SocketAddr> =
            addresses.filter(|at| may_call(*at, NamedBy::Lan).is_ok()).collect();
        addresses.sort_unstable();
        addresses.truncate(LAN_ADDRESSES_MAX);
        Self { names, addresses }
    }
}

/// An address with the network that it was heard on, where it means nothing without.
fn address(ip: &ScopedIp, port: u16) -> Option<SocketAddr> {
    match ip {
        ScopedIp::V4(ip) => Some(SocketAddr::new((*ip.addr()).into(), port)),
        ScopedIp::V6(ip) => {
            let scope = if ip.addr().is_unicast_link_local() { ip.scope_id().index } else { 0 };
            Some(SocketAddrV6::new(*ip.addr(), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
