//! `shoal reload`

use shoal_daemon::control::types::Reload;

use crate::exit::Exit;
use crate::print::{object, talk};
use crate::session::Common;
use crate::ui::Style;

/// Have the daemon read its configuration again
///
/// One that cannot be used changes nothing.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    common: Common,
}

pub(crate) fn reload(args: &ReloadArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let reloaded = client.ask(Reload {}).await?;
        if style == Style::Json {
            object(&reloaded)?;
            return Ok(Exit::Well);
        }
        if reloaded.changed.is_empty() && reloaded.at_restart.is_empty() {
            talk("Nothing has changed.");
        }
        for key in &reloaded.changed {
            talk(format_args!("{key} counts now."));
        }
        for key in &reloaded.at_restart {
            talk(format_args!("{key} counts once the daemon is started anew."));
        }
        Ok(Exit::Well)
    })
}
