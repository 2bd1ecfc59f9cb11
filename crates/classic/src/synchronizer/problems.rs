//! The names that are not in sync, each with its reason.
//!
//! Promise: a reason is told once; a problem lasts exactly as long as there is cause for it.

use std::collections::{BTreeMap, BTreeSet};

use super::words::Event;
use crate::message::Refusals;
use crate::name::FileName;
use crate::plan::Refusal;

#[derive(Debug, Default)]
pub(super) struct Problems {
    /// Plain names, with the reason that was told.
    named: BTreeMap<FileName, String>,
    /// Names that are no names, escaped, with the reason that was told.
    malformed: BTreeMap<String, String>,
    /// Entries that were refused and only counted.
    untold: usize,
}

impl Problems {
    /// The plain names that have a problem.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(FileName::as_str)
    }

    /// How many entries have a problem and no plain name.
    pub(super) fn nameless(&self) -> usize {
        self.malformed.len() + self.untold
    }

    /// Notes the reason; the event to report, if this is news.
    pub(super) fn tell(&mut self, name: &FileName, why: String) -> Option<Event> {
        if self.named.get(name) == Some(&why) {
            return None;
        }
        self.named.insert(name.clone(), why.clone());
        Some(Event::Problem { name: name.to_string(), why })
    }

    /// Notes the reason unless another one is known, which says more.
    pub(super) fn tell_unless_known(&mut self, name: &FileName, why: String) -> Option<Event> {
        if self.named.contains_key(name) { None } else { self.tell(name, why) }
    }

    /// The name is in sync.
    pub(super) fn end(&mut self, name: &FileName) {
        self.named.remove(name);
    }

    /// Judges all problems by a new directory: those stay whose file is still `open`, those come that the
    /// directory itself gives; the events to report.
    pub(super) fn renew<'a>(
        &mut self,
        open: impl Iterator<Item = &'a FileName>,
        refused: &[(FileName, Refusal)],
        refusals: &Refusals,
    ) -> Vec<Event> {
        let mut lasting: BTreeSet<&FileName> = open.collect();
        lasting.extend(refused.iter().map(|(name, _)| name));
        self.named.retain(|name, _| lasting.contains(name));
        let mut events: Vec<Event> =
            refused.iter().filter_map(|(name, refusal)| self.tell(name, refusal.to_string())).collect();

        let told = &refusals.told;
        let malformed: BTreeMap<String, String> =
            told.iter().map(|(name, error)| (name.clone(), error.to_string())).collect();
        let news = malformed.iter().filter(|(name, why)| self.malformed.get(*name) != Some(*why));
        events.extend(news.map(|(name, why)| Event::Problem { name: name.clone(), why: why.clone() }));
        self.malformed = malformed;

        let untold = refusals.count - told.len();
        if untold != self.untold && untold > 0 {
            events.push(Event::Warning(format!("the directory has {untold} more entries that are refused")));
        }
        self.untold = untold;
        events
    }
}
