//! What peers say to the tracker: the Initial message and the keep-alive.
//!
//! Promise: what is read is valid; a bad entry is refused by itself, with its reason; a message whose port or
//! shape is wrong is refused whole. What is written has exactly the assignment's keys, and the number key
//! `dialect` inside each item.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;

use crate::dialect::Dialect;
use crate::json::{self, Entry, Field};
use crate::limits::{ENTRIES_PER_PEER_MAX, REFUSALS_TOLD_MAX};
use crate::name::{Escaped, FileName, NameError};

/// A message from a peer to the tracker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerMessage {
    /// Where the peer serves files.
    pub port: u16,
    /// What it lists, in an Initial message; a keep-alive lists nothing.
    pub files: Option<Announcement>,
}

/// What an Initial message lists.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Announcement {
    /// Each file with its mtime in seconds; of equal names the newest.
    pub files: BTreeMap<FileName, i64>,
    /// Whether an item says that its peer speaks both dialects.
    pub speaks_both: bool,
    /// What was not taken.
    pub refusals: Refusals,
}

/// Entries of a message that were not taken, each with its reason.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Refusals {
    /// The first of them: the name, escaped, and why.
    pub told: Vec<(String, EntryError)>,
    /// How many there were in all.
    pub count: usize,
}

/// Why an entry of a message was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EntryError {
    /// No JSON object, or one that cannot be read.
    #[error("the entry is not an object with readable fields")]
    NotAnEntry,
    /// No name.
    #[error("the entry has no name")]
    NoName,
    /// A name with half of a surrogate pair: no text at all.
    #[error("the name is not valid Unicode")]
    NotUnicode,
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// mtime missing, no number, or out of range.
    #[error("the mtime is not a number in range")]
    Mtime,
    /// Port missing or out of range.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Address missing or no IP address.
    #[error("the address is not an IP address")]
    Address,
    /// One more than is taken.
    #[error("there are more entries than are accepted")]
    TooMany,
}

/// Why a whole message was refused: what the JSON parser says, escaped and short, because it quotes the sender.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MessageError(String);

impl From<serde_json::Error> for MessageError {
    fn from(error: serde_json::Error) -> Self {
        Self(Escaped(&error.to_string()).to_string())
    }
}

impl PeerMessage {
    /// Reads a message; entries beyond `entries_max` are refused.
    ///
    /// # Errors
    /// When it is not valid JSON, the port is missing, twice there or out of range, or `files` is no list.
    pub fn parse(bytes: &[u8], entries_max: usize) -> Result<Self, MessageError> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let message = MessageSeed { entries_max }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(message)
    }

    /// A keep-alive as bytes.
    #[must_use]
    pub fn keep_alive(port: u16) -> Vec<u8> {
        let mut out = format!("{{\"port\": {port}}}").into_bytes();
        json::end_line(&mut out);
        out
    }

    /// An Initial message as bytes, from a peer that speaks both dialects.
    ///
    /// Each item says so; where there is none, a TAB before the newline does.
    #[must_use]
    pub fn initial(port: u16, files: &BTreeMap<FileName, i64>) -> Vec<u8> {
        let mut out = Vec::new();
        json::write(&mut out, &Initial { port, files });
        if files.is_empty() {
            out.push(b'\t');
        }
        json::end_line(&mut out);
        out
    }
}

/// How many bytes an item of that name takes in an Initial message of ours, at most.
#[must_use]
pub fn item_bytes_max(name: &FileName) -> usize {
    let escaped = |c: char| match c {
        ' '..='~' => 2,
        other => 6 * other.len_utf16(),
    };
    ITEM_BYTES_BESIDE_NAME + name.as_str().chars().map(escaped).sum::<usize>()
}

/// Keys, separators and the longest numbers of an item.
const ITEM_BYTES_BESIDE_NAME: usize = 72;

impl Announcement {
    fn take(&mut self, raw: &RawValue, entries_max: usize) {
        let entry = Entry::read(raw);
        let taken = match &entry {
            None => Err(EntryError::NotAnEntry),
            Some(_) if self.files.len() >= entries_max => Err(EntryError::TooMany),
            Some(entry) => read_item(entry),
        };
        match taken {
            Ok((name, mtime)) => {
                let newest = self.files.entry(name).or_insert(mtime);
                *newest = mtime.max(*newest);
                let dialect = entry.and_then(|entry| entry.dialect).and_then(|field| field.floored());
                self.speaks_both |= dialect.and_then(Dialect::from_number) == Some(Dialect::Both);
            }
            Err(error) => self.refusals.add(entry.as_ref(), error),
        }
    }
}

