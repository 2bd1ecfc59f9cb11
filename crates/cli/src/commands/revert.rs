//! `shoal revert`

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use shoal_daemon::control::report::{Changed, Difference, Reverted};
use shoal_daemon::control::types::Revert;

use crate::exit::Exit;
use crate::print::{count, object, table, talk, text};
use crate::prompt;
use crate::session::{self, Common};
use crate::status::problem;
use crate::ui::Style;
use crate::values;

/// Take back what was changed here, where this device only reads
///
/// Lists the changes, and asks. What the share has comes to stand there; what was made of it here goes to the history, from
/// which `shoal restore` brings it back. Exit codes: 0 all is taken back, 3 something is left, or there is more.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct RevertArgs {
    /// At this path, and below it: from where you are, or in the share if one is named [default: everywhere]
    path: Option<PathBuf>,
    /// List what would be taken back, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
    /// Wait so long at most until it is done
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, default_value = "600")]
    timeout: Duration,
    /// Name, id or folder of the share; not needed if there is only one
    #[arg(long)]
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn revert(args: &RevertArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let (listed, path) = match &args.path {
            Some(path) => session::place(&mut client, args.share.as_deref(), path).await?,
            None => (session::share(&mut client, args.share.as_deref()).await?, None),
        };
        let milliseconds = Some(u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX));
        let wish = Revert { share: listed.share, path, dry_run: true, milliseconds };
        let found = client.ask(wish.clone()).await?;
        let changes = count(found.changes.len() as u64, "change", "changes");
        if style == Style::Human {
            text(&list(&found.changes))?;
        }
        if found.changes.is_empty() || args.dry_run {
            match style {
                Style::Json => object(&found)?,
                Style::Human if found.changes.is_empty() => talk("Nothing is changed here."),
                Style::Human => talk(format_args!("{changes} would be taken back.")),
            }
            return Ok(Exit::Well);
        }
        if !prompt::confirm(&format!("Take back {changes}?"), args.yes)? {
            return Ok(Exit::Well);
        }
        let done = client.ask(Revert { dry_run: false, ..wish }).await?;
        match style {
            Style::Json => object(&done)?,
            Style::Human => tell(&done),
        }
        Ok(if done.left.is_empty() && done.more == 0 { Exit::Well } else { Exit::NotInSync })
    })
}

fn tell(done: &Reverted) {
    for left in &done.left {
        talk(problem(left));
    }
    let over = done.changes.len().saturating_sub(done.left.len()) as u64;
    talk(format_args!(
        "{} taken back; what was made here is in the history.",
        count(over, "change is", "changes are")
    ));
    if !done.left.is_empty() {
        let left = count(done.left.len() as u64, "is", "are");
        talk(format_args!("{left} left; what waits for its bytes comes by itself."));
    }
    if done.more > 0 {
        talk(format_args!("There is more: say it again to take back {} more.", done.more));
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
