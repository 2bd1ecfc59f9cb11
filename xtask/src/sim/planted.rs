//! The bugs that are planted to see whether the worlds notice them.

/// A change of one place.
pub(super) struct Bug {
    /// What it is called here and in `docs/design/simulation.md`.
    pub(super) name: &'static str,
    /// Where.
    pub(super) file: &'static str,
    /// What stands there, once.
    pub(super) from: &'static str,
    /// What is put in its place.
    pub(super) to: &'static str,
}

/// All of them; by their names: what is wrong.
pub(super) const BUGS: &[Bug] = &[];
