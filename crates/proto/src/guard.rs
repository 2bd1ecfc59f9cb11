//! The guard against mass deletion: a share that lost most of what it had is more often a disk that is not mounted
//! than a wish.

/// A number of distinct contents, moved ones matched first ([`crate::moves`]).
pub type Contents = u64;

/// From how many contents on the loss of more than half looks like an accident.
const MANY: Contents = 20;

/// Whether a share that had so many distinct contents, and lost so many of them at once, must halt and ask (I19): it
/// lost all of at least two, or more than half of at least twenty.
///
/// The same threshold holds back, once, a mass deletion that comes from others.
#[must_use]
pub const fn looks_unmounted(had: Contents, lost: Contents) -> bool {
    let all = had >= 2 && lost >= had;
    let most = had >= MANY && lost > had / 2;
    all || most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i19_all_of_two_or_most_of_twenty() {
        for (had, lost, halts) in [
            (0, 0, false),
            (1, 1, false),
            (2, 1, false),
            (2, 2, true),
            (19, 18, false),
            (19, 19, true),
            (20, 10, false),
            (20, 11, true),
            (21, 10, false),
            (21, 11, true),
            (u64::MAX, u64::MAX / 2, false),
            (u64::MAX, u64::MAX / 2 + 1, true),
        ] {
            assert_eq!(looks_unmounted(had, lost), halts, "{lost} of {had}");
        }
    }
}
