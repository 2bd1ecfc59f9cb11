//! `shoal resume`

use std::ffi::OsString;

use shoal_daemon::control::types::Resume;

use crate::exit::Exit;
use crate::print::{self, shown};
use crate::session::{self, Common};

/// Let a share go on after a pause, or after it has stopped to ask whether a loss is meant
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct ResumeArgs {
    /// Name, id or folder of the share; not needed if there is only one
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn resume(args: &ResumeArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let listed = session::share(&mut client, args.share.as_deref()).await?;
        client.ask(Resume { share: listed.share }).await?;
        let words = format!("Resumed '{}'.", shown(&listed.name));
        print::done(style, "resumed", &listed.share.0.to_string(), words)?;
        Ok(Exit::Well)
    })
}
