//! Hashes, and which hash is of what.
//!
//! Promise: every hash is BLAKE3. Bytes of content are hashed plainly; everything else in keyed mode under a
//! [`Domain`] of its own, so that no value of one sort can be passed off as one of another. The keys are public
//! constants: they separate, they do not hide. Frozen: to change one is to change the protocol.

/// The first eight bytes of a hash, most significant first: what tables are ordered by, and contents counted by.
#[must_use]
pub const fn prefix(hash: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// What is being hashed. The key of each is its text, padded with spaces to 32 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Domain([u8; 32]);

impl Domain {
    /// A record in its canonical encoding.
    pub const RECORD: Self = Self::named(b"shoal record");
    /// Two children of a publication's Merkle tree.
    pub const MERKLE_NODE: Self = Self::named(b"shoal merkle node");
    /// A publication without its signature.
    pub const PUBLICATION: Self = Self::named(b"shoal publication");
    /// A device's key and a salt, which make a writer.
    pub const WRITER: Self = Self::named(b"shoal writer");
    /// A founding entry, whose hash is the share's id.
    pub const FOUNDING: Self = Self::named(b"shoal founding");
    /// An entry of a roster.
    pub const ROSTER_ENTRY: Self = Self::named(b"shoal roster entry");
    /// All entries of a roster that a device keeps.
    pub const ROSTER: Self = Self::named(b"shoal roster");
    /// A side's part of a nonce for reconciling.
    pub const NONCE: Self = Self::named(b"shoal nonce");
    /// What an admin signs to let an invite key in.
    pub const DELEGATION: Self = Self::named(b"shoal delegation");
    /// The checksum of an invite's text.
    pub const INVITE_CHECKSUM: Self = Self::named(b"shoal invite checksum");
    /// A list of segments that fits one page.
    pub const SEGMENT_LIST: Self = Self::named(b"shoal segment list");
    /// One page of a long list of segments.
    pub const SEGMENT_PAGE: Self = Self::named(b"shoal segment page");
    /// The list of the pages of a long list of segments.
    pub const SEGMENT_PAGES: Self = Self::named(b"shoal segment pages");
    /// The target of a symbolic link.
    pub const SYMLINK: Self = Self::named(b"shoal symlink");
    /// What a conflict copy is a copy of: a path and an origin.
    pub const COPY_OF: Self = Self::named(b"shoal copy of");
    /// A conflict copy's dot: what it is a copy of, and its content.
    pub const COPY_DOT: Self = Self::named(b"shoal copy dot");
    /// Where a path belongs in the digest tree; the share's id comes first.
    pub const LEAF: Self = Self::named(b"shoal leaf");

    /// The keys of one round of agreeing.
    pub const RECONCILE: Self = Self::named(b"shoal reconcile");

    /// Who may resolve a conflict before whom: a device, then a path.
    pub const RANK: Self = Self::named(b"shoal rank");

    /// What a device draws for a writer, from the randomness that it began with.
    pub const SALT: Self = Self::named(b"shoal salt");

    /// A device that an invite's key lets in.
    pub const JOIN: Self = Self::named(b"shoal join");

    /// A topic on a day, for the local network.
    pub const LAN: Self = Self::named(b"shoal lan");

    const fn named(name: &[u8]) -> Self {
        let mut key = [b' '; 32];
        let mut at = 0;
        while at < name.len() {
            key[at] = name[at];
            at += 1;
        }
        Self(key)
    }

    /// The hash of the parts, one after the other. Parts whose lengths can vary must be told apart by the caller.
    #[must_use]
    pub fn hash(self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// The hash of one run of bytes; for a few hundred of them faster than [`Self::hash`].
    #[must_use]
    pub fn hash_one(self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, bytes).as_bytes()
    }
}

/// Declares a type for one sort of 32-byte hash or key.
macro_rules! thirty_two_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The value with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The value with this text; `None` if it is the text of none.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let letters = text.to_ascii_uppercase();
                let bytes = data_encoding::BASE32_NOPAD.decode(letters.as_bytes()).ok()?;
                Some(Self(bytes.try_into().ok()?))
            }

            /// The first seven letters of its text: enough to tell values apart by eye.
            #[must_use]
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(7);
                text
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                out.write_str(&$crate::hash::base32(&self.0))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self.short())
            }
        }
    };
}
pub(crate) use thirty_two_bytes;

thirty_two_bytes! {
    /// The name of content: BLAKE3 of its bytes if it is one segment, else of its list of segments (see `segment`).
    ContentId
}

thirty_two_bytes! {
    /// The name of a segment: BLAKE3 of its bytes.
    SegmentId
}

thirty_two_bytes! {
    /// The hash of a whole record; also its fingerprint in the digest tree.
    RecordHash
}

impl ContentId {
    /// What stands where there is no content: for a directory.
    pub const NONE: Self = Self([0; 32]);

    /// The content of an empty file.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self(*blake3::hash(b"").as_bytes())
    }
}

impl From<SegmentId> for ContentId {
    /// The content that consists of this segment alone.
    fn from(segment: SegmentId) -> Self {
        Self(segment.0)
    }
}

/// Small letters and the digits 2 to 7 (RFC 4648), without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    data_encoding::BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_differ_and_stay_as_they_are() {
        let domains = [
            Domain::RECORD,
            Domain::MERKLE_NODE,
            Domain::PUBLICATION,
            Domain::WRITER,
            Domain::FOUNDING,
            Domain::ROSTER_ENTRY,
            Domain::ROSTER,
            Domain::NONCE,
            Domain::DELEGATION,
            Domain::INVITE_CHECKSUM,
            Domain::SEGMENT_LIST,
            Domain::SEGMENT_PAGE,
            Domain::SEGMENT_PAGES,
            Domain::SYMLINK,
            Domain::COPY_OF,
            Domain::COPY_DOT,
            Domain::LEAF,
            Domain::RECONCILE,
            Domain::JOIN,
            Domain::LAN,
        ];
        let hashes: std::collections::BTreeSet<_> = domains.iter().map(|domain| domain.hash(&[])).collect();
        assert_eq!(hashes.len(), domains.len());
        assert_eq!(&Domain::RECORD.0, b"shoal record                    ");
        assert_eq!(Domain::RECORD.hash(&[b"a", b"b"]), Domain::RECORD.hash_one(b"ab"));
    }

    #[test]
    fn text_is_short_where_a_person_reads_it() {
        let id = ContentId::of_nothing();
        assert_eq!(id.to_string().len(), 52);
        assert_eq!(id.short(), &id.to_string()[..7]);
        assert_eq!(format!("{id:?}"), format!("ContentId({})", id.short()));
    }
}
