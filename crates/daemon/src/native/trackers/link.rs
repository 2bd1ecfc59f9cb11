//! One tracker: a connection to it that is kept, and what it has been told.
//!
//! Promise: whenever the tracker can be reached it knows what it should of us, and we what it tells; in between it is tried
//! at growing intervals. What it says is bounded in size and in number; a tracker that says more is left for a while.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use shoal_net::reach::may_call;
use shoal_net::{
    Candidate, Expected, Identity, Incoming, NamedBy, NetError, Outgoing, Purpose, Secured, WireError, dial,
};
use shoal_proto::announce::{AnnounceError, FromTracker, ToTracker, TrackerRefusal};
use shoal_proto::frame::RequestId;
use shoal_proto::invite::Address;
use shoal_proto::limits::{ANNOUNCED_ADDRESSES_MAX, TRACKER_BODY_BYTES_MAX};
use shoal_proto::secret::{Pseudonym, Topic};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::book::Source;
use super::pause::{Pauses, draw, varied};
use super::{LEASE_SECONDS, Office, Wishes};

/// Most addresses of one tracker that are tried in turn.
const TRIED_MAX: usize = 4;

/// How long a tracker may take to answer an announcement.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection that stood for so long was a good one: the next one is tried soon after it.
const GOOD: Duration = Duration::from_secs(60);

/// The shortest time after which an announcement is renewed, however short the tracker's leases are.
const RENEW_MIN: Duration = Duration::from_secs(30);

/// When to ask again what was refused: because it was too much at once, or because there is no room.
const OFTEN_PAUSE: Duration = Duration::from_secs(60);
const FULL_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Most messages a minute that are taken from a tracker, and as many more for each topic.
const MESSAGES_MAX: usize = 1000;
const MESSAGES_PER_TOPIC_MAX: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);

/// A tracker that is asked.
pub(super) struct Link {
    tracker: Address,
    source: Source,
    wishes: watch::Receiver<Wishes>,
    office: Arc<Office>,
}

/// Why a connection to a tracker did not come to be, or ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("nobody knows an address of that name")]
    NoAddress,
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("it sent {0}")]
    Message(#[from] AnnounceError),
    #[error("it hung up")]
    HungUp,
    #[error("it did not answer within {} s", ANSWER.as_secs())]
    NoAnswer,
    #[error("it says too much")]
    TooMuch,
}

impl Link {
    pub(super) const fn new(
        tracker: Address,
        source: Source,
        wishes: watch::Receiver<Wishes>,
        office: Arc<Office>,
    ) -> Self {
        Self { tracker, source, wishes, office }
    }

    /// Asks its tracker until nobody wants that any more.
    pub(super) async fn run(mut self) {
        let mut pauses = Pauses::default();
        loop {
            let tracker = self.tracker.clone();
            let is_wanted = move |wishes: &Wishes| wishes.trackers.contains(&tracker);
            // Who has nothing to ask does not call.
            let asks = self.wishes.wait_for(|wishes| !is_wanted(wishes) || !wishes.topics.is_empty()).await;
            if asks.map_or(true, |wishes| !is_wanted(&wishes)) {
                return;
            }
            let began = Instant::now();
            let visited = self.visit().await;
            let problem = visited.err().map(|error| error.to_string());
            tracing::debug!(tracker = %self.tracker.as_str(), problem, "connection with a tracker ended");
            self.office.state(&self.tracker, None, problem);
            self.office.note(|book| {
                book.lost(self.source, Instant::now());
                Vec::new()
            });
            if began.elapsed() >= GOOD {
                pauses.reset();
            }
            tokio::select! {
                () = sleep(pauses.next(draw())) => {}
                _ = self.wishes.wait_for(|wishes| !is_wanted(wishes)) => {}
            }
        }
    }

    async fn visit(&mut self) -> Result<(), LinkError> {
        let candidates = Candidate::of(&self.tracker, NamedBy::User).await;
        let mut failed = LinkError::NoAddress;
        for Candidate { address, .. } in candidates.into_iter().take(TRIED_MAX) {
            // A new key each time: nothing but our address says that we have been there before.
            match dial(address, &Identity::nameless(), Expected::Anyone, Purpose::Tracker).await {
                Ok(secured) => return self.converse(secured).await,
                Err(error) => failed = error.into(),
            }
        }
        Err(failed)
    }

