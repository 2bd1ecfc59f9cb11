//! `shoal rescan`

use std::ffi::OsString;

use shoal_daemon::control::types::Rescan;

use crate::exit::Exit;
use crate::print::{count, object, shown, talk};
use crate::session::{self, Common};
use crate::ui::Style;

/// Look at every file of a share anew, without waiting for the hourly look
///
/// Comes back when all was looked at, and what was found is noted; that the others have it too, `shoal wait` says.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct RescanArgs {
    /// Name, id or folder of the share; not needed if there is only one
    share: Option<OsString>,
    /// Come back at once
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn rescan(args: &RescanArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let listed = session::share(&mut client, args.share.as_deref()).await?;
        if style == Style::Human {
            talk(format_args!("Looking at everything in '{}'.", shown(&listed.name)));
        }
        let looked = client.ask(Rescan { share: listed.share, wait: !args.no_wait }).await?;
        let share = listed.share;
        match style {
            Style::Json if looked.is_done => object(&serde_json::json!({
                "done": "rescanned", "share": share, "looked": looked.looked, "changed": looked.changed,
            }))?,
            Style::Json => object(&serde_json::json!({ "done": "rescanning", "share": share }))?,
            Style::Human if looked.is_done => {
                let paths = count(looked.looked, "path", "paths");
                talk(format_args!("{paths} looked at, {} changed.", count(looked.changed, "was", "were")));
            }
            Style::Human => {}
        }
        Ok(Exit::Well)
    })
}
