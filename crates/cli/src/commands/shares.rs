//! `shoal shares`

use shoal_daemon::control::types::ListShares;

use crate::exit::Exit;
use crate::print::{object, shown, table, talk, text};
use crate::session::Common;
use crate::status::role;
use crate::ui::Style;

/// List the shares of this device
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct SharesArgs {
    #[command(flatten)]
    common: Common,
}

pub(crate) fn shares(args: &SharesArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let shares = client.ask(ListShares {}).await?;
        if style == Style::Json {
            shares.iter().try_for_each(object)?;
            return Ok(Exit::Well);
        }
        if shares.is_empty() {
            talk("No shares yet: `shoal share DIR` makes one, `shoal join DIR` comes into one.");
        }
        let rows = shares.iter().map(|share| {
            let paused = if share.is_paused { "paused" } else { "" };
            let role = share.role.map_or("", role);
            let directory = share.directory.to_string();
            vec![shown(&share.name), share.share.0.short(), role.into(), paused.into(), directory]
        });
        text(&table(&rows.collect::<Vec<_>>()))?;
        Ok(Exit::Well)
    })
}