fn read_item(entry: &Entry) -> Result<(FileName, i64), EntryError> {
    let Some(Field::Text(name)) = &entry.name else { return Err(EntryError::NoName) };
    let mtime = entry.mtime.as_ref().and_then(Field::floored).ok_or(EntryError::Mtime)?;
    Ok((FileName::parse(name)?, mtime))
}

impl Refusals {
    /// Notes one more; its name is kept escaped and short.
    pub(crate) fn add(&mut self, entry: Option<&Entry>, error: EntryError) {
        let name = match entry.and_then(|entry| entry.name.as_ref()) {
            Some(Field::Text(name)) => name.as_str(),
            _ => "",
        };
        self.add_named(name, error);
    }

    /// Notes one more, of that name.
    pub(crate) fn add_named(&mut self, name: &str, error: EntryError) {
        self.count += 1;
        if self.told.len() < REFUSALS_TOLD_MAX {
            self.told.push((Escaped(name).to_string(), error));
        }
    }
}

/// Reads a message key by key, and its items one by one, so that none is held but those that are taken.
struct MessageSeed {
    entries_max: usize,
}

impl<'de> DeserializeSeed<'de> for MessageSeed {
    type Value = PeerMessage;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PeerMessage, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed {
    type Value = PeerMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a port")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PeerMessage, A::Error> {
        let mut port = None;
        let mut files = None;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Port if port.is_some() => return Err(A::Error::duplicate_field("port")),
                Key::Port => {
                    let number = map.next_value::<Field>()?.port();
                    port = Some(number.ok_or_else(|| A::Error::custom(EntryError::Port))?);
                }
                Key::Files => files = Some(map.next_value_seed(FilesSeed { entries_max: self.entries_max })?),
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let port = port.ok_or_else(|| A::Error::missing_field("port"))?;
        Ok(PeerMessage { port, files })
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Port,
    Files,
    #[serde(other)]
    Other,
}

struct FilesSeed {
    entries_max: usize,
}

impl<'de> DeserializeSeed<'de> for FilesSeed {
    type Value = Announcement;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Announcement, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for FilesSeed {
    type Value = Announcement;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Announcement, A::Error> {
        let mut announcement = Announcement::default();
        while let Some(item) = seq.next_element()? {
            announcement.take(item, self.entries_max);
        }
        Ok(announcement)
    }
}

struct Initial<'a> {
    port: u16,
    files: &'a BTreeMap<FileName, i64>,
}

impl Serialize for Initial<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("port", &self.port)?;
        map.serialize_entry("files", &Items(self.files))?;
        map.end()
    }
}

struct Items<'a>(&'a BTreeMap<FileName, i64>);

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Item<'a> {
            mtime: i64,
            name: &'a str,
            dialect: u8,
        }
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for (name, &mtime) in self.0 {
            seq.serialize_element(&Item { mtime, name: name.as_str(), dialect: Dialect::Both.number() })?;
        }
        seq.end()
    }
}

