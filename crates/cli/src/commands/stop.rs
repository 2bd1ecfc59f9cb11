//! `shoal stop`

use anyhow::Context;
use shoal_daemon::control::types::{Stop, Watch};

use crate::exit::Exit;
use crate::print::{object, talk};
use crate::session::Common;
use crate::ui::Style;

/// End the daemon, and wait until it has ended
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    common: Common,
}

pub(crate) fn stop(args: &StopArgs) -> anyhow::Result<Exit> {
    let (home, style) = (args.common.home()?, args.common.style());
    args.common.ask(async |mut client| {
        let (_, mut events) = client.watch(Watch::default()).await?;
        client.ask(Stop {}).await?;
        while events.next().await?.is_some() {}
        // It hears nobody any more; when its lock is free, all is written.
        tokio::task::spawn_blocking(move || home.wait_until_free()).await.context("cannot wait")??;
        match style {
            Style::Json => object(&serde_json::json!({ "done": "stopped" }))?,
            Style::Human => talk("Stopped."),
        }
        Ok(Exit::Well)
    })
}
