//! `shoal devices`

use std::ffi::OsString;

use shoal_daemon::control::report::{Device, DeviceStatus};
use shoal_daemon::control::types::ListDevices;

use crate::exit::Exit;
use crate::print::{object, shown, table, text, time};
use crate::session::{self, Common};
use crate::status::{peer_state, role};
use crate::ui::Style;

/// List the devices of a share, and the invites that are open
#[derive(clap::Args)]
#[command(args_override_self = true)]
pub(crate) struct DevicesArgs {
    /// Name, id or folder of the share; not needed if there is only one
    share: Option<OsString>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn devices(args: &DevicesArgs) -> anyhow::Result<Exit> {
    let style = args.common.style();
    args.common.ask(async |mut client| {
        let share = session::share(&mut client, args.share.as_deref()).await?.share;
        let status = client.ask(ListDevices { share }).await?;
        match style {
            Style::Json => {
                status.devices.iter().try_for_each(object)?;
                status.invites.iter().try_for_each(object)?;
            }
            Style::Human => text(&words(&status))?,
        }
        Ok(Exit::Well)
    })
}

/// The name of a device, for a person.
pub(crate) fn name(device: &Device) -> String {
    device.name.as_deref().map_or_else(|| device.device.0.short(), shown)
}

fn words(status: &DeviceStatus) -> String {
    let rows = status.devices.iter().map(|device| {
        let state = match (device.is_this, device.peer) {
            (true, _) => "this device".into(),
            (false, Some(state)) => peer_state(state),
            (false, None) => device
                .last_seen
                .map_or_else(|| "not connected".into(), |when| format!("last seen {}", time(when))),
        };
        let address = device.address.map(|address| address.to_string()).unwrap_or_default();
        vec![name(device), device.device.0.short(), role(device.role).into(), state, address]
    });
    let mut words = table(&rows.collect::<Vec<_>>());
    if !status.invites.is_empty() {
        words.push_str("\nOpen invites:\n");
        let rows = status.invites.iter().map(|invite| {
            let left = usize::from(invite.uses).saturating_sub(invite.used_by.len());
            let used = format!("{left} of {} uses left", invite.uses);
            vec![
                invite.key.0.short(),
                role(invite.role).into(),
                used,
                format!("until {}", time(invite.not_after)),
            ]
        });
        words.push_str(&table(&rows.collect::<Vec<_>>()));
    }
    words
}
