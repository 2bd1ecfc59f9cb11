//! The beginning of a connection: which version both speak, and which shares both have.
//!
//! Promise: who knows none of our shares learns none, nor how many there are. The dialler, which knows whom it called,
//! shows proofs of its shares; the listener answers with proofs of those that it has too, and of no others. A proof is
//! good on this connection and in this direction only. Both ends then count the same channels: a share is named by its
//! place in the dialler's list.
//!
//! ```text
//! dialler                     listener
//! Hello, Shares          →
//!                        ←    Hello
//!                        ←    Shares: those that both have
//! ```

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::ShareId;
use shoal_proto::limits::SHARES_MAX;
use shoal_proto::message::{Channel, Goodbye, Message, VERSIONS, VersionsError};
use shoal_proto::secret::{ShareProof, ShareSecret, Side};

/// A share that may be spoken of on the connection, with its secrets, the newest first.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Which share.
    pub share: ShareId,
    /// What its members have, or had before a removal, in common.
    pub secrets: &'a [ShareSecret],
    /// Whether the other device was removed from it, and by these secrets is only to be told so.
    pub is_refused: bool,
}

/// The greeting of one end.
#[derive(Debug)]
pub struct Greeting {
    side: Side,
    /// Each share and secret once, in the order of the own list.
    own: Vec<Own>,
    state: State,
}

#[derive(Debug)]
struct Own {
    share: ShareId,
    is_refused: bool,
    as_dialler: ShareProof,
    as_listener: ShareProof,
}

#[derive(Debug)]
enum State {
    /// The other end's hello is awaited.
    Hello,
    /// Then its shares.
    Shares {
        version: u16,
        agent: String,
    },
    Over,
}

/// What both ends have agreed on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Agreed {
    /// The version of the protocol.
    pub version: u16,
    /// The shares that both have, by their names on this connection; never empty.
    pub channels: BTreeMap<Channel, ShareId>,
    /// Those of them that the other device was removed from, and shows no newer secret of.
    pub refused: BTreeSet<ShareId>,
    /// The other end's program, to be shown.
    pub agent: String,
}

/// What comes of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Greeted {
    /// The other end is not done.
    NotYet,
    /// This is to be sent; then both are done.
    Answer(Message, Agreed),
    /// Both are done.
    Done(Agreed),
}

/// Why there is nothing to talk about.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum GreetingError {
    /// No version in common.
    #[error(transparent)]
    Versions(#[from] VersionsError),
    /// No share in common.
    #[error("the other device has no share in common with this one")]
    NothingInCommon,
    /// It answered with a proof that does not belong to any share that was shown to it.
    #[error("the other device claims a share that was not offered to it")]
    FalseProof,
    /// Another message than the one whose turn it was.
    #[error("a message that does not belong into a greeting")]
    OutOfTurn,
    /// It says goodbye.
    #[error("the other device hung up: {}", reason(*.0))]
    Goodbye(Goodbye),
}

impl GreetingError {
    /// What to say to the other end before hanging up; nothing to who says goodbye itself.
    #[must_use]
    pub fn goodbye(self) -> Option<Goodbye> {
        match self {
            Self::Versions(_) => Some(Goodbye::Version),
            Self::NothingInCommon => Some(Goodbye::NothingInCommon),
            Self::FalseProof | Self::OutOfTurn => Some(Goodbye::Protocol),
            Self::Goodbye(_) => None,
        }
    }
}

