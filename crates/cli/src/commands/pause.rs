//! `shoal pause`

use std::ffi::OsString;

use shoal_daemon::control::types::Pause;

use crate::exit::Exit;
use crate::print::{self, shown};
use crate::session::{self, Common};

/// Publish and apply nothing in a share until it is resumed
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct PauseArgs {
    /// Name, id or folder of the share; not needed if there is only one
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn pause(args: &PauseArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let listed = session::share(&mut client, args.share.as_deref()).await?;
        client.ask(Pause { share: listed.share }).await?;
        let words = format!("Paused '{}'.", shown(&listed.name));
        print::done(style, "paused", &listed.share.0.to_string(), words)?;
        Ok(Exit::Well)
    })
}
