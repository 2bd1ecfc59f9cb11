//! What breaks: processes, power, disks, indexes, clocks, connections.
//!
//! Promise: each fault that needs mending is drawn together with it, as one group of acts; which sorts of faults there
//! are is drawn for each world.

use core::time::Duration;

use crate::act::Deed;
use crate::draw::Draw;
use crate::options::Options;

/// Something that breaks, or is mended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The process of a device ends. A job of its index is performed whole or not at all.
    Crash(usize),
    /// The process ends within the next job of its disk of this sort, after so many calls.
    CrashDuring(usize, During, u64),
    /// The power goes: of what was not durable, the seed says what stays.
    PowerCut(usize, u64),
    /// The process starts, if it does not run.
    Start(usize),
    /// A backup is made of index and disk.
    BackUp(usize),
    /// What was backed up is put back, if there is anything, and the process starts anew.
    PutBack(usize, Part),
    /// The index is gone, and the process starts anew.
    LoseIndex(usize),
    /// A copy of a device goes to work beside it, and the copy of it that there was stops.
    Clone(usize),
    /// The copy of a device stops.
    StopClone(usize),
    /// After so many more bytes the disk is full; with none given there is room again.
    Fill(usize, Option<u64>),
    /// A call of the disk fails, so many calls from now.
    Failing(usize, u64),
    /// The clock jumps by so many seconds.
    Clock(usize, i64),
    /// Connections between two devices break; both know.
    Cut(usize, usize),
    /// Connections between two devices break; the second one learns it after this time only.
    HalfOpen(usize, usize, Duration),
    /// Connections between two devices hand over nothing for this time.
    Stall(usize, usize, Duration),
    /// Two devices cannot reach each other, or can again.
    Bar(usize, usize, bool),
}

/// A sort of jobs of a disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum During {
    /// Changing the tree.
    Commit,
    /// Making durable what a user wrote.
    Take,
    /// Writing staged files.
    Write,
    /// Putting a version back.
    Restore,
}

/// What of a device is put back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The index alone.
    Index,
    /// The disk alone.
    Disk,
    /// Both.
    Both,
}

/// The sorts of faults that a world has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sorts(Vec<u8>);

/// How many sorts there are.
const SORTS: u8 = 12;

impl Sorts {
    /// Draws them.
    pub fn draw(draw: &mut Draw, options: &Options) -> Self {
        let is_quiet = !options.with_faults;
        Self((0..SORTS).filter(|_| draw.one_in(3) && !is_quiet).collect())
    }

    /// Whether nothing breaks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Draws one fault and its mending, each with when it comes after the first.
    pub fn draw_one(&self, draw: &mut Draw, options: &Options) -> Vec<(Duration, Deed)> {
        let device = draw.below(options.devices);
        let other = (device + 1 + draw.below(options.devices.saturating_sub(1))) % options.devices.max(1);
        let later = Duration::from_millis(draw.below(200_000) as u64);
        let soon = Duration::from_millis(draw.below(2_000) as u64);
        let calls = 1 + draw.below(40) as u64;
        let acts = match self.0.get(draw.below(self.0.len())).copied().unwrap_or_default() {
            0 => vec![(Duration::ZERO, Fault::Crash(device)), (later, Fault::Start(device))],
            1 => {
                let during = [During::Commit, During::Commit, During::Take, During::Write][draw.below(4)];
                vec![
                    (Duration::ZERO, Fault::CrashDuring(device, during, calls)),
                    (later, Fault::Start(device)),
                ]
            }
            2 => vec![(Duration::ZERO, Fault::PowerCut(device, draw.any())), (later, Fault::Start(device))],
            3 => {
                let part = [Part::Index, Part::Disk, Part::Both][draw.below(3)];
                let much_later = later * 4;
                vec![(Duration::ZERO, Fault::BackUp(device)), (much_later, Fault::PutBack(device, part))]
            }
            4 => vec![(Duration::ZERO, Fault::LoseIndex(device))],
            5 => vec![(Duration::ZERO, Fault::Clone(device)), (later, Fault::StopClone(device))],
            6 => {
                let room = draw.below(200_000) as u64;
                vec![(Duration::ZERO, Fault::Fill(device, Some(room))), (later, Fault::Fill(device, None))]
            }
            7 => vec![(Duration::ZERO, Fault::Failing(device, calls))],
            8 => {
                let seconds = i64::try_from(draw.below(400_000_000)).unwrap_or_default() - 200_000_000;
                vec![(Duration::ZERO, Fault::Clock(device, seconds))]
            }
            9 => vec![(Duration::ZERO, Fault::Cut(device, other))],
            10 => match draw.below(2) {
                0 => vec![(Duration::ZERO, Fault::HalfOpen(device, other, later))],
                _ => vec![(Duration::ZERO, Fault::Stall(device, other, later))],
            },
            _ => vec![
                (Duration::ZERO, Fault::Bar(device, other, true)),
                (soon, Fault::Cut(device, other)),
                (later, Fault::Bar(device, other, false)),
            ],
        };
        acts.into_iter().map(|(wait, fault)| (wait, Deed::Fault(fault))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_sort_of_fault_comes_up_and_none_where_nothing_breaks() {
        let (mut seen, mut draw) = (BTreeSet::new(), Draw::new(3));
        let options = Options::default();
        for _ in 0..2000 {
            let sorts = Sorts::draw(&mut draw, &options);
            if sorts.is_empty() {
                continue;
            }
            for (_, deed) in sorts.draw_one(&mut draw, &options) {
                let Deed::Fault(fault) = deed else { panic!("{deed:?}") };
                seen.insert(format!("{fault:?}").split('(').next().unwrap().to_owned());
            }
        }
        assert_eq!(seen.len(), 16, "{seen:?}");
        let quiet = Options { with_faults: false, ..options };
        assert!(Sorts::draw(&mut draw, &quiet).is_empty());
    }
}
