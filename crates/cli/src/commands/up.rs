//! `shoal up`

use crate::exit::Exit;
use crate::foreground::{self, Nothing};
use crate::session::Common;

/// Serve all shares of this device until ctrl-C, or `shoal stop`
///
/// While it runs, all other commands ask it. There is one for each user, or for each `--home DIR`. A unit for systemd is in the
/// documentation.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    common: Common,
}

pub(crate) fn up(args: &UpArgs) -> anyhow::Result<Exit> {
    foreground::run(&args.common.home()?, args.common.style(), Nothing)
}
