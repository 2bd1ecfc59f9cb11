//! Which files of a watched folder are quiet enough to be announced.
//!
//! Promise: a file counts only once its second has passed without a further write (`I22`), because the protocol
//! counts in seconds: a second edit within one would have the first one's version. Until then what was seen
//! before still stands. A file that never rests counts all the same after [`RESTLESS_MAX`].

use std::collections::BTreeMap;
use std::time::Duration;

use shoal_classic::FileName;
use shoal_classic::plan::{Folder, Here};

use super::limits::RESTLESS_MAX;

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// What counted at the last look.
    settled: Folder,
    /// Files that were written within the second of each look, and since when that has been so.
    restless: BTreeMap<FileName, Duration>,
}

impl Settling {
    /// What counts of a look at the time `unix` since 1970, `elapsed` since some start; and how long until what
    /// was held back may count.
    pub(super) fn settle(
        &mut self,
        looked: Folder,
        unix: Duration,
        elapsed: Duration,
    ) -> (&Folder, Option<Duration>) {
        let this_second = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX);
        let mut restless = BTreeMap::new();
        let mut settled = Folder::new();
        let mut is_waiting = false;
        for (name, here) in looked {
            let before = self.settled.remove(&name);
            let is_fresh = here == (Here::File { mtime: this_second }) && before.as_ref() != Some(&here);
            if !is_fresh {
                settled.insert(name, here);
                continue;
            }
            let since = self.restless.get(&name).copied().unwrap_or(elapsed);
            if elapsed.saturating_sub(since) >= RESTLESS_MAX {
                settled.insert(name.clone(), here);
            } else {
                is_waiting = true;
                settled.extend(before.map(|before| (name.clone(), before)));
            }
            restless.insert(name, since);
        }
        (self.settled, self.restless) = (settled, restless);
        let rest_of_second =
            Duration::from_secs(1).saturating_sub(Duration::from_nanos(unix.subsec_nanos().into()));
        (&self.settled, is_waiting.then_some(rest_of_second + A_MOMENT))
    }
}

/// So much later it is surely the next second.
const A_MOMENT: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, i64)]) -> Folder {
        let file =
            |(name, mtime): &(&str, i64)| (FileName::parse(name).unwrap(), Here::File { mtime: *mtime });
        files.iter().map(file).collect()
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn i22_a_file_counts_once_its_second_has_passed() {
        let mut settling = Settling::default();
        let look = folder(&[("old", 5), ("new", 100)]);
        let (counts, wait) = settling.settle(look.clone(), millis(100_400), millis(0));
        assert_eq!((counts, wait), (&folder(&[("old", 5)]), Some(millis(605))));
        let (counts, wait) = settling.settle(look.clone(), millis(101_005), millis(605));
        assert_eq!((counts, wait), (&look, None));
    }

    #[test]
    fn i22_until_then_the_version_before_stands_and_a_second_edit_waits_for_its_own_second() {
        let mut settling = Settling::default();
        settling.settle(folder(&[("a", 50)]), millis(90_000), millis(0));
        let (counts, _) = settling.settle(folder(&[("a", 100)]), millis(100_100), millis(100));
        assert_eq!(counts, &folder(&[("a", 50)]));
        let (counts, wait) = settling.settle(folder(&[("a", 101)]), millis(101_900), millis(1_900));
        assert_eq!((counts, wait), (&folder(&[("a", 50)]), Some(millis(105))));
        let (counts, _) = settling.settle(folder(&[("a", 101)]), millis(102_005), millis(2_005));
        assert_eq!(counts, &folder(&[("a", 101)]));
    }

    #[test]
    fn e4_a_file_that_never_rests_counts_after_a_while() {
        let mut settling = Settling::default();
        for second in 0_i64.. {
            let elapsed = Duration::from_secs(second.unsigned_abs());
            let unix = Duration::from_secs(100) + elapsed;
            let (counts, _) = settling.settle(folder(&[("log", 100 + second)]), unix, elapsed);
            if !counts.is_empty() {
                assert_eq!(elapsed, RESTLESS_MAX);
                break;
            }
        }
    }

    #[test]
    fn what_is_gone_is_gone_and_blocked_names_never_wait() {
        let mut settling = Settling::default();
        settling.settle(folder(&[("a", 1)]), millis(90_000), millis(0));
        let blocked: Folder = [(FileName::parse("b").unwrap(), Here::Blocked("a pipe".into()))].into();
        let (counts, wait) = settling.settle(blocked.clone(), millis(91_000), millis(1_000));
        assert_eq!((counts, wait), (&blocked, None));
    }
}
