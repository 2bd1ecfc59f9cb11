//! `shoal completions`

use clap::CommandFactory;
use clap_complete::Shell;

use crate::exit::Exit;
use crate::print::text;

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
    text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Well)
}
