//! How worlds are to be.
//!
//! Promise: plain values; with the seed they say all.

use core::time::Duration;

use shoal_engine::history::Retention;

use crate::draw::Draw;
use crate::hostile::Tamper;

/// How a world is to be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// How many devices; the first one has founded the share. 1 to 16.
    pub devices: usize,
    /// How many things are done to the world: acts of users, with all steps of a save, and faults with their mending.
    pub acts: usize,
    /// Whether anything breaks.
    pub with_faults: bool,
    /// Devices after the first, from the last one downwards, that are hostile.
    pub hostile: Vec<Tamper>,
    /// Whether the last honest device only reads.
    pub with_reader: bool,
    /// How much of what is displaced is kept.
    pub retention: Retention,
    /// How often users want something back from history.
    pub restores: usize,
    /// How often the user of the device that only reads gives up what was changed there.
    pub reverts: usize,
    /// How often devices say something of the roster.
    pub said: usize,
    /// Until when the invites by which devices come in are good; `None`: for ever.
    pub invites_last: Option<Duration>,
    /// Whether lines of the trace are kept.
    pub is_traced: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            devices: 5,
            acts: 40,
            with_faults: true,
            hostile: Vec::new(),
            with_reader: false,
            retention: Retention::default(),
            restores: 0,
            reverts: 0,
            said: 0,
            invites_last: None,
            is_traced: false,
        }
    }
}

impl Options {
    /// Options for a seed, in which everything that there is comes up now and then: few and many devices, a reader,
    /// hostile members.
    #[must_use]
    pub fn varied(seed: u64, devices: usize) -> Self {
        let mut draw = Draw::new(seed ^ 0x0b_71_05);
        let mut hostile = Vec::new();
        if devices > 2 && draw.one_in(6) {
            hostile.push(Tamper::draw(&mut draw));
        }
        let mut draw_kept = Draw::new(seed ^ 0x0e_7a_19);
        Self {
            retention: draw_retention(&mut draw_kept),
            restores: [0, 0, 2, 6][draw_kept.below(4)],
            said: [0, 0, 0, 2, 5][draw_kept.below(5)],
            reverts: [0, 2, 5][draw_kept.below(3)],
            devices,
            acts: 15 + draw.below(40),
            with_faults: !draw.one_in(5),
            with_reader: devices > 2 && draw.one_in(5),
            hostile,
            invites_last: None,
            is_traced: false,
        }
    }

    /// The device from which on all are hostile.
    #[must_use]
    pub fn honest(&self) -> usize {
        self.devices.saturating_sub(self.hostile.len()).max(1)
    }
}

/// Every other world keeps things as long as anybody does; the others have little time, or little room.
fn draw_retention(draw: &mut Draw) -> Retention {
    if draw.one_in(2) {
        return Retention::default();
    }
    let minutes = [20, 60, 240][draw.below(3)];
    let bytes_max = [0, 500, 50_000, 1 << 30][draw.below(4)];
    Retention { keep: Duration::from_secs(60 * minutes), bytes_max }
}
