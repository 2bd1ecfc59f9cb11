//! The one way from a path of a share to a handle on this disk.
//!
//! Promise: a walk begins at the root's handle and takes one name at a time. It never steps through a link, onto another
//! file system or into `.shoal`, and it can refuse, saying at which name and why (I10, I11, I23, E2, E8, E22). What it
//! hands out is an open folder and a last name, so that whoever swaps folders meanwhile cannot lead a deed out of the
//! folder that was walked to.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::io::Errno;

use crate::folder::Shared;
use crate::fs::{Fs, FsDir};
use crate::name::STATE_NAME;
use crate::path::TreePath;
use crate::stat::{Kind, Look};

/// A path could not be walked to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot go to {at}: {why}")]
pub struct WalkError {
    /// The path up to the name at which the walk ended.
    pub at: TreePath,
    /// Why it ended there.
    pub why: Barred,
}

/// Why a walk does not go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Barred {
    /// There is no such name, or no longer.
    #[error("it is not there")]
    Gone,
    /// It is a symbolic link, which is never followed.
    #[error("it is a symbolic link, and links are not followed")]
    Link,
    /// It is something else than a folder.
    #[error("it is {0}, not a folder")]
    NotAFolder(Kind),
    /// Another file system is mounted there.
    #[error("it is on another file system")]
    OtherFileSystem,
    /// This user may not enter it.
    #[error("this user may not enter it")]
    NotPermitted,
    /// It is our own state.
    #[error("the name is reserved")]
    Reserved,
    /// The system refuses.
    #[error("the system refuses: {0}")]
    Failed(Arc<io::Error>),
}

/// Walks to one path after the other and keeps the folders of the last one open, so that paths in order cost a look for
/// each folder on the way and no opening. At most as many handles as a path has names.
///
/// A kept handle is used only after its name was looked at and still leads to it, or else for [`Self::glancing`] only.
#[derive(Debug)]
pub(crate) struct Walker<'a, F: Fs> {
    folder: &'a Shared<F>,
    steps: Vec<Step<F>>,
    is_glancing: bool,
}

#[derive(Debug)]
struct Step<F: Fs> {
    name: Box<[u8]>,
    seen: Look,
    dir: Arc<F::Dir>,
}

impl<'a, F: Fs> Walker<'a, F> {
    pub(crate) fn new(folder: &'a Shared<F>) -> Self {
        Self { folder, steps: Vec::new(), is_glancing: false }
    }

    /// One that takes it that the folders on the way to the path before are still where they were. For reading many files
    /// in a row, and dropped after it: who moves a folder meanwhile is answered as if that came a moment later.
    pub(crate) fn glancing(folder: &'a Shared<F>) -> Self {
        Self { is_glancing: true, ..Self::new(folder) }
    }

    /// The folder that all walks begin at.
    pub(crate) fn root(&self) -> Arc<F::Dir> {
        Arc::clone(&self.folder.root)
    }

    /// The folder in which the last name of a path is, and that name.
    pub(crate) fn open_parent<'p>(
        &mut self,
        path: &'p TreePath,
    ) -> Result<(Arc<F::Dir>, &'p OsStr), WalkError> {
        let bytes = path.as_bytes();
        let (above, last) = match bytes.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Some(&bytes[..slash]), &bytes[slash + 1..]),
            None => (None, bytes),
        };
        let dir = self.walk(path, above)?;
        if is_reserved(last) {
            return Err(refusal(path, path.names().count() - 1, Barred::Reserved));
        }
        Ok((dir, OsStr::from_bytes(last)))
    }

    /// The folder at a path itself.
    pub(crate) fn open_folder(&mut self, path: &TreePath) -> Result<Arc<F::Dir>, WalkError> {
        self.walk(path, Some(path.as_bytes()))
    }

    /// Goes along `folders`, with which `path` begins.
    fn walk(&mut self, path: &TreePath, folders: Option<&[u8]>) -> Result<Arc<F::Dir>, WalkError> {
        let folders = folders.into_iter().flat_map(|folders| folders.split(|byte| *byte == b'/'));
        let mut dir = Arc::clone(&self.folder.root);
        for (depth, name) in folders.enumerate() {
            let kept = self.steps.get(depth).filter(|step| *step.name == *name);
            if let Some(step) = kept.filter(|_| self.is_glancing) {
                dir = Arc::clone(&step.dir);
                continue;
            }
            let seen = look_at_folder(&self.folder.root_seen, &*dir, OsStr::from_bytes(name))
                .map_err(|why| refusal(path, depth, why))?;
            if !kept.is_some_and(|step| step.seen.is_same_thing(&seen)) {
                self.steps.truncate(depth);
                let opened =
                    enter(&*dir, OsStr::from_bytes(name), &seen).map_err(|why| refusal(path, depth, why))?;
                self.steps.push(Step { name: name.into(), seen, dir: Arc::new(opened) });
            }
            dir = Arc::clone(&self.steps[depth].dir);
        }
        Ok(dir)
    }
}

/// Opens a folder that is in an open one of the share, whichever stands there now; `.shoal` is the caller's to avoid.
pub(crate) fn step<D: FsDir>(root: &Look, dir: &D, name: &OsStr) -> Result<D, Barred> {
    let opened = dir.enter(name).map_err(barred)?;
    match opened.look_through() {
        Ok(seen) if seen.stat.dev != root.stat.dev => Err(Barred::OtherFileSystem),
        Ok(_) => Ok(opened),
        Err(error) => Err(barred(error)),
    }
}

/// Looks at a name that must be a folder of the share.
fn look_at_folder<D: FsDir>(root: &Look, dir: &D, name: &OsStr) -> Result<Look, Barred> {
    if is_reserved(name.as_bytes()) {
        return Err(Barred::Reserved);
    }
    match dir.look(name) {
        Ok(Some(seen)) => match seen.kind {
            Kind::Folder if seen.stat.dev != root.stat.dev => Err(Barred::OtherFileSystem),
            Kind::Folder => Ok(seen),
            Kind::Symlink => Err(Barred::Link),
            other => Err(Barred::NotAFolder(other)),
        },
        Ok(None) => Err(Barred::Gone),
        Err(error) => Err(barred(error)),
    }
}

/// Opens the folder that was seen under a name; if another one is there by now, the one that was seen is gone.
pub(crate) fn enter<D: FsDir>(dir: &D, name: &OsStr, seen: &Look) -> Result<D, Barred> {
    let opened = dir.enter(name).map_err(barred)?;
    match opened.look_through() {
        Ok(now) if now.is_same_thing(seen) => Ok(opened),
        Ok(_) => Err(Barred::Gone),
        Err(error) => Err(barred(error)),
    }
}

fn barred(error: io::Error) -> Barred {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => Barred::Gone,
        // Between our look and the opening it became something else.
        Some(Errno::LOOP) => Barred::Link,
        Some(Errno::NOTDIR) => Barred::NotAFolder(Kind::Unknown),
        Some(Errno::XDEV) => Barred::OtherFileSystem,
        Some(Errno::ACCESS | Errno::PERM) => Barred::NotPermitted,
        _ => Barred::Failed(Arc::new(error)),
    }
}

/// Paths of a share have no such name (`RelPath` refuses it); this is the last door before the disk.
fn is_reserved(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(STATE_NAME.as_bytes())
}

fn refusal(path: &TreePath, depth: usize, why: Barred) -> WalkError {
    WalkError { at: path.up_to(depth), why }
}

#[cfg(test)]
mod tests;
