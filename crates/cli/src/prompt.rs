//! Questions to the person at the terminal.
//!
//! Promise: a question is asked only where somebody sees it and can answer; an answer has a bound.

use std::io::{self, IsTerminal, Read};

use anyhow::{Context, bail};
use shoal_daemon::control::text::InviteText;
use shoal_daemon::control::types::Choice;

use crate::print::talk;

/// More than any invite has, with all that a text gathers on its way.
const INVITE_BYTES_MAX: u64 = 64 * 1024;

/// Whether somebody can be asked.
pub(crate) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The invite: pasted by a person, or all of stdin.
pub(crate) fn invite() -> anyhow::Result<InviteText> {
    if is_possible() {
        ask("Paste the invite: ");
        return Ok(InviteText::new(line()?));
    }
    let mut text = String::new();
    io::stdin()
        .take(INVITE_BYTES_MAX)
        .read_to_string(&mut text)
        .context("cannot read the invite from stdin")?;
    Ok(InviteText::new(text))
}

/// What is to be done about files that differ.
pub(crate) async fn choice() -> anyhow::Result<Choice> {
    loop {
        ask("Take theirs, keep both, or stop? [theirs/both/stop] ");
        let answer = tokio::task::spawn_blocking(line).await.context("cannot ask")??;
        match answer.trim().to_ascii_lowercase().as_str() {
            "t" | "theirs" => return Ok(Choice::Theirs),
            "b" | "both" => return Ok(Choice::Both),
            "s" | "stop" => return Ok(Choice::Stop),
            _ => {}
        }
    }
}

/// Whether to go on; without anybody to ask, `--yes` is wanted.
pub(crate) fn confirm(question: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !is_possible() {
        bail!(crate::exit::WrongUse(format!("{question} Nobody can be asked here; say `--yes`")));
    }
    ask(&format!("{question} [y/N] "));
    Ok(matches!(line()?.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn ask(question: &str) {
    use io::Write;
    let mut err = io::stderr().lock();
    // Who cannot be asked does not answer either.
    let _ = err.write_all(question.as_bytes()).and_then(|()| err.flush());
}

/// A line from the terminal. What is longer than its driver takes is cut there, which an invite's checksum tells.
fn line() -> anyhow::Result<String> {
    let mut text = String::new();
    let read = io::stdin().read_line(&mut text).context("cannot read the answer")?;
    if read == 0 {
        talk("");
        bail!("there was no answer");
    }
    let longest = usize::try_from(INVITE_BYTES_MAX).unwrap_or(usize::MAX);
    if text.len() > longest { bail!("the answer is too long") } else { Ok(text) }
}
