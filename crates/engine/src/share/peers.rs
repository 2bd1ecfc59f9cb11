//! The share on its connections: what is told to whom, and who has what.
//!
//! Promise: who is no member is told nothing but the roster's entries ([`Link`]), and is served nothing. What another end
//! says of what it has is taken in between the same index jobs in which it said it, so that nobody counts as having what
//! it has not seen (I31).

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::batch::Batch;
use shoal_proto::digest::Sum;
use shoal_proto::frame::RequestId;
use shoal_proto::hash::{ContentId, RecordHash};
use shoal_proto::holding::{Has, Holding, HoldingMessage};
use shoal_proto::id::{DeviceId, WriterSalt};
use shoal_proto::limits::{HOLDING_PAGE_RECORDS_MAX, LACKING_RECORDS_MAX};
use shoal_proto::message::{Channel, Goodbye, Message};
use shoal_proto::record::{Kind, Record};
use shoal_proto::secret::Side;

use super::{Out, Share, Stage, Waiting, Wake};
use crate::fetch::{Holdings, News, Tag};
use crate::index::{self, Life};
use crate::io::{Conn, Now};
use crate::limits::{HAVE_DELAY, ROUND_DELAY, ROUND_PAUSE, STREAM_PAUSE, STREAMS_MAX};
use crate::link::{Action, Closed, Link};
use crate::serve::asks_for_bytes;
use crate::status::PeerStatus;
use crate::store::{self, Merge};
use crate::time::Time;
use crate::transfer::{AskId, SourceId};

/// The share on one connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) device: DeviceId,
    pub(super) channel: Channel,
    link: Link,
    /// What the other end's writer was drawn with; known once it has said so.
    salt: Option<WriterSalt>,
    pub(super) holding: Holding,
    pub(super) since: Time,
    /// Both have held the same records once.
    pub(super) has_agreed: bool,
    /// What the other end was not told of what is here, since the connection was full.
    is_left_out: bool,
    /// It can be asked for content.
    is_source: bool,
}

impl Peer {
    /// From the first agreement on a record that goes over counts as lacking at the other end until it says otherwise,
    /// unless the other end is its author.
    fn is_told(&mut self, message: &Message) {
        let Message::Records { batches, .. } = message else { return };
        if !self.has_agreed {
            return;
        }
        for batch in batches {
            let is_author = batch.publication.device == self.device;
            for record in &batch.records {
                self.holding.announced(record.hash(), is_author || !has_bytes(record));
            }
        }
    }
}

impl Share {
    // ── connections ──

    /// Both ends of a connection have this share.
    pub(crate) fn connected(
        &mut self,
        conn: Conn,
        device: DeviceId,
        channel: Channel,
        side: Side,
        exporter: [u8; 32],
        now: Now,
    ) {
        self.now = now;
        let mut link = Link::new(channel, side, device, exporter);
        if self.has_streamed(&device) {
            link = link.without_stream();
        }
        let actions = link.start();
        let peer = Peer {
            device,
            channel,
            link,
            salt: None,
            holding: Holding::default(),
            since: now.time,
            has_agreed: false,
            is_left_out: false,
            is_source: false,
        };
        self.peers.insert(conn, peer);
        self.act(conn, actions);
        self.go_on();
    }

    /// A connection is over.
    pub(crate) fn disconnected(&mut self, conn: Conn, now: Now) {
        self.now = now;
        self.leave(conn);
        self.go_on();
    }

    fn leave(&mut self, conn: Conn) {
        let judged_at = self.judges_invites_at(conn);
        if let Some(mut peer) = self.peers.remove(&conn) {
            // What it said of the roster may be why the connection is over.
            for job in peer.link.unheard_entries(judged_at) {
                self.index(Waiting::Link(conn), index::Job::Link(job));
            }
            self.fetch.disconnected(source(conn));
            self.serve.disconnected(source(conn));
            self.timers.clear(&Wake::Round(conn));
            self.timers.clear(&Wake::Forgive(conn));
            // Who resolves when is another question now.
            self.planner.is_dirty |= self.resolver.is_waiting();
        }
    }

    /// Whether more may be read from a connection.
    pub(crate) fn is_reading(&self, conn: Conn) -> bool {
        self.peers.get(&conn).is_none_or(|peer| !peer.link.is_full())
    }

