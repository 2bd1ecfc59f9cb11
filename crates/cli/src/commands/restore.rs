//! `shoal restore`

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use shoal_daemon::control::Client;
use shoal_daemon::control::report::{Listed, Restored, Role};
use shoal_daemon::control::types::{GetStatus, Restore};
use tokio::time::timeout;

use crate::exit::Exit;
use crate::print::{object, shown, talk};
use crate::session::{self, Common};
use crate::status;
use crate::ui::Style;
use crate::values;

/// What is not done so soon is told to take longer.
const SOON: Duration = Duration::from_secs(1);

/// Bring a version of the history back, as the newest one everywhere
///
/// What stands there now goes to the history. On a device that only reads it comes back there alone. Exit codes: 0 it is
/// back, 3 the time is over and it is still on its way.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct RestoreArgs {
    /// Its number, as `shoal history` lists it
    #[arg(value_parser = values::version)]
    number: u64,
    /// Where it is to stand: from where you are, or in the share if one is named [default: where it was]
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// Wait so long at most until it is there
    #[arg(long = "timeout", value_name = "SECONDS", value_parser = values::milliseconds, default_value = "600")]
    milliseconds: u64,
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
        let milliseconds = Some(args.milliseconds);
        let restored = {
            let asked = client.ask(Restore { share: share.share, number, to, milliseconds });
            let mut asked = std::pin::pin!(asked);
            match timeout(SOON, &mut asked).await {
                Ok(restored) => restored?,
                Err(_) => {
                    if style == Style::Human {
                        talk("Bringing it back; a large file takes a while.");
                    }
                    asked.await?
                }
            }
        };
        if style == Style::Json {
            object(&serde_json::json!({ "number": number, "restored": restored }))?;
        }
        match restored {
            Restored::Done { path } => {
                if style == Style::Human {
                    let alone = if share.role == Some(Role::Reader) {
                        ", on this device alone: it only reads"
                    } else {
                        ""
                    };
                    talk(format_args!("{path} is back{alone}."));
                }
                Ok(Exit::Well)
            }
            Restored::Waiting {} => {
                if style == Style::Human {
                    talk(format_args!("It is not there yet. {}", standing(&mut client, &share).await?));
                }
                Ok(Exit::NotInSync)
            }
            Restored::Refused { why } => bail!("version {number} does not come back: {}", shown(&why)),
        }
    })
}

/// How the share stands that a version is to come back in.
async fn standing(client: &mut Client, share: &Listed) -> anyhow::Result<String> {
    let status = client.ask(GetStatus { share: Some(share.share) }).await?;
    let state = status.shares.first().map(status::state).unwrap_or_default();
    Ok(format!("'{}': {state}; `shoal status` says when it is back.", shown(&share.name)))
}
