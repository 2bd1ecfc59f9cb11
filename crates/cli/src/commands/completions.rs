//! `shoal completions`

use std::io::{self, Write};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::exit::Exit;

/// Print completions for a shell: `shoal completions bash > ~/.local/share/bash-completion/completions/shoal`
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "shoal", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script).and_then(|()| out.flush()).context("cannot write to stdout")?;
    Ok(Exit::Well)
}
