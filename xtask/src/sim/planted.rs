//! The bugs that are planted to see whether the worlds notice them.

/// A change of one place.
pub(super) struct Bug {
    /// What it is called here and in `docs/design/simulation.md`.
    pub(super) name: &'static str,
    /// Where.
    pub(super) file: &'static str,
    /// What stands there, once.
    pub(super) from: &'static str,
    /// What is put in its place.
    pub(super) to: &'static str,
}

/// All of them; by their names: what is wrong.
pub(super) const BUGS: &[Bug] = &[
    Bug {
        name: "told-before-durable",
        file: "crates/disk/src/worker/taking.rs",
        from: "false => settle_names(self.folder, durable),",
        to: "false => Ok(drop(durable)),",
    },
    Bug {
        name: "staged-not-durable",
        file: "crates/disk/src/stage/parts.rs",
        from: "let syncs = self.slot.folder.durability == Durability::EachFile;",
        to: "let syncs = self.slot.folder.durability != Durability::EachFile;",
    },
    Bug {
        name: "displaced-is-deleted",
        file: "crates/disk/src/swap.rs",
        from: "self.staging.move_to_free(slot.as_ref(), &self.history, slot.as_ref())",
        to: "self.staging.remove(slot.as_ref())",
    },
    Bug {
        name: "bytes-not-checked",
        file: "crates/disk/src/worker/stages.rs",
        from: "Source::Bytes(bytes) if segment.is(&bytes) =>",
        to: "Source::Bytes(bytes) if bytes.len() == segment.length as usize =>",
    },
    Bug {
        name: "time-not-set",
        file: "crates/disk/src/stage/parts.rs",
        from: "file.set_mtime(mtime)?;",
        to: "let _ = mtime;",
    },
    Bug {
        name: "mode-not-set",
        file: "crates/disk/src/stage/parts.rs",
        from: "file.set_mode(mode)?;",
        to: "let _ = mode;",
    },
    Bug {
        name: "edit-forgets-base",
        file: "crates/index/src/observe.rs",
        from: "row.heads().edit(path, row.base.as_ref(), version, dot)",
        to: "row.heads().edit(path, None, version, dot)",
    },
    Bug {
        name: "deletion-not-said",
        file: "crates/index/src/observe.rs",
        from: "return base.filter(|base| !base.kind.is_gone()).map(Version::deleted);",
        to: "return base.filter(|base| base.kind.is_gone()).map(Version::deleted);",
    },
    Bug {
        name: "counter-not-advanced",
        file: "crates/index/src/work.rs",
        from: "self.life.counter = dot.counter;",
        to: "self.life.counter = dot.counter.saturating_sub(1);",
    },
    Bug {
        name: "readers-records-taken",
        file: "crates/index/src/merge.rs",
        from: "Standing::Counts => counting.push(one),",
        to: "Standing::Counts | Standing::Reader => counting.push(one),",
    },
    Bug {
        name: "other-time-taken-for-agreed",
        file: "crates/index/src/place.rs",
        from: "if shown.is_some_and(is_other) { Standing::Behind }",
        to: "if shown.is_none_or(is_other) && shown.is_none() { Standing::Behind }",
    },
    Bug {
        name: "base-not-renewed",
        file: "crates/index/src/place.rs",
        from: "(outcome, Some(base), standing)",
        to: "(outcome, row.base.clone(), standing)",
    },
    Bug {
        name: "needed-is-pruned",
        file: "crates/index/src/history/prune.rs",
        from: "Ok(candidate.is_named && !self.is_needed(candidate)?)",
        to: "Ok(candidate.is_named)",
    },
    Bug {
        name: "clock-is-trusted",
        file: "crates/index/src/history/prune.rs",
        from: "passed.clamp(lived, lived.saturating_add(part(&pruning.retention)))",
        to: "passed.max(lived)",
    },
    Bug {
        name: "said-before-answered",
        file: "crates/engine/src/link.rs",
        from: "while !self.is_busy && !matches!(self.state, State::New | State::Closed) {",
        to: "while !matches!(self.state, State::New | State::Closed) {",
    },
    Bug {
        name: "never-compared",
        file: "crates/engine/src/link.rs",
        from: "self.begins = self.side == Side::Dialler;",
        to: "self.begins = false;",
    },
    Bug {
        name: "agreement-forgotten",
        file: "crates/engine/src/share/peers.rs",
        from: "peer.has_agreed = true;",
        to: "peer.has_agreed = false;",
    },
    Bug {
        name: "put-though-not-asked",
        file: "crates/engine/src/share/commit.rs",
        from: "(ChangeDeed::Place { .. } | ChangeDeed::Move { .. }, Deed::Place(head)) => {",
        to: "(ChangeDeed::Place { .. } | ChangeDeed::Move { .. }, Deed::Place(head)) => {\n                let head = self.head.as_ref().unwrap_or(head);",
    },
    Bug {
        name: "no-space-for-ever",
        file: "crates/engine/src/fetch/answers.rs",
        from: "(Written::NoSpace, _) => self.pauses(given.stage, now),",
        to: "(Written::NoSpace, _) => {}",
    },
    Bug {
        name: "touch-not-shown",
        file: "crates/engine/src/planner.rs",
        from: "if has_base && at.base.as_ref().is_some_and(is_as_fine) {",
        to: "if has_base && at.base.as_ref().is_some_and(|base| is_as_fine(base) || base.version.kind == head.version.kind) {",
    },
    Bug {
        name: "put-over-an-edit",
        file: "crates/engine/src/planner.rs",
        from: "(Standing::Differs, Rights::Writer) if !is_untouched => Deed::Publish,",
        to: "(Standing::Differs, Rights::Writer) if !is_untouched && at.here.is_none() => Deed::Publish,",
    },
    Bug {
        name: "removal-ignored",
        file: "crates/engine/src/planner.rs",
        from: "(Some(_), winner) => Deed::Remove(winner),",
        to: "(Some(_), _) => Deed::Nothing,",
    },
    Bug {
        name: "deleted-elsewhere-comes-back",
        file: "crates/engine/src/planner.rs",
        from: "if is_deleted_elsewhere(at) {",
        to: "if is_deleted_elsewhere(at) && at.base.is_some() {",
    },
    Bug {
        name: "own-dot-in-seen",
        file: "crates/proto/src/heads.rs",
        from: "let mut seen = self.join(covers, origin, &displaced);",
        to: "let mut seen = self.join(covers, origin, &displaced);\n        seen.dot(dot);",
    },
    Bug {
        name: "seen-one-too-few",
        file: "crates/proto/src/dot.rs",
        from: "self.counter_of(dot.writer) >= dot.counter",
        to: "self.counter_of(dot.writer) > dot.counter",
    },
    Bug {
        name: "resolution-without-own-dot",
        file: "crates/proto/src/heads.rs",
        from: "record: Record { path, version, dot, seen, origin, displaced, copy_of: None },",
        to: "record: Record { path, version, dot: winner.dot, seen, origin, displaced, copy_of: None },",
    },
    Bug {
        name: "superseded-comes-back",
        file: "crates/proto/src/heads.rs",
        from: "if self.0.iter().any(|head| head.supersedes(&record)) {",
        to: "if self.0.iter().any(|head| head.dot == record.dot) {",
    },
    Bug {
        name: "no-head-is-stale",
        file: "crates/proto/src/heads.rs",
        from: "self.0.iter().filter(|head| !is_stale(head)).collect()",
        to: "self.0.iter().filter(|head| !is_stale(head) || true).collect()",
    },
    Bug {
        name: "copy-not-marked",
        file: "crates/proto/src/conflict.rs",
        from: "copy_of: Some(copy_of),",
        to: "copy_of: None,",
    },
    Bug {
        name: "own-entries-not-told",
        file: "crates/engine/src/share/peers.rs",
        from: "self.each_link(None, |link, now| link.entries(fresh, now));",
        to: "let _ = fresh;",
    },
];
