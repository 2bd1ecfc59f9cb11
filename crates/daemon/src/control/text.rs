//! How ids, paths, times and secrets stand in the JSON of the control API.
//!
//! Promise: what is written here is read back as exactly the same value, whatever bytes a name has; what is read is
//! checked by the type's own rules; and secrets show nothing of themselves unless asked by name.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::{Deserializer, Error};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use shoal_proto::hash::ContentId;
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::key::InviteKey;
use shoal_proto::path::{RelPath, RelPathError};
use shoal_proto::record::Timestamp;
use zeroize::Zeroizing;

pub use shoal_disk::Escaped;

/// An id in its text form: base 32, in small letters.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Id<T>(pub T);

/// What has a text form of 52 letters.
pub trait Named: Sized + fmt::Display {
    /// What it is, for messages.
    const WHAT: &'static str;

    /// The value with this text.
    fn read(text: &str) -> Option<Self>;
}

macro_rules! named {
    ($($type:ty: $what:literal),*) => {$(
        impl Named for $type {
            const WHAT: &'static str = $what;

            fn read(text: &str) -> Option<Self> {
                Self::parse(text)
            }
        }
    )*};
}

named!(DeviceId: "device", ShareId: "share", ContentId: "content", InviteKey: "invite");

impl<T: Named> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de, T: Named> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let unknown = || D::Error::custom(format_args!("not the id of a {}: 52 letters of base 32", T::WHAT));
        T::read(&text).map(Self).ok_or_else(unknown)
    }
}

impl<T> From<T> for Id<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

/// A path inside a share. In JSON a string, or `{"hex": "…"}` if its bytes are not UTF-8.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Place(pub RelPath);

impl Place {
    /// The path with these bytes.
    ///
    /// # Errors
    /// When no share has such a path.
    pub fn parse(bytes: &[u8]) -> Result<Self, RelPathError> {
        RelPath::parse(bytes).map(Self)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Bytes::of(self.0.as_bytes()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(from)?.into_bytes().map_err(D::Error::custom)?;
        RelPath::parse(&bytes).map(Self).map_err(D::Error::custom)
    }
}

impl From<RelPath> for Place {
    fn from(path: RelPath) -> Self {
        Self(path)
    }
}

impl From<&RelPath> for Place {
    fn from(path: &RelPath) -> Self {
        Self(path.clone())
    }
}

/// Shown escaped, as [`RelPath`] is.
impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A folder of this machine, absolute. In JSON like a [`Place`].
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Directory(pub PathBuf);

impl Serialize for Directory {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Bytes::of(self.0.as_os_str().as_bytes()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Directory {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = Bytes::deserialize(from)?.into_bytes().map_err(D::Error::custom)?;
        let path = PathBuf::from(OsString::from_vec(bytes));
        let is_one = path.is_absolute() && !path.as_os_str().as_bytes().contains(&0);
        is_one.then_some(Self(path)).ok_or_else(|| D::Error::custom("not the absolute path of a folder"))
    }
}

impl From<&Path> for Directory {
    fn from(path: &Path) -> Self {
        Self(path.to_path_buf())
    }
}

/// Shown escaped.
impl fmt::Display for Directory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.0.as_os_str().as_bytes()).fmt(out)
    }
}

/// Bytes that are nearly always UTF-8.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Hex { hex: String },
}

impl Bytes {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.into()),
            Err(_) => Self::Hex { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() },
        }
    }

    fn into_bytes(self) -> Result<Vec<u8>, &'static str> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Hex { hex } => {
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let pair = |pair: &[u8]| match pair {
                    [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                    _ => None,
                };
                let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(pair).collect();
                bytes.ok_or("'hex' has two hexadecimal digits for each byte")
            }
        }
    }
}

/// A time by a machine's clock. In JSON as RFC 3339 has it, in UTC, with nine decimals; one that no calendar has (they end
/// with the year 9999) is `@` and its seconds since 1970, with the same decimals.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Moment(pub Timestamp);

impl Moment {
    /// The present, by this machine's clock.
    #[must_use]
    pub fn now() -> Self {
        // A clock before 1970 is wrong by so much that nobody asks by how much.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Self(Timestamp::new(seconds, since.subsec_nanos()).unwrap_or(Timestamp::ZERO))
    }

    /// The beginning of this second since 1970.
    #[must_use]
    pub fn at_second(seconds: i64) -> Self {
        Self(Timestamp::new(seconds, 0).unwrap_or(Timestamp::ZERO))
    }

    /// As people read it, to the second, in UTC.
    #[must_use]
    pub fn to_the_second(&self) -> String {
        let text = self.to_string();
        match text.split_once('.') {
            Some((seconds, _)) if !seconds.starts_with('@') => format!("{}Z", seconds.replace('T', " ")),
            _ => text,
        }
    }

