//! How worlds are to be.
//!
//! Promise: plain values; with the seed they say all.

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
            is_traced: false,
        }
    }
}

impl Options {
    /// Options for a seed, in which everything that there is comes up now and then: few and many devices, a reader,
    /// hostile members.
    #[must_use]
    pub fn varied(seed: u64, devices: usize) -> Self {
        let mut draw = crate::draw::Draw::new(seed ^ 0x0b_71_05);
        let mut hostile = Vec::new();
        if devices > 2 && draw.one_in(6) {
            hostile.push(Tamper::draw(&mut draw));
        }
        Self {
            devices,
            acts: 15 + draw.below(40),
            with_faults: !draw.one_in(5),
            with_reader: devices > 2 && draw.one_in(5),
            hostile,
            is_traced: false,
        }
    }

    /// The device from which on all are hostile.
    #[must_use]
    pub fn honest(&self) -> usize {
        self.devices.saturating_sub(self.hostile.len()).max(1)
    }
}
