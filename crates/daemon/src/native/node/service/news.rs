//! What is noted in the diary of what happens to shares.

use std::sync::Weak;

use super::super::Core;

/// Notes what has changed, as long as there is a node.
pub(in super::super) async fn attend(core: Weak<Core>) {
    let _ = core;
}
