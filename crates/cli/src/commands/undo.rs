//! `shoal undo`

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use shoal_daemon::config::duration;
use shoal_daemon::control::report::Device;
use shoal_daemon::control::text::{Id, Moment};
use shoal_daemon::control::types::{ListDevices, Undo};

use super::history::{list, names};
use crate::exit::Exit;
use crate::print::{count, object, shown, talk, text};
use crate::prompt;
use crate::session::{self, Common};
use crate::ui::Style;

/// Bring back what others have replaced or deleted
///
/// Lists what would come back, and asks. Of each path the version comes back that stood there before; what stands there
/// now goes to the history. What was done on this device is left alone, unless `--by` names it; what it changed where it only
/// reads, `shoal revert` takes back. Exit codes: 0 all comes back, 3 something does not, or there is more.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct UndoArgs {
    /// At this path, and below it: from where you are, or in the share if one is named
    path: Option<PathBuf>,
    /// What happened so long ago at most: 90s, 15m, 12h, 30d or 4w
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = duration)]
    since: Duration,
    /// Only what this device did; its name or id
    #[arg(long, value_name = "DEVICE")]
    by: Option<String>,
    /// Only what was deleted, not what was replaced
    #[arg(long)]
    deleted: bool,
    /// List what would come back, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
    /// Name, id or folder of the share; not needed if there is only one
    #[arg(long)]
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn undo(args: &UndoArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let (listed, path) =
            session::place_or_share(&mut client, args.share.as_deref(), args.path.as_deref()).await?;
        let by = match &args.by {
            Some(asked) => {
                let devices = client.ask(ListDevices { share: listed.share }).await?.devices;
                Some(choose(&devices, asked)?.device)
            }
            None => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = i64::try_from(now.saturating_sub(args.since).as_secs()).unwrap_or(i64::MAX);
        let wish = Undo {
            share: listed.share,
            path,
            since: Moment::at_second(since),
            by,
            deleted_only: args.deleted,
            dry_run: true,
        };
        let found = client.ask(wish.clone()).await?;
        let files = count(found.versions.len() as u64, "file", "files");
        if style == Style::Human {
            text(&list(&found.versions, &names(&mut client, &listed).await?))?;
        }
        if found.versions.is_empty() || args.dry_run {
            match style {
                Style::Json => object(&found)?,
                Style::Human if found.versions.is_empty() => talk("Nothing to bring back."),
                Style::Human => talk(format_args!("{files} would come back.")),
            }
            return Ok(Exit::Well);
        }
        if !prompt::confirm(&format!("Bring back {files}?"), args.yes)? {
            return Ok(Exit::Well);
        }
        let undone = client.ask(Undo { dry_run: false, ..wish }).await?;
        if style == Style::Json {
            object(&undone)?;
        }
        for refused in &undone.refused {
            let path = refused.path.as_ref().map_or_else(|| refused.number.to_string(), ToString::to_string);
            talk(format_args!("{path} does not come back: {}", shown(&refused.why)));
        }
        if style == Style::Human {
            let files = count(undone.versions.len() as u64, "file comes", "files come");
            talk(format_args!("{files} back."));
        }
        if undone.more > 0 {
            talk(format_args!("There is more: say it again to bring back {} more.", undone.more));
        }
        Ok(if undone.refused.is_empty() && undone.more == 0 { Exit::Well } else { Exit::NotInSync })
    })
}

/// The letters of an id that are enough.
const ID_LETTERS_MIN: usize = 4;

fn choose<'a>(devices: &'a [Device], asked: &str) -> anyhow::Result<&'a Device> {
    let id = asked.to_ascii_lowercase();
    let is_meant = |device: &&Device| {
        let Id(found) = device.device;
        device.name.as_deref() == Some(asked)
            || (id.len() >= ID_LETTERS_MIN && found.to_string().starts_with(&id))
    };
    let found: Vec<&Device> = devices.iter().filter(is_meant).collect();
    match found[..] {
        [one] => Ok(one),
        [] => bail!("there is no device '{}'; `shoal devices` lists them", shown(asked)),
        _ => bail!("'{}' can mean several devices; name one by its id", shown(asked)),
    }
}
