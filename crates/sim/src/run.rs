//! Worlds from seeds: lived through, judged, and if one fails, shortened.
//!
//! Promise: a seed with its options says all; the same again gives the same trace. A failure comes with the fewest acts
//! that were found to show it, and the story of what happened. Begin at [`run`].

use core::time::Duration;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use shoal_engine::time::Time;

use crate::act::{self, Act};
use crate::check::{self, Broken};
use crate::options::Options;
use crate::world::{Tally, World};

/// How long a world may take to come to rest once nothing breaks any more: folders are looked through again meanwhile.
pub const REST: Duration = Duration::from_secs(4 * 3600);

/// How long after the last act all is mended.
const PAUSE: Duration = Duration::from_secs(5);

/// Most worlds that are lived through to shorten a failure.
const TRIES_MAX: usize = 300;

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// What happened.
    pub tally: Tally,
    /// The hash of it all.
    pub trace: blake3::Hash,
    /// What was broken, if anything was.
    pub failure: Option<Failure>,
}

/// A promise that was broken, and how to see it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which promise, in the world as it was drawn.
    pub broken: Broken,
    /// The acts that are enough to break it.
    pub acts: Vec<Act>,
    /// What happens with these acts alone, in order.
    pub story: Vec<String>,
}

/// Lives through the world of a seed.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    let acts = act::draw(seed, options);
    let lived = live(seed, options, &acts);
    let failure = lived.broken.map(|broken| shorten(seed, options, acts, broken));
    Report { seed, tally: lived.tally, trace: lived.trace, failure }
}

/// What came of a world.
#[derive(Clone, Debug)]
pub struct Lived {
    /// What was broken, if anything was.
    pub broken: Option<Broken>,
    /// What happened.
    pub tally: Tally,
    /// The hash of it all.
    pub trace: blake3::Hash,
    /// What happened, in words, if somebody wants to read it.
    pub story: Vec<String>,
}

/// Lives through a world with these acts: first all that is done to it, then it is mended and must come to rest.
#[must_use]
pub fn live(seed: u64, options: &Options, acts: &[Act]) -> Lived {
    let mut world = match World::new(seed, options, acts.to_vec()) {
        Ok(world) => world,
        Err(broken) => {
            let (tally, trace) = (Tally::default(), blake3::hash(&[]));
            return Lived { broken: Some(broken), tally, trace, story: Vec::new() };
        }
    };
    let end = acts.iter().map(|act| act.at).max().unwrap_or(Time::ZERO).after(PAUSE);
    // A panic is a failure like any other, and is shortened like one. The world is not used after it but to be told of.
    let result = catch_unwind(AssertUnwindSafe(|| to_the_end(&mut world, end)));
    let broken = match result {
        Ok(result) => result.err(),
        Err(payload) => Some(Broken::new("panic", words_of(&*payload))),
    };
    let story = world.trace.lines().to_vec();
    Lived { broken, tally: world.tally, trace: world.trace.hash(), story }
}

fn words_of(payload: &(dyn core::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}

fn to_the_end(world: &mut World, end: Time) -> Result<(), Broken> {
    world.run_to(end)?;
    world.mend()?;
    world.come_to_rest(REST)?;
    check::at_rest(world)?;
    check::no_echo::check(world)?;
    check::at_rest(world)
}

/// Leaves out acts as long as the same promise is broken without them.
fn shorten(seed: u64, options: &Options, acts: Vec<Act>, broken: Broken) -> Failure {
    let fails = |acts: &[Act]| {
        live(seed, options, acts).broken.is_some_and(|found| found.invariant == broken.invariant)
    };
    let acts = fewest(acts, fails);
    let options = Options { is_traced: true, ..options.clone() };
    let story = live(seed, &options, &acts).story;
    Failure { broken, acts, story }
}

/// The fewest acts, by whole groups, with which it still fails, as far as the tries reach.
fn fewest(mut acts: Vec<Act>, fails: impl Fn(&[Act]) -> bool) -> Vec<Act> {
    let mut tries = 0;
    let mut portion = groups(&acts).len().div_ceil(2);
    while portion > 0 {
        let mut from = 0;
        let mut is_shorter = false;
        loop {
            let groups = groups(&acts);
            if from >= groups.len() || tries >= TRIES_MAX {
                break;
            }
            let left_out = &groups[from..(from + portion).min(groups.len())];
            let rest: Vec<Act> = acts.iter().filter(|act| !left_out.contains(&act.group)).cloned().collect();
            tries += 1;
            if fails(&rest) {
                (acts, is_shorter) = (rest, true);
            } else {
                from += portion;
            }
        }
        if portion == 1 && !is_shorter || tries >= TRIES_MAX {
            break;
        }
        portion = if portion == 1 { 1 } else { portion / 2 };
    }
    acts
}

fn groups(acts: &[Act]) -> Vec<usize> {
    let groups: BTreeSet<usize> = acts.iter().map(|act| act.group).collect();
    groups.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_to_fail_is_left_out() {
        let acts = act::draw(5, &Options { acts: 40, ..Options::default() });
        let needed = |acts: &[Act]| {
            let groups = groups(acts);
            groups.contains(&7) && groups.contains(&31)
        };
        let shortest = fewest(acts.clone(), needed);
        assert_eq!(groups(&shortest), [7, 31]);
        let of = |group| acts.iter().filter(|act| act.group == group).count();
        assert_eq!(shortest.len(), of(7) + of(31), "groups stay whole");
    }

    #[test]
    fn acts_are_a_function_of_the_seed() {
        let options = Options::default();
        assert_eq!(act::draw(5, &options), act::draw(5, &options));
        assert_ne!(act::draw(5, &options), act::draw(6, &options));
        let acts = act::draw(5, &options);
        assert!(acts.is_sorted_by_key(|act| act.at));
    }
}
