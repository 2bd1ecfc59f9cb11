//! What an invite says, before anything is done with it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use shoal_proto::id::{DeviceId, ShareId};
use shoal_proto::invite::{Address, Invite};

use super::report::Role;
use super::text::{Id, InviteText, Moment};
use super::types::{Code, Failure};

/// What an invite says: nothing in it lets anybody in, and all of it can be shown anywhere.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Preview {
    /// To which share.
    pub share: Id<ShareId>,
    /// By whom.
    pub by: Id<DeviceId>,
    /// What who comes in may do.
    pub role: Role,
    /// Until when.
    pub not_after: Moment,
    /// Where the inviting device was.
    pub addresses: Vec<String>,
    /// The trackers that are to be asked.
    pub trackers: Vec<String>,
    /// All addresses lead to this very machine, and no tracker is named: nobody elsewhere could use it.
    pub is_local_only: bool,
}

/// Looks at an invite.
///
/// # Errors
/// When it is none, was damaged, or has expired by this machine's clock; the text says which.
pub fn preview(text: &InviteText) -> Result<Preview, Failure> {
    let invite =
        Invite::parse(text.expose()).map_err(|error| Failure::new(Code::Invite, error.to_string()))?;
    let not_after = Moment::at_second(i64::try_from(invite.delegation.not_after).unwrap_or(i64::MAX));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if now >= invite.delegation.not_after {
        let text = format!("the invite has expired, at {}", not_after.to_the_second());
        return Err(Failure::new(Code::Invite, text).with_hint("ask for a new one: `shoal invite` makes it"));
    }
    let texts = |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect();
    let is_local_only = invite.trackers.is_empty() && invite.addresses.iter().all(Address::is_loopback);
    Ok(Preview {
        share: Id(invite.share()),
        by: Id(invite.delegation.signer),
        role: invite.delegation.role.into(),
        not_after,
        addresses: texts(&invite.addresses),
        trackers: texts(&invite.trackers),
        is_local_only,
    })
}

#[cfg(test)]
mod tests {
    use shoal_proto::key::{DeviceKey, InviteSecret};
    use shoal_proto::roster::{self, Delegation, Founding, Offer};
    use shoal_proto::secret::ShareSecret;

    use super::*;

    fn text(not_after: u64, addresses: &[&str]) -> InviteText {
        let key = DeviceKey::from_seed(&[1; 32]);
        let founding = Founding { creator: key.device(), random: [2; 32], cut: 1 };
        let (share, secret) = (founding.share(), InviteSecret::from_seed(&[3; 32]));
        let offer = Offer { role: roster::Role::Reader, uses: 1, not_after };
        let delegation = Delegation::sign(&key, &share, secret.key(), offer, None).unwrap();
        let addresses = addresses.iter().map(|address| Address::parse(address).unwrap()).collect();
        let invite = Invite {
            founding,
            secret: ShareSecret::from_bytes([4; 32]),
            key: secret,
            delegation,
            addresses,
            trackers: Vec::new(),
        };
        InviteText::new(invite.to_text().unwrap())
    }

    #[test]
    fn f8_an_invite_says_where_it_leads_and_whether_it_can_be_used() {
        let seen = preview(&text(u64::MAX, &["192.0.2.1:4242"])).unwrap();
        assert_eq!((seen.role, seen.is_local_only), (Role::Reader, false));
        assert_eq!(seen.addresses, ["192.0.2.1:4242"]);
        assert!(preview(&text(u64::MAX, &["[::1]:4242"])).unwrap().is_local_only);
        let expired = preview(&text(5, &[])).unwrap_err();
        assert_eq!(expired.message, "the invite has expired, at 1970-01-01 00:00:05Z");
        let escape = preview(&InviteText::new("shoal1\u{1b}[2J".into())).unwrap_err();
        assert_eq!(escape.message, "'\\u{1b}' at place 7 does not belong into an invite");
        for text in [String::new(), "x".repeat(1 << 20), text(u64::MAX, &[]).expose()[..90].to_owned()] {
            assert_eq!(preview(&InviteText::new(text)).unwrap_err().code, Code::Invite);
        }
    }
}
