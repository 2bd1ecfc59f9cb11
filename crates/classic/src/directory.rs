//! What the tracker answers: the directory of the newest files and who serves them.
//!
//! Promise: what is read holds plain names and addresses that can be dialled; entries that do not are refused
//! one by one, with their reasons; of a name that comes twice the last counts. What is written is one line of
//! ASCII with the assignment's keys and the number key `dialect`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::dialect::Dialect;
use crate::json::{self, Entry, Field};
use crate::limits::DIRECTORY_ENTRIES_MAX;
use crate::message::{EntryError, MessageError, Refusals};
use crate::name::FileName;

/// A directory, as a peer reads it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Directory {
    /// The newest version of each name.
    pub files: BTreeMap<FileName, Listed>,
    /// What was not taken.
    pub refusals: Refusals,
    /// Whether entries carry the `dialect` key: the tracker is Shoal.
    pub has_dialects: bool,
}

/// One entry of a directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Who serves it.
    pub source: SocketAddr,
    /// Seconds since 1970.
    pub mtime: i64,
    /// The source's dialect, if the tracker says it.
    pub dialect: Option<Dialect>,
}

impl Directory {
    /// Reads a directory.
    ///
    /// # Errors
    /// When it is no JSON object at all.
    pub fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    fn take(&mut self, raw_name: &RawValue, raw_entry: &RawValue) {
        let Ok(name) = serde_json::from_str::<String>(raw_name.get()) else {
            return self.refusals.add_named(raw_name.get().trim_matches('"'), EntryError::NotUnicode);
        };
        if self.files.len() >= DIRECTORY_ENTRIES_MAX {
            return self.refusals.add_named(&name, EntryError::TooMany);
        }
        match read_entry(&name, raw_entry) {
            Ok((name, listed)) => {
                self.has_dialects |= listed.dialect.is_some();
                self.files.insert(name, listed);
            }
            Err(error) => self.refusals.add_named(&name, error),
        }
    }
}

/// Writes a directory, entry by entry, in the order in which they are added.
#[derive(Debug)]
pub struct DirectoryWriter {
    out: Vec<u8>,
}

impl Default for DirectoryWriter {
    fn default() -> Self {
        Self { out: b"{".to_vec() }
    }
}

impl DirectoryWriter {
    /// Adds an entry.
    pub fn add(&mut self, name: &FileName, mtime: i64, source: SocketAddr, dialect: Dialect) {
        #[derive(serde::Serialize)]
        struct Written {
            ip: IpAddr,
            mtime: i64,
            port: u16,
            dialect: u8,
        }
        if self.out.len() > 1 {
            self.out.extend_from_slice(b", ");
        }
        json::write(&mut self.out, name.as_str());
        self.out.extend_from_slice(b": ");
        let entry = Written { ip: source.ip(), mtime, port: source.port(), dialect: dialect.number() };
        json::write(&mut self.out, &entry);
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether no entry was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.len() == 1
    }

    /// The whole directory, one line.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        json::end_line(&mut self.out);
        self.out
    }
}

fn read_entry(name: &str, raw: &RawValue) -> Result<(FileName, Listed), EntryError> {
    let name = FileName::parse(name)?;
    let entry = Entry::read(raw).ok_or(EntryError::NotAnEntry)?;
    let mtime = entry.mtime.as_ref().and_then(Field::floored).ok_or(EntryError::Mtime)?;
    let port = entry.port.as_ref().and_then(Field::port).ok_or(EntryError::Port)?;
    let Some(Field::Text(ip)) = &entry.ip else { return Err(EntryError::Address) };
    let ip: IpAddr = ip.parse().map_err(|_| EntryError::Address)?;
    let dialect = entry.dialect.and_then(|field| field.floored()).and_then(Dialect::from_number);
    Ok((name, Listed { source: SocketAddr::new(ip.to_canonical(), port), mtime, dialect }))
}

impl<'de> Deserialize<'de> for Directory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DirectoryVisitor)
    }
}

struct DirectoryVisitor;

