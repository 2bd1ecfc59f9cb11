//! What is done to a world from outside: what users do, what breaks, and when.
//!
//! Promise: all of it is drawn from the seed before anything happens, as data; so a world that fails can be lived through
//! again with parts of it left out.

use core::time::Duration;

use shoal_engine::time::Time;

use crate::draw::Draw;
use crate::faults::Fault;
use crate::options::Options;
use crate::users::Step;

/// Something that is done to a world.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Act {
    /// What belongs together has one number: a crash and the start after it, the steps of a save.
    pub group: usize,
    /// When.
    pub at: Time,
    /// What.
    pub deed: Deed,
}

/// What is done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Deed {
    /// The user of a device does this.
    User {
        /// Which device.
        device: usize,
        /// What.
        step: Step,
    },
    /// The user of a device wants one of the versions in its history back.
    Restore {
        /// Which device.
        device: usize,
        /// Which of the versions that are there then.
        pick: u64,
        /// Where it is to stand; `None`: where it was.
        to: Option<String>,
    },
    /// The user of the device that only reads gives up some of what is changed there.
    Revert {
        /// Of which it is drawn, what.
        pick: u64,
    },
    /// A device says something of the roster: gives the share a new secret if it may, or calls itself something else.
    Say {
        /// Which device.
        device: usize,
        /// Of which the secret, or name, is made.
        number: u64,
    },
    /// This breaks, or is mended.
    Fault(Fault),
}

/// Draws all acts of a world, in the order of time.
#[must_use]
pub fn draw(seed: u64, options: &Options) -> Vec<Act> {
    let mut draw = Draw::new(seed ^ 0x0a_c7_5e_ed);
    let mut acts: Vec<Act> = Vec::new();
    let mut at = Time::ZERO.after(Duration::from_secs(draw.below(30) as u64));
    let faults = crate::faults::Sorts::draw(&mut draw, options);
    // Some worlds are about faults, some about users.
    let of_eight = 1 + draw.below(4);
    for group in 0..options.acts {
        at = at.after(pause(&mut draw));
        let is_fault = draw.below(8) < of_eight && !faults.is_empty();
        let deeds = if is_fault {
            faults.draw_one(&mut draw, options)
        } else {
            let device = draw.below(options.devices);
            let steps = crate::users::draw_steps(&mut draw, group);
            let user = |(wait, step)| (wait, Deed::User { device, step });
            steps.into_iter().map(user).collect()
        };
        acts.extend(deeds.into_iter().map(|(wait, deed)| Act { group, at: at.after(wait), deed }));
    }
    acts.extend(draw_restores(seed, options, at));
    acts.extend(draw_said(seed, options, at));
    acts.extend(draw_reverts(seed, options, at));
    acts.sort_by_key(|act| act.at);
    acts
}

/// What users want back from history, until this moment.
fn draw_restores(seed: u64, options: &Options, end: Time) -> Vec<Act> {
    let mut draw = Draw::new(seed ^ 0x0b_ac_c0_de);
    let draw_one = |number: usize| {
        let at = moment(&mut draw, end);
        let (device, pick) = (draw.below(options.devices), draw.any());
        let to = draw.one_in(3).then(|| ["b", "d/x", "new/again"][draw.below(3)].to_owned());
        Act { group: options.acts + number, at, deed: Deed::Restore { device, pick, to } }
    };
    (0..options.restores).map(draw_one).collect()
}

/// What is said of the roster until this moment; mostly by who founded the share.
fn draw_said(seed: u64, options: &Options, end: Time) -> Vec<Act> {
    let mut draw = Draw::new(seed ^ 0x05_a1_d0);
    let draw_one = |number: usize| {
        let at = moment(&mut draw, end);
        let device = if draw.one_in(3) { draw.below(options.honest()) } else { 0 };
        let deed = Deed::Say { device, number: draw.any() };
        Act { group: options.acts + options.restores + number, at, deed }
    };
    (0..options.said).map(draw_one).collect()
}

/// What the user of the device that only reads gives up until this moment.
fn draw_reverts(seed: u64, options: &Options, end: Time) -> Vec<Act> {
    let mut draw = Draw::new(seed ^ 0x0e_7e_47);
    let first = options.acts + options.restores + options.said;
    let draw_one = |number: usize| {
        let at = moment(&mut draw, end);
        Act { group: first + number, at, deed: Deed::Revert { pick: draw.any() } }
    };
    let reverts = if options.with_reader { options.reverts } else { 0 };
    (0..reverts).map(draw_one).collect()
}

/// Any moment before the end.
fn moment(draw: &mut Draw, end: Time) -> Time {
    let millis = draw.below(usize::try_from(end.0 / 1_000_000).unwrap_or(usize::MAX)) as u64;
    Time::ZERO.after(Duration::from_millis(millis))
}

/// Mostly some seconds; now and then at once, or minutes.
fn pause(draw: &mut Draw) -> Duration {
    let millis = match draw.below(8) {
        0 => draw.below(20),
        1 | 2 => draw.below(1_000),
        3..=5 => draw.below(10_000),
        6 => draw.below(60_000),
        _ => draw.below(600_000),
    };
    Duration::from_millis(millis as u64)
}