    /// The time by which it is judged whether the invite of another end has expired. Who is new here does not know who came in
    /// while it was good: whom it came by, it believes, and nobody else. Who has lost its index has its roster still
    /// (I18), and if not, a device that was removed may be the first to call (I26).
    fn judges_invites_at(&self, conn: Conn) -> u64 {
        let other = self.peers.get(&conn).map(|peer| peer.device);
        let is_host = |life: &Life| !life.first_contact && other.is_some_and(|it| life.hosts.contains(&it));
        if self.life.as_ref().is_some_and(is_host) { 0 } else { self.now.wall }
    }

    /// What was sent on a connection is mostly on its way.
    pub(crate) fn drained(&mut self, conn: Conn, now: Now) {
        self.now = now;
        self.serve.drained(source(conn));
        let judged_at = self.judges_invites_at(conn);
        if let Some(peer) = self.peers.get_mut(&conn) {
            let actions = peer.link.drained(judged_at);
            self.act(conn, actions);
            self.tell_what_was_left_out(conn);
        }
        self.go_on();
    }

    /// A message on this share's channel.
    pub(crate) fn received(&mut self, conn: Conn, request: RequestId, message: Message, now: Now) {
        self.now = now;
        if let Message::Opened { salt, .. } = message
            && self.is_clone(conn, salt)
        {
            self.out.push_back(Out::HangUp(conn, Some(Goodbye::Clone)));
            return self.leave(conn);
        }
        if let Message::Refused { why, .. } = message {
            self.is_refused(conn, why);
            return self.go_on();
        }
        let judged_at = self.judges_invites_at(conn);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if asks_for_bytes(&message) && peer.link.is_live() {
            self.asked(conn, request, message);
        } else {
            peer.is_told(&message);
            let actions = peer.link.handle(request, message, judged_at);
            self.act(conn, actions);
        }
        self.go_on();
    }

    /// What was asked for with this number is answered, or a part of it. Whether more may come.
    pub(crate) fn answered(&mut self, conn: Conn, number: AskId, message: Message, now: Now) -> bool {
        self.now = now;
        self.fetch.received(source(conn), number, message, now.time);
        self.go_on();
        self.fetch.is_asking(number)
    }

    /// The other end needs no answer to a request any more.
    pub(crate) fn cancelled(&mut self, conn: Conn, request: RequestId, now: Now) {
        self.now = now;
        if self.peers.get(&conn).is_some_and(|peer| peer.is_source) {
            self.asked(conn, request, Message::Cancel);
        }
        self.go_on();
    }

    /// The other end asks for content, or needs no answer any more.
    fn asked(&mut self, conn: Conn, request: RequestId, message: Message) {
        if self.serve.asked(source(conn), request, message).is_err() {
            self.out.push_back(Out::HangUp(conn, Some(Goodbye::Protocol)));
            self.leave(conn);
        }
    }

    /// What the index says of what was asked for; what it does not have may be staged.
    pub(super) fn served(&mut self, tag: Tag, answer: index::Answer) {
        let fetch = &self.fetch;
        self.serve.indexed(tag, answer, |asked| fetch.staged(asked));
    }

    /// Whether a device is connected already, with another writer: one of the two is a copy. Notes the salt.
    fn is_clone(&mut self, conn: Conn, salt: WriterSalt) -> bool {
        let Some(peer) = self.peers.get_mut(&conn) else { return false };
        peer.salt = Some(salt);
        let device = peer.device;
        let own = self.life.as_ref().map(|life| life.me.salt);
        let is_other = |other: &Peer| other.device == device && other.salt.is_some_and(|other| other != salt);
        device == self.device && own != Some(salt) || self.peers.values().any(is_other)
    }

    // ── links ──

    pub(super) fn link_answered(&mut self, conn: Conn, answer: store::Answer) {
        let judged_at = self.judges_invites_at(conn);
        let Some(peer) = self.peers.get_mut(&conn) else { return self.is_told_late(answer) };
        let actions = peer.link.answered(answer, judged_at);
        self.act(conn, actions);
    }

    /// What the index took in of a connection that is over since: it is known here all the same, and nobody else was told.
    fn is_told_late(&mut self, answer: store::Answer) {
        match answer {
            store::Answer::Merged(Merge::Done(new)) if !new.is_empty() => {
                self.is_untold = true;
                self.planner.is_dirty = true;
                self.each_link(None, |link, now| link.offer(&new, now));
            }
            store::Answer::Entered { fresh, published, .. } if !fresh.is_empty() => {
                self.index(Waiting::Life, index::Job::Life);
                self.have_entered(&fresh, &published);
            }
            _ => {}
        }
    }

