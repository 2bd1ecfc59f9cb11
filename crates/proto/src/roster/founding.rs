//! The founding entry: who made a share. Its hash is the share's id, so nobody can put another creator in.

use crate::cut::CUT;
use crate::hash::Domain;
use crate::id::{DeviceId, ShareId};
use crate::key::{self, KeyError};

/// What a share begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Founding {
    /// The first admin, whom nobody stands above.
    pub creator: DeviceId,
    /// Random bytes, so that one device can make any number of shares.
    pub random: [u8; 32],
    /// How content is cut in this share; [`CUT`] is the only way there is.
    pub cut: u16,
}

/// Why bytes are no founding entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FoundingError {
    /// Too few or too many.
    #[error("a founding entry of {0} bytes; it has {FOUNDING_BYTES}")]
    Length(usize),
    /// The creator's key is none.
    #[error("a founding entry whose creator cannot sign: {0}")]
    Creator(#[from] KeyError),
    /// Content would have other ids here than on the other devices.
    #[error(
        "a share that was made by a newer version of Shoal: it cuts content in way {0}, and this version \
         knows way {CUT}"
    )]
    Cut(u16),
}

/// Bytes of a founding entry.
pub const FOUNDING_BYTES: usize = 32 + 32 + 2;

impl Founding {
    /// The id of the share that begins so.
    #[must_use]
    pub fn share(&self) -> ShareId {
        ShareId::from_bytes(Domain::FOUNDING.hash_one(&self.encode()))
    }

    /// Its bytes: creator, random, cut (big-endian).
    #[must_use]
    pub fn encode(&self) -> [u8; FOUNDING_BYTES] {
        let mut bytes = [0; FOUNDING_BYTES];
        bytes[..32].copy_from_slice(self.creator.as_bytes());
        bytes[32..64].copy_from_slice(&self.random);
        bytes[64..].copy_from_slice(&self.cut.to_be_bytes());
        bytes
    }

    /// The founding entry with these bytes.
    ///
    /// # Errors
    /// When they are none, or those of a share whose content this version cannot cut.
    pub fn decode(bytes: &[u8]) -> Result<Self, FoundingError> {
        let bytes: &[u8; FOUNDING_BYTES] =
            bytes.try_into().map_err(|_| FoundingError::Length(bytes.len()))?;
        let (mut creator, mut random, mut cut) = ([0; 32], [0; 32], [0; 2]);
        creator.copy_from_slice(&bytes[..32]);
        random.copy_from_slice(&bytes[32..64]);
        cut.copy_from_slice(&bytes[64..]);
        let creator = DeviceId::from_bytes(creator);
        key::check(&creator)?;
        match u16::from_be_bytes(cut) {
            CUT => Ok(Self { creator, random, cut: CUT }),
            other => Err(FoundingError::Cut(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::testing::device_key;

    #[test]
    fn a_share_is_named_by_all_that_founded_it() {
        let founding = Founding { creator: device_key(1).device(), random: [2; 32], cut: CUT };
        assert_eq!(Founding::decode(&founding.encode()), Ok(founding));
        assert_eq!(founding.share().short(), "6zuvq2y");
        assert_ne!(Founding { cut: 2, ..founding }.share(), founding.share());
        assert_ne!(Founding { random: [3; 32], ..founding }.share(), founding.share());
        assert_ne!(Founding { creator: device_key(2).device(), ..founding }.share(), founding.share());
    }

    #[test]
    fn d1_d7_what_is_no_founding_entry_is_refused() {
        let bytes = Founding { creator: device_key(1).device(), random: [2; 32], cut: CUT }.encode();
        for end in 0..bytes.len() {
            assert_eq!(Founding::decode(&bytes[..end]), Err(FoundingError::Length(end)));
        }
        assert_eq!(Founding::decode(&[0; 67]), Err(FoundingError::Length(67)));
        assert_eq!(Founding::decode(&[0; 66]), Err(KeyError::Weak.into()));
    }

    /// F19: who cut otherwise would find every large file of the share changed.
    #[test]
    fn a_share_of_another_cut_is_refused() {
        let founding = Founding { creator: device_key(1).device(), random: [2; 32], cut: CUT };
        for cut in [0, CUT + 1, u16::MAX] {
            let bytes = Founding { cut, ..founding }.encode();
            assert_eq!(Founding::decode(&bytes), Err(FoundingError::Cut(cut)));
        }
        assert_eq!(
            FoundingError::Cut(2).to_string(),
            "a share that was made by a newer version of Shoal: it cuts content in way 2, and this version \
             knows way 1"
        );
    }
}
