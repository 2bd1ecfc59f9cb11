//! Files that came and could not be put in place here.
//!
//! Promise: such a file is fetched once more at the next directory, and then after growing pauses; a newer version
//! of it is fetched at once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::{SETBACK_REST_MAX, SETBACK_REST_MIN};
use crate::name::FileName;
use crate::time::Time;

#[derive(Debug, Default)]
pub(super) struct Setbacks(BTreeMap<FileName, Setback>);

#[derive(Debug)]
struct Setback {
    mtime: i64,
    rest: Duration,
    until: Time,
}

impl Setbacks {
    /// Notes that the version of this mtime could not be put in place.
    pub(super) fn add(&mut self, name: &FileName, mtime: i64, now: Time) {
        let before = self.0.get(name).filter(|before| before.mtime == mtime);
        let rest =
            before.map_or(Duration::ZERO, |it| (it.rest * 2).clamp(SETBACK_REST_MIN, SETBACK_REST_MAX));
        self.0.insert(name.clone(), Setback { mtime, rest, until: now + rest });
    }

    /// Whether the version of this mtime is to be left alone for now.
    pub(super) fn rests(&self, name: &FileName, mtime: i64, now: Time) -> bool {
        self.0.get(name).is_some_and(|setback| setback.mtime == mtime && now < setback.until)
    }

    /// The name is in sync.
    pub(super) fn end(&mut self, name: &FileName) {
        self.0.remove(name);
    }

    /// Forgets names that are no longer `listed`.
    pub(super) fn retain(&mut self, listed: impl Fn(&FileName) -> bool) {
        self.0.retain(|name, _| listed(name));
    }
}
