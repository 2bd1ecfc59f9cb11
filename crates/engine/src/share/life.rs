//! What this device is in the share, and what stops it.
//!
//! Promise: what a guard has asked is answered by a person, and by nobody else (I19); that this device is no member any
//! more is no question, counts more than whatever else has stopped the share, and ends only when it is let in again (I26).

use std::collections::BTreeMap;

use shoal_proto::id::DeviceId;
use shoal_proto::message::Refusal;
use shoal_proto::roster::Role;

use super::{Asking, Meant, Share, Stage, Waiting, Wake};
use crate::index::{self, Life};
use crate::io::{Belonging, Conn, Differing};
use crate::limits::RESCAN_INTERVAL;
use crate::status::Halt;

impl Share {
    /// What this device is and may do, as the index has it now.
    pub(super) fn is_told_life(&mut self, life: Life) {
        let was_member = self.life.as_ref().is_some_and(|life| life.role.is_some());
        let is_removed = life.removed.contains(&self.device) || was_member && life.role.is_none();
        let (is_first, was_halted) = (self.life.is_none(), life.is_halted);
        let had_contact = self.life.as_ref().is_some_and(|life| life.first_contact);
        let has_contact = life.first_contact;
        let is_known_to_be = life.removed.contains(&self.device);
        let why = match life.void.filter(|_| !is_known_to_be) {
            Some(why) => Halt::Refused(why),
            None => Halt::Removed { by: life.removed_by },
        };
        // Where others have said so, what this device holds itself never was otherwise.
        let knew_it = |known: &Life| known.role.is_none() || known.removed.contains(&self.device);
        let is_let_in =
            self.life.as_ref().is_some_and(knew_it) || self.peers.values().any(|peer| peer.has_agreed);
        self.belongs_anew |= self.life.as_ref().is_none_or(|known| known.is_of_others(&life));
        self.life = Some(life);
        if is_removed {
            return self.goes_out(why);
        }
        self.part_with_removed();
        if is_first {
            self.begin(was_halted);
        } else if self.is_out() && is_let_in {
            // Whoever removed it has let it in again, or another one has let it in.
            self.belongs_anew = true;
            self.stage =
                if matches!(self.stage, Stage::Paused(_)) { Stage::Paused(None) } else { Stage::Starting };
            self.begin(was_halted);
        } else if has_contact && !had_contact {
            self.planner.is_dirty = true;
        }
    }

    /// Another end does not let this device in. That counts from those who know, since others may not have heard of who let it
    /// in; and until it has met a member, unless it was removed meanwhile, which an admin says. While somebody else lets it in,
    /// who refuses it has not heard of that.
    pub(super) fn is_refused(&mut self, conn: Conn, why: Refusal) {
        let Some(host) = self.peers.get(&conn).map(|peer| peer.device) else { return };
        let is_let_in = self.peers.iter().any(|(other, peer)| *other != conn && peer.has_agreed);
        let may_say = |life: &&Life| {
            let is_admin = |(device, role): &(DeviceId, Role)| *device == host && *role == Role::Admin;
            life.hosts.contains(&host) && (!life.first_contact || life.members.iter().any(is_admin))
        };
        let Some(life) = self.life.as_ref().filter(may_say).filter(|_| !is_let_in) else { return };
        match (life.first_contact, why) {
            (false, why) => self.goes_out(Halt::Refused(why)),
            (true, Refusal::Removed) => self.goes_out(Halt::Removed { by: None }),
            (true, _) => {}
        }
    }

    /// This device is no member any more: that counts more than whatever else has stopped the share, and is no question.
    /// Who speaks with it is told before it falls silent, as it may have left by itself.
    pub(super) fn goes_out(&mut self, why: Halt) {
        if !self.is_out() {
            self.belongs_anew = true;
            self.stage = Stage::Running;
            self.halt(why, false);
            self.part_with_all();
        }
    }

    /// Who belongs to it, and by what they find each other; nobody for who is out.
    pub(crate) fn belonging(&self) -> Belonging {
        let Some(life) = self.life.as_ref().filter(|_| !self.is_out()) else {
            let secrets = if self.is_out() { Vec::new() } else { self.told.clone() };
            return Belonging { secrets, members: BTreeMap::new() };
        };
        let members =
            life.members.iter().map(|(device, _)| (*device, life.names.get(device).cloned())).collect();
        Belonging { secrets: self.secrets().cloned().collect(), members }
    }

