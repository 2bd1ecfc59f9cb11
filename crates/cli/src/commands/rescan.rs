//! `shoal rescan`

use std::ffi::OsString;

use shoal_daemon::control::types::Rescan;

use crate::exit::Exit;
use crate::print::{self, shown};
use crate::session::{self, Common};

/// Look at every file of a share anew, without waiting for the hourly look
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct RescanArgs {
    /// Name, id or folder of the share; not needed if there is only one
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn rescan(args: &RescanArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let listed = session::share(&mut client, args.share.as_deref()).await?;
        client.ask(Rescan { share: listed.share }).await?;
        let words = format!("Looking at everything in '{}'.", shown(&listed.name));
        print::done(style, "rescanning", &listed.share.0.to_string(), words)?;
        Ok(Exit::Well)
    })
}
