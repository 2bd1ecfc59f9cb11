//! `shoal conflicts`

use std::ffi::OsString;

use shoal_daemon::control::report::{Conflict, Version};
use shoal_daemon::control::types::ListConflicts;

use crate::exit::Exit;
use crate::print::{bytes, object, table, talk, text, time};
use crate::session::{self, Common};
use crate::ui::Style;

/// List paths that were edited in two places at once
///
/// Both versions are kept: the newer one at its path, the other one in a copy beside it. `shoal resolve` keeps one of them.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct ConflictsArgs {
    /// Name, id or folder of the share; not needed if there is only one
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn conflicts(args: &ConflictsArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let share = session::share(&mut client, args.share.as_deref()).await?.share;
        let conflicts = client.ask(ListConflicts { share }).await?;
        if style == Style::Json {
            conflicts.iter().try_for_each(object)?;
            return Ok(Exit::Well);
        }
        if conflicts.is_empty() {
            talk("No conflicts.");
        }
        let rows: Vec<Vec<String>> = conflicts.iter().flat_map(rows).collect();
        text(&table(&rows))?;
        Ok(Exit::Well)
    })
}

fn rows(conflict: &Conflict) -> Vec<Vec<String>> {
    let state = if conflict.is_open { "being settled" } else { "" };
    let mut rows = vec![row(conflict.path.to_string(), conflict.current.as_ref(), state)];
    rows.extend(conflict.copies.iter().map(|copy| row(format!("  {}", copy.path), Some(&copy.version), "")));
    rows
}

fn row(path: String, version: Option<&Version>, state: &str) -> Vec<String> {
    let size = version.and_then(|version| version.size).map(bytes).unwrap_or_default();
    let mtime = version.and_then(|version| version.mtime).map(time).unwrap_or_default();
    vec![path, size, mtime, state.into()]
}
