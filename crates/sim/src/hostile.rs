//! Members with bad intentions.
//!
//! Promise: each of them runs all of Shoal with a key and a role of its own, so that it gets as far as a member gets, and
//! then says something else than its engine does. What it says is made by the functions of `proto`, or is what was said
//! before.

use shoal_proto::batch::{Batch, Part};
use shoal_proto::digest::Sum;
use shoal_proto::dot::{Dot, Seen};
use shoal_proto::frame::RequestId;
use shoal_proto::hash::ContentId;
use shoal_proto::holding::HoldingMessage;
use shoal_proto::id::{Writer, WriterSalt};
use shoal_proto::key::DeviceKey;
use shoal_proto::message::{Channel, Message};
use shoal_proto::path::RelPath;
use shoal_proto::publication::Publication;
use shoal_proto::record::{Kind, Mode, Record, Timestamp, Version};
use shoal_proto::roster::{Founding, Role};

use crate::draw::Draw;

/// Most messages that a replayer remembers.
const REMEMBERED_MAX: usize = 64;

/// What a hostile member does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tamper {
    /// Its bytes are false.
    FalseBytes,
    /// Its lists are false.
    FalseLists,
    /// It claims to have everything, and to lack nothing.
    ClaimsAll,
    /// It answers no request for content.
    Silent,
    /// It says again what it said before, in a wrong place.
    Replays,
    /// It only reads, and publishes.
    Publishes,
    /// It writes, with counters near their end and paths that no disk likes.
    Absurd,
}

impl Tamper {
    /// One of them.
    pub fn draw(draw: &mut Draw) -> Self {
        const ALL: [Tamper; 7] = [
            Tamper::FalseBytes,
            Tamper::FalseLists,
            Tamper::ClaimsAll,
            Tamper::Silent,
            Tamper::Replays,
            Tamper::Publishes,
            Tamper::Absurd,
        ];
        ALL[draw.below(ALL.len())]
    }

    /// The role in which it came in.
    #[must_use]
    pub fn role(self) -> Role {
        if self == Self::Absurd { Role::Writer } else { Role::Reader }
    }
}

/// A hostile member: it changes what its engine says.
#[derive(Debug)]
pub struct Hostile {
    tamper: Tamper,
    draw: Draw,
    said: Vec<(RequestId, Message)>,
    /// What it publishes, made once.
    forged: Batch,
}

impl Hostile {
    /// A hostile member with this key.
    ///
    /// # Errors
    /// When what it publishes cannot be made; the text says why.
    pub fn new(tamper: Tamper, seed: u64, key: &DeviceKey, founding: &Founding) -> Result<Self, String> {
        let forged = forged(tamper, key, founding)?;
        Ok(Self { tamper, draw: Draw::new(seed), said: Vec::new(), forged })
    }

    /// The writer under which it publishes: nothing of it may be a head anywhere, if it only reads.
    #[must_use]
    pub fn writer(&self, founding: &Founding) -> Option<Writer> {
        (self.tamper.role() == Role::Reader).then(|| self.forged.publication.writer(&founding.share()))
    }

    /// The paths that it takes as a writer, with versions of which nobody has the bytes.
    pub fn forsaken(&self) -> impl Iterator<Item = RelPath> + '_ {
        let is_taken = self.tamper == Tamper::Absurd;
        self.forged.records.iter().filter(move |_| is_taken).map(|record| record.path.clone())
    }

    /// What it says instead of this.
    pub fn say(&mut self, request: RequestId, message: Message) -> Vec<(RequestId, Message)> {
        match (self.tamper, message) {
            (Tamper::FalseBytes, Message::Content { number, from, is_last, mut bytes }) => {
                if let Some(byte) = bytes.first_mut() {
                    *byte ^= 1;
                }
                vec![(request, Message::Content { number, from, is_last, bytes })]
            }
            (Tamper::FalseLists, Message::List(mut list)) => {
                let at = self.draw.below(list.len());
                if let Some(byte) = list.get_mut(at) {
                    *byte ^= 1;
                }
                vec![(request, Message::List(list))]
            }
            (Tamper::ClaimsAll, Message::Holding { channel, message }) => {
                let root = match &message {
                    HoldingMessage::Lacking { end: Some(root), .. } => *root,
                    _ => Sum::default(),
                };
                vec![(request, Message::Holding { channel, message: HoldingMessage::complete(root) })]
            }
            (Tamper::Silent, Message::Content { .. } | Message::List(_) | Message::Unserved(_)) => Vec::new(),
            (Tamper::Replays, message) => self.replay(request, message),
            (Tamper::Publishes | Tamper::Absurd, message) => {
                let mut says = vec![(request, message)];
                if let Some(channel) = after_meeting(&says[0].1) {
                    let batches = vec![self.forged.clone()];
                    says.push((RequestId::NONE, Message::Records { channel, batches }));
                }
                says
            }
            (_, message) => vec![(request, message)],
        }
    }

    fn replay(&mut self, request: RequestId, message: Message) -> Vec<(RequestId, Message)> {
        let mut says = vec![(request, message.clone())];
        if self.said.len() < REMEMBERED_MAX {
            self.said.push((request, message));
        }
        if self.draw.one_in(5) {
            says.push(self.said[self.draw.below(self.said.len())].clone());
        }
        says
    }
}