    /// Until there is nothing to ask any more.
    async fn converse(&mut self, secured: Secured) -> Result<(), LinkError> {
        let tracker = secured.seen;
        let (mut incoming, outgoing) = secured.split();
        incoming.allow(TRACKER_BODY_BYTES_MAX);
        self.office.state(&self.tracker, Some(tracker), None);
        let wishes = self.wishes.borrow_and_update().clone();
        let mut talk = Talk::new(wishes, Instant::now());
        loop {
            let is_over = !talk.wishes.trackers.contains(&self.tracker) || talk.wishes.topics.is_empty();
            if is_over {
                talk.wishes.topics.clear();
            }
            let said = talk.say(Instant::now());
            if !said.is_empty() {
                outgoing.push(said);
            }
            if is_over {
                goodbye(&mut incoming, &outgoing).await;
                return Ok(());
            }
            tokio::select! {
                // Nobody wishes anything any more, or something else.
                _ = self.wishes.changed() => talk.wishes = self.wishes.borrow_and_update().clone(),
                frame = incoming.next() => {
                    let frame = frame?.ok_or(LinkError::HungUp)?;
                    let request = frame.request;
                    if let Some(message) = FromTracker::read(&frame)? {
                        self.hear(&mut talk, message, request, tracker.ip())?;
                    }
                }
                () = sleep_until(talk.next) => talk.check(Instant::now())?,
            }
        }
    }

    fn hear(
        &self,
        talk: &mut Talk,
        message: FromTracker,
        request: RequestId,
        tracker: IpAddr,
    ) -> Result<(), LinkError> {
        let now = Instant::now();
        talk.count(now)?;
        match message {
            FromTracker::Leased { topic, lease_seconds, seen } => {
                talk.leased(topic, lease_seconds, seen.ip(), now);
            }
            FromTracker::Refused { topic, reason } => talk.refused(topic, reason, request, now),
            FromTracker::Peers { topic, mut peers } => {
                let Some(own) = talk.own_name(&topic) else { return Ok(()) };
                peers.retain(|(name, _)| *name != own);
                let is_all = request != RequestId::NONE;
                self.office.note(|book| book.told(self.source, tracker, topic, peers, is_all));
            }
            FromTracker::Left { topic, pseudonyms } => {
                if talk.own_name(&topic).is_some() {
                    self.office.note(|book| book.left(self.source, topic, &pseudonyms));
                }
            }
        }
        Ok(())
    }
}

/// Waits until what was said last has been taken, and the tracker has hung up.
async fn goodbye(incoming: &mut Incoming, outgoing: &Outgoing) {
    outgoing.close();
    while let Ok(Some(_)) = incoming.next().await {}
}

/// What a tracker has been told, over one connection.
struct Talk {
    wishes: Wishes,
    standing: BTreeMap<Topic, Standing>,
    /// Where the tracker sees us; what it says first counts.
    seen: Option<IpAddr>,
    /// When there is something to say next, or an answer is overdue.
    next: Instant,
    answer_by: Option<Instant>,
    last_request: u32,
    heard: usize,
    minute: Instant,
}

/// What the tracker knows under a topic.
struct Standing {
    announced: Option<(Pseudonym, Vec<SocketAddr>)>,
    announce_at: Instant,
    is_watched: bool,
    watch_at: Instant,
}

impl Talk {
    fn new(wishes: Wishes, now: Instant) -> Self {
        let standing = BTreeMap::new();
        Self {
            wishes,
            standing,
            seen: None,
            next: now,
            answer_by: None,
            last_request: 0,
            heard: 0,
            minute: now,
        }
    }

