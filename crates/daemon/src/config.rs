//! What a person has set: `config.toml`.
//!
//! Promise: everything has a default, so that no file is needed; what is written is read once into [`Config`], and a word that
//! is not known, or a value that cannot be, is refused with the file, the line and what would be right. The file is
//! never written. [docs/configuration.md](../../../docs/configuration.md) has all keys.

mod amounts;

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Deserialize;
use shoal_engine::history::Retention;
use shoal_proto::invite::Address;
use shoal_proto::limits::INVITE_TRACKERS_MAX;
use shoal_proto::roster::DeviceName;
use toml::Spanned;

pub use self::amounts::{bytes, duration};
use crate::control::report::Reloaded;
use crate::private::shown;

/// The longest file that is read.
pub const CONFIG_BYTES_MAX: u64 = 64 * 1024;

/// Most addresses to listen at.
pub const LISTEN_MAX: usize = 16;

/// Most connections unless told otherwise.
const CONNECTIONS: usize = 512;

/// All that can be set, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// What this device calls itself.
    pub name: DeviceName,
    /// Where it listens.
    pub listen: Listen,
    /// Trackers that are asked for every share, beside those of the share's invite.
    pub trackers: Vec<Address>,
    /// Whether devices in the same network find each other without a tracker.
    pub lan: bool,
    /// Whether this daemon is a tracker, too, for whoever asks it.
    pub tracker: bool,
    /// How much of what was displaced is kept.
    pub history: Retention,
    /// Most connections in all.
    pub connections: usize,
}

/// Where to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listen {
    /// At all addresses of this machine, at the port of the last time, or a free one if that is taken.
    Any,
    /// At these addresses, and nowhere else; port 0 is as in [`Listen::Any`].
    At(Vec<SocketAddr>),
}

/// A configuration, and what is not quite right with its file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// For the operator.
    pub warnings: Vec<String>,
}

/// Why a configuration cannot be used. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The system refuses.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A folder, a device, or far too long.
    #[error("{path} is {what}")]
    Odd {
        /// The file.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// Something in it is wrong.
    #[error("{path}, line {line}, column {column}: {what}")]
    Wrong {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The character in it, from 1.
        column: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
}

/// The file as it is written; each value knows where it stands.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    name: Option<Spanned<String>>,
    listen: Option<Spanned<Vec<Spanned<String>>>>,
    trackers: Option<Spanned<Vec<Spanned<String>>>>,
    lan: Option<bool>,
    tracker: Option<bool>,
    history: RawHistory,
    limits: RawLimits,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawHistory {
    keep: Option<Spanned<String>>,
    max: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    connections: Option<Spanned<i64>>,
}

/// What is wrong, and where in the text.
type Wrong = (Range<usize>, String);

impl Default for Config {
    fn default() -> Self {
        Self {
            name: host_name(),
            listen: Listen::Any,
            trackers: Vec::new(),
            lan: true,
            tracker: false,
            history: Retention::default(),
            connections: CONNECTIONS,
        }
    }
}

impl Config {
    /// The configuration in this file, or the default one if there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, or something in it is wrong.
    pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
        let Some((text, mode)) = read(path)? else {
            return Ok(Loaded { config: Self::default(), warnings: Vec::new() });
        };
        let config = Self::parse(&text).map_err(|(span, what)| {
            let (line, column) = place(&text, span.start);
            ConfigError::Wrong { path: shown(path), line, column, what }
        })?;
        let mut warnings = Vec::new();
        if mode & 0o022 != 0 {
            warnings.push(format!("others may change {}; close it with `chmod go-w`", shown(path)));
        }
        Ok(Loaded { config, warnings })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let raw: Raw = toml::from_str(text)
            .map_err(|error| (error.span().unwrap_or(0..0), error.message().replace('\n', "; ")))?;
        let default = Self::default();
        Ok(Self {
            name: raw.name.map_or(Ok(default.name), |name| device_name(&name))?,
            listen: raw.listen.map_or(Ok(default.listen), |listen| addresses_to_listen(&listen))?,
            trackers: raw.trackers.map_or(Ok(default.trackers), |trackers| addresses_of(&trackers))?,
            lan: raw.lan.unwrap_or(default.lan),
            tracker: raw.tracker.unwrap_or(default.tracker),
            history: Retention {
                keep: raw.history.keep.map_or(Ok(default.history.keep), |keep| with(&keep, duration))?,
                bytes_max: raw.history.max.map_or(Ok(default.history.bytes_max), |max| with(&max, bytes))?,
            },
            connections: raw
                .limits
                .connections
                .map_or(Ok(default.connections), |count| connections(&count))?,
        })
    }

    /// Which keys have other values in a newer configuration, and which of these count from now on.
    #[must_use]
    pub fn changes(&self, newer: &Self) -> Reloaded {
        let Self { name, listen, trackers, lan, tracker, history, connections } = self;
        let mut changes = Reloaded::default();
        let mut compare = |key: &str, is_same: bool, at_once: bool| {
            if !is_same {
                let list = if at_once { &mut changes.changed } else { &mut changes.at_restart };
                list.push(key.into());
            }
        };
        compare("name", *name == newer.name, true);
        compare("listen", *listen == newer.listen, false);
        compare("trackers", *trackers == newer.trackers, true);
        compare("lan", *lan == newer.lan, false);
        compare("tracker", *tracker == newer.tracker, false);
        compare("history", *history == newer.history, true);
        compare("limits.connections", *connections == newer.connections, false);
        changes
    }

    /// What counts from now on of a newer configuration: it, but for what takes a restart.
    #[must_use]
    pub fn reloaded(&self, newer: &Self) -> Self {
        let Self { name, trackers, history, .. } = newer.clone();
        Self { name, trackers, history, ..self.clone() }
    }
}

