//! What would be lost: for guards that ask before much goes at once (I19), and for what others are told to be here.
//!
//! Promise: nothing is changed. A content is lost if no file on this disk would have it any more; one that is found, or is
//! about to be placed, at another path is not. What was lost just before counts as well ([`crate::losses`]). What is asked
//! about costs no look at all paths: contents are counted in memory, and only paths that are spoken of, or ask for
//! something, are read. Begin at [`Index::loss`].

use core::ops::ControlFlow;
use std::collections::{BTreeMap, BTreeSet};

use shoal_engine::index::{Further, Observed, Survey};
use shoal_engine::planner::{Deed, Rights, decide};
use shoal_proto::digest::Sum;
use shoal_proto::hash::{ContentId, RecordHash, prefix};
use shoal_proto::here::Here;
use shoal_proto::path::RelPath;
use shoal_proto::record::Kind;
use shoal_proto::roster::Role;

use crate::error::IndexError;
use crate::losses::Losses;
use crate::row::file_content;
use crate::store::Index;
use crate::work::{find, reading};

impl Index {
    /// What contents there are on this disk, and which of those whose files are gone no file would have any more if these
    /// observations were noted, and these further ones later: what a user replaces is no loss. One that is compared with
    /// something else than the index holds would not be noted, and does not count. What the user took away of late counts
    /// with it.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn loss(&self, observed: &[Observed], further: &Further) -> Result<Survey, IndexError> {
        let mut changes = Changes::default();
        for (hash, files) in further.iter() {
            changes.0.insert(hash, Change { files: -files, is_taken: true });
        }
        let mut noted: BTreeMap<&RelPath, Option<&Here>> = BTreeMap::new();
        for Observed { path, compared, found } in observed {
            let is_as_compared = match noted.get(path) {
                Some(here) => *here == compared.as_ref(),
                None => {
                    let row = find(&self.conn, &self.memory, &self.life.share, path)?;
                    row.and_then(|row| row.here) == *compared
                }
            };
            if is_as_compared {
                changes.less(compared.as_ref(), found.is_none());
                changes.more(found.as_ref());
                noted.insert(path, found.as_ref());
            }
        }
        Ok(self.survey_of(&changes, &self.memory.lost_here))
    }

    /// What contents there are on this disk, and which of them no file would have any more if all was done to it that
    /// others ask for: of files that are taken away, not of those that are replaced. What is about to be placed counts as
    /// found. What was taken away of late because of others counts with it. And how many paths are to be taken away.
    ///
    /// Looks at all paths that ask for something; it keeps some bytes of memory for each content that would go.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn survey(&self) -> Result<(Survey, u64), IndexError> {
        let rights = self.rights();
        let (mut changes, mut removals) = (Changes::default(), 0);
        self.each_diverging(|row| {
            let triple = self.triple_of(row);
            match decide(&triple, rights).disk {
                Deed::Place(record) => {
                    changes.less(triple.here.as_ref(), false);
                    // What is not here yet cannot be lost, and need not be remembered.
                    let is_here = |hash: &u64| self.memory.on_disk.count(*hash) > 0;
                    changes.change(hash_of(&record.version.kind).filter(is_here), 1);
                }
                Deed::Remove(_) => {
                    removals += 1;
                    changes.less(triple.here.as_ref(), true);
                }
                Deed::MakeFolder(_) => changes.less(triple.here.as_ref(), false),
                Deed::Nothing | Deed::Agree(_) | Deed::Publish | Deed::LocalDifference | Deed::Retouch(_) => {
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((self.survey_of(&changes, &self.memory.lost_to_others), removals))
    }

    /// What the role of this device lets it do.
    pub(crate) fn rights(&self) -> Rights {
        let is_writer = self.memory.roster.role(&self.life.device) >= Some(Role::Writer);
        if is_writer { Rights::Writer } else { Rights::Reader }
    }

    /// The records that this device wants and whose bytes are nowhere on this disk, at most one more than `at_most`; and
    /// the root of all records. Heads that are stale are not wanted by anybody, and records without bytes lack none.
    ///
    /// # Errors
    /// When the database cannot be read, or is damaged.
    pub fn lacking(&self, at_most: usize) -> Result<(BTreeSet<RecordHash>, Sum), IndexError> {
        let mut lacking = BTreeSet::new();
        self.each_diverging(|row| {
            for head in row.heads().live() {
                if let Kind::File { size: 1.., content } = &head.version.kind
                    && !self.is_somewhere(content)?
                    && let Some(said) = row.said_of(head)
                {
                    lacking.insert(said.hash);
                }
                if lacking.len() > at_most {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((lacking, self.memory.digests.root()))
    }

    /// Whether a file on this disk, or one in the history, has this content.
    fn is_somewhere(&self, content: &ContentId) -> Result<bool, IndexError> {
        if self.memory.on_disk.count(prefix(content.as_bytes())) > 0 {
            return Ok(true);
        }
        self.conn
            .prepare_cached("SELECT 1 FROM history WHERE content = ?1")
            .and_then(|mut statement| statement.exists([content.as_bytes()]))
            .map_err(reading())
    }

    /// What came only since the first of the losses of late counts for nothing if it goes again.
    fn survey_of(&self, changes: &Changes, before: &Losses) -> Survey {
        let on_disk = &self.memory.on_disk;
        let is_lost = |(hash, change): &(&u64, &Change)| {
            let count = i64::from(on_disk.count(**hash));
            change.is_taken && count > 0 && count + change.files <= 0
        };
        let (mut lost, mut passing) = (before.lost(), 0);
        for (hash, _) in changes.0.iter().filter(is_lost) {
            if before.is_new(*hash) { passing += 1 } else { lost += 1 }
        }
        Survey { had: on_disk.contents() + before.lost() - passing, lost }
    }
}

/// What would become of contents.
#[derive(Debug, Default)]
struct Changes(BTreeMap<u64, Change>);

#[derive(Clone, Copy, Debug, Default)]
struct Change {
    /// So many files more would have it, or less.
    files: i64,
    /// A file that has it would go, and nothing take its place.
    is_taken: bool,
}

impl Changes {
    fn less(&mut self, here: Option<&Here>, is_taken: bool) {
        if let Some(hash) = here.and_then(|here| hash_of(&here.version.kind)) {
            let change = self.0.entry(hash).or_default();
            change.files -= 1;
            change.is_taken |= is_taken;
        }
    }

    fn more(&mut self, here: Option<&Here>) {
        self.change(here.and_then(|here| hash_of(&here.version.kind)), 1);
    }

    fn change(&mut self, hash: Option<u64>, by: i64) {
        if let Some(hash) = hash {
            self.0.entry(hash).or_default().files += by;
        }
    }
}

/// What a file's content is counted by.
pub(crate) fn hash_of(kind: &Kind) -> Option<u64> {
    file_content(kind).map(|content| prefix(content.as_bytes()))
}