    /// All that is to be said now.
    fn say(&mut self, now: Instant) -> Vec<u8> {
        let mut out = Vec::new();
        let unwished: Vec<Topic> =
            self.standing.keys().filter(|topic| !self.wishes.topics.contains_key(*topic)).copied().collect();
        for topic in unwished {
            if let Some(standing) = self.standing.remove(&topic) {
                if let Some((pseudonym, _)) = standing.announced {
                    write(&mut out, &ToTracker::Withdraw { topic, pseudonym }, 0);
                }
                if standing.is_watched {
                    write(&mut out, &ToTracker::Unwatch { topic }, 0);
                }
            }
        }
        let addresses = self.addresses();
        self.next = now + MINUTE;
        for (topic, interest) in &self.wishes.topics {
            let topic = *topic;
            let standing = self.standing.entry(topic).or_insert(Standing {
                announced: None,
                announce_at: now,
                is_watched: false,
                watch_at: now,
            });
            let wanted = interest.is_announced.then(|| (interest.pseudonym, addresses.clone()));
            let is_new = standing.announced.is_some() && standing.announced != wanted;
            if let Some((pseudonym, _)) = standing
                .announced
                .take_if(|told| is_new && wanted.as_ref().is_none_or(|(pseudonym, _)| told.0 != *pseudonym))
            {
                write(&mut out, &ToTracker::Withdraw { topic, pseudonym }, 0);
            }
            if let Some((pseudonym, addresses)) = wanted {
                if is_new || standing.announce_at <= now {
                    self.last_request = self.last_request.wrapping_add(2) | 1;
                    let (lease_seconds, told) = (LEASE_SECONDS, addresses.clone());
                    let announce = ToTracker::Announce { topic, pseudonym, addresses, lease_seconds };
                    write(&mut out, &announce, self.last_request);
                    standing.announced = Some((pseudonym, told));
                    standing.announce_at = now + Duration::from_secs(LEASE_SECONDS.into()) / 2;
                    self.answer_by.get_or_insert(now + ANSWER);
                }
                self.next = self.next.min(standing.announce_at);
            }
            if !standing.is_watched && standing.watch_at <= now {
                self.last_request = (self.last_request.wrapping_add(2) & !1).max(2);
                write(&mut out, &ToTracker::Watch { topic }, self.last_request);
                standing.is_watched = true;
            } else if !standing.is_watched {
                self.next = self.next.min(standing.watch_at);
            }
        }
        self.next = self.answer_by.map_or(self.next, |answer_by| self.next.min(answer_by));
        out
    }

    /// Where we are, as far as anybody can call us there; at the address that the tracker sees, too.
    fn addresses(&self) -> Vec<SocketAddr> {
        let seen = self.seen.map(|ip| SocketAddr::new(ip, self.wishes.port));
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in seen.into_iter().chain(self.wishes.addresses.iter().copied()) {
            if may_call(address, NamedBy::User).is_ok()
                && !addresses.contains(&address)
                && addresses.len() < ANNOUNCED_ADDRESSES_MAX
            {
                addresses.push(address);
            }
        }
        addresses
    }

    fn leased(&mut self, topic: Topic, lease_seconds: u32, seen: IpAddr, now: Instant) {
        self.answer_by = None;
        self.seen.get_or_insert(seen.to_canonical());
        if let Some(standing) = self.standing.get_mut(&topic).filter(|standing| standing.announced.is_some())
        {
            let lease = Duration::from_secs(lease_seconds.min(LEASE_SECONDS).into());
            // Between an eighth and five eighths of it have passed then, and mostly less than half.
            standing.announce_at = now + varied(lease / 2, draw()).max(RENEW_MIN);
        }
    }

    fn refused(&mut self, topic: Topic, reason: TrackerRefusal, request: RequestId, now: Instant) {
        self.answer_by = None;
        let Some(standing) = self.standing.get_mut(&topic) else { return };
        let pause = match reason {
            TrackerRefusal::TooOften => OFTEN_PAUSE,
            TrackerRefusal::Full => FULL_PAUSE,
        };
        let again = now + pause / 2 + varied(pause, draw());
        // Announcements have odd requests; what is not asked for is about a watch that had to give way.
        if request.0 % 2 == 1 {
            standing.announce_at = again;
        } else {
            standing.is_watched = false;
            standing.watch_at = again;
        }
    }

    /// Whether an answer is overdue.
    fn check(&self, now: Instant) -> Result<(), LinkError> {
        match self.answer_by {
            Some(answer_by) if answer_by <= now => Err(LinkError::NoAnswer),
            _ => Ok(()),
        }
    }

    /// One more message has come.
    fn count(&mut self, now: Instant) -> Result<(), LinkError> {
        if now.duration_since(self.minute) >= MINUTE {
            (self.minute, self.heard) = (now, 0);
        }
        self.heard += 1;
        if self.heard > MESSAGES_MAX + MESSAGES_PER_TOPIC_MAX * self.wishes.topics.len() {
            return Err(LinkError::TooMuch);
        }
        Ok(())
    }

    /// What we are called under a topic that the tracker was asked about.
    fn own_name(&self, topic: &Topic) -> Option<Pseudonym> {
        self.standing.contains_key(topic).then_some(())?;
        self.wishes.topics.get(topic).map(|interest| interest.pseudonym)
    }
}

