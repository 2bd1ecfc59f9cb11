//! A daemon in the foreground: `shoal up`, and `share` and `join` where none runs.
//!
//! Promise: there is one daemon a home; it is asked over its socket from the first moment that it says it is ready, and what
//! it had begun is durable when the program ends. systemd is told of beginning and end, and how the shares stand, if it started us.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;
use shoal_daemon::config::Config;
use shoal_daemon::control::report::{Position, Status};
use shoal_daemon::control::types::{GetStatus, Reload, Watch};
use shoal_daemon::control::{Client, ClientError, Daemon, Server, Service};
use shoal_daemon::home::{Held, Home};
use shoal_daemon::native::{self, Node};
use shoal_tracker::Rendezvous;
use shoal_tracker::limits::SwarmLimits;

use crate::exit::Exit;
use crate::follow::Follow;
use crate::print::{count, object, talk};
use crate::session::client_runtime;
use crate::signals;
use crate::status::summary;
use crate::ui::Style;

/// So long threads may take to notice that the program ends.
const END_WAIT: Duration = Duration::from_secs(1);

/// What is asked of a daemon as soon as it runs.
pub(crate) trait First {
    /// Asks, and prints what comes of it.
    async fn ask(self, client: &mut Client) -> anyhow::Result<()>;
}

/// Nothing is asked.
pub(crate) struct Nothing;

impl First for Nothing {
    async fn ask(self, _: &mut Client) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The node of this home: the one place where commands and network meet.
async fn start_node(held: Held, config: Config) -> anyhow::Result<Arc<dyn Daemon>> {
    let rendezvous = config.tracker.then(|| {
        let rendezvous = Rendezvous::open(SwarmLimits::default());
        Box::new(move |secured| rendezvous.take(secured)) as native::Rendezvous
    });
    Ok(Arc::new(Node::start(held, config, rendezvous).await?))
}

/// Asks this of the daemon that runs; where none does, runs one with it.
pub(crate) fn ask_or_run(home: &Home, style: Style, first: impl First) -> anyhow::Result<Exit> {
    let left = client_runtime()?.block_on(async {
        match Client::connect(home).await {
            Err(ClientError::NotRunning) => Ok(Some(first)),
            client => first.ask(&mut client?).await.map(|()| None),
        }
    })?;
    left.map_or(Ok(Exit::Well), |first| run(home, style, first))
}

/// Runs a daemon until it is asked to end. `first` is asked of it; when that fails, it ends at once.
pub(crate) fn run(home: &Home, style: Style, first: impl First) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start")?;
    let done = runtime.block_on(async {
        let end = signals::end_requested()?;
        let held = home.hold()?;
        let loaded = Config::load(home.config_file())?;
        for warning in &loaded.warnings {
            talk(format_args!("Warning: {warning}."));
        }
        let server = Server::bind(&held)?;
        let node = start_node(held, loaded.config).await?;
        let done = serve(server, Arc::clone(&node), style, first, end).await;
        notify(&[NotifyState::Stopping]);
        node.close().await;
        done
    });
    // Somebody may still be asked something, and never answer.
    runtime.shutdown_timeout(END_WAIT);
    done
}

async fn serve(
    server: Server,
    node: Arc<dyn Daemon>,
    style: Style,
    first: impl First,
    end: impl Future<Output = ()>,
) -> anyhow::Result<Exit> {
    let service: Arc<dyn Service> = node;
    let mut client = Client::local(Arc::clone(&service));
    let is_watched = std::env::var_os("NOTIFY_SOCKET").is_some();
    let mut follow = Follow::start(&mut client, style).await?;
    let (_, mut events) = client.watch(Watch::default()).await?;
    let told = async {
        let status = client.ask(GetStatus::default()).await?;
        let mut standing = Standing::said(&status);
        say_ready(&status, &standing.text, style)?;
        first.ask(&mut client).await?;
        while let Some(event) = events.next().await? {
            let position = event.position;
            follow.event(&mut client, event).await?;
            if is_watched && standing.is_before(position) {
                standing.say(&client.ask(GetStatus::default()).await?);
            }
        }
        anyhow::Ok(())
    };
    let mut hang_ups = signals::hang_ups()?;
    let has_terminal = io::stdin().is_terminal() || io::stderr().is_terminal();
    let hung_up = async {
        // A terminal that is closed ends what runs in it.
        while hang_ups.recv().await.is_some() && !has_terminal {
            reload(Client::local(Arc::clone(&service))).await;
        }
    };
    let end = async {
        tokio::select! {
            () = end => {}
            () = hung_up => {}
        }
    };
    let mut served = std::pin::pin!(server.serve(Arc::clone(&service), end));
    tokio::select! {
        () = &mut served => return Ok(Exit::Well),
        told = told => told?,
    }
    // What happens in this process has no end before the daemon's.
    served.await;
    Ok(Exit::Well)
}

