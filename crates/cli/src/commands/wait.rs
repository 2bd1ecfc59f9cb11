//! `shoal wait`

use std::ffi::OsString;

use shoal_daemon::control::Client;
use shoal_daemon::control::types::{GetStatus, Wait, Watch};

use crate::exit::Exit;
use crate::follow::Follow;
use crate::print::{object, talk, text};
use crate::session::{self, Common};
use crate::status::report;
use crate::ui::Style;
use crate::values;

/// Wait until everything is in sync
///
/// Exit codes: 0 all are in sync, 3 the time is over and something is not.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct WaitArgs {
    /// Names, ids or folders of shares; without any, all of them
    shares: Vec<OsString>,
    /// For so long at most
    #[arg(long = "timeout", value_name = "SECONDS", value_parser = values::milliseconds)]
    milliseconds: Option<u64>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn wait(args: &WaitArgs) -> anyhow::Result<Exit> {
    let (home, style) = (args.common.home()?, args.common.style());
    args.common.ask(async |mut client| {
        let mut shares = Vec::new();
        for asked in &args.shares {
            shares.push(session::share(&mut client, Some(asked)).await?.share);
        }
        let mut teller = Client::connect(&home).await?;
        let mut follow = Follow::start(&mut teller, style).await?;
        let (_, mut events) = teller.watch(Watch::default()).await?;
        let told = async {
            while let Some(event) = events.next().await? {
                // Programs want the end alone.
                if style == Style::Human {
                    follow.event(&mut teller, event).await?;
                }
            }
            anyhow::Ok(())
        };
        let mut waited = std::pin::pin!(client.ask(Wait { shares, milliseconds: args.milliseconds }));
        let waited = tokio::select! {
            waited = &mut waited => waited?,
            told = told => { told?; waited.await? }
        };
        match style {
            Style::Json => object(&waited)?,
            Style::Human if !waited.is_in_sync => {
                let mut status = teller.ask(GetStatus::default()).await?;
                status.shares.retain(|share| waited.not_in_sync.contains(&share.listed.share));
                text(&report(&status, false))?;
            }
            Style::Human => talk("In sync."),
        }
        Ok(if waited.is_in_sync { Exit::Well } else { Exit::NotInSync })
    })
}
