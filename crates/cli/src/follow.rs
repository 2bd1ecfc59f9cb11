//! Prints what happens in shares, as it happens: for `up`, `share`, `join`, `wait` and `status --watch`.
//!
//! On a terminal a share that fetches has a bar; elsewhere each turn is a line. With `--json` each event is an object.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use shoal_daemon::control::Client;
use shoal_daemon::control::report::{Amount, Event, Happening, Phase};
use shoal_daemon::control::text::Id;
use shoal_daemon::control::types::ListShares;

use crate::print::{amount, as_line, bytes, shown, talk};
use crate::status;
use crate::ui::Style;

/// Whoever prints events.
pub(crate) struct Follow {
    style: Style,
    /// Names of shares by their ids.
    names: BTreeMap<String, String>,
    bars: Option<Bars>,
}

struct Bars {
    all: MultiProgress,
    shares: BTreeMap<String, ProgressBar>,
}

impl Follow {
    /// Begins; the daemon is asked for the names of its shares.
    pub(crate) async fn start(client: &mut Client, style: Style) -> anyhow::Result<Self> {
        let with_bars = style == Style::Human && io::stderr().is_terminal();
        let all = || MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let bars = with_bars.then(|| Bars { all: all(), shares: BTreeMap::new() });
        let mut follow = Self { style, names: BTreeMap::new(), bars };
        follow.learn_names(client).await?;
        Ok(follow)
    }

    async fn learn_names(&mut self, client: &mut Client) -> anyhow::Result<()> {
        for share in client.ask(ListShares {}).await? {
            self.names.insert(share.share.0.to_string(), shown(&share.name));
        }
        Ok(())
    }

    /// Prints one.
    pub(crate) async fn event(&mut self, client: &mut Client, event: Event) -> anyhow::Result<()> {
        if event.happening == Happening::Added {
            self.learn_names(client).await?;
        }
        if self.style == Style::Json {
            return crate::print::line(as_line(&event)?);
        }
        let share = event.share.map(|Id(share)| share.to_string());
        if let (Some(bars), Some(share)) = (&mut self.bars, &share) {
            let name = self.names.get(share).map_or("", String::as_str);
            bars.event(share, name, &event.happening);
        }
        if let Some(words) = words(&event.happening, self.bars.is_some()) {
            let name = share.map(|share| self.names.get(&share).cloned().unwrap_or(share));
            let line = name.map_or_else(|| words.clone(), |name| format!("{name}: {words}"));
            match &self.bars {
                Some(bars) => bars.all.suspend(|| talk(line)),
                None => talk(line),
            }
        }
        Ok(())
    }
}

impl Bars {
    fn event(&mut self, share: &str, name: &str, happening: &Happening) {
        match happening {
            Happening::Progress { to_go, came, bytes_in_per_second } => {
                let all = &self.all;
                let bar = self.shares.entry(share.into()).or_insert_with(|| {
                    let form = "{prefix:16!} {bar:30} {bytes}/{total_bytes}  {msg}";
                    let style =
                        ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
                    all.add(ProgressBar::new(0).with_style(style)).with_prefix(name.to_owned())
                });
                bar.set_length(came.bytes + to_go.bytes);
                bar.set_position(came.bytes);
                let files = came.files + to_go.files;
                bar.set_message(format!("{}/{files} files  {}/s", came.files, bytes(*bytes_in_per_second)));
                if *to_go == Amount::default() {
                    self.end(share);
                }
            }
            Happening::InSync | Happening::Left | Happening::Phase { .. } => self.end(share),
            _ => {}
        }
    }

    fn end(&mut self, share: &str) {
        if let Some(bar) = self.shares.remove(share) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }
}

/// What happened, in words; `None`: it is not told in words, or a bar shows it.
fn words(happening: &Happening, has_bars: bool) -> Option<String> {
    let named = |device: &str, name: &Option<String>| match name {
        Some(name) => format!("{} ({device})", shown(name)),
        None => device.to_owned(),
    };
    Some(match happening {
        Happening::Phase { phase, why } => {
            // Those that pass are told by what they lead to.
            if matches!(phase, Phase::Starting | Phase::FirstContact | Phase::Live) {
                return None;
            }
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{}{why}", status::phase(*phase))
        }
        Happening::Asked { question } => status::question(question),
        Happening::InSync => "in sync".into(),
        Happening::Progress { to_go, .. } if !has_bars && *to_go != Amount::default() => {
            format!("{} to go", amount(*to_go))
        }
        Happening::Connected { device, name, address } => {
            let address = address.map(|address| format!(" at {address}")).unwrap_or_default();
            format!("{} is connected{address}", named(&device.0.short(), name))
        }
        Happening::Disconnected { device, name } => format!("{} is gone", named(&device.0.short(), name)),
        Happening::Joined { device, name, role } => {
            format!("{} has come in as {}", named(&device.0.short(), name), status::role(*role))
        }
        Happening::Gone { device, name } => {
            format!("{} belongs to it no more", named(&device.0.short(), name))
        }
        Happening::Problem { problem } => status::problem(problem),
        Happening::Warning { message } => format!("Warning: {}", shown(message)),
        Happening::Missed { events } => format!("{events} events were missed"),
        Happening::Left => "left".into(),
        Happening::Stopping => "Ending.".into(),
        Happening::Added
        | Happening::OutOfSync
        | Happening::Progress { .. }
        | Happening::Reloaded
        | Happening::Other => return None,
    })
}