impl Greeting {
    /// Begins a connection with this TLS exporter value, about these shares. Says what to send first. Only the first
    /// [`SHARES_MAX`] secrets are shown.
    #[must_use]
    pub fn begin<'a>(
        side: Side,
        exporter: &[u8; 32],
        shares: impl IntoIterator<Item = Known<'a>>,
        agent: &str,
    ) -> (Self, Vec<Message>) {
        let shares: Vec<_> = shares.into_iter().collect();
        // Newest secrets first: the bound would cost the oldest ones.
        let deepest = shares.iter().map(|known| known.secrets.len()).max().unwrap_or(0);
        let by_age = (0..deepest).flat_map(|age| {
            shares.iter().filter_map(move |known| known.secrets.get(age).map(|secret| (known, secret)))
        });
        let own: Vec<Own> = by_age
            .take(SHARES_MAX)
            .map(|(known, secret)| Own {
                share: known.share,
                is_refused: known.is_refused,
                as_dialler: secret.proof(exporter, Side::Dialler),
                as_listener: secret.proof(exporter, Side::Listener),
            })
            .collect();
        let mut messages = vec![Message::Hello { versions: VERSIONS, agent: agent.to_owned() }];
        if side == Side::Dialler {
            messages.push(Message::Shares(own.iter().map(|own| own.as_dialler).collect()));
        }
        (Self { side, own, state: State::Hello }, messages)
    }

    /// Takes the other end's next message.
    ///
    /// # Errors
    /// When there is nothing to talk about, or the other end breaks the rules: the connection is over.
    pub fn handle(&mut self, message: Message) -> Result<Greeted, GreetingError> {
        match (core::mem::replace(&mut self.state, State::Over), message) {
            (_, Message::Goodbye(goodbye)) => Err(GreetingError::Goodbye(goodbye)),
            (State::Hello, Message::Hello { versions, agent }) => {
                let version = VERSIONS.agree(versions)?;
                self.state = State::Shares { version, agent };
                Ok(Greeted::NotYet)
            }
            (State::Shares { version, agent }, Message::Shares(proofs)) => {
                let (channels, answer) = match self.side {
                    Side::Dialler => (self.answered(&proofs)?, None),
                    Side::Listener => {
                        let (channels, answer) = self.shown(&proofs);
                        (channels, Some(Message::Shares(answer)))
                    }
                };
                if channels.by_name.is_empty() {
                    return Err(GreetingError::NothingInCommon);
                }
                let Channels { by_name, refused, .. } = channels;
                let agreed = Agreed { version, channels: by_name, refused, agent };
                Ok(match answer {
                    Some(answer) => Greeted::Answer(answer, agreed),
                    None => Greeted::Done(agreed),
                })
            }
            _ => Err(GreetingError::OutOfTurn),
        }
    }

    /// The listener's part: which of the dialler's proofs are of own shares; and the own proofs of those.
    fn shown(&self, proofs: &[ShareProof]) -> (Channels, Vec<ShareProof>) {
        let own = |proof: &ShareProof| self.own.iter().find(|own| own.as_dialler == *proof);
        let places: Vec<(&Own, u16)> =
            proofs.iter().zip(0..).filter_map(|(proof, place)| Some((own(proof)?, place))).collect();
        let (mut channels, mut answer) = (Channels::default(), Vec::new());
        // Who shows a secret that it may know is not refused for those that it knew before.
        let (refused, known): (Vec<_>, Vec<_>) = places.into_iter().partition(|(own, _)| own.is_refused);
        for (own, place) in known.into_iter().chain(refused) {
            if channels.name(own, place) {
                answer.push(own.as_listener);
            }
        }
        (channels, answer)
    }

    /// The dialler's part: which of the own shares the listener has shown to know.
    fn answered(&self, proofs: &[ShareProof]) -> Result<Channels, GreetingError> {
        let mut channels = Channels::default();
        for proof in proofs {
            let places = self.own.iter().zip(0..);
            let (own, place) =
                { places }.find(|(own, _)| own.as_listener == *proof).ok_or(GreetingError::FalseProof)?;
            if !channels.name(own, place) {
                return Err(GreetingError::FalseProof);
            }
        }
        Ok(channels)
    }
}

/// Channels being named: each share once, by its newest secret that both know.
#[derive(Default)]
struct Channels {
    by_name: BTreeMap<Channel, ShareId>,
    named: BTreeSet<ShareId>,
    refused: BTreeSet<ShareId>,
}

impl Channels {
    fn name(&mut self, own: &Own, place: u16) -> bool {
        let is_new = self.named.insert(own.share);
        if is_new {
            self.by_name.insert(Channel(place), own.share);
            if own.is_refused {
                self.refused.insert(own.share);
            }
        }
        is_new
    }
}