    /// Whether that is not what it was when this was asked last.
    pub(crate) fn belongs_anew(&mut self) -> bool {
        core::mem::take(&mut self.belongs_anew)
    }

    /// Whether this device is no member, or was not let in.
    pub(crate) fn is_out(&self) -> bool {
        self.stopped_by().is_some_and(Halt::is_out)
    }

    /// What has stopped it, paused or not.
    fn stopped_by(&self) -> Option<&Halt> {
        match &self.stage {
            Stage::Halted(why) | Stage::Paused(Some(why)) => Some(why),
            _ => None,
        }
    }

    /// What this device is has become known; it may have been paused before that.
    fn begin(&mut self, was_halted: bool) {
        match (&self.stage, was_halted) {
            (Stage::Paused(_), true) => self.stage = Stage::Paused(Some(Halt::Before)),
            (_, true) => self.stage = Stage::Halted(Halt::Before),
            (Stage::Paused(_), false) => {}
            (_, false) => self.look_through(),
        }
        self.looks_into_history();
    }

    /// The folder is looked through before anything else is done.
    pub(super) fn look_through(&mut self) {
        self.stage = Stage::Scanning;
        self.rescan();
    }

    pub(super) fn rescan(&mut self) {
        self.timers.set(Wake::Rescan, self.now.time.after(RESCAN_INTERVAL));
        self.scanner.want_all();
    }

    /// The share stops until a person has looked. `is_kept`: over restarts, too.
    pub(super) fn halt(&mut self, why: Halt, is_kept: bool) {
        if matches!(self.stage, Stage::Halted(_) | Stage::Paused(Some(_))) {
            return;
        }
        self.stage = Stage::Halted(why);
        self.scanner.stop();
        self.planner.stop();
        self.planner.accepts_removals = false;
        if is_kept {
            self.index(Waiting::Contact, index::Job::SetHalted(true));
        }
    }

    /// Whether this device has yet to compare records with a member.
    pub(super) fn is_new_here(&self) -> bool {
        self.life.as_ref().is_some_and(|life| !life.first_contact)
    }

    /// Both ends hold the same records, and one of them was the first to be met.
    pub(super) fn has_met(&mut self) {
        if self.asking == Asking::No {
            self.index(Waiting::Contact, index::Job::SetFirstContact);
        } else {
            self.asking = Asking::Met;
        }
    }

    /// A person says what becomes of what differs.
    pub(super) fn meet(&mut self, differing: Differing) {
        if self.life.is_some() && !self.is_new_here() {
            return;
        }
        self.is_yielding = differing == Differing::Theirs;
        if std::mem::replace(&mut self.asking, Asking::No) == Asking::Met {
            self.index(Waiting::Contact, index::Job::SetFirstContact);
        }
    }

    pub(super) fn is_asking(&self) -> bool {
        self.asking == Asking::Met
            && self.stage == Stage::Running
            && self.is_new_here()
            && !self.scanner.is_busy(self.now.time)
    }

    /// What differed at first contact has given way, as far as anybody had its bytes: from now on what differs is a conflict.
    pub(super) fn yields_no_more(&mut self) {
        if self.is_yielding && self.may_plan() && !self.is_busy() {
            self.is_yielding = false;
        }
    }

    /// Nothing that a person has said before is said of what happens during a pause.
    pub(super) fn pause(&mut self) {
        self.scanner.meant = Meant::No;
        self.planner.accepts_removals = false;
        match &self.stage {
            Stage::Paused(_) => {}
            Stage::Halted(why) => self.stage = Stage::Paused(Some(why.clone())),
            _ => self.stage = Stage::Paused(None),
        }
    }

    /// What a guard has asked is answered with yes, and nothing else (I19).
    pub(super) fn resume(&mut self) {
        match &self.stage {
            Stage::Paused(Some(why)) => self.stage = Stage::Halted(why.clone()),
            Stage::Paused(None) if self.life.is_none() => self.stage = Stage::Starting,
            Stage::Halted(Halt::Emptied { .. } | Halt::Before) => {
                self.scanner.meant = Meant::UntilSwept;
                self.index(Waiting::Contact, index::Job::SetHalted(false));
                self.look_through();
            }
            Stage::Halted(why) if why.is_out() => {}
            Stage::Halted(_) | Stage::Paused(None) => self.look_through(),
            Stage::Starting | Stage::Scanning => {}
            Stage::Running => {
                self.planner.accepts_removals = self.planner.held_back.is_some();
                self.planner.is_dirty = true;
            }
        }
    }
}
