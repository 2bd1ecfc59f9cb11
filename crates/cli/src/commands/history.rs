//! `shoal history`

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use shoal_daemon::control::Client;
use shoal_daemon::control::report::{Displaced, Kept, Listed};
use shoal_daemon::control::types::{ListDevices, ListHistory};

use super::devices::name;
use crate::exit::Exit;
use crate::print::{bytes, object, table, talk, text, time};
use crate::session::{self, Common};
use crate::ui::Style;
use crate::values;

/// List what was replaced or deleted here and is kept, the newest first
///
/// `shoal restore NUMBER` brings a version back.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct HistoryArgs {
    /// Of this path, and of all below it: from where you are, or in the share if one is named
    path: Option<PathBuf>,
    /// Name, id or folder of the share; not needed if there is only one
    #[arg(long)]
    share: Option<OsString>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only those before this number: how one goes on
    #[arg(long, value_name = "NUMBER", value_parser = values::version)]
    before: Option<u64>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn history(args: &HistoryArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let (share, path) =
            session::place_or_share(&mut client, args.share.as_deref(), args.path.as_deref()).await?;
        let asked = ListHistory { share: share.share, path, before: args.before, at_most: args.limit };
        let history = client.ask(asked).await?;
        if style == Style::Json {
            history.versions.iter().try_for_each(object)?;
            return Ok(Exit::Well);
        }
        if history.versions.is_empty() {
            talk("Nothing was replaced or deleted that is kept.");
        }
        let names = names(&mut client, &share).await?;
        text(&list(&history.versions, &names))?;
        if let Some(last) = history.versions.last().filter(|_| history.more) {
            talk(format_args!("There are older ones: `--before {}` goes on.", last.number));
        }
        Ok(Exit::Well)
    })
}

/// The names of the devices of a share by their ids.
pub(crate) async fn names(client: &mut Client, share: &Listed) -> anyhow::Result<BTreeMap<String, String>> {
    let status = client.ask(ListDevices { share: share.share }).await?;
    Ok(status.devices.iter().map(|device| (device.device.0.to_string(), name(device))).collect())
}

/// A line for each version.
pub(crate) fn list(versions: &[Kept], names: &BTreeMap<String, String>) -> String {
    let rows = versions.iter().map(|kept| {
        let by = kept.by.map(|by| names.get(&by.0.to_string()).cloned().unwrap_or_else(|| by.0.short()));
        let by = by.map(|by| format!("by {by}")).unwrap_or_default();
        let path =
            kept.path.as_ref().map_or_else(|| "(nobody knows where it was)".into(), ToString::to_string);
        vec![kept.number.to_string(), time(kept.when), why(kept.why).into(), by, bytes(kept.size), path]
    });
    table(&rows.collect::<Vec<_>>())
}

fn why(why: Displaced) -> &'static str {
    match why {
        Displaced::Unknown => "displaced",
        Displaced::Replaced => "replaced",
        Displaced::Deleted => "deleted",
        Displaced::Conflict => "conflict",
        Displaced::Difference => "own change",
    }
}