fn reason(goodbye: Goodbye) -> &'static str {
    match goodbye {
        Goodbye::Stopping => "it stops",
        Goodbye::Version => "it speaks no version of the protocol that this side speaks",
        Goodbye::NothingInCommon => "it has no share in common with this device",
        Goodbye::Clone => {
            "it is connected already to a copy of this device; one of the two must be given a new identity"
        }
        Goodbye::Busy => "it has as many connections as it wants",
        Goodbye::Protocol => "it did not understand this side",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTER: [u8; 32] = [7; 32];

    fn secret(number: u8) -> ShareSecret {
        ShareSecret::from_bytes([number; 32])
    }

    fn share(number: u8) -> ShareId {
        ShareId::from_bytes([number; 32])
    }

    type Shares = Vec<(u8, Vec<u8>)>;

    fn begin(side: Side, exporter: [u8; 32], shares: &Shares) -> (Greeting, Vec<Message>) {
        let shares: Vec<(ShareId, Vec<ShareSecret>)> = shares
            .iter()
            .map(|(id, secrets)| (share(*id), secrets.iter().copied().map(secret).collect()))
            .collect();
        let known = shares.iter().map(|(share, secrets)| Known { share: *share, secrets, is_refused: false });
        Greeting::begin(side, &exporter, known, "shoal 1.0")
    }

    /// Plays a greeting; what each end has agreed on, or why not.
    fn greet(dialler: &Shares, listener: &Shares) -> [Result<Agreed, GreetingError>; 2] {
        let (mut dialler, first) = begin(Side::Dialler, EXPORTER, dialler);
        let (mut listener, hello) = begin(Side::Listener, EXPORTER, listener);
        let mut outcome = None;
        for message in first {
            match listener.handle(message) {
                Ok(Greeted::NotYet) => {}
                Ok(Greeted::Answer(answer, agreed)) => outcome = Some((Ok(agreed), answer)),
                Ok(Greeted::Done(_)) => panic!("a listener answers"),
                Err(error) => outcome = Some((Err(error), Message::Goodbye(error.goodbye().unwrap()))),
            }
        }
        let (listened, answer) = outcome.unwrap();
        assert_eq!(dialler.handle(hello.into_iter().next().unwrap()), Ok(Greeted::NotYet));
        let dialled = match dialler.handle(answer) {
            Ok(Greeted::Done(agreed)) => Ok(agreed),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        [dialled, listened]
    }

    #[test]
    fn both_name_the_shares_that_they_have_in_common_alike() {
        let [dialled, listened] = greet(
            &vec![(1, vec![1]), (2, vec![2]), (3, vec![3])],
            &vec![(3, vec![3]), (9, vec![9]), (1, vec![1])],
        );
        let agreed = dialled.unwrap();
        assert_eq!(agreed.channels, BTreeMap::from([(Channel(0), share(1)), (Channel(2), share(3))]));
        assert_eq!((agreed.version, &*agreed.agent), (1, "shoal 1.0"));
        assert_eq!(listened.unwrap(), agreed);
    }

    /// A device that was away when the secret changed finds the others by the old one.
    #[test]
    fn a_share_is_found_by_any_of_its_secrets_and_named_once() {
        for (dialler, listener) in [(vec![1, 2], vec![2]), (vec![2], vec![1, 2]), (vec![1, 2], vec![1, 2])] {
            let [dialled, listened] = greet(&vec![(5, dialler)], &vec![(5, listener)]);
            let agreed = dialled.unwrap();
            assert_eq!(agreed.channels.len(), 1);
            assert_eq!(listened.unwrap(), agreed);
        }
    }

    /// I28: a stranger is told nothing, and cannot tell one answer from the other.
    #[test]
    fn i28_who_has_nothing_in_common_learns_nothing() {
        for listener in [vec![], vec![(1, vec![1]), (2, vec![2])]] {
            let [dialled, listened] = greet(&vec![(3, vec![3])], &listener);
            assert_eq!(listened, Err(GreetingError::NothingInCommon));
            assert_eq!(dialled, Err(GreetingError::Goodbye(Goodbye::NothingInCommon)));
        }
    }

    /// I27: what was shown on one connection, or by the other side, proves nothing here.
    #[test]
    fn i27_proofs_of_another_connection_or_side_are_worthless() {
        let shares = vec![(1, vec![1])];
        let (_, elsewhere) = begin(Side::Dialler, [8; 32], &shares);
        let (mut listener, _) = begin(Side::Listener, EXPORTER, &shares);
        let mut replayed = elsewhere.into_iter().map(|message| listener.handle(message));
        assert_eq!(replayed.next(), Some(Ok(Greeted::NotYet)));
        assert_eq!(replayed.next(), Some(Err(GreetingError::NothingInCommon)));

        let (mut dialler, shown) = begin(Side::Dialler, EXPORTER, &shares);
        let (_, hello) = begin(Side::Listener, EXPORTER, &vec![]);
        dialler.handle(hello[0].clone()).unwrap();
        assert_eq!(dialler.handle(shown[1].clone()), Err(GreetingError::FalseProof), "its own, sent back");
    }

    #[test]
    fn a_listener_that_shows_a_share_twice_is_refused() {
        let shares = vec![(1, vec![1])];
        let (mut dialler, _) = begin(Side::Dialler, EXPORTER, &shares);
        let (_, hello) = begin(Side::Listener, EXPORTER, &vec![]);
        dialler.handle(hello[0].clone()).unwrap();
        let proof = secret(1).proof(&EXPORTER, Side::Listener);
        assert_eq!(dialler.handle(Message::Shares(vec![proof, proof])), Err(GreetingError::FalseProof));
    }

    #[test]
    fn what_comes_out_of_turn_ends_the_greeting() {
        let shares = vec![(1, vec![1])];
        let (mut listener, _) = begin(Side::Listener, EXPORTER, &shares);
        assert_eq!(listener.handle(Message::Ping), Err(GreetingError::OutOfTurn));
        let (_, first) = begin(Side::Dialler, EXPORTER, &shares);
        assert_eq!(listener.handle(first[0].clone()), Err(GreetingError::OutOfTurn), "over is over");
        let (mut listener, _) = begin(Side::Listener, EXPORTER, &shares);
        assert_eq!(listener.handle(first[1].clone()), Err(GreetingError::OutOfTurn), "shares before hello");
        let newer = Message::Hello {
            versions: shoal_proto::message::Versions { from: 9, to: 9 },
            agent: String::new(),
        };
        let (mut listener, _) = begin(Side::Listener, EXPORTER, &shares);
        let error = listener.handle(newer).unwrap_err();
        assert_eq!(error.goodbye(), Some(Goodbye::Version));
        assert_eq!(
            error.to_string(),
            "the other side speaks version 9 of the protocol, this side 1; the older one needs an update"
        );
    }
}