impl<'de> Visitor<'de> for DirectoryVisitor {
    type Value = Directory;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a directory")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Directory, A::Error> {
        let mut directory = Directory::default();
        while let Some((name, entry)) = map.next_entry::<&RawValue, &RawValue>()? {
            directory.take(name, entry);
        }
        Ok(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NameError;

    #[test]
    fn the_assignments_own_directory() {
        let text = br#"{"fileB.txt": {"ip": "127.0.0.1", "mtime": 1548878750, "port": 8002}, "fileA.txt": {"ip": "127.0.0.1", "mtime": 1548878750.5, "port": 8001, "dialect": 1}}"#;
        let directory = Directory::parse(text).unwrap();
        let listed = directory.files[&FileName::parse("fileA.txt").unwrap()];
        assert_eq!(listed.source, "127.0.0.1:8001".parse().unwrap());
        assert_eq!((listed.mtime, listed.dialect), (1_548_878_750, Some(Dialect::Framed)));
        assert_eq!(directory.files.len(), 2);
        assert!(directory.has_dialects);
    }

    #[test]
    fn b7_b8_b13_b15_b23_bad_entries_cost_only_themselves() {
        let text = br#"{
            "twice": {"ip": "1.2.3.4", "mtime": 9, "port": 1}, "twice": {"ip": "1.2.3.5", "mtime": 1, "port": 2},
            "../x": {"ip": "1.2.3.4", "mtime": 1, "port": 1}, "host": {"ip": "example.org", "mtime": 1, "port": 1},
            "both": {"ip": "1.2.3.4:80", "mtime": 1, "port": 1}, "empty": {"ip": "", "mtime": 1, "port": 1},
            "port": {"ip": "1.2.3.4", "mtime": 1, "port": 0}, "mtime": {"ip": "1.2.3.4", "mtime": "1", "port": 1},
            "six": {"ip": "::1", "mtime": -1, "port": 1}, "none": null, "lone\ud800": {"ip": "1.2.3.4", "mtime": 1, "port": 1},
            "mapped": {"ip": "::ffff:1.2.3.4", "mtime": 1, "port": 1}}"#;
        let directory = Directory::parse(text).unwrap();
        let names: Vec<&str> = directory.files.keys().map(FileName::as_str).collect();
        assert_eq!(names, ["mapped", "six", "twice"]);
        let source = |name: &str| directory.files[name].source.to_string();
        assert_eq!((source("twice"), source("mapped")), ("1.2.3.5:2".into(), "1.2.3.4:1".into()));
        let reasons: Vec<EntryError> = directory.refusals.told.iter().map(|(_, error)| *error).collect();
        use EntryError::{Address, Mtime, Name, NotAnEntry, NotUnicode, Port};
        assert_eq!(
            reasons,
            [Name(NameError::Path), Address, Address, Address, Port, Mtime, NotAnEntry, NotUnicode]
        );
        assert_eq!(directory.refusals.told[7].0, "lone\\ud800");
        for text in [b"[]".as_slice(), b"3", b"{\"a\": {}", b"null"] {
            assert!(Directory::parse(text).is_err());
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut writer = DirectoryWriter::default();
        let name = FileName::parse("naïve 😀").unwrap();
        writer.add(&name, -3, "[::1]:9".parse().unwrap(), Dialect::Classic);
        writer.add(&FileName::parse("b").unwrap(), 4, "10.0.0.1:80".parse().unwrap(), Dialect::Both);
        let bytes = writer.finish();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            "{\"na\\u00efve \\ud83d\\ude00\": {\"ip\": \"::1\", \"mtime\": -3, \"port\": 9, \"dialect\": 0}, \
             \"b\": {\"ip\": \"10.0.0.1\", \"mtime\": 4, \"port\": 80, \"dialect\": 2}}\n"
        );
        assert_eq!(Directory::parse(&bytes).unwrap().files[&name].mtime, -3);
        assert_eq!(DirectoryWriter::default().finish(), b"{}\n");
    }
}
