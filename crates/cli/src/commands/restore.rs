//! `shoal restore`

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, bail};
use shoal_daemon::control::report::Restored;
use shoal_daemon::control::types::Restore;

use crate::exit::Exit;
use crate::print::{object, shown, talk};
use crate::session::{self, Common};
use crate::ui::Style;

/// Bring a version of the history back, as the newest one everywhere
///
/// What stands there now goes to the history. Exit codes: 0 it is back, 3 it is on its way.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct RestoreArgs {
    /// Its number, as `shoal history` lists it
    number: u64,
    /// Where it is to stand: from where you are, or in the share if one is named [default: where it was]
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// Name, id or folder of the share; not needed if there is only one
    #[arg(long)]
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn restore(args: &RestoreArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let (share, to) = match &args.to {
            Some(path) => {
                let (share, to) = session::place(&mut client, args.share.as_deref(), path).await?;
                (share, Some(to.context("a version cannot take the place of the whole folder")?))
            }
            None => (session::share(&mut client, args.share.as_deref()).await?, None),
        };
        let number = args.number;
        let restored = client.ask(Restore { share: share.share, number, to }).await?;
        if style == Style::Json {
            object(&serde_json::json!({ "number": number, "restored": restored }))?;
        }
        match restored {
            Restored::Done { path } => {
                if style == Style::Human {
                    talk(format_args!("{path} is back."));
                }
                Ok(Exit::Well)
            }
            Restored::Waiting {} => {
                if style == Style::Human {
                    talk("It is on its way; `shoal status` tells what becomes of it.");
                }
                Ok(Exit::NotInSync)
            }
            Restored::Refused { why } => bail!("version {number} does not come back: {}", shown(&why)),
        }
    })
}
