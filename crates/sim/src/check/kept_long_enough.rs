//! I3, I5: what was displaced stays in history for as long as was said, and longer where it is needed.
//!
//! Promise: when something was filed, and how much there is, the disks say. A version goes by age only when its time is
//! over, by a clock that never jumps, but for a thirtieth of it for each time that its machine's clock jumped or was not
//! looked at; or when, with it, there would be too much. What a head names, and nothing else on the disk has, does
//! not go at all.

use std::collections::{BTreeMap, BTreeSet};

use shoal_disk::Kind;
use shoal_disk::mem::MemDisk;
use shoal_engine::time::Time;
use shoal_proto::hash::ContentId;
use shoal_proto::record::Kind as RecordKind;

use crate::check::Broken;
use crate::ledger::{Digest, digest};
use crate::users::full;
use crate::world::World;

/// The files of a history, by their numbers.
pub type Files = BTreeMap<u64, Vec<u8>>;

/// What was filed in the histories of a world.
#[derive(Clone, Debug, Default)]
pub struct Histories {
    filed: BTreeMap<(usize, u64), Filed>,
    /// The contents of versions that went when they might.
    pub went: BTreeSet<Digest>,
}

/// When something was filed; nothing is known of what was there before it was looked at.
#[derive(Clone, Copy, Debug)]
struct Filed {
    at: Time,
    /// How often its machine's clock had jumped.
    leaps: u32,
}

impl Histories {
    /// A disk is another one: of what is there nobody knows since when.
    pub fn forget(&mut self, device: usize) {
        self.filed.retain(|(of, _), _| *of != device);
    }
}

/// What lies in the history of a disk.
#[must_use]
pub fn kept_files(disk: &MemDisk) -> Files {
    let tree = disk.user().tree(&full(".shoal/history")).unwrap_or_default();
    let number = |path: &std::path::Path| u64::from_str_radix(path.to_str()?, 16).ok();
    let files = tree.into_iter().filter(|(_, seen)| seen.kind != Kind::Folder);
    files.filter_map(|(path, seen)| Some((number(&path)?, seen.bytes))).collect()
}

fn of_file(kind: &RecordKind) -> Option<ContentId> {
    match kind {
        RecordKind::File { content, .. } => Some(*content),
        _ => None,
    }
}

impl World {
    /// Notes what has come into the history of a device.
    pub(crate) fn note_filed(&mut self, device: usize) {
        let one = &self.devices[device];
        let filed = Filed { at: self.now(), leaps: one.leaps };
        // A copy of a device, and a disk that was put back, have what they had.
        let is_new = one.clone_of.is_none() && one.leaps <= 1
            || self.histories.filed.keys().any(|(of, _)| *of == device);
        let filed = if is_new { filed } else { Filed { at: Time::ZERO, leaps: 0 } };
        for number in kept_files(&one.disk).into_keys() {
            self.histories.filed.entry((device, number)).or_insert(filed);
        }
    }

    /// Checks what has gone from the history of a device, in this order; the files are those of before.
    pub(crate) fn have_gone(&mut self, device: usize, numbers: &[u64], before: &Files) -> Result<(), Broken> {
        let one = &self.devices[device];
        let (after, bytes_max) = (kept_files(&one.disk), one.retention.bytes_max);
        if let Some(other) =
            before.keys().find(|number| !after.contains_key(number) && !numbers.contains(number))
        {
            return Err(Broken::new(
                "I3",
                format!("version {other} went from {} though nobody asked", one.name),
            ));
        }
        let mut left: u64 = after.values().map(|bytes| bytes.len() as u64).sum();
        // Each was chosen with those before it gone; so the last one that was not too old was still too much.
        for number in numbers.iter().rev() {
            let Some(bytes) = before.get(number).filter(|_| !after.contains_key(number)) else { continue };
            left += bytes.len() as u64;
            let filed = self.histories.filed.remove(&(device, *number));
            let is_old = filed.is_none_or(|filed| self.has_had_its_time(device, filed));
            // An index that knows of files that are not there any more takes them for room that is taken.
            if !is_old && self.puts_back == 0 && left <= bytes_max {
                let name = &self.devices[device].name;
                let what = format!("version {number} went from the history of {name} before its time");
                return Err(Broken::new("I3", what));
            }
            self.histories.went.insert(digest(bytes));
        }
        Ok(())
    }

    fn has_had_its_time(&self, device: usize, filed: Filed) -> bool {
        let one = &self.devices[device];
        let leaps = one.leaps.saturating_sub(filed.leaps);
        self.now().since(filed.at) + one.retention.part() * leaps >= one.retention.keep
    }

    /// Checks that what an index has given up is not the only thing that a head names. The files are still there.
    pub(crate) fn are_not_needed(&self, device: usize, numbers: &[u64]) -> Result<(), Broken> {
        if numbers.is_empty() {
            return Ok(());
        }
        let one = &self.devices[device];
        let files = kept_files(&one.disk);
        let rows = one.index.paths_below(None, None, usize::MAX).map_err(Broken::of_index)?;
        let heads = rows.iter().flat_map(|row| row.heads.iter());
        let wanted: BTreeSet<ContentId> = heads.filter_map(|head| of_file(&head.version.kind)).collect();
        let here = rows.iter().filter_map(|row| row.here.as_ref());
        let shown: BTreeSet<ContentId> = here.filter_map(|here| of_file(&here.version.kind)).collect();
        let is_left = |content: &ContentId| one.index.places(content).is_ok_and(|places| !places.is_empty());
        for number in numbers {
            let Some(bytes) = files.get(number).filter(|bytes| !bytes.is_empty()) else { continue };
            let content = crate::world::content(bytes);
            if wanted.contains(&content) && !shown.contains(&content) && !is_left(&content) {
                let what = format!("{} gives up version {number}, which a head names", one.name);
                return Err(Broken::new("I5", what));
            }
        }
        Ok(())
    }
}