fn write(out: &mut Vec<u8>, message: &ToTracker, request: u32) {
    if let Err(error) = message.write(out, RequestId(request)) {
        tracing::error!(%error, "a message to a tracker was not sent");
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::frame::FrameReader;

    use super::super::Interest;
    use super::*;

    const TOPIC: Topic = Topic::from_bytes([1; 32]);
    const NAME: Pseudonym = Pseudonym::from_bytes([2; 32]);
    const PORT: u16 = 5000;

    fn talk(now: Instant) -> Talk {
        let interest = Interest { pseudonym: NAME, is_announced: true };
        let topics = [(TOPIC, interest)].into();
        Talk::new(Wishes { topics, port: PORT, ..Wishes::default() }, now)
    }

    /// What is said at that moment.
    fn said(talk: &mut Talk, now: Instant) -> Vec<(ToTracker, RequestId)> {
        let mut frames = FrameReader::default();
        frames.push(&talk.say(now));
        let next = || {
            let frame = frames.next_frame().unwrap()?;
            Some((ToTracker::read(&frame).unwrap().unwrap(), frame.request))
        };
        std::iter::from_fn(next).collect()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn announcements_are_renewed_in_time_and_the_seen_address_is_added() {
        let now = Instant::now();
        let mut talk = talk(now);
        assert_eq!(said(&mut talk, now).len(), 2);
        assert_eq!(said(&mut talk, now), []);
        let seen: IpAddr = "192.0.2.1".parse().unwrap();
        talk.leased(TOPIC, 600, seen, now);
        let [(ToTracker::Announce { addresses, .. }, request)] = &said(&mut talk, now)[..] else { panic!() };
        assert_eq!((addresses.as_slice(), request.0 % 2), (&[SocketAddr::new(seen, PORT)][..], 1));
        // It may say another address each time; that changes nothing.
        talk.leased(TOPIC, 600, "192.0.2.2".parse().unwrap(), now);
        assert_eq!(said(&mut talk, now), []);
        let renewed = talk.next - now;
        assert!((seconds(30)..seconds(380)).contains(&renewed) || talk.next == now + MINUTE, "{renewed:?}");
        let later = now + seconds(380);
        assert!(matches!(said(&mut talk, later)[..], [(ToTracker::Announce { .. }, _)]));
        // Leases of a second do not make us say something each second.
        talk.leased(TOPIC, 1, seen, later);
        assert_eq!(said(&mut talk, later + seconds(29)), []);
        assert_eq!(said(&mut talk, later + seconds(30)).len(), 1);
    }

    #[tokio::test]
    async fn what_was_refused_is_tried_later_and_an_answer_is_waited_for_a_while() {
        let now = Instant::now();
        let mut talk = talk(now);
        let requests: Vec<RequestId> = said(&mut talk, now).into_iter().map(|(_, request)| request).collect();
        assert_eq!(talk.next, now + ANSWER);
        assert!(talk.check(now + ANSWER - seconds(1)).is_ok() && talk.check(now + ANSWER).is_err());
        talk.refused(TOPIC, TrackerRefusal::Full, requests[0], now);
        talk.refused(TOPIC, TrackerRefusal::TooOften, requests[1], now);
        assert!(talk.check(now + ANSWER).is_ok(), "a refusal is an answer");
        assert_eq!(said(&mut talk, now + seconds(44)), []);
        assert!(matches!(said(&mut talk, now + seconds(106))[..], [(ToTracker::Watch { .. }, _)]));
        assert!(matches!(said(&mut talk, now + seconds(526))[..], [(ToTracker::Announce { .. }, _)]));
        // A watch that had to give way is told unasked.
        talk.refused(TOPIC, TrackerRefusal::Full, RequestId::NONE, now + seconds(526));
        let again = said(&mut talk, now + seconds(526 + 526));
        assert!(matches!(again[..], [.., (ToTracker::Watch { .. }, _)]));
    }

    #[tokio::test]
    async fn another_name_takes_back_the_one_before() {
        let now = Instant::now();
        let mut talk = talk(now);
        said(&mut talk, now);
        let other = Pseudonym::from_bytes([3; 32]);
        talk.wishes.topics.insert(TOPIC, Interest { pseudonym: other, is_announced: true });
        let said: Vec<_> = said(&mut talk, now).into_iter().map(|(said, _)| said).collect();
        assert!(matches!(&said[..], [
            ToTracker::Withdraw { pseudonym: NAME, .. },
            ToTracker::Announce { pseudonym, .. },
        ] if *pseudonym == other));
    }
}
