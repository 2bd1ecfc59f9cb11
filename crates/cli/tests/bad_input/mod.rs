//! Bad input against the running program, row by row of `docs/bad-input.md`.
//!
//! A case is data where it can be: its row, what comes in, and the answer expected. What a session does with every
//! cutting of a message is proved beside its code; here real processes meet it, and live on. Rows that this machine
//! cannot show (a tracker on another machine, say) are left to those tests as well.

mod arguments;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Everything below a folder but our own state: for each path its kind and its bytes, or where it leads.
pub(super) fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let metadata = entry.metadata().unwrap();
            let bytes = if metadata.is_file() {
                fs::read(&path).unwrap()
            } else if metadata.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                Vec::new()
            };
            if metadata.is_dir() && entry.file_name() != ".shoal" {
                folders.push(path.clone());
            }
            found.insert(path, (metadata.mode(), bytes));
        }
    }
    found
}
