//! Large worlds, drawn from a seed.
//!
//! Promise: a seed is a world, the same on every machine. Up to 8 devices, 6 paths and 60 steps, with bytes that must be
//! fetched, records that arrive in part and in any order, lost and rolled-back indexes; after the steps everybody
//! meets until nothing moves, and all checks are made again. A failing world is told as a story from which steps were
//! left out as long as it still fails.

use super::checks::Violation;
use super::real::Real;
use super::reference::Reference;
use super::world::{Config, Step, World};
use super::{Content, Rules};

const PATHS: &[&str] = &["d", "d/x", "d/y", "e", "e/f", "p"];

/// Numbers from a seed (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// A world and what happens in it.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) config: Config,
    pub(super) steps: Vec<Step>,
}

/// The story of a seed.
pub(super) fn story(seed: u64) -> Story {
    let mut draw = Draw::new(seed);
    let writers = 2 + draw.below(6);
    let readers = draw.below(2);
    let paths = &PATHS[PATHS.len() - 1 - draw.below(PATHS.len())..];
    let (losses, histories) = (draw.one_in(3), draw.one_in(2));
    let config = Config { writers, readers, paths, bytes: true, histories, losses };
    let devices = writers + readers;
    let steps = (0..10 + draw.below(51)).map(|_| step(&mut draw, devices, &config)).collect();
    Story { config, steps }
}

/// A small world that is hardly anything but conflicts: many steps on one path, most of them meetings and resolutions.
pub(super) fn quarrel(seed: u64) -> Story {
    let mut draw = Draw::new(seed);
    let writers = 3 + draw.below(2);
    let config = Config { writers, readers: 0, paths: &["p"], bytes: false, histories: false, losses: false };
    let steps = (0..10 + draw.below(12)).map(|_| {
        let device = draw.below(writers);
        let other = (device + 1 + draw.below(writers - 1)) % writers;
        let mtime = i64::try_from(draw.below(3)).unwrap() + 1;
        match draw.below(16) {
            0..=3 => Step::Write { device, path: 0, content: Content::File(0), mtime },
            4 => Step::Touch { device, path: 0, mtime },
            5 => Step::Delete { device, path: 0 },
            6..=10 => Step::Exchange { one: device, other },
            11 | 12 => Step::Show { device, from: other },
            _ => Step::Resolve { device, path: 0 },
        }
    });
    let steps = steps.collect();
    Story { config, steps }
}

fn step(draw: &mut Draw, devices: usize, config: &Config) -> Step {
    let device = draw.below(devices);
    let other = (device + 1 + draw.below(devices - 1)) % devices;
    // Now and then a conflict copy is what is worked on.
    let path = draw.below(config.paths.len() + 2);
    let mtime = i64::try_from(draw.below(6)).unwrap() + 1;
    match draw.below(24) {
        0..=4 => {
            let content = match draw.below(8) {
                0 => Content::Dir,
                1 => Content::File(1), // what somebody else may have made as well
                _ => Content::File(0),
            };
            Step::Write { device, path, content, mtime }
        }
        5 => Step::Touch { device, path, mtime },
        6 => Step::Chmod { device, path },
        7 | 8 => Step::Delete { device, path },
        9..=13 => Step::Exchange { one: device, other },
        14 | 15 => Step::Push { from: device, to: other, which: draw.next() },
        16..=18 => Step::Show { device, from: other },
        19 => Step::Fetch { device, from: other },
        20 | 21 => Step::Resolve { device, path },
        _ if !config.losses => Step::Show { device, from: other },
        22 => Step::Snapshot { device },
        _ if draw.one_in(2) => Step::LoseIndex { device },
        // Who does not notice by itself learns it from the histories of others.
        _ => Step::RollBack { device, disk: draw.one_in(2), noticed: !config.histories || draw.one_in(2) },
    }
}

/// Lives through a story and lets all become quiet.
pub(super) fn live<R: Rules>(rules: &R, story: &Story) -> Result<(), Violation> {
    let mut world = World::new(rules.clone(), story.config);
    for step in &story.steps {
        world.apply(*step)?;
    }
    settle(&mut world)?;
    world.check_quiet()
}

/// Everybody meets, shows and resolves until nothing moves (I2).
fn settle<R: Rules>(world: &mut World<R>) -> Result<(), Violation> {
    const ROUNDS_MAX: usize = 60;
    let devices = world.devices.len();
    for round in 0..ROUNDS_MAX {
        let mut changed = false;
        for one in 0..devices {
            for other in one + 1..devices {
                changed |= world.apply(Step::Exchange { one, other })?;
                changed |= world.apply(Step::Fetch { device: one, from: other })?;
                changed |= world.apply(Step::Fetch { device: other, from: one })?;
                changed |= world.apply(Step::Show { device: one, from: other })?;
                changed |= world.apply(Step::Show { device: other, from: one })?;
            }
        }
        if !changed {
            // One at a time, another one each round: all resolving at once is among the steps of the story.
            for device in (round..round + devices).map(|at| at % devices) {
                let paths = world.devices[device].slots.len();
                for path in 0..paths {
                    changed |= world.apply(Step::Resolve { device, path })?;
                }
                if changed {
                    break;
                }
            }
        }
        if !changed {
            return Ok(());
        }
    }
    Err(Violation::new("I2", format!("still moving after {ROUNDS_MAX} rounds")))
}

/// The same failure with as few steps as leaving out one after the other finds.
pub(super) fn shortened<R: Rules>(rules: &R, mut story: Story) -> (Story, Violation) {
    let Err(mut violation) = live(rules, &story) else { panic!("this story does not fail") };
    let mut at = 0;
    while at < story.steps.len() {
        let mut shorter = story.clone();
        shorter.steps.remove(at);
        match live(rules, &shorter) {
            Err(same) if same.invariant == violation.invariant => {
                (story, violation) = (shorter, same);
                at = 0;
            }
            _ => at += 1,
        }
    }
    (story, violation)
}

/// Lives through the stories of these seeds; of those that fail, all are counted and the first one is told.
fn hold<R: Rules>(rules: &R, story: fn(u64) -> Story, seeds: std::ops::Range<u64>) {
    let failing: Vec<u64> = seeds.filter(|seed| live(rules, &story(*seed)).is_err()).collect();
    if let Some(&seed) = failing.first() {
        let (Story { config, steps }, violation) = shortened(rules, story(seed));
        let Violation { invariant, what } = violation;
        panic!("{failing:?} fail; seed {seed}: {invariant}: {what}\n{config:?}\n{steps:#?}");
    }
}

/// How many worlds of each sort every run of the tests lives through.
const WORLDS: u64 = 500;

#[test]
fn the_code_holds_in_random_worlds() {
    hold(&Real, story, 0..WORLDS);
    hold(&Real, quarrel, 0..WORLDS);
}

#[test]
fn the_reference_holds_in_random_worlds() {
    hold(&Reference, story, 0..WORLDS);
    hold(&Reference, quarrel, 0..WORLDS);
}

#[test]
#[ignore = "a quarter of an hour with --release"]
fn the_code_holds_in_a_million_worlds() {
    hold(&Real, story, 0..1_000_000);
}

#[test]
#[ignore = "minutes; run with --release"]
fn the_code_holds_in_a_million_quarrels() {
    hold(&Real, quarrel, 0..1_000_000);
}
