//! `shoal revert`

use std::ffi::OsString;
use std::path::PathBuf;

use shoal_daemon::control::report::{CauseKind, Changed, Difference, Problem, Reverted};
use shoal_daemon::control::types::Revert;

use crate::exit::Exit;
use crate::print::{count, grouped, object, shown, table, talk, text};
use crate::prompt;
use crate::session::{self, Common};
use crate::status::problem;
use crate::ui::Style;
use crate::values;

/// Take back what was changed here, where this device only reads
///
/// Lists the changes, and asks; what is changed after that is not taken back. What the share has comes to stand there; the
/// files that were made of it here go to the history, from which `shoal restore` brings them back. Exit codes: 0 all is taken
/// back, 3 something is left, or there is more.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct RevertArgs {
    /// At this path, and below it: from where you are, or in the share if one is named [default: everywhere]
    path: Option<PathBuf>,
    /// List what would be taken back, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask: take back whatever is changed by then, and list it
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
    /// Wait so long at most until all is looked at, and until it is taken back
    #[arg(long = "timeout", value_name = "SECONDS", value_parser = values::milliseconds, default_value = "600")]
    milliseconds: u64,
    /// Name, id or folder of the share; not needed if there is only one
    #[arg(long)]
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn revert(args: &RevertArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let (listed, path) =
            session::place_or_share(&mut client, args.share.as_deref(), args.path.as_deref()).await?;
        let milliseconds = Some(args.milliseconds);
        let wish = Revert { share: listed.share, path, dry_run: !args.yes, hash: None, milliseconds };
        let found = client.ask(wish.clone()).await?;
        if style == Style::Human {
            text(&list(&found.changes))?;
        }
        if found.changes.is_empty() || args.dry_run {
            match style {
                Style::Json => object(&found)?,
                Style::Human if found.changes.is_empty() => talk("Nothing is changed here."),
                Style::Human => talk(format_args!("{} would be taken back.", changes(&found))),
            }
            return Ok(Exit::Well);
        }
        let done = if args.yes {
            found
        } else {
            if !prompt::confirm(&format!("Take back {}?", changes(&found)), false)? {
                return Ok(Exit::Well);
            }
            // Of what was not on the list nothing is given up.
            client.ask(Revert { dry_run: false, hash: Some(found.hash), ..wish }).await?
        };
        match style {
            Style::Json => object(&done)?,
            Style::Human => tell(&done),
        }
        Ok(if done.left.is_empty() && done.more == 0 { Exit::Well } else { Exit::NotInSync })
    })
}

/// How many changes are taken back, of how many.
fn changes(found: &Reverted) -> String {
    let listed = found.changes.len() as u64;
    match found.more {
        0 => count(listed, "change", "changes"),
        more => format!("{} of {}", grouped(listed), count(listed + more, "change", "changes")),
    }
}

fn tell(done: &Reverted) {
    for left in &done.left {
        match left.cause.cause {
            CauseKind::LocalDifference => talk(format_args!("{}: is as it was changed here", left.path)),
            _ => talk(problem(left)),
        }
    }
    let over = done.changes.len().saturating_sub(done.left.len()) as u64;
    talk(format_args!(
        "{} taken back; the files that were made here are in the history.",
        count(over, "change is", "changes are")
    ));
    if !done.left.is_empty() {
        let waits = |left: &Problem| matches!(left.cause.cause, CauseKind::Fetching | CauseKind::NoSource);
        let waits = done.why.is_none() && done.left.iter().any(waits);
        let way = if waits { "; what waits for its bytes comes by itself" } else { "" };
        talk(format_args!("{} left{way}.", count(done.left.len() as u64, "is", "are")));
    }
    if let Some(why) = &done.why {
        talk(format_args!("Nothing goes on in the share: {}; `shoal status` says what to do.", shown(why)));
    }
    if done.more > 0 {
        talk(format_args!("There is more: say it again to take back {} more.", grouped(done.more)));
    }
}

/// A line for each change.
fn list(changes: &[Difference]) -> String {
    let rows = changes.iter().map(|change| vec![word(change.change).into(), change.path.to_string()]);
    table(&rows.collect::<Vec<_>>())
}

fn word(change: Changed) -> &'static str {
    match change {
        Changed::Added => "added",
        Changed::Edited => "edited",
        Changed::Deleted => "deleted",
        Changed::Other => "changed",
    }
}
