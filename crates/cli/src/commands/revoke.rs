//! `shoal revoke`

use std::ffi::OsString;

use anyhow::bail;
use shoal_daemon::control::report::DeviceStatus;
use shoal_daemon::control::types::{ListDevices, Revoke, Revoked};

use super::devices::name;
use crate::exit::Exit;
use crate::print::{self, shown};
use crate::prompt;
use crate::session::{self, Common};

/// Remove a device from a share, or take back an invite
///
/// What a removed device has published until now stays; it gets nothing any more, and the share's secret changes.
/// What it holds already it keeps.
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct RevokeArgs {
    /// Name or id of the device, or id of the invite, as `shoal devices` lists them
    what: String,
    /// Name, id or folder of the share; not needed if there is only one
    #[arg(long)]
    share: Option<OsString>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

/// The letters of an id that are enough here: what is removed by mistake must be invited anew.
const ID_LETTERS_MIN: usize = 7;

pub(crate) fn revoke(args: &RevokeArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let listed = session::share(&mut client, args.share.as_deref()).await?;
        let status = client.ask(ListDevices { share: listed.share }).await?;
        let (what, words) = choose(&status, &args.what)?;
        let (ask, done) = match what {
            Revoked::Device(_) => ("Remove", "Removed"),
            Revoked::Invite(_) => ("Take back", "Took back"),
        };
        if !prompt::confirm(&format!("{ask} {words} from '{}'?", shown(&listed.name)), args.yes)? {
            return Ok(Exit::Well);
        }
        client.ask(Revoke { share: listed.share, what }).await?;
        print::done(style, "revoked", &listed.share.0.to_string(), format!("{done} {words}."))?;
        Ok(Exit::Well)
    })
}

fn choose(status: &DeviceStatus, asked: &str) -> anyhow::Result<(Revoked, String)> {
    let id = asked.to_ascii_lowercase();
    let is_id = |text: String| id.len() >= ID_LETTERS_MIN && text.starts_with(&id);
    let mut found = Vec::new();
    for device in &status.devices {
        if device.name.as_deref() == Some(asked) || is_id(device.device.0.to_string()) {
            let words = format!("the device {} ({})", name(device), device.device.0.short());
            found.push((Revoked::Device(device.device), words));
        }
    }
    for invite in status.invites.iter().filter(|invite| is_id(invite.key.0.to_string())) {
        found.push((Revoked::Invite(invite.key), format!("the invite {}", invite.key.0.short())));
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => bail!("there is no device or invite '{}'; `shoal devices` lists them", shown(asked)),
        _ => bail!(
            "'{}' can mean several devices; name one by its id, as `shoal devices` lists it",
            shown(asked)
        ),
    }
}
