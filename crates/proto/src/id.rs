//! Who and what: devices, shares, writers.

use crate::hash::{Domain, base32, thirty_two_bytes};

thirty_two_bytes! {
    /// A device: its Ed25519 public key (RFC 8032), as the bytes that it proves itself by.
    DeviceId
}

thirty_two_bytes! {
    /// A share: the hash of its founding entry.
    ShareId
}

/// One life of a device's index of a share.
///
/// Drawn anew when an index is made, rebuilt or found to have been rolled back, so that a life never counts for what
/// another one saw. Eight bytes of a hash of the device's key, the share and a random [`WriterSalt`]: nobody can
/// claim another's writer without some 2^64 hashes, and everybody can check whose it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Writer(u64);

/// Random bytes that a device draws for each of its writers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct WriterSalt(pub [u8; 16]);

impl Writer {
    /// The writer of this device in this share that was drawn with this salt.
    #[must_use]
    pub fn drawn(device: &DeviceId, share: &ShareId, salt: &WriterSalt) -> Self {
        let hash = Domain::WRITER.hash(&[device.as_bytes(), share.as_bytes(), &salt.0]);
        Self::from_bytes(first_eight(&hash))
    }

    /// The writer with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl core::fmt::Display for Writer {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(&base32(&self.to_bytes()))
    }
}

/// The first eight bytes of a hash.
pub(crate) fn first_eight(hash: &[u8; 32]) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_belongs_to_one_device_in_one_share() {
        let (device, share, salt) =
            (DeviceId::from_bytes([1; 32]), ShareId::from_bytes([2; 32]), WriterSalt([3; 16]));
        let writer = Writer::drawn(&device, &share, &salt);
        assert_eq!(writer, Writer::drawn(&device, &share, &salt));
        assert_ne!(writer, Writer::drawn(&DeviceId::from_bytes([4; 32]), &share, &salt));
        assert_ne!(writer, Writer::drawn(&device, &ShareId::from_bytes([4; 32]), &salt));
        assert_ne!(writer, Writer::drawn(&device, &share, &WriterSalt([4; 16])));
        assert_eq!(Writer::from_bytes(writer.to_bytes()), writer);
    }
}
