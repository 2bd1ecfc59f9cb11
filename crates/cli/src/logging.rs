//! The log, on stderr; for operators, not for data.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Starts logging with the filter that was asked for, or the command's own.
pub(crate) fn start(asked: Option<&str>, default: &str) -> anyhow::Result<()> {
    let filter = asked.unwrap_or(default);
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("'{filter}' is no log level or filter"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // A log that cannot be written, on a full disk say, is no reason to end.
        .log_internal_errors(false)
        .init();
    Ok(())
}
