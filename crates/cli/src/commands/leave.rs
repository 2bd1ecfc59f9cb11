//! `shoal leave`

use std::ffi::OsString;

use shoal_daemon::control::types::Leave;

use crate::exit::Exit;
use crate::print::{self, shown};
use crate::prompt;
use crate::session::{self, Common};

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
        client.ask(Leave { share: listed.share }).await?;
        let words = format!("Left '{name}'. Its files stay in {}.", listed.directory);
        print::done(style, "left", &listed.share.0.to_string(), words)?;
        Ok(Exit::Well)
    })
}
