//! `shoal ignore`

use std::ffi::OsString;

use shoal_daemon::control::types::{AcceptIgnore, GetIgnore};

use crate::exit::Exit;
use crate::print::{self, object, shown, talk, text};
use crate::session::{self, Common};
use crate::ui::Style;

/// Show what is kept out of a share, or accept rules that others have written
///
/// The rules stand in `.shoalignore` in the folder, a line each, as git has them. Yours count at once; those that come from
/// another device count here once you have accepted them.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct IgnoreArgs {
    #[command(subcommand)]
    command: Option<IgnoreCommand>,
    #[command(flatten)]
    of: OfShare,
}

#[derive(clap::Subcommand)]
enum IgnoreCommand {
    /// Put the rules that others have written in force here
    Accept(OfShare),
}

#[derive(clap::Args)]
struct OfShare {
    /// Name, id or folder of the share; not needed if there is only one
    #[arg(long)]
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn ignore(args: &IgnoreArgs) -> anyhow::Result<Exit> {
    match &args.command {
        None => show(&args.of),
        Some(IgnoreCommand::Accept(of)) => accept(of),
    }
}

fn show(of: &OfShare) -> anyhow::Result<Exit> {
    let style = of.common.style();
    of.common.ask(async |mut client| {
        let share = session::share(&mut client, of.share.as_deref()).await?.share;
        let status = client.ask(GetIgnore { share }).await?;
        if style == Style::Json {
            object(&status)?;
            return Ok(Exit::Well);
        }
        match &status.rules {
            Some(rules) => text(&lines(rules))?,
            None => talk("Nothing is kept out: there is no .shoalignore."),
        }
        if status.is_offered {
            talk("Others have written other rules, which do not count here yet; `shoal ignore accept` puts them in force:");
            text(&lines(status.offered.as_deref().unwrap_or_default()))?;
        }
        Ok(Exit::Well)
    })
}

fn accept(of: &OfShare) -> anyhow::Result<Exit> {
    let style = of.common.style();
    of.common.ask(async |mut client| {
        let share = session::share(&mut client, of.share.as_deref()).await?.share;
        let is_offered = client.ask(GetIgnore { share }).await?.is_offered;
        client.ask(AcceptIgnore { share }).await?;
        let words = match is_offered {
            true => "The rules are in force.",
            false => "Nobody has written other rules; nothing has changed.",
        };
        print::done(style, "accepted", &share.0.to_string(), words)?;
        Ok(Exit::Well)
    })
}

/// Rules as they stand, each on its line, with nothing in them that moves a cursor.
fn lines(rules: &str) -> String {
    rules.lines().map(|line| format!("{}\n", shown(line))).collect()
}