    /// The index has taken up entries that nobody else was told of.
    pub(super) fn have_entered(&mut self, fresh: &[Vec<u8>], published: &[Batch]) {
        self.each_link(None, |link, now| link.entries(fresh, now));
        self.publish(published);
    }

    fn act(&mut self, conn: Conn, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(message) => self.send(conn, message),
                Action::Perform(job) => self.index(Waiting::Link(conn), index::Job::Link(job)),
                Action::Spread(records) => {
                    self.is_untold = true;
                    self.planner.hears(self.now.time);
                    self.each_link(Some(conn), |link, now| link.offer(&records, now));
                }
                Action::SpreadEntries(entries) => {
                    self.index(Waiting::Life, index::Job::Life);
                    self.each_link(Some(conn), |link, now| link.entries(&entries, now));
                }
                Action::Published(batches) => self.publish(&batches),
                Action::Holding(message, root) => self.is_told_holding(conn, message, root),
                Action::Asked(request, message) => self.asked(conn, request, message),
                Action::Streams => self.streams(conn),
                Action::InSync => self.agreed(conn),
                Action::Changed => {
                    self.timers.set_no_later(Wake::Round(conn), self.now.time.after(ROUND_DELAY));
                }
                Action::Stuck => {
                    self.timers.set_no_later(Wake::Forgive(conn), self.now.time.after(ROUND_PAUSE));
                }
                Action::NewWriter(agreed) => {
                    let salt = self.salts.draw();
                    self.index(Waiting::NewWriter, index::Job::NewWriter(salt, agreed));
                }
                // Once the index answers again, all is begun anew.
                Action::Close(Closed::Index(_)) => self.hang_up_on(conn),
                Action::Close(_) => {
                    self.out.push_back(Out::Leave(conn));
                    self.leave(conn);
                }
            }
        }
        self.may_be_live(conn);
    }

    /// Once both ends know each other, each can ask the other for content.
    fn may_be_live(&mut self, conn: Conn) {
        if let Some(peer) = self.peers.get_mut(&conn)
            && peer.link.is_live()
            && !core::mem::replace(&mut peer.is_source, true)
        {
            self.fetch.connected(source(conn), peer.channel);
            self.may_have_source();
            self.serve.connected(source(conn));
            self.tell_parts(conn);
        }
    }

    /// Sends what a link says.
    fn send(&mut self, conn: Conn, message: Message) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.is_told(&message);
        }
        self.out.push_back(Out::Send(conn, RequestId::NONE, message));
    }

    fn each_link(&mut self, but: Option<Conn>, tell: impl Fn(&mut Link, u64) -> Vec<Action>) {
        let conns: Vec<Conn> = self.peers.keys().copied().filter(|conn| Some(*conn) != but).collect();
        for conn in conns {
            let judged_at = self.judges_invites_at(conn);
            if let Some(peer) = self.peers.get_mut(&conn) {
                let actions = tell(&mut peer.link, judged_at);
                self.act(conn, actions);
            }
        }
    }

    pub(super) fn tell_published(&mut self, batches: &[Batch]) {
        self.each_link(None, |link, now| link.published(batches, now));
    }

    pub(super) fn begin_round(&mut self, conn: Conn) {
        let judged_at = self.judges_invites_at(conn);
        if let Some(peer) = self.peers.get_mut(&conn) {
            let actions = peer.link.begin_round(judged_at);
            self.act(conn, actions);
        }
    }

    /// What made a conversation wait is forgotten: it begins anew.
    pub(super) fn forgive(&mut self, conn: Conn) {
        let Some(device) = self.peers.get(&conn).map(|peer| peer.device) else { return };
        let may_stream = !self.has_streamed(&device);
        let judged_at = self.judges_invites_at(conn);
        if let Some(peer) = self.peers.get_mut(&conn) {
            let actions = peer.link.forgive(may_stream, judged_at);
            self.act(conn, actions);
        }
    }

    /// A member that says to be empty gets everything; a few times, and then not again for long, however often it connects.
    fn streams(&mut self, conn: Conn) {
        let Some(device) = self.peers.get(&conn).map(|peer| peer.device) else { return };
        self.streamed.entry(device).or_default().push(self.now.time);
    }

    fn has_streamed(&mut self, device: &DeviceId) -> bool {
        let now = self.now.time;
        self.streamed.retain(|_, began| {
            began.retain(|began| now.since(*began) < STREAM_PAUSE);
            !began.is_empty()
        });
        self.streamed.get(device).is_some_and(|began| began.len() >= STREAMS_MAX)
    }

    /// Both ends hold the same records.
    fn agreed(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.has_agreed = true;
        if self.is_new_here() {
            self.has_met();
        }
        if self.is_out() {
            // Who lets it in knows more than who has refused it.
            self.index(Waiting::Life, index::Job::Life);
        }
        self.index(Waiting::Statement(vec![conn]), index::Job::Lacking(LACKING_RECORDS_MAX));
    }

    /// A new writer was drawn: who speaks to this device gets to know it anew.
    pub(super) fn begin_anew(&mut self) {
        self.index(Waiting::Life, index::Job::Life);
        self.hang_up_on_all();
    }

    pub(super) fn hang_up_on_all(&mut self) {
        let conns: Vec<Conn> = self.peers.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.hang_up_on(conn));
    }

    fn hang_up_on(&mut self, conn: Conn) {
        self.out.push_back(Out::HangUp(conn, None));
        self.leave(conn);
    }

    /// Who is no member any more is told so, and nothing else.
    pub(super) fn part_with_removed(&mut self) {
        let is_removed = |peer: &Peer| self.is_gone(&peer.device);
        let conns: Vec<Conn> =
            self.peers.iter().filter(|(_, peer)| is_removed(peer)).map(|(conn, _)| *conn).collect();
        conns.into_iter().for_each(|conn| self.part_with(conn));
    }

    pub(super) fn part_with_all(&mut self) {
        let conns: Vec<Conn> = self.peers.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.part_with(conn));
    }

    fn part_with(&mut self, conn: Conn) {
        let words = self.peers.get_mut(&conn).map(|peer| peer.link.last_words()).unwrap_or_default();
        self.out.extend(words.into_iter().map(|message| Out::Send(conn, RequestId::NONE, message)));
        self.out.push_back(Out::Leave(conn));
        self.leave(conn);
    }

    // ── who has what ──

    /// What the other end has said, together with the root of the records here at that moment.
    pub(super) fn is_told_holding(&mut self, conn: Conn, message: HoldingMessage, root: Sum) {
        let segments = |content: &ContentId| self.fetch.segments(content);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let told = message.clone();
        if peer.holding.apply(message, root, segments).is_err() {
            self.out.push_back(Out::HangUp(conn, Some(Goodbye::Protocol)));
            self.leave(conn);
            return;
        }
        let news = match &told {
            HoldingMessage::Have(records) => News::Records(records),
            HoldingMessage::Segments(part) => News::Segments(&part.content),
            HoldingMessage::Lacking { .. } | HoldingMessage::LackingMany => News::Other,
        };
        self.fetch.learned(source(conn), news);
        self.may_have_source();
    }

    /// Says what is lacking here, once the folder was looked through: before that nobody knows what its user has done since.
    pub(super) fn state(&mut self, conns: &[Conn], records: &BTreeSet<RecordHash>, root: Sum) {
        if matches!(self.stage, Stage::Starting | Stage::Scanning) {
            return;
        }
        for conn in conns {
            self.tell_holding(*conn, HoldingMessage::statement(records, root));
        }
    }

    /// Says what of a share's bytes is here, unless the connection is full: then it is said anew once there is room.
    fn tell_holding(&mut self, conn: Conn, messages: impl IntoIterator<Item = HoldingMessage>) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if !peer.link.has_room() {
            peer.is_left_out = true;
            return;
        }
        let channel = peer.channel;
        for message in messages {
            let message = Message::Holding { channel, message };
            peer.link.has_sent(&message);
            self.out.push_back(Out::Send(conn, RequestId::NONE, message));
        }
    }

    fn tell_what_was_left_out(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if peer.link.has_room() && core::mem::take(&mut peer.is_left_out) {
            self.tell_parts(conn);
            self.index(Waiting::Statement(vec![conn]), index::Job::Lacking(LACKING_RECORDS_MAX));
        }
    }

    /// The bytes of these records are here now.
    pub(super) fn has_come(&mut self, record: RecordHash) {
        self.had.insert(record);
        self.timers.set_no_later(Wake::Have, self.now.time.after(HAVE_DELAY));
    }

    pub(super) fn tell_had(&mut self) {
        let had: Vec<RecordHash> = core::mem::take(&mut self.had).into_iter().collect();
        let parts = self.fetch.fresh_parts();
        for conn in self.who_has_agreed() {
            let records =
                had.chunks(HOLDING_PAGE_RECORDS_MAX).map(|page| HoldingMessage::Have(page.to_vec()));
            let segments = parts.iter().cloned().map(HoldingMessage::Segments);
            self.tell_holding(conn, records.chain(segments));
        }
    }

    fn who_has_agreed(&self) -> Vec<Conn> {
        self.peers.iter().filter(|(_, peer)| peer.has_agreed).map(|(conn, _)| *conn).collect()
    }

    /// Who connects while contents are on their way is told what of them is here.
    fn tell_parts(&mut self, conn: Conn) {
        self.tell_holding(conn, self.fetch.told_parts().into_iter().map(HoldingMessage::Segments));
    }

    /// Once there is nothing left to do, everybody is told what is lacking here.
    pub(super) fn tell_on(&mut self) {
        if self.is_untold && !self.is_busy() {
            self.is_untold = false;
            self.state_anew();
        }
    }

    /// Says what is lacking to all who hold the same records.
    pub(super) fn state_anew(&mut self) {
        let conns = self.who_has_agreed();
        if !conns.is_empty() {
            self.index(Waiting::Statement(conns), index::Job::Lacking(LACKING_RECORDS_MAX));
        }
    }

    // ── content ──

    pub(super) fn fetch_on(&mut self) {
        use crate::fetch::Do;
        let now = self.now.time;
        while let Some(next) = self.fetch.poll(now, &Held(&self.peers)) {
            match next {
                Do::Index(tag, job) => self.index(Waiting::Fetch(tag), job),
                Do::Disk(tag, job) => self.disk(Waiting::Fetch(tag), job),
                Do::Ask(source, number, message) => {
                    self.out.push_back(Out::Ask(conn(source), number, message));
                }
                Do::Cancel(source, number) => self.out.push_back(Out::Cancel(conn(source), number)),
                Do::GiveUp(source, _) => {
                    self.out.push_back(Out::HangUp(conn(source), Some(Goodbye::Protocol)));
                    self.leave(conn(source));
                }
                Do::Done(stage) => self.fetched(stage),
                // It is tried again; until then the status says so.
                Do::NoSpace(_) => {}
                Do::Failed(stage, why) => self.fetch_failed(stage, why),
            }
        }
        match self.fetch.next_wake(now) {
            Some(at) => self.timers.set(Wake::Fetch, at),
            None => self.timers.clear(&Wake::Fetch),
        }
    }

    pub(super) fn serve_on(&mut self) {
        use crate::serve::Do;
        while let Some(next) = self.serve.poll() {
            match next {
                Do::Index(tag, job) => self.index(Waiting::Serve(tag), job),
                Do::Disk(tag, job) => self.disk(Waiting::Serve(tag), job),
                Do::Send(source, request, message) => {
                    self.out.push_back(Out::Send(conn(source), request, message));
                }
            }
        }
    }

    // ── what is said of them ──

    /// How a connected member stands to this device.
    pub(super) fn peer_status(&self, peer: &Peer) -> PeerStatus {
        match (peer.link.is_in_sync(), peer.holding.lacks()) {
            (false, _) => PeerStatus::Comparing,
            (true, None) => PeerStatus::NotTold,
            (true, Some(0)) => PeerStatus::InSync,
            (true, Some(count)) => PeerStatus::Lacking(count),
        }
    }
}

/// What the other ends have said to have.
pub(super) struct Held<'a>(pub(super) &'a BTreeMap<Conn, Peer>);

impl Holdings for Held<'_> {
    fn has(&self, source: SourceId, record: &RecordHash) -> Has {
        self.0.get(&conn(source)).map_or(Has::No, |peer| peer.holding.has(record))
    }

    fn has_segment(&self, source: SourceId, content: &ContentId, segment: u32) -> Has {
        self.0.get(&conn(source)).map_or(Has::No, |peer| peer.holding.has_segment(content, segment))
    }
}

/// Whether a record's version has bytes to be fetched.
pub(super) fn has_bytes(record: &Record) -> bool {
    matches!(record.version.kind, Kind::File { size: 1.., .. })
}

fn source(conn: Conn) -> SourceId {
    SourceId(conn.0)
}

fn conn(source: SourceId) -> Conn {
    Conn(source.0)
}

#[cfg(test)]
mod tests;