const _: () = assert!(REFUSALS_TOLD_MAX < ENTRIES_PER_PEER_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PeerMessage, MessageError> {
        PeerMessage::parse(text.as_bytes(), 5)
    }

    fn files(message: &PeerMessage) -> Vec<(&str, i64)> {
        let announcement = message.files.as_ref().unwrap();
        announcement.files.iter().map(|(name, mtime)| (name.as_str(), *mtime)).collect()
    }

    #[test]
    fn the_assignments_own_messages() {
        let initial =
            parse(r#"{"port": 8001, "files": [{"mtime": 1548878750, "name": "fileA.txt"}]}"#).unwrap();
        assert_eq!((initial.port, files(&initial)), (8001, vec![("fileA.txt", 1_548_878_750)]));
        let keep_alive = parse(r#"{"port": 8001}"#).unwrap();
        assert_eq!(keep_alive, PeerMessage { port: 8001, files: None });
    }

    #[test]
    fn golden_bytes_of_what_we_say() {
        assert_eq!(PeerMessage::keep_alive(8001), b"{\"port\": 8001}\n");
        let files =
            BTreeMap::from([(FileName::parse("é\"").unwrap(), 7), (FileName::parse("a").unwrap(), -1)]);
        assert_eq!(
            String::from_utf8(PeerMessage::initial(8001, &files)).unwrap(),
            "{\"port\": 8001, \"files\": [{\"mtime\": -1, \"name\": \"a\", \"dialect\": 2}, \
             {\"mtime\": 7, \"name\": \"\\u00e9\\\"\", \"dialect\": 2}]}\n"
        );
        assert_eq!(PeerMessage::initial(1, &BTreeMap::new()), b"{\"port\": 1, \"files\": []}\t\n");
    }

    #[test]
    fn b2_b7_b8_b10_b21_refused_whole() {
        let refused = [
            "{}",
            "[]",
            "\"port\"",
            "null",
            "3",
            "{\"port\": 80",
            "{\"port\": 1, \"port\": 1}",
            "{\"port\": 0}",
            "{\"port\": 65536}",
            "{\"port\": -1}",
            "{\"port\": 80.5}",
            "{\"port\": \"80\"}",
            "{\"port\": true}",
            "{\"port\": null}",
            "{\"files\": []}",
            "{\"port\": 1, \"files\": {}}",
            "{\"port\": 1, \"files\": \"x\"}",
            "{\"port\": 1, \"files\": null}",
            "{\"port\": NaN}",
        ];
        for text in refused {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(
            PeerMessage::parse(b"{\"port\": 1, \"files\": [{\"name\": \"\xff\", \"mtime\": 1}]}", 5).is_err()
        );
        assert!(PeerMessage::parse(b"{\"port\": 1, \"\xc0\xaf\": 1}", 5).is_err());
    }

    #[test]
    fn b7_b13_b15_b21_b22_bad_entries_cost_only_themselves() {
        let text = r#"{"port": 1, "crt": "x", "files": [
            {"name": "good", "mtime": 1.9, "extra": [null]}, {"name": "good", "mtime": 5}, {"name": "good", "mtime": 2},
            {"name": "../x", "mtime": 1}, {"name": "s", "mtime": "1"}, {"name": "n", "mtime": null}, {"mtime": 1},
            {"name": "big", "mtime": 9223372036854775808}, {"name": 3, "mtime": 1}, 7, null, ["x"],
            {"name": "lone \ud800", "mtime": 1}, {"name": "old", "mtime": -9223372036854775808}]}"#;
        let message = parse(text).unwrap();
        assert_eq!(files(&message), [("good", 5), ("old", i64::MIN)]);
        let refusals = message.files.unwrap().refusals;
        let reasons: Vec<EntryError> = refusals.told.iter().map(|(_, error)| *error).collect();
        use EntryError::{Mtime, Name, NoName, NotAnEntry};
        assert_eq!(
            reasons,
            [
                Name(NameError::Path),
                Mtime,
                Mtime,
                NoName,
                Mtime,
                NoName,
                NotAnEntry,
                NotAnEntry,
                NotAnEntry,
                NotAnEntry
            ]
        );
        assert_eq!(refusals.count, 10);
    }

    #[test]
    fn b21_entries_beyond_the_cap_are_refused() {
        let items: Vec<String> = (0..8).map(|i| format!("{{\"name\": \"{i}\", \"mtime\": 1}}")).collect();
        let message = parse(&format!("{{\"port\": 1, \"files\": [{}]}}", items.join(","))).unwrap();
        assert_eq!(files(&message).len(), 5);
        assert_eq!(message.files.unwrap().refusals.count, 3);
    }

    #[test]
    fn a_shoal_peer_is_known_by_its_items() {
        let both = parse(r#"{"port": 1, "files": [{"name": "a", "mtime": 1, "dialect": 2}]}"#).unwrap();
        assert!(both.files.unwrap().speaks_both);
        let other = parse(r#"{"port": 1, "files": [{"name": "a", "mtime": 1, "dialect": 1}]}"#).unwrap();
        assert!(!other.files.unwrap().speaks_both);
    }
}
