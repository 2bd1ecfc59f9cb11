//! `shoal resolve`

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, bail};
use shoal_daemon::control::types::{Keep, Resolve};

use crate::exit::{Exit, WrongUse};
use crate::print;
use crate::session::{self, Common};

/// End a conflict by keeping one version; the others go to the history
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct ResolveArgs {
    /// The path that the conflict is about: from where you are, or in the share if one is named
    path: PathBuf,
    /// Keep this copy, and put it in the place of the path [default: keep what stands at the path]
    #[arg(long, value_name = "COPY")]
    keep: Option<PathBuf>,
    /// Name, id or folder of the share; not needed if there is only one
    #[arg(long)]
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn resolve(args: &ResolveArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let (listed, path) = session::place(&mut client, args.share.as_deref(), &args.path).await?;
        let path = path.context("this is the share's folder itself")?;
        let keep = match &args.keep {
            None => Keep::Current,
            Some(copy) => match session::place(&mut client, args.share.as_deref(), copy).await? {
                (found, Some(copy)) if found.share == listed.share => Keep::Copy(copy),
                _ => bail!(WrongUse("the copy is not in the same share".into())),
            },
        };
        client.ask(Resolve { share: listed.share, path: path.clone(), keep }).await?;
        let words = format!("{path}: settled; what was not kept is in the history.");
        print::done(style, "resolved", &listed.share.0.to_string(), words)?;
        Ok(Exit::Well)
    })
}
