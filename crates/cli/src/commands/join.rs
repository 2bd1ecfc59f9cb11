//! `shoal join`

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use shoal_daemon::control::report::{Listed, Phase, Question};
use shoal_daemon::control::text::{Directory, InviteText};
use shoal_daemon::control::types::{
    Choice, Code, Decide, Failure, GetStatus, Join, Leave, ListShares, Watch,
};
use shoal_daemon::control::{Client, ClientError, Preview, preview};
use tokio::time::sleep;

use super::leave;
use crate::exit::{Exit, WrongUse};
use crate::foreground::{self, First};
use crate::print::{object, shown, talk, time};
use crate::prompt;
use crate::session::{self, Common, client_runtime};
use crate::status;
use crate::ui::Style;

/// A script is told within this whether it was let in; by then most members that can be reached are.
const MEETS_WITHIN: Duration = Duration::from_secs(10);

/// Come into a share by an invite
///
/// `shoal join DIR` asks for the invite, or reads it from stdin; it can also be given before DIR, where other users of this
/// machine may see it while the command starts. What is the same on both sides is adopted and not sent; if more than 20 files
/// differ, it is asked what is to be done. Then serves the folder until ctrl-C; with a daemon running (`shoal up`), hands it
/// the folder and returns, once a member has let this device in or not, or after ten seconds in which none was reached.
#[derive(clap::Args)]
#[command(args_override_self = true, allow_missing_positional = true)]
pub(crate) struct JoinArgs {
    /// The invite, if it is not to be asked for
    invite: Option<OsString>,
    /// The folder, made if it is not there
    #[arg(required = true)]
    dir: PathBuf,
    /// Where files differ, take those of the share; what is here goes to the history
    #[arg(long, group = "choice")]
    theirs: bool,
    /// Where files differ, keep both: the newer one at its path, the other one beside it
    #[arg(long, group = "choice")]
    both: bool,
    /// If many files differ, change nothing and leave the share again
    #[arg(long, group = "choice")]
    stop: bool,
    /// What the share is called on this device [default: the folder's name]
    #[arg(long)]
    name: Option<String>,
    /// Allow the folder to be / or your home folder
    #[arg(long)]
    whole: bool,
    #[command(flatten)]
    common: Common,
}

impl JoinArgs {
    fn choice(&self) -> Option<Choice> {
        let choices = [(self.theirs, Choice::Theirs), (self.both, Choice::Both), (self.stop, Choice::Stop)];
        choices.into_iter().find_map(|(is_set, choice)| is_set.then_some(choice))
    }
}

pub(crate) fn join(args: JoinArgs) -> anyhow::Result<Exit> {
    let home = args.common.home()?;
    let style = args.common.style();
    let choice = args.choice();
    let (given, folder) = in_order(args.invite, args.dir);
    let directory = session::folder(&folder)?;
    let client = client_runtime()?.block_on(async {
        match Client::connect(&home).await {
            Err(ClientError::NotRunning) => Ok(None),
            client => {
                let mut client = client?;
                let shares = client.ask(ListShares {}).await?;
                let known = shares.into_iter().find(|share| share.directory == directory);
                match (known, &given) {
                    // Who is out needs another invite.
                    (Some(share), None) if !is_out(&mut client, &share).await? => {
                        answer_question(&mut client, &share, choice, style).await.map(Some)
                    }
                    _ => Ok(None),
                }
            }
        }
    })?;
    if client.is_some() {
        return Ok(Exit::Well);
    }

    let invite = match given {
        Some(text) => InviteText::new(text.into_string().map_err(|_| WrongUse("this is no invite".into()))?),
        None => prompt::invite()?,
    };
    let preview = preview(&invite)?;
    announce(&preview, &directory);
    let is_asking = choice.is_none() && prompt::is_possible();
    let request = Join {
        invite,
        directory,
        name: args.name,
        broad: args.whole,
        choice: choice.or((!is_asking).then_some(Choice::Stop)),
    };
    foreground::ask_or_run(&home, style, Joining { request, style })
}

/// Invite and folder, also of who gave them the other way round.
fn in_order(invite: Option<OsString>, dir: PathBuf) -> (Option<OsString>, PathBuf) {
    let is_invite =
        |text: &OsStr| text.to_string_lossy().trim_start().to_ascii_lowercase().starts_with("shoal1");
    match invite {
        Some(first) if !is_invite(&first) && is_invite(dir.as_os_str()) => {
            (Some(dir.into_os_string()), first.into())
        }
        invite => (invite, dir),
    }
}

/// What is going to happen, before it does.
fn announce(preview: &Preview, directory: &Directory) {
    talk(format_args!(
        "Joining share {} as {}, in {directory}. The invite is by {}, and good until {}.",
        preview.share.0.short(),
        status::role(preview.role),
        preview.by.0.short(),
        time(preview.not_after),
    ));
    if preview.is_local_only {
        talk("It names no address of another machine: only devices in the same network will be found.");
    }
}

