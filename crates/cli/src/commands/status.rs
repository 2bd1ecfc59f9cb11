//! `shoal status`

use std::ffi::OsString;

use shoal_daemon::control::types::{GetStatus, Watch};

use crate::exit::Exit;
use crate::follow::Follow;
use crate::print::{object, text};
use crate::session::{self, Common};
use crate::status::report;
use crate::ui::Style;

/// Say whether everything is in sync, and if not, what is missing and why
///
/// Exit codes: 0 all shares are in sync, 3 something is not.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct StatusArgs {
    /// Name, id or folder of one share
    share: Option<OsString>,
    /// List all paths that are not in sync
    #[arg(long)]
    all: bool,
    /// Then go on, and tell what happens until ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn status(args: &StatusArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let share = match &args.share {
            Some(asked) => Some(session::share(&mut client, Some(asked)).await?.share),
            None => None,
        };
        let status = client.ask(GetStatus { share }).await?;
        match style {
            Style::Json => object(&status)?,
            Style::Human => text(&report(&status, args.all))?,
        }
        if args.watch {
            let mut follow = Follow::start(&mut client, style).await?;
            let (_, mut events) = client.watch(Watch { after: Some(status.events) }).await?;
            while let Some(event) = events.next().await? {
                if share.is_none() || event.share.is_none() || event.share == share {
                    follow.event(&mut client, event).await?;
                }
            }
        }
        Ok(if status.is_in_sync { Exit::Well } else { Exit::NotInSync })
    })
}
