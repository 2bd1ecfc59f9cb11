//! `shoal leave`

use std::ffi::OsString;

use serde_json::json;
use shoal_daemon::control::report::Left;
use shoal_daemon::control::types::Leave;

use crate::exit::Exit;
use crate::print::{object, shown, talk};
use crate::prompt;
use crate::session::{self, Common};
use crate::ui::Style;

/// Leave a share: its files stay here as they are, and change nowhere any more
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct LeaveArgs {
    /// Name, id or folder of the share
    share: OsString,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn leave(args: &LeaveArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let listed = session::share(&mut client, Some(&args.share)).await?;
        let name = shown(&listed.name);
        if !prompt::confirm(&format!("Leave '{name}'? It takes an invite to come back."), args.yes)? {
            return Ok(Exit::Well);
        }
        let left = client.ask(Leave { share: listed.share }).await?;
        match style {
            Style::Json => {
                object(&json!({ "done": "left", "share": listed.share, "remains": left.remains }))?;
            }
            Style::Human => {
                talk(format_args!("Left '{name}'. Its files stay in {}.", listed.directory));
                tell(&left);
            }
        }
        Ok(Exit::Well)
    })
}

/// Says what of a share stays that is no file of it.
pub(super) fn tell(left: &Left) {
    for what in &left.remains {
        talk(format_args!("Remove this yourself, it tells of the share: {}", shown(what)));
    }
}
