//! Cutting one large file in several threads.
//!
//! Promise: the same segments as [`Cutting`] gives from the beginning on, in the same order, whatever is in the file.
//!
//! Where a segment ends depends on nothing before its beginning. So a region in the middle of the file is cut as if a
//! segment began with it, which is wrong at first; but two ways of cutting the same bytes have soon a cut in common, on
//! random bytes after one or two segments, and from there on they are the same way. Whoever puts the regions together
//! cuts on from the end of the one before until that happens, and takes the rest as it is. If it is known where segments
//! began, regions begin there. Where it never happens, as in
//! a long pattern that is cut at the greatest size, this one thread cuts all, as it would alone.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use shoal_proto::segment::Segment;

use super::Opened;
use super::cutting::{BUFFER_BYTES, Cutting, Interrupted, Known};
use crate::fs::Fs;

/// A file of so many bytes is worth another thread.
pub(super) const WORTH_BYTES: u64 = 2 * REGION_BYTES_MIN;

/// Shows `visit` the segments of a file, in order. `threads`: how many work on it, this one among them.
pub(super) fn cut<F: Fs>(
    opened: &Opened<F>,
    known: &Known,
    buffer: &mut [u8],
    threads: usize,
    mut visit: impl FnMut(Segment) -> Result<(), Interrupted>,
) -> Result<(), Interrupted> {
    let state = Mutex::new(State::new(opened.stat.size, threads));
    let work = Work { known, state, is_ready: Condvar::new() };
    let work = &work;
    thread::scope(|scope| {
        for _ in 1..threads {
            // Without it the others do its part.
            let spawned = thread::Builder::new().name("cut".into()).spawn_scoped(scope, || {
                let mut buffer = vec![0; BUFFER_BYTES];
                while let Some(claim) = work.claim() {
                    claim.cut(opened, known, &mut buffer);
                }
            });
            if spawned.is_err() {
                break;
            }
        }
        // However this ends, the others must not go on for nobody.
        let _end = End(work);
        let mut at = 0;
        while let Some(turn) = work.turn() {
            match turn {
                Turn::Join(region) => {
                    at = join(Cutting::new(opened, known, buffer, at), at, &region?, &mut visit)?;
                }
                Turn::Cut(claim) => claim.cut(opened, known, buffer),
            }
        }
        Ok(())
    })
}

/// Goes on from `at`, where a segment and `cutting` begin, to the end of a region; tells where that is.
fn join<F: Fs>(
    mut cutting: Cutting<'_, F>,
    mut at: u64,
    region: &Region,
    visit: &mut impl FnMut(Segment) -> Result<(), Interrupted>,
) -> Result<u64, Interrupted> {
    while at < region.end {
        if let Ok(common) = region.segments.binary_search_by_key(&at, |(begin, _)| *begin) {
            region.segments[common..].iter().try_for_each(|(_, segment)| visit(*segment))?;
            return Ok(region.end);
        }
        let Some(segment) = cutting.next()? else { break };
        at += u64::from(segment.length);
        visit(segment)?;
    }
    Ok(at)
}

/// A part of a file, cut as if a segment began with it.
struct Region {
    /// Each with where it begins.
    segments: Vec<(u64, Segment)>,
    /// Where the last of them ends.
    end: u64,
}

impl Region {
    /// Cuts from the beginning of the range up to the first cut at its end or behind.
    fn cut<F: Fs>(mut cutting: Cutting<'_, F>, range: &Range<u64>) -> Result<Self, Interrupted> {
        let mut region = Self { segments: Vec::new(), end: range.start };
        while region.end < range.end {
            let Some(segment) = cutting.next()? else { break };
            region.segments.push((region.end, segment));
            region.end += u64::from(segment.length);
        }
        Ok(region)
    }
}

/// What is to be done, and what is done.
struct Work<'a> {
    known: &'a Known,
    state: Mutex<State>,
    /// The first region is there.
    is_ready: Condvar,
}

struct State {
    size: u64,
    threads: u64,
    /// Where the next region begins.
    next: u64,
    /// The regions that somebody has claimed, in order, but those that were joined; `None` while it is being cut.
    regions: VecDeque<Option<Result<Region, Interrupted>>>,
    /// How many were joined.
    joined: usize,
}

/// What the thread that joins is to do next.
enum Turn<'a> {
    Join(Result<Region, Interrupted>),
    Cut(Claim<'a>),
}

/// A region that one thread cuts.
struct Claim<'a> {
    work: &'a Work<'a>,
    number: usize,
    range: Range<u64>,
    /// What came of it. If nothing did because the thread panics, the region counts as one without segments.
    cut: Option<Result<Region, Interrupted>>,
}

impl Work<'_> {
    fn claim(&self) -> Option<Claim<'_>> {
        let mut state = self.state();
        let range = state.next_range(self.known)?;
        state.regions.push_back(None);
        let number = state.joined + state.regions.len() - 1;
        Some(Claim { work: self, number, range, cut: None })
    }

    /// Joining comes first, then cutting, then waiting for others. `None`: all was joined.
    fn turn(&self) -> Option<Turn<'_>> {
        loop {
            let mut state = self.state();
            if let Some(Some(region)) = state.regions.front_mut().map(Option::take) {
                state.regions.pop_front();
                state.joined += 1;
                return Some(Turn::Join(region));
            }
            if state.next < state.size {
                drop(state);
                // Another one may have been faster.
                if let Some(claim) = self.claim() {
                    return Some(Turn::Cut(claim));
                }
                continue;
            }
            if state.regions.is_empty() {
                return None;
            }
            drop(self.is_ready.wait(state).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Nothing is done while it is held that could panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(size: u64, threads: usize) -> Self {
        Self { size, threads: threads as u64, next: 0, regions: VecDeque::new(), joined: 0 }
    }

    /// The regions become smaller towards the end, so that all threads are done at about the same time.
    fn next_range(&mut self, known: &Known) -> Option<Range<u64>> {
        let left = self.size - self.next;
        if left == 0 {
            return None;
        }
        let regions =
            (left / (2 * self.threads) / REGION_BYTES_MIN).clamp(1, REGION_BYTES_MAX / REGION_BYTES_MIN);
        let length = regions * REGION_BYTES_MIN;
        let end = self.next + length;
        let end = known.begin_from(end).unwrap_or(end);
        let end = if end + REGION_BYTES_MIN > self.size { self.size } else { end };
        let range = self.next..end;
        self.next = range.end;
        Some(range)
    }
}

impl Claim<'_> {
    fn cut<F: Fs>(mut self, opened: &Opened<F>, known: &Known, buffer: &mut [u8]) {
        let cutting = Cutting::new(opened, known, buffer, self.range.start);
        self.cut = Some(Region::cut(cutting, &self.range));
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let nothing = Region { segments: Vec::new(), end: self.range.end };
        let cut = self.cut.take().unwrap_or(Ok(nothing));
        let mut state = self.work.state();
        let at = self.number - state.joined;
        state.regions[at] = Some(cut);
        drop(state);
        self.work.is_ready.notify_one();
    }
}

/// Leaves nothing to be claimed.
struct End<'a>(&'a Work<'a>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.next = state.size;
    }
}

/// The least region. Where no list is known all begin at a multiple of it, and so of the greatest segment: what is cut at
/// the greatest size from the beginning of the file on has its cuts in common with every region at once.
const REGION_BYTES_MIN: u64 = if cfg!(test) { 512 << 10 } else { 8 << 20 };

/// The greatest region: some fiftieth of it is cut twice.
const REGION_BYTES_MAX: u64 = if cfg!(test) { 2 << 20 } else { 64 << 20 };