struct Joining {
    request: Join,
    style: Style,
}

impl First for Joining {
    async fn ask(self, client: &mut Client) -> anyhow::Result<()> {
        let is_asking = self.request.choice.is_none();
        let shared = client.ask(self.request).await?;
        if self.style == Style::Json {
            object(&shared)?;
        } else {
            talk("Looking for a member of the share.");
        }
        let name = shown(&shared.listed.name);
        let contact = first_contact(client, &shared.listed, self.style, is_asking).await?;
        match (self.style, contact) {
            (Style::Json, _) | (_, Contact::Stopped) => {}
            (Style::Human, Contact::Met) => talk(format_args!("Joined as '{name}'.")),
            (Style::Human, Contact::NotYet) => talk(format_args!(
                "No member was reached yet. '{name}' goes on looking for one; `shoal status` says how it stands."
            )),
        }
        Ok(())
    }
}

/// What has come of joining.
enum Contact {
    /// A member was met.
    Met,
    /// None was reached in time.
    NotYet,
    /// The user did not want to go on.
    Stopped,
}

/// Waits until a member was met, and asks the user if something must be asked; a script does not wait for ever.
async fn first_contact(
    client: &mut Client,
    share: &Listed,
    style: Style,
    is_asking: bool,
) -> anyhow::Result<Contact> {
    let (_, mut events) = client.watch(Watch::default()).await?;
    let mut end = std::pin::pin!(sleep(MEETS_WITHIN));
    loop {
        let status = match client.ask(GetStatus { share: Some(share.share) }).await {
            Err(ClientError::Failed(failure)) if failure.code == Code::NoShare => bail!(left_again()),
            status => {
                status?.shares.into_iter().next().context("the daemon does not say how the share stands")?
            }
        };
        match (status.question, status.phase) {
            (Some(Question::FirstContact { equal, differ, only_here }), _) if is_asking => {
                talk(format_args!("{equal} equal, {differ} differ, {only_here} only here."));
                let choice = prompt::choice().await?;
                decide(client, share, choice, style).await?;
                return Ok(if choice == Choice::Stop { Contact::Stopped } else { Contact::Met });
            }
            (_, Phase::Refused | Phase::Removed) => {
                leave::tell(&client.ask(Leave { share: share.share }).await?);
                bail!(not_let_in(status.why));
            }
            (_, Phase::Starting | Phase::Scanning | Phase::FirstContact) => {}
            _ => return Ok(Contact::Met),
        }
        tokio::select! {
            event = events.next() => if event?.is_none() {
                bail!("the daemon has ended");
            },
            () = &mut end, if !is_asking => return Ok(Contact::NotYet),
        }
    }
}

/// Whether this device is no member of a share any more, or was not let in.
async fn is_out(client: &mut Client, share: &Listed) -> anyhow::Result<bool> {
    let status = client.ask(GetStatus { share: Some(share.share) }).await?;
    Ok(status.shares.iter().any(|share| matches!(share.phase, Phase::Refused | Phase::Removed)))
}

/// A member has refused this device, which was not let in.
fn not_let_in(why: Option<String>) -> Failure {
    let why = why.unwrap_or_else(|| "this device is no member of the share".into());
    Failure::new(Code::Invite, format!("this device was not let in: {why}"))
        .with_hint("ask who invited you for a new invite")
}

/// Many files differ, and that was to end it.
fn left_again() -> Failure {
    let text =
        "many files here differ from those of the share; nothing was changed, and the share was left again";
    Failure::new(Code::NotNow, text).with_hint("join with --theirs or --both")
}

/// The folder is a share already, and perhaps waits for an answer.
async fn answer_question(
    client: &mut Client,
    share: &Listed,
    choice: Option<Choice>,
    style: Style,
) -> anyhow::Result<()> {
    let status = client.ask(GetStatus { share: Some(share.share) }).await?;
    let question = status.shares.into_iter().next().and_then(|status| status.question);
    let Some(Question::FirstContact { equal, differ, only_here }) = question else {
        bail!(WrongUse(format!("{} is the share '{}' already", share.directory, shown(&share.name))));
    };
    let choice = match choice {
        Some(choice) => choice,
        None if prompt::is_possible() => {
            talk(format_args!("{equal} equal, {differ} differ, {only_here} only here."));
            prompt::choice().await?
        }
        None => bail!(WrongUse("say what is to be done: --theirs, --both or --stop".into())),
    };
    decide(client, share, choice, style).await
}

async fn decide(client: &mut Client, share: &Listed, choice: Choice, style: Style) -> anyhow::Result<()> {
    client.ask(Decide { share: share.share, choice }).await?;
    let words = match choice {
        Choice::Theirs => "Taking those of the share; what was here goes to the history.",
        Choice::Both => "Keeping both.",
        Choice::Stop => "Stopped; nothing was changed.",
    };
    crate::print::done(style, "decided", &share.share.0.to_string(), words)
}
