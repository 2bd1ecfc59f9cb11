//! What is counted, and how Prometheus reads it. No file names, no addresses.

use std::cell::Cell;
use std::fmt::Write as _;
use std::time::Duration;

use crate::directory::Tally;
use crate::swarm;

/// Counters that only grow; one thread counts.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    connections: Count,
    initials: Count,
    keep_alives: Count,
    answers: Count,
    answered_bytes: Count,
    refusals: [Count; Refusal::ALL.len()],
}

/// Why something was refused: a connection, a message or an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// A connection beyond the bound in all.
    Connections,
    /// A connection beyond the bound per address.
    AddressConnections,
    /// A connection that could not be accepted, most often for want of handles.
    Accept,
    /// A connection without a message.
    Silent,
    /// A connection that stopped inside a message.
    Stalled,
    /// A connection that sent something else than messages.
    Malformed,
    /// An entry of a message.
    Entry,
    /// A file beyond the bound per peer.
    PeerEntries,
    /// A file beyond the bound in all.
    Announcements,
    /// A connection that did not take its answer.
    WriteStall,
    /// A connection that had to give way to newer ones, so that memory stays bounded.
    Buffers,
    /// A native connection whose handshake failed.
    Handshake,
    /// A native connection for another purpose.
    Purpose,
}

/// What is true now, as opposed to counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) connections: usize,
    pub(crate) tally: Tally,
    pub(crate) swarm: swarm::Tally,
    pub(crate) uptime: Duration,
}

#[derive(Debug, Default)]
struct Count(Cell<u64>);

impl Count {
    fn add(&self, more: u64) {
        self.0.set(self.0.get().wrapping_add(more));
    }

    fn get(&self) -> u64 {
        self.0.get()
    }
}

impl Refusal {
    pub(crate) const ALL: [Self; 13] = [
        Self::Connections,
        Self::AddressConnections,
        Self::Accept,
        Self::Silent,
        Self::Stalled,
        Self::Malformed,
        Self::Entry,
        Self::PeerEntries,
        Self::Announcements,
        Self::WriteStall,
        Self::Buffers,
        Self::Handshake,
        Self::Purpose,
    ];

    /// Its name among the metrics; not to be changed.
    const fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::AddressConnections => "address_connections",
            Self::Accept => "accept",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::Malformed => "malformed",
            Self::Entry => "entry",
            Self::PeerEntries => "peer_entries",
            Self::Announcements => "announcements",
            Self::WriteStall => "write_stall",
            Self::Buffers => "buffers",
            Self::Handshake => "handshake",
            Self::Purpose => "purpose",
        }
    }

    /// The same in words for people.
    const fn words(self) -> &'static str {
        match self {
            Self::Connections => "Connections beyond the bound",
            Self::AddressConnections => "Connections beyond the bound for one address",
            Self::Accept => "Connections that could not be accepted",
            Self::Silent => "Connections that said nothing",
            Self::Stalled => "Connections that stopped inside a message",
            Self::Malformed => "Connections that sent no valid message",
            Self::Entry => "Entries that name no plain file",
            Self::PeerEntries => "Files beyond the bound for one peer",
            Self::Announcements => "Files beyond the bound in all",
            Self::WriteStall => "Connections that did not take their answer",
            Self::Buffers => "Connections that held too much unfinished",
            Self::Handshake => "Native connections that proved no key",
            Self::Purpose => "Native connections for something else than a tracker",
        }
    }
}

impl Metrics {
    pub(crate) fn connected(&self) {
        self.connections.add(1);
    }

    pub(crate) fn initial(&self) {
        self.initials.add(1);
    }

    pub(crate) fn keep_alive(&self) {
        self.keep_alives.add(1);
    }

    pub(crate) fn answered(&self, bytes: usize) {
        self.answers.add(1);
        self.answered_bytes.add(bytes as u64);
    }

    pub(crate) fn refused(&self, refusal: Refusal, count: usize) {
        self.refusals[refusal as usize].add(count as u64);
    }

