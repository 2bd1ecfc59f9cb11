//! Every order of the steps of small worlds.
//!
//! Promise: what [`explore`] goes through to the end holds for *all* orders in which these users act, these devices
//! meet, show and resolve, in worlds of this size; the first world found broken comes with a shortened story.

use std::collections::BTreeSet;

use super::canonical::Name;
use super::checks::Violation;
use super::random::{Story, live, shortened};
use super::real::Real;
use super::reference::Reference;
use super::world::{Config, Disk, Step, World};
use super::{Content, Rules};

/// How much the users may do, and what may befall a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) config: Config,
    /// How often users act in all.
    pub(super) acts: u8,
    pub(super) mtimes: &'static [i64],
    /// What users write: `File(0)` is something new each time.
    pub(super) contents: &'static [Content],
    pub(super) touches: bool,
    /// Whether each disk shows at once what its device has heard.
    pub(super) prompt: bool,
    /// What may befall the first device, once.
    pub(super) loss: Loss,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Loss {
    None,
    Index,
    RollBack { disk: bool, noticed: bool },
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Explored {
    pub(super) worlds: usize,
    pub(super) quiet: usize,
    /// Whether these are all; else the bound was reached.
    pub(super) all: bool,
}

/// A world to go on from: how many steps led to it and the last of them, what is left to do, and whether the loss is
/// still to come.
struct Open<R: Rules> {
    depth: usize,
    steps: Vec<Step>,
    world: World<R>,
    acts: u8,
    lost: bool,
}

/// A promise broken, and the steps that lead there.
type Broken = (Violation, Vec<Step>);

/// Goes through all worlds in reach, depth first: only names are remembered.
pub(super) fn explore<R: Rules>(rules: &R, scope: Scope) -> Result<Explored, Broken> {
    let world = World::new(rules.clone(), scope.config);
    let mut explored = Explored { all: true, ..Explored::default() };
    let mut known = BTreeSet::<Name>::new();
    let mut story: Vec<Vec<Step>> = Vec::new();
    let lost = scope.loss == Loss::None;
    known.insert(world.name(&[scope.acts, u8::from(lost)]));
    let mut stack = vec![Open { depth: 0, steps: Vec::new(), world, acts: scope.acts, lost }];
    while let Some(open) = stack.pop() {
        story.truncate(open.depth);
        story.push(open.steps.clone());
        let mut quiet = true;
        for (step, acts, lost) in steps(&scope, &open) {
            let mut world = open.world.clone();
            let mut steps = vec![step];
            let tell = |violation, steps: &[Step]| (violation, [story.concat(), steps.to_vec()].concat());
            if !world.apply(step).map_err(|violation| tell(violation, &steps))? {
                continue;
            }
            if scope.prompt || acts == 0 && lost {
                // Once all acts are done, what the disks showed meanwhile is asked for no more.
                for device in 0..world.devices.len() {
                    steps.push(Step::Show { device, from: device });
                    world.apply(steps[steps.len() - 1]).map_err(|violation| tell(violation, &steps))?;
                }
            }
            quiet &= acts != open.acts || lost != open.lost || matches!(step, Step::Snapshot { .. });
            let name = world.name(&[acts, u8::from(lost)]);
            if known.contains(&name) {
                continue;
            }
            if known.len() >= WORLDS_MAX {
                explored.all = false;
                continue;
            }
            known.insert(name);
            stack.push(Open { depth: open.depth + 1, steps, world, acts, lost });
        }
        if quiet {
            explored.quiet += 1;
            open.world.check_quiet().map_err(|violation| (violation, story.concat()))?;
        }
    }
    explored.worlds = known.len();
    Ok(explored)
}

/// What can happen next, with the acts that are left then, and whether the loss is behind.
fn steps<R: Rules>(scope: &Scope, open: &Open<R>) -> Vec<(Step, u8, bool)> {
    let world = &open.world;
    let mut steps = Vec::new();
    for device in 0..world.devices.len() {
        for path in 0..scope.config.paths.len() {
            if open.acts > 0 {
                user_steps(scope, world, device, path, |step| steps.push((step, open.acts - 1, open.lost)));
            }
        }
        let sync = [Step::Show { device, from: device }];
        let resolve = (0..world.devices[device].slots.len()).map(|path| Step::Resolve { device, path });
        let meet = (device + 1..world.devices.len()).map(|other| Step::Exchange { one: device, other });
        steps.extend(sync.into_iter().chain(resolve).chain(meet).map(|step| (step, open.acts, open.lost)));
    }
    if !open.lost {
        match scope.loss {
            Loss::None => {}
            Loss::Index => steps.push((Step::LoseIndex { device: 0 }, open.acts, true)),
            Loss::RollBack { disk, noticed } => {
                let step = match world.snapshots[0] {
                    None => (Step::Snapshot { device: 0 }, open.acts, false),
                    Some(_) => (Step::RollBack { device: 0, disk, noticed }, open.acts, true),
                };
                steps.push(step);
            }
        }
    }
    steps
}

fn user_steps<R: Rules>(
    scope: &Scope,
    world: &World<R>,
    device: usize,
    path: usize,
    mut push: impl FnMut(Step),
) {
    for &content in scope.contents {
        let mtimes = if content == Content::Dir { &scope.mtimes[..1] } else { scope.mtimes };
        mtimes.iter().for_each(|&mtime| push(Step::Write { device, path, content, mtime }));
    }
    let slot = &world.devices[device].slots[&world.rules.path(scope.config.paths[path])];
    if slot.disk == Disk::Absent {
        return;
    }
    push(Step::Delete { device, path });
    if scope.touches {
        scope.mtimes.iter().for_each(|&mtime| push(Step::Touch { device, path, mtime }));
        push(Step::Chmod { device, path });
    }
}

/// Three writers and one path: with `acts` of users (new bytes, deletions; with `touches` also times and modes).
const fn one_path(acts: u8, touches: bool) -> Scope {
    let config =
        Config { writers: 3, readers: 0, paths: &["p"], bytes: false, histories: false, losses: false };
    let contents = &[Content::File(0)];
    Scope { config, acts, mtimes: &[1, 2], contents, touches, prompt: false, loss: Loss::None }
}

/// Three writers, a path and one below it: folders, files in their place and back.
const fn two_paths(acts: u8) -> Scope {
    let config = Config { paths: &["d", "d/x"], ..one_path(acts, false).config };
    Scope { config, mtimes: &[1], contents: &[Content::Dir, Content::File(0)], ..one_path(acts, false) }
}

/// Names of so many take some 8 GiB.
const WORLDS_MAX: usize = 300_000_000;

fn holds<R: Rules>(rules: &R, scope: Scope) {
    let (violation, steps) = match explore(rules, scope) {
        Ok(explored) => {
            println!("{scope:?}: {explored:?}");
            assert!(explored.all, "more worlds than fit memory");
            return;
        }
        Err(broken) => broken,
    };
    let story = Story { config: scope.config, steps };
    if live(rules, &story).is_ok() {
        panic!("{violation:?}\n{story:#?}"); // It needs this very order to become quiet.
    }
    let (story, violation) = shortened(rules, story);
    panic!("{violation:?}\n{story:#?}");
}

const LOSSES: [Loss; 3] = [
    Loss::Index,
    Loss::RollBack { disk: false, noticed: true },
    Loss::RollBack { disk: true, noticed: true },
];

#[test]
fn one_path_of_three_devices() {
    holds(&Real, one_path(2, true));
    holds(&Reference, one_path(2, true));
}

#[test]
fn two_paths_of_three_devices() {
    holds(&Real, two_paths(2));
}

#[test]
fn one_path_of_two_writers_and_a_reader() {
    let scope = one_path(2, true);
    holds(&Real, Scope { config: Config { writers: 2, readers: 1, ..scope.config }, ..scope });
}

#[test]
fn one_path_and_a_device_that_loses_what_it_knew() {
    for loss in LOSSES {
        let scope = one_path(2, false);
        let config = Config { writers: 2, losses: true, ..scope.config };
        holds(&Real, Scope { config, loss, ..scope });
    }
}

#[test]
#[ignore = "minutes; run with --release"]
fn one_path_of_three_devices_and_three_acts() {
    holds(&Real, one_path(3, false));
    holds(&Real, one_path(3, true));
}

#[test]
#[ignore = "an hour; run with --release"]
fn one_path_of_three_devices_and_four_acts() {
    holds(&Real, one_path(4, false));
}

#[test]
#[ignore = "minutes; run with --release"]
fn one_path_of_three_devices_and_five_acts_at_once_shown() {
    holds(&Real, Scope { mtimes: &[1], prompt: true, ..one_path(5, false) });
}

#[test]
#[ignore = "minutes; run with --release"]
fn two_paths_of_three_devices_and_three_acts() {
    holds(&Real, two_paths(3));
}

#[test]
#[ignore = "minutes; run with --release"]
fn one_path_of_three_devices_one_of_which_loses_what_it_knew() {
    for loss in LOSSES {
        let scope = one_path(2, false);
        let config = Config { losses: true, ..scope.config };
        holds(&Real, Scope { config, loss, ..scope });
    }
}

#[test]
#[ignore = "minutes; run with --release"]
fn one_path_with_a_reader_or_a_lost_index_at_once_shown() {
    let prompt = Scope { prompt: true, ..one_path(4, true) };
    holds(&Real, Scope { config: Config { writers: 2, readers: 1, ..prompt.config }, ..prompt });
    let config = Config { losses: true, ..prompt.config };
    holds(&Real, Scope { config, loss: Loss::Index, acts: 3, touches: false, mtimes: &[1], ..prompt });
}