fn say_ready(status: &Status, standing: &str, style: Style) -> anyhow::Result<()> {
    notify(&[NotifyState::Ready, NotifyState::MainPid(std::process::id()), NotifyState::Status(standing)]);
    if style == Style::Json {
        object(&serde_json::json!({
            "event": "ready", "listening": status.listening, "device": status.device, "pid": status.pid,
        }))?;
    } else {
        let addresses: Vec<String> = status.listening.iter().map(ToString::to_string).collect();
        let what = match status.shares.len() as u64 {
            0 => "Listening".to_owned(),
            shares => format!("Serving {}", count(shares, "share", "shares")),
        };
        talk(format_args!("{what} at {}; ctrl-C ends it.", addresses.join(" and ")));
    }
    Ok(())
}

/// How systemd was told that the shares stand. Whatever happens may change that, so any event is reason to look again.
struct Standing {
    text: String,
    /// What happened until then is in it.
    until: Position,
}

impl Standing {
    fn said(status: &Status) -> Self {
        Self { text: summary(status), until: status.events }
    }

    fn is_before(&self, event: Position) -> bool {
        self.until.run != event.run || self.until.sequence < event.sequence
    }

    fn say(&mut self, status: &Status) {
        let before = std::mem::replace(self, Self::said(status));
        if before.text != self.text {
            notify(&[NotifyState::Status(&self.text)]);
        }
    }
}

/// Reads the configuration again; one that cannot be used changes nothing.
async fn reload(mut client: Client) {
    match client.ask(Reload {}).await {
        Ok(reloaded) => {
            let keys = |keys: &[String]| if keys.is_empty() { "nothing".into() } else { keys.join(", ") };
            let (now, later) = (keys(&reloaded.changed), keys(&reloaded.at_restart));
            talk(format_args!("Configuration read again: {now} counts now, {later} after a restart."));
        }
        Err(error) => talk(format_args!("The configuration stays as it was: {error}.")),
    }
}

/// Tells systemd, if it wants to know.
fn notify(states: &[NotifyState<'_>]) {
    // Where no manager waits for it, nothing is sent; one that cannot be told ends the wait by itself.
    let _ = sd_notify::notify(states);
}

#[cfg(test)]
mod tests {
    use std::future::{Future, pending};
    use std::pin::Pin;

    use anyhow::bail;
    use shoal_daemon::control::text::Id;
    use shoal_daemon::control::types::{Done, Stop};
    use shoal_daemon::control::{Answering, Diary, Request, Response};
    use shoal_daemon::home::Environment;
    use tempfile::TempDir;

    use super::*;

    /// A node without shares.
    struct Played(Diary);

    impl Service for Played {
        fn handle(&self, request: Request) -> Answering<'_> {
            Box::pin(async move {
                let device: Id<_> = serde_json::from_value(serde_json::json!("a".repeat(52))).unwrap();
                Ok(match request {
                    Request::ListShares(_) => Response::Shares(Vec::new()),
                    Request::GetStatus(_) => Response::Status(Status {
                        agent: "played".into(),
                        device,
                        name: "ana".into(),
                        pid: 1,
                        listening: Vec::new(),
                        trackers: Vec::new(),
                        shares: Vec::new(),
                        is_in_sync: true,
                        events: Position { run: 0, sequence: 0 },
                    }),
                    _ => Response::Done(Done {}),
                })
            })
        }

        fn diary(&self) -> &Diary {
            &self.0
        }
    }

    impl Daemon for Played {
        fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(async {})
        }
    }

    fn played() -> (TempDir, Home, Server, Arc<dyn Daemon>) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(folder.path()), &Environment::default()).unwrap();
        let held = home.hold().unwrap();
        let server = Server::bind(&held).unwrap();
        (folder, home, server, Arc::new(Played(Diary::new(0))))
    }

    struct Fails;

    impl First for Fails {
        async fn ask(self, _: &mut Client) -> anyhow::Result<()> {
            bail!("no such folder")
        }
    }

    #[tokio::test]
    async fn a_daemon_answers_until_it_is_stopped() {
        let (_folder, home, server, node) = played();
        let run = serve(server, node, Style::Json, Nothing, pending());
        let stop = async { Client::connect(&home).await?.ask(Stop {}).await };
        let (run, stop) = tokio::join!(run, stop);
        assert_eq!((run.unwrap(), stop.unwrap()), (Exit::Well, Done {}));
        assert!(!home.socket().exists());
    }

    #[tokio::test]
    async fn when_what_it_was_started_for_fails_it_ends() {
        let (_folder, home, server, node) = played();
        let failed = serve(server, node, Style::Json, Fails, pending()).await.unwrap_err();
        assert_eq!(failed.to_string(), "no such folder");
        assert!(!home.socket().exists());
    }
}