/// The text of the file without what some editors begin it with, and its mode; `None`: there is none.
fn read(path: &Path) -> Result<Option<(String, u32)>, ConfigError> {
    let error = |source| ConfigError::Read { path: shown(path), source };
    let odd = |what| Err(ConfigError::Odd { path: shown(path), what });
    let metadata = match std::fs::metadata(path) {
        Err(failed) if failed.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(error)?,
    };
    // Looked at before it is opened: to open a pipe is to wait for somebody.
    if !metadata.is_file() {
        return odd("no file");
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(error)?.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(error)?;
    if bytes.len() as u64 > CONFIG_BYTES_MAX {
        return odd("longer than 64 KiB, so no configuration");
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((text, metadata.mode()))),
        Err(error) => {
            let good =
                String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
            let (line, column) = place(&good, good.len());
            Err(ConfigError::Wrong { path: shown(path), line, column, what: "this is not UTF-8 text".into() })
        }
    }
}

/// The line and the column, both from 1, of a place in a text.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

fn with<T>(value: &Spanned<String>, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Wrong> {
    parse(value.get_ref()).map_err(|what| (value.span(), what))
}

fn device_name(name: &Spanned<String>) -> Result<DeviceName, Wrong> {
    with(name, |text| DeviceName::parse(text).map_err(|_| "'name' has 1 to 64 bytes".into()))
}

fn addresses_to_listen(list: &Spanned<Vec<Spanned<String>>>) -> Result<Listen, Wrong> {
    let addresses = list.get_ref();
    if addresses.is_empty() || addresses.len() > LISTEN_MAX {
        return Err((list.span(), format!("'listen' has 1 to {LISTEN_MAX} addresses; leave it out for all")));
    }
    let one = |text: &str| {
        let ip = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0)).ok();
        text.parse::<SocketAddr>().ok().or_else(ip).ok_or_else(|| {
            "give an IP address, with or without a port, like \"192.168.1.5:4242\" or \"[::]:4242\""
                .to_owned()
        })
    };
    let addresses = addresses.iter().map(|address| with(address, one)).collect::<Result<Vec<_>, _>>()?;
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    Ok(if addresses == [any] { Listen::Any } else { Listen::At(addresses) })
}

fn addresses_of(list: &Spanned<Vec<Spanned<String>>>) -> Result<Vec<Address>, Wrong> {
    if list.get_ref().len() > INVITE_TRACKERS_MAX {
        return Err((list.span(), format!("at most {INVITE_TRACKERS_MAX} trackers")));
    }
    let one = |text: &str| {
        Address::parse(text).map_err(|error| format!("{error}; give one like \"tracker.example:9000\""))
    };
    list.get_ref().iter().map(|address| with(address, one)).collect()
}

fn connections(count: &Spanned<i64>) -> Result<usize, Wrong> {
    let allowed = 1..=100_000;
    let number = usize::try_from(*count.get_ref()).ok().filter(|count| allowed.contains(count));
    number.ok_or_else(|| (count.span(), "'connections' is a number from 1 to 100000".into()))
}

/// The name of this machine, as far as it fits.
fn host_name() -> DeviceName {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    let first = name.split('.').next().unwrap_or_default();
    let cut =
        first.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|end| *end <= 64).last();
    let fallback = || DeviceName::parse("a device").ok();
    let name = DeviceName::parse(&first[..cut.unwrap_or(0)]).ok().or_else(fallback);
    name.expect("a name of eight letters is one")
}

#[cfg(test)]
mod tests;