/// The channel, once both ends know each other: before that it would be out of turn.
fn after_meeting(message: &Message) -> Option<Channel> {
    match message {
        Message::Reconcile { channel, .. } | Message::Holding { channel, .. } => Some(*channel),
        _ => None,
    }
}

/// A publication with two records of what its author never had.
fn forged(tamper: Tamper, key: &DeviceKey, founding: &Founding) -> Result<Batch, String> {
    let (share, salt) = (founding.share(), WriterSalt([0xbd; 16]));
    let writer = Writer::drawn(&key.device(), &share, &salt);
    let counter = if tamper == Tamper::Absurd { u64::MAX - 1 } else { 1 };
    let paths: [&[u8]; 2] = if tamper == Tamper::Absurd {
        [b"\x1b[2J\xff\xfe", b"con/aux:/ . /\xe2\x80\xae"]
    } else {
        [b"a", b"plan.txt"]
    };
    let mut records = Vec::new();
    for (path, number) in paths.into_iter().zip(0_u8..) {
        let dot = Dot::new(writer, counter + u64::from(number));
        let content = ContentId::from_bytes([0xbd + number; 32]);
        let mtime = Timestamp::new(i64::MAX, 999_999_999).unwrap_or_default();
        let record = Record {
            path: RelPath::parse(path).map_err(|error| error.to_string())?,
            version: Version::new(Kind::File { size: 9, content }, mtime, Mode::from_bits(0o777)),
            dot,
            seen: Seen::default(),
            origin: dot,
            displaced: Box::default(),
            copy_of: None,
        };
        records.push(record.check().map_err(|error| error.to_string())?);
    }
    let hashes: Vec<_> = records.iter().map(Record::hash).collect();
    let publication =
        Publication::sign(key, &share, salt, None, &hashes).map_err(|error| error.to_string())?;
    Ok(Batch { publication, part: Part::Whole, records })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile(tamper: Tamper) -> (Hostile, Founding) {
        let key = DeviceKey::from_seed(&[1; 32]);
        let founding = Founding { creator: key.device(), random: [2; 32], cut: 1 };
        (Hostile::new(tamper, 7, &key, &founding).unwrap(), founding)
    }

    fn content() -> Message {
        Message::Content { number: 0, from: 0, is_last: true, bytes: b"true".to_vec() }
    }

    #[test]
    fn a_liar_lies_and_a_silent_one_is_silent() {
        let (mut liar, _) = hostile(Tamper::FalseBytes);
        assert_ne!(liar.say(RequestId(1), content()), [(RequestId(1), content())]);
        assert_eq!(liar.say(RequestId(1), Message::Ping), [(RequestId(1), Message::Ping)]);
        assert_eq!(hostile(Tamper::Silent).0.say(RequestId(1), content()), []);
    }

    /// I26, I27: what is forged is signed well, so that only the roster can refuse it; each message can be written.
    #[test]
    fn what_is_forged_passes_all_checks_but_that_of_rights() {
        for tamper in [Tamper::Publishes, Tamper::Absurd] {
            let (mut forger, founding) = hostile(tamper);
            let holding = Message::Holding { channel: Channel(0), message: HoldingMessage::LackingMany };
            let says = forger.say(RequestId::NONE, holding);
            let (_, Message::Records { batches, .. }) = &says[1] else { panic!("{says:?}") };
            assert!(batches[0].verify(&founding.share()).is_ok());
            assert!(says[1].1.write(&mut Vec::new(), RequestId::NONE).is_ok());
            assert_eq!(forger.writer(&founding).is_some(), tamper == Tamper::Publishes);
        }
    }
}