    fn read(text: &str) -> Option<Self> {
        if let Some(text) = text.strip_prefix('@') {
            let (seconds, nanos) = text.split_once('.')?;
            let is_plain = nanos.len() == 9 && nanos.bytes().all(|digit| digit.is_ascii_digit());
            let nanos = is_plain.then(|| nanos.parse().ok())??;
            return Timestamp::new(seconds.parse().ok()?, nanos).map(Self);
        }
        let read: jiff::Timestamp = text.parse().ok()?;
        // Of a time before 1970 the parts of a second count backwards there, and forwards here.
        let nanos = read.as_nanosecond();
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
        Timestamp::new(seconds, u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?).map(Self)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.seconds, self.0.nanos());
        let all = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        match jiff::Timestamp::from_nanosecond(all) {
            // A year before 0 is no RFC 3339 either.
            Ok(time) if seconds >= FIRST_SECOND => write!(out, "{time:.9}"),
            _ => write!(out, "@{seconds}.{nanos:09}"),
        }
    }
}

/// The year 0 begins.
const FIRST_SECOND: i64 = -62_167_219_200;

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::read(&text).ok_or_else(|| D::Error::custom("not a time like 2026-11-23T19:44:00Z"))
    }
}

/// The text of an invite: whoever reads it can come in. Wiped when dropped; shown by [`InviteText::expose`] alone.
#[derive(Clone, Eq, PartialEq)]
pub struct InviteText(Zeroizing<String>);

impl InviteText {
    /// This text, whether it is an invite or not.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: for who asked for it, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InviteText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("InviteText(hidden)")
    }
}

impl Serialize for InviteText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for InviteText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<T: Serialize + for<'a> Deserialize<'a> + PartialEq + fmt::Debug>(
        value: &T,
        json: &str,
    ) {
        assert_eq!(serde_json::to_string(value).unwrap(), json);
        assert_eq!(&serde_json::from_str::<T>(json).unwrap(), value);
    }

    #[test]
    fn paths_come_back_whatever_bytes_they_have() {
        let place = |bytes: &[u8]| Place(RelPath::parse(bytes).unwrap());
        there_and_back(&place("a/ü\n\u{202e}\"".as_bytes()), "\"a/ü\\n\u{202e}\\\"\"");
        there_and_back(&place(b"a/\xff"), r#"{"hex":"612fff"}"#);
        there_and_back(&Directory("/home/ana/notes".into()), r#""/home/ana/notes""#);
        let odd = Directory(PathBuf::from(OsString::from_vec(b"/\xe9".to_vec())));
        there_and_back(&odd, r#"{"hex":"2fe9"}"#);
        assert_eq!(odd.to_string(), "/\\xe9");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for json in
            [r#""../x""#, r#""/x""#, r#""""#, r#""a/../b""#, r#"{"hex":"612"}"#, r#"{"hex":"2é"}"#, "1"]
        {
            assert!(serde_json::from_str::<Place>(json).is_err(), "{json}");
        }
        for json in [r#""notes""#, r#""""#, "\"/a\\u0000b\"", r#"{"hex":"00"}"#] {
            assert!(serde_json::from_str::<Directory>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn times_come_back_on_every_side_of_every_calendar() {
        let moment = |seconds, nanos| Moment(Timestamp::new(seconds, nanos).unwrap());
        there_and_back(&moment(0, 0), r#""1970-01-01T00:00:00.000000000Z""#);
        there_and_back(&moment(-1, 999_999_999), r#""1969-12-31T23:59:59.999999999Z""#);
        there_and_back(&moment(1_795_463_040, 1), r#""2026-11-23T19:44:00.000000001Z""#);
        there_and_back(&moment(i64::MAX, 5), r#""@9223372036854775807.000000005""#);
        there_and_back(&moment(i64::MIN, 5), r#""@-9223372036854775808.000000005""#);
        there_and_back(&moment(FIRST_SECOND - 1, 0), r#""@-62167219201.000000000""#);
        there_and_back(&moment(FIRST_SECOND, 0), r#""0000-01-01T00:00:00.000000000Z""#);
        for json in [r#""yesterday""#, r#""@1""#, r#""@1.5""#, r#""@x.000000000""#, "3"] {
            assert!(serde_json::from_str::<Moment>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn ids_are_their_text() {
        let id = Id(ShareId::from_bytes([7; 32]));
        there_and_back(&id, &format!("\"{}\"", id.0));
        assert!(serde_json::from_str::<Id<ShareId>>("\"abc\"").is_err());
    }

    #[test]
    fn an_invite_hides_itself() {
        let invite = InviteText::new("shoal1secret".into());
        assert_eq!(format!("{invite:?}"), "InviteText(hidden)");
        there_and_back(&invite, r#""shoal1secret""#);
    }
}
