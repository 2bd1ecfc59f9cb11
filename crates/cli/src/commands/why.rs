//! `shoal why`

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;
use shoal_daemon::control::report::{Kind, Version, Why};
use shoal_daemon::control::types::Explain;

use crate::exit::Exit;
use crate::print::{bytes, object, table, text, time};
use crate::session::{self, Common};
use crate::status::cause;
use crate::ui::Style;

/// Say why a path is, or is not, in sync
///
/// Exit codes: 0 it is, 3 it is not.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct WhyArgs {
    /// The path: from where you are, or in the share if one is named
    path: PathBuf,
    /// Name, id or folder of the share
    #[arg(long)]
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn why(args: &WhyArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let (share, path) = session::place(&mut client, args.share.as_deref(), &args.path).await?;
        let path =
            path.context("this is the share's folder itself; `shoal status` tells how the share stands")?;
        let why = client.ask(Explain { share: share.share, path }).await?;
        match style {
            Style::Json => object(&why)?,
            Style::Human => text(&words(&why))?,
        }
        Ok(if why.is_settled && why.lacking.is_empty() { Exit::Well } else { Exit::NotInSync })
    })
}

fn words(why: &Why) -> String {
    let state = match (&why.cause, why.is_settled) {
        (Some(found), _) => cause(found),
        (None, true) if why.heads.is_empty() && why.here.is_none() => {
            "is not in the share, and never was".into()
        }
        (None, true) => "stands here as the share has it".into(),
        (None, false) => "is not settled yet".into(),
    };
    let mut rows = Vec::new();
    if why.here.is_some() || !why.heads.is_empty() {
        rows.push(row("here", why.here.as_ref()));
    }
    rows.extend(why.heads.iter().map(|head| row("share", Some(head))));
    for device in &why.lacking {
        rows.push(vec!["lacking".into(), device.0.short()]);
    }
    format!("{}: {state}\n{}", why.path, table(&rows))
}

fn row(side: &str, version: Option<&Version>) -> Vec<String> {
    let Some(version) = version else { return vec![side.into(), "nothing".into()] };
    let kind = match version.kind {
        Kind::File => "file",
        Kind::Dir => "folder",
        Kind::Symlink => "link",
        Kind::Gone => "deleted",
    };
    let by = version.by.map(|by| format!("by {}", by.0.short()));
    vec![
        side.into(),
        kind.into(),
        version.size.map(bytes).unwrap_or_default(),
        version.mtime.map(time).unwrap_or_default(),
        version.content.map(|content| content.0.short()).unwrap_or_default(),
        by.unwrap_or_default(),
    ]
}
