//! How often each name was replaced lately, so that two sources that outbid each other's mtimes cannot keep
//! the disk busy for ever (`C12`).

use std::collections::BTreeMap;

use crate::limits::{REPLACEMENT_WINDOW, REPLACEMENTS_MAX};
use crate::name::FileName;
use crate::time::Time;

#[derive(Debug, Default)]
pub(super) struct Replacements(BTreeMap<FileName, Lately>);

#[derive(Debug)]
struct Lately {
    since: Time,
    count: u32,
}

impl Replacements {
    /// Notes that a name was replaced.
    pub(super) fn count(&mut self, name: &FileName, now: Time) {
        let lately = self.0.entry(name.clone()).or_insert(Lately { since: now, count: 0 });
        if now >= lately.since + REPLACEMENT_WINDOW {
            *lately = Lately { since: now, count: 0 };
        }
        lately.count += 1;
    }

    /// Whether a name was replaced as often as it may be for now.
    pub(super) fn are_too_many(&self, name: &FileName, now: Time) -> bool {
        let lately = self.0.get(name);
        lately.is_some_and(|it| it.count >= REPLACEMENTS_MAX && now < it.since + REPLACEMENT_WINDOW)
    }

    /// Forgets what no longer counts.
    pub(super) fn forget_old(&mut self, now: Time) {
        self.0.retain(|_, lately| now < lately.since + REPLACEMENT_WINDOW);
    }
}