    /// Everything in the text format of Prometheus.
    pub(crate) fn prometheus(&self, moment: &Moment) -> String {
        let mut out = String::new();
        let (tally, swarm) = (&moment.tally, &moment.swarm);
        let mut gauge = |name, help, value| family(&mut out, name, "gauge", help, &[("", value)]);
        gauge("connections", "Open connections.", moment.connections as u64);
        gauge("peers", "Peers whose files are listed.", tally.peers as u64);
        gauge("files", "Names that peers have announced.", tally.names as u64);
        gauge("announcements", "Announced files, counted for every peer.", tally.announcements as u64);
        gauge("files_unlisted", "Names that found no room in a directory.", tally.unlisted as u64);
        gauge("views", "Directories that are kept encoded.", tally.views as u64);
        gauge("native_connections", "Open connections of native peers.", swarm.callers as u64);
        gauge("native_topics", "Topics with a native peer announced or watching.", swarm.topics as u64);
        gauge("native_leases", "Announcements of native peers.", swarm.leases as u64);
        gauge("native_watches", "Topics watched, counted for every connection.", swarm.watches as u64);
        gauge("uptime_seconds", "Time since the start.", moment.uptime.as_secs());
        let mut counter = |name, help, values: &[_]| family(&mut out, name, "counter", help, values);
        counter("connections_total", "Accepted connections.", &[("", self.connections.get())]);
        let messages =
            [("{kind=\"initial\"}", self.initials.get()), ("{kind=\"keep_alive\"}", self.keep_alives.get())];
        counter("messages_total", "Messages from peers.", &messages);
        counter("answers_total", "Directories sent.", &[("", self.answers.get())]);
        counter("answered_bytes_total", "Bytes of directories sent.", &[("", self.answered_bytes.get())]);
        counter("expiries_total", "Peers that fell silent.", &[("", tally.expired)]);
        counter("native_announced_total", "Announcements taken.", &[("", swarm.announced)]);
        counter("native_ended_total", "Announcements that were not renewed.", &[("", swarm.ended)]);
        counter("native_pushed_total", "Messages about what changed.", &[("", swarm.pushed)]);
        counter("native_displaced_total", "What gave way to others.", &[("", swarm.displaced)]);
        let refused =
            [("{reason=\"full\"}", swarm.refused_full), ("{reason=\"too_often\"}", swarm.refused_often)];
        counter("native_refusals_total", "Messages refused, by reason.", &refused);
        let labels = Refusal::ALL.map(|refusal| format!("{{reason=\"{}\"}}", refusal.label()));
        let refusals: Vec<_> = labels.iter().map(String::as_str).zip(self.refusals()).collect();
        counter("refusals_total", "What was refused, by reason.", &refusals);
        out
    }

    /// The same for people, as rows of words and figures.
    pub(crate) fn rows(&self, moment: &Moment) -> Vec<(&'static str, u64)> {
        let mut rows = vec![
            ("Peers", moment.tally.peers as u64),
            ("Files", moment.tally.names as u64),
            ("Files without room in a directory", moment.tally.unlisted as u64),
            ("Connections", moment.connections as u64),
            ("Seconds since the start", moment.uptime.as_secs()),
            ("Initial messages", self.initials.get()),
            ("Keep-alives", self.keep_alives.get()),
            ("Answers", self.answers.get()),
            ("Bytes of answers", self.answered_bytes.get()),
            ("Peers that fell silent", moment.tally.expired),
            ("Native connections", moment.swarm.callers as u64),
            ("Native topics", moment.swarm.topics as u64),
            ("Native announcements", moment.swarm.leases as u64),
            ("Native topics watched", moment.swarm.watches as u64),
            ("Native announcements so far", moment.swarm.announced),
            ("Native messages about changes", moment.swarm.pushed),
        ];
        let refusals = Refusal::ALL.map(Refusal::words).into_iter().zip(self.refusals());
        rows.extend(refusals.filter(|(_, count)| *count > 0));
        rows
    }

    fn refusals(&self) -> impl Iterator<Item = u64> {
        self.refusals.iter().map(Count::get)
    }
}

/// One metric with its values, each with its labels.
fn family(out: &mut String, name: &str, kind: &str, help: &str, values: &[(&str, u64)]) {
    let name = format!("shoal_tracker_{name}");
    // Writing to a string does not fail.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in values {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_every_refusal_once_and_in_place() {
        let metrics = Metrics::default();
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
            metrics.refused(refusal, index + 1);
        }
        metrics.answered(100);
        let swarm_tally = swarm::Tally { leases: 7, ..swarm::Tally::default() };
        let moment = Moment {
            connections: 2,
            tally: Tally::default(),
            swarm: swarm_tally,
            uptime: Duration::from_secs(3),
        };
        let text = metrics.prometheus(&moment);
        for line in [
            "# TYPE shoal_tracker_connections gauge\nshoal_tracker_connections 2\n",
            "shoal_tracker_uptime_seconds 3\n",
            "shoal_tracker_answered_bytes_total 100\n",
            "shoal_tracker_messages_total{kind=\"initial\"} 0\n",
            "shoal_tracker_refusals_total{reason=\"connections\"} 1\n",
            "shoal_tracker_refusals_total{reason=\"buffers\"} 11\n",
            "shoal_tracker_native_leases 7\n",
            "shoal_tracker_native_refusals_total{reason=\"too_often\"} 0\n",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert_eq!(text.matches("_tracker_refusals_total{reason=").count(), Refusal::ALL.len());
        let last = ("Native connections for something else than a tracker", 13);
        assert_eq!(metrics.rows(&moment).last(), Some(&last));
    }
}
