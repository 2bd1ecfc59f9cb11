//! `shoal share`

use std::path::PathBuf;

use shoal_daemon::control::Client;
use shoal_daemon::control::report::{InviteGiven, Shared};
use shoal_daemon::control::types::Share;

use super::invite::{self, TermsArgs};
use crate::exit::Exit;
use crate::foreground::{self, First};
use crate::print::{object, shown, talk};
use crate::session::{self, Common};
use crate::ui::Style;

/// Share a folder, and print an invite for another device
///
/// Prints the invite, as text and as a QR code: the other device pastes it into `shoal join DIR`. Whoever has the
/// invite can come in, so pass it on in private. Serves the folder until ctrl-C; with a daemon running (`shoal up`), hands it the
/// folder and returns. Of a folder that is shared already, makes another invite; `--name` renames the share.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct ShareArgs {
    /// The folder, made if it is not there
    dir: PathBuf,
    /// What the share is called on this device [default: the folder's name]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    terms: TermsArgs,
    /// Make no invite
    #[arg(long, conflicts_with_all = ["role", "uses", "days"])]
    no_invite: bool,
    /// When the index of a share was lost and no other device is left: what is here is the share
    #[arg(long)]
    alone: bool,
    /// Allow the folder to be / or your home folder
    #[arg(long)]
    whole: bool,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn share(args: ShareArgs) -> anyhow::Result<Exit> {
    let home = args.common.home()?;
    let style = args.common.style();
    let directory = session::folder(&args.dir)?;
    let is_missing = !directory.0.exists();
    let request = Share {
        directory,
        name: args.name,
        broad: args.whole,
        alone: args.alone,
        invite: (!args.no_invite).then(|| args.terms.terms()),
    };
    foreground::ask_or_run(&home, style, Sharing { request, is_missing, style })
}

struct Sharing {
    request: Share,
    /// The folder was not there when this was asked.
    is_missing: bool,
    style: Style,
}

impl First for Sharing {
    async fn ask(self, client: &mut Client) -> anyhow::Result<()> {
        let shared = client.ask(self.request).await?;
        if self.is_missing && self.style == Style::Human {
            talk(format_args!("Made the folder {}.", shared.listed.directory));
        }
        print(shared, self.style)
    }
}

/// Says that a folder is shared, and shows the invite.
fn print(shared: Shared, style: Style) -> anyhow::Result<()> {
    let Shared { listed, is_new, invite } = shared;
    if style == Style::Human {
        let word = if is_new { "Sharing" } else { "Already sharing" };
        talk(format_args!("{word} {} as '{}'.", listed.directory, shown(&listed.name)));
        return invite.map_or(Ok(()), |invite| invite::print(&invite, style));
    }
    object(&Shared { invite: None, listed, is_new })?;
    invite.map_or(Ok(()), |invite: InviteGiven| invite::print(&invite, style))
}
