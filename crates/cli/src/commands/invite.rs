//! `shoal invite`

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use shoal_daemon::control::report::{InviteGiven, Role};
use shoal_daemon::control::types::{Invite, InviteTerms};

use crate::exit::Exit;
use crate::print::{self, object, talk, time};
use crate::session::{self, Common};
use crate::ui::Style;
use crate::{qr, status};

/// Make an invite, by which another device comes into a share
///
/// Whoever has the text can come in, as often as --uses says, until --days are over: pass it on in private. `shoal revoke`
/// takes it back.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct InviteArgs {
    /// Name, id or folder of the share; not needed if there is only one
    share: Option<OsString>,
    #[command(flatten)]
    terms: TermsArgs,
    #[command(flatten)]
    common: Common,
}

/// What an invite allows.
#[derive(clap::Args)]
pub(crate) struct TermsArgs {
    /// What who comes in may do
    #[arg(long, value_enum, default_value = "writer")]
    role: InvitedRole,
    /// How many devices may come in
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    uses: u16,
    /// For how many days
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,
}

/// The roles that an invite can give.
#[derive(Clone, Copy, clap::ValueEnum)]
enum InvitedRole {
    /// Receives, keeps and passes on; its own changes stay its own
    Reader,
    /// Changes files, too
    Writer,
}

impl TermsArgs {
    pub(crate) fn terms(&self) -> InviteTerms {
        let role = match self.role {
            InvitedRole::Reader => Role::Reader,
            InvitedRole::Writer => Role::Writer,
        };
        InviteTerms { role, uses: self.uses, seconds: u64::from(self.days) * 24 * 60 * 60 }
    }
}

pub(crate) fn invite(args: &InviteArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let share = session::share(&mut client, args.share.as_deref()).await?.share;
        let given = client.ask(Invite { share, terms: args.terms.terms() }).await?;
        print(&given, style)?;
        Ok(Exit::Well)
    })
}

/// Shows an invite: its text on stdout, so that it can be piped; what it allows, and a picture of it, on a terminal.
pub(crate) fn print(given: &InviteGiven, style: Style) -> anyhow::Result<()> {
    if style == Style::Json {
        return object(given);
    }
    let uses = print::count(given.uses.into(), "device", "devices");
    talk(format_args!(
        "Invite for {uses} as {}, until {}. Whoever has it can come in.",
        status::role(given.role),
        time(given.not_after),
    ));
    if given.trackers.is_empty() && given.addresses.is_empty() {
        talk("It names no address and no tracker: only devices in the same network will find this one.");
    }
    talk("On the other device say `shoal join DIR`, and paste this:");
    print::line(given.invite.expose())?;
    if io::stdout().is_terminal() && io::stderr().is_terminal() {
        let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(80, |size| size.ws_col.into());
        if let Some(code) = qr::code(given.invite.expose(), columns) {
            talk(code);
        }
    }
    Ok(())
}
